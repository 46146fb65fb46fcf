//! What is written is read back, whatever it is, and its shape is what bbolt's check asks for.

use crate::{Buckets, read, write};
use proptest::prelude::*;
use std::collections::BTreeMap;
use tenet_bolt::{Db, PAGE_BYTES, Planner, WriteError, Writer};

fn bytes(len: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), len)
}

/// Mostly short keys, so that branches have many children; some so long that a page holds none.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => bytes(1..20),
        2 => bytes(200..1_500),
        1 => (1..40usize, any::<u8>()).prop_map(|(k, byte)| vec![byte; k * 800]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        10 => bytes(0..300),
        1 => (0..40_000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        // Around the room that a page has for one entry with a short key.
        1 => (4_000..4_100usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn buckets() -> impl Strategy<Value = Buckets> {
    let entries = proptest::collection::btree_map(key(), value(), 0..600);
    proptest::collection::btree_map(bytes(1..12), entries, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_written_file_holds_what_was_given(buckets in buckets(), piece in 1..100_000usize) {
        let file = write(&buckets, piece);
        let db = Db::open(file).unwrap();
        prop_assert_eq!(db.check(), vec![]);
        prop_assert_eq!(read(&db).unwrap(), buckets);
    }
}

#[test]
fn deep_trees_are_read_back() {
    // Keys of 1,300 bytes: three to a page, so that 3,000 entries make a tree of seven levels.
    let key = |at: u32| [&[7; 1_300][..], &at.to_be_bytes()].concat();
    let entries = (0..3_000).map(|at| (key(at), vec![at as u8; 3])).collect();
    let buckets: Buckets = [(b"deep".to_vec(), entries)].into();
    let db = Db::open(write(&buckets, usize::MAX)).unwrap();
    assert_eq!(db.check(), []);
    assert_eq!(read(&db).unwrap(), buckets);
}

#[test]
fn pages_are_filled() {
    let entries: BTreeMap<_, _> = (0..50_000_u64)
        .map(|at| (at.to_be_bytes().to_vec(), vec![1; 300]))
        .collect();
    let payload = entries.len() * (16 + 8 + 300);
    let file = write(&[(b"key".to_vec(), entries)].into(), 1 << 20);
    // Twelve entries of 324 bytes fill a page but for 192 bytes; the rest is branches.
    let share = file.len() as f64 / payload as f64;
    assert!(share < 1.07, "{share}");
    assert_eq!(file.len() % PAGE_BYTES, 0);
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let refused = |keys: &[(&[u8], usize)]| {
        let mut planner = Planner::new();
        planner.bucket(b"b");
        keys.iter()
            .map(|(key, len)| planner.entry(key, *len))
            .find_map(Result::err)
    };
    assert_eq!(refused(&[(b"a", 5), (b"b", (1 << 31) - 2)]), None);
    for (keys, expected) in [
        (&[(&b"b"[..], 0), (b"a", 0)][..], "Order"),
        (&[(b"a", 0), (b"a", 0)], "Order"),
        (&[(b"", 0)], "Length"),
        (&[(&[1; 32_769], 0)], "Length"),
        (&[(b"a", (1 << 31) - 1)], "Length"),
    ] {
        let error = refused(keys).expect(expected);
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
    assert_eq!(Planner::new().entry(b"a", 0), Err(WriteError::NoBucket));
}

#[test]
fn a_second_pass_that_differs_is_refused() {
    let plan = || {
        let mut planner = Planner::new();
        planner.bucket(b"b");
        planner.entry(b"k", 3_000).unwrap();
        planner.entry(b"l", 3_000).unwrap();
        planner.finish().unwrap()
    };
    let write = |values: &[(&[u8], usize)]| {
        let mut writer = Writer::new(plan());
        writer.bucket(b"b").unwrap();
        for (key, len) in values {
            writer.entry(key, &vec![0; *len])?;
        }
        writer.finish()
    };
    assert!(write(&[(b"k", 3_000), (b"l", 3_000)]).is_ok());
    for differing in [
        &[(&b"k"[..], 3_000)][..],
        &[(b"k", 300), (b"l", 300)],
        &[(b"k", 3_000), (b"l", 3_000), (b"m", 40_000), (b"n", 1)],
    ] {
        let error = write(differing).unwrap_err();
        assert!(matches!(error, WriteError::Unplanned { .. }), "{error}");
    }
}
