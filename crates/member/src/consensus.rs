//! The consensus actor: drives the raft core and keeps the waiting rooms around it.
//!
//! Requests come in batches; everything that waits when the actor runs becomes one step of the
//! core, one append for the log writer and one batch for the applier. Local proposals wait here
//! until the core says where they went, then travel to the applier with their entry, matched by
//! (term, index): if another leader's entry commits at that index the proposal was lost, and its
//! client is left to its timeout, since it may not know either.
//!
//! Invariants: entries reach the applier in index order, without a gap, each once, and only when
//! they are committed and durable here. A waiter is completed at most once.
//!
//! The actor must not know: files, sockets, clocks (time is the number of ticks), or what a
//! request means.

use crate::messages::{Committed, Input, LogAppend, Notice, Outputs};
use crate::progress::Progress;
use crate::proposal::{Local, Proposal};
use crate::reads::ReadRounds;
use crate::waiter::Waiter;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tenet_base::{Index, MemberId, Term, limits};
use tenet_proto::ApiError;
use tenet_proto::raftpb::{Entry, HardState, Message};
use tenet_raft::{
    Append, AppendDone, LogStore as _, MemoryLog, Output, ProposeError, Proposed, Raft, Role,
};

/// Applied entries are forgotten in runs of at least so many.
const FORGET_ENTRIES: u64 = 1_024;

/// How long things may take, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From admission to the answer.
    pub request_ticks: u64,
}

/// A write that waits for a leader.
#[derive(Debug)]
struct Queued<W> {
    proposal: Proposal<W>,
    deadline_tick: u64,
}

/// A proposal in this member's log.
#[derive(Debug)]
struct Pending<W> {
    term: Term,
    index: Index,
    deadline_tick: u64,
    /// Taken when the proposal is answered early (timeout); the entry then has no waiter.
    local: Option<Local<W>>,
}

/// An append that the log writer works on, or one that needs no work and waits for those before.
#[derive(Debug)]
struct Outstanding {
    /// Whether the log writer has it.
    at_writer: bool,
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    responses: Vec<Message>,
    done: AppendDone,
}

/// See the module.
#[derive(Debug)]
pub struct Consensus<W> {
    raft: Raft<MemoryLog>,
    outstanding: VecDeque<Outstanding>,
    /// A sole voter campaigns as soon as it may, instead of waiting for an election timeout.
    eager: bool,
    progress: Arc<Progress>,
    timeouts: Timeouts,
    tick: u64,
    queued: VecDeque<Queued<W>>,
    own: Vec<Bytes>,
    /// As `own`, but for this moment only.
    led: Vec<Bytes>,
    pending: VecDeque<Pending<W>>,
    reads: ReadRounds<W>,
    /// The last index handed to the applier.
    handed_over: Index,
    applied: Index,
    catchup_entries: u64,
    stopped: bool,
}

impl<W: Waiter> Consensus<W> {
    /// An actor around a core whose applied index is `applied`.
    pub fn new(
        raft: Raft<MemoryLog>,
        progress: Arc<Progress>,
        timeouts: Timeouts,
        applied: Index,
        catchup_entries: u64,
        read_id_seed: u64,
        eager: bool,
    ) -> Self {
        Consensus {
            raft,
            outstanding: VecDeque::new(),
            eager,
            progress,
            timeouts,
            tick: 0,
            queued: VecDeque::new(),
            own: Vec::new(),
            led: Vec::new(),
            pending: VecDeque::new(),
            reads: ReadRounds::new(read_id_seed),
            handed_over: applied,
            applied,
            catchup_entries,
            stopped: false,
        }
    }

    /// Takes a batch of inputs (leaving it empty) and appends to `out` what they lead to.
    pub fn handle(&mut self, inputs: &mut Vec<Input<W>>, out: &mut Outputs<W>) {
        for input in inputs.drain(..) {
            self.take(input, out);
        }
        if self.stopped {
            return;
        }
        self.campaign_alone();
        self.propose_queued(out);
        self.start_read_round();
        while self.raft.has_output() {
            let output = self.raft.take_output();
            self.carry_out(output, out);
        }
        self.publish_progress();
    }

