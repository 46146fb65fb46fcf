//! Transactions: compares choose a path, the whole path is checked, then it is executed.
//!
//! Everything is chosen and checked against the state before the transaction, nested branches
//! too, so a transaction is either refused as a whole or executed as a whole.

use crate::kv::{Writer, api_error, header, range_response};
use crate::lease::Leases;
use crate::read::CannotRead;
use bytes::Bytes;
use std::cmp::Ordering;
use tenet_base::LeaseId;
use tenet_mvcc::{MvccError, RangeResult, View, WriteTxn};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::response_op::Response;
use tenet_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp, TxnRequest,
    TxnResponse,
};
use tenet_proto::mvccpb::KeyValue;
use tenet_store::Patience;

/// Whether a transaction can change nothing, whatever path it takes: all its operations are
/// ranges. One without operations is; one with a nested transaction is not.
#[must_use]
pub fn is_read_only(request: &TxnRequest) -> bool {
    ranges(request).all(|range| range.is_some())
}

/// Whether a read-only transaction may be answered from this member's state alone.
#[must_use]
pub fn is_serializable(request: &TxnRequest) -> bool {
    ranges(request).all(|range| range.is_some_and(|range| range.serializable))
}

/// The operations of both branches, those that are ranges as such.
fn ranges(request: &TxnRequest) -> impl Iterator<Item = Option<&RangeRequest>> {
    let ops = request.success.iter().chain(&request.failure);
    ops.map(|op| match &op.request {
        Some(Request::RequestRange(range)) => Some(range),
        _ => None,
    })
}

/// The state that compares and checks look at.
pub(crate) trait Reader {
    /// The current revision.
    fn revision(&self) -> i64;
    /// The newest key-value; value and lease only if `whole`.
    fn newest(&self, key: &Bytes, whole: bool) -> Result<Option<KeyValue>, MvccError>;
    /// A range.
    fn range(&self, request: &RangeRequest) -> Result<RangeResult, MvccError>;
}

impl Reader for WriteTxn<'_> {
    fn revision(&self) -> i64 {
        WriteTxn::revision(self).get()
    }

    fn newest(&self, key: &Bytes, whole: bool) -> Result<Option<KeyValue>, MvccError> {
        if whole {
            return Ok(self.get(key));
        }
        Ok(self.head(key).map(|meta| KeyValue {
            create_revision: meta.create_revision.get(),
            mod_revision: meta.mod_revision.get(),
            version: meta.version,
            ..KeyValue::default()
        }))
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResult, MvccError> {
        WriteTxn::range(self, request)
    }
}

/// A published view, and whether to wait for what is not in memory.
pub(crate) struct Patient<'a>(pub(crate) &'a View, pub(crate) Patience);

impl Reader for Patient<'_> {
    fn revision(&self) -> i64 {
        self.0.revision().get()
    }

    fn newest(&self, key: &Bytes, whole: bool) -> Result<Option<KeyValue>, MvccError> {
        let request = RangeRequest {
            key: key.clone(),
            keys_only: !whole,
            ..RangeRequest::default()
        };
        Ok(self.range(&request)?.kvs.pop())
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeResult, MvccError> {
        match self.1 {
            Patience::Wait => self.0.range(request),
            Patience::Never => self.0.range_cached(request),
        }
    }
}

/// The path that a transaction takes.
pub(crate) struct Path<'a> {
    succeeded: bool,
    ops: &'a [RequestOp],
    /// The paths of the transactions among `ops`, in order.
    nested: Vec<Path<'a>>,
}

impl<'a> Path<'a> {
    pub(crate) fn choose(
        state: &impl Reader,
        request: &'a TxnRequest,
    ) -> Result<Path<'a>, MvccError> {
        let mut succeeded = true;
        for compare in &request.compare {
            if !holds(state, compare)? {
                succeeded = false;
                break;
            }
        }
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let nested = ops
            .iter()
            .filter_map(|op| match &op.request {
                Some(Request::RequestTxn(txn)) => Some(Path::choose(state, txn)),
                _ => None,
            })
            .collect::<Result<_, _>>()?;
        Ok(Path {
            succeeded,
            ops,
            nested,
        })
    }
}

