//! The applier actor: feeds committed entries to the state machine, publishes the result, answers
//! who waits.
//!
//! A batch is applied in stretches; after each stretch the state is published once and everybody
//! whose write is in it is answered in bulk. Nothing here waits for a disk.
//!
//! Invariants: entries are applied in index order, each once, and only if they are durable in this
//! member's log; a waiter is answered after the publication that holds its write, so whoever reads
//! after an answer sees the write; a read that waits for an index runs on a view that holds it.
//! After a configuration change nothing is applied until the core has said what the configuration
//! is, so that no cut holds a state with the configuration of another.

use crate::duties::Duties;
use crate::incoming::Incoming;
use crate::keeper::{GivenUp, StoreJob};
use crate::lease::Lessor;
use crate::messages::{Asked, Committed, Input};
use crate::pace::{Pace, Pressure};
use crate::progress::{Permit, Progress};
use crate::proposal::Local;
use crate::room::Room;
use crate::space::SpaceNews;
use crate::waiter::{Outcome, Waiter};
use crate::watch::WatchHub;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tenet_base::{Index, LeaseId, Revision, limits};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{AlarmType, InternalRaftRequest};
use tenet_proto::prost::{self, Message as _};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeV2, ConfState, Entry, EntryType,
};
use tenet_state::{Fatal, Response, State};
use tenet_store::{Done, Scrubbed};

/// Entries applied between two publications.
const STRETCH_ENTRIES: usize = 512;
/// Index entries or segments looked at by background work after each stretch.
const MAINTENANCE_BUDGET: usize = 2_000;

/// What the applier reacts to.
#[derive(Debug)]
pub enum ApplyInput<W> {
    /// Requests that were sent to the leader; always before the entries that they become.
    Asked(Vec<Asked<W>>),
    /// Committed entries, following the last ones.
    Committed(Committed<W>),
    /// The state of a snapshot is to be made durable.
    Install(Box<State>),
    /// That snapshot is durable in store and log: its state takes the place of the other.
    Switch(Index),
    /// The configuration after the change that was applied last.
    Configured(ConfState),
    /// Reads that may run once this index is applied.
    Reads(Index, Vec<W>),
    /// Somebody wants to know the keys on a lease.
    LeaseKeys(LeaseId, W),
    /// Somebody wants the hash of everything.
    Hash(W),
    /// Somebody wants a snapshot of the state.
    Export(W),
    /// Somebody wants to know when no background work is left.
    Settle(W),
    /// A job on the files of the store was done.
    Kept(Done),
    /// A job on the files of the store was given up.
    GivenUp(GivenUp),
    /// A piece of the scrub was done.
    Scrubbed(Scrubbed),
    /// There is this much room; comes about every second.
    Space(SpaceNews),
    /// Some time without other work: do background work.
    Idle,
    /// What time it is, on a clock that never goes back; sent about ten times a second.
    Time(u64),
}

/// What the applier wants done.
#[derive(Debug)]
pub struct ApplyOutputs<W> {
    /// For the consensus actor.
    pub inputs: Vec<Input<W>>,
    /// A job for the keeper.
    pub job: Option<StoreJob>,
    /// The revision of an automatic compaction that was proposed, for the log that people read.
    pub compacts: Option<Revision>,
    /// The members of the cluster are others than before, as the published view has them.
    pub members_changed: bool,
    /// This member was removed from the cluster: it has to stop soon.
    pub removed: bool,
    /// The member must stop; the text says why.
    pub fatal: Option<StopReason>,
    /// The consensus actor should hear now what was applied: it may be holding entries back.
    pub urgent: bool,
    /// Whether background work is left, so that [`ApplyInput::Idle`] is worth sending.
    pub work_left: bool,
}

impl<W> Default for ApplyOutputs<W> {
    fn default() -> Self {
        ApplyOutputs {
            inputs: Vec::new(),
            job: None,
            compacts: None,
            members_changed: false,
            removed: false,
            fatal: None,
            urgent: false,
            work_left: false,
        }
    }
}

/// Why an applier cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StopReason {
    /// The state machine cannot go past an entry.
    #[error(transparent)]
    State(#[from] Fatal),
    /// An entry that nobody can read.
    #[error(
        "log entry {index} cannot be decoded ({reason}): the log is damaged, or a program that is \
         no member of this cluster wrote it. Restore this member from a snapshot, or remove it and \
         add it again"
    )]
    Undecodable {
        /// The entry.
        index: Index,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry of a kind that etcd never writes.
    #[error("log entry {index} is of type {entry_type}, which no member of etcd's protocol writes")]
    EntryType {
        /// The entry.
        index: Index,
        /// Its type.
        entry_type: i32,
    },
}

