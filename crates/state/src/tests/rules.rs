//! One test per rule of applying.

use super::{config, flushed, opened};
use crate::{Applied, Config, Fatal, Response, State};
use bytes::Bytes;
use tenet_base::{Index, LeaseId, MemberId, Term};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::alarm_request::AlarmAction;
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{self as pb, AlarmType, InternalRaftRequest, response_op};
use tenet_proto::membershippb;
use tenet_proto::raftpb::{ConfChange, ConfChangeType};

/// A state that is given requests one after another.
struct Machine(State);

impl Machine {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        Machine(State::new(config))
    }

    fn try_apply(&mut self, mut request: InternalRaftRequest) -> Result<Applied, Fatal> {
        request.header = Some(pb::RequestHeader::default());
        let index = self.0.applied().0.next();
        self.0.apply(index, Term(2), &request)
    }

    fn apply(&mut self, request: InternalRaftRequest) -> Result<Response, ApiError> {
        self.try_apply(request).unwrap().result
    }

    fn revision(&self) -> i64 {
        self.0.mvcc.revision().get()
    }

    fn put(&mut self, put: pb::PutRequest) -> Result<pb::PutResponse, ApiError> {
        match self.apply(InternalRaftRequest {
            put: Some(put),
            ..none()
        })? {
            Response::Put(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    fn txn(&mut self, txn: pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        match self.apply(InternalRaftRequest {
            txn: Some(txn.into()),
            ..none()
        })? {
            Response::Txn(response) => Ok(response),
            other => panic!("{other:?}"),
        }
    }

    fn delete(&mut self, key: &'static str, end: &'static str) -> Result<i64, ApiError> {
        let delete_range = Some(delete(key, end).into());
        match self.apply(InternalRaftRequest {
            delete_range,
            ..none()
        })? {
            Response::DeleteRange(response) => Ok(response.deleted),
            other => panic!("{other:?}"),
        }
    }

    fn compact(&mut self, revision: i64) -> Result<Response, ApiError> {
        let request = pb::CompactionRequest {
            revision,
            physical: false,
        };
        self.apply(InternalRaftRequest {
            compaction: Some(request.into()),
            ..none()
        })
    }

    fn grant(&mut self, id: i64) -> Result<Response, ApiError> {
        let request = pb::LeaseGrantRequest { ttl: 60, id };
        self.apply(InternalRaftRequest {
            lease_grant: Some(request.into()),
            ..none()
        })
    }

    fn revoke(&mut self, id: i64) -> Result<Response, ApiError> {
        let request = pb::LeaseRevokeRequest { id };
        self.apply(InternalRaftRequest {
            lease_revoke: Some(request.into()),
            ..none()
        })
    }

    fn alarm(&mut self, action: AlarmAction, alarm: AlarmType) {
        let request = pb::AlarmRequest {
            action: action as i32,
            member_id: 7,
            alarm: alarm as i32,
        };
        self.apply(InternalRaftRequest {
            alarm: Some(request.into()),
            ..none()
        })
        .unwrap();
    }

    fn keys_of_lease(&self, id: i64) -> Vec<Bytes> {
        let lease = self.0.lease(LeaseId(id)).unwrap();
        lease.keys.iter().cloned().collect()
    }
}

fn none() -> InternalRaftRequest {
    InternalRaftRequest::default()
}

fn put(key: &'static str, value: &'static str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..pb::PutRequest::default()
    }
}

fn put_leased(key: &'static str, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        lease,
        ..put(key, "v")
    }
}

fn delete(key: &'static str, range_end: &'static str) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: key.into(),
        range_end: range_end.into(),
        prev_kv: false,
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn txn(ops: Vec<Request>) -> pb::TxnRequest {
    pb::TxnRequest {
        success: ops.into_iter().map(op).collect(),
        ..pb::TxnRequest::default()
    }
}

