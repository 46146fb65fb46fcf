//! What the consensus actor is told and what it wants done.
//!
//! Plain data: who drives the actors carries these from one to the other, in the order in which
//! they were produced.

use crate::applier::ApplyInput;
use crate::progress::Permit;
use crate::proposal::{Change, Local, Proposal};
use crate::waiter::Outcome;
use bytes::Bytes;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::ApiError;
use tenet_proto::raftpb::{ConfChangeV2, ConfState, Entry, HardState, Message};
use tenet_state::State;
use tenet_wal::Position;

/// What the consensus actor reacts to.
#[derive(Debug)]
pub enum Input<W> {
    /// A write to put into the log.
    Propose(Proposal<W>),
    /// A write of the member itself, which nobody waits for.
    ProposeOwn(Bytes),
    /// Writes of the member itself that are right only while it leads this term: then they are
    /// proposed at once, else dropped.
    ProposeInTerm {
        /// The term.
        term: Term,
        /// The encoded requests.
        data: Vec<Bytes>,
    },
    /// A configuration change.
    ProposeChange(Box<Change<W>>),
    /// Leadership is to go to another member: this one, or whoever is best.
    TransferLeader {
        /// To whom.
        to: Option<MemberId>,
        /// Who wants to know when it is done.
        waiter: W,
    },
    /// Somebody wants to know how far the others are.
    Matched(W),
    /// A linearizable read that wants to know when it may run.
    Read(W),
    /// One heartbeat interval has passed.
    Tick,
    /// So many heartbeat intervals towards the first election need not be waited for.
    Advance(u32),
    /// A message from a peer.
    Peer(Box<Message>),
    /// A snapshot from a peer, with the state that it brings.
    Snapshot {
        /// As the peer's core has it.
        message: Box<Message>,
        /// Of the entry that the message names.
        state: Box<State>,
    },
    /// A message to this member could not be delivered.
    Unreachable(MemberId),
    /// The end of sending a snapshot to this member.
    SnapshotSent {
        /// To whom.
        to: MemberId,
        /// Whether it arrived.
        ok: bool,
    },
    /// The snapshot that was to be installed is durable in the store.
    Stored(Position),
    /// The state of this entry, from a snapshot, is the applied one now.
    Installed(Index),
    /// The log writer has made this many more appends durable.
    Appended(usize),
    /// The applier has applied and published everything up to here.
    Applied(Index),
    /// The applier has applied a configuration change; this is what remains of it.
    ConfChanged(ConfChangeV2),
    /// The member stops: answer everybody.
    Stop,
}

/// A stretch of committed entries for the applier.
#[derive(Debug)]
pub struct Committed<W> {
    /// The entries, in index order.
    pub entries: Vec<Entry>,
    /// For each entry the local proposal that made it, if this member did.
    pub(crate) locals: Vec<Option<Local<W>>>,
}

/// Somebody whose request went to the leader as a message: its entry is known by this id.
#[derive(Debug)]
pub struct Asked<W> {
    pub(crate) id: u64,
    pub(crate) waiter: W,
    /// Held until the answer is given.
    pub(crate) permit: Option<Permit>,
}

impl<W> From<Proposal<W>> for Asked<W> {
    fn from(proposal: Proposal<W>) -> Self {
        let Proposal { prepared, waiter } = proposal;
        let header = prepared.request.header.as_ref();
        Asked {
            id: header.map_or(0, |header| header.id),
            waiter,
            permit: Some(prepared.permit),
        }
    }
}

/// What the consensus actor wants done.
#[derive(Debug)]
pub struct Outputs<W> {
    /// For the log writer, in order.
    pub appends: Vec<LogAppend>,
    /// For the applier, before the messages are sent.
    pub asked: Vec<Asked<W>>,
    /// For the applier, in order.
    pub committed: Vec<Committed<W>>,
    /// For the applier: the state of a snapshot, to be made durable.
    pub install: Option<Box<State>>,
    /// For the applier: that snapshot is in the log; its state takes the place of the other.
    pub switch: Option<Index>,
    /// For the applier: the configuration after a change that it has applied.
    pub conf_states: Vec<ConfState>,
    /// For the applier: reads that may run once this index is applied.
    pub reads: Vec<(Index, Vec<W>)>,
    /// For the peers.
    pub messages: Vec<Message>,
    /// For a peer each, with the state: who carries it puts in where that stands.
    pub snapshots: Vec<Message>,
    /// Answers that are known already.
    pub answers: Vec<(W, Result<Outcome, ApiError>)>,
    /// What an operator may want to know.
    pub notices: Vec<Notice>,
    /// The member must stop; the text says why.
    pub fatal: Option<String>,
}

impl<W> Outputs<W> {
    /// Takes out what is for the applier, in the order in which it must get it: who has asked
    /// before the entries that answer, and the configuration that it waits for before what follows.
    pub fn take_applies(&mut self) -> Vec<ApplyInput<W>> {
        let asked = std::mem::take(&mut self.asked);
        let asked = (!asked.is_empty()).then_some(ApplyInput::Asked(asked));
        let install = self.install.take().map(ApplyInput::Install);
        let switch = self.switch.take().map(ApplyInput::Switch);
        let configured = self.conf_states.drain(..).map(ApplyInput::Configured);
        let committed = self.committed.drain(..).map(ApplyInput::Committed);
        let reads = self
            .reads
            .drain(..)
            .map(|(index, who)| ApplyInput::Reads(index, who));
        asked
            .into_iter()
            .chain(install)
            .chain(switch)
            .chain(configured)
            .chain(committed)
            .chain(reads)
            .collect()
    }
}

impl<W> Default for Outputs<W> {
    fn default() -> Self {
        Outputs {
            appends: Vec::new(),
            asked: Vec::new(),
            committed: Vec::new(),
            conf_states: Vec::new(),
            install: None,
            switch: None,
            reads: Vec::new(),
            messages: Vec::new(),
            snapshots: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            fatal: None,
        }
    }
}

/// Entries and state for the log writer. Appends are durable in the order in which they come.
#[derive(Debug)]
pub struct LogAppend {
    /// A snapshot that the log goes on after, which the store holds already.
    pub position: Option<Position>,
    /// Term, vote and commit index as of this append.
    pub hard_state: HardState,
    /// Entries that follow, or replace, what is there from the first of them on.
    pub entries: Vec<Entry>,
}

/// Something that happened, for the log that people read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This member became leader of a term.
    BecameLeader(Term),
    /// Another member is known to lead a term.
    FollowsLeader(MemberId, Term),
    /// No leader is known in a term.
    LostLeader(Term),
    /// A message was refused; the text says why.
    RefusedMessage(String),
    /// The log's disk has not answered for an election timeout: leadership is offered to another.
    DiskSlow {
        /// For how long, in ticks.
        ticks: u64,
    },
    /// The log's disk has not answered for two: this member does not lead until it does.
    DiskHangs {
        /// For how long, in ticks.
        ticks: u64,
    },
    /// The log's disk answers again.
    DiskAnswers,
}
