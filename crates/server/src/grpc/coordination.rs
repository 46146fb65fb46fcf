//! The Lock and Election services.

use super::call::Call;
use super::method::{
    ElectionCampaign, ElectionLeader, ElectionObserve, ElectionProclaim, ElectionResign, LockLock,
    LockUnlock,
};
use super::status::Status;
use crate::api::Api;
use crate::coordination::{self, Failure};
use std::pin::pin;
use tenet_proto::Code;

pub(super) async fn lock<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<LockLock>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::lock(api, request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn unlock<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<LockUnlock>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::unlock(api, request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn campaign<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ElectionCampaign>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::campaign(api, request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn proclaim<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ElectionProclaim>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::proclaim(api, request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn leader<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ElectionLeader>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::leader(api, request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn resign<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ElectionResign>(api).await else {
        return;
    };
    let result = call.race(pin!(coordination::resign(api, request))).await;
    call.answer(flat(result)).await;
}

/// Tells leaders until the client goes.
pub(super) async fn observe<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<ElectionObserve>(api).await else {
        return;
    };
    let mut observation = coordination::observe(api, &request);
    loop {
        match call.race(pin!(observation.next())).await {
            Ok(Ok(response)) => {
                if call.send(response).await.is_err() {
                    return;
                }
            }
            Ok(Err(_)) => {
                let text = "election: observe closed early";
                return call.finish(&Status::new(Code::Unknown, text));
            }
            Err(status) => return call.finish(&status),
        }
    }
}

fn flat<T>(result: Result<Result<T, Failure>, Status>) -> Result<T, Status> {
    result?.map_err(|failure| Status::new(Code::Unknown, failure.to_string()))
}