#[test]
fn put_keeps_value_or_lease_of_a_key_that_is_there() {
    let mut m = Machine::new();
    m.grant(5).unwrap();
    m.put(put_leased("k", 5)).unwrap();
    let keep_value = pb::PutRequest {
        ignore_value: true,
        prev_kv: true,
        ..put("k", "")
    };
    let previous = m.put(keep_value.clone()).unwrap().prev_kv.unwrap();
    assert_eq!(
        (&previous.value[..], previous.lease, previous.version),
        (&b"v"[..], 5, 1)
    );
    assert!(m.keys_of_lease(5).is_empty());
    m.put(put_leased("k", 5)).unwrap();
    m.put(pb::PutRequest {
        ignore_lease: true,
        ..put("k", "w")
    })
    .unwrap();
    assert_eq!(m.keys_of_lease(5), ["k"]);
    let before = m.revision();
    let missing = pb::PutRequest {
        key: "no".into(),
        ..keep_value
    };
    assert_eq!(m.put(missing), Err(ApiError::KeyNotFound));
    assert_eq!(m.put(put_leased("k", 9)), Err(ApiError::LeaseNotFound));
    // The lease is looked for before the key.
    let both = pb::PutRequest {
        ignore_value: true,
        ..put_leased("no", 9)
    };
    assert_eq!(m.put(both), Err(ApiError::LeaseNotFound));
    assert_eq!(m.revision(), before);
}

#[test]
fn delete_of_nothing_makes_no_revision_and_of_many_makes_one() {
    let mut m = Machine::new();
    for key in ["a", "b", "c", "d"] {
        m.put(put(key, "v")).unwrap();
    }
    assert_eq!(m.revision(), 5);
    assert_eq!(m.delete("x", ""), Ok(0));
    assert_eq!(m.delete("c", "a"), Ok(0));
    assert_eq!(m.revision(), 5);
    assert_eq!(m.delete("a", "c"), Ok(2));
    assert_eq!(m.delete("a", "\0"), Ok(2));
    assert_eq!(m.revision(), 7);
}

#[test]
fn transaction_is_one_revision_and_sees_its_own_writes() {
    let mut m = Machine::new();
    m.put(put("a", "0")).unwrap();
    let range = pb::RangeRequest {
        key: "a".into(),
        ..pb::RangeRequest::default()
    };
    let response = m
        .txn(txn(vec![
            Request::RequestRange(range.clone()),
            Request::RequestPut(put("a", "1")),
            Request::RequestRange(range),
            Request::RequestPut(put("b", "2")),
            Request::RequestDeleteRange(delete("c", "")),
        ]))
        .unwrap();
    let headers: Vec<i64> = response
        .responses
        .iter()
        .map(|op| match op.response.as_ref().unwrap() {
            response_op::Response::ResponseRange(r) => r.header.unwrap().revision,
            response_op::Response::ResponsePut(r) => r.header.unwrap().revision,
            response_op::Response::ResponseDeleteRange(r) => r.header.unwrap().revision,
            response_op::Response::ResponseTxn(r) => r.header.unwrap().revision,
        })
        .collect();
    assert_eq!(headers, [2, 3, 3, 3, 3]);
    assert_eq!((response.header.unwrap().revision, m.revision()), (3, 3));
    let Some(response_op::Response::ResponseRange(range)) = &response.responses[2].response else {
        panic!("{response:?}")
    };
    assert_eq!(
        (&range.kvs[0].value[..], range.kvs[0].mod_revision),
        (&b"1"[..], 3)
    );
}

#[test]
fn nested_transaction_has_an_empty_header_and_is_chosen_before_anything_is_written() {
    let mut m = Machine::new();
    let exists = pb::Compare {
        result: pb::compare::CompareResult::Greater as i32,
        target: pb::compare::CompareTarget::Version as i32,
        key: "a".into(),
        ..pb::Compare::default()
    };
    let nested = pb::TxnRequest {
        compare: vec![exists],
        ..txn(vec![])
    };
    let response = m
        .txn(txn(vec![
            Request::RequestPut(put("a", "1")),
            Request::RequestTxn(nested),
        ]))
        .unwrap();
    let Some(response_op::Response::ResponseTxn(nested)) = &response.responses[1].response else {
        panic!("{response:?}")
    };
    assert!(!nested.succeeded);
    assert_eq!(nested.header, Some(pb::ResponseHeader::default()));
}

