//! How members frame raft messages on the streams between them, as etcd does.
//!
//! Three forms: [`message`] carries any message, [`append`] carries appended entries and leaves out
//! what the connection has said before, [`snapshot`] is a message in front of a database. All
//! numbers are 8 bytes, big-endian.
//!
//! Invariants: a decoder takes bytes in whatever pieces they arrive and gives the same messages; it
//! holds no more than twice what has arrived of one unfinished message, whatever length that
//! message claims; after its first error a stream is of no use. A decoded message shares the memory
//! of the piece it arrived in. Nothing here knows connections, or what a message means.

pub mod append;
pub mod message;
pub mod snapshot;

mod gather;

use crate::raftpb::{Message, MessageType};

pub use append::{AppendDecoder, AppendEncoder};
pub use message::MessageDecoder;
pub use snapshot::SnapshotDecoder;

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// A length beyond what is accepted.
    TooLong {
        /// What is so long.
        what: &'static str,
        /// The length that it claims, or has reached.
        len_bytes: u64,
        /// What would be accepted.
        max_bytes: u64,
    },
    /// The bytes of a message or an entry are not one.
    Undecodable {
        /// Which of them.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A record of a type that does not exist.
    UnknownRecord(u8),
    /// More entries than there are indexes.
    IndexOverflow,
    /// The stream ended inside of a message.
    Truncated {
        /// Bytes of the unfinished part that had arrived.
        held_bytes: usize,
    },
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StreamError::TooLong {
                what,
                len_bytes,
                max_bytes,
            } => write!(
                f,
                "{what} of {len_bytes} bytes is longer than the {max_bytes} bytes that are accepted"
            ),
            StreamError::Undecodable { what, reason } => {
                write!(f, "the bytes of {what} cannot be decoded: {reason}")
            }
            StreamError::UnknownRecord(kind) => {
                write!(
                    f,
                    "a record of the unknown type {kind}: this is no stream of appends"
                )
            }
            StreamError::IndexOverflow => f.write_str("more entries than there are indexes"),
            StreamError::Truncated { held_bytes } => write!(
                f,
                "the stream ended in the middle of a message, {held_bytes} bytes into its last part"
            ),
        }
    }
}

impl std::error::Error for StreamError {}

/// Whether a message only says that the connection is alive.
#[must_use]
pub fn is_link_heartbeat(message: &Message) -> bool {
    message.msg_type == MessageType::Heartbeat as i32 && message.from == 0 && message.to == 0
}

#[cfg(test)]
mod tests;
