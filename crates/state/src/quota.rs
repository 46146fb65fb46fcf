//! The storage quota: what a request is charged, and whether a store of some size may grow by it.
//!
//! The charge is an estimate that never decides what an entry does: a member over its quota
//! refuses new proposals, applies what is committed, and asks for an alarm, which then binds all.

use tenet_base::limits;
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{PutRequest, RequestOp, TxnRequest};

/// A quota in bytes, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(Option<i64>);

impl Quota {
    /// The quota that a configured number means: zero the default, negative none.
    #[must_use]
    pub const fn from_config(bytes: i64) -> Self {
        match bytes {
            0 => Quota(Some(limits::QUOTA_BYTES_DEFAULT)),
            n if n < 0 => Quota(None),
            n => Quota(Some(n)),
        }
    }

    /// Whether a store of `size_bytes` may take a request charged with `cost_bytes`. What costs
    /// nothing is always taken.
    #[must_use]
    pub const fn admits(self, size_bytes: i64, cost_bytes: usize) -> bool {
        match self.0 {
            Some(limit) if cost_bytes > 0 => size_bytes.saturating_add(cost_bytes as i64) < limit,
            _ => true,
        }
    }
}

/// The charge of a put.
#[must_use]
pub fn put_cost(request: &PutRequest) -> usize {
    limits::QUOTA_PUT_OVERHEAD_BYTES + request.key.len() + request.value.len()
}

/// The charge of a transaction: that of its dearer branch. Only puts cost.
#[must_use]
pub fn txn_cost(request: &TxnRequest) -> usize {
    branch_cost(&request.success).max(branch_cost(&request.failure))
}

/// The charge of granting a lease.
#[must_use]
pub const fn lease_grant_cost() -> usize {
    limits::QUOTA_LEASE_GRANT_BYTES
}

fn branch_cost(ops: &[RequestOp]) -> usize {
    ops.iter()
        .map(|op| match &op.request {
            Some(Request::RequestPut(put)) => put_cost(put),
            Some(Request::RequestTxn(txn)) => txn_cost(txn),
            Some(Request::RequestRange(_) | Request::RequestDeleteRange(_)) | None => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};

    fn put(value_len: usize) -> PutRequest {
        PutRequest {
            key: "k".into(),
            value: vec![0; value_len].into(),
            ..PutRequest::default()
        }
    }

    fn op(request: Request) -> RequestOp {
        RequestOp {
            request: Some(request),
        }
    }

    #[test]
    fn costs_are_etcds() {
        assert_eq!(put_cost(&put(9)), 266);
        assert_eq!(lease_grant_cost(), 64);
        let nested = TxnRequest {
            failure: vec![
                op(Request::RequestPut(put(100))),
                op(Request::RequestPut(put(0))),
            ],
            ..TxnRequest::default()
        };
        let txn = TxnRequest {
            success: vec![
                op(Request::RequestDeleteRange(DeleteRangeRequest::default())),
                op(Request::RequestPut(put(200))),
            ],
            failure: vec![
                op(Request::RequestTxn(nested)),
                op(Request::RequestRange(RangeRequest::default())),
                RequestOp::default(),
            ],
            ..TxnRequest::default()
        };
        assert_eq!(txn_cost(&txn), 257 + 100 + 257);
        assert_eq!(txn_cost(&TxnRequest::default()), 0);
    }

    #[test]
    fn quota_is_reached_when_size_and_cost_meet_it() {
        let quota = Quota::from_config(1_000);
        assert!(quota.admits(700, 299));
        assert!(!quota.admits(700, 300));
        assert!(quota.admits(5_000, 0));
        assert!(Quota::from_config(-1).admits(i64::MAX, 1));
        assert!(!Quota::from_config(0).admits(2 * 1024 * 1024 * 1024 - 1, 1));
    }
}