/// Whether a compare holds for its key, or for every key of its range.
fn holds(state: &impl Reader, compare: &Compare) -> Result<bool, MvccError> {
    // Only these need the record itself.
    let whole = matches!(
        CompareTarget::try_from(compare.target),
        Ok(CompareTarget::Value | CompareTarget::Lease)
    );
    let kvs = if compare.range_end.is_empty() {
        state.newest(&compare.key, whole)?.into_iter().collect()
    } else {
        let request = RangeRequest {
            key: compare.key.clone(),
            range_end: compare.range_end.clone(),
            keys_only: !whole,
            ..RangeRequest::default()
        };
        state.range(&request)?.kvs
    };
    if kvs.is_empty() {
        // No key has no value, not an empty one; everything else of it counts as zero.
        return Ok(compare.target != CompareTarget::Value as i32
            && holds_for(compare, &KeyValue::default()));
    }
    Ok(kvs.iter().all(|kv| holds_for(compare, kv)))
}

/// Compares one key-value. A constant that does not belong to the target counts as zero or empty;
/// an unknown target as equal; under an unknown result everything holds.
fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    use CompareTarget as Target;
    let given = compare.target_union.as_ref();
    let order = match (CompareTarget::try_from(compare.target), given) {
        (Ok(Target::Version), Some(TargetUnion::Version(v))) => kv.version.cmp(v),
        (Ok(Target::Version), _) => kv.version.cmp(&0),
        (Ok(Target::Create), Some(TargetUnion::CreateRevision(r))) => kv.create_revision.cmp(r),
        (Ok(Target::Create), _) => kv.create_revision.cmp(&0),
        (Ok(Target::Mod), Some(TargetUnion::ModRevision(r))) => kv.mod_revision.cmp(r),
        (Ok(Target::Mod), _) => kv.mod_revision.cmp(&0),
        (Ok(Target::Value), Some(TargetUnion::Value(v))) => kv.value.cmp(v),
        (Ok(Target::Value), _) => kv.value.cmp(&Bytes::new()),
        (Ok(Target::Lease), Some(TargetUnion::Lease(l))) => kv.lease.cmp(l),
        (Ok(Target::Lease), _) => kv.lease.cmp(&0),
        (Err(_), _) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}

/// The check phase of one transaction.
pub(crate) struct Check<'a, R> {
    pub(crate) state: &'a R,
    /// The compact revision as etcd counts it: -1 if never compacted.
    pub(crate) compacted: i64,
    /// None for a transaction that cannot put.
    pub(crate) leases: Option<&'a Leases>,
}

/// Puts and deletes that a path makes before some operation of it.
type Earlier<'a> = Vec<&'a Request>;

impl<R: Reader> Check<'_, R> {
    /// Whether the whole path can be executed.
    pub(crate) fn path(&self, path: &Path<'_>) -> Result<(), ApiError> {
        self.path_after(path, &mut Vec::new())
    }

    fn path_after<'p>(&self, path: &Path<'p>, earlier: &mut Earlier<'p>) -> Result<(), ApiError> {
        let mut nested = path.nested.iter();
        for request in path.ops.iter().filter_map(|op| op.request.as_ref()) {
            match request {
                Request::RequestRange(range) => self.range(range)?,
                Request::RequestPut(put) => {
                    self.put(put, earlier)?;
                    earlier.push(request);
                }
                Request::RequestDeleteRange(_) => earlier.push(request),
                Request::RequestTxn(_) => self.path_after(next(&mut nested), earlier)?,
            }
        }
        Ok(())
    }

    fn range(&self, request: &RangeRequest) -> Result<(), ApiError> {
        match request.revision {
            0 => Ok(()),
            revision if revision > self.state.revision() => Err(ApiError::FutureRevision),
            revision if revision < self.compacted => Err(ApiError::Compacted),
            _ => Ok(()),
        }
    }

    fn put(&self, request: &PutRequest, earlier: &Earlier<'_>) -> Result<(), ApiError> {
        let lease = LeaseId(request.lease);
        if !lease.is_zero() && !self.leases.is_some_and(|leases| leases.contains(lease)) {
            return Err(ApiError::LeaseNotFound);
        }
        if request.ignore_value || request.ignore_lease {
            let before = self.state.newest(&request.key, false).map_err(api_error)?;
            if before.is_none() || deleted(&request.key, earlier) {
                return Err(ApiError::KeyNotFound);
            }
        }
        Ok(())
    }
}

