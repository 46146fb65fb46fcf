//! The Watch service.
//!
//! The member's session does the work; it gives encoded responses, of which no more are asked for
//! than the stream can send. A client that ends its side keeps its watches, as in etcd.

use super::call::Call;
use super::duplex::Session;
use super::outbox::Outbox;
use super::status::Status;
use crate::api::{Api, WatchStream};
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::{Context, Poll};
use tenet_base::limits;
use tenet_proto::etcdserverpb::WatchRequest;

/// Watches as the client asks, for as long as it stays.
pub(super) async fn watch<A: Api>(api: &A, call: &mut Call<'_>) {
    let open = || Watches {
        stream: api.watch(),
        ready: VecDeque::new(),
        pulled: Vec::new(),
    };
    call.converse(api, open).await;
}

struct Watches<S> {
    stream: S,
    /// Responses that there was no room for yet.
    ready: VecDeque<Bytes>,
    pulled: Vec<Bytes>,
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
            let waker = cx.waker();
            let pulled = self
                .stream
                .pull(waker, limits::STREAM_TURN_BYTES, &mut self.pulled);
            more = match pulled {
                Ok(more) => more,
                Err(error) => return Poll::Ready(error.into()),
            };
            if more && self.pulled.is_empty() {
                // It looked for changes and found none: others first. A turn that gave something
                // is followed by another anyway.
                if !gave {
                    waker.wake_by_ref();
                }
                return Poll::Pending;
            }
            self.ready.extend(self.pulled.drain(..));
        }
        Poll::Pending
    }
}
