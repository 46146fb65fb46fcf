//! The standard health service. The whole server is the service with the empty name, and it is
//! serving whenever it can be asked; there are no others.

use super::call::Call;
use super::method::{HealthCheck, HealthList, HealthWatch};
use super::status::Status;
use crate::api::Api;
use std::pin::pin;
use tenet_proto::Code;
use tenet_proto::health::health_check_response::ServingStatus;
use tenet_proto::health::{HealthCheckResponse, HealthListResponse};

fn state(service: &str) -> ServingStatus {
    if service.is_empty() {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    }
}

pub(super) async fn check<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<HealthCheck>(api).await else {
        return;
    };
    let result = match state(&request.service) {
        ServingStatus::ServiceUnknown => Err(Status::new(Code::NotFound, "unknown service")),
        known => Ok(HealthCheckResponse {
            status: known.into(),
        }),
    };
    call.answer(result).await;
}

pub(super) async fn list<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<HealthList>(api).await else {
        return;
    };
    let all = HealthCheckResponse {
        status: state("").into(),
    };
    let statuses = [(String::new(), all)].into_iter().collect();
    call.answer(Ok(HealthListResponse { statuses })).await;
}

/// Says the state once, then waits: it does not change while the server runs.
pub(super) async fn watch<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<HealthWatch>(api).await else {
        return;
    };
    let now = HealthCheckResponse {
        status: state(&request.service).into(),
    };
    if call.send(now).await.is_err() {
        return;
    }
    let never = pin!(std::future::pending::<std::convert::Infallible>());
    let Err(status) = call.race(never).await;
    call.finish(&status);
}
