//! A random history of a real etcd, replayed: every answer, every hash and every table.
//!
//! The calls were made one after another, so a call that reached the log is the next entry of its
//! kind; one that did not was refused by a check, or read.

use super::{Outcome, apply, config, gunzip, wal};
use crate::tables::{APPLIED, Bucket, TERM};
use crate::{
    ConfApplied, Response, State, check_delete_range, check_put, check_range, check_txn,
    is_read_only, read_hash_kv, read_range, read_txn,
};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
use tenet_proto::prost::Message;
use tenet_proto::raftpb::Entry;

struct Call {
    method: String,
    request: Vec<u8>,
    answer: Result<Vec<u8>, (u8, String)>,
}

fn calls() -> Vec<Call> {
    fn bytes(data: &mut &[u8]) -> Vec<u8> {
        let len = tenet_proto::prost::encoding::decode_varint(data).unwrap() as usize;
        let (head, tail) = data.split_at(len);
        *data = tail;
        head.to_vec()
    }
    let data = gunzip(include_bytes!("../../testdata/history/calls.gz"));
    let mut data = &data[..];
    let mut calls = Vec::new();
    while !data.is_empty() {
        let method = String::from_utf8(bytes(&mut data)).unwrap();
        let request = bytes(&mut data);
        let answered = data[0] == 1;
        data = &data[1..];
        let answer = bytes(&mut data);
        calls.push(Call {
            method,
            request,
            answer: if answered {
                Ok(answer)
            } else {
                Err((answer[0], String::from_utf8(answer[1..].to_vec()).unwrap()))
            },
        });
    }
    calls
}

struct Replay {
    state: State,
    log: std::vec::IntoIter<Entry>,
}

impl Replay {
    fn new() -> Self {
        let log = wal::entries(gunzip(include_bytes!("../../testdata/history/wal.gz")));
        Replay {
            state: State::new(config()),
            log: log.into_iter(),
        }
    }

    fn next(&mut self) -> Option<Outcome> {
        let entry = self.log.next()?;
        let outcome = apply(&mut self.state, &entry).unwrap();
        self.state.publish();
        // The clients waited for the physical part of each compaction.
        while self.state.step_maintenance(100) {}
        self.state.publish();
        Some(outcome)
    }

    /// The answer to the next entry that a client asked for.
    fn request(&mut self) -> (pb::InternalRaftRequest, Result<Response, ApiError>) {
        loop {
            if let Outcome::Request(request, applied) = self.next().expect("an entry is due")
                && applied.result != Ok(Response::Done)
            {
                assert!(!applied.wants_alarm);
                return (*request, applied.result);
            }
        }
    }

    fn conf_change(&mut self) -> ConfApplied {
        loop {
            if let Outcome::ConfChange(applied) = self.next().expect("a change is due") {
                return applied;
            }
        }
    }

    fn range(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        check_range(request)?;
        Ok(read_range(&self.state.views().load().kv, request)?)
    }

    fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        check_txn(request, 128)?;
        if is_read_only(request) {
            return Ok(read_txn(&self.state.views().load().kv, request)?);
        }
        let (logged, result) = self.request();
        assert_eq!(logged.txn.as_deref(), Some(request));
        result.map(|response| match response {
            Response::Txn(response) => response,
            other => panic!("{other:?}"),
        })
    }

    fn put(&mut self, request: &pb::PutRequest) -> Result<pb::PutResponse, ApiError> {
        check_put(request)?;
        let (logged, result) = self.request();
        assert_eq!(logged.put.as_ref(), Some(request));
        result.map(|response| match response {
            Response::Put(response) => response,
            other => panic!("{other:?}"),
        })
    }

    fn delete_range(
        &mut self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        check_delete_range(request)?;
        let (logged, result) = self.request();
        assert_eq!(logged.delete_range.as_deref(), Some(request));
        result.map(|response| match response {
            Response::DeleteRange(response) => response,
            other => panic!("{other:?}"),
        })
    }

    /// What this state answers to the call, encoded.
    fn answer(&mut self, call: &Call) -> Result<Vec<u8>, ApiError> {
        match &call.method[..] {
            "KV/Range" => self
                .range(&decode(&call.request))
                .map(|r| r.encode_to_vec()),
            "KV/Put" => self.put(&decode(&call.request)).map(|r| r.encode_to_vec()),
            "KV/Txn" => self.txn(&decode(&call.request)).map(|r| r.encode_to_vec()),
            "KV/DeleteRange" => {
                let response = self.delete_range(&decode(&call.request));
                response.map(|r| r.encode_to_vec())
            }
            "Maintenance/HashKV" => {
                let response = read_hash_kv(&self.state.views().load().kv, &decode(&call.request));
                Ok(response?.encode_to_vec())
            }
            "Maintenance/Hash" => {
                while self.next().is_some() {}
                let hash = self.state.hash_job().run();
                let header = crate::kv::header(self.state.mvcc.revision().get());
                Ok(pb::HashResponse { header, hash }.encode_to_vec())
            }
            "Cluster/MemberAdd" | "Cluster/MemberUpdate" | "Cluster/MemberRemove" => self
                .conf_change()
                .result
                .map(|members| encode_members(&call.method, members)),
            _ => self.request().1.map(encode),
        }
    }
}

