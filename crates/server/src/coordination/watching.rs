//! A watch of one's own member, event by event.

use super::Failure;
use crate::api::{Api, WatchStream};
use crate::pulling::Pulling;
use bytes::Bytes;
use prost::Message as _;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use tenet_base::limits;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tenet_proto::mvccpb::Event;

/// See the module. Ends with its drop.
pub(super) struct Watching<S> {
    stream: Pulling<S>,
    pulled: VecDeque<Bytes>,
    ready: VecDeque<WatchResponse>,
}

impl<S: WatchStream> Watching<S> {
    /// Watches one key from a revision on.
    pub(super) fn key<A: Api<Watches = S>>(api: &A, key: &Bytes, from: i64) -> Self {
        Self::new(api, key.clone(), Bytes::new(), from)
    }

    /// Watches a range of keys from a revision on.
    pub(super) fn range<A: Api<Watches = S>>(
        api: &A,
        key: Bytes,
        range_end: Bytes,
        from: i64,
    ) -> Self {
        Self::new(api, key, range_end, from)
    }

    fn new<A: Api<Watches = S>>(
        api: &A,
        key: Bytes,
        range_end: Bytes,
        start_revision: i64,
    ) -> Self {
        let mut stream = api.watch();
        stream.request(WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(WatchCreateRequest {
                key,
                range_end,
                start_revision,
                ..WatchCreateRequest::default()
            })),
        });
        Watching {
            stream: Pulling::new(stream),
            pulled: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next events: those of one response, never none.
    pub(super) async fn next_events(&mut self) -> Result<Vec<Event>, Failure> {
        Ok(self.next().await?.events)
    }

    /// The next response with events.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Failure> {
        loop {
            let response = poll_fn(|cx| self.poll_next(cx)).await?;
            if response.canceled {
                return Err(match response.compact_revision {
                    0 => Failure::LostWatcher,
                    _ => ApiError::Compacted.into(),
                });
            }
            if !response.events.is_empty() {
                return Ok(response);
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<WatchResponse, Failure>> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Poll::Ready(Ok(response));
            }
            let pulled = self
                .stream
                .pull(cx, limits::STREAM_TURN_BYTES, &mut self.pulled);
            let Ok(more) = pulled else {
                return Poll::Ready(Err(Failure::LostWatcher));
            };
            if self.pulled.is_empty() {
                if more {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
            for bytes in self.pulled.drain(..) {
                let response = WatchResponse::decode(bytes).map_err(|_| Failure::LostWatcher)?;
                self.ready.push_back(response);
            }
        }
    }
}
