//! What the consensus actor is told and what it wants done.
//!
//! Plain data: who drives the actors carries these from one to the other, in the order in which
//! they were produced.

use crate::proposal::{Local, Proposal};
use crate::waiter::Outcome;
use bytes::Bytes;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::ApiError;
use tenet_proto::raftpb::{ConfChangeV2, ConfState, Entry, HardState, Message};

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
    /// A linearizable read that wants to know when it may run.
    Read(W),
    /// One heartbeat interval has passed.
    Tick,
    /// A message from a peer.
    Peer(Message),
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

/// What the consensus actor wants done.
#[derive(Debug)]
pub struct Outputs<W> {
    /// For the log writer, in order.
    pub appends: Vec<LogAppend>,
    /// For the applier, in order.
    pub committed: Vec<Committed<W>>,
    /// For the applier: the configuration after a change that it has applied.
    pub conf_states: Vec<ConfState>,
    /// For the applier: reads that may run once this index is applied.
    pub reads: Vec<(Index, Vec<W>)>,
    /// For the peers.
    pub messages: Vec<Message>,
    /// Answers that are known already.
    pub answers: Vec<(W, Result<Outcome, ApiError>)>,
    /// What an operator may want to know.
    pub notices: Vec<Notice>,
    /// The member must stop; the text says why.
    pub fatal: Option<String>,
}

impl<W> Default for Outputs<W> {
    fn default() -> Self {
        Outputs {
            appends: Vec::new(),
            committed: Vec::new(),
            conf_states: Vec::new(),
            reads: Vec::new(),
            messages: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            fatal: None,
        }
    }
}

/// Entries and state for the log writer. Appends are durable in the order in which they come.
#[derive(Debug)]
pub struct LogAppend {
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
}
