//! A member on a real disk, called through the node API.

#[path = "node/long.rs"]
mod long;
#[path = "node/snapshots.rs"]
mod snapshots;

use std::path::Path;
use tenet_member::Founder;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, HashKvRequest, LeaseGrantRequest, LeaseKeepAliveRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest,
};
use tenet_runtime::{Node, Options, start};

fn options(dir: &Path) -> Options {
    Options {
        name: "default".to_owned(),
        data_dir: dir.join("data"),
        wal_dir: None,
        advertise_client_urls: vec!["http://localhost:2379".to_owned()],
        initial_cluster: vec![Founder {
            name: "default".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
        }],
        initial_cluster_token: "etcd-cluster".to_owned(),
        joins: None,
        strict_reconfiguration: true,
        snapshot_count: 10_000,
        auto_compaction: None,
        snapshot_catchup_entries: 5_000,
        keep_segments: 5,
        heartbeat_ms: 100,
        election_ms: 1_000,
        initial_election_tick_advance: true,
        pre_vote: true,
        quota_bytes: 0,
        lease_checkpoints: true,
        fast_lease_keep_alive: true,
        request_bytes_max: 1_572_864,
        txn_ops_max: 128,
        learners_max: 1,
        watch_progress_interval_ms: 600_000,
        slow_apply: std::time::Duration::from_millis(100),
        unsafe_no_fsync: false,
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

fn get(key: &str) -> RangeRequest {
    RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    }
}

async fn value_of(node: &Node, key: &str) -> Option<String> {
    let response = node.range(get(key)).await.unwrap();
    response
        .kvs
        .first()
        .map(|kv| String::from_utf8(kv.value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    assert_eq!(node.header().member_id, 0x8e9e_05c5_2164_694d);
    for n in 0..100 {
        let response = node.put(put(&format!("k{n}"), "v")).await.unwrap();
        assert_eq!(response.header.unwrap().revision, n + 2);
    }
    node.delete_range(DeleteRangeRequest {
        key: "k7".into(),
        ..DeleteRangeRequest::default()
    })
    .await
    .unwrap();
    let hash = node.hash_kv(HashKvRequest { revision: 0 }).await.unwrap();
    let term = node.header().raft_term;
    node.stop().await;
    assert_eq!(
        node.put(put("late", "v")).await.unwrap_err(),
        ApiError::Stopped
    );
    drop(node);

    let node = start(&options(dir.path())).unwrap();
    assert_eq!(value_of(&node, "k42").await.as_deref(), Some("v"));
    assert_eq!(value_of(&node, "k7").await, None);
    let again = node.hash_kv(HashKvRequest { revision: 0 }).await.unwrap();
    assert_eq!((again.hash, again.hash_revision), (hash.hash, 102));
    assert_eq!(node.header().raft_term, term + 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flushes_let_the_log_go_and_restarts_start_from_them() {
    let dir = tempfile::tempdir().unwrap();
    let few = Options {
        snapshot_count: 50,
        snapshot_catchup_entries: 10,
        keep_segments: 1,
        ..options(dir.path())
    };
    let node = start(&few).unwrap();
    for n in 0..300 {
        node.put(put(&format!("k{}", n % 40), &n.to_string()))
            .await
            .unwrap();
    }
    let compaction = CompactionRequest {
        revision: 250,
        physical: true,
    };
    node.compact(compaction).await.unwrap();
    let hash = node.hash_kv(HashKvRequest { revision: 0 }).await.unwrap();
    let manifest = few.data_dir.join("member/store/MANIFEST");
    while !manifest.exists() {
        tokio::task::yield_now().await;
    }
    node.stop().await;
    drop(node);

    let node = start(&few).unwrap();
    // A linearizable read first: hashes are of what was applied so far.
    assert_eq!(value_of(&node, "k19").await.as_deref(), Some("299"));
    let again = node.hash_kv(HashKvRequest { revision: 0 }).await.unwrap();
    assert_eq!(again.hash, hash.hash);
    assert_eq!(again.compact_revision, 250);
    let old = RangeRequest {
        revision: 249,
        ..get("k19")
    };
    assert_eq!(node.range(old).await.unwrap_err(), ApiError::Compacted);
    node.stop().await;
}

/// Flips a bit of a value in every file of the store that has it.
fn damage(options: &Options, wanted: &[u8]) {
    let store = options.data_dir.join("member/store");
    let mut damaged = 0;
    for entry in std::fs::read_dir(store).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(wanted.len()).position(|w| w == wanted) {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    // A file that was rewritten may not be removed yet.
    assert!(damaged > 0, "no file has the value");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_value_is_told_and_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    let few = Options {
        snapshot_count: 50,
        ..options(dir.path())
    };
    let node = start(&few).unwrap();
    node.put(put("early", "a value to be damaged"))
        .await
        .unwrap();
    for n in 0..100 {
        node.put(put("later", &n.to_string())).await.unwrap();
    }
    node.stop().await;
    drop(node);

    damage(&few, b"a value to be damaged");

    let node = start(&few).unwrap();
    assert_eq!(value_of(&node, "later").await.as_deref(), Some("99"));
    assert_eq!(
        node.range(get("early")).await.unwrap_err(),
        ApiError::Corrupt
    );
    let keys_only = RangeRequest {
        keys_only: true,
        ..get("early")
    };
    assert_eq!(node.range(keys_only).await.unwrap().count, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_each_get_a_revision_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    let writers: Vec<_> = (0..64)
        .map(|writer| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                for n in 0..50 {
                    let response = node.put(put(&format!("w{writer}"), &n.to_string())).await;
                    revisions.push(response.unwrap().header.unwrap().revision);
                    // A write that was answered is seen by whoever reads afterwards.
                    assert_eq!(
                        value_of(&node, &format!("w{writer}")).await,
                        Some(n.to_string())
                    );
                }
                revisions
            })
        })
        .collect();
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (2..2 + 64 * 50).collect::<Vec<i64>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_in_one_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    let refused = start(&options(dir.path())).unwrap_err().to_string();
    assert!(refused.contains("in use by another process"), "{refused}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_our_store_is_taken_for_etcds_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.stop().await;
    drop(node);
    std::fs::remove_dir_all(dir.path().join("data/member/store")).unwrap();
    let refused = start(&options(dir.path())).unwrap_err().to_string();
    assert!(refused.contains("data directory of etcd"), "{refused}");
    assert!(!dir.path().join("data/member/store").exists());
}

/// Asks until the answer satisfies, or for so long that it never will.
async fn until<T, F: Future<Output = T>>(
    mut ask: impl FnMut() -> F,
    good: impl Fn(&T) -> bool,
) -> T {
    for _ in 0..1_500 {
        let answer = ask().await;
        if good(&answer) {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not within fifteen seconds")
}

async fn left_s(node: &Node, id: i64) -> i64 {
    let request = LeaseTimeToLiveRequest { id, keys: false };
    node.lease_time_to_live(request).await.unwrap().ttl
}

fn put_on(lease: i64, key: &str) -> PutRequest {
    PutRequest {
        lease,
        ..put(key, "v")
    }
}

#[tokio::test]
async fn a_lease_ends_in_time_with_its_keys_and_another_is_kept_alive() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    let begin = std::time::Instant::now();
    for id in [1, 2] {
        let granted = node.lease_grant(LeaseGrantRequest { ttl: 1, id }).await;
        assert_eq!(granted.unwrap().ttl, 2, "the shortest time");
        node.put(put_on(id, &format!("key{id}"))).await.unwrap();
    }
    let again = node.lease_grant(LeaseGrantRequest { ttl: 1, id: 1 }).await;
    assert_eq!(again.unwrap_err(), ApiError::LeaseExist);
    let keep = || async {
        let renewed = node.lease_keep_alive(LeaseKeepAliveRequest { id: 2 }).await;
        assert_eq!(renewed.unwrap().ttl, 2);
        value_of(&node, "key1").await
    };
    until(keep, Option::is_none).await;
    assert!(
        begin.elapsed() >= std::time::Duration::from_secs(2),
        "early"
    );
    assert_eq!(value_of(&node, "key2").await.as_deref(), Some("v"));
    let gone = node.lease_keep_alive(LeaseKeepAliveRequest { id: 1 }).await;
    assert_eq!(gone.unwrap().ttl, 0);
    assert_eq!(left_s(&node, 1).await, -1);
    assert_eq!(node.lease_counts().expired.get(), 1);

    let request = LeaseTimeToLiveRequest { id: 2, keys: true };
    let asked = node.lease_time_to_live(request).await.unwrap();
    assert_eq!(
        (asked.granted_ttl, &asked.keys[..]),
        (2, &["key2".into()][..])
    );
    let revoked = node
        .lease_revoke(LeaseRevokeRequest { id: 2 })
        .await
        .unwrap();
    assert_eq!(revoked.header.unwrap().revision, 5);
    assert_eq!(value_of(&node, "key2").await, None);
    let again = node.lease_revoke(LeaseRevokeRequest { id: 2 }).await;
    assert_eq!(again.unwrap_err(), ApiError::LeaseNotFound);
    node.stop().await;
    let stopped = node.lease_keep_alive(LeaseKeepAliveRequest { id: 2 }).await;
    assert_eq!(stopped.unwrap_err(), ApiError::Stopped);
}

#[tokio::test]
async fn what_is_left_of_a_lease_survives_a_restart_and_a_renewal_brings_all_of_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    node.lease_grant(LeaseGrantRequest { ttl: 8, id: 1 })
        .await
        .unwrap();
    node.put(put_on(1, "key")).await.unwrap();
    until(|| left_s(&node, 1), |left| *left <= 2).await;
    node.stop().await;
    drop(node);

    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    // What was written down at half time, and an election timeout.
    let left = until(|| left_s(&node, 1), |left| *left >= 0).await;
    assert!((2..=5).contains(&left), "{left} of 8 seconds are left");
    let renewed = node.lease_keep_alive(LeaseKeepAliveRequest { id: 1 }).await;
    assert_eq!(renewed.unwrap().ttl, 8);
    node.stop().await;
    drop(node);

    let node = start(&options(dir.path())).unwrap();
    node.ready().await;
    let left = until(|| left_s(&node, 1), |left| *left >= 0).await;
    assert!(left >= 7, "{left} of 8 seconds are left after a renewal");
    assert_eq!(value_of(&node, "key").await.as_deref(), Some("v"));
    node.stop().await;
}
