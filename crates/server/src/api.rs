//! What the transports ask of a member.
//!
//! A trait, so that the transports can be tested without a member; everything is generic over it,
//! and no call is boxed or dispatched at run time. Answers come with their headers filled in.
//! Dropping a future that one of these methods gave must lose nothing but its answer.

use crate::metrics::Page;
use bytes::Bytes;
use std::future::Future;
use std::task::Waker;
use tenet_base::ids::{Index, MemberId, Term};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
pub use tenet_runtime::RangeAnswer;

/// The versions that a member reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The version of etcd whose surface is served.
    pub server: String,
    /// The cluster's version, once it is decided.
    pub cluster: Option<String>,
    /// The version of the stored schema.
    pub storage: String,
}

/// A member, as the transports see it. Cloning gives another handle to the same member.
#[allow(missing_docs)]
pub trait Api: Clone + Send + Sync + 'static {
    /// What is left of a range answer that is too long to be held.
    type Long: LongAnswer;
    /// The answers of a `RangeStream` call.
    type Chunks: RangeChunks<Long = Self::Long>;
    /// What stands behind a `Watch` call.
    type Watches: WatchStream;
    /// The messages of a `Snapshot` call.
    type Snapshot: SnapshotMessages;

    /// An answer that is held, however long it is: for what the server asks for itself.
    fn range(&self, request: pb::RangeRequest) -> impl Answer<pb::RangeResponse>;
    /// A long answer is measured before, which may keep the calling task busy for long.
    fn open_range(&self, request: pb::RangeRequest) -> impl Answer<RangeAnswer<Self::Long>>;
    fn range_stream(&self, request: pb::RangeRequest) -> impl Answer<Self::Chunks>;
    fn put(&self, request: pb::PutRequest) -> impl Answer<pb::PutResponse>;
    fn delete_range(&self, request: pb::DeleteRangeRequest)
    -> impl Answer<pb::DeleteRangeResponse>;
    fn txn(&self, request: pb::TxnRequest) -> impl Answer<pb::TxnResponse>;
    fn compact(&self, request: pb::CompactionRequest) -> impl Answer<pb::CompactionResponse>;
    fn lease_grant(&self, request: pb::LeaseGrantRequest) -> impl Answer<pb::LeaseGrantResponse>;
    fn lease_revoke(&self, request: pb::LeaseRevokeRequest)
    -> impl Answer<pb::LeaseRevokeResponse>;
    fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> impl Answer<pb::LeaseTimeToLiveResponse>;
    /// Sorts all leases, so it may keep the calling task busy for long.
    fn lease_leases(&self) -> impl Answer<pb::LeaseLeasesResponse>;
    fn lease_keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> impl Answer<pb::LeaseKeepAliveResponse>;
    fn watch(&self) -> Self::Watches;
    fn alarm(&self, request: pb::AlarmRequest) -> impl Answer<pb::AlarmResponse>;
    /// May take long; it runs elsewhere meanwhile.
    fn hash(&self) -> impl Answer<pb::HashResponse>;
    /// As [`Api::hash`].
    fn hash_kv(&self, request: pb::HashKvRequest) -> impl Answer<pb::HashKvResponse>;
    fn member_list(&self, request: pb::MemberListRequest) -> impl Answer<pb::MemberListResponse>;
    fn member_add(&self, request: pb::MemberAddRequest) -> impl Answer<pb::MemberAddResponse>;
    fn member_remove(
        &self,
        request: pb::MemberRemoveRequest,
    ) -> impl Answer<pb::MemberRemoveResponse>;
    fn member_update(
        &self,
        request: pb::MemberUpdateRequest,
    ) -> impl Answer<pb::MemberUpdateResponse>;
    fn member_promote(
        &self,
        request: pb::MemberPromoteRequest,
    ) -> impl Answer<pb::MemberPromoteResponse>;
    fn move_leader(&self, request: pb::MoveLeaderRequest) -> impl Answer<pb::MoveLeaderResponse>;
    fn defragment(&self) -> impl Answer<()>;
    /// May wait for its turn.
    fn snapshot(&self) -> impl Answer<Self::Snapshot>;

    /// What `Maintenance.Status` answers.
    fn status(&self) -> pb::StatusResponse;
    /// The leader that this member knows.
    fn leader(&self) -> Option<MemberId>;
    /// Whether this member has no vote.
    fn is_learner(&self) -> bool;
    /// The alarms that are raised.
    fn alarms(&self) -> Vec<pb::AlarmMember>;
    /// The versions that this member reports.
    fn versions(&self) -> Versions;
    /// This member, its term and the index that it has applied, for log lines.
    fn position(&self) -> (MemberId, Term, Index);
    /// Writes the member's own metrics to the page.
    fn collect(&self, page: &mut Page);

    /// Done once the member has made itself known to the cluster and serves clients.
    fn ready(&self) -> impl Future<Output = ()> + Send;
    /// Stops the member; done once nothing more is written.
    fn stop(&self) -> impl Future<Output = ()> + Send;
}

