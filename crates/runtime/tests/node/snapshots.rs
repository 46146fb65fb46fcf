//! Snapshots of a running member, and members that begin with one.

use super::{get, options, put, value_of};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tenet_base::MemberId;
use tenet_bolt::{Content, Db};
use tenet_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest,
    LeaseTimeToLiveRequest, PutRequest,
};
use tenet_runtime::{Founder, NewCluster, Node, Options, RestoreTarget, SnapshotStream, start};
use tenet_state::{Import, State};

/// The file, proven to be what the stream says of it.
async fn file(mut snapshot: SnapshotStream) -> Bytes {
    let mut blobs: Vec<(u64, Bytes)> = Vec::new();
    while let Some(message) = snapshot.next().await {
        let message = message.unwrap();
        assert_eq!(message.version, "3.7.0");
        assert!(message.header.is_none());
        blobs.push((message.remaining_bytes, message.blob));
    }
    let (left, sum) = blobs.pop().unwrap();
    assert_eq!((left, sum.len()), (0, 32));
    let mut file = Vec::new();
    let whole: u64 = blobs.iter().map(|(_, blob)| blob.len() as u64).sum();
    let last = blobs.len() - 1;
    for (at, (left, blob)) in blobs.iter().enumerate() {
        assert!(blob.len() == 32 * 1024 || at == last, "{}", blob.len());
        file.extend_from_slice(blob);
        assert_eq!(*left, whole - file.len() as u64);
    }
    assert_eq!(Sha256::digest(&file)[..], sum[..]);
    file.into()
}

/// The state in a file, as the beginning of `cluster`.
fn state(file: Bytes, cluster: &NewCluster) -> State {
    let db = Db::open(file).unwrap();
    assert_eq!(db.check(), []);
    let config = tenet_state::Config {
        member: MemberId(0),
        min_lease_ttl_s: 0,
        quota_bytes: 0,
        learners_max: 1,
    };
    let mut import = Import::new(config, cluster.store());
    for bucket in db.walk(&db.root()) {
        let bucket = bucket.unwrap();
        let Content::Bucket(entries) = &bucket.content else {
            panic!("a value among the buckets");
        };
        for entry in db.walk(entries) {
            let entry = entry.unwrap();
            let Content::Value(value) = &entry.content else {
                panic!("a bucket inside of a bucket");
            };
            import.entry(&bucket.key, &entry.key, value).unwrap();
        }
    }
    import.finish(cluster.beginning())
}

fn cluster() -> NewCluster {
    let founder = Founder {
        name: "default".to_owned(),
        peer_urls: vec!["http://localhost:12380".to_owned()],
    };
    NewCluster::new(vec![founder], "default", "another-token").unwrap()
}

fn restore(file: Bytes, target: &RestoreTarget) {
    let cluster = cluster();
    target.write(&cluster, &mut state(file, &cluster)).unwrap();
}

async fn hash(node: &Node) -> (u32, i64, i64) {
    let hash = node.hash_kv(HashKvRequest { revision: 0 }).await.unwrap();
    (hash.hash, hash.compact_revision, hash.hash_revision)
}

