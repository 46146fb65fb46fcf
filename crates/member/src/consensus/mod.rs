//! The consensus actor: drives the raft core and keeps the waiting rooms around it.
//!
//! Requests come in batches; everything that waits when the actor runs becomes one step of the
//! core, one append for the log writer and one batch for the applier. What a leader has proposed
//! travels to the applier with its entry, matched by (term, index); what another member has asked
//! the leader for is matched there by the id of the request.
//!
//! Invariants: entries reach the applier in index order, without a gap, each once, and only when
//! they are committed and durable here. A waiter is completed at most once.
//!
//! The actor must not know: files, sockets, clocks (time is the number of ticks), or what a
//! request means.

mod appends;
mod proposals;

use crate::messages::{Committed, Input, Notice, Outputs};
use crate::progress::Progress;
use crate::reads::ReadRounds;
use crate::waiter::{Outcome, Waiter};
use appends::Appends;
use bytes::Bytes;
use proposals::Proposals;
use std::sync::Arc;
use tenet_base::{Index, MemberId, limits};
use tenet_proto::ApiError;
use tenet_proto::raftpb::{ConfState, Entry, Message, MessageType};
use tenet_raft::{LogStore as _, MemoryLog, Output, Raft, Role};
use tenet_state::State;

/// Applied entries are forgotten in runs of at least so many, or of as many as are kept.
const FORGET_ENTRIES: u64 = 1_024;

/// How long things may take, in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From admission to the answer.
    pub request_ticks: u64,
    /// Without word from a leader, or from the disk.
    pub election_ticks: u64,
}

/// Somebody who wants another member to lead.
#[derive(Debug)]
struct Transfer<W> {
    /// To whom; nobody is found yet if it is `None`.
    to: Option<MemberId>,
    deadline_tick: u64,
    waiter: W,
}

/// See the module.
#[derive(Debug)]
pub struct Consensus<W> {
    raft: Raft<MemoryLog>,
    appends: Appends,
    /// A sole voter campaigns as soon as it may, instead of waiting for an election timeout.
    eager: bool,
    progress: Arc<Progress>,
    timeouts: Timeouts,
    tick: u64,
    proposals: Proposals<W>,
    transfers: Vec<Transfer<W>>,
    reads: ReadRounds<W>,
    /// The last index handed to the applier.
    handed_over: Index,
    applied: Index,
    /// The configuration, as of the last change that was applied.
    conf_state: ConfState,
    catchup_entries: u64,
    stopped: bool,
}

