//! The lessor: deadlines of leases on the leading member.
//!
//! Only the leader ends leases, and only by a committed revoke. It counts time from when it has
//! applied the first entry of its term, so nobody's lease gets shorter by an election or a
//! restart: what is left then is what the last checkpoint says, or all of it. Renewals are not in
//! the log. They are answered on the caller's thread, which may be any; everything else is driven
//! by messages: the passing of time by whoever drives the consensus actor, applied entries by the
//! applier.
//!
//! Revokes go into the log in bounded batches. The next follows as soon as one is applied, so a
//! storm is over as fast as the log takes it, while a put waits behind one batch at most.
//!
//! Invariants: a lease is proposed for revocation only after its deadline, by a member that leads
//! and that has not renewed it since; a renewal that was answered holds through a restart (see
//! [`Mark`]); time never goes back.

use super::table::{Mark, Phase, Table, Timed};
use super::waits::{Cause, Waits};
use crate::identity::RequestIds;
use crate::messages::Input;
use crate::progress::Progress;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenet_base::counters::{Counter, Histogram};
use tenet_base::{Index, LeaseId, MemberId, Term, limits};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    InternalRaftRequest, LeaseCheckpoint, LeaseCheckpointRequest, LeaseRevokeRequest,
};
use tenet_proto::prost::Message as _;

/// After so long without being told the time, leadership is confirmed before a renewal.
const UNSURE_TICKS: u64 = 3;
/// A revoke that is not applied by then is proposed again (etcd: 3 s).
const REVOKE_RETRY_MS: u64 = 3_000;
/// How long a renewal waits for entries that are committed and not yet applied (etcd: 1 s).
const APPLIED_WAIT_MS: u64 = 1_000;
/// Longest time between two checkpoints of a lease that is not renewed (etcd's only one: 5 min).
const CHECKPOINT_INTERVAL_MS: u64 = 300_000;
/// Shortest such time.
const CHECKPOINT_INTERVAL_MS_MIN: u64 = 1_000;

/// Bounds of the histogram of granted times to live, in seconds: powers of two, as in etcd.
const TTL_SECONDS: &[f64] = &[
    1.0,
    2.0,
    4.0,
    8.0,
    16.0,
    32.0,
    64.0,
    128.0,
    256.0,
    512.0,
    1024.0,
    2048.0,
    4096.0,
    8192.0,
    16384.0,
    32768.0,
    65536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
];

/// What flags say about leases.
#[derive(Clone, Copy, Debug)]
pub struct LeaseOptions {
    /// Length of a tick.
    pub tick_ms: u64,
    /// What every lease gets on top when a term begins: one election timeout.
    pub extension_ms: u64,
    /// How long a renewal waits for a leader or for a lease to end.
    pub request_ms: u64,
    /// Write down what is left of leases, so that it survives restarts.
    pub checkpoints: bool,
    /// Renew a known lease without waiting for all committed entries to be applied.
    pub fast_keep_alive: bool,
}

/// What happened to leases, for metrics.
#[derive(Debug)]
pub struct LeaseCounts {
    /// Leases granted here.
    pub granted: Counter,
    /// Leases revoked here, for whatever reason.
    pub revoked: Counter,
    /// Renewals.
    pub renewed: Counter,
    /// Leases whose time was over.
    pub expired: Counter,
    /// Granted times to live, in seconds.
    pub ttl_s: Histogram,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has its whole time again: so many seconds.
    Renewed(i64),
    /// There is no such lease.
    NotFound,
    /// The waiter is kept; once it is completed, it is time to try again. If `urgent`,
    /// [`Lessor::batch`] has something to propose that the waiter waits for.
    Waits {
        #[allow(missing_docs)]
        urgent: bool,
    },
    /// Time has not passed here for long: ask for a read index, then try again with `confirmed`.
    Unsure,
    /// Too many wait already.
    Refused(ApiError),
}

/// What is left of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Remaining {
    Found { remaining_s: i64, granted_s: i64 },
    NotFound,
    Waits,
    Refused(ApiError),
}

