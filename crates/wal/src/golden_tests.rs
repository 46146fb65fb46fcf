//! Logs and snapshots written by the real etcd, read and written again.

use crate::frame::{Encoder, FRAME_HEADER_BYTES, FrameLen, Kind, parse_record};
use crate::payload::{Payload, encode_entry_head, encode_metadata, encode_position, encode_state};

const WAL_3_5: &[u8] = include_bytes!("../testdata/etcd-3.5.35.wal");
const WAL_3_6: &[u8] = include_bytes!("../testdata/etcd-3.6.16.wal");
const WAL_3_7: &[u8] = include_bytes!("../testdata/etcd-3.7.1.wal");

/// Decodes every record of `wal` and encodes it again; says how many records came out as they
/// were, and of which kind the others are.
fn rewrite(wal: &[u8]) -> (usize, Vec<Kind>) {
    let (mut at, mut crc, mut same, mut other) = (0, 0, 0, Vec::new());
    while at < wal.len() {
        let field = u64::from_le_bytes(wal[at..at + 8].try_into().unwrap());
        let len = FrameLen::parse(field).unwrap();
        let body_at = at + FRAME_HEADER_BYTES as usize;
        let record = parse_record(&wal[body_at..body_at + len.record as usize]).unwrap();
        assert!(record.follows(crc), "at {at}");
        let mut encoder = Encoder::new(crc, 0);
        match Payload::decode(&record).unwrap() {
            Payload::Crc => encoder.record(Kind::Crc, &[]),
            Payload::Metadata(it) => {
                encoder.record(Kind::Metadata, &[encode_metadata(it).as_slice()]);
            }
            Payload::Entry(it) => {
                let entry = it.to_entry();
                encoder.record(
                    Kind::Entry,
                    &[encode_entry_head(&entry).as_slice(), &entry.data],
                );
            }
            Payload::State(it) => encoder.record(Kind::State, &[encode_state(&it).as_slice()]),
            Payload::Position(it) => encoder.record(Kind::Position, &[&encode_position(&it)]),
        }
        let end = at + len.frame() as usize;
        if *encoder.finish() == wal[at..end] {
            same += 1;
        } else {
            other.push(record.kind);
        }
        crc = record.crc;
        at = end;
    }
    (same, other)
}

#[test]
fn logs_of_3_5_and_3_6_are_written_to_the_byte() {
    assert_eq!(rewrite(WAL_3_5), (800, vec![]));
    assert_eq!(rewrite(WAL_3_6), (800, vec![]));
}

#[test]
fn logs_of_3_7_differ_only_in_the_entry_type_that_it_leaves_out() {
    let (same, other) = rewrite(WAL_3_7);
    // What is the same beside all other kinds: the configuration change at index 1.
    assert_eq!((same, other.len()), (403, 397));
    assert!(other.iter().all(|kind| *kind == Kind::Entry), "{other:?}");
}