impl<W: Waiter> Consensus<W> {
    /// An actor around a core whose applied index is `applied`.
    #[expect(
        clippy::too_many_arguments,
        reason = "all are needed and none belongs to another"
    )]
    pub fn new(
        raft: Raft<MemoryLog>,
        conf_state: ConfState,
        progress: Arc<Progress>,
        timeouts: Timeouts,
        applied: Index,
        catchup_entries: u64,
        read_id_seed: u64,
        eager: bool,
    ) -> Self {
        Consensus {
            raft,
            appends: Appends::new(timeouts.election_ticks),
            eager,
            progress,
            timeouts,
            tick: 0,
            proposals: Proposals::new(),
            transfers: Vec::new(),
            reads: ReadRounds::new(read_id_seed),
            handed_over: applied,
            applied,
            conf_state,
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
        self.proposals.propose(&mut self.raft, out);
        self.start_read_round();
        self.carry_out_all(out);
        self.publish_progress();
    }

    fn carry_out_all(&mut self, out: &mut Outputs<W>) {
        while self.raft.has_output() {
            let output = self.raft.take_output();
            self.carry_out(output, out);
        }
    }

    /// One snapshot at a time is installed. The leader tries again with what it is told meanwhile.
    fn on_snapshot(&mut self, message: Message, state: Box<State>, out: &mut Outputs<W>) {
        if self.appends.is_installing() {
            return;
        }
        if let Err(error) = self.raft.step(message) {
            out.notices.push(Notice::RefusedMessage(error.to_string()));
        }
        self.carry_out_all(out);
        if self.appends.is_installing() {
            out.install = Some(state);
        }
    }

    fn take(&mut self, input: Input<W>, out: &mut Outputs<W>) {
        if self.stopped {
            Self::refuse(input, out);
            return;
        }
        let deadline_tick = self.tick + self.timeouts.request_ticks;
        match input {
            Input::Propose(proposal) => self.proposals.push(proposal, deadline_tick),
            Input::ProposeOwn(data) => self.proposals.push_own(data),
            Input::ProposeInTerm { term, data } => {
                if self.raft.role() == Role::Leader && self.raft.term() == term {
                    self.proposals.push_led(data);
                }
            }
            Input::ProposeChange(change) => self.proposals.push_change(*change, deadline_tick),
            Input::TransferLeader { to, waiter } => self.transfer(to, waiter, out),
            Input::Matched(waiter) => out.answers.push((waiter, self.matched())),
            Input::Read(waiter) => self.reads.push(waiter, deadline_tick, out),
            Input::Tick => self.on_tick(out),
            Input::Advance(ticks) => (0..ticks).for_each(|_| self.raft.tick()),
            Input::Peer(message) if is_snapshot(&message) => {
                let why = "a snapshot came without its state".to_owned();
                out.notices.push(Notice::RefusedMessage(why));
            }
            Input::Peer(message) => {
                if let Err(error) = self.raft.step(*message) {
                    out.notices.push(Notice::RefusedMessage(error.to_string()));
                }
            }
            Input::Unreachable(member) => self.raft.report_unreachable(member),
            Input::Snapshot { message, state } => self.on_snapshot(*message, state, out),
            Input::SnapshotSent { to, ok } => self.raft.report_snapshot(to, ok),
            Input::Appended(count) => self.appends.written(count, &mut self.raft, out),
            Input::Stored(position) => self.appends.stored(position, out),
            Input::Installed(index) => self.on_installed(index, out),
            Input::Applied(index) => self.on_applied(index),
            Input::ConfChanged(change) => match self.raft.apply_conf_change(&change) {
                Ok(state) => {
                    self.conf_state.clone_from(&state);
                    out.conf_states.push(state);
                }
                Err(error) => out.fatal = Some(error.to_string()),
            },
            Input::Stop => self.stop(out),
        }
    }

    fn on_tick(&mut self, out: &mut Outputs<W>) {
        self.tick += 1;
        self.raft.tick();
        self.appends.tick(self.tick, &mut self.raft, out);
        self.reads.tick(self.tick, out);
        self.proposals.tick(self.tick, out);
        let now = self.tick;
        self.find_transferees();
        for late in self.transfers.extract_if(.., |t| t.deadline_tick <= now) {
            out.answers
                .push((late.waiter, Err(ApiError::LeaderTransferTimeout)));
        }
    }

    fn matched(&self) -> Result<Outcome, ApiError> {
        if self.raft.role() != Role::Leader {
            return Err(ApiError::NotLeader);
        }
        let progress = self.raft.tracker().progress.iter();
        let matched = progress.map(|(id, progress)| (id, progress.matched));
        Ok(Outcome::Matched(matched.collect()))
    }

    /// Hands leadership to `to`, or to whoever is best. Whoever waits hears of it when that member
    /// is known to lead.
    fn transfer(&mut self, to: Option<MemberId>, waiter: W, out: &mut Outputs<W>) {
        if self.raft.role() != Role::Leader {
            out.answers.push((waiter, Err(ApiError::NotLeader)));
            return;
        }
        self.transfers.push(Transfer {
            to,
            deadline_tick: self.tick + self.timeouts.request_ticks,
            waiter,
        });
        if let Some(to) = to {
            self.raft.transfer_leader(to);
        }
        self.find_transferees();
    }

    /// A leader that has just been elected has not heard of anybody yet.
    fn find_transferees(&mut self) {
        let open = self.transfers.iter_mut().filter(|t| t.to.is_none());
        for transfer in open {
            transfer.to = self.raft.best_transferee();
            if let Some(to) = transfer.to {
                self.raft.transfer_leader(to);
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

    fn start_read_round(&mut self) {
        if let Some(context) = self.reads.next_round(!self.raft.leader().is_zero()) {
            self.raft.read_index(context);
        }
    }

    fn carry_out(&mut self, output: Output, out: &mut Outputs<W>) {
        if let Some(soft) = output.soft_state {
            self.on_leadership(soft.leader, soft.role, out);
        }
        let (snapshots, messages): (Vec<_>, Vec<_>) =
            output.messages.into_iter().partition(is_snapshot);
        out.messages.extend(messages);
        out.snapshots.extend(snapshots);
        if let Some(append) = output.append {
            self.appends.start(append, self.tick, &mut self.raft, out);
        }
        if !output.committed.is_empty() {
            self.hand_over(output.committed, out);
        }
        for state in output.read_states {
            self.reads.confirmed(&state.context, state.index, out);
        }
    }

    fn on_leadership(&mut self, leader: MemberId, role: Role, out: &mut Outputs<W>) {
        let term = self.raft.term();
        let before = self.progress.leader();
        self.progress.set_leadership(term, leader);
        if before.is_some_and(|known| known != leader) {
            self.reads.leader_changed(out);
        }
        for done in self.transfers.extract_if(.., |t| t.to == Some(leader)) {
            out.answers.push((done.waiter, Ok(Outcome::Retry)));
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
        let proposals = &mut self.proposals;
        let locals = entries
            .iter()
            .map(|entry| proposals.local_of(entry, out))
            .collect();
        self.handed_over = entries[entries.len() - 1].index();
        out.committed.push(Committed { entries, locals });
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

    /// The state machine has become that of a snapshot.
    fn on_installed(&mut self, index: Index, out: &mut Outputs<W>) {
        assert!(
            index > self.handed_over,
            "a snapshot of entry {index} was installed, but {} was handed over already",
            self.handed_over
        );
        self.handed_over = index;
        self.applied = index;
        self.appends.installed(index, &mut self.raft, out);
        self.conf_state = self.raft.tracker().configuration.conf_state();
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
        let run = FORGET_ENTRIES.min(self.catchup_entries.max(1));
        if to >= forgotten + run {
            self.forget_through(to);
        }
        while self.raft.log().bytes() > limits::LOG_MEMORY_BYTES_MAX && to < applied {
            to = to.midpoint(applied).max(to + 1);
            self.forget_through(to);
        }
    }

    /// Whoever needs what is forgotten gets a snapshot: of the applied state as it is by then, so
    /// that of this one only the place is kept.
    fn forget_through(&mut self, index: u64) {
        let conf_state = self.conf_state.clone();
        let log = self.raft.log_mut();
        if let Err(error) = log.create_snapshot(Index(index), conf_state, Bytes::new()) {
            unreachable!("no snapshot can be named at {index}: {error}")
        }
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
        self.proposals.stop(out);
        for transfer in self.transfers.drain(..) {
            out.answers.push((transfer.waiter, Err(ApiError::Stopped)));
        }
        self.reads.fail_all(ApiError::Stopped, out);
    }

    /// Answers what comes in after the stop.
    fn refuse(input: Input<W>, out: &mut Outputs<W>) {
        match input {
            Input::Propose(proposal) => {
                out.answers.push((proposal.waiter, Err(ApiError::Stopped)));
            }
            Input::ProposeChange(change) => {
                out.answers.push((change.waiter, Err(ApiError::Stopped)));
            }
            Input::Read(waiter) | Input::Matched(waiter) | Input::TransferLeader { waiter, .. } => {
                out.answers.push((waiter, Err(ApiError::Stopped)));
            }
            _ => {}
        }
    }

    /// The raft core, for status, tests and the simulator.
    pub fn raft(&self) -> &Raft<MemoryLog> {
        &self.raft
    }
}

fn is_snapshot(message: &Message) -> bool {
    message.msg_type == MessageType::Snap as i32
}
