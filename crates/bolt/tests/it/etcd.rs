//! Snapshots that etcd 3.5, 3.6 and 3.7 have written.

use crate::{Buckets, read, testdata, write};
use tenet_bolt::{BoltError, Db};

const FILES: [&str; 3] = ["etcd-3.5.35.db.gz", "etcd-3.6.16.db.gz", "etcd-3.7.1.db.gz"];

fn contents(name: &str) -> Buckets {
    let file = testdata(name);
    let db = Db::open(file.slice(..file.len() - 32)).unwrap();
    assert_eq!(db.check(), [], "{name}");
    assert_eq!(db.len_bytes(), file.len() as u64 - 32, "{name}");
    read(&db).unwrap()
}

#[test]
fn etcds_snapshots_are_read_whole() {
    for name in FILES {
        let buckets = contents(name);
        let names: Vec<_> = buckets.keys().map(|name| &name[..]).collect();
        let expected: [&[u8]; 10] = [
            b"alarm",
            b"auth",
            b"authRoles",
            b"authUsers",
            b"cluster",
            b"key",
            b"lease",
            b"members",
            b"members_removed",
            b"meta",
        ];
        assert_eq!(names, expected, "{name}");
        // 376 revisions, compacted at 45; the snapshot script is in the data's README.
        let keys = &buckets[&b"key"[..]];
        let last = keys.last_key_value().unwrap();
        assert_eq!(last.0[..8], 376_u64.to_be_bytes(), "{name}");
        let longest = keys.values().map(Vec::len).max();
        assert!(longest.is_some_and(|len| len > 100_000), "{longest:?}");
        assert_eq!(buckets[&b"lease"[..]].len(), 2, "{name}");
        assert_eq!(buckets[&b"authUsers"[..]].len(), 3, "{name}");
    }
}

#[test]
fn etcds_contents_written_anew_are_smaller_and_the_same() {
    for name in FILES {
        let buckets = contents(name);
        let file = write(&buckets, 1 << 16);
        assert!(file.len() < testdata(name).len(), "{name}");
        assert_eq!(read(&Db::open(file).unwrap()).unwrap(), buckets, "{name}");
    }
}

#[test]
fn the_older_meta_page_is_taken_when_the_newer_is_damaged() {
    let file = testdata(FILES[2]);
    for page in 0..2 {
        let mut damaged = file.to_vec();
        damaged[page * 4096 + 16 + 20] ^= 1;
        // Which of the two is the newer one decides what is read, not whether.
        Db::open(bytes::Bytes::from(damaged)).unwrap();
    }
    let mut damaged = file.to_vec();
    damaged[16] ^= 1;
    damaged[4096 + 16] ^= 1;
    let error = Db::open(bytes::Bytes::from(damaged)).unwrap_err();
    assert_eq!(error, BoltError::NotADatabase);
}