#[test]
fn transaction_is_refused_as_a_whole_before_it_writes() {
    let mut m = Machine::new();
    for value in ["1", "2", "3"] {
        m.put(put("k", value)).unwrap();
    }
    m.compact(3).unwrap();
    let at = |revision| {
        Request::RequestRange(pb::RangeRequest {
            key: "k".into(),
            revision,
            ..pb::RangeRequest::default()
        })
    };
    let keep = pb::PutRequest {
        ignore_lease: true,
        ..put("new", "v")
    };
    for (request, error) in [
        (at(2), ApiError::Compacted),
        (at(-1), ApiError::Compacted),
        (at(5), ApiError::FutureRevision),
        (
            Request::RequestPut(put_leased("k", 9)),
            ApiError::LeaseNotFound,
        ),
        (Request::RequestPut(keep), ApiError::KeyNotFound),
    ] {
        let write = Request::RequestPut(put("new", "v"));
        assert_eq!(m.txn(txn(vec![write.clone(), request.clone()])), Err(error));
        let nested = Request::RequestTxn(txn(vec![request]));
        assert_eq!(m.txn(txn(vec![write, nested])), Err(error));
    }
    assert_eq!(m.revision(), 4);
    assert!(m.txn(txn(vec![at(3), at(4), at(0)])).is_ok());
}

#[test]
fn negative_revision_in_a_transaction_is_readable_only_before_the_first_compaction() {
    let mut m = Machine::new();
    let at = |revision| {
        let range = pb::RangeRequest {
            key: "k".into(),
            revision,
            ..pb::RangeRequest::default()
        };
        txn(vec![Request::RequestRange(range)])
    };
    assert!(m.txn(at(-1)).is_ok());
    assert_eq!(m.txn(at(-2)), Err(ApiError::Compacted));
    m.compact(0).unwrap();
    assert_eq!(m.txn(at(-1)), Err(ApiError::Compacted));
}

#[test]
fn key_deleted_earlier_in_a_transaction_cannot_keep_its_value() {
    let mut m = Machine::new();
    m.put(put("k", "v")).unwrap();
    let keep = || {
        Request::RequestPut(pb::PutRequest {
            ignore_value: true,
            ..put("k", "")
        })
    };
    let delete = |key, end| Request::RequestDeleteRange(delete(key, end));
    // A delete to the end of the key space is let through by the check for duplicates.
    for before in [delete("a", "\0"), delete("k", ""), delete("a", "l")] {
        let nested = Request::RequestTxn(txn(vec![before.clone()]));
        assert_eq!(m.txn(txn(vec![before, keep()])), Err(ApiError::KeyNotFound));
        assert_eq!(m.txn(txn(vec![nested, keep()])), Err(ApiError::KeyNotFound));
    }
    assert_eq!(m.revision(), 2);
    assert!(
        m.txn(txn(vec![delete("l", "\0"), delete("a", "k"), keep()]))
            .is_ok()
    );
    let again = Request::RequestPut(put("k", "w"));
    assert!(m.txn(txn(vec![delete("k", ""), again, keep()])).is_ok());
    assert!(m.txn(txn(vec![keep(), delete("k", "")])).is_ok());
}

#[test]
fn compaction_limits_are_etcds() {
    let mut m = Machine::new();
    m.put(put("k", "v")).unwrap();
    assert_eq!(m.compact(3), Err(ApiError::FutureRevision));
    assert_eq!(m.compact(-1), Err(ApiError::Compacted));
    assert!(m.compact(0).is_ok());
    assert!(m.compact(2).is_ok());
    assert_eq!(m.compact(2), Err(ApiError::Compacted));
}