/// See the module. Shared by all threads.
#[derive(Debug)]
pub struct Lessor<W> {
    member: MemberId,
    options: LeaseOptions,
    progress: Arc<Progress>,
    ids: Arc<RequestIds>,
    counts: LeaseCounts,
    inner: Mutex<Inner<W>>,
}

#[derive(Debug)]
struct Inner<W> {
    table: Table,
    waits: Waits<W>,
    /// The last time told.
    now_ms: u64,
    /// The term in which this member leads and has applied its first entry.
    led: Option<Term>,
    /// A term has begun, and deadlines do not count from it yet.
    begins: bool,
    fresh: Vec<LeaseId>,
    due: VecDeque<LeaseId>,
    /// Proposed revokes, oldest first; those that are applied leave late.
    proposed: VecDeque<(LeaseId, u64)>,
    /// How many of them are not applied.
    proposed_count: usize,
    checkpoints: Vec<LeaseCheckpoint>,
    resets: Vec<LeaseCheckpoint>,
}

impl<W> Lessor<W> {
    /// A lessor over the leases that the state machine starts with: id, time to live and what a
    /// checkpoint left of it.
    pub fn new(
        member: MemberId,
        options: LeaseOptions,
        progress: Arc<Progress>,
        ids: Arc<RequestIds>,
        leases: impl IntoIterator<Item = (LeaseId, i64, i64)>,
    ) -> Self {
        let mut table = Table::new(0);
        for (id, ttl_s, remaining_s) in leases {
            table.insert(Timed {
                remaining_s,
                ..new_lease(id, ttl_s, 0)
            });
        }
        Lessor {
            member,
            options,
            progress,
            ids,
            counts: LeaseCounts {
                granted: Counter::new(),
                revoked: Counter::new(),
                renewed: Counter::new(),
                expired: Counter::new(),
                ttl_s: Histogram::new(TTL_SECONDS),
            },
            inner: Mutex::new(Inner {
                table,
                waits: Waits::new(),
                now_ms: 0,
                led: None,
                begins: false,
                fresh: Vec::new(),
                due: VecDeque::new(),
                proposed: VecDeque::new(),
                proposed_count: 0,
                checkpoints: Vec::new(),
                resets: Vec::new(),
            }),
        }
    }

    /// The state machine has become that of a snapshot, with these leases. This member does not
    /// lead, so nothing is under way for any of them.
    pub(crate) fn replace(&self, leases: impl IntoIterator<Item = (LeaseId, i64, i64)>) {
        let mut inner = self.lock();
        let mut table = Table::new(inner.now_ms);
        for (id, ttl_s, remaining_s) in leases {
            table.insert(Timed {
                remaining_s,
                ..new_lease(id, ttl_s, 0)
            });
        }
        inner.table = table;
        inner.led = None;
        inner.begins = false;
        inner.fresh.clear();
        inner.due.clear();
        inner.proposed.clear();
        inner.proposed_count = 0;
        inner.checkpoints.clear();
        inner.resets.clear();
    }

