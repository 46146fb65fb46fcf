//! The KV service.
//!
//! Calls run in their connection's task, so one that may walk many keys would hold up all others
//! of its connection: it gets a task of its own.

use super::call::Call;
use super::long::Wrapping;
use super::method::{KvCompact, KvDeleteRange, KvPut, KvRange, KvRangeStream, KvTxn};
use super::status::Status;
use crate::api::{Api, RangeAnswer, RangeChunks as _};
use futures_util::future::Either;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse, TxnRequest, request_op::Request};
use tokio::task::JoinHandle;

/// Ranges that return at most this many keys stay in the connection's task.
const SHORT_RANGE_KEYS: i64 = 16;

pub(super) async fn range<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvRange>(api).await else {
        return;
    };
    if !request.serializable && api.is_learner() {
        return call
            .answer::<RangeResponse>(Err(ApiError::NotSupportedForLearner.into()))
            .await;
    }
    // A block, so that the call is no larger than the work or the answer.
    let opened = {
        let work = if is_long(&request) {
            let api = api.clone();
            Either::Left(own_task(async move { api.open_range(request).await }))
        } else {
            Either::Right(api.open_range(request))
        };
        flat(call.race(pin!(work)).await)
    };
    match opened {
        Ok(RangeAnswer::Whole(answer)) => call.answer(Ok(answer)).await,
        // Boxed, so that the common calls stay small.
        Ok(RangeAnswer::Long(answer)) => Box::pin(call.answer_long(answer)).await,
        Err(status) => call.answer::<RangeResponse>(Err(status)).await,
    }
}

pub(super) async fn put<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvPut>(api).await else {
        return;
    };
    let result = call.race(pin!(api.put(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn delete_range<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvDeleteRange>(api).await else {
        return;
    };
    let result = call.race(pin!(api.delete_range(request))).await;
    call.answer(flat(result)).await;
}

pub(super) async fn txn<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvTxn>(api).await else {
        return;
    };
    let work = if holds_long_range(&request) {
        let api = api.clone();
        Either::Left(own_task(async move { api.txn(request).await }))
    } else {
        Either::Right(api.txn(request))
    };
    let result = call.race(pin!(work)).await;
    call.answer(flat(result)).await;
}

pub(super) async fn compact<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvCompact>(api).await else {
        return;
    };
    let result = call.race(pin!(api.compact(request))).await;
    call.answer(flat(result)).await;
}

/// Sends chunk after chunk, each as the client has room for it.
pub(super) async fn range_stream<A: Api>(api: &A, call: &mut Call<'_>) {
    let Some(request) = call.receive::<KvRangeStream>(api).await else {
        return;
    };
    let mut chunks = match flat(call.race(pin!(api.range_stream(request))).await) {
        Ok(chunks) => chunks,
        Err(status) => return call.finish(&status),
    };
    loop {
        let chunk = match call.race(pin!(chunks.next())).await {
            Ok(Some(chunk)) => chunk.map_err(Status::from),
            Ok(None) => return call.finish(&Status::OK),
            Err(status) => Err(status),
        };
        let sent = match chunk {
            Ok(chunk) => call.send_long(chunk, Wrapping::Streamed).await,
            Err(status) => Err(status),
        };
        if let Err(status) = sent {
            return call.finish(&status);
        }
    }
}

fn is_long(request: &RangeRequest) -> bool {
    !request.range_end.is_empty() && !(1..=SHORT_RANGE_KEYS).contains(&request.limit)
}

fn holds_long_range(request: &TxnRequest) -> bool {
    request
        .success
        .iter()
        .chain(&request.failure)
        .any(|op| match &op.request {
            Some(Request::RequestRange(range)) => is_long(range),
            Some(Request::RequestTxn(txn)) => holds_long_range(txn),
            _ => false,
        })
}

pub(super) fn flat<T>(result: Result<Result<T, ApiError>, Status>) -> Result<T, Status> {
    result.and_then(|result| result.map_err(Status::from))
}

/// Runs `work` in a task of its own, which ends with the returned future.
pub(super) fn own_task<F>(work: F) -> OwnTask<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    OwnTask(tokio::spawn(work))
}

/// See [`own_task`].
pub(super) struct OwnTask<T>(JoinHandle<T>);

impl<T> Future for OwnTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match Pin::new(&mut self.0).poll(cx) {
            Poll::Ready(Ok(done)) => Poll::Ready(done),
            // Only this handle aborts the task, so it panicked.
            Poll::Ready(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> Drop for OwnTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
