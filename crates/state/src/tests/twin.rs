//! Random requests against an interpreter that keeps every version of every key in plain maps
//! and runs transactions by first running them on a copy.

use super::config;
use crate::{Response, State, is_read_only, read_txn};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tenet_base::Term;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::compare::TargetUnion;
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{self as pb, InternalRaftRequest, response_op};
use tenet_proto::mvccpb::KeyValue;

#[derive(Clone, Default)]
struct Twin {
    revision: i64,
    compacted: i64,
    /// The whole store as it was at each revision.
    past: BTreeMap<i64, BTreeMap<Bytes, KeyValue>>,
    now: BTreeMap<Bytes, KeyValue>,
    leases: Vec<i64>,
}

impl Twin {
    fn new() -> Self {
        Twin {
            revision: 1,
            compacted: -1,
            leases: vec![1, 2],
            ..Twin::default()
        }
    }

    fn covered(key: &[u8], end: &[u8], at: &[u8]) -> bool {
        match end {
            b"" => at == key,
            b"\0" => at >= key,
            _ => at >= key && at < end,
        }
    }

    /// Runs a whole transaction on a copy and takes the copy over if it went well.
    fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        let before = self.clone();
        let mut copy = self.clone();
        let mut changed = false;
        let mut response = copy.branch(&before, request, &mut changed)?;
        if changed {
            copy.revision += 1;
            copy.past.insert(copy.revision, copy.now.clone());
        }
        response.header = header(copy.revision);
        *self = copy;
        Ok(response)
    }

    fn branch(
        &mut self,
        before: &Twin,
        request: &pb::TxnRequest,
        changed: &mut bool,
    ) -> Result<pb::TxnResponse, ApiError> {
        let succeeded = request.compare.iter().all(|compare| before.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let mut responses = Vec::new();
        for op in ops {
            let response = match op.request.as_ref().unwrap() {
                Request::RequestRange(r) => {
                    response_op::Response::ResponseRange(self.range(before, r, *changed)?)
                }
                Request::RequestPut(r) => {
                    response_op::Response::ResponsePut(self.put(before, r, changed)?)
                }
                Request::RequestDeleteRange(r) => {
                    response_op::Response::ResponseDeleteRange(self.delete(r, changed))
                }
                Request::RequestTxn(r) => {
                    response_op::Response::ResponseTxn(self.branch(before, r, changed)?)
                }
            };
            responses.push(pb::ResponseOp {
                response: Some(response),
            });
        }
        Ok(pb::TxnResponse {
            header: header(0),
            succeeded,
            responses,
        })
    }

    fn holds(&self, c: &pb::Compare) -> bool {
        let in_range = |kv: &&KeyValue| Self::covered(&c.key, &c.range_end, &kv.key);
        let found: Vec<_> = self.now.values().filter(in_range).cloned().collect();
        let missing = found.is_empty();
        let all = if missing {
            vec![KeyValue::default()]
        } else {
            found
        };
        all.iter().all(|kv| {
            let order = match c.target_union.as_ref() {
                Some(TargetUnion::Version(v)) if c.target == 0 => kv.version.cmp(v),
                Some(TargetUnion::CreateRevision(v)) if c.target == 1 => kv.create_revision.cmp(v),
                Some(TargetUnion::ModRevision(v)) if c.target == 2 => kv.mod_revision.cmp(v),
                Some(TargetUnion::Value(v)) if c.target == 3 => kv.value.cmp(v),
                Some(TargetUnion::Lease(v)) if c.target == 4 => kv.lease.cmp(v),
                _ => match c.target {
                    0 => kv.version.cmp(&0),
                    1 => kv.create_revision.cmp(&0),
                    2 => kv.mod_revision.cmp(&0),
                    3 => kv.value.len().cmp(&0),
                    4 => kv.lease.cmp(&0),
                    _ => std::cmp::Ordering::Equal,
                },
            };
            let fits = match c.result {
                0 => order.is_eq(),
                1 => order.is_gt(),
                2 => order.is_lt(),
                3 => order.is_ne(),
                _ => true,
            };
            fits && !(missing && c.target == 3)
        })
    }

    fn range(
        &self,
        before: &Twin,
        r: &pb::RangeRequest,
        changed: bool,
    ) -> Result<pb::RangeResponse, ApiError> {
        if r.revision > before.revision {
            return Err(ApiError::FutureRevision);
        }
        if r.revision != 0 && r.revision < before.compacted {
            return Err(ApiError::Compacted);
        }
        let keys = match r.revision {
            1.. => self.past.get(&r.revision).cloned().unwrap_or_default(),
            _ => self.now.clone(),
        };
        let in_range = |kv: &KeyValue| Self::covered(&r.key, &r.range_end, &kv.key);
        let kvs: Vec<_> = keys.into_values().filter(in_range).collect();
        Ok(pb::RangeResponse {
            header: header(self.revision + i64::from(changed)),
            count: kvs.len() as i64,
            kvs,
            more: false,
        })
    }

    fn put(
        &mut self,
        before: &Twin,
        r: &pb::PutRequest,
        changed: &mut bool,
    ) -> Result<pb::PutResponse, ApiError> {
        if r.lease != 0 && !self.leases.contains(&r.lease) {
            return Err(ApiError::LeaseNotFound);
        }
        let previous = self.now.get(&r.key).cloned();
        let keeps = r.ignore_value || r.ignore_lease;
        if keeps && (previous.is_none() || !before.now.contains_key(&r.key)) {
            return Err(ApiError::KeyNotFound);
        }
        *changed = true;
        let kept = previous.clone().unwrap_or_default();
        let kv = KeyValue {
            key: r.key.clone(),
            create_revision: if kept.version == 0 {
                self.revision + 1
            } else {
                kept.create_revision
            },
            mod_revision: self.revision + 1,
            version: kept.version + 1,
            value: if r.ignore_value {
                kept.value
            } else {
                r.value.clone()
            },
            lease: if r.ignore_lease { kept.lease } else { r.lease },
        };
        self.now.insert(r.key.clone(), kv);
        Ok(pb::PutResponse {
            header: header(self.revision + 1),
            prev_kv: previous.filter(|_| r.prev_kv),
        })
    }

    fn delete(
        &mut self,
        r: &pb::DeleteRangeRequest,
        changed: &mut bool,
    ) -> pb::DeleteRangeResponse {
        let in_range = |key: &Bytes| Self::covered(&r.key, &r.range_end, key);
        let gone: Vec<_> = self
            .now
            .values()
            .filter(|kv| in_range(&kv.key))
            .cloned()
            .collect();
        self.now.retain(|key, _| !in_range(key));
        *changed |= !gone.is_empty();
        pb::DeleteRangeResponse {
            header: header(self.revision + i64::from(*changed)),
            deleted: gone.len() as i64,
            prev_kvs: if r.prev_kv { gone } else { vec![] },
        }
    }

    fn keys_of_lease(&self, lease: i64) -> Vec<Bytes> {
        let on = self.now.values().filter(|kv| kv.lease == lease);
        on.map(|kv| kv.key.clone()).collect()
    }
}

fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader {
        revision,
        ..pb::ResponseHeader::default()
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(Bytes::from)
}

fn end() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "", "", "\0", "b", "c", "z"]).prop_map(Bytes::from)
}

fn any_range() -> impl Strategy<Value = Request> {
    (key(), end(), prop_oneof![3 => Just(0_i64), 1 => -2..20_i64]).prop_map(
        |(key, range_end, revision)| {
            Request::RequestRange(pb::RangeRequest {
                key,
                range_end,
                revision,
                ..Default::default()
            })
        },
    )
}

fn any_put() -> impl Strategy<Value = Request> {
    let lease = prop::sample::select(vec![0, 0, 0, 0, 1, 1, 2, 9]);
    let flag = || prop::bool::weighted(0.15);
    (key(), "[xy]{0,2}", lease, flag(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| {
            let value = Bytes::from(value);
            Request::RequestPut(pb::PutRequest {
                key,
                value,
                lease,
                prev_kv,
                ignore_value,
                ignore_lease,
            })
        },
    )
}

fn any_delete() -> impl Strategy<Value = Request> {
    (key(), end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| {
        Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key,
            range_end,
            prev_kv,
        })
    })
}

fn any_compare() -> impl Strategy<Value = pb::Compare> {
    let union = prop_oneof![
        1 => Just(None),
        1 => (0..3_i64).prop_map(|v| Some(TargetUnion::Version(v))),
        1 => (0..12_i64).prop_map(|v| Some(TargetUnion::CreateRevision(v))),
        1 => (0..12_i64).prop_map(|v| Some(TargetUnion::ModRevision(v))),
        1 => "[xy]{0,2}".prop_map(|v| Some(TargetUnion::Value(v.into()))),
        1 => (0..3_i64).prop_map(|v| Some(TargetUnion::Lease(v))),
    ];
    (0..5_i32, 0..6_i32, any::<bool>(), key(), end(), union).prop_map(
        |(result, any_target, fitting, key, range_end, target_union)| {
            let own = match target_union {
                Some(TargetUnion::CreateRevision(_)) => 1,
                Some(TargetUnion::ModRevision(_)) => 2,
                Some(TargetUnion::Value(_)) => 3,
                Some(TargetUnion::Lease(_)) => 4,
                Some(TargetUnion::Version(_)) | None => 0,
            };
            let target = if fitting { own } else { any_target };
            pb::Compare {
                result,
                target,
                key,
                target_union,
                range_end,
            }
        },
    )
}

