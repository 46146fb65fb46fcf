//! What applying an entry gives: an answer for whoever asked, or the reason why this member must
//! stop.

use tenet_base::{Index, MemberId};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    AlarmResponse, AuthRoleGetResponse, AuthRoleListResponse, AuthStatusResponse,
    AuthUserGetResponse, AuthUserListResponse, CompactionResponse, DeleteRangeResponse,
    LeaseCheckpointResponse, LeaseGrantResponse, LeaseRevokeResponse, Member, PutResponse,
    RangeResponse, ResponseHeader, TxnResponse,
};
use tenet_proto::raftpb::ConfChange;
use tenet_store::ReadError;

/// The answer to a request. Headers carry the revision; cluster, member and term are for the
/// serving side to fill in.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Response {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    Compaction(CompactionResponse),
    LeaseGrant(LeaseGrantResponse),
    LeaseRevoke(LeaseRevokeResponse),
    LeaseCheckpoint(LeaseCheckpointResponse),
    Alarm(AlarmResponse),
    AuthStatus(AuthStatusResponse),
    AuthUserGet(AuthUserGetResponse),
    AuthUserList(AuthUserListResponse),
    AuthRoleGet(AuthRoleGetResponse),
    AuthRoleList(AuthRoleListResponse),
    AuthEnable(Option<ResponseHeader>),
    AuthDisable(Option<ResponseHeader>),
    AuthUserAdd(Option<ResponseHeader>),
    AuthUserDelete(Option<ResponseHeader>),
    AuthUserChangePassword(Option<ResponseHeader>),
    AuthUserGrantRole(Option<ResponseHeader>),
    AuthUserRevokeRole(Option<ResponseHeader>),
    AuthRoleAdd(Option<ResponseHeader>),
    AuthRoleDelete(Option<ResponseHeader>),
    AuthRoleGrantPermission(Option<ResponseHeader>),
    AuthRoleRevokePermission(Option<ResponseHeader>),
    /// Done; there is nothing to tell (requests of the cluster itself).
    Done,
}

impl Response {
    /// The place of the header, in the answers that have one.
    pub fn header_mut(&mut self) -> Option<&mut Option<ResponseHeader>> {
        Some(match self {
            Response::Range(response) => &mut response.header,
            Response::Put(response) => &mut response.header,
            Response::DeleteRange(response) => &mut response.header,
            Response::Txn(response) => &mut response.header,
            Response::Compaction(response) => &mut response.header,
            Response::LeaseGrant(response) => &mut response.header,
            Response::LeaseRevoke(response) => &mut response.header,
            Response::LeaseCheckpoint(response) => &mut response.header,
            Response::Alarm(response) => &mut response.header,
            Response::AuthStatus(response) => &mut response.header,
            Response::AuthUserGet(response) => &mut response.header,
            Response::AuthUserList(response) => &mut response.header,
            Response::AuthRoleGet(response) => &mut response.header,
            Response::AuthRoleList(response) => &mut response.header,
            Response::AuthEnable(header)
            | Response::AuthDisable(header)
            | Response::AuthUserAdd(header)
            | Response::AuthUserDelete(header)
            | Response::AuthUserChangePassword(header)
            | Response::AuthUserGrantRole(header)
            | Response::AuthUserRevokeRole(header)
            | Response::AuthRoleAdd(header)
            | Response::AuthRoleDelete(header)
            | Response::AuthRoleGrantPermission(header)
            | Response::AuthRoleRevokePermission(header) => header,
            Response::Done => return None,
        })
    }
}

/// The outcome of one entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// The answer, or the error that every member found.
    pub result: Result<Response, ApiError>,
    /// The store of this member passed its quota with this entry, and no alarm stands yet: it
    /// should propose one. The entry's effects are there all the same, since other members may
    /// have had the space.
    pub wants_alarm: bool,
    /// A value that only the answer needed could not be read.
    pub damaged: Option<Box<ReadError>>,
}

/// The outcome of a configuration change.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfApplied {
    /// What to give to raft: the change itself, or with node id 0, which changes nothing, if it
    /// was refused. What raft answers goes into [`crate::State::set_conf_state`].
    pub change: ConfChange,
    /// The members after the change, or why it was refused.
    pub result: Result<Vec<Member>, ApiError>,
    /// This member was removed: it has to stop.
    pub removes_self: bool,
}

/// An entry that this member must not go past: it cannot do what the others did. Nothing of the
/// entry has been applied; the member has to stop and say this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A value that the entry needs cannot be read.
    #[error(
        "log entry {index} needs a value that cannot be read: {error}. Restore this member from a \
         snapshot, or remove it and add it again"
    )]
    Unreadable {
        /// The entry.
        index: Index,
        /// Why.
        error: Box<ReadError>,
    },
    /// The payload does not say who asked.
    #[error(
        "log entry {index} has no request header; it was not written by etcd 3.x or is damaged. \
         Restore this member from a snapshot, or remove it and add it again"
    )]
    NoHeader {
        /// The entry.
        index: Index,
    },
    /// The payload names no operation that this version knows.
    #[error(
        "log entry {index} holds no operation known to this version; a newer version or an etcd \
         older than 3.5 wrote it. Run a version that knows it, or restore from a snapshot"
    )]
    UnknownOperation {
        /// The entry.
        index: Index,
    },
    /// Authentication was switched on.
    #[error(
        "log entry {index} switches authentication on, which this version cannot enforce. Switch \
         it off with the version that wrote the entry (etcdctl auth disable), take a snapshot \
         and restore from that"
    )]
    AuthEnabled {
        /// The entry.
        index: Index,
    },
    /// A password that each member would have to hash on its own.
    #[error(
        "log entry {index} holds a password that is not hashed, as etcd before 3.5 wrote it. \
         Upgrade that cluster to etcd 3.5 or later, take a snapshot and restore from that"
    )]
    UnhashedPassword {
        /// The entry.
        index: Index,
    },
    /// The cluster version is not a version.
    #[error(
        "log entry {index} sets the cluster version to {text:?}, which is not of the form X.Y.Z"
    )]
    BadClusterVersion {
        /// The entry.
        index: Index,
        /// What it says.
        text: String,
    },
    /// The cluster has moved on to a version that this server does not implement.
    #[error(
        "log entry {index} raises the cluster version to {version}; this server goes up to \
         {max}. Start this member with the newer version that the cluster runs"
    )]
    ClusterVersionTooHigh {
        /// The entry.
        index: Index,
        /// What it says.
        version: crate::Version,
        /// What we can do.
        max: crate::Version,
    },
    /// Attributes of nobody.
    #[error(
        "log entry {index} publishes attributes of member {member}, which never was a member. \
         The state of this member differs from the cluster's: remove it and add it again"
    )]
    UnknownMember {
        /// The entry.
        index: Index,
        /// Whom it names.
        member: MemberId,
    },
    /// A configuration change that cannot be read.
    #[error("log entry {index} holds a configuration change that cannot be applied: {reason}")]
    BadConfChange {
        /// The entry.
        index: Index,
        /// Why not.
        reason: String,
    },
}