    fn take(&mut self, input: Input<W>, out: &mut Outputs<W>) {
        if self.stopped {
            Self::refuse(input, out);
            return;
        }
        match input {
            Input::Propose(proposal) => {
                let deadline_tick = self.tick + self.timeouts.request_ticks;
                self.queued.push_back(Queued {
                    proposal,
                    deadline_tick,
                });
            }
            Input::ProposeOwn(data) => self.own.push(data),
            Input::ProposeInTerm { term, data } => {
                if self.raft.role() == Role::Leader && self.raft.term() == term {
                    self.led.extend(data);
                }
            }
            Input::Read(waiter) => {
                let deadline = self.tick + self.timeouts.request_ticks;
                self.reads.push(waiter, deadline, out);
            }
            Input::Tick => self.on_tick(out),
            Input::Peer(message) => {
                if let Err(error) = self.raft.step(message) {
                    out.notices.push(Notice::RefusedMessage(error.to_string()));
                }
            }
            Input::Appended(count) => self.on_appended(count, out),
            Input::Applied(index) => self.on_applied(index),
            Input::ConfChanged(change) => match self.raft.apply_conf_change(&change) {
                Ok(state) => out.conf_states.push(state),
                Err(error) => out.fatal = Some(error.to_string()),
            },
            Input::Stop => self.stop(out),
        }
    }

    fn on_tick(&mut self, out: &mut Outputs<W>) {
        self.tick += 1;
        self.raft.tick();
        self.reads.tick(self.tick, out);
        let timeout = || Err(ApiError::Timeout);
        while self
            .queued
            .front()
            .is_some_and(|q| q.deadline_tick <= self.tick)
        {
            let expired = self.queued.pop_front().expect("front was there");
            out.answers.push((expired.proposal.waiter, timeout()));
        }
        // Deadlines grow along the queue, so the first that is not due ends the search.
        for pending in &mut self.pending {
            if pending.deadline_tick > self.tick {
                break;
            }
            if let Some(local) = pending.local.take() {
                out.answers.push((local.waiter, timeout()));
            }
        }
    }

    /// Nobody can be disturbed by the campaign of a sole voter.
    fn campaign_alone(&mut self) {
        let idle = self.raft.role() == Role::Follower && self.raft.leader().is_zero();
        if self.eager
            && idle
            && self.is_sole_voter()
            && self.applied.get() == self.raft.hard_state().commit
        {
            self.raft.campaign();
        }
    }

    fn is_sole_voter(&self) -> bool {
        self.raft
            .tracker()
            .configuration
            .is_sole_voter(self.raft.id())
    }

    /// Puts everything that waits into the log, as one batch.
    fn propose_queued(&mut self, out: &mut Outputs<W>) {
        let led = std::mem::take(&mut self.led);
        if self.queued.is_empty() && self.own.is_empty() && led.is_empty() {
            return;
        }
        let own = std::mem::take(&mut self.own);
        let mut data: Vec<Bytes> = Vec::with_capacity(self.queued.len() + own.len() + led.len());
        data.extend(self.queued.iter().map(|q| q.proposal.prepared.data.clone()));
        data.extend(own.iter().cloned());
        data.extend(led);
        match self.raft.propose(data) {
            Ok(Proposed::Appended { term, first }) => self.remember_places(term, first),
            // A forwarded proposal comes back as an entry of the leader; whoever waits for it is
            // found by the request id, which needs the peers that do not exist yet.
            Ok(Proposed::Forwarded) => self.fail_queued(ApiError::NotLeader, out),
            // Without a leader that takes proposals the writes wait, up to their deadline.
            Err(ProposeError::NoLeader(_) | ProposeError::Transferring(_)) => self.own = own,
            Err(_) => self.fail_queued(ApiError::RequestTooManyRequests, out),
        }
    }

