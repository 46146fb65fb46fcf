//! The Lease service.

use super::call::Call;
use super::duplex::Session;
use super::kv::{flat, own_task};
use super::method::{LeaseLeaseGrant, LeaseLeaseLeases, LeaseLeaseRevoke, LeaseLeaseTimeToLive};
use super::outbox::Outbox;
use super::status::Status;
use crate::api::Api;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};

pub(super) async fn grant<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<LeaseLeaseGrant>(api).await else {
        return;
    };
    let result = call.race(pin!(api.lease_grant(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn revoke<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<LeaseLeaseRevoke>(api).await else {
        return;
    };
    let result = call.race(pin!(api.lease_revoke(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn time_to_live<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<LeaseLeaseTimeToLive>(api).await else {
        return;
    };
    let result = call.race(pin!(api.lease_time_to_live(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn leases<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(_) = call.receive::<LeaseLeaseLeases>(api).await else {
        return;
    };
    let api = api.clone();
    let work = own_task(async move { api.lease_leases().await });
    let result = call.race(pin!(work)).await;
    call.answer(flat(result)).await;
}

/// Renews leases as the client asks, one after the other, until it ends its side.
pub(super) async fn keep_alive<A: Api>(api: &A, call: &mut Call<'_>) {
    let renew = || {
        let api = api.clone();
        KeepAlive {
            renew: move |request| {
                let api = api.clone();
                async move { api.lease_keep_alive(request).await }
            },
            pending: Box::pin(None),
            input_ended: false,
        }
    };
    call.converse(api, renew).await;
}

/// See [`keep_alive`]. `pending` keeps its place in memory from one renewal to the next.
struct KeepAlive<R, F> {
    renew: R,
    pending: Pin<Box<Option<F>>>,
    input_ended: bool,
}

impl<R, F> Session for KeepAlive<R, F>
where
    R: Fn(LeaseKeepAliveRequest) -> F,
    F: Future<Output = Result<LeaseKeepAliveResponse, ApiError>>,
{
    type Request = LeaseKeepAliveRequest;

    fn takes_requests(&self) -> bool {
        self.pending.is_none()
    }

    fn receive(&mut self, request: LeaseKeepAliveRequest) {
        self.pending.set(Some((self.renew)(request)));
    }

    fn half_close(&mut self) {
        self.input_ended = true;
    }

    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<Status> {
        if !out.has_room() {
            return Poll::Pending;
        }
        if let Some(pending) = self.pending.as_mut().as_pin_mut() {
            let renewed = ready!(pending.poll(cx));
            self.pending.set(None);
            match renewed {
                Ok(response) => out.message(&response),
                Err(error) => return Poll::Ready(error.into()),
            }
        }
        if self.input_ended {
            return Poll::Ready(Status::OK);
        }
        Poll::Pending
    }
}
