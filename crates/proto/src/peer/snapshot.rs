//! A snapshot on its way to another member: a length, the message that announces it, and the
//! database itself up to the end of the body.

use super::StreamError;
use super::message::{MessageDecoder, encode};
use crate::raftpb::{Message, MessageType};
use bytes::{Bytes, BytesMut};
use tenet_base::limits::PEER_SNAPSHOT_MESSAGE_BYTES_MAX;

/// What comes before the database.
///
/// # Panics
/// If the message does not announce a snapshot.
#[must_use]
pub fn encode_head(message: &Message) -> Bytes {
    assert_eq!(
        message.msg_type,
        MessageType::Snap as i32,
        "only a snapshot is followed by a database"
    );
    let mut out = BytesMut::new();
    encode(message, &mut out);
    out.freeze()
}

/// Takes the message off the body.
#[derive(Debug)]
pub struct SnapshotDecoder(MessageDecoder);

impl Default for SnapshotDecoder {
    fn default() -> Self {
        SnapshotDecoder::new()
    }
}

impl SnapshotDecoder {
    /// At the beginning of a body.
    #[must_use]
    pub fn new() -> Self {
        SnapshotDecoder(MessageDecoder::with_limit(PEER_SNAPSHOT_MESSAGE_BYTES_MAX))
    }

    /// Adds what has arrived. Once the message and what of the database came with it are known,
    /// they are given out; later pieces are the database's and do not go through here.
    ///
    /// # Errors
    /// If the body does not begin with a message.
    pub fn push(&mut self, piece: Bytes) -> Result<Option<(Message, Bytes)>, StreamError> {
        self.0.push(piece);
        let message = self.0.next_message()?;
        Ok(message.map(|message| (message, self.0.rest())))
    }

    /// The error of a body that ended before its message was complete.
    #[must_use]
    pub fn truncated(&self) -> StreamError {
        StreamError::Truncated {
            held_bytes: self.0.held_bytes(),
        }
    }
}