    /// What happened to leases.
    pub fn counts(&self) -> &LeaseCounts {
        &self.counts
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// Whether there are no leases.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner<W>> {
        // A holder that panicked ends the process.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term that this member leads, if it does and its leases are known to be complete.
    fn led(&self, inner: &Inner<W>) -> Option<Term> {
        let leads = self.progress.leader() == Some(self.member);
        inner
            .led
            .filter(|term| leads && *term == self.progress.term())
    }

    // What clients ask, on their threads.

    /// Gives a lease its whole time again, from `now_ms` on. `waiter` is made only to be kept.
    /// `caught_up` says that a wait for applied entries is over, `confirmed` that leadership was
    /// confirmed after [`Renewal::Unsure`].
    pub fn renew(
        &self,
        id: LeaseId,
        now_ms: u64,
        caught_up: bool,
        confirmed: bool,
        waiter: impl FnOnce() -> W,
    ) -> Renewal {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if self.led(inner).is_none() {
            return self.renewal_waits(inner, Cause::Leader, now_ms, waiter);
        }
        if !confirmed && now_ms > inner.now_ms + UNSURE_TICKS * self.options.tick_ms {
            return Renewal::Unsure;
        }
        let known = inner.table.get(id).is_some();
        if !(caught_up || known && self.options.fast_keep_alive)
            && let Some(behind) = self.behind()
        {
            return self.renewal_waits(inner, behind, now_ms, waiter);
        }
        let Some(lease) = inner.table.get_mut(id) else {
            return Renewal::NotFound;
        };
        let runs = match lease.phase {
            Phase::Fresh => true,
            Phase::Running => now_ms < lease.deadline_ms,
            Phase::Due | Phase::Proposed { .. } => false,
        };
        if !runs {
            // It is as good as gone, but so it is only once its revoke is applied.
            return self.renewal_waits(inner, Cause::Lease(id), now_ms, waiter);
        }
        lease.renew(now_ms);
        let fresh = lease.phase == Phase::Fresh;
        lease.phase = Phase::Running;
        let (ttl_s, wake_ms) = (lease.ttl_s, lease.wake_ms(self.options.checkpoints));
        let mark = lease.mark;
        if mark == Mark::Marked {
            lease.mark = Mark::Resetting;
            inner.resets.push(LeaseCheckpoint {
                id: id.get(),
                remaining_ttl: 0,
            });
        }
        // A later deadline is noticed when the earlier one has passed; this one is the first.
        if fresh {
            inner.table.wake_at(id, wake_ms);
        }
        if mark != Mark::Clean {
            return self.renewal_waits(inner, Cause::Lease(id), now_ms, waiter);
        }
        self.counts.renewed.add(1);
        Renewal::Renewed(ttl_s)
    }

    fn renewal_waits(
        &self,
        inner: &mut Inner<W>,
        cause: Cause,
        now_ms: u64,
        waiter: impl FnOnce() -> W,
    ) -> Renewal {
        match self.wait(inner, cause, now_ms, waiter) {
            Ok(()) => Renewal::Waits {
                urgent: !inner.resets.is_empty(),
            },
            Err(error) => Renewal::Refused(error),
        }
    }

    fn wait(
        &self,
        inner: &mut Inner<W>,
        cause: Cause,
        now_ms: u64,
        waiter: impl FnOnce() -> W,
    ) -> Result<(), ApiError> {
        if inner.waits.is_full() {
            return Err(ApiError::RequestTooManyRequests);
        }
        let patience_ms = match cause {
            Cause::Applied(_) => APPLIED_WAIT_MS,
            Cause::Lease(_) | Cause::Leader => self.options.request_ms,
        };
        inner.waits.push(cause, waiter(), now_ms + patience_ms);
        Ok(())
    }

    /// What to wait for if committed entries are not applied yet.
    fn behind(&self) -> Option<Cause> {
        let committed = self.progress.committed();
        (self.progress.applied() < committed).then_some(Cause::Applied(committed))
    }

    /// What is left of a lease, which only the leader knows.
    pub fn remaining(
        &self,
        id: LeaseId,
        now_ms: u64,
        caught_up: bool,
        waiter: impl FnOnce() -> W,
    ) -> Remaining {
        let mut inner = self.lock();
        let cause = match self.led(&inner) {
            None => Some(Cause::Leader),
            Some(_) if caught_up => None,
            Some(_) => self.behind(),
        };
        if let Some(cause) = cause {
            return match self.wait(&mut inner, cause, now_ms, waiter) {
                Ok(()) => Remaining::Waits,
                Err(error) => Remaining::Refused(error),
            };
        }
        match inner.table.get(id) {
            None => Remaining::NotFound,
            Some(lease) => Remaining::Found {
                remaining_s: lease.remaining_floor_s(now_ms),
                granted_s: lease.ttl_s,
            },
        }
    }

    /// All leases, the one that ends first first.
    pub fn by_deadline(&self) -> Vec<LeaseId> {
        let mut all: Vec<_> = {
            let inner = self.lock();
            let leases = inner.table.iter();
            leases.map(|lease| (lease.deadline_ms, lease.id)).collect()
        };
        all.sort_unstable();
        all.into_iter().map(|(_, id)| id).collect()
    }

    // What the applier tells.

    /// The first entry of a term is applied. If this member leads it, its leases count from the
    /// next time that it is told.
    pub(crate) fn term_began(&self, term: Term, news: &mut Vec<W>) {
        let leads = self.progress.leader() == Some(self.member) && self.progress.term() == term;
        let mut inner = self.lock();
        inner.step_down(news);
        if leads {
            inner.led = Some(term);
            inner.begins = true;
            inner.waits.take_leader(news);
        }
    }

    /// A grant was applied.
    pub(crate) fn granted(&self, id: LeaseId, ttl_s: i64) {
        self.counts.granted.add(1);
        self.counts.ttl_s.record(ttl_s as f64);
        let mut inner = self.lock();
        let lease = new_lease(id, ttl_s, inner.now_ms);
        inner.table.insert(lease);
        // Where no clocks run, all start together.
        if inner.led.is_some() {
            inner.fresh.push(id);
        }
    }

    pub(crate) fn knows(&self, id: LeaseId) -> bool {
        self.lock().table.get(id).is_some()
    }

    /// A revoke was applied. Whoever waited for the lease is added to `news`.
    pub(crate) fn revoked(&self, id: LeaseId, news: &mut Vec<W>) {
        let mut inner = self.lock();
        let Some(lease) = inner.table.remove(id) else {
            return;
        };
        self.counts.revoked.add(1);
        if matches!(lease.phase, Phase::Proposed { .. }) {
            inner.proposed_count -= 1;
        }
        inner.waits.take_lease(id, news);
    }

    /// A checkpoint was applied.
    pub(crate) fn checkpointed(&self, request: &LeaseCheckpointRequest, news: &mut Vec<W>) {
        let mut inner = self.lock();
        for checkpoint in &request.checkpoints {
            let id = LeaseId(checkpoint.id);
            let Some(lease) = inner.table.get_mut(id) else {
                continue;
            };
            lease.remaining_s = checkpoint.remaining_ttl;
            match (checkpoint.remaining_ttl, lease.mark) {
                (0, Mark::Resetting) => {
                    lease.mark = Mark::Clean;
                    inner.waits.take_lease(id, news);
                }
                (0, _) | (_, Mark::Resetting) => {}
                (_, Mark::Clean | Mark::Marked) => lease.mark = Mark::Marked,
            }
        }
    }

    /// Everything up to `applied` is applied and published.
    pub(crate) fn published(&self, applied: Index, news: &mut Vec<W>) {
        self.lock().waits.take_applied(applied, news);
    }

    // What time brings.

    /// It is `now_ms`. Gives what is to be proposed, and whoever has waited too long.
    pub fn advance(&self, now_ms: u64) -> (Option<Input<W>>, Vec<(W, ApiError)>) {
        let mut inner = self.lock();
        assert!(
            now_ms >= inner.now_ms,
            "the time of leases went back from {} ms to {now_ms} ms: the clock is not monotonic",
            inner.now_ms
        );
        inner.now_ms = now_ms;
        let (expired, leases) = inner.waits.take_expired(now_ms);
        for id in leases {
            // Its checkpoint may have been lost on the way: the next renewal asks for another.
            if let Some(lease) = inner.table.get_mut(id)
                && lease.mark == Mark::Resetting
            {
                lease.mark = Mark::Marked;
            }
        }
        if self.led(&inner).is_none() {
            return (None, expired);
        }
        inner.start_clocks(&self.options);
        let woken = inner.table.woken(now_ms);
        for id in woken {
            self.look_at(id, &mut inner);
        }
        inner.retry_revokes();
        (self.take_batch(&mut inner), expired)
    }

    /// The member stops: gives everybody who waits.
    pub fn stop(&self) -> Vec<W> {
        let mut inner = self.lock();
        let mut all = Vec::new();
        inner.waits.take_leader(&mut all);
        inner.waits.take_leases(&mut all);
        inner.waits.take_applied(Index(u64::MAX), &mut all);
        all
    }

    /// More to propose, if there is any and the last batch is through.
    pub fn batch(&self) -> Option<Input<W>> {
        self.take_batch(&mut self.lock())
    }

    /// A lease was woken: its deadline has passed, or a checkpoint is due, or neither since it was
    /// renewed.
    fn look_at(&self, id: LeaseId, inner: &mut Inner<W>) {
        let now_ms = inner.now_ms;
        let full = inner.checkpoints.len() >= limits::LEASE_CHECKPOINTS_PER_TICK_MAX;
        let Some(lease) = inner.table.get_mut(id) else {
            return;
        };
        if lease.phase != Phase::Running {
            return;
        }
        if lease.deadline_ms <= now_ms {
            lease.phase = Phase::Due;
            inner.due.push_back(id);
            self.counts.expired.add(1);
            return;
        }
        let due = self.options.checkpoints && lease.checkpoint_ms <= now_ms;
        if due && (lease.mark == Mark::Resetting || full) {
            lease.checkpoint_ms = now_ms + CHECKPOINT_INTERVAL_MS_MIN;
        } else if due {
            lease.mark = Mark::Marked;
            lease.checkpoint_ms = now_ms + lease.checkpoint_step_ms();
            // Rounded up: a restart must not make it shorter.
            let left_s = (lease.deadline_ms - now_ms).div_ceil(1_000) as i64;
            let remaining_ttl = left_s.min(lease.ttl_s);
            inner.checkpoints.push(LeaseCheckpoint {
                id: id.get(),
                remaining_ttl,
            });
        }
        let wake_ms = lease.wake_ms(self.options.checkpoints);
        inner.table.wake_at(id, wake_ms);
    }

    fn take_batch(&self, inner: &mut Inner<W>) -> Option<Input<W>> {
        let term = self.led(inner)?;
        let mut data = Vec::new();
        // What takes a checkpoint back comes after it.
        for list in [&mut inner.checkpoints, &mut inner.resets] {
            for part in list.chunks(limits::LEASE_CHECKPOINTS_PER_ENTRY_MAX) {
                let checkpoints = part.to_vec();
                data.push(self.encode(InternalRaftRequest {
                    lease_checkpoint: Some(Box::new(LeaseCheckpointRequest { checkpoints })),
                    ..InternalRaftRequest::default()
                }));
            }
            list.clear();
        }
        // Small batches in a row would cost more than they gain.
        if inner.proposed_count <= limits::LEASE_REVOKES_IN_FLIGHT_MAX / 2 {
            while inner.proposed_count < limits::LEASE_REVOKES_IN_FLIGHT_MAX
                && let Some(id) = inner.next_due()
            {
                data.push(self.encode(InternalRaftRequest {
                    lease_revoke: Some(Box::new(LeaseRevokeRequest { id: id.get() })),
                    ..InternalRaftRequest::default()
                }));
            }
        }
        (!data.is_empty()).then_some(Input::ProposeInTerm { term, data })
    }

    fn encode(&self, mut request: InternalRaftRequest) -> Bytes {
        request.header = Some(self.ids.header());
        request.encode_to_vec().into()
    }
}

impl<W> Inner<W> {
    /// The next lease to be revoked, noted as proposed.
    fn next_due(&mut self) -> Option<LeaseId> {
        let now_ms = self.now_ms;
        loop {
            let id = self.due.pop_front()?;
            // A client may have revoked it meanwhile, and granted it again.
            if let Some(lease) = self.table.get_mut(id)
                && lease.phase == Phase::Due
            {
                lease.phase = Phase::Proposed { at_ms: now_ms };
                self.proposed.push_back((id, now_ms));
                self.proposed_count += 1;
                return Some(id);
            }
        }
    }