fn any_txn() -> impl Strategy<Value = pb::TxnRequest> {
    let leaf = prop_oneof![2 => any_range(), 4 => any_put(), 2 => any_delete()];
    let op = leaf.prop_recursive(2, 12, 3, |inner| {
        branches(inner).prop_map(Request::RequestTxn)
    });
    branches(op)
}

fn branches(op: impl Strategy<Value = Request> + Clone) -> impl Strategy<Value = pb::TxnRequest> {
    let op = op.prop_map(|request| pb::RequestOp {
        request: Some(request),
    });
    let ops = || prop::collection::vec(op.clone(), 0..4);
    let compares = prop::collection::vec(any_compare(), 0..3);
    (compares, ops(), ops()).prop_map(|(compare, success, failure)| pb::TxnRequest {
        compare,
        success,
        failure,
    })
}

#[derive(Clone, Debug)]
enum Step {
    Txn(pb::TxnRequest),
    Compact(i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_txn().prop_map(Step::Txn),
        1 => (0..12_i64).prop_map(Step::Compact),
    ]
}

struct Machine(State);

impl Machine {
    fn new() -> Self {
        let mut machine = Machine(State::new(config()));
        for id in [1, 2] {
            let grant = pb::LeaseGrantRequest { ttl: 60, id };
            machine
                .apply(InternalRaftRequest {
                    lease_grant: Some(grant.into()),
                    ..Default::default()
                })
                .unwrap();
        }
        machine
    }

    fn apply(&mut self, mut request: InternalRaftRequest) -> Result<Response, ApiError> {
        request.id = 1;
        let index = self.0.applied().0.next();
        let applied = self.0.apply(index, Term(1), &request).unwrap();
        self.0.publish();
        applied.result
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn transactions_do_what_the_interpreter_does(steps in prop::collection::vec(any_step(), 1..25)) {
        let (mut machine, mut twin) = (Machine::new(), Twin::new());
        for step in steps {
            match step {
                Step::Txn(txn) => {
                    if is_read_only(&txn) {
                        let read = read_txn(&machine.0.views().load().kv, &txn);
                        prop_assert_eq!(read.map_err(ApiError::from), twin.clone().txn(&txn));
                    }
                    let request = InternalRaftRequest { txn: Some(txn.clone().into()), ..Default::default() };
                    let found = machine.apply(request);
                    let expected = twin.txn(&txn).map(Response::Txn);
                    prop_assert_eq!(found, expected, "{:#?}", txn);
                }
                Step::Compact(revision) => {
                    let compaction = pb::CompactionRequest { revision, physical: false };
                    let request = InternalRaftRequest { compaction: Some(compaction.into()), ..Default::default() };
                    let possible = revision > twin.compacted && revision <= twin.revision;
                    prop_assert_eq!(machine.apply(request).is_ok(), possible);
                    if possible {
                        twin.compacted = revision;
                    }
                }
            }
            prop_assert_eq!(machine.0.mvcc.revision().get(), twin.revision);
            for (id, lease) in machine.0.leases() {
                let keys: Vec<_> = lease.keys.iter().cloned().collect();
                prop_assert_eq!(keys, twin.keys_of_lease(id.get()));
            }
        }
    }
}
