//! Bodies: what we send with a request, and how what others send is read.
//!
//! A body is read as it comes, in pieces, each of which must come in time. Nothing is set aside for
//! what a length claims.

use crate::metrics::PeerCounts;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tenet_base::limits::{PEER_PARTIAL_BYTES_MAX, PEER_SILENCE_MS};
use tokio::time::timeout;

/// What we send with a request.
pub(crate) enum RequestBody {
    /// All at once.
    Whole(Option<Bytes>),
    /// As it is made.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>),
}

impl RequestBody {
    pub(crate) fn empty() -> RequestBody {
        RequestBody::Whole(None)
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        RequestBody::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            RequestBody::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            RequestBody::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|next| next.map(|piece| piece.map(Frame::data).map_err(Into::into))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, RequestBody::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            RequestBody::Whole(bytes) => {
                http_body::SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            RequestBody::Stream(_) => http_body::SizeHint::default(),
        }
    }
}

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is longer than this.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
    /// Too much of other bodies has not arrived as a whole.
    #[error("too many messages are on their way at once")]
    Crowded,
    /// Nothing came for too long.
    #[error("nothing came for {PEER_SILENCE_MS} ms")]
    Slow,
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Broken(String),
}

/// The next piece of a body, or `None` at its end.
pub(crate) async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>, ReadError> {
    loop {
        match timeout(Duration::from_millis(PEER_SILENCE_MS), body.frame()).await {
            Err(_) => return Err(ReadError::Slow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(ReadError::Broken(crate::CallError::http(error).to_string()));
            }
            Ok(Some(Ok(frame))) => {
                // Trailers say nothing to us.
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Reads a body of at most `bytes_max` bytes, which count in a budget until it is whole.
pub(crate) async fn read_all(
    mut body: Incoming,
    bytes_max: usize,
    budget: Option<&Budget>,
) -> Result<Bytes, ReadError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(ReadError::TooLong(bytes_max));
    }
    let mut share = budget.map(Budget::share);
    let Some(first) = next_piece(&mut body).await? else {
        return Ok(Bytes::new());
    };
    let mut whole = BytesMut::new();
    let mut piece = first;
    loop {
        if whole.len() + piece.len() > bytes_max {
            return Err(ReadError::TooLong(bytes_max));
        }
        if !share.as_mut().is_none_or(|share| share.grow(piece.len())) {
            return Err(ReadError::Crowded);
        }
        match next_piece(&mut body).await? {
            None if whole.is_empty() => return Ok(piece),
            next => {
                whole.extend_from_slice(&piece);
                match next {
                    None => return Ok(whole.freeze()),
                    Some(next) => piece = next,
                }
            }
        }
    }
}

/// Bytes of all bodies that have not arrived as a whole.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

/// What one body takes of a [`Budget`]; given back at its end.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    fn share(&self) -> Share<'_> {
        Share {
            budget: self,
            bytes: 0,
        }
    }
}

impl Share<'_> {
    /// Takes more; says whether there was as much.
    fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= PEER_PARTIAL_BYTES_MAX
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Why a database did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {received_bytes} bytes: {reason}")]
pub struct DatabaseError {
    /// What had arrived.
    pub received_bytes: u64,
    /// What happened then.
    pub reason: String,
}

/// A database that another member sends. It ends with an error unless it has arrived as a whole.
#[derive(Debug)]
pub struct Database {
    first: Option<Bytes>,
    body: Incoming,
    received_bytes: u64,
    counts: Arc<PeerCounts>,
}

impl Database {
    /// `first` came together with the message.
    pub(crate) fn new(first: Bytes, body: Incoming, counts: Arc<PeerCounts>) -> Database {
        Database {
            first: Some(first),
            body,
            received_bytes: 0,
            counts,
        }
    }

    /// The next piece, or `None` once it has arrived as a whole.
    ///
    /// # Errors
    /// If the sender is silent or has broken off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DatabaseError> {
        let piece = match self.first.take().filter(|first| !first.is_empty()) {
            Some(first) => Some(first),
            None => next_piece(&mut self.body)
                .await
                .map_err(|error| DatabaseError {
                    received_bytes: self.received_bytes,
                    reason: error.to_string(),
                })?,
        };
        if let Some(piece) = &piece {
            self.received_bytes += piece.len() as u64;
            self.counts.received_bytes.add(piece.len() as u64);
        }
        Ok(piece)
    }

    /// Bytes that have arrived.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }
}
