//! Checkpoints that were damaged, cut, or made up.

use bytes::Bytes;
use proptest::prelude::*;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, LeaseId, Rng, Term};
use tenet_mvcc::{CheckpointError, Mvcc};
use tenet_store::chunk::{Chunk, ChunkReader, ChunkWriter};
use tenet_store::varint;

const MAGIC: [u8; 8] = *b"TENETKV\x01";
const HEAD: usize = 0;
const RECORDS: usize = 1;
const INDEX: usize = 2;
const END: usize = 3;

fn put(mvcc: &mut Mvcc, key: &str) {
    let mut txn = mvcc.begin();
    let key = Bytes::copy_from_slice(key.as_bytes());
    txn.put(&key, &Bytes::from_static(b"value"), LeaseId(3));
    txn.end();
}

/// A store with overwrites, a tombstone and a compaction.
fn store() -> Mvcc {
    let mut mvcc = Mvcc::new();
    for key in ["a/one", "a/two", "b", "a/one", "c"] {
        put(&mut mvcc, key);
    }
    mvcc.compact(4).expect("not compacted before");
    let mut txn = mvcc.begin();
    assert!(txn.delete(b"b"));
    txn.end();
    mvcc.publish(Index(9), Term(2));
    mvcc
}

fn stream(mvcc: &Mvcc) -> Vec<u8> {
    mvcc.checkpoint().collect::<Vec<_>>().concat()
}

fn restore(bytes: &[u8]) -> Result<Mvcc, CheckpointError> {
    Mvcc::restore([bytes])
}

fn chunks(stream: &[u8]) -> Vec<Chunk> {
    let mut reader = ChunkReader::new(MAGIC);
    reader.push(stream);
    std::iter::from_fn(|| reader.next_chunk().expect("intact")).collect()
}

/// A stream with correct checksums, whatever the payloads say.
fn framed(chunks: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut writer = ChunkWriter::new(MAGIC);
    let framed = chunks
        .iter()
        .map(|(kind, payload)| writer.frame(*kind, payload));
    framed.collect::<Vec<_>>().concat()
}

fn payloads(mvcc: &Mvcc) -> Vec<(u8, Vec<u8>)> {
    let chunks = chunks(&stream(mvcc));
    chunks
        .into_iter()
        .map(|chunk| (chunk.kind, chunk.payload.to_vec()))
        .collect()
}

/// The store's checkpoint with one change, and where and why it is refused.
fn refused(change: impl FnOnce(&mut Vec<(u8, Vec<u8>)>)) -> (u64, String) {
    let mut chunks = payloads(&store());
    change(&mut chunks);
    let error = restore(&framed(&chunks)).expect_err("refused");
    let text = error.to_string();
    assert!(text.contains(&format!("byte {}", error.offset)), "{text}");
    (error.offset, error.reason)
}

#[test]
fn the_format_is_what_the_documentation_says() {
    let chunks = payloads(&store());
    let kinds: Vec<u8> = chunks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 2, 3, 4]);
    let mut head = Vec::new();
    for number in [7i64, 4, 9, 2] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    assert_eq!(chunks[HEAD].1, head);
    // a/one at 2 stays, since it is what is visible at 4.
    let mut index: Vec<u8> = Vec::new();
    index.extend_from_slice(b"\x00\x05a/one\x05\x00\x03\x02");
    index.extend_from_slice(b"\x05\x00\x02\x00\x00\x01");
    index.extend_from_slice(b"\x02\x03two\x03\x00\x00\x01");
    index.extend_from_slice(b"\x00\x01b\x07\x01");
    index.extend_from_slice(b"\x01\x00\x04\x00\x00\x01");
    index.extend_from_slice(b"\x00\x01c\x06\x00\x00\x01");
    assert_eq!(chunks[INDEX].1, index);
    assert_eq!(
        chunks[END].1,
        [6u64.to_le_bytes(), 6u64.to_le_bytes()].concat()
    );
}

#[test]
fn every_cut_is_seen() {
    let stream = stream(&store());
    assert!(restore(&stream).is_ok());
    for len in 0..stream.len() {
        let error = restore(&stream[..len]).expect_err("cut");
        assert!(error.offset <= len as u64);
    }
    let mut longer = stream;
    longer.push(0);
    assert!(restore(&longer).is_err());
}

#[test]
fn every_flipped_bit_is_seen() {
    let stream = stream(&store());
    for at in 0..stream.len() {
        for bit in 0..8 {
            let mut damaged = stream.clone();
            damaged[at] ^= 1 << bit;
            let error = restore(&damaged).expect_err("damaged");
            // A length that grew is seen where the chunk begins, or at the end of the bytes.
            assert!(
                error.offset <= at as u64,
                "flip at {at} seen at {}",
                error.offset
            );
        }
    }
}

#[test]
fn another_version_is_named() {
    let mut stream = stream(&store());
    stream[7] = 2;
    let error = restore(&stream).expect_err("another version");
    assert_eq!(error.offset, 0);
    assert!(
        error.reason.contains("another format or version"),
        "{error}"
    );
}

