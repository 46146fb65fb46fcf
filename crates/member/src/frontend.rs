//! What runs on the calling worker: checks, admission and encoding before a write is proposed,
//! and reads of a published view.
//!
//! Shared by all workers; nothing here waits or locks. A write that passes is a [`Prepared`]
//! proposal; a read is answered from one view, so it is consistent in itself.

use crate::identity::{Identity, RequestIds};
use crate::progress::Progress;
use crate::proposal::Prepared;
use std::sync::Arc;
use tenet_base::{Revision, limits};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, HashKvRequest, HashKvResponse,
    InternalRaftRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
};
use tenet_proto::prost::Message as _;
use tenet_state::{
    CannotRead, Quota, Response, StateViews, check_delete_range, check_put, check_txn,
    lease_grant_cost, put_cost, read_hash_kv, read_range, read_range_cached, read_txn,
    read_txn_cached, txn_cost,
};

/// Limits that flags can change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest encoded request (`--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Operations in a transaction (`--max-txn-ops`).
    pub txn_ops_max: usize,
    /// Storage quota in bytes, as given: zero for the default, negative for none
    /// (`--quota-backend-bytes`).
    pub quota_bytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            txn_ops_max: limits::TXN_OPS_MAX,
            quota_bytes: 0,
        }
    }
}

/// A write as a client asks for it.
#[derive(Clone, Debug)]
pub enum Write {
    /// A put.
    Put(PutRequest),
    /// A deletion.
    DeleteRange(DeleteRangeRequest),
    /// A transaction that may write.
    Txn(TxnRequest),
    /// A compaction.
    Compact(CompactionRequest),
    /// A lease; with id zero one is chosen.
    LeaseGrant(LeaseGrantRequest),
    /// The end of a lease and of its keys.
    LeaseRevoke(LeaseRevokeRequest),
    /// An alarm request, reading included, as in etcd.
    Alarm(AlarmRequest),
}

/// See the module.
#[derive(Debug)]
pub struct Frontend {
    identity: Identity,
    limits: Limits,
    progress: Arc<Progress>,
    views: StateViews,
    ids: Arc<RequestIds>,
}

impl Frontend {
    /// A frontend over what a member publishes.
    pub fn new(
        identity: Identity,
        limits: Limits,
        progress: Arc<Progress>,
        views: StateViews,
        ids: Arc<RequestIds>,
    ) -> Self {
        Frontend {
            identity,
            limits,
            progress,
            views,
            ids,
        }
    }

    /// The published state.
    pub fn views(&self) -> &StateViews {
        &self.views
    }