/// Whether the last of these operations that touches `key` deletes it. etcd looks at the state
/// before the transaction only, and then its members end with a panic when the key is missing;
/// refusing the transaction is what it would mean.
fn deleted(key: &[u8], earlier: &Earlier<'_>) -> bool {
    let touching = earlier.iter().rev().find_map(|request| match request {
        Request::RequestPut(put) if put.key == key => Some(false),
        Request::RequestDeleteRange(delete) if covers(delete, key) => Some(true),
        _ => None,
    });
    touching.unwrap_or(false)
}

fn covers(delete: &DeleteRangeRequest, key: &[u8]) -> bool {
    match &delete.range_end[..] {
        [] => delete.key == key,
        [0] => *delete.key <= *key,
        end => *delete.key <= *key && key < end,
    }
}

/// Executes a checked path.
pub(crate) fn execute(writer: &mut Writer<'_>, path: &Path<'_>) -> TxnResponse {
    let mut response = execute_nested(writer, path);
    response.header = writer.header();
    response
}

/// As [`execute`], with the empty header that etcd gives a nested transaction.
fn execute_nested(writer: &mut Writer<'_>, path: &Path<'_>) -> TxnResponse {
    let mut nested = path.nested.iter();
    let responses = path.ops.iter().map(|op| ResponseOp {
        response: op.request.as_ref().map(|request| match request {
            Request::RequestRange(range) => Response::ResponseRange(writer.range(range)),
            Request::RequestPut(put) => {
                Response::ResponsePut(writer.put(put).unwrap_or_else(|error| {
                    panic!("a put failed after the check of its transaction: {error}")
                }))
            }
            Request::RequestDeleteRange(delete) => {
                Response::ResponseDeleteRange(writer.delete_range(delete))
            }
            Request::RequestTxn(_) => {
                Response::ResponseTxn(execute_nested(writer, next(&mut nested)))
            }
        }),
    });
    TxnResponse {
        responses: responses.collect(),
        header: header(0),
        succeeded: path.succeeded,
    }
}

/// Answers a read-only transaction from a view.
pub(crate) fn read(state: &Patient<'_>, request: &TxnRequest) -> Result<TxnResponse, CannotRead> {
    let path = Path::choose(state, request)?;
    let compacted = state
        .0
        .compact_revision()
        .map_or(-1, |revision| revision.get());
    let check = Check {
        state,
        compacted,
        leases: None,
    };
    check.path(&path)?;
    let revision = state.revision();
    let mut responses = Vec::with_capacity(path.ops.len());
    for range in ranges_of(path.ops) {
        let result = state.range(range)?;
        responses.push(ResponseOp {
            response: Some(Response::ResponseRange(range_response(revision, result))),
        });
    }
    Ok(TxnResponse {
        header: header(revision),
        succeeded: path.succeeded,
        responses,
    })
}

fn ranges_of(ops: &[RequestOp]) -> impl Iterator<Item = &RangeRequest> {
    ops.iter().map(|op| match &op.request {
        Some(Request::RequestRange(range)) => range,
        other => panic!("a transaction with {other:?} was taken for read-only"),
    })
}

/// The path of the next nested transaction.
fn next<'p, 'a>(nested: &mut std::slice::Iter<'p, Path<'a>>) -> &'p Path<'a> {
    nested
        .next()
        .expect("a path was chosen for every nested transaction")
}