    /// Revokes that were proposed long ago and are not applied are due again: the proposal may
    /// have been lost, or an alarm stands against it.
    fn retry_revokes(&mut self) {
        while let Some(&(id, at_ms)) = self.proposed.front() {
            let waits = self
                .table
                .get_mut(id)
                .filter(|lease| lease.phase == Phase::Proposed { at_ms });
            match waits {
                Some(_) if self.now_ms < at_ms + REVOKE_RETRY_MS => return,
                Some(lease) => {
                    lease.phase = Phase::Due;
                    self.due.push_back(id);
                    self.proposed_count -= 1;
                }
                None => {}
            }
            self.proposed.pop_front();
        }
    }

    /// Gives deadlines to all leases if a term has begun, else to those granted since.
    fn start_clocks(&mut self, options: &LeaseOptions) {
        let fresh = std::mem::take(&mut self.fresh);
        let begins = std::mem::take(&mut self.begins);
        let (ids, extension_ms) = if begins {
            (self.table.ids(), options.extension_ms)
        } else {
            (fresh, 0)
        };
        let now_ms = self.now_ms;
        for id in ids {
            let Some(lease) = self.table.get_mut(id) else {
                continue;
            };
            if lease.phase != Phase::Fresh {
                continue;
            }
            lease.start(now_ms + extension_ms, begins);
            let wake_ms = lease.wake_ms(options.checkpoints);
            self.table.wake_at(id, wake_ms);
        }
    }

