//! What the transport asks of the member whose messages it carries.

use crate::body::Database;
use bytes::Bytes;
use std::pin::Pin;
use tenet_base::{LeaseId, MemberId, Revision};
use tenet_proto::etcdserverpb::LeaseTimeToLiveResponse;
use tenet_proto::raftpb::Message;

/// An answer that takes its time.
pub type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a message goes no further: the member has too many that wait, or it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member takes no more messages")]
pub struct Dropped;

/// Why a snapshot was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotRefusal {
    /// What has arrived cannot be stored.
    #[error("failed to save KV snapshot ({0})")]
    Save(String),
    /// It is stored, and the member does not take the message.
    #[error("failed to process raft message ({0})")]
    Process(String),
}

/// Why a member was not promoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteRefusal {
    /// There is no such member.
    #[error("membership: ID not found")]
    NotFound,
    /// It votes already.
    #[error("membership: can only promote a learner member")]
    NotLearner,
    /// It lacks too much of the log.
    #[error("etcdserver: can only promote a learner member which is in sync with leader")]
    NotReady,
    /// Anything else, for the log.
    #[error("{0}")]
    Other(String),
}

/// Why a question about a lease has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// There is no such lease.
    #[error("lease not found")]
    NotFound,
    /// This member does not lead.
    #[error("not a primary lessor")]
    NotPrimary,
    /// This member has not applied what it knows to be committed.
    #[error("waiting for node to catch up its applied index has timed out")]
    Timeout,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A hash of the key-value store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    /// The newest revision of the member.
    pub revision: Revision,
    /// The hash.
    pub hash: u32,
    /// Below it nothing was counted; −1 if nothing was ever compacted.
    pub compact_revision: i64,
    /// The revision up to which was counted.
    pub hash_revision: Revision,
}

/// What a member says of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The version of etcd that it stands for.
    pub server: String,
    /// That of the cluster, once it is decided.
    pub cluster: Option<String>,
    /// That of its storage, or `unknown`.
    pub storage: String,
}

/// See the module. Calls without an [`Answer`] must not wait.
pub trait Handler: Send + Sync + 'static {
    /// Takes a message of another member.
    ///
    /// # Errors
    /// If there is no room for it; it counts as lost.
    fn receive(&self, message: Message) -> Result<(), Dropped>;

    /// Stores a database that another member sends, and takes the message that announces it. The
    /// database must be taken without pauses: its sender gives up. When the connection breaks, the
    /// answer is dropped at whatever it waits for, and has to leave nothing behind.
    fn receive_snapshot(
        &self,
        message: Message,
        database: Database,
    ) -> Answer<Result<(), SnapshotRefusal>>;

    /// Whether a member was removed from the cluster.
    fn is_removed(&self, id: MemberId) -> bool;

    /// Messages to a member were lost.
    fn report_unreachable(&self, id: MemberId);

    /// How the sending of a snapshot to a member has ended.
    fn report_snapshot(&self, id: MemberId, arrived: bool);

    /// Another member says that this one was removed from the cluster: it must stop. Said again
    /// with each attempt to reach that member, until the transport is stopped.
    fn removed_says(&self, by: MemberId);

    /// The members, as a list in JSON.
    fn members(&self) -> Bytes;

    /// The versions.
    fn versions(&self) -> Versions;

    /// Makes a learner a voter, for a client with this token; answers with the members.
    fn promote(&self, id: MemberId, token: Option<String>)
    -> Answer<Result<Bytes, PromoteRefusal>>;

    /// Hashes the store up to a revision, zero for the newest; errors are etcd's texts.
    fn hash_kv(&self, revision: Revision) -> Answer<Result<HashKv, String>>;

    /// Renews a lease, and answers with its time to live in seconds.
    fn keep_alive(&self, lease: LeaseId) -> Answer<Result<i64, LeaseRefusal>>;

    /// What is left of a lease, and its keys if they are asked for.
    fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Answer<Result<LeaseTimeToLiveResponse, LeaseRefusal>>;

    /// Whether the cluster is being downgraded, as of now.
    fn downgrade_enabled(&self) -> Answer<Result<bool, String>>;
}
