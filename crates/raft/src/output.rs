//! What the core asks its driver to do, and what the driver reports back.
//!
//! Invariant: what must not leave this member before something is durable is in
//! [`Append::responses`], never in [`Output::messages`]. The caller's duties are numbered at the
//! head of the crate.

use bytes::Bytes;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, HardState, Message, MessageType, Snapshot};

use crate::bugs::KnownBug;
use crate::log::EntryId;
use crate::marks::{Mark, mark};
use crate::raft::{Raft, Role};
use crate::store::LogStore;

/// Who leads and what this member is; lost when it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftState {
    /// The leader of the term, zero if there is none or it is not known.
    pub leader: MemberId,
    /// What this member is.
    pub role: Role,
}

/// The answer to [`Raft::read_index`]: a state machine that has applied `index` reflects everything
/// that had been acknowledged when the read was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadState {
    /// What must be applied before the read is served.
    pub index: Index,
    /// What the request was asked with.
    pub context: Bytes,
}

/// Work for the driver. Further outputs may be taken while the work of earlier ones is under way.
#[derive(Debug, Default)]
pub struct Output {
    /// Set when it has changed.
    pub soft_state: Option<SoftState>,
    /// To be sent to other members, at once or whenever; they may be lost.
    pub messages: Vec<Message>,
    /// For the log.
    pub append: Option<Append>,
    /// For the state machine: committed and durable here, in order, each entry once.
    pub committed: Vec<Entry>,
    /// Reads that may be served, in the order of their requests.
    pub read_states: Vec<ReadState>,
}

/// Work for the log. Appends are made durable in the order in which they come.
#[derive(Debug)]
pub struct Append {
    /// The hard state, if it has changed.
    pub hard_state: Option<HardState>,
    /// Entries that follow, or replace, what is there from the first of them on.
    pub entries: Vec<Entry>,
    /// A snapshot that takes the place of the whole log and of the state machine.
    pub snapshot: Option<Snapshot>,
    /// Whether something here must be synced before the append counts as done. If not, it is done
    /// as soon as all earlier ones are.
    pub must_sync: bool,
    /// To be sent to other members when this append and all earlier ones are durable, not before.
    pub responses: Vec<Message>,
    /// To be handed to [`Raft::append_done`] at that moment.
    pub done: AppendDone,
}

/// The receipt of an [`Append`].
#[derive(Debug)]
#[must_use = "the core waits until the append is reported as done"]
pub struct AppendDone {
    pub(crate) sequence: u64,
    /// What the member owes itself: its own acknowledgement or vote.
    pub(crate) own: Vec<Message>,
    pub(crate) stable: Stable,
}

/// What is stable once an append and all earlier ones are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stable {
    /// The term in which the append was made. A report counts only in that term: in a later one a
    /// newer append may be about to replace the entries again, even by equal ones (the ABA problem
    /// of asynchronous storage), and then the later append, which carries a later term, reports
    /// them.
    pub(crate) term: Term,
    /// The end of the log, if part of it was not stable.
    pub(crate) last: Option<EntryId>,
    /// The last entry of the snapshot that the append carried.
    pub(crate) snapshot: Option<Snapshot>,
}

/// Everything that has come up since the last time, with the responses in the order in which they
/// came up. Both forms of output are made from it.
pub(crate) struct Work {
    pub(crate) soft_state: Option<SoftState>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) snapshot: Option<Snapshot>,
    pub(crate) messages: Vec<Message>,
    pub(crate) responses: Vec<Message>,
    pub(crate) stable: Option<Stable>,
    pub(crate) committed: Vec<Entry>,
    pub(crate) read_states: Vec<ReadState>,
    /// Whether term, vote or entries are among it.
    pub(crate) must_sync: bool,
}

impl Work {
    pub(crate) fn is_for_log(&self) -> bool {
        !self.entries.is_empty()
            || self.hard_state.is_some()
            || self.snapshot.is_some()
            || !self.responses.is_empty()
    }
}

