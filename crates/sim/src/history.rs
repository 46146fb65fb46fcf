//! Requests of simulated clients in two languages: that of the node API, and that of the checkers of
//! recorded histories.
//!
//! Only text is written, so that a history can be read by people.

use bytes::Bytes;
use tenet_base::Rng;
use tenet_check::history::{
    self as h, Answer, PutAnswer, RangeAnswer, Request, Told, TxnAnswer, Watch,
};
use tenet_member::Write;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::request_op::Request as Op;
use tenet_proto::etcdserverpb::response_op::Response as OpResponse;
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp,
    TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse,
};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::mvccpb::event::EventType;
use tenet_state::Response;

fn key(rng: &mut dyn Rng) -> String {
    format!("key{:02}", rng.below(8))
}

fn keys(rng: &mut dyn Rng) -> h::Keys {
    h::Keys {
        key: key(rng),
        end: if rng.below(3) == 0 {
            key(rng)
        } else {
            String::new()
        },
    }
}

/// All keys.
#[must_use]
pub fn everything() -> h::Range {
    h::Range {
        keys: h::Keys {
            key: "\0".into(),
            end: "\0".into(),
        },
        ..h::Range::default()
    }
}

/// A request that writes; `value` tells what it writes from what all others do, and `revision` is
/// about the current one.
pub fn next_request(rng: &mut dyn Rng, value: u64, revision: i64) -> Request {
    let put = h::Put {
        key: key(rng),
        value: format!("v{value}"),
        prev_kv: rng.below(2) == 0,
        lease: 0,
    };
    match rng.below(12) {
        0..=4 => Request::Put(put),
        5..=6 => Request::Delete(h::Delete {
            keys: keys(rng),
            prev_kv: true,
        }),
        7 => Request::Compact(h::Compact {
            revision: (revision - rng.below(6) as i64).max(2),
        }),
        _ => Request::Txn(h::Txn {
            compare: vec![h::Compare {
                keys: h::Keys {
                    key: key(rng),
                    end: String::new(),
                },
                result: h::Comparison::Less,
                with: h::Operand::Version(1 + rng.below(3) as i64),
            }],
            success: vec![Request::Put(put), Request::Range(everything())],
            failure: vec![
                Request::Delete(h::Delete {
                    keys: keys(rng),
                    prev_kv: false,
                }),
                Request::Range(everything()),
            ],
        }),
    }
}

/// What a member is asked, for a read.
#[must_use]
pub fn range_of(range: &h::Range) -> RangeRequest {
    RangeRequest {
        key: range.keys.key.clone().into(),
        range_end: range.keys.end.clone().into(),
        serializable: range.serializable,
        ..RangeRequest::default()
    }
}

/// What a stream of watches is asked, for a watch.
#[must_use]
pub fn watch_request(watch: &Watch) -> WatchRequest {
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
            key: watch.keys.key.clone().into(),
            range_end: watch.keys.end.clone().into(),
            start_revision: watch.start,
            prev_kv: watch.prev_kv,
            filters: if watch.no_put { vec![0] } else { vec![] },
            ..WatchCreateRequest::default()
        })),
    }
}

fn op_of(request: &Request) -> Op {
    match request {
        Request::Range(range) => Op::RequestRange(range_of(range)),
        Request::Put(put) => Op::RequestPut(PutRequest {
            key: put.key.clone().into(),
            value: put.value.clone().into(),
            prev_kv: put.prev_kv,
            ..PutRequest::default()
        }),
        Request::Delete(delete) => Op::RequestDeleteRange(DeleteRangeRequest {
            key: delete.keys.key.clone().into(),
            range_end: delete.keys.end.clone().into(),
            prev_kv: delete.prev_kv,
        }),
        other => panic!("{other:?} is not drawn here"),
    }
}

/// What a member is asked, for a request that writes.
///
/// # Panics
/// If the request is of a kind that is not drawn here.
#[must_use]
pub fn write_of(request: &Request) -> Write {
    let branch = |requests: &[Request]| {
        let ops = requests.iter().map(|next| RequestOp {
            request: Some(op_of(next)),
        });
        ops.collect()
    };
    match request {
        Request::Compact(compact) => Write::Compact(CompactionRequest {
            revision: compact.revision,
            physical: false,
        }),
        Request::Txn(txn) => {
            let h::Operand::Version(version) = txn.compare[0].with else {
                panic!("only versions are compared here");
            };
            Write::Txn(TxnRequest {
                compare: vec![Compare {
                    result: CompareResult::Less.into(),
                    target: CompareTarget::Version.into(),
                    key: txn.compare[0].keys.key.clone().into(),
                    target_union: Some(TargetUnion::Version(version)),
                    ..Compare::default()
                }],
                success: branch(&txn.success),
                failure: branch(&txn.failure),
            })
        }
        other => match op_of(other) {
            Op::RequestPut(put) => Write::Put(put),
            Op::RequestDeleteRange(delete) => Write::DeleteRange(delete),
            op => panic!("{op:?} writes nothing"),
        },
    }
}

/// What the checkers are told of a response.
///
/// # Panics
/// If it answers a kind of request that is not drawn here.
#[must_use]
pub fn answer_of(response: Response) -> Answer {
    match response {
        Response::Put(response) => OpResponse::ResponsePut(response).into_answer(),
        Response::DeleteRange(response) => OpResponse::ResponseDeleteRange(response).into_answer(),
        Response::Txn(response) => OpResponse::ResponseTxn(response).into_answer(),
        Response::Range(response) => OpResponse::ResponseRange(response).into_answer(),
        Response::Compaction(_) => Answer::Done,
        other => panic!("{other:?} was not asked for"),
    }
}

trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for OpResponse {
    fn into_answer(self) -> Answer {
        match self {
            OpResponse::ResponseRange(found) => Answer::Range(RangeAnswer {
                kvs: found.kvs.into_iter().map(kv_of).collect(),
                count: found.count,
                more: found.more,
            }),
            OpResponse::ResponsePut(response) => Answer::Put(PutAnswer {
                prev: response.prev_kv.map(kv_of),
            }),
            OpResponse::ResponseDeleteRange(response) => Answer::Delete(h::DeleteAnswer {
                deleted: response.deleted,
                prevs: response.prev_kvs.into_iter().map(kv_of).collect(),
            }),
            OpResponse::ResponseTxn(response) => {
                let results = response.responses.into_iter();
                let results = results.map(|next| next.response.expect("one for each"));
                Answer::Txn(TxnAnswer {
                    succeeded: response.succeeded,
                    results: results.map(IntoAnswer::into_answer).collect(),
                })
            }
        }
    }
}

pub(crate) fn kv_of(kv: KeyValue) -> h::Kv {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("only text is written here");
    h::Kv {
        key: text(kv.key),
        value: text(kv.value),
        created: kv.create_revision,
        modified: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

/// What the checkers are told of what a watch got.
///
/// # Panics
/// If an event is of no key.
#[must_use]
pub fn told_of(watch: &Watch, at: i64, response: WatchResponse) -> Told {
    let events = response.events.into_iter().map(|event| h::Event {
        deleted: event.r#type() == EventType::Delete,
        kv: kv_of(event.kv.expect("of a key")),
        prev: event.prev_kv.map(kv_of),
    });
    Told {
        stream: watch.stream,
        watch: Some(watch.id),
        at,
        revision: response.header.map_or(0, |header| header.revision),
        created: response.created,
        canceled: response.canceled,
        compacted: response.compact_revision,
        fragment: response.fragment,
        events: events.collect(),
    }
}
