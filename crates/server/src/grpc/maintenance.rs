//! The Maintenance service, as far as it is served.

use super::call::Call;
use super::kv::flat;
use super::method::{
    MaintenanceAlarm, MaintenanceDefragment, MaintenanceHash, MaintenanceHashKv, MaintenanceStatus,
};
use crate::api::Api;
use std::pin::pin;
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