#[test]
fn revoking_a_lease_deletes_its_keys_in_order_in_one_revision() {
    let mut m = Machine::new();
    m.grant(1).unwrap();
    m.grant(2).unwrap();
    for key in ["c", "a", "b"] {
        m.put(put_leased(key, 1)).unwrap();
    }
    m.put(put_leased("a", 2)).unwrap();
    m.put(put("b", "unleased")).unwrap();
    m.put(put_leased("d", 1)).unwrap();
    assert_eq!(m.keys_of_lease(1), ["c", "d"]);
    let before = m.revision();
    let Ok(Response::LeaseRevoke(response)) = m.revoke(1) else {
        panic!()
    };
    assert_eq!(response.header.unwrap().revision, before + 1);
    assert_eq!(m.delete("a", "z"), Ok(2));
    assert!(m.keys_of_lease(2).is_empty());
    assert_eq!(m.revoke(1), Err(ApiError::LeaseNotFound));
    // A lease without keys makes no revision.
    let before = m.revision();
    m.revoke(2).unwrap();
    assert_eq!(m.revision(), before);
}

#[test]
fn lease_checkpoint_is_kept_and_names_of_the_gone_passed_over() {
    let mut m = Machine::new();
    m.grant(1).unwrap();
    let left = |id| pb::LeaseCheckpoint {
        id,
        remaining_ttl: 17,
    };
    let request = pb::LeaseCheckpointRequest {
        checkpoints: vec![left(9), left(1)],
    };
    let lease_checkpoint = Some(request.into());
    m.apply(InternalRaftRequest {
        lease_checkpoint,
        ..none()
    })
    .unwrap();
    assert_eq!(m.0.lease(LeaseId(1)).unwrap().remaining_s, 17);
}

#[test]
fn nospace_refuses_what_grows_the_store() {
    let mut m = Machine::new();
    m.put(put("k", "v")).unwrap();
    m.grant(1).unwrap();
    m.alarm(AlarmAction::Activate, AlarmType::Nospace);
    let before = m.revision();
    assert_eq!(m.put(put("k", "w")), Err(ApiError::NoSpace));
    assert_eq!(m.grant(2), Err(ApiError::NoSpace));
    let writes = Request::RequestPut(put("k", "w"));
    // The dearer branch counts, taken or not.
    let failure_only = pb::TxnRequest {
        failure: vec![op(writes.clone())],
        ..txn(vec![])
    };
    assert_eq!(m.txn(failure_only), Err(ApiError::NoSpace));
    let nested = Request::RequestTxn(txn(vec![writes]));
    assert_eq!(m.txn(txn(vec![nested])), Err(ApiError::NoSpace));
    assert_eq!(m.revision(), before);
    assert!(
        m.txn(txn(vec![Request::RequestDeleteRange(delete("x", ""))]))
            .is_ok()
    );
    assert_eq!(m.delete("k", ""), Ok(1));
    assert!(m.compact(2).is_ok() && m.revoke(1).is_ok());
    m.alarm(AlarmAction::Deactivate, AlarmType::Nospace);
    assert!(m.put(put("k", "w")).is_ok());
}

#[test]
fn corrupt_refuses_everything_about_keys_and_leases() {
    let mut m = Machine::new();
    m.grant(1).unwrap();
    m.alarm(AlarmAction::Activate, AlarmType::Nospace);
    m.alarm(AlarmAction::Activate, AlarmType::Corrupt);
    assert_eq!(m.put(put("k", "v")), Err(ApiError::Corrupt));
    assert_eq!(m.txn(txn(vec![])), Err(ApiError::Corrupt));
    assert_eq!(m.delete("k", ""), Err(ApiError::Corrupt));
    assert_eq!(m.compact(1), Err(ApiError::Corrupt));
    assert_eq!(m.grant(2), Err(ApiError::Corrupt));
    assert_eq!(m.revoke(1), Err(ApiError::Corrupt));
    let range = Some(pb::RangeRequest::default().into());
    let range = InternalRaftRequest { range, ..none() };
    assert_eq!(m.apply(range), Err(ApiError::Corrupt));
    m.alarm(AlarmAction::Deactivate, AlarmType::Corrupt);
    assert_eq!(m.put(put("k", "v")), Err(ApiError::NoSpace));
}

