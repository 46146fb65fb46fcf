//! The Maintenance service, as far as it is served.

use super::call::Call;
use super::kv::flat;
use super::method::{
    MaintenanceAlarm, MaintenanceDefragment, MaintenanceHash, MaintenanceHashKv,
    MaintenanceMoveLeader, MaintenanceSnapshot, MaintenanceStatus,
};
use super::status::Status;
use crate::api::{Api, SnapshotMessages as _};
use std::pin::pin;
use tenet_proto::Code;
use tenet_proto::etcdserverpb::DefragmentResponse;

pub(super) async fn alarm<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<MaintenanceAlarm>(api).await else {
        return;
    };
    let result = call.race(pin!(api.alarm(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn status<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<MaintenanceStatus>(api).await else {
        return;
    };
    call.answer(Ok(api.status())).await;
}

/// Its answer has no header, as etcd's has none.
pub(super) async fn defragment<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<MaintenanceDefragment>(api).await else {
        return;
    };
    let result = flat(call.race(pin!(api.defragment())).await);
    call.answer(result.map(|()| DefragmentResponse { header: None }))
        .await;
}

pub(super) async fn hash<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<MaintenanceHash>(api).await else {
        return;
    };
    let result = call.race(pin!(api.hash())).await;
    call.answer(flat(result)).await;
}

pub(super) async fn hash_kv<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<MaintenanceHashKv>(api).await else {
        return;
    };
    let result = call.race(pin!(api.hash_kv(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn move_leader<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<MaintenanceMoveLeader>(api).await else {
        return;
    };
    let result = call.race(pin!(api.move_leader(request))).await;
    call.answer(flat(result)).await;
}

/// Sends the messages of a snapshot, each when the client has room for it.
pub(super) async fn snapshot<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<MaintenanceSnapshot>(api).await else {
        return;
    };
    let mut messages = match flat(call.race(pin!(api.snapshot())).await) {
        Ok(messages) => messages,
        Err(status) => return call.finish(&status),
    };
    loop {
        let message = match call.race(pin!(messages.next())).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(text))) => {
                tracing::error!(reason = text, "a snapshot could not be made");
                return call.finish(&Status::new(Code::Internal, text));
            }
            Ok(None) => return call.finish(&Status::OK),
            Err(status) => return call.finish(&status),
        };
        if call.send(message).await.is_err() {
            return;
        }
        // A fast client must not keep the connection's other calls waiting.
        tokio::task::yield_now().await;
    }
}
