//! The Cluster service.

use super::call::Call;
use super::kv::flat;
use super::method::{
    ClusterMemberAdd, ClusterMemberList, ClusterMemberPromote, ClusterMemberRemove,
    ClusterMemberUpdate,
};
use crate::api::Api;
use std::pin::pin;

pub(super) async fn member_list<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberList>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_list(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn member_add<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberAdd>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_add(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn member_remove<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberRemove>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_remove(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn member_update<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberUpdate>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_update(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn member_promote<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberPromote>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_promote(request))).await;
    call.answer(flat(result)).await;
}
