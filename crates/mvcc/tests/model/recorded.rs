//! Histories whose hashes were read from etcd 3.7.1.

use bytes::Bytes;
use tenet_base::{Index, LeaseId, Term};
use tenet_mvcc::Mvcc;

/// `(key, Some(value))` puts, `(key, None)` deletes.
fn write(mvcc: &mut Mvcc, changes: &[(&str, Option<&str>)]) {
    let mut txn = mvcc.begin();
    for (key, value) in changes {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match value {
            Some(value) => {
                txn.put(
                    &key,
                    &Bytes::copy_from_slice(value.as_bytes()),
                    LeaseId::ZERO,
                );
            }
            None => assert!(txn.delete(&key)),
        }
    }
    txn.end();
}

/// Found by comparing random histories with etcd. A transaction deletes everything and puts one of
/// the keys again: at its revision no key shows anything to etcd's hash, so everything that the
/// compaction left is in.
#[test]
fn a_key_put_again_by_the_transaction_that_deleted_it_shows_nothing_to_the_hash() {
    let mut mvcc = Mvcc::default();
    write(
        &mut mvcc,
        &[("e", Some("v1")), ("b/1", Some("v1")), ("d/x", Some("v2"))],
    );
    for (key, value) in [
        ("a", "v3"),
        ("d/x", "v1"),
        ("b/2", "v0"),
        ("d/x", "v4"),
        ("e", "v0"),
        ("f", "v2"),
        ("d/x", "v0"),
        ("f", "v2"),
    ] {
        write(&mut mvcc, &[(key, Some(value))]);
    }
    write(&mut mvcc, &[("f", None)]);
    mvcc.compact(11).unwrap();
    while mvcc.step_maintenance(100) {}
    let mut last = vec![("d", Some("v0"))];
    last.extend(["a", "b/1", "b/2", "d", "d/x", "e"].map(|key| (key, None)));
    last.push(("a", Some("v1")));
    write(&mut mvcc, &last);
    mvcc.publish(Index(1), Term(1));
    let hash = mvcc.views().load().hash_kv(0).unwrap();
    assert_eq!((hash.hash_revision, hash.compact_revision), (12, 11));
    assert_eq!(hash.hash, 1_455_852_978);
}
