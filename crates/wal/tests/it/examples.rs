//! Bytes that are known from files that etcd 3.7.1 wrote, and the operations that write them.

use crate::memory_disk::MemoryDisk;
use crate::script::{METADATA, dir};
use bytes::Bytes;
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::{Index, Term, crc};
use tenet_proto::raftpb::{ConfState, Entry, HardState};
use tenet_wal::{Options, Position, WalWriter, create_with, open_with};

const MEMBER: u64 = 0xc437_c30f_b21f_c940;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_log() -> (WalWriter, Vec<DiskOp>) {
    let mut ops = vec![DiskOp::CreateDir {
        path: FilePath::new("member"),
    }];
    let writer = create_with(
        &dir(),
        METADATA,
        Options {
            segment_bytes: 4_096,
        },
        &mut ops,
    );
    (writer, ops)
}

/// The one write in `ops`.
fn written(ops: &[DiskOp]) -> Bytes {
    let mut writes = ops.iter().filter_map(|op| match op {
        DiskOp::Write { data, .. } => Some(data.clone()),
        _ => None,
    });
    let data = writes.next().expect("something is written");
    assert_eq!(writes.next(), None, "a batch is one write");
    data
}

/// The data of the records in `frames`, each checked against the running checksum.
fn data_of(frames: &[u8], mut running: u32) -> Vec<(u8, String)> {
    let (mut at, mut found) = (0, Vec::new());
    while at < frames.len() {
        let len = usize::from(frames[at]) | usize::from(frames[at + 1]) << 8;
        let record = &frames[at + 8..at + 8 + len];
        assert_eq!((record[0], record[2]), (0x08, 0x10));
        let mut stored = 0;
        let mut next = 3;
        for shift in (0..).step_by(7) {
            stored |= u32::from(record[next] & 0x7f) << shift;
            next += 1;
            if record[next - 1] < 0x80 {
                break;
            }
        }
        assert_eq!(record[next], 0x1a);
        let data = &record[next + if record[next + 1] < 0x80 { 2 } else { 3 }..];
        running = crc::extend(running, data);
        assert_eq!(stored, running, "the checksum at {at}");
        found.push((record[1], hex(data)));
        at += (8 + len).next_multiple_of(8);
    }
    found
}

#[test]
fn entries_states_and_positions_are_etcds() {
    let (mut writer, ops) = new_log();
    let mut running = 0;
    for (_, data) in data_of(&written(&ops)[16..], 0) {
        running = crc::extend(running, &unhex(&data));
    }
    let change = r#"{"id":14138984027333314880,"peerURLs":["http://127.0.0.1:32380"],"name":"n1"}"#;
    let change = [unhex("1000 18c092ff90fbe1f09bc401 224d"), change.into()].concat();
    let id = "8180ded0c5a1e3c4c401";
    let put = unhex(&format!("2206 0a0161 120131 a2060b 08{id}"));
    let entry = |entry_type, term, index, data: &[u8]| Entry {
        entry_type,
        term,
        index,
        data: Bytes::copy_from_slice(data),
    };
    let entries = [
        entry(1, 1, 1, &change),
        entry(0, 2, 2, &[]),
        entry(0, 2, 3, &put),
    ];
    let state = HardState {
        term: 2,
        vote: MEMBER,
        commit: 1,
    };
    let mut ops = Vec::new();
    assert!(writer.save(Some(&state), &entries, &mut ops));
    let records = data_of(&written(&ops), running);
    // A configuration change as etcd bootstraps with.
    assert_eq!(records[0].0, 2);
    assert_eq!(records[0].1, format!("080110011801225c{}", hex(&change)));
    // The empty entry of a new leader, as 3.6 writes it (3.7 leaves the type out).
    assert_eq!(records[1], (2, "080010021802".to_owned()));
    // A put.
    assert_eq!(
        records[2],
        (
            2,
            format!("080010021803{:02x}{:02x}{}", 0x22, put.len(), hex(&put))
        )
    );
    // The hard state ends the batch.
    assert_eq!(records[3], (3, "080210c092ff90fbe1f09bc4011801".to_owned()));
    assert_eq!(records.len(), 4);

    for (_, data) in records {
        running = crc::extend(running, &unhex(&data));
    }
    let position = Position {
        index: Index(1),
        term: Term(1),
        conf_state: Some(ConfState {
            voters: vec![1, 2],
            ..ConfState::default()
        }),
    };
    let mut ops = Vec::new();
    writer.save_position(&position, &mut ops);
    let records = data_of(&written(&ops), running);
    assert_eq!(records[0], (5, "080110011a06080108022800".to_owned()));
    assert_eq!(records[1].0, 3);
}

#[test]
fn a_batch_is_one_write_and_one_sync_and_a_commit_index_alone_is_neither() {
    let (mut writer, _) = new_log();
    let entries: Vec<Entry> = (1..=80)
        .map(|index| Entry {
            entry_type: 0,
            term: 1,
            index,
            data: Bytes::from_static(b"x"),
        })
        .collect();
    let mut ops = Vec::new();
    let state = HardState {
        term: 1,
        vote: 0,
        commit: 0,
    };
    assert!(writer.save(Some(&state), &entries, &mut ops));
    assert!(matches!(
        ops[..],
        [DiskOp::Write { .. }, DiskOp::SyncData { .. }]
    ));
    // The segment is half full after this.
    assert!(writer.wants_next() && writer.has_room(100));

    let mut ops = Vec::new();
    assert!(!writer.save(
        Some(&HardState {
            commit: 80,
            ..state
        }),
        &[],
        &mut ops
    ));
    assert!(!writer.save(None, &[], &mut ops));
    assert_eq!(ops, []);
    assert_eq!(writer.hard_state().commit, 80);

    writer.flush(&mut ops);
    assert!(matches!(
        ops[..],
        [DiskOp::Write { .. }, DiskOp::SyncData { .. }]
    ));
    writer.flush(&mut ops);
    assert_eq!(ops.len(), 2, "there is nothing to flush twice");

    // A vote alone is synced.
    let mut ops = Vec::new();
    let state = HardState {
        term: 2,
        vote: MEMBER,
        commit: 80,
    };
    assert!(writer.save(Some(&state), &[], &mut ops));
    assert!(matches!(
        ops[..],
        [DiskOp::Write { .. }, DiskOp::SyncData { .. }]
    ));
}

#[test]
fn a_new_log_is_whole_before_it_has_its_name() {
    let (_, ops) = new_log();
    let mut disk = MemoryDisk::default();
    for (done, op) in ops.iter().enumerate() {
        let exists = tenet_wal::exists(&disk, &dir()).unwrap();
        assert_eq!(exists, done > 8, "after {done} operations");
        disk.run(std::slice::from_ref(op));
    }
    disk.end_process();
    let options = Options {
        segment_bytes: 4_096,
    };
    let opened = open_with(&disk, &dir(), None, options).unwrap();
    assert_eq!((opened.metadata, opened.entries.len()), (METADATA, 0));
    assert_eq!(opened.positions, [Position::default()]);
}
