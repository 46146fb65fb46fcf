//! Indexes that were damaged, cut, or made up, and stores whose files do not belong together.

use crate::files::{flush, rewrite};
use bytes::Bytes;
use proptest::prelude::*;
use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, LeaseId, Rng, Term};
use tenet_mvcc::Mvcc;
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_store::ReadError;
use tenet_store::chunk::{Chunk, ChunkReader, ChunkWriter};

const MAGIC: [u8; 8] = *b"TENETIX\x01";
const HEAD: usize = 0;
const ENTRIES: usize = 1;
const END: usize = 2;

fn put(mvcc: &mut Mvcc, key: &str) {
    let mut txn = mvcc.begin();
    let key = Bytes::copy_from_slice(key.as_bytes());
    txn.put(&key, &Bytes::from_static(b"value"), LeaseId(3));
    txn.end();
}

/// A store with overwrites, a tombstone and a compaction.
fn store() -> Mvcc {
    let mut mvcc = Mvcc::default();
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

fn flushed(mvcc: &mut Mvcc) -> MemoryDisk {
    let mut disk = MemoryDisk::default();
    flush(mvcc, &mut disk, true, |_| {});
    disk
}

fn recover(disk: &MemoryDisk) -> Result<Mvcc, ReadError> {
    let found = tenet_store::open(disk, &FilePath::new("store")).expect("intact files");
    Mvcc::recover(disk, found.store.expect("a store"))
}

fn index_path(disk: &MemoryDisk) -> FilePath {
    let mut paths = disk.paths();
    let index = paths.find(|path| path.as_str().ends_with(".index"));
    index.expect("an index").clone()
}

/// The bytes of the index of a flushed store.
fn stream(disk: &mut MemoryDisk) -> Vec<u8> {
    let path = index_path(disk);
    disk.contents(&path).expect("there").clone()
}

/// Recovers with another index, whose length may differ.
fn recover_with(disk: &MemoryDisk, index: &[u8]) -> Result<Mvcc, ReadError> {
    let mut opened = tenet_store::open(disk, &FilePath::new("store")).expect("intact files");
    let mut disk = disk.clone();
    let path = index_path(&disk);
    *disk.contents(&path).expect("there") = index.to_vec();
    Mvcc::recover(&disk, opened.store.take().expect("a store"))
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

fn payloads(disk: &mut MemoryDisk) -> Vec<(u8, Vec<u8>)> {
    let chunks = chunks(&stream(disk));
    chunks
        .into_iter()
        .map(|chunk| (chunk.kind, chunk.payload.to_vec()))
        .collect()
}

/// The store's index with one change, and where and why it is refused.
fn refused(change: impl FnOnce(&mut Vec<(u8, Vec<u8>)>)) -> (u64, String) {
    let mut disk = flushed(&mut store());
    let mut chunks = payloads(&mut disk);
    change(&mut chunks);
    match recover_with(&disk, &framed(&chunks)) {
        Err(ReadError::Damaged {
            path,
            offset,
            reason,
        }) => {
            assert_eq!(path, index_path(&disk));
            (offset, reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_format_is_what_the_documentation_says() {
    let chunks = payloads(&mut flushed(&mut store()));
    let kinds: Vec<u8> = chunks.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [1, 2, 3]);
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
    assert_eq!(chunks[ENTRIES].1, index);
    assert_eq!(chunks[END].1, 6u64.to_le_bytes());
}

#[test]
fn every_cut_and_every_flipped_bit_of_an_index_is_seen() {
    let mut disk = flushed(&mut store());
    let stream = stream(&mut disk);
    assert!(recover_with(&disk, &stream).is_ok());
    for at in 0..stream.len() {
        assert!(recover_with(&disk, &stream[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut damaged = stream.clone();
            damaged[at] ^= 1 << bit;
            match recover_with(&disk, &damaged) {
                // A length that grew is seen where the chunk begins, or at the end of the bytes.
                Err(ReadError::Damaged { offset, .. }) => assert!(offset <= at as u64),
                other => panic!("bit {bit} of byte {at}: {other:?}"),
            }
        }
    }
    let mut longer = stream;
    longer.push(0);
    assert!(recover_with(&disk, &longer).is_err());
}

#[test]
fn contents_that_contradict_each_other_are_refused() {
    let set_number = |chunks: &mut Vec<(u8, Vec<u8>)>, at: usize, number: i64| {
        chunks[HEAD].1[at * 8..at * 8 + 8].copy_from_slice(&number.to_le_bytes());
    };
    let (_, why) = refused(|chunks| set_number(chunks, 0, 5));
    assert!(why.contains("lies above revision 5"), "{why}");
    let (_, why) = refused(|chunks| set_number(chunks, 0, 9));
    assert!(why.contains("it is of revision 9"), "{why}");
    let (_, why) = refused(|chunks| set_number(chunks, 1, 8));
    assert_eq!(why, "revision 7 cannot be compacted at 8");
    let (_, why) = refused(|chunks| set_number(chunks, 1, -2));
    assert!(why.contains("compacted at -2"), "{why}");
    let (_, why) = refused(|chunks| set_number(chunks, 1, 5));
    assert!(why.contains("compacted at 5"), "{why}");

    // The first entry: its revision, its key.
    let (_, why) = refused(|chunks| chunks[ENTRIES].1[7] = 6);
    assert!(why.contains("not what its record says"), "{why}");
    let (_, why) = refused(|chunks| chunks[ENTRIES].1[0] = 1);
    assert!(why.contains("cannot be decoded"), "{why}");
    // The tombstone as something else.
    let tombstone = b"\x00\x01b\x07\x01";
    let found = |chunks: &[(u8, Vec<u8>)]| {
        let mut windows = chunks[ENTRIES].1.windows(5);
        windows
            .position(|window| window == tombstone)
            .expect("there")
    };
    let (_, why) = refused(|chunks| {
        let at = found(chunks);
        let put = *b"\x00\x01b\x07\x00\x00\x01";
        chunks[ENTRIES].1.splice(at..at + 5, put);
    });
    assert!(why.contains("not what its record says"), "{why}");
    // Twice the same entry, and one too few.
    let (_, why) = refused(|chunks| {
        let first = chunks[ENTRIES].1[..11].to_vec();
        chunks[ENTRIES].1.splice(0..0, first);
    });
    assert!(why.contains("out of order"), "{why}");
    let (_, why) = refused(|chunks| {
        let at = found(chunks);
        chunks[ENTRIES].1.truncate(at);
    });
    assert!(
        why.contains("6 entries are announced, 3 are there"),
        "{why}"
    );
    // Chunks that do not belong where they are.
    let (_, why) = refused(|chunks| chunks[ENTRIES].0 = 9);
    assert!(why.contains("kind 9 does not belong here"), "{why}");
    let (_, why) = refused(|chunks| chunks.swap(HEAD, ENTRIES));
    assert!(why.contains("does not belong here"), "{why}");
    let (_, why) = refused(|chunks| chunks.push((2, Vec::new())));
    assert!(why.contains("kind 2 does not belong here"), "{why}");
    let (_, why) = refused(|chunks| chunks[END].1.push(0));
    assert!(why.contains("too many"), "{why}");
}

#[test]
fn an_index_that_another_history_wrote_is_refused() {
    let mut mvcc = store();
    let mut disk = flushed(&mut mvcc);
    put(&mut mvcc, "d");
    put(&mut mvcc, "a/one");
    mvcc.publish(Index(11), Term(2));
    flush(&mut mvcc, &mut disk, false, |_| {});
    assert!(recover(&disk).is_ok());
    // The last record says that it is version 3 of its key.
    let mut chunks = payloads(&mut disk);
    let version = chunks[ENTRIES].1[10];
    assert_eq!(version, 2);
    chunks[ENTRIES].1[10] = 1;
    let error = recover_with(&disk, &framed(&chunks)).expect_err("another version");
    assert!(
        error.to_string().contains("record 9.0 is version 3"),
        "{error}"
    );
}

/// Enough keys for several levels of nodes, several files, and an index of many chunks.
#[test]
fn a_large_store_comes_back_from_index_and_records() {
    let mut mvcc = Mvcc::default();
    let mut disk = MemoryDisk::default();
    let mut rng = SplitMix64::new(3);
    let everything = RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    };
    for round in 1..=12u64 {
        for _ in 0..4_000 {
            let mut txn = mvcc.begin();
            let key = Bytes::from(format!("key/{:07}", rng.below(30_000)));
            let value = Bytes::from(vec![b'v'; rng.below(300) as usize]);
            if rng.below(6) > 0 {
                txn.put(&key, &value, LeaseId(0));
            } else {
                txn.delete(&key);
            }
            txn.end();
        }
        if round % 4 == 2 {
            mvcc.compact(mvcc.revision().0 - 1_000)
                .expect("further than before");
        }
        mvcc.publish(Index(round), Term(1));
        if round % 3 == 0 {
            while mvcc.step_maintenance(10_000) {}
        }
        flush(&mut mvcc, &mut disk, round % 4 == 1, |_| {});
        rewrite(&mut mvcc, &mut disk);
        let mut recovered = recover(&disk).expect("intact");
        while mvcc.step_maintenance(10_000) {}
        while recovered.step_maintenance(10_000) {}
        let (left, right) = (mvcc.views().load(), recovered.views().load());
        assert_eq!(
            left.range(&everything),
            right.range(&everything),
            "round {round}"
        );
        assert_eq!(left.hash_all(1), right.hash_all(1));
        for back in [0, 500] {
            let at = left.revision().0 - back;
            assert_eq!(left.hash_kv(at), right.hash_kv(at));
        }
        let behind = |mvcc: &Mvcc| mvcc.store().appended_since_index();
        assert_eq!(behind(&mvcc), behind(&recovered), "round {round}");
        let (left, right) = (mvcc.size(), recovered.size());
        assert_eq!(left.db_in_use_bytes, right.db_in_use_bytes, "round {round}");
        if round % 5 == 0 {
            mvcc = recovered;
        }
    }
    assert!(chunks(&stream(&mut disk)).len() > 4);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Payloads with any bytes changed, under correct checksums, are refused or taken, and never
    /// more.
    #[test]
    fn no_payload_makes_it_panic(
        chunk in 0..3usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut disk = flushed(&mut store());
        let mut chunks = payloads(&mut disk);
        let payload = &mut chunks[chunk].1;
        for (at, byte) in edits {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        if let Some(cut) = cut {
            let len = cut.index(payload.len());
            payload.truncate(len);
        }
        if let Ok(mvcc) = recover_with(&disk, &framed(&chunks)) {
            let _ = mvcc.views().load().hash_kv(0);
        }
    }
}