/// When a flush is due: once enough bytes of entries were applied
/// ([`limits::STORE_FLUSH_BYTES`]), or these.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy {
    /// Entries applied since the last one (`--snapshot-count`).
    pub entries: u64,
    /// Bytes of these entries.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Applier<W> {
    state: State,
    progress: Arc<Progress>,
    watches: WatchHub,
    duties: Duties,
    lessor: Arc<Lessor<W>>,
    policy: FlushPolicy,
    applied: Index,
    /// Entries that are not applied yet, with the proposals that made them.
    backlog: VecDeque<(Entry, Option<Local<W>>)>,
    /// A configuration change was applied and the core has not answered yet.
    unconfigured: bool,
    reads: Vec<(Index, Vec<W>)>,
    /// Snapshots on their way to become the state.
    incoming: Incoming,
    answers: Vec<(W, Result<Outcome, ApiError>, Option<Permit>)>,
    /// Who has asked the leader.
    room: Room<W>,
    /// Answered when the core is in the configuration that was applied last.
    changed: Vec<(W, Outcome)>,
    /// Who waited for something to happen to a lease, and is told once it is published.
    lease_news: Vec<W>,
    lease_keys: Vec<(LeaseId, W)>,
    exports: Vec<W>,
    /// Answers for when no background work is left, and when they are given all the same.
    settled: Vec<(W, Outcome, u64)>,
    pace: Pace,
    /// Values were found damaged, and the alarm for it is not raised yet.
    damaged: bool,
    /// A revoke was applied since the last publication.
    revoked: bool,
    /// Where the last flush began.
    flushed: Index,
    /// Bytes of entries applied since then.
    log_bytes: u64,
    /// The same of the flush before: what counts if the last is given up.
    before: (Index, u64),
    /// A job was given up: none is begun before the next news of the room.
    jobs_wait: bool,
    /// Bytes of entries applied since the consensus actor was told urgently.
    untold_bytes: u64,
    failed: bool,
}

impl<W: Waiter> Applier<W> {
    /// An actor over a state recovered at its applied index.
    pub fn new(
        state: State,
        progress: Arc<Progress>,
        watches: WatchHub,
        duties: Duties,
        lessor: Arc<Lessor<W>>,
        policy: FlushPolicy,
        request_ms: u64,
    ) -> Self {
        let applied = state.applied().0;
        progress.set_applied(applied);
        Applier {
            state,
            progress,
            watches,
            duties,
            lessor,
            policy,
            applied,
            backlog: VecDeque::new(),
            unconfigured: false,
            reads: Vec::new(),
            incoming: Incoming::default(),
            answers: Vec::new(),
            room: Room::new(request_ms),
            changed: Vec::new(),
            lease_news: Vec::new(),
            lease_keys: Vec::new(),
            exports: Vec::new(),
            settled: Vec::new(),
            pace: Pace::new(applied.get()),
            damaged: false,
            revoked: false,
            flushed: applied,
            log_bytes: 0,
            before: (applied, 0),
            jobs_wait: false,
            untold_bytes: 0,
            failed: false,
        }
    }

