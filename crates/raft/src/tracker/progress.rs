//! How far one follower is, as its leader sees it, and what may be sent to it.
//!
//! Invariants: `matched < next`; the window of messages in flight is empty outside of the replicate
//! state. It knows positions only, no entries and no time.

use std::fmt;

use tenet_base::Index;

use super::inflights::Inflights;

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressState {
    /// The end of the follower's log is not known: one message at a time.
    #[default]
    Probe,
    /// It is known: messages are sent ahead of their acknowledgements.
    Replicate,
    /// The follower needs a snapshot, which is on its way: no messages.
    Snapshot,
}

impl ProgressState {
    /// The name that etcd prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ProgressState::Probe => "StateProbe",
            ProgressState::Replicate => "StateReplicate",
            ProgressState::Snapshot => "StateSnapshot",
        }
    }
}

/// The progress of one follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last entry that the follower is known to share with the leader.
    pub matched: Index,
    /// The next entry to send; those in between are on their way.
    pub next: Index,
    /// How it is sent to.
    pub state: ProgressState,
    /// In the snapshot state: the last entry that the snapshot covers.
    pub pending_snapshot: Index,
    /// Whether the follower has been heard from since quorum was last checked.
    pub recent_active: bool,
    /// Whether sending waits for a sign of life: after a probe, or with a full window.
    pub paused: bool,
    /// Messages in flight.
    pub inflights: Inflights,
    /// Whether it receives the log without voting.
    pub learner: bool,
    /// The highest commit index that is on its way to the follower.
    sent_commit: Index,
}

impl Progress {
    /// The progress of a follower of which nothing is known.
    #[must_use]
    pub fn new(next: Index, learner: bool, inflights: Inflights) -> Self {
        assert!(
            next > Index::ZERO,
            "the next entry of a follower is {next}, before the first"
        );
        Progress {
            matched: Index::ZERO,
            next,
            state: ProgressState::Probe,
            pending_snapshot: Index::ZERO,
            recent_active: false,
            paused: false,
            inflights,
            learner,
            sent_commit: Index::ZERO,
        }
    }

    /// Starts over in a new term; what the follower is stays.
    pub fn reset(&mut self, next: Index) {
        self.matched = Index::ZERO;
        self.next = next;
        self.enter(ProgressState::Probe);
        self.recent_active = false;
        self.sent_commit = Index::ZERO;
    }

    fn enter(&mut self, state: ProgressState) {
        self.state = state;
        self.paused = false;
        self.pending_snapshot = Index::ZERO;
        self.inflights.clear();
    }

    /// Goes back to one message at a time: after what is known to be there, or after a snapshot
    /// that has been sent.
    pub fn become_probe(&mut self) {
        let snapshot = self.pending_snapshot;
        let after_snapshot = self.state == ProgressState::Snapshot && snapshot > self.matched;
        self.enter(ProgressState::Probe);
        self.next = if after_snapshot {
            snapshot.next()
        } else {
            self.matched.next()
        };
        self.sent_commit = self.sent_commit.min(before(self.next));
    }

    /// Sends ahead from now on.
    pub fn become_replicate(&mut self) {
        self.enter(ProgressState::Replicate);
        self.next = self.matched.next();
    }

    /// A snapshot up to `index` is on its way.
    pub fn become_snapshot(&mut self, index: Index) {
        self.enter(ProgressState::Snapshot);
        self.pending_snapshot = index;
        self.next = index.next();
        self.sent_commit = index;
    }

    /// An append message with `count` entries of `bytes` bytes after `next - 1` is sent.
    ///
    /// # Panics
    /// In the snapshot state, in which nothing may be sent.
    pub fn sent_entries(&mut self, count: usize, bytes: u64) {
        match self.state {
            ProgressState::Replicate => {
                if count > 0 {
                    self.next = Index(self.next.get() + count as u64);
                    self.inflights.add(before(self.next), bytes);
                }
                // A message that fills the window, or goes out with a full one, is a probe.
                self.paused = self.inflights.is_full();
            }
            ProgressState::Probe => self.paused |= count > 0,
            ProgressState::Snapshot => panic!(
                "{count} entries after index {} sent while a snapshot to {} is pending",
                before(self.next),
                self.pending_snapshot
            ),
        }
    }

    /// The commit index that went with a message.
    pub fn sent_commit(&mut self, commit: Index) {
        self.sent_commit = commit;
    }

    /// Whether telling the follower that `commit` is committed would tell it anything: not if what
    /// is on its way already commits all that it will have.
    #[must_use]
    pub fn can_bump_commit(&self, commit: Index) -> bool {
        commit > self.sent_commit && self.sent_commit < before(self.next)
    }

    /// The follower has everything up to `index`; false if that is old news.
    pub fn maybe_update(&mut self, index: Index) -> bool {
        if index <= self.matched {
            return false;
        }
        self.matched = index;
        self.next = self.next.max(index.next());
        self.paused = false;
        true
    }

    /// The follower refused the message after `rejected` and has nothing beyond `hint` that could
    /// match; false if the refusal is out of date.
    pub fn maybe_decrease(&mut self, rejected: Index, hint: Index) -> bool {
        if self.state == ProgressState::Replicate {
            if rejected <= self.matched {
                return false;
            }
            self.next = self.matched.next();
        } else {
            // A probe carries the entries after next - 1: any other refusal is an old one.
            if before(self.next) != rejected {
                return false;
            }
            self.next = rejected.min(hint.next()).max(self.matched.next());
            self.paused = false;
        }
        self.sent_commit = self.sent_commit.min(before(self.next));
        true
    }

    /// Whether nothing may be sent now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state == ProgressState::Snapshot || self.paused
    }
}

/// The position before one that is not the first.
fn before(index: Index) -> Index {
    Index(index.get() - 1)
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} match={} next={}",
            self.state.name(),
            self.matched,
            self.next
        )?;
        if self.learner {
            f.write_str(" learner")?;
        }
        if self.is_paused() {
            f.write_str(" paused")?;
        }
        if !self.pending_snapshot.is_zero() {
            write!(f, " pendingSnap={}", self.pending_snapshot)?;
        }
        if !self.recent_active {
            f.write_str(" inactive")?;
        }
        if self.inflights.count() > 0 {
            write!(f, " inflight={}", self.inflights.count())?;
            if self.inflights.is_full() {
                f.write_str("[full]")?;
            }
        }
        Ok(())
    }
}
