//! Which lease is to be renewed when, and which has run out: plain data, told the time.
//!
//! Invariant: a lease has at most one renewal under way, and its time counts from when that was
//! taken to be sent. It is ended once, and then forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tenet_proto::etcdserverpb::LeaseKeepAliveResponse;
use tokio::time::Instant;

use crate::LeaseEnd;
use crate::keep_alive::Listener;

#[derive(Default)]
pub(crate) struct Ledger {
    leases: BTreeMap<i64, Kept>,
    renewals: BTreeSet<(Instant, i64)>,
    deadlines: BTreeSet<(Instant, i64)>,
}

struct Kept {
    listeners: Vec<Arc<Listener>>,
    phase: Phase,
    deadline: Instant,
}

#[derive(Clone, Copy)]
enum Phase {
    /// To be renewed then.
    Waits(Instant),
    /// A renewal was sent then.
    Asked(Instant),
}

impl Ledger {
    /// Begins to renew a lease, at once. It counts as run out at `deadline` if nothing is heard.
    pub(crate) fn add(
        &mut self,
        lease: i64,
        listener: Arc<Listener>,
        now: Instant,
        deadline: Instant,
    ) {
        if let Some(kept) = self.leases.get_mut(&lease) {
            kept.listeners.push(listener);
            return;
        }
        let kept = Kept {
            listeners: vec![listener],
            phase: Phase::Waits(now),
            deadline,
        };
        self.leases.insert(lease, kept);
        self.renewals.insert((now, lease));
        self.deadlines.insert((deadline, lease));
    }

    pub(crate) fn remove(&mut self, lease: i64, listener: &Arc<Listener>) {
        if let Some(kept) = self.leases.get_mut(&lease) {
            kept.listeners.retain(|kept| !Arc::ptr_eq(kept, listener));
            if kept.listeners.is_empty() {
                self.forget(lease);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    pub(crate) fn next_renewal(&self) -> Option<Instant> {
        self.renewals.first().map(|(at, _)| *at)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next_renewal().is_some_and(|at| at <= now)
    }

    /// A lease to renew now.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<i64> {
        if !self.is_due(now) {
            return None;
        }
        let (_, lease) = self.renewals.pop_first()?;
        let kept = self.leases.get_mut(&lease)?;
        kept.phase = Phase::Asked(now);
        Some(lease)
    }

    pub(crate) fn receive(&mut self, answer: LeaseKeepAliveResponse) {
        let lease = answer.id;
        if answer.ttl <= 0 {
            return self.end(lease, &LeaseEnd::Gone);
        }
        let Some(kept) = self.leases.get_mut(&lease) else {
            return;
        };
        let Phase::Asked(asked) = kept.phase else {
            return;
        };
        let ttl = Duration::from_secs(answer.ttl.unsigned_abs());
        self.deadlines.remove(&(kept.deadline, lease));
        // A time that cannot be added is as good as for ever: the old deadline plus a year.
        let year = Duration::from_secs(31_536_000);
        kept.deadline = asked.checked_add(ttl).unwrap_or(asked + year);
        self.deadlines.insert((kept.deadline, lease));
        let next = asked + (kept.deadline - asked) / 3;
        kept.phase = Phase::Waits(next);
        self.renewals.insert((next, lease));
        for listener in &kept.listeners {
            listener.answer(answer);
        }
    }

    /// The stream is gone, and with it the renewals under way.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        for (lease, kept) in &mut self.leases {
            if matches!(kept.phase, Phase::Asked(_)) {
                kept.phase = Phase::Waits(now);
                self.renewals.insert((now, *lease));
            }
        }
    }

    /// Ends the leases whose time has passed.
    pub(crate) fn end_late(&mut self, now: Instant) {
        while let Some(&(at, lease)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.end(lease, &LeaseEnd::Late);
        }
    }