    /// The numbers of the running member.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Who this member is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// An id for a request that was not given before.
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }

    /// A header with the newest published revision.
    pub fn header(&self) -> ResponseHeader {
        self.header_at(self.views.load().kv.revision())
    }

    /// A header with `revision`.
    pub fn header_at(&self, revision: Revision) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.identity.cluster.get(),
            member_id: self.identity.member.get(),
            revision: revision.get(),
            raft_term: self.progress.term().get(),
        }
    }

    /// Completes a header that the state machine left with a revision only; a missing revision
    /// becomes the newest.
    pub fn complete_header(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        let revision = if revision == 0 {
            self.views.load().kv.revision()
        } else {
            Revision(revision)
        };
        *header = Some(self.header_at(revision));
    }

    /// Checks a write and makes it ready to be proposed.
    ///
    /// # Errors
    /// Whatever etcd answers to a write that it does not propose.
    pub fn prepare(&self, write: Write) -> Result<Prepared, ApiError> {
        let mut request = InternalRaftRequest::default();
        match write {
            // etcd asks for the space before it looks at the request.
            Write::Put(put) => {
                self.check_space(|| put_cost(&put))?;
                check_put(&put)?;
                request.put = Some(put);
            }
            Write::DeleteRange(delete) => {
                check_delete_range(&delete)?;
                request.delete_range = Some(Box::new(delete));
            }
            Write::Txn(txn) => {
                self.check_space(|| txn_cost(&txn))?;
                check_txn(&txn, self.limits.txn_ops_max)?;
                request.txn = Some(Box::new(txn));
            }
            Write::Compact(compaction) => request.compaction = Some(Box::new(compaction)),
            Write::LeaseGrant(mut grant) => {
                self.check_space(lease_grant_cost)?;
                while grant.id == 0 {
                    grant.id = (self.ids.next() & i64::MAX as u64) as i64;
                }
                request.lease_grant = Some(Box::new(grant));
            }
            Write::LeaseRevoke(revoke) => request.lease_revoke = Some(Box::new(revoke)),
            Write::Alarm(alarm) => request.alarm = Some(Box::new(alarm)),
        }
        self.admit(request)
    }

    /// Refuses a write that would pass the quota, and any when the file system has little space
    /// left; one that costs nothing always passes. What compactions have set free is not charged:
    /// it is taken back in the background.
    fn check_space(&self, cost: impl FnOnce() -> usize) -> Result<(), ApiError> {
        let quota = Quota::from_config(self.limits.quota_bytes);
        let used = self.views.load().kv.size().db_in_use_bytes as i64;
        if self.progress.is_space_low() {
            return match cost() {
                0 => Ok(()),
                _ => Err(ApiError::NoSpace),
            };
        }
        // Far from the quota it does not matter what one request costs.
        if quota.admits(used, 2 * self.limits.request_bytes_max) || quota.admits(used, cost()) {
            Ok(())
        } else {
            Err(ApiError::NoSpace)
        }
    }

    /// Whether this member has raised the alarm that its quota is reached.
    pub fn has_space_alarm(&self) -> bool {
        self.views.load().cluster.alarms.iter().any(|alarm| {
            alarm.member_id == self.identity.member.get() && alarm.alarm() == AlarmType::Nospace
        })
    }

    fn admit(&self, mut request: InternalRaftRequest) -> Result<Prepared, ApiError> {
        request.header = Some(self.ids.header());
        let bytes = request.encoded_len();
        if bytes > self.limits.request_bytes_max {
            return Err(ApiError::RequestTooLarge);
        }
        let permit = self.progress.admit(bytes)?;
        let data = request.encode_to_vec().into();
        Ok(Prepared {
            data,
            request: Box::new(request),
            permit,
        })
    }

    /// Runs a checked read on the newest published view.
    ///
    /// # Errors
    /// A compacted or future revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, CannotRead> {
        let view = self.views.load();
        let mut response = self.noted(read_range(&view.kv, request))?;
        self.complete_header(&mut response.header);
        Ok(response)
    }

    /// As [`Frontend::range`], but never waits for the medium: `None` if it would have to.
    ///
    /// # Errors
    /// As [`Frontend::range`].
    pub fn range_cached(
        &self,
        request: &RangeRequest,
    ) -> Result<Option<RangeResponse>, CannotRead> {
        let view = self.views.load();
        let mut response = self.noted(read_range_cached(&view.kv, request))?;
        if let Some(response) = &mut response {
            self.complete_header(&mut response.header);
        }
        Ok(response)
    }

    /// Runs a checked transaction of reads on the newest published view.
    ///
    /// # Errors
    /// A compacted or future revision.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, CannotRead> {
        let view = self.views.load();
        let mut response = self.noted(read_txn(&view.kv, request))?;
        self.complete_header(&mut response.header);
        Ok(response)
    }

    /// As [`Frontend::read_txn`], but never waits for the medium: `None` if it would have to.
    ///
    /// # Errors
    /// As [`Frontend::read_txn`].
    pub fn read_txn_cached(&self, request: &TxnRequest) -> Result<Option<TxnResponse>, CannotRead> {
        let view = self.views.load();
        let mut response = self.noted(read_txn_cached(&view.kv, request))?;
        if let Some(response) = &mut response {
            self.complete_header(&mut response.header);
        }
        Ok(response)
    }

    /// Remembers that a value cannot be read: the alarm for it is due.
    fn noted<T>(&self, result: Result<T, CannotRead>) -> Result<T, CannotRead> {
        if let Err(CannotRead::Store(_)) = &result {
            self.progress.set_damage_seen();
        }
        result
    }

    /// The hash of the store up to a revision.
    ///
    /// # Errors
    /// A compacted or future revision.
    pub fn hash_kv(&self, request: &HashKvRequest) -> Result<HashKvResponse, CannotRead> {
        let mut response = read_hash_kv(&self.views.load().kv, request)?;
        self.complete_header(&mut response.header);
        Ok(response)
    }

    /// Fills the header of a write's response.
    pub fn complete(&self, response: &mut Response) {
        if let Some(header) = response.header_mut() {
            self.complete_header(header);
        }
    }
}
