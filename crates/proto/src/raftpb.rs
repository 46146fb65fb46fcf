//! The raft library's messages (package raftpb): entries, hard state, snapshots, configuration
//! changes and what peers send each other.
//!
//! Written by hand, because presence matters and differs by field: etcd up to 3.6 always writes
//! the scalars of these messages, 3.7 writes those that its code set. We write what both accept:
//! the scalars that either always writes are `required` here (written even when zero, read as zero
//! when absent); byte strings are written when they are not empty.
//!
//! Enumerations are plain `i32` on the wire with typed accessors, so that an unknown number from a
//! peer is a value to refuse and not a decoding accident.

use bytes::Bytes;
use prost::Message as _;
use tenet_base::{Index, MemberId, Term};

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum EntryType {
    /// A request of the state machine, or the empty entry of a new leader.
    Normal = 0,
    /// A [`ConfChange`].
    ConfChange = 1,
    /// A [`ConfChangeV2`].
    ConfChangeV2 = 2,
}

/// The kinds of [`Message`]; which are local and which travel is said at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum MessageType {
    /// Local: campaign.
    Hup = 0,
    /// Local, at the leader: send heartbeats.
    Beat = 1,
    /// To the leader: entries to propose. Carries no term.
    Prop = 2,
    /// From the leader: entries to append.
    App = 3,
    /// To the leader: the answer to `App` and `Snap`.
    AppResp = 4,
    /// From a candidate: the request for a vote.
    Vote = 5,
    /// To a candidate: the vote.
    VoteResp = 6,
    /// From the leader: a snapshot.
    Snap = 7,
    /// From the leader: a heartbeat.
    Heartbeat = 8,
    /// To the leader: the answer to a heartbeat.
    HeartbeatResp = 9,
    /// Local: the transport could not reach a peer.
    Unreachable = 10,
    /// Local: how the sending of a snapshot ended.
    SnapStatus = 11,
    /// Local, at the leader: check that a quorum is active.
    CheckQuorum = 12,
    /// To the leader: hand leadership to the sender.
    TransferLeader = 13,
    /// From the leader: campaign now.
    TimeoutNow = 14,
    /// To the leader: ask for a read index. Carries no term.
    ReadIndex = 15,
    /// From the leader: a read index.
    ReadIndexResp = 16,
    /// From a pre-candidate: would you vote for me?
    PreVote = 17,
    /// To a pre-candidate: the answer.
    PreVoteResp = 18,
    /// Local, with asynchronous storage: entries and state for the log.
    StorageAppend = 19,
    /// Local: the log's answer.
    StorageAppendResp = 20,
    /// Local, with asynchronous storage: committed entries for the state machine.
    StorageApply = 21,
    /// Local: the state machine's answer.
    StorageApplyResp = 22,
    /// Local: forget the leader.
    ForgetLeader = 23,
}

/// The kinds of configuration change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeType {
    /// Adds a voter, or promotes a learner.
    AddNode = 0,
    /// Removes a member.
    RemoveNode = 1,
    /// Changes what is known of a member; no effect on the configuration.
    UpdateNode = 2,
    /// Adds a learner, or demotes a voter.
    AddLearnerNode = 3,
}

/// How a [`ConfChangeV2`] passes through the joint configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeTransition {
    /// Simple if one change suffices, else joint and left automatically.
    Auto = 0,
    /// Joint, left automatically.
    JointImplicit = 1,
    /// Joint, left by another change.
    JointExplicit = 2,
}

/// One entry of the raft log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// An [`EntryType`].
    #[prost(enumeration = "EntryType", required, tag = "1")]
    pub entry_type: i32,
    /// The term in which a leader made it.
    #[prost(uint64, required, tag = "2")]
    pub term: u64,
    /// Its position.
    #[prost(uint64, required, tag = "3")]
    pub index: u64,
    /// What it carries; empty for the first entry of a leader.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

impl Entry {
    /// The term as its own type.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.term)
    }

    /// The index as its own type.
    #[must_use]
    pub fn index(&self) -> Index {
        Index(self.index)
    }
}

/// Where a snapshot was taken.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotMetadata {
    /// The configuration at that point.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last index that the snapshot covers.
    #[prost(uint64, required, tag = "2")]
    pub index: u64,
    /// The term of that index.
    #[prost(uint64, required, tag = "3")]
    pub term: u64,
}

/// A snapshot: its place in the log and opaque contents.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    /// Opaque to the consensus core.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Where it was taken.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

impl Snapshot {
    /// The last index it covers; zero for the empty snapshot.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.index)
    }

    /// The term of [`Snapshot::index`].
    #[must_use]
    pub fn term(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.term)
    }

    /// Whether it is the empty snapshot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index() == 0
    }
}

/// What a member must have on disk before it answers.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    /// The latest term it has seen.
    #[prost(uint64, required, tag = "1")]
    pub term: u64,
    /// Whom it voted for in that term; zero for nobody.
    #[prost(uint64, required, tag = "2")]
    pub vote: u64,
    /// The highest index that it knows to be committed.
    #[prost(uint64, required, tag = "3")]
    pub commit: u64,
}

impl HardState {
    /// Whether nothing was ever stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == HardState::default()
    }

    /// The vote as its own type.
    #[must_use]
    pub fn vote(&self) -> MemberId {
        MemberId(self.vote)
    }
}

