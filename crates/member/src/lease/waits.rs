//! Who waits for something to happen to a lease.
//!
//! A wait ends with the news that it is worth trying again, or with an error when its time is
//! over. Invariant: each waiter is handed out exactly once.

use std::collections::BTreeMap;
use tenet_base::{Index, LeaseId, limits};
use tenet_proto::ApiError;

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A lease is revoked, or what a checkpoint says of it is taken back.
    Lease(LeaseId),
    /// This index is applied.
    Applied(Index),
    /// This member leads and knows its leases.
    Leader,
}

#[derive(Debug)]
struct Wait<W> {
    waiter: W,
    deadline_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Waits<W> {
    by_lease: BTreeMap<LeaseId, Vec<Wait<W>>>,
    by_index: Vec<(Index, Wait<W>)>,
    for_leader: Vec<Wait<W>>,
    count: usize,
}

impl<W> Waits<W> {
    pub(super) fn new() -> Self {
        Waits {
            by_lease: BTreeMap::new(),
            by_index: Vec::new(),
            for_leader: Vec::new(),
            count: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.count >= limits::LEASE_WAITS_MAX
    }

    pub(super) fn push(&mut self, cause: Cause, waiter: W, deadline_ms: u64) {
        let wait = Wait {
            waiter,
            deadline_ms,
        };
        self.count += 1;
        match cause {
            Cause::Lease(id) => self.by_lease.entry(id).or_default().push(wait),
            Cause::Applied(index) => self.by_index.push((index, wait)),
            Cause::Leader => self.for_leader.push(wait),
        }
    }

    pub(super) fn take_lease(&mut self, id: LeaseId, out: &mut Vec<W>) {
        let waits = self.by_lease.remove(&id).unwrap_or_default();
        self.hand_out(waits, out);
    }

    pub(super) fn take_applied(&mut self, applied: Index, out: &mut Vec<W>) {
        let reached = self.by_index.extract_if(.., |(index, _)| *index <= applied);
        let waits: Vec<_> = reached.map(|(_, wait)| wait).collect();
        self.hand_out(waits, out);
    }

    pub(super) fn take_leader(&mut self, out: &mut Vec<W>) {
        let waits = std::mem::take(&mut self.for_leader);
        self.hand_out(waits, out);
    }

    /// Everybody who waits for a lease, because this member has stopped to look after them.
    pub(super) fn take_leases(&mut self, out: &mut Vec<W>) {
        for waits in std::mem::take(&mut self.by_lease).into_values() {
            self.hand_out(waits, out);
        }
    }

    fn hand_out(&mut self, waits: Vec<Wait<W>>, out: &mut Vec<W>) {
        self.count -= waits.len();
        out.extend(waits.into_iter().map(|wait| wait.waiter));
    }

    /// Whoever has waited too long, with the error for it; and the leases that they waited for.
    pub(super) fn take_expired(&mut self, now_ms: u64) -> (Vec<(W, ApiError)>, Vec<LeaseId>) {
        let (mut out, mut leases) = (Vec::new(), Vec::new());
        if self.count == 0 {
            return (out, leases);
        }
        let expired = |wait: &Wait<W>| wait.deadline_ms <= now_ms;
        self.by_lease.retain(|id, waits| {
            let before = out.len();
            let gone = waits.extract_if(.., |wait| expired(wait));
            out.extend(gone.map(|wait| (wait.waiter, ApiError::Timeout)));
            if out.len() > before {
                leases.push(*id);
            }
            !waits.is_empty()
        });
        let gone = self.by_index.extract_if(.., |(_, wait)| expired(wait));
        out.extend(gone.map(|(_, wait)| (wait.waiter, ApiError::TimeoutWaitAppliedIndex)));
        let gone = self.for_leader.extract_if(.., |wait| expired(wait));
        out.extend(gone.map(|wait| (wait.waiter, ApiError::Timeout)));
        self.count -= out.len();
        (out, leases)
    }
}