    /// Takes a batch of inputs (leaving it empty) and appends to `out` what they lead to. Waiters
    /// are completed on the way.
    pub fn handle(&mut self, inputs: &mut Vec<ApplyInput<W>>, out: &mut ApplyOutputs<W>) {
        for input in inputs.drain(..) {
            match input {
                ApplyInput::Asked(asked) => asked.into_iter().for_each(|a| self.room.enter(a)),
                ApplyInput::Committed(committed) => self.take(committed),
                ApplyInput::Install(state) => self.incoming.install(state),
                ApplyInput::Switch(index) => self.incoming.switch(index),
                ApplyInput::Configured(state) => self.configured(state),
                ApplyInput::Reads(index, waiters) => self.reads.push((index, waiters)),
                ApplyInput::Hash(waiter) => {
                    waiter.complete(Ok(Outcome::Hash(self.state.hash_job())));
                }
                ApplyInput::Export(waiter) => self.exports.push(waiter),
                ApplyInput::LeaseKeys(id, waiter) => self.lease_keys.push((id, waiter)),
                ApplyInput::Settle(waiter) => self.settle(waiter, Outcome::Settled),
                ApplyInput::Kept(done) => match self.incoming.kept() {
                    Some(state) => state.finished(done),
                    None => self.state.finished(done),
                },
                ApplyInput::GivenUp(why) => self.given_up(&why),
                ApplyInput::Scrubbed(found) => self.scrubbed(&found, out),
                ApplyInput::Space(news) => self.space(news, out),
                ApplyInput::Idle => {}
                ApplyInput::Time(now_ms) => self.time(now_ms, out),
            }
        }
        self.apply_backlog(out);
        if self.failed {
            return;
        }
        if !self.unconfigured
            && let Some(state) = self.incoming.take()
        {
            self.become_state(state, out);
            self.apply_backlog(out);
        }
        self.release_reads();
        self.answer_lease_keys();
        self.export();
        if self.state.compaction_pending() {
            self.state.step_maintenance(MAINTENANCE_BUDGET);
            self.state.publish();
        }
        out.job = self.next_job();
        out.work_left = self.state.compaction_pending();
        self.answer_settled(out.work_left);
        if out.job.is_some() {
            self.set_pace();
        }
    }

    fn configured(&mut self, state: ConfState) {
        self.state.set_conf_state(state);
        self.unconfigured = false;
        for (waiter, outcome) in self.changed.drain(..) {
            waiter.complete(Ok(outcome));
        }
    }

    /// Answers once all room is given back, or as much as there was time and space for.
    fn settle(&mut self, waiter: W, outcome: Outcome) {
        let until_ms = self.pace.now_ms() + limits::DEFRAGMENT_MS;
        self.settled.push((waiter, outcome, until_ms));
        self.state.set_hurry(true);
    }

    fn answer_settled(&mut self, work_left: bool) {
        if self.settled.is_empty() {
            return;
        }
        let done = !(work_left || self.state.store().has_garbage()) || self.jobs_wait;
        let now_ms = self.pace.now_ms();
        let over = |(_, _, until_ms): &mut (W, Outcome, u64)| done || *until_ms <= now_ms;
        for (waiter, outcome, _) in self.settled.extract_if(.., over) {
            waiter.complete(Ok(outcome));
        }
        self.state.set_hurry(self.hurries());
    }

    /// Whether somebody asked for the room that can be given back, or it is short.
    fn hurries(&self) -> bool {
        !self.settled.is_empty() || self.progress.is_space_low()
    }

    fn set_pace(&mut self) {
        let pressure = Pressure {
            files: self.state.store().file_size(),
            flush_waits: self.flush_is_due(),
            hurry: self.hurries(),
        };
        let rate = self.pace.rewrite_bytes_per_second(pressure);
        self.progress.set_rewrite_bytes_per_second(rate);
    }

    /// Gives the state to those who want it, never with the configuration of another.
    fn export(&mut self) {
        if self.unconfigured {
            return;
        }
        for waiter in self.exports.drain(..) {
            let export = Box::new(self.state.export());
            waiter.complete(Ok(Outcome::Export(export)));
        }
    }

    fn time(&mut self, now_ms: u64, out: &mut ApplyOutputs<W>) {
        self.watches.tick(now_ms);
        for late in self.room.time(now_ms) {
            late.waiter.complete(Err(ApiError::Timeout));
        }
        self.pace.tick(now_ms, self.applied.get());
        self.set_pace();
        let revision = self.state.revision();
        let inputs = &mut out.inputs;
        if let Some(at) = self.duties.time(now_ms, revision, &self.progress, inputs) {
            out.compacts = Some(at);
        }
    }

    fn space(&mut self, news: SpaceNews, out: &mut ApplyOutputs<W>) {
        self.jobs_wait = false;
        self.state.set_free_bytes(news.free_bytes);
        self.state.set_hurry(self.hurries());
        if news.low && !self.state.has_alarm(AlarmType::Nospace) {
            self.duties.raise(AlarmType::Nospace, &mut out.inputs);
        }
        self.look_at_damage(out);
    }

    /// Raises the alarm if values were found damaged. Once it is raised, it is for people to say
    /// when it goes.
    fn look_at_damage(&mut self, out: &mut ApplyOutputs<W>) {
        self.damaged |= self.progress.take_damage_seen();
        if self.state.has_alarm(AlarmType::Corrupt) {
            self.damaged = false;
        } else if self.damaged {
            self.duties.raise(AlarmType::Corrupt, &mut out.inputs);
        }
    }