    pub(crate) fn end_all(&mut self, end: &LeaseEnd) {
        let leases: Vec<i64> = self.leases.keys().copied().collect();
        for lease in leases {
            self.end(lease, end);
        }
    }

    fn end(&mut self, lease: i64, end: &LeaseEnd) {
        for listener in self.forget(lease) {
            listener.end(end.clone());
        }
    }

    fn forget(&mut self, lease: i64) -> Vec<Arc<Listener>> {
        let Some(kept) = self.leases.remove(&lease) else {
            return Vec::new();
        };
        self.deadlines.remove(&(kept.deadline, lease));
        if let Phase::Waits(at) = kept.phase {
            self.renewals.remove(&(at, lease));
        }
        kept.listeners
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: i64, ttl: i64) -> LeaseKeepAliveResponse {
        LeaseKeepAliveResponse {
            id,
            ttl,
            ..LeaseKeepAliveResponse::default()
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_is_renewed_at_a_third_of_its_time() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (listener, mut answers) = Listener::for_test();
        ledger.add(7, listener.clone(), now, now + SECOND);
        assert_eq!(ledger.take_due(now), Some(7));
        assert_eq!(ledger.take_due(now), None, "one renewal at a time");
        ledger.receive(answer(7, 9));
        assert_eq!(answers.try_recv().map(|answer| answer.ttl), Ok(9));
        assert_eq!(ledger.next_renewal(), Some(now + 3 * SECOND));
        assert_eq!(ledger.next_deadline(), Some(now + 9 * SECOND));
        ledger.end_late(now + 8 * SECOND);
        assert_eq!(listener.ended_with(), None);
        ledger.end_late(now + 9 * SECOND);
        assert_eq!(listener.ended_with(), Some(LeaseEnd::Late));
        assert!(ledger.is_empty() && ledger.next_renewal().is_none());
    }

    #[test]
    fn the_time_of_a_lease_counts_from_the_asking() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (listener, _answers) = Listener::for_test();
        ledger.add(7, listener, now, now + 20 * SECOND);
        assert_eq!(ledger.take_due(now + SECOND), Some(7));
        ledger.receive(answer(7, 9));
        assert_eq!(ledger.next_deadline(), Some(now + 10 * SECOND));
        ledger.receive(answer(7, 900));
        let unasked = "an answer that nobody asked for prolongs nothing";
        assert_eq!(ledger.next_deadline(), Some(now + 10 * SECOND), "{unasked}");
    }

    #[test]
    fn a_broken_stream_makes_what_was_under_way_due_at_once() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (listener, _answers) = Listener::for_test();
        ledger.add(7, listener, now, now + 20 * SECOND);
        assert_eq!(ledger.take_due(now), Some(7));
        ledger.disconnect(now + SECOND);
        assert!(!ledger.is_due(now));
        assert_eq!(ledger.take_due(now + SECOND), Some(7));
    }

    #[test]
    fn a_lease_that_is_gone_ends_for_all_who_keep_it() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (one, _answers) = Listener::for_test();
        let (two, _answers) = Listener::for_test();
        let (left, _answers) = Listener::for_test();
        for listener in [&one, &two, &left] {
            ledger.add(7, listener.clone(), now, now + SECOND);
        }
        ledger.remove(7, &left);
        ledger.receive(answer(7, 0));
        assert_eq!(one.ended_with(), Some(LeaseEnd::Gone));
        assert_eq!(two.ended_with(), Some(LeaseEnd::Gone));
        assert_eq!(left.ended_with(), None);
        assert!(ledger.is_empty() && ledger.next_deadline().is_none());
    }

    #[test]
    fn a_lease_that_nobody_keeps_is_forgotten() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        let (listener, _answers) = Listener::for_test();
        ledger.add(7, listener.clone(), now, now + SECOND);
        ledger.remove(7, &listener);
        assert!(ledger.is_empty() && !ledger.is_due(now));
        assert!(ledger.next_deadline().is_none());
    }
}
