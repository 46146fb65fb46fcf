//! A watch stream as its connection's task reads it: what would have to wait for the medium is
//! read elsewhere, and the stream is away meanwhile.

use crate::api::{Pulled, WatchStream};
use bytes::Bytes;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::WatchRequest;

/// See the module.
pub(crate) struct Pulling<S> {
    place: Place<S>,
    pulled: Vec<Bytes>,
}

type Reading<S> = Pin<Box<dyn Future<Output = Result<(S, Vec<Bytes>), ApiError>> + Send>>;

enum Place<S> {
    Here(S),
    Away(Reading<S>),
    /// It failed.
    Gone,
}

impl<S: WatchStream> Pulling<S> {
    pub(crate) fn new(stream: S) -> Self {
        Pulling {
            place: Place::Here(stream),
            pulled: Vec::new(),
        }
    }

    /// Whether the next request may be taken; if not, pull first.
    pub(crate) fn takes_requests(&self) -> bool {
        match &self.place {
            Place::Here(stream) => stream.takes_requests(),
            Place::Away(_) | Place::Gone => false,
        }
    }

    /// Takes a request of the client.
    ///
    /// # Panics
    /// If it takes none.
    pub(crate) fn request(&mut self, request: WatchRequest) {
        match &mut self.place {
            Place::Here(stream) => stream.request(request),
            Place::Away(_) | Place::Gone => panic!("a request for a stream that takes none"),
        }
    }

    /// Appends encoded `WatchResponse`s, up to about `budget_bytes`. Returns whether there may be
    /// more; if not, the task is woken when there is. An error ends the stream.
    pub(crate) fn pull(
        &mut self,
        cx: &mut Context<'_>,
        budget_bytes: usize,
        out: &mut VecDeque<Bytes>,
    ) -> Result<bool, ApiError> {
        loop {
            match std::mem::replace(&mut self.place, Place::Gone) {
                Place::Here(mut stream) => {
                    let pulled = stream.pull(cx.waker(), budget_bytes, &mut self.pulled)?;
                    out.extend(self.pulled.drain(..));
                    if pulled != Pulled::Cold {
                        self.place = Place::Here(stream);
                        return Ok(pulled == Pulled::Part);
                    }
                    let reading = stream.pull_waiting(budget_bytes);
                    self.place = Place::Away(Box::pin(reading));
                }
                Place::Away(mut reading) => {
                    let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                        self.place = Place::Away(reading);
                        return Ok(false);
                    };
                    let (stream, responses) = read?;
                    self.place = Place::Here(stream);
                    out.extend(responses);
                    return Ok(true);
                }
                Place::Gone => return Err(ApiError::Stopped),
            }
        }
    }
}