    fn scrubbed(&mut self, found: &Scrubbed, out: &mut ApplyOutputs<W>) {
        if self.state.scrubbed(found) {
            self.damaged = true;
            self.look_at_damage(out);
        }
    }

    fn given_up(&mut self, why: &GivenUp) {
        self.jobs_wait = true;
        if let Some(state) = self.incoming.given_up() {
            return state.given_up();
        }
        self.state.given_up();
        // What a rewrite cannot read is alive: what was released is left out.
        self.damaged |= matches!(why, GivenUp::Unreadable(_));
        let (flushed, log_bytes) = self.before;
        self.flushed = flushed;
        self.log_bytes += log_bytes;
    }

    fn take(&mut self, committed: Committed<W>) {
        let Committed { entries, locals } = committed;
        assert!(
            entries.len() == locals.len(),
            "{} entries came with {} places for local proposals",
            entries.len(),
            locals.len()
        );
        self.backlog.extend(entries.into_iter().zip(locals));
    }

    fn apply_backlog(&mut self, out: &mut ApplyOutputs<W>) {
        let mut unfinished = 0;
        while !self.unconfigured && !self.failed {
            let Some((entry, local)) = self.backlog.pop_front() else {
                break;
            };
            if let Err(reason) = self.apply(&entry, local, out) {
                self.failed = true;
                out.fatal = Some(reason);
                return;
            }
            unfinished += 1;
            if unfinished == STRETCH_ENTRIES {
                self.finish_stretch(out);
                unfinished = 0;
            }
        }
        if unfinished > 0 {
            self.finish_stretch(out);
        }
    }

    fn apply(
        &mut self,
        entry: &Entry,
        local: Option<Local<W>>,
        out: &mut ApplyOutputs<W>,
    ) -> Result<(), StopReason> {
        let (index, term) = (entry.index(), entry.term());
        assert!(
            index == self.applied.next(),
            "entry {index} would be applied after {}: an entry was skipped or repeated",
            self.applied
        );
        assert!(
            index <= self.progress.durable(),
            "entry {index} would be applied, but the log is durable only up to {}",
            self.progress.durable()
        );
        self.log_bytes += entry.data.len() as u64;
        self.untold_bytes += entry.data.len() as u64;
        match EntryType::try_from(entry.entry_type) {
            Ok(EntryType::Normal) if entry.data.is_empty() => {
                self.state.apply_empty(index, term);
                // Of several members, the lowest version counts, which others have to be asked for.
                let decides =
                    self.state.cluster_version().is_none() && self.state.member_count() == 1;
                self.duties
                    .term_began(decides, &self.progress, &mut out.inputs);
                self.lessor.term_began(term, &mut self.lease_news);
            }
            Ok(EntryType::Normal) => self.apply_request(entry, local, out)?,
            Ok(EntryType::ConfChange) => self.apply_conf_change(entry, out)?,
            Ok(EntryType::ConfChangeV2) | Err(_) => {
                return Err(StopReason::EntryType {
                    index,
                    entry_type: entry.entry_type,
                });
            }
        }
        self.applied = index;
        Ok(())
    }

    fn apply_request(
        &mut self,
        entry: &Entry,
        local: Option<Local<W>>,
        out: &mut ApplyOutputs<W>,
    ) -> Result<(), StopReason> {
        let (index, term) = (entry.index(), entry.term());
        let (request, asks) = match local {
            Some(local) => {
                debug_assert_eq!(
                    InternalRaftRequest::decode(entry.data.clone()).as_ref(),
                    Ok(&*local.request),
                    "the proposal kept for entry {index} is not the entry"
                );
                (local.request, Some((local.waiter, Some(local.permit))))
            }
            None => {
                let request = Box::new(decode::<InternalRaftRequest>(entry)?);
                let id = request.header.as_ref().map_or(0, |header| header.id);
                let guest = self.room.leave(id);
                (request, guest.map(|guest| (guest.waiter, guest.permit)))
            }
        };
        let request = &*request;
        let applied = match &asks {
            Some(_) => self.state.apply(index, term, request)?,
            None => self.state.apply_unasked(index, term, request)?,
        };
        self.duties
            .applied(request, &applied, &self.progress, &mut out.inputs);
        self.damaged |= applied.damaged.is_some();
        self.tell_lessor(request, &applied.result);
        let physical = request
            .compaction
            .as_ref()
            .is_some_and(|compaction| compaction.physical);
        if let Some((waiter, permit)) = asks {
            self.answer(waiter, permit, physical, applied.result);
        }
        Ok(())
    }

