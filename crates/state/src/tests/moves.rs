//! Snapshots taken in and given out, compared with those of etcd.

use super::{apply, config, flushed, gunzip, opened, wal};
use crate::{Beginning, Export, Import, ImportError, Member, State, read_hash_kv};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tenet_base::{Index, LeaseId, MemberId, Term};
use tenet_bolt::{Content, Db};
use tenet_mvcc::ExportPosition;
use tenet_proto::etcdserverpb::{HashKvRequest, InternalRaftRequest, PutRequest};
use tenet_proto::raftpb::ConfState;

type Buckets = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

const SNAPSHOTS: [(&[u8], u32); 3] = [
    (
        include_bytes!("../../../bolt/testdata/etcd-3.5.35.db.gz"),
        2_454_643_363,
    ),
    (
        include_bytes!("../../../bolt/testdata/etcd-3.6.16.db.gz"),
        2_147_888_907,
    ),
    (
        include_bytes!("../../../bolt/testdata/etcd-3.7.1.db.gz"),
        3_454_285_802,
    ),
];

fn etcds(snapshot: &[u8]) -> Buckets {
    let db = Db::open(Bytes::from(gunzip(snapshot))).unwrap();
    let buckets = db.walk(&db.root()).map(|bucket| {
        let bucket = bucket.unwrap();
        let Content::Bucket(content) = &bucket.content else {
            panic!("a value among the buckets");
        };
        let entries = db.walk(content).map(|entry| {
            let entry = entry.unwrap();
            let Content::Value(value) = entry.content else {
                panic!("a bucket inside of a bucket");
            };
            (entry.key.to_vec(), value.to_vec())
        });
        let name = String::from_utf8(bucket.key.to_vec()).unwrap();
        (name, entries.collect())
    });
    buckets.collect()
}

fn ours(state: &mut State) -> Buckets {
    let export = state.export();
    let mut keys = Vec::new();
    let end = export.keys.export().entries(ExportPosition::START, |k, v| {
        keys.push((k.to_vec(), v.to_vec()));
        ControlFlow::Continue(())
    });
    assert_eq!(end, Ok(None));
    let tables = export.before_keys.into_iter().chain(export.after_keys);
    tables
        .map(|bucket| (bucket.name.to_owned(), bucket.entries))
        .chain([(Export::KEYS.to_owned(), keys)])
        .collect()
}

fn beginning() -> Beginning {
    Beginning {
        members: vec![Member {
            id: MemberId(7),
            name: "new".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
            ..Member::default()
        }],
        conf_state: ConfState {
            voters: vec![7],
            ..ConfState::default()
        },
        applied: (Index(1), Term(1)),
    }
}

fn import(buckets: &Buckets) -> Result<Import, ImportError> {
    let mut import = Import::new(config(), tenet_store::Store::default());
    for (bucket, entries) in buckets {
        for (key, value) in entries {
            import.entry(bucket.as_bytes(), key, value)?;
        }
    }
    Ok(import)
}

fn hash(state: &State) -> (u32, i64, i64) {
    let view = state.views().load();
    let hash = read_hash_kv(&view.kv, &HashKvRequest::default()).unwrap();
    (hash.hash, hash.compact_revision, hash.hash_revision)
}

fn through_files(mut state: State) -> State {
    let disk = flushed(&mut state);
    State::recover(config(), &disk, opened(&disk)).unwrap()
}

#[test]
fn etcds_log_replayed_gives_what_etcds_snapshot_holds() {
    let mut state = State::new(config());
    for entry in wal::entries(gunzip(include_bytes!("../../testdata/golden/wal.gz"))) {
        apply(&mut state, &entry).unwrap();
    }
    let (ours, etcds) = (ours(&mut state), etcds(SNAPSHOTS[2].0));
    for (name, entries) in &etcds {
        assert_eq!(&ours[name], entries, "bucket {name}");
    }
    assert_eq!(ours.len(), etcds.len());
}