    /// Forgets what only the leader of a term may know.
    fn step_down(&mut self, news: &mut Vec<W>) {
        self.led = None;
        self.begins = false;
        self.fresh.clear();
        self.due.clear();
        self.proposed.clear();
        self.proposed_count = 0;
        self.checkpoints.clear();
        self.resets.clear();
        for id in self.table.ids() {
            if let Some(lease) = self.table.get_mut(id) {
                lease.phase = Phase::Fresh;
                lease.mark = match lease.remaining_s {
                    0 => Mark::Clean,
                    _ => Mark::Marked,
                };
            }
        }
        self.waits.take_leases(news);
    }
}

fn new_lease(id: LeaseId, ttl_s: i64, now_ms: u64) -> Timed {
    Timed {
        id,
        ttl_s,
        remaining_s: 0,
        deadline_ms: now_ms + millis(ttl_s),
        checkpoint_ms: u64::MAX,
        phase: Phase::Fresh,
        mark: Mark::Clean,
    }
}

impl Timed {
    fn renew(&mut self, now_ms: u64) {
        self.deadline_ms = now_ms + millis(self.ttl_s);
        self.checkpoint_ms = now_ms + self.checkpoint_first_ms();
    }

    /// What is left begins to pass at `now_ms`. `again` after an election or a restart: what has
    /// passed since the last checkpoint was forgotten then, so the next comes early.
    fn start(&mut self, now_ms: u64, again: bool) {
        let left_s = match self.remaining_s {
            0 => self.ttl_s,
            left => left,
        };
        self.deadline_ms = now_ms + millis(left_s);
        self.checkpoint_ms = now_ms
            + if again {
                self.checkpoint_step_ms()
            } else {
                self.checkpoint_first_ms()
            };
        self.phase = Phase::Running;
    }

