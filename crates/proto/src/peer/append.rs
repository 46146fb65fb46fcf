//! The stream that carries appended entries (etcd's msgappv2).
//!
//! Both ends remember the term and the index that the last message left off at. A message that
//! continues there, in the same term, is sent without its envelope: only entries and the commit
//! index. Each record begins with a byte that says which form it has.

use super::StreamError;
use super::gather::Gather;
use super::message::{checked, decoded};
use crate::raftpb::{Entry, Message, MessageType};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use tenet_base::MemberId;
use tenet_base::limits::{PEER_ENTRY_OVERHEAD_BYTES, PEER_MESSAGE_BYTES_MAX};

/// A record that only says that the connection is alive.
const HEARTBEAT: u8 = 0;
/// A record of entries that continue where the last message left off.
const ENTRIES: u8 = 1;
/// A record of a whole message.
const WHOLE: u8 = 2;

/// What says that a connection is alive.
pub const LINK_HEARTBEAT: &[u8] = &[HEARTBEAT];

/// Where the last message of a connection left off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    term: u64,
    index: u64,
}

impl Place {
    /// Whether a message continues here, so that its envelope can be left out.
    fn is_continued_by(self, message: &Message) -> bool {
        self.index == message.index
            && self.term == message.log_term
            && message.log_term == message.term
    }

    /// Where a whole message leaves off.
    fn after(message: &Message) -> Place {
        Place {
            term: message.term,
            index: message
                .entries
                .last()
                .map_or(message.index, |entry| entry.index),
        }
    }

    /// The place `count` entries further.
    fn advanced(self, count: u64) -> Result<Place, StreamError> {
        let index = self
            .index
            .checked_add(count)
            .ok_or(StreamError::IndexOverflow)?;
        Ok(Place { index, ..self })
    }
}

/// Writes the stream of one connection.
#[derive(Debug, Default)]
pub struct AppendEncoder {
    place: Place,
}

impl AppendEncoder {
    /// At the beginning of a connection.
    #[must_use]
    pub fn new() -> Self {
        AppendEncoder::default()
    }

    /// Appends a message to what is to be sent.
    ///
    /// # Panics
    /// If it is not a message of appended entries: the receiver would take it for one.
    pub fn encode(&mut self, message: &Message, out: &mut BytesMut) {
        assert_eq!(
            message.msg_type,
            MessageType::App as i32,
            "only appended entries travel on this stream"
        );
        if self.place.is_continued_by(message) {
            self.encode_entries(message, out);
        } else {
            self.encode_whole(message, out);
        }
    }

    fn encode_entries(&mut self, message: &Message, out: &mut BytesMut) {
        out.put_u8(ENTRIES);
        out.put_u64(message.entries.len() as u64);
        for entry in &message.entries {
            let len = entry.encoded_len();
            out.reserve(8 + len);
            out.put_u64(len as u64);
            entry
                .encode(out)
                .expect("the buffer has grown to what the entry needs");
        }
        out.put_u64(message.commit);
        self.place = self
            .place
            .advanced(message.entries.len() as u64)
            .expect("a log has no more entries than indexes");
    }

    fn encode_whole(&mut self, message: &Message, out: &mut BytesMut) {
        out.put_u8(WHOLE);
        super::message::encode(message, out);
        self.place = Place::after(message);
    }
}

/// What of a record is next.
#[derive(Debug)]
enum Awaited {
    Kind,
    EntryCount,
    EntryLen,
    Entry(usize),
    Commit,
    WholeLen,
    Whole(usize),
}

/// Takes messages off the stream of one connection.
#[derive(Debug)]
pub struct AppendDecoder {
    gather: Gather,
    from: MemberId,
    to: MemberId,
    place: Place,
    awaited: Awaited,
    /// Entries of the record that have arrived.
    entries: Vec<Entry>,
    /// Entries of the record that have not.
    missing: u64,
    /// What the record has come to, its overhead in memory included.
    record_bytes: u64,
}

impl AppendDecoder {
    /// At the beginning of a connection on which `from` sends to `to`.
    #[must_use]
    pub fn new(from: MemberId, to: MemberId) -> Self {
        AppendDecoder {
            gather: Gather::default(),
            from,
            to,
            place: Place::default(),
            awaited: Awaited::Kind,
            entries: Vec::new(),
            missing: 0,
            record_bytes: 0,
        }
    }

    /// Adds what has arrived.
    pub fn push(&mut self, piece: Bytes) {
        self.gather.push(piece);
    }

    /// The next message, or `None` until more has arrived. A sign of life is a heartbeat from
    /// nobody to nobody, as on the other stream.
    ///
    /// # Errors
    /// If this is no stream of appended entries.
    pub fn next_message(&mut self) -> Result<Option<Message>, StreamError> {
        loop {
            match self.step()? {
                Step::Starved => return Ok(None),
                Step::Onward => {}
                Step::Complete(message) => return Ok(Some(message)),
            }
        }
    }