#[test]
fn etcds_snapshots_are_taken_in_and_given_back() {
    for (snapshot, expected) in SNAPSHOTS {
        let etcds = etcds(snapshot);
        let mut state = import(&etcds).unwrap().finish(beginning());
        assert_eq!(hash(&state), (expected, 45, 376));
        let ours_now = ours(&mut state);
        for name in [
            "alarm",
            "auth",
            "authRoles",
            "authUsers",
            "cluster",
            "key",
            "lease",
        ] {
            assert_eq!(ours_now[name], etcds[name], "bucket {name}");
        }
        let view = state.views().load();
        assert_eq!(view.cluster.conf_state.voters, [7]);
        assert_eq!(view.cluster.members, beginning().members);
        let mut leased: Vec<_> = state
            .leases()
            .map(|(_, lease)| lease.keys.iter().map(|key| &key[..]).collect::<Vec<_>>())
            .collect();
        leased.sort();
        assert_eq!(
            leased,
            [&[&b"leased/1"[..], b"leased/3"][..], &[b"leased/2"]]
        );
        let mut again = through_files(state);
        assert_eq!(hash(&again), (expected, 45, 376));
        assert_eq!(ours(&mut again), ours_now);
    }
}

#[test]
fn a_bumped_revision_is_compacted_and_outlives_files_and_snapshots() {
    let etcds = etcds(SNAPSHOTS[2].0);
    let mut bumped = import(&etcds).unwrap();
    assert_eq!(bumped.bump(1_000_000).unwrap().get(), 1_000_376);
    let mut state = bumped.finish(beginning());
    // As etcd 3.7.1 gives it after "etcdutl snapshot restore --bump-revision 1000000
    // --mark-compacted".
    let expected = hash(&state);
    assert_eq!((expected.1, expected.2), (1_000_376, 1_000_376));
    let request = InternalRaftRequest {
        id: 1,
        put: Some(PutRequest {
            key: b"plain".as_slice().into(),
            value: b"next".as_slice().into(),
            ..PutRequest::default()
        }),
        ..InternalRaftRequest::default()
    };
    state.apply(Index(2), Term(1), &request).unwrap();
    state.publish();
    let after = hash(&state);
    assert_eq!((after.1, after.2), (1_000_376, 1_000_377));
    let mut state = through_files(state);
    assert_eq!(hash(&state), after);
    let given = ours(&mut state);
    let again = import(&given).unwrap().finish(beginning());
    assert_eq!(hash(&again), after);
}

#[test]
fn keys_on_a_lease_that_is_gone_are_taken_in_without_it() {
    let mut buckets = etcds(SNAPSHOTS[2].0);
    buckets.insert("lease".to_owned(), Vec::new());
    let state = import(&buckets).unwrap().finish(beginning());
    assert_eq!(hash(&state).0, SNAPSHOTS[2].1);
    assert_eq!(state.leases().count(), 0);
    assert!(state.lease(LeaseId(1)).is_none());
}

#[test]
fn what_is_not_understood_is_refused() {
    let refused = |change: &dyn Fn(&mut Buckets)| {
        let mut buckets = etcds(SNAPSHOTS[2].0);
        change(&mut buckets);
        import(&buckets).map(|_| ()).unwrap_err().to_string()
    };
    let set = |bucket: &'static str, key: &'static [u8], value: &'static [u8]| {
        refused(&move |buckets: &mut Buckets| {
            let entries = buckets.entry(bucket.to_owned()).or_default();
            entries.retain(|(k, _)| k != key);
            entries.push((key.to_vec(), value.to_vec()));
        })
    };
    let text = set("auth", b"authEnabled", &[1]);
    assert!(text.contains("auth disable"), "{text}");
    let text = set("test", b"k", b"v");
    assert!(text.contains("bucket \"test\" is not known"), "{text}");
    let text = set("meta", b"storageVersion", b"3.8.0");
    assert!(text.contains("storage version is 3.8.0"), "{text}");
    let text = set("cluster", b"clusterVersion", b"4.0.0");
    assert!(text.contains("cluster version is 4.0.0"), "{text}");
    let text = set("meta", b"newThing", b"");
    assert!(text.contains("unknown key newThing"), "{text}");
    let text = set("meta", b"finishedCompactRev", b"12345678_");
    assert!(text.contains("no revision"), "{text}");
    let text = set("key", b"short", b"");
    assert!(text.contains("not a revision"), "{text}");
    let text = set("lease", b"12345678", b"\xff");
    assert!(text.contains("lease"), "{text}");
    // The last key-value again, one revision later: its numbers do not fit there.
    let text = refused(&|buckets: &mut Buckets| {
        let keys = buckets.get_mut("key").unwrap();
        let (mut key, value) = keys.last().unwrap().clone();
        key[7] += 1;
        keys.push((key, value));
    });
    assert!(text.contains("does not follow"), "{text}");
    // Two entries in the wrong order.
    let text = refused(&|buckets: &mut Buckets| buckets.get_mut("key").unwrap().swap(3, 4));
    assert!(text.contains("not above the one before"), "{text}");
}
