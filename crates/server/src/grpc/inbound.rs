//! The messages that a client sends on one stream.
//!
//! A message is copied out of the connection's read buffer once, into an allocation of its own
//! size: keys and values that are kept are slices of it, and must not keep a read buffer of many
//! requests alive. Nothing is reserved on a client's word; memory grows with what has arrived, and
//! is charged to the connection's budget until the message is whole.

use super::budget::{Budget, Charge};
use super::head::Encoding;
use super::status::Status;
use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use std::future::poll_fn;
use std::io::Read;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tenet_base::limits;
use tenet_proto::Code;

/// Flag byte and length, before each message.
pub(super) const PREFIX_BYTES: usize = 5;

/// See the module.
pub(super) struct Inbound {
    body: RecvStream,
    encoding: Encoding,
    message_bytes_max: usize,
    /// What has arrived and is not part of a returned message.
    buffer: BytesMut,
    charge: Charge,
}

/// What a stream held when it was read.
pub(super) enum Received {
    /// A message, decompressed.
    Message(Bytes),
    /// The client has sent all that it will, at the end of a message.
    End,
    /// The client's side ended within the five bytes before a message.
    TornPrefix,
    /// The client's side ended within a message.
    TornMessage,
}

impl Inbound {
    pub(super) fn new(
        body: RecvStream,
        encoding: Encoding,
        message_bytes_max: usize,
        budget: &Arc<Budget>,
    ) -> Inbound {
        Inbound {
            body,
            encoding,
            message_bytes_max,
            buffer: BytesMut::new(),
            charge: budget.charge(),
        }
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Received, Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// See [`Inbound::next`].
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Status>> {
        loop {
            if let Some(message) = self.take_buffered()? {
                return Poll::Ready(Ok(Received::Message(message)));
            }
            let Some(data) = ready!(self.body.poll_data(cx)) else {
                return Poll::Ready(Ok(match self.buffer.len() {
                    0 => Received::End,
                    1..PREFIX_BYTES => Received::TornPrefix,
                    _ => Received::TornMessage,
                }));
            };
            let data = data.map_err(|_| Status::CANCELED)?;
            // Read is read: the window is for what the connection has not looked at yet. If the
            // stream is gone there is no window left to give back.
            let _ = self.body.flow_control().release_capacity(data.len());
            if self.buffer.is_empty()
                && let Some(message) = self.whole(&data)?
            {
                return Poll::Ready(Ok(Received::Message(message)));
            }
            self.keep(&data)?;
        }
    }

    /// The message in `data` if that is all it holds, which is the usual case.
    fn whole(&self, data: &Bytes) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = Prefix::read(data, self.message_bytes_max)? else {
            return Ok(None);
        };
        if data.len() != PREFIX_BYTES + prefix.len {
            return Ok(None);
        }
        let message = Bytes::copy_from_slice(&data[PREFIX_BYTES..]);
        self.decompressed(prefix, message).map(Some)
    }

    fn keep(&mut self, data: &[u8]) -> Result<(), Status> {
        if self.charge.add(data.len()) > limits::CONNECTION_PARTIAL_BYTES_MAX {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!(
                    "too many unfinished requests on this connection (more than {} bytes)",
                    limits::CONNECTION_PARTIAL_BYTES_MAX
                ),
            ));
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    fn take_buffered(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = Prefix::read(&self.buffer, self.message_bytes_max)? else {
            return Ok(None);
        };
        let end = PREFIX_BYTES + prefix.len;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let message = Bytes::copy_from_slice(&self.buffer[PREFIX_BYTES..end]);
        self.buffer.advance(end);
        if self.buffer.is_empty() {
            // A stream that is quiet holds no memory.
            self.buffer = BytesMut::new();
        }
        self.charge.shrink_to(self.buffer.len());
        self.decompressed(prefix, message).map(Some)
    }

    fn decompressed(&self, prefix: Prefix, message: Bytes) -> Result<Bytes, Status> {
        match (prefix.flag, &self.encoding) {
            (0, _) => Ok(message),
            (1, Encoding::Identity) => Err(internal(
                "grpc: compressed flag set with identity or empty encoding",
            )),
            (1, Encoding::Gzip) => gunzip(&message, self.message_bytes_max),
            (1, Encoding::Other(name)) => Err(unknown_encoding(name)),
            (flag, _) => Err(internal(format!(
                "grpc: received unexpected payload format {flag}"
            ))),
        }
    }
}

/// The answer to a request that is compressed in a way that we do not know.
pub(super) fn unknown_encoding(name: &http::HeaderValue) -> Status {
    let name = String::from_utf8_lossy(name.as_bytes());
    Status::new(
        Code::Unimplemented,
        format!("grpc: Decompressor is not installed for grpc-encoding {name:?}"),
    )
}

#[derive(Clone, Copy)]
struct Prefix {
    flag: u8,
    len: usize,
}

impl Prefix {
    fn read(data: &[u8], message_bytes_max: usize) -> Result<Option<Prefix>, Status> {
        let Some((&[flag, a, b, c, d], _)) = data.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > message_bytes_max {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!("grpc: received message larger than max ({len} vs. {message_bytes_max})"),
            ));
        }
        Ok(Some(Prefix { flag, len }))
    }
}

/// Decompresses one message, reading at most one byte more than is allowed.
fn gunzip(message: &[u8], message_bytes_max: usize) -> Result<Bytes, Status> {
    let mut out = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(message).take(message_bytes_max as u64 + 1);
    if let Err(error) = reader.read_to_end(&mut out) {
        let reason = match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "unexpected EOF".into(),
            _ => format!("gzip: {error}"),
        };
        // Go reads the gzip header first and words the two failures apart.
        let text = if message.starts_with(&[0x1f, 0x8b]) {
            format!("grpc: failed to read decompressed data: {reason}")
        } else {
            format!("grpc: failed to decompress the message: {reason}")
        };
        return Err(internal(text));
    }
    if out.len() > message_bytes_max {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!(
                "grpc: received message after decompression larger than max {message_bytes_max}"
            ),
        ));
    }
    Ok(out.into())
}

fn internal(text: impl Into<std::borrow::Cow<'static, str>>) -> Status {
    Status::new(Code::Internal, text)
}