    fn remember_places(&mut self, term: Term, first: Index) {
        let places = (first.get()..).map(Index);
        for (queued, index) in self.queued.drain(..).zip(places) {
            let Proposal { prepared, waiter } = queued.proposal;
            let local = Local {
                request: prepared.request,
                waiter,
                permit: prepared.permit,
            };
            self.pending.push_back(Pending {
                term,
                index,
                deadline_tick: queued.deadline_tick,
                local: Some(local),
            });
        }
    }

    fn fail_queued(&mut self, error: ApiError, out: &mut Outputs<W>) {
        out.answers.extend(
            self.queued
                .drain(..)
                .map(|q| (q.proposal.waiter, Err(error))),
        );
    }

    fn start_read_round(&mut self) {
        if let Some(context) = self.reads.next_round(!self.raft.leader().is_zero()) {
            self.raft.read_index(context);
        }
    }

    fn carry_out(&mut self, output: Output, out: &mut Outputs<W>) {
        if let Some(soft) = output.soft_state {
            self.on_leadership(soft.leader, soft.role, out);
        }
        out.messages.extend(output.messages);
        if let Some(append) = output.append {
            self.append(append, out);
        }
        if !output.committed.is_empty() {
            self.hand_over(output.committed, out);
        }
        for state in output.read_states {
            self.reads.confirmed(&state.context, state.index, out);
        }
    }

    /// Gives an append to the log writer, unless nothing in it has to be durable: a commit index
    /// that moved is written with the next append.
    fn append(&mut self, append: Append, out: &mut Outputs<W>) {
        let Append {
            hard_state,
            entries,
            snapshot,
            must_sync,
            responses,
            done,
        } = append;
        assert!(
            snapshot.is_none(),
            "a snapshot was received by a member that cannot install one"
        );
        if must_sync {
            let entries = entries.clone();
            out.appends.push(LogAppend {
                hard_state: self.raft.hard_state(),
                entries,
            });
        }
        let at_writer = must_sync;
        self.outstanding.push_back(Outstanding {
            at_writer,
            entries,
            hard_state,
            responses,
            done,
        });
        self.complete_free_appends(out);
    }

    fn on_appended(&mut self, count: usize, out: &mut Outputs<W>) {
        for _ in 0..count {
            let front = self
                .outstanding
                .pop_front()
                .expect("an append that was not asked for");
            assert!(
                front.at_writer,
                "the log writer reports an append that it was not given"
            );
            self.complete_append(front, out);
            self.complete_free_appends(out);
        }
    }

    fn complete_free_appends(&mut self, out: &mut Outputs<W>) {
        while self
            .outstanding
            .front()
            .is_some_and(|append| !append.at_writer)
        {
            let front = self.outstanding.pop_front().expect("front was there");
            self.complete_append(front, out);
        }
    }

    fn complete_append(&mut self, append: Outstanding, out: &mut Outputs<W>) {
        let log = self.raft.log_mut();
        log.append(append.entries);
        if let Some(state) = append.hard_state {
            log.set_hard_state(state);
        }
        self.raft.append_done(append.done);
        out.messages.extend(append.responses);
    }

    fn on_leadership(&mut self, leader: MemberId, role: Role, out: &mut Outputs<W>) {
        let term = self.raft.term();
        let before = self.progress.leader();
        self.progress.set_leadership(term, leader);
        if before.is_some_and(|known| known != leader) {
            self.reads.leader_changed(out);
        }
        if role == Role::Leader {
            out.notices.push(Notice::BecameLeader(term));
        } else if !leader.is_zero() {
            out.notices.push(Notice::FollowsLeader(leader, term));
        } else if before.is_some() {
            out.notices.push(Notice::LostLeader(term));
        }
    }