/// The members of a configuration, by role.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfState {
    /// Voters of the incoming configuration.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Members that receive the log and do not vote.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// Voters of the outgoing configuration, while joint.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Voters of the outgoing configuration that become learners when the joint one is left.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether the joint configuration is left automatically.
    #[prost(bool, required, tag = "5")]
    pub auto_leave: bool,
}

/// A change of one member.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfChange {
    /// The proposer's request id.
    #[prost(uint64, required, tag = "1")]
    pub id: u64,
    /// A [`ConfChangeType`].
    #[prost(enumeration = "ConfChangeType", required, tag = "2")]
    pub change_type: i32,
    /// Which member; zero turns the change into nothing.
    #[prost(uint64, required, tag = "3")]
    pub node_id: u64,
    /// Opaque to the consensus core.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// One change of a [`ConfChangeV2`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ConfChangeSingle {
    /// A [`ConfChangeType`].
    #[prost(enumeration = "ConfChangeType", required, tag = "1")]
    pub change_type: i32,
    /// Which member.
    #[prost(uint64, required, tag = "2")]
    pub node_id: u64,
}

/// A change of several members. etcd itself never proposes one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfChangeV2 {
    /// A [`ConfChangeTransition`].
    #[prost(enumeration = "ConfChangeTransition", required, tag = "1")]
    pub transition: i32,
    /// The changes; none leaves a joint configuration.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ConfChangeSingle>,
    /// Opaque to the consensus core.
    #[prost(bytes = "bytes", tag = "3")]
    pub context: Bytes,
}

/// What members, and a member's own parts, send each other.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// A [`MessageType`].
    #[prost(enumeration = "MessageType", required, tag = "1")]
    pub msg_type: i32,
    /// The receiver.
    #[prost(uint64, required, tag = "2")]
    pub to: u64,
    /// The sender.
    #[prost(uint64, required, tag = "3")]
    pub from: u64,
    /// The sender's term; zero on local messages, proposals and read-index requests.
    #[prost(uint64, required, tag = "4")]
    pub term: u64,
    /// The term of `index`.
    #[prost(uint64, required, tag = "5")]
    pub log_term: u64,
    /// A log position whose meaning depends on the type.
    #[prost(uint64, required, tag = "6")]
    pub index: u64,
    /// Entries, after `index`.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    #[prost(uint64, required, tag = "8")]
    pub commit: u64,
    /// A snapshot.
    #[prost(message, optional, boxed, tag = "9")]
    pub snapshot: Option<Box<Snapshot>>,
    /// Whether the answer is no.
    #[prost(bool, required, tag = "10")]
    pub reject: bool,
    /// Where to try next.
    #[prost(uint64, required, tag = "11")]
    pub reject_hint: u64,
    /// Opaque; echoed by answers to heartbeats.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
    /// Local: the vote to store.
    #[prost(uint64, tag = "13")]
    pub vote: u64,
    /// Local: messages to deliver once this one's work is durable.
    #[prost(message, repeated, tag = "14")]
    pub responses: Vec<Message>,
}

impl Message {
    /// The type, or `None` for a number that this version does not know.
    #[must_use]
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::try_from(self.msg_type).ok()
    }
}

/// The encoded length of an entry in bytes, which flow control counts.
#[must_use]
pub fn entry_bytes(entry: &Entry) -> u64 {
    entry.encoded_len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(message: &impl prost::Message) -> String {
        message
            .encode_to_vec()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    #[test]
    fn hard_state_is_written_whole() {
        let state = HardState {
            term: 1,
            vote: 0,
            commit: 1,
        };
        assert_eq!(hex(&state), "080110001801");
    }

    #[test]
    fn leader_entry_has_no_data() {
        let entry = Entry {
            term: 2,
            index: 2,
            ..Entry::default()
        };
        assert_eq!(hex(&entry), "080010021802");
    }

    #[test]
    fn entries_of_both_generations_are_read() {
        // Written by etcd 3.7 (no type) and by 3.6.
        for bytes in [
            &[0x10, 0x02, 0x18, 0x02][..],
            &[0x08, 0, 0x10, 0x02, 0x18, 0x02][..],
        ] {
            let entry = Entry::decode(bytes).unwrap();
            assert_eq!((entry.term, entry.index, entry.entry_type), (2, 2, 0));
            assert!(entry.data.is_empty());
        }
    }

    #[test]
    fn conf_state_is_unpacked_on_the_wire() {
        let state = ConfState {
            voters: vec![1, 2],
            ..ConfState::default()
        };
        assert_eq!(hex(&state), "080108022800");
        let packed = ConfState::decode(&[0x0a, 0x02, 0x01, 0x02][..]).unwrap();
        assert_eq!(packed.voters, vec![1, 2]);
    }

    #[test]
    fn captured_heartbeat_is_read() {
        // As captured from etcd 3.7.1: type, to, from, term, commit.
        let bytes = [0x08, 0x08, 0x10, 0x05, 0x18, 0x07, 0x20, 0x02, 0x40, 0x00];
        let message = Message::decode(&bytes[..]).unwrap();
        assert_eq!(message.kind(), Some(MessageType::Heartbeat));
        assert_eq!((message.to, message.from, message.term), (5, 7, 2));
    }
}