/// A history with overwrites, deletes, a compaction, leases and large values.
async fn write_history(node: &Node) {
    let lease = LeaseGrantRequest { id: 77, ttl: 1_000 };
    node.lease_grant(lease).await.unwrap();
    for n in 0..400_usize {
        let value = "v".repeat(n * n % 9_000);
        let request = PutRequest {
            lease: if n % 50 == 0 { 77 } else { 0 },
            ..put(&format!("k{}", n % 150), &value)
        };
        node.put(request).await.unwrap();
    }
    for key in ["k3", "k77"] {
        let delete = DeleteRangeRequest {
            key: key.into(),
            ..DeleteRangeRequest::default()
        };
        node.delete_range(delete).await.unwrap();
    }
    let compaction = CompactionRequest {
        revision: 200,
        physical: false,
    };
    node.compact(compaction).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_of_one_moment_and_starts_a_member_that_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    write_history(&node).await;
    let expected = hash(&node).await;
    let snapshot = node.snapshot().await.unwrap();
    // What comes after it is not part of it, whatever it does to what is.
    for n in 0..200 {
        node.put(put(&format!("k{n}"), "later")).await.unwrap();
    }
    let compaction = CompactionRequest {
        revision: 600,
        physical: true,
    };
    node.compact(compaction).await.unwrap();
    let file = file(snapshot).await;
    node.stop().await;
    let counted = async {
        while node.metrics().snapshots.histogram().cumulative().1 != 1 {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(30);
    tokio::time::timeout(limit, counted).await.unwrap();

    let data_dir = dir.path().join("restored");
    let target = RestoreTarget {
        data_dir: data_dir.clone(),
        wal_dir: None,
    };
    restore(file, &target);
    let refused = target.check().unwrap_err().to_string();
    assert!(refused.contains("not empty"), "{refused}");
    let restored = Options {
        data_dir,
        ..options(dir.path())
    };
    for round in 0..2 {
        let node = start(&restored).unwrap();
        node.ready().await;
        assert_eq!(node.identity().cluster, cluster().identity().cluster);
        if round == 0 {
            assert_eq!(hash(&node).await, expected);
            assert_eq!(value_of(&node, "k77").await, None);
            let past = tenet_proto::etcdserverpb::RangeRequest {
                revision: 201,
                ..get("k3")
            };
            assert_eq!(node.range(past).await.unwrap().count, 1);
            let asked = LeaseTimeToLiveRequest { id: 77, keys: true };
            let lease = node.lease_time_to_live(asked).await.unwrap();
            assert_eq!((lease.granted_ttl, lease.keys.len()), (1_000, 3));
        }
        let written = node.put(put("after", "it")).await.unwrap();
        let revision = written.header.unwrap().revision;
        assert_eq!(revision, expected.2 + 1 + round);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_member_has_a_snapshot_too_and_the_log_may_live_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    let file = file(node.snapshot().await.unwrap()).await;
    node.stop().await;
    let target = RestoreTarget {
        data_dir: dir.path().join("deep/er/restored"),
        wal_dir: Some(dir.path().join("logs/of/it")),
    };
    restore(file, &target);
    let refused = target.check().unwrap_err().to_string();
    assert!(refused.contains("not empty"), "{refused}");
    let elsewhere = RestoreTarget {
        data_dir: dir.path().join("other"),
        ..target.clone()
    };
    let refused = elsewhere.check().unwrap_err().to_string();
    assert!(refused.ends_with("exists"), "{refused}");
    let restored = Options {
        data_dir: target.data_dir,
        wal_dir: target.wal_dir,
        ..options(dir.path())
    };
    let node = start(&restored).unwrap();
    node.ready().await;
    let written = node.put(put("first", "of all")).await.unwrap();
    assert_eq!(written.header.unwrap().revision, 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    let file = file(node.snapshot().await.unwrap()).await;
    node.stop().await;
    let names = |dir: &Path| {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let before = names(dir.path());
    // A file stands where the log's directory would have to be made.
    let target = RestoreTarget {
        data_dir: dir.path().join("restored"),
        wal_dir: Some(dir.path().join("file/wal")),
    };
    let cluster = cluster();
    let error = target.write(&cluster, &mut state(file, &cluster));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("file"), "{error}");
    assert_eq!(names(dir.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_nobody_reads_do_not_hold_up_writes_and_end_with_their_streams() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    for n in 0..300 {
        node.put(put(&format!("k{n}"), &"v".repeat(20_000)))
            .await
            .unwrap();
    }
    let max = tenet_base::limits::SNAPSHOTS_MAX;
    let mut unread = Vec::new();
    for _ in 0..max {
        let mut snapshot = node.snapshot().await.unwrap();
        snapshot.next().await.unwrap().unwrap();
        unread.push(snapshot);
    }
    // The next one waits for its turn; everything else goes on.
    let waiting = tokio::spawn({
        let node = node.clone();
        async move { file(node.snapshot().await.unwrap()).await.len() }
    });
    for n in 0..50 {
        node.put(put(&format!("k{n}"), "on")).await.unwrap();
    }
    assert!(!waiting.is_finished());
    drop(unread.pop());
    assert!(waiting.await.unwrap() > 300 * 20_000);
    drop(unread);
    node.stop().await;
}
