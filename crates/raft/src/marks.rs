//! Rare branches, and how often they were reached.
//!
//! A random run proves little about a branch that it never takes. With the feature `instrumented`
//! each of these is counted, for all members of the process together; without it nothing is.

/// Makes the enum, its list and its length from one list.
macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A branch that random runs must take.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $name,)+
        }

        #[cfg(feature = "instrumented")]
        impl Mark {
            /// All of them.
            pub const ALL: &[Mark] = &[$(Mark::$name),+];
        }
    };
}

marks! {
    /// Others would not vote.
    PreElectionLost,
    /// Others did not vote.
    ElectionLost,
    /// A request for votes goes unheard because a leader is in office.
    VoteShielded,
    /// A vote is refused.
    VoteRefused,
    /// No campaign because a change of the configuration waits to be applied.
    CampaignAwaitsChange,
    /// A leader of an earlier term is told.
    EarlierLeaderTold,
    /// A leader that a quorum does not answer steps down.
    QuorumLost,
    /// A leader whose disk hangs steps down.
    StalledLeader,
    /// A probe is refused.
    ProbeRefused,
    /// A message sent ahead is refused.
    ReplicateRefused,
    /// A refusal that is out of date.
    OldRefusal,
    /// Entries replace others.
    EntriesReplaced,
    /// Entries replace others that are being written.
    WrittenReplaced,
    /// Entries before the commit index.
    OldAppend,
    /// A follower needs entries that are compacted.
    SnapshotSent,
    /// Not to one that has not been heard from.
    SnapshotToNobody,
    /// A snapshot replaces the log.
    SnapshotRestored,
    /// A snapshot that tells nothing new.
    OldSnapshot,
    /// A snapshot of entries that are all here.
    SnapshotMatches,
    /// Sending a snapshot has failed.
    SnapshotFailed,
    /// A follower is ready for entries again after a snapshot.
    SnapshotCaughtUp,
    /// The window of messages in flight is full.
    WindowFull,
    /// A quorum has entries of an older term only.
    OlderTermWaits,
    /// A change of the configuration commits entries.
    ChangeCommits,
    /// A change is refused because another one is under way.
    ChangePending,
    /// A change is refused because the configuration is joint.
    ChangeInJoint,
    /// There is no joint configuration to leave.
    ChangeNotJoint,
    /// A joint configuration is left by itself.
    AutoLeave,
    /// A leader has been removed.
    LeaderRemoved,
    /// Too much is uncommitted.
    TooMuchUncommitted,
    /// A proposal is refused because leadership is being handed over.
    RefusedInTransfer,
    /// Leadership is handed over at once.
    TransferAtOnce,
    /// It is handed over when the other has caught up.
    TransferLater,
    /// It takes too long.
    TransferTimedOut,
    /// A read waits for the first commit of the term.
    ReadWaits,
    /// A read is answered by a lease.
    ReadByLease,
    /// A read goes through a round although there are leases.
    ReadWithoutLease,
    /// A report of storage from another term.
    OldReport,
    /// Applying waits because too much is out.
    ApplyPaused,
}

/// A branch is taken.
#[cfg(not(feature = "instrumented"))]
#[inline(always)]
pub(crate) fn mark(_mark: Mark) {}

#[cfg(feature = "instrumented")]
mod counts {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Mark;

    static COUNTS: [AtomicU64; Mark::ALL.len()] = [const { AtomicU64::new(0) }; Mark::ALL.len()];

    pub(crate) fn mark(mark: Mark) {
        COUNTS[mark as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each branch was taken since the process began.
    #[must_use]
    pub fn marks() -> Vec<(Mark, u64)> {
        let counts = COUNTS.iter().map(|count| count.load(Ordering::Relaxed));
        Mark::ALL.iter().copied().zip(counts).collect()
    }
}

#[cfg(feature = "instrumented")]
pub(crate) use counts::mark;
#[cfg(feature = "instrumented")]
pub use counts::marks;
