//! The Cluster service, as far as it is served.

use super::call::Call;
use super::kv::flat;
use super::method::ClusterMemberList;
use crate::api::Api;
use std::pin::pin;

pub(super) async fn member_list<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ClusterMemberList>(api).await else {
        return;
    };
    let result = call.race(pin!(api.member_list(request))).await;
    call.answer(flat(result)).await;
}