#[test]
fn over_quota_the_entry_is_applied_answered_with_an_error_and_an_alarm_wanted() {
    let mut m = Machine::with(Config {
        quota_bytes: 300,
        ..config()
    });
    let ask = |put| InternalRaftRequest {
        put: Some(put),
        ..none()
    };
    let fits = m.try_apply(ask(put("k", "v"))).unwrap();
    assert!(fits.result.is_ok() && !fits.wants_alarm);
    let over = m
        .try_apply(ask(put("k", "0123456789012345678901234567890123456789")))
        .unwrap();
    assert_eq!(
        (over.result, over.wants_alarm),
        (Err(ApiError::NoSpace), true)
    );
    assert_eq!(m.revision(), 3);
    // What fails anyway says why, and wants nothing.
    let failed = m.try_apply(ask(put_leased("k", 9))).unwrap();
    assert_eq!(
        (failed.result, failed.wants_alarm),
        (Err(ApiError::LeaseNotFound), false)
    );
    m.alarm(AlarmAction::Activate, AlarmType::Nospace);
    let refused = m.try_apply(ask(put("k", "v"))).unwrap();
    assert_eq!(
        (refused.result, refused.wants_alarm),
        (Err(ApiError::NoSpace), false)
    );
    assert_eq!(m.revision(), 3);
}

