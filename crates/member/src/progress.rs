//! The few numbers of a running member that every thread may read at once: who leads, what is
//! committed, durable and applied, and how much is in flight.
//!
//! Written by one actor each, read by all. They are for admission, headers, status and metrics,
//! and for two assertions; the protocol itself never reads them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tenet_base::{Index, MemberId, Term, limits};
use tenet_proto::ApiError;

/// See the module. Shared by `Arc`.
#[derive(Debug, Default)]
pub struct Progress {
    term: AtomicU64,
    leader: AtomicU64,
    committed: AtomicU64,
    durable: AtomicU64,
    applied: AtomicU64,
    /// This member is the only voter, leads, and has published an entry of its own term: what it
    /// has published holds every acknowledged write.
    alone: AtomicBool,
    is_learner: AtomicBool,
    published: AtomicBool,
    /// Appends to the log wait for space on the disk.
    log_waiting: AtomicBool,
    /// The file system has little space left.
    space_low: AtomicBool,
    /// A reader has met a value that cannot be read, and the applier has not heard of it.
    damage_seen: AtomicBool,
    /// Bytes per second that a rewrite may move.
    rewrite_rate: AtomicU64,
    leader_changes: AtomicU64,
    proposals: AtomicUsize,
    proposal_bytes: AtomicUsize,
}

impl Progress {
    /// The current term.
    pub fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// Who leads, if anybody is known to.
    pub fn leader(&self) -> Option<MemberId> {
        match self.leader.load(Ordering::Acquire) {
            0 => None,
            id => Some(MemberId(id)),
        }
    }

    /// The highest index known to be committed.
    pub fn committed(&self) -> Index {
        Index(self.committed.load(Ordering::Acquire))
    }

    /// The highest index that is durable in this member's log.
    pub fn durable(&self) -> Index {
        Index(self.durable.load(Ordering::Acquire))
    }

    /// The highest index that this member has applied and published.
    pub fn applied(&self) -> Index {
        Index(self.applied.load(Ordering::Acquire))
    }

    /// Whether a read of the newest published view is linearizable without asking anybody.
    pub fn reads_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// Whether this member is a learner.
    pub fn is_learner(&self) -> bool {
        self.is_learner.load(Ordering::Acquire)
    }

    /// Whether this member has published its attributes ("ready to serve client requests").
    pub fn is_published(&self) -> bool {
        self.published.load(Ordering::Acquire)
    }

    /// Whether appends to the log wait for space on the disk, so that nothing can be written.
    pub fn log_is_waiting(&self) -> bool {
        self.log_waiting.load(Ordering::Acquire)
    }

    /// Whether the file system has so little space left that writes are refused.
    pub fn is_space_low(&self) -> bool {
        self.space_low.load(Ordering::Acquire)
    }

    /// Bytes per second that a rewrite of files may read and write.
    pub fn rewrite_bytes_per_second(&self) -> u64 {
        self.rewrite_rate.load(Ordering::Relaxed)
    }

    /// How often the leader changed since the start.
    pub fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Ordering::Relaxed)
    }

    /// Proposals that have been admitted and not answered.
    pub fn proposals_in_flight(&self) -> usize {
        self.proposals.load(Ordering::Relaxed)
    }

    pub(crate) fn set_leadership(&self, term: Term, leader: MemberId) {
        self.term.store(term.get(), Ordering::Release);
        let before = self.leader.swap(leader.get(), Ordering::AcqRel);
        if before != leader.get() && !leader.is_zero() {
            self.leader_changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_committed(&self, index: Index) {
        self.committed.store(index.get(), Ordering::Release);
    }

    pub(crate) fn set_durable(&self, index: Index) {
        self.durable.store(index.get(), Ordering::Release);
    }

    pub(crate) fn set_applied(&self, index: Index) {
        self.applied.store(index.get(), Ordering::Release);
    }

    pub(crate) fn set_alone(&self, alone: bool) {
        self.alone.store(alone, Ordering::Release);
    }

    pub(crate) fn set_learner(&self, learner: bool) {
        self.is_learner.store(learner, Ordering::Release);
    }

    pub(crate) fn set_rewrite_bytes_per_second(&self, rate: u64) {
        self.rewrite_rate.store(rate, Ordering::Relaxed);
    }

    pub(crate) fn set_damage_seen(&self) {
        self.damage_seen.store(true, Ordering::Release);
    }

    pub(crate) fn take_damage_seen(&self) -> bool {
        self.damage_seen.load(Ordering::Acquire) && self.damage_seen.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn set_log_waiting(&self, waiting: bool) {
        self.log_waiting.store(waiting, Ordering::Release);
    }

    pub(crate) fn set_space_low(&self, low: bool) {
        self.space_low.store(low, Ordering::Release);
    }

    pub(crate) fn set_published(&self) {
        self.published.store(true, Ordering::Release);
    }

    /// Takes a place among the proposals in flight, until the permit is dropped.
    ///
    /// # Errors
    /// `RequestTooManyRequests` when the count or the bytes in flight are at their limit.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Permit, ApiError> {
        let permit = Permit {
            progress: Arc::clone(self),
            bytes,
        };
        let count = self.proposals.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.proposal_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // A single request is always let in, however large: its own limit is another.
        let crowded =
            count > limits::PROPOSAL_QUEUE_MAX || (count > 1 && total > limits::PROPOSAL_BYTES_MAX);
        if crowded {
            Err(ApiError::RequestTooManyRequests)
        } else {
            Ok(permit)
        }
    }
}

/// A place among the proposals in flight.
#[derive(Debug)]
pub struct Permit {
    progress: Arc<Progress>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.progress.proposals.fetch_sub(1, Ordering::Relaxed);
        self.progress
            .proposal_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_is_bounded_by_count_and_bytes_and_places_come_back() {
        let progress = Arc::new(Progress::default());
        let permits: Vec<_> = (0..limits::PROPOSAL_QUEUE_MAX)
            .map(|_| progress.admit(1).unwrap())
            .collect();
        assert_eq!(
            progress.admit(1).unwrap_err(),
            ApiError::RequestTooManyRequests
        );
        assert_eq!(progress.proposals_in_flight(), limits::PROPOSAL_QUEUE_MAX);
        drop(permits);
        assert_eq!(progress.proposals_in_flight(), 0);

        let large = progress.admit(limits::PROPOSAL_BYTES_MAX + 1).unwrap();
        assert_eq!(
            progress.admit(1).unwrap_err(),
            ApiError::RequestTooManyRequests
        );
        drop(large);
        assert!(progress.admit(1).is_ok());
    }

    #[test]
    fn leader_changes_count_new_leaders_only() {
        let progress = Progress::default();
        progress.set_leadership(Term(1), MemberId(7));
        progress.set_leadership(Term(2), MemberId(7));
        progress.set_leadership(Term(3), MemberId(0));
        assert_eq!((progress.leader_changes(), progress.leader()), (1, None));
    }
}