    /// Bytes that are held and not given out, entries of an unfinished record included.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.gather.held_bytes() + usize::try_from(self.record_bytes).unwrap_or(usize::MAX)
    }

    /// Checks at the end of the stream that nothing is missing.
    ///
    /// # Errors
    /// If it ended inside of a record.
    pub fn finish(&self) -> Result<(), StreamError> {
        let held_bytes = self.gather.held_bytes();
        if held_bytes > 0 || !matches!(self.awaited, Awaited::Kind) {
            return Err(StreamError::Truncated { held_bytes });
        }
        Ok(())
    }

    /// Takes one part of a record.
    fn step(&mut self) -> Result<Step, StreamError> {
        match self.awaited {
            Awaited::Kind => self.on_kind(),
            Awaited::EntryCount => {
                let Some(count) = self.gather.take_u64() else {
                    return Ok(Step::Starved);
                };
                self.missing = count;
                Ok(self.await_entry())
            }
            Awaited::EntryLen => self.on_entry_len(),
            Awaited::Entry(len) => self.on_entry(len),
            Awaited::Commit => self.on_commit(),
            Awaited::WholeLen => {
                let Some(len) = self.gather.take_u64() else {
                    return Ok(Step::Starved);
                };
                let len = checked(len, PEER_MESSAGE_BYTES_MAX as u64, "a message")?;
                self.awaited = Awaited::Whole(len);
                Ok(Step::Onward)
            }
            Awaited::Whole(len) => self.on_whole(len),
        }
    }

    fn on_kind(&mut self) -> Result<Step, StreamError> {
        let Some(kind) = self.gather.take(1) else {
            return Ok(Step::Starved);
        };
        match kind[0] {
            HEARTBEAT => Ok(Step::Complete(Message {
                msg_type: MessageType::Heartbeat as i32,
                ..Message::default()
            })),
            ENTRIES => {
                self.awaited = Awaited::EntryCount;
                Ok(Step::Onward)
            }
            WHOLE => {
                self.awaited = Awaited::WholeLen;
                Ok(Step::Onward)
            }
            other => Err(StreamError::UnknownRecord(other)),
        }
    }

    fn await_entry(&mut self) -> Step {
        self.awaited = if self.missing == 0 {
            Awaited::Commit
        } else {
            Awaited::EntryLen
        };
        Step::Onward
    }

    fn on_entry_len(&mut self) -> Result<Step, StreamError> {
        let Some(len) = self.gather.take_u64() else {
            return Ok(Step::Starved);
        };
        checked(
            self.record_bytes.saturating_add(counted_bytes(len)),
            PEER_MESSAGE_BYTES_MAX as u64,
            "a record of entries",
        )?;
        let len = checked(len, PEER_MESSAGE_BYTES_MAX as u64, "an entry")?;
        self.awaited = Awaited::Entry(len);
        Ok(Step::Onward)
    }

    fn on_entry(&mut self, len: usize) -> Result<Step, StreamError> {
        let Some(bytes) = self.gather.take(len) else {
            return Ok(Step::Starved);
        };
        let entry = Entry::decode(bytes).map_err(|error| StreamError::Undecodable {
            what: "an entry",
            reason: error.to_string(),
        })?;
        self.record_bytes += counted_bytes(len as u64);
        self.entries.push(entry);
        self.missing -= 1;
        Ok(self.await_entry())
    }

    fn on_commit(&mut self) -> Result<Step, StreamError> {
        let Some(commit) = self.gather.take_u64() else {
            return Ok(Step::Starved);
        };
        let before = self.place;
        let entries = std::mem::take(&mut self.entries);
        self.place = before.advanced(entries.len() as u64)?;
        self.record_bytes = 0;
        self.awaited = Awaited::Kind;
        Ok(Step::Complete(Message {
            msg_type: MessageType::App as i32,
            to: self.to.get(),
            from: self.from.get(),
            term: before.term,
            log_term: before.term,
            index: before.index,
            entries,
            commit,
            ..Message::default()
        }))
    }

    fn on_whole(&mut self, len: usize) -> Result<Step, StreamError> {
        let Some(bytes) = self.gather.take(len) else {
            return Ok(Step::Starved);
        };
        let message = decoded(bytes)?;
        self.place = Place::after(&message);
        self.awaited = Awaited::Kind;
        Ok(Step::Complete(message))
    }
}

/// What an entry of so many bytes takes in memory.
fn counted_bytes(len: u64) -> u64 {
    len.saturating_add(PEER_ENTRY_OVERHEAD_BYTES as u64)
}

/// What came of one part.
enum Step {
    Starved,
    Onward,
    Complete(Message),
}
