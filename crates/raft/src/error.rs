//! Everything that can be refused, and why.
//!
//! What comes from outside (a message, a proposal, settings, a stored log) ends here and never in
//! a panic. Panics are kept for broken promises of the core itself or of its driver.

use tenet_base::{Index, MemberId, Term};
use thiserror::Error;

/// Why a core cannot be made from the given settings and log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Zero and the two highest ids name nobody, the log and the state machine.
    #[error("member id {0} is reserved: give the member another id")]
    ReservedId(MemberId),
    /// The election timeout must leave room for heartbeats.
    #[error(
        "election timeout of {election} ticks with a heartbeat every {heartbeat}: the heartbeat \
         must be at least 1 tick and the election timeout longer than it"
    )]
    Ticks {
        /// Ticks of the election timeout.
        election: u32,
        /// Ticks between heartbeats.
        heartbeat: u32,
    },
    /// Nothing could ever be replicated.
    #[error("no append message may be in flight: allow at least 1")]
    NoInflight,
    /// Nothing could ever be applied.
    #[error("no bytes of committed entries may be handed out: allow at least 1")]
    NoCommittedBytes,
    /// The bound on bytes in flight would stop the first full message.
    #[error("{inflight} bytes in flight allow less than one message of {message} bytes")]
    InflightBytes {
        /// The bound on bytes in flight.
        inflight: u64,
        /// The bound on one message.
        message: u64,
    },
    /// A lease rests on followers that refuse votes, which is what check-quorum does.
    #[error("lease-based reads need check_quorum: enable it or read safely")]
    LeaseWithoutCheckQuorum,
    /// The stored commit index is not a position of the stored log.
    #[error(
        "the stored commit index {commit} is outside of the stored log, which covers {first} to \
         {last}: entries were lost, or the log and the state are of different members"
    )]
    CommitOutsideLog {
        /// The stored commit index.
        commit: Index,
        /// The position before the first entry.
        first: Index,
        /// The position of the last entry.
        last: Index,
    },
    /// The state machine is ahead of the commit index, or behind the log.
    #[error(
        "the state machine has applied up to {applied}, but the log holds {first} to {commit} as \
         committed: the two are of different ages"
    )]
    AppliedOutsideLog {
        /// What the state machine has applied.
        applied: Index,
        /// The position before the first entry of the log.
        first: Index,
        /// The commit index.
        commit: Index,
    },
    /// The stored configuration breaks the rules.
    #[error("the stored configuration is not valid: {0}")]
    ConfState(#[from] ConfChangeError),
}

/// Why a message was not taken. Its sender is at fault, or the network; nothing has changed here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// The type is unknown to this version.
    #[error("message type {0} is unknown here: the sender is of a newer version")]
    UnknownType(i32),
    /// The type never travels between members.
    #[error("message type {0:?} is local and cannot come from member {1}")]
    Local(tenet_proto::raftpb::MessageType, MemberId),
    /// The message is for somebody else.
    #[error("message for member {to} reached member {id}")]
    Misdirected {
        /// Whom it is for.
        to: MemberId,
        /// Who this is.
        id: MemberId,
    },
    /// A message that has no sender, or this member as its sender.
    #[error("message type {0:?} cannot have member {1} as its sender")]
    BadSender(tenet_proto::raftpb::MessageType, MemberId),
    /// The answer of a member that is not in the configuration.
    #[error("answer of member {0}, which is not in the configuration")]
    UnknownPeer(MemberId),
    /// The message carries no term where it must, or one that no cluster reaches.
    #[error("message type {kind:?} with the impossible term {term}")]
    ImpossibleTerm {
        /// What it is.
        kind: tenet_proto::raftpb::MessageType,
        /// The term it carries.
        term: Term,
    },
    /// A position that cannot exist.
    #[error("message type {kind:?} from member {from} with the impossible index {index} ({why})")]
    ImpossibleIndex {
        /// What it is.
        kind: tenet_proto::raftpb::MessageType,
        /// Its sender.
        from: MemberId,
        /// The position it carries.
        index: Index,
        /// What makes it impossible.
        why: &'static str,
    },
    /// Contents that do not hold together.
    #[error("malformed message of type {kind:?} from member {from}: {why}")]
    Malformed {
        /// What it is.
        kind: tenet_proto::raftpb::MessageType,
        /// Its sender.
        from: MemberId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The leader knows this member to hold entries that are not here.
    #[error(
        "member {from} leads term {term} and says that index {commit} is committed and held here, \
         but the log here ends at {last}: acknowledged entries were lost (a wiped or restored \
         disk?); remove this member and add it anew"
    )]
    LostEntries {
        /// The leader.
        from: MemberId,
        /// Its term.
        term: Term,
        /// What it says is committed.
        commit: Index,
        /// The last entry here.
        last: Index,
    },
    /// A leader wants to replace entries that are committed here.
    #[error(
        "member {from} leads term {term} and sends another entry for index {index}, but entries up \
         to {committed} are committed here: the two are not of one cluster, or one lost entries"
    )]
    ForkedLog {
        /// The leader.
        from: MemberId,
        /// Its term.
        term: Term,
        /// The first position that differs.
        index: Index,
        /// What is committed here.
        committed: Index,
    },
    /// Another member claims to lead the term that this member leads.
    #[error("member {from} claims to lead term {term}, which is led by this member")]
    SecondLeader {
        /// Who claims it.
        from: MemberId,
        /// The term.
        term: Term,
    },
    /// A snapshot whose configuration breaks the rules.
    #[error("snapshot from member {from} with an invalid configuration: {why}")]
    SnapshotConfState {
        /// Its sender.
        from: MemberId,
        /// Which rule it breaks.
        why: ConfChangeError,
    },
    /// A forwarded proposal was not taken.
    #[error(transparent)]
    Proposal(#[from] ProposeError),
}

