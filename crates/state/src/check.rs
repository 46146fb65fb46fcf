//! What a request must satisfy before it is proposed or read: etcd's checks, in etcd's order.
//!
//! These look at the request alone, never at the state, so they run on the serving side. What
//! depends on the state is checked when the request is applied.

use std::collections::{BTreeMap, BTreeSet};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};

type Checked = Result<(), ApiError>;

/// Checks a range.
///
/// # Errors
/// `EmptyKey`, `InvalidSortOption`.
pub fn check_range(request: &RangeRequest) -> Checked {
    check_key(&request.key)?;
    let known = SortOrder::try_from(request.sort_order).is_ok()
        && SortTarget::try_from(request.sort_target).is_ok();
    if known {
        Ok(())
    } else {
        Err(ApiError::InvalidSortOption)
    }
}

/// Checks a range that is to be streamed.
///
/// # Errors
/// Those of [`check_range`]; `RangeStreamSortOrder` and `RangeStreamFilters` for what cannot be
/// given in pieces.
pub fn check_range_stream(request: &RangeRequest) -> Checked {
    check_range(request)?;
    let by_key_ascending = request.sort_order == SortOrder::None as i32
        || (request.sort_target == SortTarget::Key as i32
            && request.sort_order == SortOrder::Ascend as i32);
    if !by_key_ascending {
        return Err(ApiError::RangeStreamSortOrder);
    }
    let filters = [
        request.min_mod_revision,
        request.max_mod_revision,
        request.min_create_revision,
        request.max_create_revision,
    ];
    if filters == [0; 4] {
        Ok(())
    } else {
        Err(ApiError::RangeStreamFilters)
    }
}

/// Checks a put.
///
/// # Errors
/// `EmptyKey`, `ValueProvided`, `LeaseProvided`.
pub fn check_put(request: &PutRequest) -> Checked {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(ApiError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(ApiError::LeaseProvided);
    }
    Ok(())
}

/// Checks a delete.
///
/// # Errors
/// `EmptyKey`.
pub fn check_delete_range(request: &DeleteRangeRequest) -> Checked {
    check_key(&request.key)
}

/// Checks a transaction with at most `ops_max` operations.
///
/// # Errors
/// `TooManyOps`, `EmptyKey`, `KeyNotFound` for an operation that is not given, those of the
/// operations, and `DuplicateKey` when a branch puts a key twice or puts and deletes it.
pub fn check_txn(request: &TxnRequest, ops_max: usize) -> Checked {
    check_txn_shape(request, ops_max)?;
    for branch in [&request.success, &request.failure] {
        // One operation cannot clash with itself, and most transactions have no more.
        let single = match &branch[..] {
            [] => true,
            [op] => !is_txn(op),
            _ => false,
        };
        if !single {
            touched(branch)?;
        }
    }
    Ok(())
}

/// Counts and operations. A nested transaction may use what its parent's largest list leaves.
fn check_txn_shape(request: &TxnRequest, ops_max: usize) -> Checked {
    let largest = request
        .compare
        .len()
        .max(request.success.len())
        .max(request.failure.len());
    let left = ops_max.checked_sub(largest).ok_or(ApiError::TooManyOps)?;
    for compare in &request.compare {
        check_key(&compare.key)?;
    }
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(Request::RequestRange(range)) => check_range(range)?,
            Some(Request::RequestPut(put)) => check_put(put)?,
            Some(Request::RequestDeleteRange(delete)) => check_delete_range(delete)?,
            Some(Request::RequestTxn(txn)) => check_txn_shape(txn, left)?,
            None => return Err(ApiError::KeyNotFound),
        }
    }
    Ok(())
}

fn is_txn(op: &RequestOp) -> bool {
    matches!(op.request, Some(Request::RequestTxn(_)))
}

fn check_key(key: &[u8]) -> Checked {
    if key.is_empty() {
        Err(ApiError::EmptyKey)
    } else {
        Ok(())
    }
}

/// The keys that a branch puts and the ranges that it deletes.
///
/// etcd's rule: within a branch no key may be put twice, nor put and deleted. The order of the
/// looking is part of the rule, since it decides what is seen:
/// * the puts of a nested transaction are compared with the deletes of this level and of nested
///   transactions before it, not of later ones, and with puts of nested transactions before it;
/// * its two branches exclude each other, so they may put the same key;
/// * the puts of this level are compared with everything.
///
/// A delete up to the end of the key space (range end `\0`) and one whose end does not lie behind
/// its key clash with nothing.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Deletes<'a>,
}

