//! The log of the golden member, replayed: the same keys, hashes, leases, members and users.

use super::{apply, config, flushed, gunzip, opened, wal};
use crate::{State, read_hash_kv, read_range};
use serde_json::Value;
use tenet_base::LeaseId;
use tenet_proto::etcdserverpb::{HashKvRequest, RangeRequest};
use tenet_proto::mvccpb::KeyValue;

fn log() -> Vec<tenet_proto::raftpb::Entry> {
    wal::entries(gunzip(include_bytes!("../../testdata/golden/wal.gz")))
}

fn replayed() -> State {
    let mut state = State::new(config());
    for entry in log() {
        apply(&mut state, &entry).unwrap();
    }
    state.publish();
    state
}

/// One JSON value a line.
fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Bytes as etcdctl's JSON has them; left out when empty.
fn bytes(value: &Value) -> Vec<u8> {
    crate::base64::decode(value.as_str().unwrap_or_default()).unwrap()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

fn kvs(json: &Value) -> Vec<KeyValue> {
    let kv = |kv: &Value| KeyValue {
        key: bytes(&kv["key"]).into(),
        create_revision: number(&kv["create_revision"]),
        mod_revision: number(&kv["mod_revision"]),
        version: number(&kv["version"]),
        value: bytes(&kv["value"]).into(),
        lease: number(&kv["lease"]),
    };
    json["kvs"].as_array().unwrap().iter().map(kv).collect()
}

fn everything(revision: i64) -> RangeRequest {
    RangeRequest {
        key: vec![0].into(),
        range_end: vec![0].into(),
        revision,
        ..RangeRequest::default()
    }
}

#[test]
fn hash_after_each_stage_of_the_script_is_etcds() {
    let mut stages = lines(include_str!("../../testdata/golden/hashkv.jsonl"));
    let mut state = State::new(config());
    for entry in log() {
        apply(&mut state, &entry).unwrap();
        state.publish();
        let hash = read_hash_kv(&state.views().load().kv, &HashKvRequest::default()).unwrap();
        let reached = |stage: &Value| {
            let stage = &stage["hashkv"];
            number(&stage["hash_revision"]) == hash.hash_revision
                && number(&stage["compact_revision"]) == hash.compact_revision
        };
        while stages.first().is_some_and(reached) {
            let stage = stages.remove(0);
            assert_eq!(
                number(&stage["hashkv"]["hash"]),
                i64::from(hash.hash),
                "{stage}"
            );
        }
    }
    assert!(stages.is_empty(), "never reached: {stages:?}");
}

#[test]
fn end_is_etcds() {
    let mut state = replayed();
    let view = state.views().load();
    assert_eq!(view.kv.revision().get(), 376);
    assert_eq!(view.kv.compact_revision().unwrap().get(), 45);
    let hash = read_hash_kv(&view.kv, &HashKvRequest::default()).unwrap();
    assert_eq!(hash.hash, 3_454_285_802);
    assert_eq!(state.applied().0, view.kv.applied());
    assert_eq!(view.cluster.cluster_version.unwrap().to_string(), "3.7.0");
    assert_eq!(view.cluster.conf_state.voters, [9_756_032_511_891_521_708]);
    // The hash over all tables, as the golden member gives it when it is started again.
    assert_eq!(state.hash_job().run(), 3_845_186_330);
}

#[test]
fn keys_now_and_in_the_past_are_etcds() {
    let state = replayed();
    let view = state.views().load();
    for (revision, json) in [
        (
            0,
            gunzip(include_bytes!("../../testdata/golden/all.json.gz")),
        ),
        (
            65,
            include_bytes!("../../testdata/golden/at-65.json").to_vec(),
        ),
    ] {
        let expected: Value = serde_json::from_slice(&json).unwrap();
        let range = read_range(&view.kv, &everything(revision)).unwrap();
        assert_eq!(range.kvs, kvs(&expected));
        assert_eq!(range.count, number(&expected["count"]));
        assert_eq!(range.header.unwrap().revision, 376);
    }
}

#[test]
fn leases_are_etcds() {
    let state = replayed();
    let golden = lines(include_str!("../../testdata/golden/leases.json"));
    let listed = golden[0]["leases"].as_array().unwrap();
    assert_eq!(state.leases().count(), listed.len());
    assert_eq!(state.views().load().cluster.leases, listed.len());
    for golden in &golden[1..] {
        let lease = state.lease(LeaseId(number(&golden["id"]))).unwrap();
        assert_eq!(lease.ttl_s, number(&golden["granted-ttl"]));
        let mut keys: Vec<_> = golden["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(bytes)
            .collect();
        keys.sort();
        assert!(lease.keys.iter().eq(keys.iter()), "{golden}");
    }
}

#[test]
fn members_are_etcds() {
    let state = replayed();
    let golden: Value =
        serde_json::from_str(include_str!("../../testdata/golden/members.json")).unwrap();
    let [golden] = &golden["members"].as_array().unwrap()[..] else {
        panic!("one member is due: {golden}")
    };
    let view = state.views().load();
    let [member] = &view.cluster.members[..] else {
        panic!("one member is due: {:?}", view.cluster.members)
    };
    assert_eq!(member.id.get(), golden["ID"].as_u64().unwrap());
    assert_eq!(member.name, golden["name"]);
    assert_eq!(serde_json::json!(member.peer_urls), golden["peerURLs"]);
    assert_eq!(serde_json::json!(member.client_urls), golden["clientURLs"]);
}

#[test]
fn users_and_roles_are_etcds() {
    let state = replayed();
    let golden = lines(include_str!("../../testdata/golden/auth.json"));
    let auth = &state.tables.auth;
    let users: Vec<_> = auth.users().map(|(name, _)| name).collect();
    assert_eq!(serde_json::json!(users), golden[0]["users"]);
    let roles: Vec<_> = auth.roles().map(|(name, _)| name).collect();
    assert_eq!(roles, ["reader", "writer"]);
    for ((_, role), golden) in auth.roles().zip(&golden[1..3]) {
        let [golden] = &golden["perm"].as_array().unwrap()[..] else {
            panic!("one permission is due: {golden}")
        };
        let [permission] = &role.key_permission[..] else {
            panic!("one permission is due: {role:?}")
        };
        assert_eq!(i64::from(permission.perm_type), number(&golden["permType"]));
        assert_eq!(permission.key, bytes(&golden["key"]));
        assert_eq!(permission.range_end, bytes(&golden["range_end"]));
    }
    for ((_, user), golden) in auth.users().zip(&golden[3..]) {
        assert_eq!(serde_json::json!(user.roles), golden["roles"]);
    }
}

#[test]
fn a_flush_at_any_entry_recovers_the_same_state() {
    let log = log();
    let mut expected = replayed();
    for cut in [0, 1, 4, 60, 100, log.len()] {
        let mut state = State::new(config());
        for entry in &log[..cut] {
            apply(&mut state, entry).unwrap();
        }
        let disk = flushed(&mut state);
        let mut state = State::recover(config(), &disk, opened(&disk)).unwrap();
        for entry in &log[cut..] {
            apply(&mut state, entry).unwrap();
        }
        assert_eq!(
            state.hash_job().run(),
            expected.hash_job().run(),
            "cut at {cut}"
        );
        assert!(state.leases().eq(expected.leases()));
        assert_eq!(
            state.views().load().cluster,
            expected.views().load().cluster
        );
    }
}
