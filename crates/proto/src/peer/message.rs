//! The stream that carries any message: a length, then the message.

use super::StreamError;
use super::gather::Gather;
use crate::raftpb::Message;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use tenet_base::limits::PEER_MESSAGE_BYTES_MAX;

/// What says that a connection is alive: a heartbeat from nobody to nobody, as etcd 3.7 writes it.
pub const LINK_HEARTBEAT: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 2, 0x08, 0x08];

/// Appends a message to what is to be sent.
pub fn encode(message: &Message, out: &mut BytesMut) {
    let len = message.encoded_len();
    out.reserve(8 + len);
    out.put_u64(len as u64);
    message
        .encode(out)
        .expect("the buffer has grown to what the message needs");
}

/// Takes messages off a stream.
#[derive(Debug)]
pub struct MessageDecoder {
    gather: Gather,
    /// The length of the message that is next, once it is known.
    next_len: Option<usize>,
    max_bytes: u64,
}

impl Default for MessageDecoder {
    fn default() -> Self {
        MessageDecoder::new()
    }
}

impl MessageDecoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        MessageDecoder::with_limit(PEER_MESSAGE_BYTES_MAX)
    }

    pub(super) fn with_limit(max_bytes: usize) -> Self {
        MessageDecoder {
            gather: Gather::default(),
            next_len: None,
            max_bytes: max_bytes as u64,
        }
    }

    /// Adds what has arrived.
    pub fn push(&mut self, piece: Bytes) {
        self.gather.push(piece);
    }

    /// The next message, or `None` until more has arrived.
    ///
    /// # Errors
    /// If this is no stream of messages.
    pub fn next_message(&mut self) -> Result<Option<Message>, StreamError> {
        let len = match self.next_len {
            Some(len) => len,
            None => match self.gather.take_u64() {
                Some(len) => *self
                    .next_len
                    .insert(checked(len, self.max_bytes, "a message")?),
                None => return Ok(None),
            },
        };
        let Some(bytes) = self.gather.take(len) else {
            return Ok(None);
        };
        self.next_len = None;
        decoded(bytes).map(Some)
    }

    /// Bytes that are held and not given out.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.gather.held_bytes()
    }

    /// Checks at the end of the stream that nothing is missing.
    ///
    /// # Errors
    /// If it ended inside of a message.
    pub fn finish(&self) -> Result<(), StreamError> {
        let held_bytes = self.held_bytes();
        if self.next_len.is_some() || held_bytes > 0 {
            return Err(StreamError::Truncated { held_bytes });
        }
        Ok(())
    }

    /// What has arrived behind the last message.
    pub(super) fn rest(&mut self) -> Bytes {
        self.gather.rest()
    }
}

/// A length that is accepted.
pub(super) fn checked(
    len_bytes: u64,
    max_bytes: u64,
    what: &'static str,
) -> Result<usize, StreamError> {
    if len_bytes > max_bytes {
        return Err(StreamError::TooLong {
            what,
            len_bytes,
            max_bytes,
        });
    }
    Ok(usize::try_from(len_bytes).expect("the limit fits in memory"))
}

/// A message from its bytes.
pub(super) fn decoded(bytes: Bytes) -> Result<Message, StreamError> {
    Message::decode(bytes).map_err(|error| StreamError::Undecodable {
        what: "a message",
        reason: error.to_string(),
    })
}
