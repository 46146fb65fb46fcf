//! The answer on one stream: headers, messages, trailers.
//!
//! Invariants: headers are sent before the first message or not at all (then the trailers are the
//! headers); nothing follows the trailers. Bytes that wait for the client are charged to the
//! connection's budget.

use super::budget::{Budget, WaitsSince, charged};
use super::frames::Frames;
use super::head::Refusal;
use super::status::Status;
use bytes::Bytes;
use h2::SendStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tenet_base::limits;

/// Answers up to this size are handed over at once: they fit the smallest window that clients have
/// at the start, and too small to be worth charging below [`CHARGED_BYTES_MIN`].
const AT_ONCE_BYTES: usize = 16 * 1024;
const CHARGED_BYTES_MIN: usize = 1024;

/// The client has reset the stream or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// See the module.
pub(super) struct Outbound {
    respond: SendResponse<Bytes>,
    /// Once the headers are sent.
    stream: Option<SendStream<Bytes>>,
    content_type: HeaderValue,
    gzip: bool,
    unsent: Arc<Budget>,
    waits_since: WaitsSince,
}

impl Outbound {
    pub(super) fn new(
        respond: SendResponse<Bytes>,
        content_type: HeaderValue,
        gzip: bool,
        unsent: &Arc<Budget>,
    ) -> Outbound {
        Outbound {
            respond,
            stream: None,
            content_type,
            gzip,
            unsent: unsent.clone(),
            waits_since: WaitsSince::default(),
        }
    }

    /// Whether messages are compressed.
    pub(super) fn gzip(&self) -> bool {
        self.gzip
    }

    /// Ready once the client has reset the stream or left.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let reset = match &mut self.stream {
            Some(stream) => stream.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(|_| Gone)
    }

    /// Sends one message, waiting for the client where it is long.
    pub(super) async fn send(&mut self, mut frames: Frames) -> Result<(), Gone> {
        while let Some(mut piece) = frames.next() {
            let stream = self.stream()?;
            if piece.len() <= AT_ONCE_BYTES {
                let piece = charge(piece, &self.unsent);
                self.stream()?.send_data(piece, false).map_err(|_| Gone)?;
                continue;
            }
            stream.reserve_capacity(piece.len());
            piece = charge(piece, &self.unsent);
            while !piece.is_empty() {
                let stream = self.stream()?;
                let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
                let Some(Ok(capacity)) = capacity else {
                    return Err(Gone);
                };
                let part = piece.split_to(capacity.min(piece.len()));
                if !part.is_empty() {
                    stream.send_data(part, false).map_err(|_| Gone)?;
                }
            }
        }
        Ok(())
    }

    /// Ready while the client's window and the connection's budget have room for something. Takes
    /// nothing of the window, so that nobody waits for who is not ready to send.
    pub(super) fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        ready!(self.unsent.poll_room(cx, &mut self.waits_since));
        let stream = self.stream()?;
        stream.reserve_capacity(1);
        while stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                _ => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of `part` as the client's window and the connection's budget allow; ready when
    /// nothing of it is left.
    pub(super) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        part: &mut Bytes,
    ) -> Poll<Result<(), Gone>> {
        while !part.is_empty() {
            ready!(self.unsent.poll_room(cx, &mut self.waits_since));
            let stream = self.stream()?;
            stream.reserve_capacity(part.len());
            let mut capacity = stream.capacity();
            if capacity == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(now)) => capacity = now,
                    _ => return Poll::Ready(Err(Gone)),
                }
            }
            let piece = part.split_to(capacity.min(part.len()).min(limits::RESPONSE_PIECE_BYTES));
            let piece = charged(piece, &self.unsent);
            self.stream()?.send_data(piece, false).map_err(|_| Gone)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the answer. If the client has not ended its side, a reset without error follows, as
    /// grpc-go sends it.
    pub(super) fn finish(&mut self, status: &Status) {
        // A client that is gone needs no end.
        let _ = match &mut self.stream {
            Some(stream) => {
                let mut trailers = HeaderMap::with_capacity(2);
                status.write(&mut trailers);
                stream.send_trailers(trailers).map_err(|_| Gone)
            }
            None => {
                let mut response = response(StatusCode::OK, self.content_type.clone());
                status.write(response.headers_mut());
                self.respond
                    .send_response(response, true)
                    .map(drop)
                    .map_err(|_| Gone)
            }
        };
    }

    fn stream(&mut self) -> Result<&mut SendStream<Bytes>, Gone> {
        if self.stream.is_none() {
            let mut response = response(StatusCode::OK, self.content_type.clone());
            if self.gzip {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert("grpc-encoding", gzip);
            }
            self.stream = Some(
                self.respond
                    .send_response(response, false)
                    .map_err(|_| Gone)?,
            );
        }
        self.stream.as_mut().ok_or(Gone)
    }
}

fn charge(piece: Bytes, unsent: &Arc<Budget>) -> Bytes {
    if piece.len() < CHARGED_BYTES_MIN {
        piece
    } else {
        charged(piece, unsent)
    }
}

fn response(status: StatusCode, content_type: HeaderValue) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Answers a request whose headers were refused.
pub(super) fn refuse(respond: &mut SendResponse<Bytes>, refusal: &Refusal) {
    let mut response = response(refusal.http, HeaderValue::from_static("application/grpc"));
    refusal.status.write(response.headers_mut());
    // A client that is gone needs no answer.
    let _ = respond.send_response(response, true);
}
