//! Dumb twins: the obvious version of what the core does cleverly, and random inputs to both.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tenet_base::{Index, MemberId};
use tenet_raft::quorum::{Joint, MemberSet, VoteResult};
use tenet_raft::tracker::{Inflights, Progress, ProgressState};

use crate::quorum::obvious_committed;

fn many() -> ProptestConfig {
    ProptestConfig {
        cases: 50_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Up to twelve members, so that positions are sorted on the stack as well as on the heap.
fn members() -> impl Strategy<Value = MemberSet> {
    prop::collection::vec(1..14u64, 0..12).prop_map(|ids| ids.into_iter().map(MemberId).collect())
}

fn joint() -> impl Strategy<Value = Joint> {
    (
        members(),
        prop_oneof![Just(MemberSet::default()), members()],
    )
        .prop_map(|(incoming, outgoing)| Joint { incoming, outgoing })
}

/// The outcome of a vote by trying every way in which those who are silent could still vote.
fn obvious_vote(voters: &Joint, votes: &BTreeMap<MemberId, bool>) -> VoteResult {
    let all = voters.ids();
    let silent: Vec<_> = all
        .ids()
        .iter()
        .filter(|id| !votes.contains_key(id))
        .collect();
    let wins = |set: &MemberSet, agrees: &dyn Fn(&MemberId) -> bool| {
        set.is_empty() || set.ids().iter().filter(|id| agrees(id)).count() * 2 > set.ids().len()
    };
    let (mut won, mut lost) = (false, false);
    // All in favour and all against are the extremes; nothing in between can be beyond them.
    for answer in [true, false] {
        let agrees = |id: &MemberId| match silent.contains(&id) {
            true => answer,
            false => votes[id],
        };
        let outcome = wins(&voters.incoming, &agrees) && wins(&voters.outgoing, &agrees);
        won |= outcome;
        lost |= !outcome;
    }
    match (won, lost) {
        (true, true) => VoteResult::Pending,
        (true, false) => VoteResult::Won,
        _ => VoteResult::Lost,
    }
}

/// A progress whose every rule is written out.
#[derive(Debug)]
struct Twin {
    matched: u64,
    next: u64,
    state: ProgressState,
    pending: u64,
    paused: bool,
    /// Messages on their way: last entry, bytes.
    messages: Vec<(u64, u64)>,
    sent_commit: u64,
    limits: (usize, u64),
}

impl Twin {
    fn full(&self) -> bool {
        let bytes: u64 = self.messages.iter().map(|(_, bytes)| bytes).sum();
        self.messages.len() >= self.limits.0 || bytes >= self.limits.1
    }

    fn become_state(&mut self, state: ProgressState, next: u64) {
        self.state = state;
        self.next = next;
        self.paused = false;
        self.pending = 0;
        self.messages.clear();
    }

    fn probe(&mut self) {
        let next = match self.state {
            ProgressState::Snapshot => (self.matched + 1).max(self.pending + 1),
            _ => self.matched + 1,
        };
        self.become_state(ProgressState::Probe, next);
        self.sent_commit = self.sent_commit.min(next - 1);
    }

    /// Which entries may be sent: as many as wanted, none with a full window.
    fn send(&mut self, count: u64, bytes: u64) {
        if self.state == ProgressState::Probe {
            self.paused = self.paused || count > 0;
            return;
        }
        if count > 0 {
            self.next += count;
            self.messages.push((self.next - 1, bytes));
        }
        self.paused = self.full();
    }

    fn update(&mut self, index: u64) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index + 1);
        self.paused = false;
        true
    }

    fn decrease(&mut self, rejected: u64, hint: u64) -> bool {
        let stale = match self.state {
            ProgressState::Replicate => rejected <= self.matched,
            _ => rejected + 1 != self.next,
        };
        if stale {
            return false;
        }
        if self.state == ProgressState::Replicate {
            self.next = self.matched + 1;
        } else {
            self.next = rejected.min(hint + 1).max(self.matched + 1);
            self.paused = false;
        }
        self.sent_commit = self.sent_commit.min(self.next - 1);
        true
    }
}

/// What may happen to a progress.
#[derive(Clone, Copy, Debug)]
enum Event {
    Send(u64, u64),
    Acknowledge(u64),
    Refuse(u64, u64),
    SignOfLife,
    Unreachable,
    Snapshot(u64),
    SnapshotSent(bool),
    Commit(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..4u64, 0..40u64).prop_map(|(count, bytes)| Event::Send(count, bytes)),
        4 => (0..30u64).prop_map(Event::Acknowledge),
        2 => (0..30u64, 0..30u64).prop_map(|(rejected, hint)| Event::Refuse(rejected, hint)),
        2 => Just(Event::SignOfLife),
        1 => Just(Event::Unreachable),
        1 => (0..30u64).prop_map(Event::Snapshot),
        1 => any::<bool>().prop_map(Event::SnapshotSent),
        2 => (0..30u64).prop_map(Event::Commit),
    ]
}

