//! What may happen to a cluster, how often it has, and how the network falls apart.

use tenet_base::Rng;

use super::{MEMBERS_MAX, World};
use tenet_raft::Raft;

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message gets lost.
    Lost,
    /// A message arrives twice.
    Repeated,
    /// A message arrives much later.
    Delayed,
    /// A message arrives before an older one of the same link.
    Reordered,
    /// A message does not pass between two halves of the cluster.
    Split,
    /// A message does not pass in one direction, its answers would.
    OneWay,
    /// A message does not pass between two halves that share one member.
    Bridge,
    /// A member stops at once.
    Crash,
    /// It loses what it had not synced.
    UnsyncedLost,
    /// Part of an append is on disk.
    TornAppend,
    /// A disk becomes slow, or fast again.
    SlowDisk,
    /// A disk answers nothing.
    HungDisk,
    /// A member takes a snapshot in place of its log.
    Snapshot,
    /// The configuration is to change.
    ConfChange,
    /// Leadership is to be handed over.
    Transfer,
    /// A follower forgets who leads.
    LeaderForgotten,
    /// The transport reports a member as unreachable.
    Unreachable,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 17] = [
        Fault::Lost,
        Fault::Repeated,
        Fault::Delayed,
        Fault::Reordered,
        Fault::Split,
        Fault::OneWay,
        Fault::Bridge,
        Fault::Crash,
        Fault::UnsyncedLost,
        Fault::TornAppend,
        Fault::SlowDisk,
        Fault::HungDisk,
        Fault::Snapshot,
        Fault::ConfChange,
        Fault::Transfer,
        Fault::LeaderForgotten,
        Fault::Unreachable,
    ];
}

/// What has happened, to one cluster or to many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often each fault has, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Entries committed.
    pub committed: u64,
    /// Answers to reads that were checked.
    pub reads: u64,
    /// Runs that could not go on because of a removed member; see [`World::heal`].
    pub deadlocks: u64,
}

impl Counts {
    /// Adds another run.
    pub fn add(&mut self, other: &Counts) {
        for (total, count) in self.faults.iter_mut().zip(other.faults) {
            *total += count;
        }
        self.committed += other.committed;
        self.reads += other.reads;
        self.deadlocks += other.deadlocks;
    }

    /// The fault that happened least, and how often.
    #[must_use]
    pub fn rarest(&self) -> (Fault, u64) {
        let counts = Fault::ALL.into_iter().zip(self.faults);
        counts
            .min_by_key(|(_, count)| *count)
            .expect("there are faults")
    }
}

impl World {
    pub(super) fn crash(&mut self, at: usize) {
        if self.members[at].raft.is_none() {
            return;
        }
        self.count(Fault::Crash);
        let sabotage = self.settings.sabotage;
        let lost = self.members[at].crash(&mut self.rng, sabotage);
        if lost.appends {
            self.count(Fault::UnsyncedLost);
        }
        if lost.torn {
            self.count(Fault::TornAppend);
        }
    }

    pub(super) fn restart(&mut self, at: usize) {
        if self.members[at].raft.is_none() {
            let config = self.config_of(self.members[at].id);
            self.members[at].start(config);
            self.trace.note("start", &[at as u64]);
            self.settle(at);
        }
    }

    /// Cuts the cluster in two, wholly, in one direction or but for one member; often just the
    /// leader off the others, or with one of them.
    pub(super) fn partition(&mut self) {
        let mut side: Vec<u64> = (0..MEMBERS_MAX).map(|_| self.rng.below(2)).collect();
        if self.percent(40)
            && let Some(leader) = self.leader()
        {
            side = vec![0; MEMBERS_MAX as usize];
            side[leader] = 1;
            if self.percent(50) {
                side[self.any()] = 1;
            }
        }
        let kind = match self.rng.below(4) {
            0..2 => Fault::Split,
            2 => Fault::OneWay,
            _ => Fault::Bridge,
        };
        let bridge = self.any();
        self.network.mend();
        for (from, a) in side.iter().enumerate() {
            for (to, b) in side.iter().enumerate() {
                let apart = match kind {
                    Fault::OneWay => a < b,
                    Fault::Bridge => a != b && from != bridge && to != bridge,
                    _ => a != b,
                };
                if apart {
                    self.network.cut(from, to, kind);
                }
            }
        }
    }

    pub(super) fn hang(&mut self, at: usize) {
        if self.members[at].raft.is_some() {
            self.count(Fault::HungDisk);
            self.members[at].hangs = true;
            if self.percent(50) {
                self.with(at, Raft::disk_stalled);
            }
        }
    }

    pub(super) fn recover(&mut self, at: usize) {
        self.members[at].hangs = false;
        self.with(at, Raft::disk_recovered);
    }
}