    /// When something is due next.
    fn wake_ms(&self, checkpoints: bool) -> u64 {
        if checkpoints {
            self.deadline_ms.min(self.checkpoint_ms)
        } else {
            self.deadline_ms
        }
    }

    /// A lease that is kept alive is renewed every third of its time, and never gets here.
    fn checkpoint_first_ms(&self) -> u64 {
        (millis(self.ttl_s) / 2).clamp(CHECKPOINT_INTERVAL_MS_MIN, CHECKPOINT_INTERVAL_MS)
    }

    fn checkpoint_step_ms(&self) -> u64 {
        (millis(self.ttl_s) / 8).clamp(CHECKPOINT_INTERVAL_MS_MIN, CHECKPOINT_INTERVAL_MS)
    }

    /// Whole seconds that are left, cut towards zero. Where nothing has passed yet a moment has:
    /// a clock of milliseconds does not see it.
    fn remaining_floor_s(&self, now_ms: u64) -> i64 {
        if self.phase == Phase::Fresh {
            let left_s = if self.remaining_s > 0 {
                self.remaining_s
            } else {
                self.ttl_s
            };
            return left_s - 1;
        }
        let left_ms = self.deadline_ms as i64 - now_ms as i64;
        (left_ms - i64::from(left_ms > 0)) / 1_000
    }
}

/// Granted times are between one second and [`limits::LEASE_TTL_SECONDS_MAX`].
fn millis(seconds: i64) -> u64 {
    seconds.max(0) as u64 * 1_000
}

#[cfg(test)]
#[path = "lessor_tests.rs"]
mod tests;