impl<S: LogStore> Raft<S> {
    /// Whether there is anything for the driver to do.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.soft_state() != self.prev_soft_state
            || (self.hard_state() != self.prev_hard_state && !self.hard_state().is_empty())
            || self.log.unstable.has_next()
            || !self.messages.is_empty()
            || !self.after_append.is_empty()
            || self.log.has_next_committed()
            || !self.read_states.is_empty()
    }

    /// Everything that the driver must do now.
    pub fn take_output(&mut self) -> Output {
        let mut work = self.take_work();
        let id = self.id().get();
        let mut append = None;
        if work.is_for_log() {
            // A request for votes promises that this term's vote is taken and that the log ends
            // where it says. It waits until that is durable: after a crash the member could ask
            // again in the same term with a shorter log, and answers to the first request would be
            // counted for the second.
            let is_vote_request = |m: &Message| m.msg_type == MessageType::Vote as i32;
            let mut responses = work.responses;
            if work.messages.iter().any(is_vote_request) {
                responses.extend(work.messages.extract_if(.., |m| is_vote_request(m)));
            }
            let own = if responses.iter().all(|m| m.to == id) {
                std::mem::take(&mut responses)
            } else {
                responses.extract_if(.., |m| m.to == id).collect()
            };
            let stable = work.stable.unwrap_or(Stable {
                term: self.term(),
                last: None,
                snapshot: None,
            });
            let sequence = self.next_append;
            self.next_append += 1;
            append = Some(Append {
                hard_state: work.hard_state,
                must_sync: work.must_sync || work.snapshot.is_some(),
                entries: work.entries,
                snapshot: work.snapshot,
                responses,
                done: AppendDone {
                    sequence,
                    own,
                    stable,
                },
            });
        }
        Output {
            soft_state: work.soft_state,
            messages: work.messages,
            append,
            committed: work.committed,
            read_states: work.read_states,
        }
    }

    pub(crate) fn take_work(&mut self) -> Work {
        let (soft, hard) = (self.soft_state(), self.hard_state());
        let soft_state = (soft != self.prev_soft_state).then_some(soft);
        let hard_state = (hard != self.prev_hard_state && !hard.is_empty()).then_some(hard);
        let (entries, snapshot) = self.log.unstable.take_next();
        let voted =
            (hard.term, hard.vote) != (self.prev_hard_state.term, self.prev_hard_state.vote);
        let must_sync = !entries.is_empty() || voted;
        // The report is asked for with every append while the end of the log is not stable, not
        // only with new entries: an earlier report may not count any more (see `Stable::term`).
        let unstable = !self.log.unstable.is_empty();
        let stable = (unstable || snapshot.is_some()).then(|| Stable {
            term: self.term(),
            last: unstable.then(|| self.log.last_id()),
            snapshot: snapshot.clone(),
        });
        self.prev_soft_state = soft;
        if hard_state.is_some() {
            self.prev_hard_state = hard;
        }
        Work {
            soft_state,
            hard_state,
            entries,
            snapshot,
            messages: std::mem::take(&mut self.messages),
            responses: std::mem::take(&mut self.after_append),
            stable,
            committed: self.log.take_committed(),
            read_states: std::mem::take(&mut self.read_states),
            must_sync,
        }
    }

    /// An [`Append`] and all before it are durable.
    ///
    /// # Panics
    /// If appends are reported out of order, or before the store can read their entries.
    pub fn append_done(&mut self, done: AppendDone) {
        assert!(
            done.sequence == self.next_done,
            "append {} is reported as done while append {} is not",
            done.sequence,
            self.next_done
        );
        self.next_done += 1;
        // The member's own acknowledgement first: it is cheapest while the entries are in memory.
        for message in done.own {
            self.step_own(message);
        }
        self.stable(&done.stable);
    }

    pub(crate) fn stable(&mut self, stable: &Stable) {
        let aba = self.config.has_bug(KnownBug::AppendAba);
        if let Some(last) = stable.last {
            if stable.term == self.term() {
                self.log.stable_through(last);
            } else if aba {
                let term = self.log.term(last.index).unwrap_or_default();
                self.log.stable_through(EntryId { term, ..last });
            } else {
                mark(Mark::OldReport);
            }
        }
        // A snapshot is of committed entries: it holds in every term.
        if let Some(snapshot) = &stable.snapshot {
            self.restored(snapshot);
        }
    }

    /// The state machine has applied the [committed](Output::committed) entries up to `through`.
    pub fn apply_done(&mut self, through: Index) {
        self.applied_to(through);
    }

    /// The store has fetched entries that were [unavailable](crate::LogError::Unavailable).
    pub fn log_fetched(&mut self) {
        self.log.fetched();
        if self.role() == Role::Leader {
            self.send_what_is_due();
        }
    }
}
