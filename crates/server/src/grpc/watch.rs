//! The Watch service.
//!
//! The member's session does the work; it gives encoded responses, of which no more are asked for
//! than the stream can send. What of the history is not in memory is read elsewhere. A client that ends its side keeps its watches, as in etcd.

use super::call::Call;
use super::duplex::Session;
use super::outbox::Outbox;
use super::status::Status;
use crate::api::{Api, WatchStream};
use crate::pulling::Pulling;
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use tenet_base::limits;
use tenet_proto::etcdserverpb::WatchRequest;

/// Watches as the client asks, for as long as it stays.
pub(super) async fn watch<A: Api>(api: &A, call: &mut Call<'_>) {
    let open = || Watches {
        stream: Pulling::new(api.watch()),
        ready: VecDeque::new(),
    };
    call.converse(api, open).await;
}

struct Watches<S> {
    stream: Pulling<S>,
    /// Responses that there was no room for yet.
    ready: VecDeque<Bytes>,
}

impl<S: WatchStream> Session for Watches<S> {
    type Request = WatchRequest;

    fn takes_requests(&self) -> bool {
        self.stream.takes_requests()
    }

    fn receive(&mut self, request: WatchRequest) {
        self.stream.request(request);
    }

    fn half_close(&mut self) {}

    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<Status> {
        let mut gave = false;
        let mut more = true;
        while out.has_room() {
            if let Some(response) = self.ready.pop_front() {
                out.parted(0, |_| (), &response);
                gave = true;
                continue;
            }
            if !more {
                return Poll::Pending;
            }
            more = match self
                .stream
                .pull(cx, limits::STREAM_TURN_BYTES, &mut self.ready)
            {
                Ok(more) => more,
                Err(error) => return Poll::Ready(error.into()),
            };
            if more && self.ready.is_empty() {
                // It looked for changes and found none: others first. A turn that gave something
                // is followed by another anyway.
                if !gave {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        Poll::Pending
    }
}
