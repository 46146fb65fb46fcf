//! The Maintenance service, as far as it is served.

use super::call::Call;
use super::kv::{flat, own_task};
use super::method::{
    MaintenanceAlarm, MaintenanceDefragment, MaintenanceHash, MaintenanceHashKv, MaintenanceStatus,
};
use crate::api::Api;
use tenet_proto::etcdserverpb::DefragmentResponse;

pub(super) async fn alarm<A: Api>(api: &A, mut call: Call<'_>) {
    let Some(request) = call.receive::<MaintenanceAlarm>(api).await else {
        return;
    };
    let result = call.race(api.alarm(request)).await;
    call.answer(flat(result)).await;
}

pub(super) async fn status<A: Api>(api: &A, mut call: Call<'_>) {
    let Some(_) = call.receive::<MaintenanceStatus>(api).await else {
        return;
    };
    call.answer(Ok(api.status())).await;
}

/// Its answer has no header, as etcd's has none.
pub(super) async fn defragment<A: Api>(api: &A, mut call: Call<'_>) {
    let Some(_) = call.receive::<MaintenanceDefragment>(api).await else {
        return;
    };
    let result = flat(call.race(api.defragment()).await);
    call.answer(result.map(|()| DefragmentResponse { header: None }))
        .await;
}

pub(super) async fn hash<A: Api>(api: &A, mut call: Call<'_>) {
    let Some(_) = call.receive::<MaintenanceHash>(api).await else {
        return;
    };
    let api = api.clone();
    let result = call.race(own_task(async move { api.hash().await })).await;
    call.answer(flat(result)).await;
}

pub(super) async fn hash_kv<A: Api>(api: &A, mut call: Call<'_>) {
    let Some(request) = call.receive::<MaintenanceHashKv>(api).await else {
        return;
    };
    let api = api.clone();
    let result = call
        .race(own_task(async move { api.hash_kv(request).await }))
        .await;
    call.answer(flat(result)).await;
}