#[test]
fn unasked_entries_have_the_same_effects_and_read_nothing_for_an_answer() {
    let (mut asked, mut unasked) = (Machine::new(), Machine::new());
    let with_prev = pb::PutRequest {
        prev_kv: true,
        ..put("k", "w")
    };
    let all = pb::RangeRequest {
        key: "k".into(),
        ..pb::RangeRequest::default()
    };
    let delete = pb::DeleteRangeRequest {
        prev_kv: true,
        ..delete("k", "")
    };
    let requests = [
        InternalRaftRequest {
            put: Some(put("k", "v")),
            ..none()
        },
        InternalRaftRequest {
            put: Some(with_prev),
            ..none()
        },
        InternalRaftRequest {
            txn: Some(txn(vec![Request::RequestRange(all)]).into()),
            ..none()
        },
        InternalRaftRequest {
            delete_range: Some(delete.into()),
            ..none()
        },
    ];
    let mut answers = Vec::new();
    for mut request in requests {
        asked.apply(request.clone()).unwrap();
        request.header = Some(pb::RequestHeader::default());
        let index = unasked.0.applied().0.next();
        answers.push(
            unasked
                .0
                .apply_unasked(index, Term(2), &request)
                .unwrap()
                .result
                .unwrap(),
        );
    }
    assert_eq!(asked.0.hash_job().run(), unasked.0.hash_job().run());
    let [
        _,
        Response::Put(put),
        Response::Txn(txn),
        Response::DeleteRange(delete),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(put.prev_kv, None);
    assert!(delete.prev_kvs.is_empty() && delete.deleted == 1);
    let Some(response_op::Response::ResponseRange(range)) = &txn.responses[0].response else {
        panic!("{txn:?}")
    };
    assert!(range.kvs.is_empty() && range.count == 0 && range.header.unwrap().revision == 3);
}

#[test]
fn entry_that_cannot_be_understood_is_fatal_and_changes_nothing() {
    let mut m = Machine::new();
    let request = InternalRaftRequest {
        put: Some(put("k", "v")),
        ..none()
    };
    let at = Index(1);
    assert_eq!(
        m.0.apply(at, Term(2), &request),
        Err(Fatal::NoHeader { index: at })
    );
    assert_eq!(
        m.try_apply(none()),
        Err(Fatal::UnknownOperation { index: at })
    );
    let version = |ver: &str| InternalRaftRequest {
        cluster_version_set: Some(
            membershippb::ClusterVersionSetRequest { ver: ver.into() }.into(),
        ),
        ..none()
    };
    assert!(matches!(
        m.try_apply(version("3.7")),
        Err(Fatal::BadClusterVersion { .. })
    ));
    let higher = m.try_apply(version("3.8.0")).unwrap_err();
    assert!(higher.to_string().contains("3.8.0") && higher.to_string().contains("3.7.0"));
    assert_eq!(m.0.applied(), (Index::ZERO, Term::ZERO));
    // An id in the place of old writers does for a header.
    let old = InternalRaftRequest { id: 4, ..request };
    assert!(m.0.apply(at, Term(2), &old).unwrap().result.is_ok());
}

#[test]
fn authentication_cannot_be_switched_on() {
    let mut m = Machine::new();
    let enable = || InternalRaftRequest {
        auth_enable: Some(pb::AuthEnableRequest {}.into()),
        ..none()
    };
    assert_eq!(m.apply(enable()), Err(ApiError::RootUserNotExist));
    let user = |hashed: &str, password: &str| InternalRaftRequest {
        auth_user_add: Some(
            pb::AuthUserAddRequest {
                name: "root".into(),
                password: password.into(),
                hashed_password: hashed.into(),
                ..pb::AuthUserAddRequest::default()
            }
            .into(),
        ),
        ..none()
    };
    assert_eq!(
        m.apply(user("not base64", "")),
        Err(ApiError::NoPasswordUser)
    );
    assert!(matches!(
        m.try_apply(user("", "plain")),
        Err(Fatal::UnhashedPassword { .. })
    ));
    m.apply(user("aGFzaA==", "")).unwrap();
    assert_eq!(m.apply(enable()), Err(ApiError::RootRoleNotExist));
    let grant = pb::AuthUserGrantRoleRequest {
        user: "root".into(),
        role: "root".into(),
    };
    m.apply(InternalRaftRequest {
        auth_user_grant_role: Some(grant.into()),
        ..none()
    })
    .unwrap();
    let fatal = m.try_apply(enable()).unwrap_err();
    assert!(
        fatal
            .to_string()
            .contains("entry 6 switches authentication on"),
        "{fatal}"
    );
    let authenticate = Some(pb::InternalAuthenticateRequest::default().into());
    let request = InternalRaftRequest {
        authenticate,
        ..none()
    };
    assert_eq!(m.apply(request), Err(ApiError::AuthNotEnabled));
}

#[test]
fn cluster_entries_are_published_with_the_batch() {
    let mut m = Machine::new();
    let views = m.0.views();
    let change = |kind: ConfChangeType, context: &str| ConfChange {
        id: 1,
        change_type: kind as i32,
        node_id: 1,
        context: context.to_owned().into(),
    };
    let add = change(
        ConfChangeType::AddNode,
        r#"{"id":1,"peerURLs":["http://p"]}"#,
    );
    let added = m.0.apply_conf_change(Index(1), Term(1), &add).unwrap();
    assert_eq!(added.change, add);
    assert!(!added.removes_self && added.result.unwrap().len() == 1);
    let again = m.0.apply_conf_change(Index(2), Term(1), &add).unwrap();
    assert_eq!(again.change.node_id, 0);
    assert_eq!(again.result, Err(ApiError::MemberExist));
    m.0.apply_empty(Index(3), Term(2));
    let attributes = membershippb::Attributes {
        name: "n".into(),
        client_urls: vec!["http://c".into()],
    };
    let set = membershippb::ClusterMemberAttrSetRequest {
        member_id: 1,
        member_attributes: Some(attributes),
    };
    let version = membershippb::ClusterVersionSetRequest {
        ver: "3.7.0".into(),
    };
    let downgrade = membershippb::DowngradeInfoSetRequest {
        enabled: true,
        ver: "3.6.0".into(),
    };
    for request in [
        InternalRaftRequest {
            cluster_member_attr_set: Some(set.into()),
            ..none()
        },
        InternalRaftRequest {
            cluster_version_set: Some(version.into()),
            ..none()
        },
        InternalRaftRequest {
            downgrade_info_set: Some(downgrade.into()),
            ..none()
        },
        InternalRaftRequest {
            downgrade_version_test: Some(pb::DowngradeVersionTestRequest::default().into()),
            ..none()
        },
    ] {
        assert_eq!(m.apply(request), Ok(Response::Done));
    }
    m.put(put("k", "v")).unwrap();
    let old = views.load();
    assert_eq!(
        (old.kv.applied(), old.cluster.members.len()),
        (Index::ZERO, 0)
    );
    m.0.publish();
    let new = views.load();
    assert_eq!(
        (new.kv.applied(), new.kv.term(), new.kv.revision().get()),
        (Index(8), Term(2), 2)
    );
    assert_eq!(new.cluster.members[0].name, "n");
    assert_eq!(new.cluster.cluster_version.unwrap().to_string(), "3.7.0");
    assert_eq!(new.cluster.downgrade.target_version, "3.6.0");
    let remove = change(ConfChangeType::RemoveNode, "");
    let removed = m.0.apply_conf_change(Index(9), Term(2), &remove).unwrap();
    assert!(removed.removes_self && removed.result == Ok(vec![]));
}

#[test]
#[should_panic(expected = "entry 3 of term 2 was given to be applied after entry 1 of term 2")]
fn entry_left_out_stops_everything() {
    let mut m = Machine::new();
    m.put(put("k", "v")).unwrap();
    m.0.apply_empty(Index(3), Term(2));
}

#[test]
#[should_panic(expected = "entry 1 of term 2 was given to be applied after entry 1 of term 2")]
fn entry_applied_twice_stops_everything() {
    let mut m = Machine::new();
    m.put(put("k", "v")).unwrap();
    m.0.apply_empty(Index(1), Term(2));
}

#[test]
fn damaged_tables_are_refused_wherever_the_damage_is() {
    let mut m = Machine::new();
    m.grant(1).unwrap();
    m.put(put_leased("k", 1)).unwrap();
    m.alarm(AlarmAction::Activate, AlarmType::Corrupt);
    let disk = flushed(&mut m.0);
    let path = disk.paths().find(|p| p.as_str().ends_with(".tables"));
    let path = path.unwrap().clone();
    let whole = disk.clone().contents(&path).unwrap().clone();
    // The length is compared when the store is opened, so the bytes change behind that.
    let restore = |bytes: &[u8]| {
        let opened = opened(&disk);
        let mut disk = disk.clone();
        *disk.contents(&path).unwrap() = bytes.to_vec();
        State::recover(config(), &disk, opened)
    };
    let mut restored = restore(&whole).unwrap();
    assert_eq!(restored.hash_job().run(), m.0.hash_job().run());
    assert_eq!(restored.applied(), m.0.applied());
    assert!(restored.leases().eq(m.0.leases()));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        assert!(
            restore(&damaged).is_err(),
            "a flipped bit at byte {at} was not seen"
        );
        assert!(
            restore(&whole[..at]).is_err(),
            "a cut at byte {at} was not seen"
        );
    }
}

#[test]
fn a_store_of_another_member_raises_short_leases_to_its_minimum() {
    let mut m = Machine::new();
    m.grant(1).unwrap();
    let slower = Config {
        min_lease_ttl_s: 90,
        member: MemberId(2),
        ..config()
    };
    let disk = flushed(&mut m.0);
    let restored = State::recover(slower, &disk, opened(&disk)).unwrap();
    assert_eq!(restored.lease(LeaseId(1)).unwrap().ttl_s, 90);
}