    /// Gives committed entries to the applier, each with the local proposal that made it.
    fn hand_over(&mut self, entries: Vec<Entry>, out: &mut Outputs<W>) {
        let first = entries[0].index();
        assert!(
            first == self.handed_over.next(),
            "committed entries start at {first}, but {} was the last handed over: an entry would \
             be skipped or applied twice",
            self.handed_over
        );
        let locals = entries.iter().map(|entry| self.local_of(entry)).collect();
        self.handed_over = entries[entries.len() - 1].index();
        out.committed.push(Committed { entries, locals });
    }

    /// The waiting proposal that `entry` is, if it is one.
    fn local_of(&mut self, entry: &Entry) -> Option<Local<W>> {
        while let Some(front) = self.pending.front() {
            if front.index > entry.index() {
                return None;
            }
            let front = self.pending.pop_front().expect("front was there");
            if front.index == entry.index() && front.term == entry.term() {
                return front.local;
            }
            // Another leader's entry took the place: the proposal is lost for certain, but the
            // client is told nothing that it could mistake for "never executed".
            drop(front);
        }
        None
    }

    fn on_applied(&mut self, index: Index) {
        assert!(
            self.applied <= index && index <= self.handed_over,
            "applied index went from {} to {index}, with {} handed over",
            self.applied,
            self.handed_over
        );
        self.applied = index;
        self.raft.apply_done(index);
        self.forget_applied();
    }

    /// Forgets applied entries, which are durable on disk: all of them where nobody could ask for
    /// them, else all but the window for slow followers, and of that what goes over the cap.
    fn forget_applied(&mut self) {
        let window = match self.raft.tracker().progress.len() {
            0 | 1 => 0,
            _ => self.catchup_entries,
        };
        let applied = self.applied.get();
        let forgotten = self.raft.log().first_index().get() - 1;
        let mut to = applied.saturating_sub(window).max(forgotten);
        // Many at once cost less than each by itself.
        if to >= forgotten + FORGET_ENTRIES {
            self.forget_through(to);
        }
        while self.raft.log().bytes() > limits::LOG_MEMORY_BYTES_MAX && to < applied {
            to = to.midpoint(applied).max(to + 1);
            self.forget_through(to);
        }
    }

    fn forget_through(&mut self, index: u64) {
        if let Err(error) = self.raft.log_mut().compact(Index(index)) {
            // Only what is there and applied is forgotten.
            unreachable!("entries through {index} cannot be forgotten: {error}")
        }
    }

    fn publish_progress(&self) {
        let raft = &self.raft;
        let commit = Index(raft.hard_state().commit);
        self.progress.set_leadership(raft.term(), raft.leader());
        self.progress.set_committed(commit);
        // What earlier terms acknowledged is published once an entry of this term is.
        let applied_here = raft
            .log()
            .term(self.applied)
            .is_ok_and(|term| term == raft.term());
        let alone = raft.role() == Role::Leader && self.is_sole_voter() && applied_here;
        self.progress.set_alone(alone);
        let learners = &raft.tracker().configuration.learners;
        self.progress.set_learner(learners.contains(raft.id()));
    }

    fn stop(&mut self, out: &mut Outputs<W>) {
        self.stopped = true;
        self.fail_queued(ApiError::Stopped, out);
        for pending in self.pending.drain(..) {
            if let Some(local) = pending.local {
                out.answers.push((local.waiter, Err(ApiError::Stopped)));
            }
        }
        self.reads.fail_all(ApiError::Stopped, out);
    }

    /// Answers what comes in after the stop.
    fn refuse(input: Input<W>, out: &mut Outputs<W>) {
        match input {
            Input::Propose(proposal) => {
                out.answers.push((proposal.waiter, Err(ApiError::Stopped)));
            }
            Input::Read(waiter) => out.answers.push((waiter, Err(ApiError::Stopped))),
            _ => {}
        }
    }

    /// The raft core, for status, tests and the simulator.
    pub fn raft(&self) -> &Raft<MemoryLog> {
        &self.raft
    }
}