/// Why a proposal was not taken. It is safe to propose it again, except where said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProposeError {
    /// There is no leader to take it.
    #[error("no leader in term {0}: try again when one is elected")]
    NoLeader(Term),
    /// This member follows and may not forward.
    #[error("member {0} leads and proposals are not forwarded to it")]
    ForwardingDisabled(MemberId),
    /// This leader is handing over.
    #[error("leadership is being handed to member {0}: try again in a moment")]
    Transferring(MemberId),
    /// This leader has been removed from the configuration.
    #[error("this member leads, but has been removed from the configuration")]
    Removed,
    /// Too much is waiting to be committed.
    #[error(
        "{uncommitted} bytes are uncommitted and {proposed} more would exceed the limit of {limit}: \
         try again when a quorum has caught up"
    )]
    TooMuchUncommitted {
        /// Bytes that are uncommitted.
        uncommitted: u64,
        /// Bytes of the proposal.
        proposed: u64,
        /// The limit.
        limit: u64,
    },
    /// A proposal without entries.
    #[error("a proposal needs at least one entry")]
    Empty,
    /// An entry of a type that members do not propose.
    #[error("entry type {0} is unknown here")]
    UnknownEntryType(i32),
    /// A configuration change that cannot be decoded.
    #[error("the configuration change cannot be decoded")]
    UndecodableConfChange,
    /// The leader does not take the configuration change now. An empty entry has been appended in
    /// its place, as etcd does, so that a batch keeps its positions.
    #[error("configuration change refused: {0}")]
    ConfChangeRefused(ConfChangeRefusal),
}

/// Why a leader replaces a proposed configuration change with an empty entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfChangeRefusal {
    /// One at a time: an earlier change may not have been applied yet.
    #[error(
        "a change at or before index {pending} may not be applied yet (applied up to {applied})"
    )]
    Pending {
        /// Where the earlier change is at the latest.
        pending: Index,
        /// What has been applied.
        applied: Index,
    },
    /// A joint configuration must be left first.
    #[error("the configuration is joint and must be left first")]
    Joint,
    /// There is no joint configuration to leave.
    #[error("the configuration is not joint, so there is nothing to leave")]
    NotJoint,
}

/// Which rule a configuration (change) breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfChangeError {
    /// A joint configuration cannot be made joint.
    #[error("config is already joint")]
    AlreadyJoint,
    /// There are no voters to leave behind.
    #[error("can't make a zero-voter config joint")]
    NoVoters,
    /// Nothing to leave.
    #[error("can't leave a non-joint config")]
    NotJoint,
    /// Simple changes wait until a joint configuration has been left.
    #[error("can't apply simple config change in joint config")]
    SimpleInJoint,
    /// More than one voter changes without a joint configuration in between.
    #[error("more than one voter changed without entering joint config")]
    TooManyVoters,
    /// Nobody would be left to vote.
    #[error("removed all voters")]
    RemovedAllVoters,
    /// The kind of change is unknown to this version.
    #[error("unexpected conf type {0}")]
    UnknownType(i32),
    /// The kind of transition is unknown to this version.
    #[error("unexpected transition {0}")]
    UnknownTransition(i32),
    /// A configuration that is not what a series of changes can lead to.
    #[error("the configuration state {given} is not reachable, the nearest is {reached}")]
    Unreachable {
        /// What was given.
        given: String,
        /// What the same members lead to.
        reached: String,
    },
}

/// Why the first entries cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BootstrapError {
    /// There must be somebody to vote.
    #[error("a cluster needs at least one member")]
    NoMembers,
    /// Something is stored already.
    #[error("the log is not empty (its last index is {0}): only a new member is bootstrapped")]
    NotEmpty(Index),
}

/// What the stored log cannot give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogError {
    /// The entries are gone; a snapshot has taken their place.
    #[error("compacted")]
    Compacted,
    /// Not at hand at the moment; the core asks again later.
    #[error("unavailable at the moment")]
    Unavailable,
    /// A snapshot that is older than what is stored.
    #[error("the snapshot at {given} is older than the stored one at {stored}")]
    OldSnapshot {
        /// The one that was given.
        given: Index,
        /// The one that is stored.
        stored: Index,
    },
}
