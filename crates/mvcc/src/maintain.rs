//! The physical work of compactions, in steps between two entries.
//!
//! Compactions are worked off in the order they were scheduled. Of each, first the hash is taken
//! over everything it covers, then what it supersedes is dropped from the index and released in
//! the store, which gives its room back later.

use crate::Mvcc;
use crate::hash::{HashJob, Shown};
use crate::index::PruneAt;
use std::collections::VecDeque;
use tenet_base::limits::COMPACTION_HASHES_MAX;

/// A compaction and the compact revision before it.
#[derive(Clone, Copy, Debug)]
struct Scheduled {
    at: i64,
    before: i64,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Hash(Box<HashJob>, i64),
    Prune(PruneAt, i64),
}

/// What is to be done and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    queue: VecDeque<Scheduled>,
    stage: Stage,
}

impl Maintenance {
    /// Adds a compaction. If more wait than hashes are kept, the oldest is left out: its hash
    /// would be gone before it is asked for, and the next one supersedes all that it does.
    pub(crate) fn schedule(&mut self, at: i64, before: i64) {
        if self.queue.len() == COMPACTION_HASHES_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(Scheduled { at, before });
    }

    /// Drops what a compaction at `at` superseded before a restart. There is no hash of it then:
    /// what it covered depends on compactions that are not known any more.
    pub(crate) fn resume(&mut self, at: i64) {
        assert!(!self.is_compacting(), "resumed behind other compactions");
        self.stage = Stage::Prune(PruneAt::default(), at);
    }

    pub(crate) fn is_compacting(&self) -> bool {
        !self.queue.is_empty() || !matches!(self.stage, Stage::Idle)
    }
}

/// What a step of maintenance did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Maintained {
    /// Whether work is left.
    pub(crate) left: bool,
    /// Whether there is anything new to show.
    pub(crate) changed: bool,
}

impl Mvcc {
    /// Works until about `budget` entries or records were looked at.
    pub(crate) fn maintain(&mut self, budget: usize) -> Maintained {
        let mut budget = budget.max(1);
        let mut changed = false;
        while budget > 0 {
            match std::mem::take(&mut self.maintenance.stage) {
                Stage::Idle => {
                    let Some(next) = self.maintenance.queue.pop_front() else {
                        return Maintained {
                            left: false,
                            changed,
                        };
                    };
                    let (tree, store) = (self.tree.clone(), self.store.view());
                    let job = HashJob::new(tree, store, Shown::Kept, next.at, next.before);
                    self.maintenance.stage = Stage::Hash(Box::new(job), next.at);
                }
                Stage::Hash(mut job, at) => {
                    self.maintenance.stage = match job.step(&mut budget) {
                        None => Stage::Hash(job, at),
                        Some(hash) => {
                            self.hashes.push(hash);
                            changed = true;
                            Stage::Prune(PruneAt::default(), at)
                        }
                    };
                }
                Stage::Prune(from, at) => {
                    let pruned = self.tree.prune(at, from, budget);
                    changed |= !pruned.dropped.is_empty();
                    for rev in pruned.dropped {
                        self.store.release(rev);
                    }
                    budget = budget.saturating_sub(pruned.looked);
                    if let Some(next) = pruned.next {
                        self.maintenance.stage = Stage::Prune(next, at);
                    }
                }
            }
        }
        Maintained {
            left: true,
            changed,
        }
    }
}
