//! Damaged files: an error with a place, or the right contents; never a panic.

use crate::{Buckets, read, testdata, write};
use bytes::Bytes;
use proptest::prelude::*;
use tenet_bolt::{BoltError, Db};

/// Reads and checks; what comes out does not matter, that it comes out does.
fn survives(file: Bytes) -> Result<Buckets, BoltError> {
    let db = Db::open(file)?;
    let errors = db.check();
    let contents = read(&db);
    match (&contents, errors.first()) {
        (Err(error), None) => panic!("reading fails ({error}) where the check finds nothing"),
        (_, Some(error)) => Err(error.clone()),
        _ => contents,
    }
}

#[test]
fn a_cut_file_is_refused_with_both_lengths() {
    let file = testdata("etcd-3.7.1.db.gz");
    let whole = file.len() - 32;
    assert!(survives(file.slice(..whole)).is_ok());
    for len in [whole - 1, whole - 4096, whole / 2, 8192] {
        let error = survives(file.slice(..len)).unwrap_err();
        let expected = BoltError::Truncated {
            len_bytes: len as u64,
            needed_bytes: whole as u64,
        };
        assert_eq!(error, expected);
    }
    for len in [0, 1, 79] {
        assert_eq!(survives(file.slice(..len)), Err(BoltError::NotADatabase));
    }
}

#[test]
fn pages_that_lead_in_circles_are_seen() {
    let entries = (0..2_000_u32).map(|at| (at.to_be_bytes().to_vec(), vec![0; 50]));
    let file = write(&[(b"key".to_vec(), entries.collect())].into(), usize::MAX);
    let branch = (0..file.len() / 4096)
        .find(|page| file[page * 4096 + 8] == 1)
        .unwrap();
    // The second child becomes the first once more, the branch itself, or a page beyond the end.
    for child in [3_u64, branch as u64, 1 << 40, 0] {
        let mut damaged = file.to_vec();
        let at = branch * 4096 + 16 + 16 + 8;
        damaged[at..at + 8].copy_from_slice(&child.to_le_bytes());
        let error = survives(damaged.into()).unwrap_err();
        assert!(matches!(error, BoltError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_check_goes_on_behind_damage() {
    let entries = (0..2_000_u32).map(|at| (at.to_be_bytes().to_vec(), vec![0; 50]));
    let file = write(&[(b"key".to_vec(), entries.collect())].into(), usize::MAX);
    let mut damaged = file.to_vec();
    for page in [4, 7, 9] {
        damaged[page * 4096 + 8] = 0x40;
    }
    let errors = Db::open(Bytes::from(damaged)).unwrap().check();
    let offsets: Vec<_> = errors
        .iter()
        .map(|error| match error {
            BoltError::Damaged { offset, .. } => *offset / 4096,
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(offsets, [4, 7, 9]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_is_changed_nothing_panics(
        which in 0..3usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let names = ["etcd-3.5.35.db.gz", "etcd-3.6.16.db.gz", "etcd-3.7.1.db.gz"];
        let mut file = testdata(names[which]).to_vec();
        // Structure stands at the beginnings of pages, and is what matters most.
        let pages = file.len() / 4096;
        for (at, byte) in &changes {
            let page = at.index(pages);
            let within = usize::from(*byte) % 96;
            file[page * 4096 + within] ^= byte | 1;
        }
        let _ = survives(file.into());
    }
}