#[test]
fn contents_that_contradict_each_other_are_refused_where_they_do() {
    let whole = chunks(&stream(&store()));
    let offset = |chunk: usize| whole[chunk].offset;
    let set_number = |chunks: &mut Vec<(u8, Vec<u8>)>, at: usize, number: i64| {
        chunks[HEAD].1[at * 8..at * 8 + 8].copy_from_slice(&number.to_le_bytes());
    };

    let (at, why) = refused(|chunks| set_number(chunks, 0, 5));
    assert!(
        at > offset(RECORDS) && why.contains("at revision 5"),
        "{at} {why}"
    );
    let (at, why) = refused(|chunks| set_number(chunks, 1, 8));
    assert_eq!(
        (at, why.as_str()),
        (offset(HEAD), "revision 7 cannot be compacted at 8")
    );
    let (_, why) = refused(|chunks| set_number(chunks, 1, -2));
    assert!(why.contains("compacted at -2"), "{why}");

    // The first entry of the index: its version, its revision, its key.
    let (at, why) = refused(|chunks| chunks[INDEX].1[10] = 9);
    assert!(
        at == offset(INDEX) && why.contains("not what its record says"),
        "{at} {why}"
    );
    let (_, why) = refused(|chunks| chunks[INDEX].1[7] = 100);
    assert!(why.contains("has no record"), "{why}");
    let (_, why) = refused(|chunks| chunks[INDEX].1[2] = b'A');
    assert!(why.contains("not what its record says"), "{why}");
    let (_, why) = refused(|chunks| chunks[INDEX].1[0] = 1);
    assert!(why.contains("1 bytes shared with a key of 0"), "{why}");
    // The tombstone as something else, and something else as a tombstone.
    let tombstone = b"\x00\x01b\x07\x01";
    let found = |chunks: &[(u8, Vec<u8>)]| {
        let index = &chunks[INDEX].1;
        index
            .windows(5)
            .position(|window| window == tombstone)
            .expect("there")
    };
    let (_, why) = refused(|chunks| {
        let at = found(chunks);
        chunks[INDEX]
            .1
            .splice(at..at + 5, *b"\x00\x01b\x07\x00\x00\x01");
    });
    assert!(why.contains("not what its record says"), "{why}");
    // Twice the same entry, and entries the wrong way round.
    let (_, why) = refused(|chunks| {
        let first = chunks[INDEX].1[..11].to_vec();
        chunks[INDEX].1.splice(0..0, first);
    });
    assert!(why.contains("out of order"), "{why}");
    // A record without an entry, and numbers that do not fit.
    let (at, why) = refused(|chunks| {
        let at = found(chunks);
        chunks[INDEX].1.truncate(at);
        chunks[END].1[8] = 3;
    });
    assert!(why.contains("6 records and 3 index entries"), "{at} {why}");
    let (_, why) = refused(|chunks| {
        chunks[INDEX].1.push(0);
    });
    assert!(why.contains("no number"), "{why}");
    // Chunks that do not belong where they are.
    let (_, why) = refused(|chunks| chunks[RECORDS].0 = 9);
    assert!(why.contains("kind 9 does not belong here"), "{why}");
    let (_, why) = refused(|chunks| chunks.swap(RECORDS, INDEX));
    assert!(why.contains("has no record"), "{why}");
    let (_, why) = refused(|chunks| chunks.push((2, Vec::new())));
    assert!(why.contains("kind 2 does not belong here"), "{why}");
    let (_, why) = refused(|chunks| chunks[END].1.push(0));
    assert!(why.contains("too many"), "{why}");
}

#[test]
fn a_record_out_of_order_is_refused() {
    let (_, why) = refused(|chunks| {
        // The distance of the second record from the first.
        let mut rest = &chunks[RECORDS].1[..];
        varint::take(&mut rest).expect("revision");
        varint::take(&mut rest).expect("sub");
        let len = varint::take(&mut rest).expect("length") >> 1;
        let at = chunks[RECORDS].1.len() - rest.len() + len as usize;
        chunks[RECORDS].1[at] = 0;
    });
    assert!(why.contains("record 2.0 behind record 2.0"), "{why}");
}

#[test]
fn a_checkpoint_of_many_chunks_comes_back() {
    let mut mvcc = Mvcc::new();
    let mut rng = SplitMix64::new(3);
    for _ in 0..4_000 {
        let mut txn = mvcc.begin();
        let key = Bytes::from(format!("key/{:05}", rng.below(3_000)));
        let value = Bytes::from(vec![b'v'; rng.below(800) as usize]);
        txn.put(&key, &value, LeaseId(0));
        txn.end();
    }
    mvcc.publish(Index(1), Term(1));
    let whole = stream(&mvcc);
    assert!(chunks(&whole).len() > 6, "{} chunks", chunks(&whole).len());
    let restored = restore(&whole).expect("intact");
    assert_eq!(stream(&restored), whole);
    for _ in 0..300 {
        let mut damaged = whole.clone();
        let at = rng.below(whole.len() as u64) as usize;
        damaged[at] ^= 1 << rng.below(8);
        let error = restore(&damaged).expect_err("damaged");
        assert!(error.offset <= at as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Payloads with any bytes changed, under correct checksums, are refused or restored, and
    /// never more.
    #[test]
    fn no_payload_makes_it_panic(
        chunk in 0..4usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut chunks = payloads(&store());
        let payload = &mut chunks[chunk].1;
        for (at, byte) in edits {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Some(cut) = cut {
            let len = cut.index(payload.len());
            payload.truncate(len);
        }
        if let Ok(mvcc) = restore(&framed(&chunks)) {
            let _ = mvcc.views().load().hash_kv(0);
            let again = restore(&stream(&mvcc));
            prop_assert!(again.is_ok());
        }
    }
}
