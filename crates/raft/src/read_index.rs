//! Linearizable reads without a log entry (Raft thesis 6.4).
//!
//! A leader that has committed an entry of its own term knows the commit index. If a quorum then
//! confirms that it still leads, no later leader had committed anything when the read was asked
//! for. Reads are numbered within a leadership; heartbeats carry the number of the latest as eight
//! bytes, and a follower that echoes it confirms that read and all before it.
//!
//! With leases, heartbeats also carry the leader's tick, as eight more bytes. A follower that has
//! heard from a leader grants nobody else its vote for an election timeout; so for about that long
//! after a tick that a quorum has echoed there is no other leader, and reads need no round. The
//! lease counts from when the heartbeat was sent, not from when its answer came. It is void for the
//! rest of the term once another member has been asked to take over, because that member is heard
//! whatever the others know. A read without a valid lease goes through a round.
//!
//! Invariants: no read is answered before the first commit of the term, also by a sole voter: after
//! a restart the commit index on disk may be older than what was acknowledged. Numbers are never
//! reused within a term, and nothing outlives it.

use std::collections::VecDeque;

use bytes::Bytes;
use tenet_base::limits::READ_QUEUE_MAX;
use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::{Entry, Message, MessageType};

use crate::bugs::KnownBug;
use crate::config::ReadOnly;
use crate::marks::{Mark, mark};
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
    /// What each member has echoed last.
    acks: Vec<(MemberId, Ack)>,
    /// Ticks since the leadership began.
    tick: u64,
    lease_void: bool,
}

/// What a heartbeat carries and its answer echoes.
#[derive(Clone, Copy, Debug, Default)]
struct Ack {
    number: u64,
    tick: u64,
}

impl Reads {
    pub(crate) fn new(mode: ReadOnly) -> Self {
        Reads {
            mode,
            waiting: Vec::new(),
            unconfirmed: VecDeque::new(),
            confirmed: 0,
            acks: Vec::new(),
            tick: 0,
            lease_void: false,
        }
    }

    /// Starts over: whoever asked asks again.
    pub(crate) fn reset(&mut self) {
        self.waiting.clear();
        self.unconfirmed.clear();
        self.confirmed = 0;
        self.acks.clear();
        self.tick = 0;
        self.lease_void = false;
    }

    pub(crate) fn tick(&mut self) {
        self.tick += 1;
    }

    /// Another member may campaign although this one leads.
    pub(crate) fn void_lease(&mut self) {
        self.lease_void = true;
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
        let number = self.latest().to_le_bytes();
        match self.mode {
            ReadOnly::Safe if self.unconfirmed.is_empty() => Bytes::new(),
            ReadOnly::Safe => Bytes::copy_from_slice(&number),
            ReadOnly::LeaseBased => {
                Bytes::copy_from_slice(&[number, self.tick.to_le_bytes()].concat())
            }
        }
    }

    /// Reads back what a heartbeat carried. Nothing that was never sent is believed.
    fn parse(&self, context: &[u8]) -> Option<Ack> {
        let (number, rest) = context.split_first_chunk()?;
        let tick = rest
            .first_chunk()
            .map_or(0, |tick| u64::from_le_bytes(*tick));
        let ack = Ack {
            number: u64::from_le_bytes(*number),
            tick,
        };
        (ack.number <= self.latest() && ack.tick <= self.tick).then_some(ack)
    }

    fn record_ack(&mut self, from: MemberId, ack: Ack) {
        match self.acks.iter_mut().find(|(id, _)| *id == from) {
            Some((_, known)) => {
                known.number = known.number.max(ack.number);
                known.tick = known.tick.max(ack.tick);
            }
            None => self.acks.push((from, ack)),
        }
    }

    fn ack_of(&self, id: MemberId) -> Ack {
        self.acks
            .iter()
            .find(|(member, _)| *member == id)
            .map_or(Ack::default(), |(_, ack)| *ack)
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
            Role::Leader
                if !self.has_committed_in_term() && !self.config.has_bug(KnownBug::EarlyRead) =>
            {
                mark(Mark::ReadWaits);
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
        let leased = self.has_lease();
        if self.tracker.configuration.is_sole_voter(self.id()) || leased {
            if leased {
                mark(Mark::ReadByLease);
            }
            return self.answer_read(read, commit);
        }
        if self.config.read_only == ReadOnly::LeaseBased {
            mark(Mark::ReadWithoutLease);
        }
        self.reads.unconfirmed.push_back((read, commit));
        self.broadcast_heartbeat();
    }

    /// What `id` has confirmed; this member confirms everything to itself.
    fn ack_of(&self, id: MemberId) -> Ack {
        match self.is_self(id) {
            true => Ack {
                number: self.reads.latest(),
                tick: self.reads.tick,
            },
            false => self.reads.ack_of(id),
        }
    }

    /// Whether a quorum still stands by this leader for sure. A follower's timeout may begin up to
    /// a tick before it counts its first, and the present tick may be almost over: hence two ticks
    /// less than the timeout.
    fn has_lease(&self) -> bool {
        let reads = &self.reads;
        if reads.mode != ReadOnly::LeaseBased || reads.lease_void {
            return false;
        }
        let echoed = self
            .tracker
            .configuration
            .voters
            .committed(|id| self.ack_of(id).tick);
        echoed > 0 && reads.tick - echoed + 2 <= u64::from(self.config.election_ticks)
    }

    /// A follower has echoed the context of a heartbeat.
    pub(crate) fn on_read_ack(&mut self, from: MemberId, context: &[u8]) {
        let Some(mut ack) = self.reads.parse(context) else {
            return;
        };
        if self.config.has_bug(KnownBug::LeaseFromEcho) {
            ack.tick = self.reads.tick;
        }
        self.reads.record_ack(from, ack);
        let voters = &self.tracker.configuration.voters;
        let confirmed = voters.committed(|id| self.ack_of(id).number);
        while self.reads.confirmed < confirmed {
            let Some((read, index)) = self.reads.unconfirmed.pop_front() else {
                break;
            };
            self.reads.confirmed += 1;
            self.answer_read(read, index);
        }
        if self.config.has_bug(KnownBug::ReusedReadIds) && self.reads.unconfirmed.is_empty() {
            self.reads.confirmed = 0;
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
