//! Linearizable reads without a log entry (Raft thesis 6.4).
//!
//! A leader that has committed an entry of its own term knows the commit index. If a quorum then
//! confirms that it still leads, no later leader had committed anything when the read was asked
//! for. Reads are numbered within a leadership; heartbeats carry the number of the latest as eight
//! bytes, and a follower that echoes it confirms that read and all before it.
//!
//! Invariants: no read is answered before the first commit of the term, also by a sole voter: after
//! a restart the commit index on disk may be older than what was acknowledged. Numbers are never
//! reused within a term, and nothing outlives it.

use std::collections::VecDeque;

use bytes::Bytes;
use tenet_base::limits::READ_QUEUE_MAX;
use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::{Entry, Message, MessageType};

use crate::config::ReadOnly;
use crate::output::ReadState;
use crate::raft::{Raft, Role};
use crate::store::LogStore;

/// A read that somebody has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// Who asks; this member itself, or a follower.
    from: MemberId,
    context: Bytes,
}

/// The reads of one leadership.
#[derive(Debug)]
pub(crate) struct Reads {
    mode: ReadOnly,
    /// Reads that wait for the first commit of the term.
    waiting: Vec<Read>,
    /// Reads that wait for a quorum, with the commit index at their time. Their numbers are
    /// `confirmed + 1 ..`.
    unconfirmed: VecDeque<(Read, Index)>,
    confirmed: u64,
    /// The latest number that each member has echoed.
    acks: Vec<(MemberId, u64)>,
}

impl Reads {
    pub(crate) fn new(mode: ReadOnly) -> Self {
        Reads {
            mode,
            waiting: Vec::new(),
            unconfirmed: VecDeque::new(),
            confirmed: 0,
            acks: Vec::new(),
        }
    }

    /// Starts over: whoever asked asks again.
    pub(crate) fn reset(&mut self) {
        self.waiting.clear();
        self.unconfirmed.clear();
        self.confirmed = 0;
        self.acks.clear();
    }

    fn is_full(&self) -> bool {
        self.waiting.len() + self.unconfirmed.len() >= READ_QUEUE_MAX
    }

    /// The number of the latest read.
    fn latest(&self) -> u64 {
        self.confirmed + self.unconfirmed.len() as u64
    }

    /// What heartbeats carry: nothing when no read waits for them.
    pub(crate) fn heartbeat_context(&self) -> Bytes {
        match self.unconfirmed.is_empty() {
            true => Bytes::new(),
            false => Bytes::copy_from_slice(&self.latest().to_le_bytes()),
        }
    }

    fn record_ack(&mut self, from: MemberId, number: u64) {
        match self.acks.iter_mut().find(|(id, _)| *id == from) {
            Some((_, acked)) => *acked = number.max(*acked),
            None => self.acks.push((from, number)),
        }
    }

    fn ack_of(&self, id: MemberId) -> u64 {
        self.acks
            .iter()
            .find(|(member, _)| *member == id)
            .map_or(0, |(_, number)| *number)
    }
}

impl<S: LogStore> Raft<S> {
    /// Asks for the index that the state machine must have applied before a read that begins now
    /// is served; the answer comes as a [`ReadState`] with the same `context`, or never. Contexts
    /// must not be reused. Returns whether the request went anywhere.
    pub fn read_index(&mut self, context: Bytes) -> bool {
        let from = self.id();
        self.on_read_request(Read { from, context })
    }

    /// A follower asks; `message` carries exactly one entry.
    pub(crate) fn on_read_message(&mut self, mut message: Message) {
        let context = message
            .entries
            .pop()
            .map(|entry| entry.data)
            .unwrap_or_default();
        self.on_read_request(Read {
            from: MemberId(message.from),
            context,
        });
    }

    fn on_read_request(&mut self, read: Read) -> bool {
        match self.role() {
            Role::Leader if self.reads.is_full() => false,
            Role::Leader if !self.has_committed_in_term() => {
                self.reads.waiting.push(read);
                true
            }
            Role::Leader => {
                self.confirm(read);
                true
            }
            Role::Follower if !self.leader().is_zero() => {
                let message = Message {
                    from: read.from.get(),
                    ..carrying(read.context)
                };
                self.send(MessageType::ReadIndex, self.leader(), message);
                true
            }
            _ => false,
        }
    }

    fn has_committed_in_term(&self) -> bool {
        self.log.term(self.log.committed()) == Ok(self.term())
    }

    /// The commit index has moved.
    pub(crate) fn release_waiting_reads(&mut self) {
        if !self.reads.waiting.is_empty() && self.has_committed_in_term() {
            for read in std::mem::take(&mut self.reads.waiting) {
                self.confirm(read);
            }
        }
    }

    fn confirm(&mut self, read: Read) {
        let commit = self.log.committed();
        let sole_voter = self.tracker.configuration.is_sole_voter(self.id());
        if sole_voter || self.reads.mode == ReadOnly::LeaseBased {
            return self.answer_read(read, commit);
        }
        self.reads.unconfirmed.push_back((read, commit));
        self.reads.record_ack(self.id(), self.reads.latest());
        self.broadcast_heartbeat();
    }

    /// A follower has echoed the context of a heartbeat.
    pub(crate) fn on_read_ack(&mut self, from: MemberId, context: &[u8]) {
        let Some(number) = context
            .first_chunk()
            .map(|bytes| u64::from_le_bytes(*bytes))
        else {
            return;
        };
        if self.reads.mode != ReadOnly::Safe || number > self.reads.latest() {
            return;
        }
        self.reads.record_ack(from, number);
        let voters = &self.tracker.configuration.voters;
        let confirmed = voters.committed(|id| self.reads.ack_of(id));
        while self.reads.confirmed < confirmed.min(u64::MAX - 1) {
            let Some((read, index)) = self.reads.unconfirmed.pop_front() else {
                break;
            };
            self.reads.confirmed += 1;
            self.answer_read(read, index);
        }
    }

    fn answer_read(&mut self, read: Read, index: Index) {
        if self.is_self(read.from) {
            self.read_states.push(ReadState {
                index,
                context: read.context,
            });
            return;
        }
        let message = Message {
            index: index.get(),
            ..carrying(read.context)
        };
        self.send(MessageType::ReadIndexResp, read.from, message);
    }

    /// The leader has answered; `message` carries exactly one entry.
    pub(crate) fn on_read_response(&mut self, mut message: Message) {
        if let Some(entry) = message.entries.pop() {
            let index = Index(message.index);
            self.read_states.push(ReadState {
                index,
                context: entry.data,
            });
        }
    }
}

/// A read's context travels as the data of an entry.
fn carrying(context: Bytes) -> Message {
    let entry = Entry {
        data: context,
        ..Entry::default()
    };
    Message {
        entries: vec![entry],
        ..Message::default()
    }
}