fn decode<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}

/// The answers of the cluster service hold the members; what else they hold is not the state's.
fn encode_members(method: &str, members: Vec<pb::Member>) -> Vec<u8> {
    match method {
        "Cluster/MemberAdd" => pb::MemberAddResponse {
            header: Some(pb::ResponseHeader::default()),
            member: None,
            members,
        }
        .encode_to_vec(),
        _ => pb::MemberUpdateResponse {
            header: Some(pb::ResponseHeader::default()),
            members,
        }
        .encode_to_vec(),
    }
}

fn encode(response: Response) -> Vec<u8> {
    match response {
        Response::Range(r) => r.encode_to_vec(),
        Response::Put(r) => r.encode_to_vec(),
        Response::DeleteRange(r) => r.encode_to_vec(),
        Response::Txn(r) => r.encode_to_vec(),
        Response::Compaction(r) => r.encode_to_vec(),
        Response::LeaseGrant(r) => r.encode_to_vec(),
        Response::LeaseRevoke(r) => r.encode_to_vec(),
        Response::LeaseCheckpoint(r) => r.encode_to_vec(),
        Response::Alarm(r) => r.encode_to_vec(),
        Response::AuthStatus(r) => r.encode_to_vec(),
        Response::AuthUserGet(r) => r.encode_to_vec(),
        Response::AuthUserList(r) => r.encode_to_vec(),
        Response::AuthRoleGet(r) => r.encode_to_vec(),
        Response::AuthRoleList(r) => r.encode_to_vec(),
        // These hold a header and nothing else, as this one does.
        Response::AuthEnable(header)
        | Response::AuthDisable(header)
        | Response::AuthUserAdd(header)
        | Response::AuthUserDelete(header)
        | Response::AuthUserChangePassword(header)
        | Response::AuthUserGrantRole(header)
        | Response::AuthUserRevokeRole(header)
        | Response::AuthRoleAdd(header)
        | Response::AuthRoleDelete(header)
        | Response::AuthRoleGrantPermission(header)
        | Response::AuthRoleRevokePermission(header) => {
            pb::AuthEnableResponse { header }.encode_to_vec()
        }
        Response::Done => panic!("no client asked for this"),
    }
}

/// Takes out of an answer what is not the state's: the member that was added, which the serving
/// side made up.
fn comparable(method: &str, answer: &[u8]) -> Vec<u8> {
    if method == "Cluster/MemberAdd" {
        let mut response: pb::MemberAddResponse = decode(answer);
        response.member = None;
        return response.encode_to_vec();
    }
    answer.to_vec()
}

#[test]
fn every_answer_is_etcds() {
    let mut replay = Replay::new();
    let calls = calls();
    assert!(calls.len() > 3_000);
    for (number, call) in calls.iter().enumerate() {
        let answer = replay.answer(call);
        match &call.answer {
            Ok(expected) => assert_eq!(
                answer.as_deref(),
                Ok(&comparable(&call.method, expected)[..]),
                "call {number}, {}",
                call.method
            ),
            Err((code, text)) => {
                let error = answer.expect_err(&format!("call {number}, {}: {text}", call.method));
                assert_eq!((error.code() as u8, error.text()), (*code, &text[..]));
            }
        }
    }
}

#[test]
fn every_table_is_etcds_byte_for_byte() {
    let mut replay = Replay::new();
    while replay.next().is_some() {}
    let json = include_str!("../../testdata/history/buckets.json");
    let json: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    let field = |entry: &serde_json::Value, name| {
        crate::base64::decode(entry[name].as_str().unwrap_or_default()).unwrap()
    };
    let mut expected: Vec<_> = json
        .iter()
        .map(|entry| {
            let bucket = String::from_utf8(field(entry, "Bucket")).unwrap();
            (bucket, field(entry, "Key"), field(entry, "Value"))
        })
        .collect();
    // What is of etcd's own store, and what the stop wrote after the log was copied.
    let own = [
        &b"storageVersion"[..],
        b"finishedCompactRev",
        b"scheduledCompactRev",
    ];
    expected.retain(|(_, key, _)| !own.contains(&&key[..]));
    let mut found = Vec::new();
    for bucket in Bucket::BEFORE_KEYS.into_iter().chain(Bucket::AFTER_KEYS) {
        let entries = replay.state.tables.entries(bucket);
        found.extend(
            entries
                .into_iter()
                .map(|(key, value)| (bucket.name().to_owned(), key, value)),
        );
    }
    assert!(
        found.iter().any(|(_, key, _)| key == APPLIED)
            && found.iter().any(|(_, key, _)| key == TERM)
    );
    assert_eq!(found, expected);
}
