//! Locks and elections (etcd's v3lock and v3election services).
//!
//! They are not part of the replicated state machine: they write keys by a protocol, the same that
//! etcd's client libraries follow, so clients of either kind share locks and elections. Whoever
//! wants the name `N` with the lease `L` writes the key `N/<L in hex>`, bound to the lease. Of all
//! keys under `N/`, the one with the lowest create revision has it; the others each wait for the
//! key just before theirs to go.
//!
//! **Fencing.** A lease can end while its holder still believes that it holds the name: it may
//! have been paused. What must not happen twice is therefore guarded by more than the answer of
//! `Lock` or `Campaign`. Either write to this store in a transaction that compares the ownership
//! key's create revision, or pass that revision to the other system and let it refuse any lower
//! one: it only grows from one holder to the next.
//!
//! Invariants: nothing is held here between calls; a call that is given up while it waits takes its
//! key back. This module knows no sockets and no gRPC.

mod election;
mod lock;
mod watching;

pub(crate) use election::{campaign, leader, observe, proclaim, resign};
pub(crate) use lock::{lock, unlock};

use crate::api::Api;
use bytes::Bytes;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::response_op::Response;
use tenet_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RangeResponse,
    RequestOp, ResponseHeader, ResponseOp, TxnRequest,
};
use tenet_proto::mvccpb::KeyValue;
use watching::Watching;

/// Time to live of a lease that is made for a caller who brings none.
const LEASE_TTL_SECONDS: i64 = 60;

/// Why a call failed. etcd's services call it through a client, so that clients of these see no
/// code but Unknown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The store refused.
    #[error("{}", .0.text())]
    Api(#[from] ApiError),
    /// A request about a leader that names none.
    #[error("\"leader\" field must be provided")]
    NoLeaderField,
    /// The name is another's, or nobody's.
    #[error("election: not leader")]
    NotLeader,
    /// Nobody has the name.
    #[error("election: no leader")]
    NoLeader,
    /// The key went away while its owner waited: the lease has ended.
    #[error("mutex: session is expired")]
    SessionExpired,
    /// A watch ended without the event that it was for.
    #[error("lost watcher waiting for delete")]
    LostWatcher,
}

/// The lease of a call: the one that it brings, or a new one that nobody keeps alive.
async fn lease_of(api: &impl Api, given: i64) -> Result<i64, Failure> {
    if given != 0 {
        return Ok(given);
    }
    let granted = api.lease_grant(LeaseGrantRequest {
        ttl: LEASE_TTL_SECONDS,
        id: 0,
    });
    Ok(granted.await?.id)
}

/// What all keys of a name begin with.
fn prefix_of(name: &Bytes) -> Vec<u8> {
    let mut prefix = name.to_vec();
    prefix.push(b'/');
    prefix
}

fn key_of(prefix: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let mut key = prefix.to_vec();
    key.extend_from_slice(format!("{sign}{:x}", lease.unsigned_abs()).as_bytes());
    key.into()
}

/// The end of the range of all keys that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a slash at least") += 1;
    end.into()
}

/// Asks for the first or the last created of the keys under `prefix`.
fn one_by_creation(prefix: &[u8], order: SortOrder) -> RangeRequest {
    RangeRequest {
        key: prefix.to_vec().into(),
        range_end: end_of(prefix),
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::default()
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

fn get(key: &Bytes) -> RequestOp {
    op(Request::RequestRange(RangeRequest {
        key: key.clone(),
        ..RangeRequest::default()
    }))
}

fn put(key: &Bytes, value: Bytes, lease: i64) -> RequestOp {
    op(Request::RequestPut(PutRequest {
        key: key.clone(),
        value,
        lease,
        ..PutRequest::default()
    }))
}

fn delete(key: &Bytes) -> RequestOp {
    op(Request::RequestDeleteRange(DeleteRangeRequest {
        key: key.clone(),
        ..DeleteRangeRequest::default()
    }))
}

/// A transaction on condition that `key` was created at `revision` (zero: is not there).
fn if_created_at(
    key: &Bytes,
    revision: i64,
    then: Vec<RequestOp>,
    otherwise: Vec<RequestOp>,
) -> TxnRequest {
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Create.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::CreateRevision(revision)),
            ..Compare::default()
        }],
        success: then,
        failure: otherwise,
    }
}

/// What a range in a transaction found.
fn found(response: &ResponseOp) -> &[KeyValue] {
    match &response.response {
        Some(Response::ResponseRange(RangeResponse { kvs, .. })) => kvs,
        _ => &[],
    }
}

fn revision_of(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// Waits until all keys under `prefix` that were created before `revision` are gone, one after the
/// other from the youngest; so whoever waits is woken once.
async fn wait_for_turn(api: &impl Api, prefix: &[u8], revision: i64) -> Result<(), Failure> {
    loop {
        let mut youngest = one_by_creation(prefix, SortOrder::Descend);
        youngest.max_create_revision = revision - 1;
        let answer = api.range(youngest).await?;
        let Some(before) = answer.kvs.into_iter().next() else {
            return Ok(());
        };
        let from = revision_of(answer.header.as_ref());
        let mut watching = Watching::key(api, &before.key, from);
        while !watching.next_events().await?.iter().any(is_delete) {}
    }
}

fn is_delete(event: &tenet_proto::mvccpb::Event) -> bool {
    event.r#type() == tenet_proto::mvccpb::event::EventType::Delete
}

/// Takes a key back unless the call came to its end.
struct Retreat<A: Api> {
    api: A,
    key: Option<Bytes>,
}

impl<A: Api> Retreat<A> {
    fn new(api: &A, key: &Bytes) -> Self {
        Retreat {
            api: api.clone(),
            key: Some(key.clone()),
        }
    }

    /// The key stays.
    fn cancel(mut self) {
        self.key = None;
    }
}

impl<A: Api> Drop for Retreat<A> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let api = self.api.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let request = DeleteRangeRequest {
                    key,
                    ..DeleteRangeRequest::default()
                };
                // If it fails, the lease ends the key.
                let _ = api.delete_range(request).await;
            });
        }
    }
}
