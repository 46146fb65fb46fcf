//! Bugs that others have had, to be switched on one at a time: whoever looks for bugs must find them.
//!
//! They exist only with the feature `instrumented`, which does not compile without debug assertions
//! and so is in no release. Each is one condition in the place where it was, or would be, made;
//! without the feature that condition is `false` before the compiler looks at it.

/// A mistake in the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KnownBug {
    /// Whom a member has voted for is not stored: after a crash it votes again (Raft 5.2).
    VoteForgotten,
    /// Votes are given without a look at the candidate's log (Raft 5.4.1).
    VoteForShorterLog,
    /// The answers to "would you vote?" count as votes (thesis 9.6).
    PreVoteCounted,
    /// Entries of an older term are committed by counting (Raft figure 8).
    OlderTermCommitted,
    /// Entries are appended without a look at what they follow (Raft 5.3).
    UnmatchedAppend,
    /// A new leader begins with what is committed and drops the rest of its log (Raft 5.4).
    LeaderTruncates,
    /// Heartbeats carry the commit index to followers that may hold other entries there.
    HeartbeatCommit,
    /// A joint configuration decides by its incoming half alone (thesis 4.3).
    IncomingDecides,
    /// A leader that has been removed still counts itself (thesis 4.2.2).
    RemovedLeaderCounts,
    /// Learners count in the quorum (thesis 4.2.1).
    LearnerCounted,
    /// A second change of the configuration is taken while the first is under way (thesis 4.1).
    SecondChange,
    /// Reads are answered before the term's first commit (thesis 6.4; etcd issue 741 and others).
    EarlyRead,
    /// The numbers of reads begin anew when all are answered: old echoes confirm a new read
    /// (etcd issue 20418).
    ReusedReadIds,
    /// A lease is counted from when an echo arrives instead of when its heartbeat was sent.
    LeaseFromEcho,
    /// A lease goes on while another member has been asked to take over.
    LeaseDuringTransfer,
    /// Reports of asynchronous storage count whatever was appended since (the ABA problem that
    /// etcd's core describes where it counts them).
    AppendAba,
    /// A snapshot that got lost is never sent again.
    SnapshotFailureIgnored,
}

#[cfg(feature = "instrumented")]
impl KnownBug {
    /// All of them.
    pub const ALL: [KnownBug; 17] = [
        KnownBug::VoteForgotten,
        KnownBug::VoteForShorterLog,
        KnownBug::PreVoteCounted,
        KnownBug::OlderTermCommitted,
        KnownBug::UnmatchedAppend,
        KnownBug::LeaderTruncates,
        KnownBug::HeartbeatCommit,
        KnownBug::IncomingDecides,
        KnownBug::RemovedLeaderCounts,
        KnownBug::LearnerCounted,
        KnownBug::SecondChange,
        KnownBug::EarlyRead,
        KnownBug::ReusedReadIds,
        KnownBug::LeaseFromEcho,
        KnownBug::LeaseDuringTransfer,
        KnownBug::AppendAba,
        KnownBug::SnapshotFailureIgnored,
    ];
}