/// Does to both what a leader would do.
fn happen(progress: &mut Progress, twin: &mut Twin, event: Event) -> Result<(), TestCaseError> {
    match event {
        Event::Send(count, bytes) if !progress.is_paused() => {
            let full = twin.state == ProgressState::Replicate && twin.full();
            let count = if full { 0 } else { count };
            progress.sent_entries(count as usize, bytes);
            twin.send(count, bytes);
        }
        Event::Acknowledge(index) => {
            let (a, b) = (progress.maybe_update(Index(index)), twin.update(index));
            prop_assert_eq!(a, b);
            if a && progress.state == ProgressState::Replicate {
                progress.inflights.free_through(Index(index));
                twin.messages.retain(|(last, _)| *last > index);
            } else if a && progress.state == ProgressState::Probe {
                progress.become_replicate();
                twin.become_state(ProgressState::Replicate, twin.matched + 1);
            }
        }
        Event::Refuse(rejected, hint) => {
            let decreased = progress.maybe_decrease(Index(rejected), Index(hint));
            prop_assert_eq!(decreased, twin.decrease(rejected, hint));
            if decreased && progress.state == ProgressState::Replicate {
                progress.become_probe();
                twin.probe();
            }
        }
        Event::SignOfLife => {
            progress.paused = false;
            twin.paused = false;
        }
        Event::Unreachable if progress.state == ProgressState::Replicate => {
            progress.become_probe();
            twin.probe();
        }
        Event::Snapshot(index) if index > twin.matched => {
            progress.become_snapshot(Index(index));
            twin.become_state(ProgressState::Snapshot, index + 1);
            twin.pending = index;
            twin.sent_commit = index;
        }
        Event::SnapshotSent(ok) if progress.state == ProgressState::Snapshot => {
            if !ok {
                progress.pending_snapshot = Index::ZERO;
                twin.pending = 0;
            }
            progress.become_probe();
            twin.probe();
        }
        Event::Commit(index) => {
            let tells_news = index > twin.sent_commit && twin.sent_commit < twin.next - 1;
            prop_assert_eq!(progress.can_bump_commit(Index(index)), tells_news);
            progress.sent_commit(Index(index));
            twin.sent_commit = index;
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn commit_index_is_the_largest_that_a_majority_holds(
        voters in members(),
        acked in prop::collection::btree_map(1..14u64, 0..20u64, 0..12),
    ) {
        let acked = acked.into_iter().map(|(id, index)| (MemberId(id), index)).collect();
        let committed = voters.committed(|id| BTreeMap::get(&acked, &id).copied().unwrap_or(0));
        prop_assert_eq!(committed, obvious_committed(&voters, &acked));
    }

    #[test]
    fn joint_commit_index_is_held_by_both_majorities(
        voters in joint(),
        acked in prop::collection::btree_map(1..14u64, 0..20u64, 0..12),
    ) {
        let acked = acked.into_iter().map(|(id, index)| (MemberId(id), index)).collect();
        let committed = voters.committed(|id| BTreeMap::get(&acked, &id).copied().unwrap_or(0));
        let incoming = obvious_committed(&voters.incoming, &acked);
        let outgoing = obvious_committed(&voters.outgoing, &acked);
        prop_assert_eq!(committed, incoming.min(outgoing));
    }

    #[test]
    fn votes_are_decided_when_the_silent_cannot_change_it(
        voters in joint(),
        votes in prop::collection::btree_map(1..14u64, any::<bool>(), 0..12),
    ) {
        let votes = votes.into_iter().map(|(id, vote)| (MemberId(id), vote)).collect();
        let result = voters.vote_result(|id| BTreeMap::get(&votes, &id).copied());
        prop_assert_eq!(result, obvious_vote(&voters, &votes));
    }

    #[test]
    fn progress_follows_the_rules_of_flow_control(
        max_count in 1..4usize,
        max_bytes in prop_oneof![Just(u64::MAX), 1..60u64],
        events in prop::collection::vec(event(), 0..25),
    ) {
        let inflights = Inflights::new(max_count, max_bytes);
        let mut progress = Progress::new(Index(1), false, inflights);
        let mut twin = Twin {
            matched: 0,
            next: 1,
            state: ProgressState::Probe,
            pending: 0,
            paused: false,
            messages: Vec::new(),
            sent_commit: 0,
            limits: (max_count, max_bytes),
        };
        for event in events {
            happen(&mut progress, &mut twin, event)?;
            prop_assert_eq!(progress.matched, Index(twin.matched));
            prop_assert_eq!(progress.next, Index(twin.next));
            prop_assert_eq!(progress.state, twin.state);
            prop_assert_eq!(progress.pending_snapshot, Index(twin.pending));
            prop_assert_eq!(progress.inflights.count(), twin.messages.len());
            prop_assert_eq!(progress.inflights.is_full(), twin.full());
            let paused = twin.paused || twin.state == ProgressState::Snapshot;
            prop_assert_eq!(progress.is_paused(), paused);
            prop_assert!(progress.matched < progress.next);
        }
    }
}