/// A range answer of which the key-values follow in pieces.
pub trait LongAnswer: Send {
    /// The answer without its key-values.
    fn around(&self) -> &pb::RangeResponse;
    /// Bytes of all key-values, as fields of the answer.
    fn kvs_bytes(&self) -> u64;
    /// The next key-values, as fields of the answer: at most `bytes_max`, or one that is longer;
    /// empty behind the last. May wait, and is quick when it does not. Nothing follows an error.
    fn next(&mut self, bytes_max: usize) -> impl Answer<Bytes>;
}

impl<L: LongAnswer> LongAnswer for Box<L> {
    fn around(&self) -> &pb::RangeResponse {
        (**self).around()
    }

    fn kvs_bytes(&self) -> u64 {
        (**self).kvs_bytes()
    }

    fn next(&mut self, bytes_max: usize) -> impl Answer<Bytes> {
        (**self).next(bytes_max)
    }
}

/// The answers of a `RangeStream` call, made as they are asked for.
pub trait RangeChunks: Send {
    /// One answer.
    type Long: LongAnswer;
    /// The next one, to be read to its end before the one after it is asked for; `None` behind the
    /// last and behind an error.
    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Long, ApiError>>> + Send;
}

/// The messages of a snapshot, made as they are asked for.
pub trait SnapshotMessages: Send {
    /// The next one, `None` behind the last; a text if the rest cannot be made.
    fn next(&mut self)
    -> impl Future<Output = Option<Result<pb::SnapshotResponse, String>>> + Send;
}

/// The watches of one stream.
pub trait WatchStream: Send + 'static {
    /// Whether the next request may be taken; if not, pull first.
    fn takes_requests(&self) -> bool;
    /// Takes a request of the client.
    fn request(&mut self, request: pb::WatchRequest);
    /// Appends encoded `WatchResponse`s, up to about `budget_bytes`, without waiting for anything.
    /// An error ends the stream.
    fn pull(
        &mut self,
        waker: &Waker,
        budget_bytes: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<Pulled, ApiError>;
    /// The same where it may wait, after [`Pulled::Cold`]. There may be more behind it.
    fn pull_waiting(
        self,
        budget_bytes: usize,
    ) -> impl Future<Output = Result<(Self, Vec<Bytes>), ApiError>> + Send + 'static
    where
        Self: Sized;
}

/// What is left after a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing; the waker is woken when there is something.
    All,
    /// Perhaps more: pull again, after others had their turn.
    Part,
    /// What is next would have to be waited for.
    Cold,
}

/// Short for the future that every call gives.
pub trait Answer<T>: Future<Output = Result<T, ApiError>> + Send {}

impl<T, F: Future<Output = Result<T, ApiError>> + Send> Answer<T> for F {}