    fn tell_lessor(&mut self, request: &InternalRaftRequest, result: &Result<Response, ApiError>) {
        let news = &mut self.lease_news;
        match result {
            Ok(Response::LeaseGrant(grant)) => self.lessor.granted(LeaseId(grant.id), grant.ttl),
            Ok(Response::LeaseRevoke(_)) => {
                let id = request.lease_revoke.as_ref().map_or(0, |revoke| revoke.id);
                self.lessor.revoked(LeaseId(id), news);
                self.revoked = true;
            }
            Ok(Response::LeaseCheckpoint(_)) => {
                if let Some(checkpoint) = &request.lease_checkpoint {
                    self.lessor.checkpointed(checkpoint, news);
                }
            }
            // What goes over the quota is granted all the same.
            Err(ApiError::NoSpace) => {
                if let Some(grant) = &request.lease_grant
                    && let Some(lease) = self.state.lease(LeaseId(grant.id))
                    && !self.lessor.knows(LeaseId(grant.id))
                {
                    self.lessor.granted(LeaseId(grant.id), lease.ttl_s);
                }
            }
            _ => {}
        }
    }

    /// Keeps an answer until the write is published. A physical compaction is answered only when
    /// the space of what it took out has been given back here.
    fn answer(
        &mut self,
        waiter: W,
        permit: Option<Permit>,
        physical: bool,
        result: Result<Response, ApiError>,
    ) {
        match result {
            Ok(response) if physical => self.settle(waiter, Outcome::Applied(response)),
            result => self
                .answers
                .push((waiter, result.map(Outcome::Applied), permit)),
        }
    }

    fn apply_conf_change(
        &mut self,
        entry: &Entry,
        out: &mut ApplyOutputs<W>,
    ) -> Result<(), StopReason> {
        let (index, term) = (entry.index(), entry.term());
        let change = decode::<ConfChange>(entry)?;
        let outcome = self.state.apply_conf_change(index, term, &change)?;
        let guest = self.room.leave(change.id);
        out.removed |= outcome.removes_self;
        match outcome.result {
            Ok(members) => {
                out.members_changed = true;
                let answer = guest.map(|guest| (guest.waiter, Outcome::Members(members)));
                self.changed.extend(answer);
            }
            Err(error) => {
                let answer = guest.map(|guest| (guest.waiter, Err(error), guest.permit));
                self.answers.extend(answer);
            }
        }
        // A change that was refused is nothing to the core.
        if outcome.change.node_id != 0 {
            self.unconfigured = true;
            out.inputs
                .push(Input::ConfChanged(simple_change(&outcome.change)));
        }
        Ok(())
    }

    /// Publishes, then answers: the order is the promise.
    fn finish_stretch(&mut self, out: &mut ApplyOutputs<W>) {
        self.state.publish();
        // Before the answers: whoever has one may ask how far watches are. And before maintenance,
        // which may drop what a compaction in this stretch supersedes.
        self.watches.route(&self.state.views().load().kv);
        self.progress.set_applied(self.applied);
        for (waiter, result, permit) in self.answers.drain(..) {
            waiter.complete(result);
            drop(permit);
        }
        self.release_reads();
        self.tell_lease_news();
        out.inputs.push(Input::Applied(self.applied));
        if std::mem::take(&mut self.revoked)
            && let Some(batch) = self.lessor.batch()
        {
            out.inputs.push(batch);
        }
        if self.untold_bytes >= limits::APPLY_BYTES_MAX / 4 {
            self.untold_bytes = 0;
            out.urgent = true;
        }
    }

    fn release_reads(&mut self) {
        let applied = self.applied;
        for (_, waiters) in self.reads.extract_if(.., |(index, _)| *index <= applied) {
            for waiter in waiters {
                waiter.complete(Ok(Outcome::ReadReady));
            }
        }
    }

    fn tell_lease_news(&mut self) {
        self.lessor.published(self.applied, &mut self.lease_news);
        for waiter in self.lease_news.drain(..) {
            waiter.complete(Ok(Outcome::Retry));
        }
    }

