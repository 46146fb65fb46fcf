//! Locks.

use super::{
    Failure, Retreat, found, get, if_created_at, key_of, lease_of, one_by_creation, op, prefix_of,
    put, revision_of, wait_for_turn,
};
use crate::api::Api;
use bytes::Bytes;
use tenet_proto::etcdserverpb::range_request::SortOrder;
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};
use tenet_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

/// Waits for the lock; the answer names the key that stands for owning it.
pub(crate) async fn lock(api: &impl Api, request: LockRequest) -> Result<LockResponse, Failure> {
    let lease = lease_of(api, request.lease).await?;
    let prefix = prefix_of(&request.name);
    let key = key_of(&prefix, lease);
    let owner = || {
        let first = one_by_creation(&prefix, SortOrder::Ascend);
        op(Request::RequestRange(first))
    };
    let enter = if_created_at(
        &key,
        0,
        vec![put(&key, Bytes::new(), lease), owner()],
        vec![get(&key), owner()],
    );
    let retreat = Retreat::new(api, &key);
    let entered = match api.txn(enter).await {
        Ok(entered) => entered,
        Err(error) => {
            retreat.cancel();
            return Err(error.into());
        }
    };
    let mine = match found(&entered.responses[0]) {
        [own, ..] => own.create_revision,
        [] => revision_of(entered.header.as_ref()),
    };
    let first = found(&entered.responses[1]).first();
    let header = if first.is_none_or(|first| first.create_revision == mine) {
        entered.header
    } else {
        wait_for_turn(api, &prefix, mine).await?;
        let still = api.range(RangeRequest {
            key: key.clone(),
            ..RangeRequest::default()
        });
        let still = still.await?;
        if still.kvs.is_empty() {
            return Err(Failure::SessionExpired);
        }
        still.header
    };
    retreat.cancel();
    Ok(LockResponse { header, key })
}

/// Gives the lock up by deleting the key of its ownership.
pub(crate) async fn unlock(
    api: &impl Api,
    request: UnlockRequest,
) -> Result<UnlockResponse, Failure> {
    let deleted = api.delete_range(DeleteRangeRequest {
        key: request.key,
        ..DeleteRangeRequest::default()
    });
    Ok(UnlockResponse {
        header: deleted.await?.header,
    })
}