fn touched(ops: &[RequestOp]) -> Result<Touched<'_>, ApiError> {
    let mut all = Touched::default();
    for op in ops {
        if let Some(Request::RequestDeleteRange(delete)) = &op.request {
            all.deletes.add(delete);
        }
    }
    for op in ops {
        if let Some(Request::RequestTxn(txn)) = &op.request {
            all.add_nested(touched(&txn.success)?, touched(&txn.failure)?)?;
        }
    }
    for op in ops {
        if let Some(Request::RequestPut(put)) = &op.request {
            all.add_put(&put.key)?;
        }
    }
    Ok(all)
}

impl<'a> Touched<'a> {
    fn add_put(&mut self, key: &'a [u8]) -> Checked {
        if self.deletes.contain(key) || !self.puts.insert(key) {
            return Err(ApiError::DuplicateKey);
        }
        Ok(())
    }

    fn add_nested(&mut self, success: Touched<'a>, failure: Touched<'a>) -> Checked {
        for key in &failure.puts {
            if !success.puts.contains(key) {
                self.add_put(key)?;
            }
        }
        for key in success.puts {
            self.add_put(key)?;
        }
        self.deletes.join(success.deletes);
        self.deletes.join(failure.deletes);
        Ok(())
    }
}

/// A union of deleted keys and ranges.
#[derive(Default)]
struct Deletes<'a> {
    keys: BTreeSet<&'a [u8]>,
    /// Disjoint ranges: start to end, end not included.
    ranges: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Deletes<'a> {
    fn add(&mut self, delete: &'a DeleteRangeRequest) {
        if delete.range_end.is_empty() {
            self.keys.insert(&delete.key);
        } else if delete.key < delete.range_end {
            self.add_range(&delete.key, &delete.range_end);
        }
    }

    /// Adds a range, merging what it overlaps or touches, so that a lookup is one step.
    fn add_range(&mut self, start: &'a [u8], end: &'a [u8]) {
        let (mut start, mut end) = (start, end);
        while let Some((&s, &e)) = self.ranges.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.ranges.remove(s);
            start = start.min(s);
            end = end.max(e);
        }
        self.ranges.insert(start, end);
    }

    fn join(&mut self, other: Deletes<'a>) {
        self.keys.extend(other.keys);
        for (start, end) in other.ranges {
            self.add_range(start, end);
        }
    }

    fn contain(&self, key: &[u8]) -> bool {
        self.keys.contains(key)
            || self
                .ranges
                .range(..=key)
                .next_back()
                .is_some_and(|(_, end)| key < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tenet_proto::etcdserverpb::Compare;

    fn op(request: Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    fn put(key: &str) -> RequestOp {
        op(Request::RequestPut(PutRequest {
            key: key.to_owned().into(),
            ..PutRequest::default()
        }))
    }

    fn delete(key: &str, range_end: &str) -> RequestOp {
        op(Request::RequestDeleteRange(DeleteRangeRequest {
            key: key.to_owned().into(),
            range_end: range_end.to_owned().into(),
            ..DeleteRangeRequest::default()
        }))
    }

    fn nested(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        op(Request::RequestTxn(txn(success, failure)))
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
        TxnRequest {
            compare: Vec::new(),
            success,
            failure,
        }
    }

    fn range(key: &str) -> RangeRequest {
        RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        }
    }

    /// Checks `ops` as a then-branch and as an else-branch.
    fn branch(ops: Vec<RequestOp>) -> Checked {
        let as_success = check_txn(&txn(ops.clone(), vec![]), 128);
        let as_failure = check_txn(&txn(vec![], ops), 128);
        assert_eq!(as_success, as_failure);
        as_success
    }

    #[test]
    fn single_requests() {
        assert_eq!(check_range(&range("")), Err(ApiError::EmptyKey));
        assert_eq!(check_range(&range("a")), Ok(()));
        for bad in [
            RangeRequest {
                sort_order: 3,
                ..range("a")
            },
            RangeRequest {
                sort_target: 5,
                ..range("a")
            },
            RangeRequest {
                sort_target: -1,
                ..range("a")
            },
        ] {
            assert_eq!(check_range(&bad), Err(ApiError::InvalidSortOption));
        }
        let put = |value: &str, lease, ignore_value, ignore_lease| {
            check_put(&PutRequest {
                key: "k".into(),
                value: value.to_owned().into(),
                lease,
                ignore_value,
                ignore_lease,
                ..PutRequest::default()
            })
        };
        assert_eq!(put("v", 1, false, false), Ok(()));
        assert_eq!(put("", 0, true, true), Ok(()));
        assert_eq!(put("v", 1, true, true), Err(ApiError::ValueProvided));
        assert_eq!(put("", 1, true, true), Err(ApiError::LeaseProvided));
        assert_eq!(check_put(&PutRequest::default()), Err(ApiError::EmptyKey));
        let delete = DeleteRangeRequest {
            range_end: "z".into(),
            ..DeleteRangeRequest::default()
        };
        assert_eq!(check_delete_range(&delete), Err(ApiError::EmptyKey));
    }

    #[test]
    fn stream_takes_no_order_and_no_filter() {
        let ordered = |sort_order, sort_target| {
            check_range_stream(&RangeRequest {
                sort_order,
                sort_target,
                ..range("a")
            })
        };
        assert_eq!(ordered(0, 0), Ok(()));
        assert_eq!(ordered(1, 0), Ok(()));
        // No order means no sorting, whatever the target.
        assert_eq!(ordered(0, 3), Ok(()));
        assert_eq!(ordered(2, 0), Err(ApiError::RangeStreamSortOrder));
        assert_eq!(ordered(1, 1), Err(ApiError::RangeStreamSortOrder));
        assert_eq!(ordered(7, 0), Err(ApiError::InvalidSortOption));
        let filtered = RangeRequest {
            min_create_revision: -1,
            ..range("a")
        };
        assert_eq!(
            check_range_stream(&filtered),
            Err(ApiError::RangeStreamFilters)
        );
    }

    #[test]
    fn budget_counts_the_largest_list_and_nesting_gets_what_is_left() {
        let puts = |n: usize| (0..n).map(|i| put(&format!("k{i}"))).collect::<Vec<_>>();
        assert_eq!(check_txn(&txn(puts(3), puts(2)), 3), Ok(()));
        assert_eq!(
            check_txn(&txn(puts(3), puts(4)), 3),
            Err(ApiError::TooManyOps)
        );
        let compares = TxnRequest {
            compare: vec![
                Compare {
                    key: "k".into(),
                    ..Compare::default()
                };
                4
            ],
            ..TxnRequest::default()
        };
        assert_eq!(check_txn(&compares, 3), Err(ApiError::TooManyOps));
        let deep = |inner| txn(vec![put("x"), nested(puts(inner), vec![])], vec![]);
        assert_eq!(check_txn(&deep(3), 5), Ok(()));
        assert_eq!(check_txn(&deep(4), 5), Err(ApiError::TooManyOps));
        assert_eq!(check_txn(&txn(vec![], vec![]), 0), Ok(()));
    }

    #[test]
    fn operations_are_checked_as_requests_of_their_own() {
        let compare = TxnRequest {
            compare: vec![Compare::default()],
            ..txn(vec![RequestOp::default()], vec![])
        };
        assert_eq!(check_txn(&compare, 128), Err(ApiError::EmptyKey));
        assert_eq!(
            branch(vec![RequestOp::default()]),
            Err(ApiError::KeyNotFound)
        );
        assert_eq!(branch(vec![put("")]), Err(ApiError::EmptyKey));
        assert_eq!(branch(vec![delete("", "")]), Err(ApiError::EmptyKey));
        assert_eq!(
            branch(vec![op(Request::RequestRange(range("")))]),
            Err(ApiError::EmptyKey)
        );
        assert_eq!(
            branch(vec![nested(vec![], vec![put("")])]),
            Err(ApiError::EmptyKey)
        );
        // All operations are looked at before duplicates are.
        assert_eq!(
            branch(vec![put("a"), put("a"), put("")]),
            Err(ApiError::EmptyKey)
        );
    }

    #[test]
    fn a_key_is_put_once_and_not_deleted_beside() {
        const DUPLICATE: Checked = Err(ApiError::DuplicateKey);
        assert_eq!(branch(vec![put("a"), put("b")]), Ok(()));
        assert_eq!(branch(vec![put("a"), put("a")]), DUPLICATE);
        assert_eq!(branch(vec![put("a"), delete("a", "")]), DUPLICATE);
        assert_eq!(branch(vec![put("b"), delete("a", "c")]), DUPLICATE);
        assert_eq!(branch(vec![put("c"), delete("a", "c")]), Ok(()));
        assert_eq!(branch(vec![delete("a", "c"), delete("b", "")]), Ok(()));
        // Deletes to the end of the key space and backwards ranges clash with nothing.
        assert_eq!(branch(vec![put("b"), delete("a", "\0")]), Ok(()));
        assert_eq!(branch(vec![put("b"), delete("c", "a")]), Ok(()));
        // Nor do they hide others.
        let hidden = vec![put("d"), delete("b", "z"), delete("c", "a")];
        assert_eq!(branch(hidden), DUPLICATE);
        // The branches of one transaction exclude each other.
        assert_eq!(
            check_txn(&txn(vec![put("a")], vec![put("a"), delete("b", "")]), 128),
            Ok(())
        );
    }

    #[test]
    fn nested_transactions_clash_with_what_was_seen_before_them() {
        const DUPLICATE: Checked = Err(ApiError::DuplicateKey);
        let one = |ops| nested(ops, vec![]);
        assert_eq!(branch(vec![nested(vec![put("a")], vec![put("a")])]), Ok(()));
        assert_eq!(
            branch(vec![nested(vec![put("a")], vec![delete("a", "")])]),
            Ok(())
        );
        assert_eq!(branch(vec![one(vec![put("a")]), put("a")]), DUPLICATE);
        assert_eq!(
            branch(vec![put("a"), one(vec![delete("a", "")])]),
            DUPLICATE
        );
        assert_eq!(
            branch(vec![one(vec![put("a")]), delete("a", "b")]),
            DUPLICATE
        );
        assert_eq!(
            branch(vec![one(vec![put("a")]), one(vec![put("a")])]),
            DUPLICATE
        );
        assert_eq!(
            branch(vec![one(vec![put("a")]), nested(vec![], vec![put("a")])]),
            DUPLICATE
        );
        // A delete of an earlier sibling is seen, of a later one is not.
        assert_eq!(
            branch(vec![one(vec![delete("a", "")]), one(vec![put("a")])]),
            DUPLICATE
        );
        assert_eq!(
            branch(vec![one(vec![put("a")]), one(vec![delete("a", "")])]),
            Ok(())
        );
        assert_eq!(branch(vec![one(vec![put("a"), put("a")])]), DUPLICATE);
    }

    /// The rule, spelled out over lists.
    type Seen = (Vec<Vec<u8>>, Vec<DeleteRangeRequest>);

    fn twin(ops: &[RequestOp]) -> Option<Seen> {
        let hit = |deletes: &[DeleteRangeRequest], key: &[u8]| {
            deletes.iter().any(|d| {
                if d.range_end.is_empty() {
                    d.key == key
                } else {
                    *d.key <= *key && *key < *d.range_end
                }
            })
        };
        let (mut puts, mut deletes): Seen = Default::default();
        for op in ops {
            if let Some(Request::RequestDeleteRange(delete)) = &op.request {
                deletes.push(delete.clone());
            }
        }
        for op in ops {
            let Some(Request::RequestTxn(txn)) = &op.request else {
                continue;
            };
            let (success, failure) = (twin(&txn.success)?, twin(&txn.failure)?);
            let before = puts.clone();
            for key in success.0.into_iter().chain(failure.0) {
                if before.contains(&key) || hit(&deletes, &key) {
                    return None;
                }
                puts.push(key);
            }
            deletes.extend(success.1);
            deletes.extend(failure.1);
        }
        for op in ops {
            let Some(Request::RequestPut(put)) = &op.request else {
                continue;
            };
            if puts.iter().any(|key| *key == put.key) || hit(&deletes, &put.key) {
                return None;
            }
            puts.push(put.key.to_vec());
        }
        Some((puts, deletes))
    }

    fn key() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "b", "c", "ca", "d", "e", "f"])
    }

    fn any_op() -> impl Strategy<Value = RequestOp> {
        let end = prop_oneof![key(), Just(""), Just(""), Just("\0")];
        let leaf = prop_oneof![
            3 => key().prop_map(put),
            2 => (key(), end).prop_map(|(k, e)| delete(k, e)),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let ops = prop::collection::vec(inner, 0..3);
            (ops.clone(), ops).prop_map(|(success, failure)| nested(success, failure))
        })
    }

    proptest! {
        #[test]
        fn duplicates_are_found_as_the_rule_says(ops in prop::collection::vec(any_op(), 0..6)) {
            prop_assert_eq!(branch(ops.clone()).is_ok(), twin(&ops).is_some());
        }
    }
}