    fn answer_lease_keys(&mut self) {
        for (id, waiter) in self.lease_keys.drain(..) {
            let lease = self.state.lease(id);
            let keys = lease.map(|lease| lease.keys.iter().cloned().collect());
            waiter.complete(Ok(Outcome::LeaseKeys(keys)));
        }
    }

    /// Takes the state of a snapshot in place of this one. What waits for entries that it covers
    /// will never see them, and is told that nobody knows.
    fn become_state(&mut self, mut state: Box<State>, out: &mut ApplyOutputs<W>) {
        let index = state.applied().0;
        assert!(
            index > self.applied && index <= self.progress.durable(),
            "a snapshot of entry {index} cannot follow entry {}, with a log durable up to {}",
            self.applied,
            self.progress.durable()
        );
        state.take_readers(&self.state);
        self.state = *state;
        (self.applied, self.flushed, self.log_bytes) = (index, index, 0);
        self.before = (index, 0);
        // They ascend.
        let covered = self
            .backlog
            .partition_point(|(entry, _)| entry.index() <= index);
        for local in self.backlog.drain(..covered).filter_map(|(_, local)| local) {
            local.waiter.complete(Err(ApiError::TimeoutDueToLeaderFail));
        }
        self.watches.jump(&self.state.views().load().kv);
        let leases = self.state.leases();
        self.lessor
            .replace(leases.map(|(id, lease)| (id, lease.ttl_s, lease.remaining_s)));
        self.progress.set_applied(index);
        out.members_changed = true;
        out.inputs.push(Input::Installed(index));
    }

    /// What the keeper should do now, if it is free.
    fn next_job(&mut self) -> Option<StoreJob> {
        if self.state.store().is_busy() || self.unconfigured || self.jobs_wait {
            return None;
        }
        if self.incoming.is_under_way() {
            return self.incoming.next_job(&self.state);
        }
        if self.flush_is_due() {
            let with_index = self.state.wants_index();
            return Some(self.flush(with_index));
        }
        self.before = (self.flushed, 0);
        StoreJob::rewrite(&mut self.state).or_else(|| self.next_scrub())
    }

    fn next_scrub(&mut self) -> Option<StoreJob> {
        if !self.pace.scrub_is_due() || !self.state.store().has_durable() {
            return None;
        }
        let step = StoreJob::scrub(&mut self.state);
        self.pace.scrub_begun(step.is_none());
        step
    }

    /// The small tables are written whole with each flush, so what is written for them stays in
    /// proportion to the log. An index that rewriting waits for is worth a flush of its own.
    fn flush_is_due(&self) -> bool {
        let entries = self.applied.get() - self.flushed.get();
        let tables = self.state.tables_bytes();
        let store = self.state.store();
        let waited_for = store.wants_new_sides()
            || ((store.wants_index() || store.wants_flush()) && !self.state.compaction_pending());
        self.log_bytes >= limits::STORE_FLUSH_BYTES.max(2 * tables)
            || (entries >= self.policy.entries && self.log_bytes >= self.policy.bytes.max(tables))
            || waited_for
    }

    fn flush(&mut self, with_index: bool) -> StoreJob {
        self.before = (self.flushed, self.log_bytes);
        self.flushed = self.applied;
        self.log_bytes = 0;
        StoreJob::flush(&mut self.state, with_index)
    }

    /// A last flush before the process ends, so that the next start has little to do; `None` if
    /// there is nothing to flush or the keeper is at work.
    pub fn last_flush(&mut self) -> Option<StoreJob> {
        let idle = !self.state.store().is_busy()
            && !self.unconfigured
            && !self.failed
            && !self.jobs_wait
            && !self.incoming.is_under_way();
        let changed = self.applied > self.flushed;
        let behind = self.state.store().appended_since_index();
        let with_index = behind >= limits::STORE_RECORDS_BEHIND_INDEX_MIN / 10;
        (idle && changed).then(|| self.flush(with_index))
    }

    /// The state machine, for tests and the simulator.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn decode<M: prost::Message + Default>(entry: &Entry) -> Result<M, StopReason> {
    M::decode(entry.data.clone()).map_err(|error| StopReason::Undecodable {
        index: entry.index(),
        reason: error.to_string(),
    })
}

/// etcd only uses changes of one member; the core takes the general form.
fn simple_change(change: &ConfChange) -> ConfChangeV2 {
    ConfChangeV2 {
        transition: 0,
        changes: vec![ConfChangeSingle {
            change_type: change.change_type,
            node_id: change.node_id,
        }],
        context: Bytes::new(),
    }
}
