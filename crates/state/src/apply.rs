//! What each kind of request does, by etcd's rules and in etcd's order of refusals: first the
//! alarms, then the request's own checks, then its effects, then the quota.

use crate::answer::{Applied, Fatal, Response};
use crate::kv::{Writer, api_error, header, range_response};
use crate::state::State;
use crate::txn::{self, Check, Path};
use crate::{Version, quota};
use tenet_base::{Index, LeaseId, MemberId};
use tenet_mvcc::RangeResult;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse, DowngradeInfo,
    InternalRaftRequest, LeaseCheckpointRequest, LeaseCheckpointResponse, LeaseGrantRequest,
    LeaseGrantResponse, LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, RangeRequest,
    ResponseHeader, TxnRequest,
};
use tenet_proto::membershippb::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest};

impl State {
    /// Applies the one operation that the request holds.
    pub(crate) fn apply_request(
        &mut self,
        index: Index,
        request: &InternalRaftRequest,
        answering: bool,
    ) -> Result<Applied, Fatal> {
        if let Some(applied) = self.apply_kv(request, answering) {
            return Ok(applied);
        }
        // All that is left is seen by readers in the small tables.
        self.cluster_changed = true;
        if self.apply_cluster(index, request)? {
            return Ok(done(Ok(Response::Done)));
        }
        let header = self.header().unwrap_or_default();
        let result = self.tables.auth.apply(index, request, header);
        Ok(done(result.ok_or(Fatal::UnknownOperation { index })??))
    }

    /// Requests about keys, leases and alarms; the commonest first, since a request holds just
    /// one operation.
    fn apply_kv(&mut self, request: &InternalRaftRequest, answering: bool) -> Option<Applied> {
        Some(if let Some(r) = &request.put {
            self.gated(quota::put_cost(r), |state| state.put(r, answering))
        } else if let Some(r) = &request.txn {
            self.gated(quota::txn_cost(r), |state| state.txn(r, answering))
        } else if let Some(r) = &request.delete_range {
            self.gated(0, |state| {
                let write = |writer: &mut Writer<'_>| Ok(writer.delete_range(r));
                state.write(answering, write).map(Response::DeleteRange)
            })
        } else if let Some(r) = &request.range {
            self.gated(0, |state| state.range(r, answering))
        } else if let Some(r) = &request.compaction {
            self.gated(0, |state| state.compact(r))
        } else if let Some(r) = &request.lease_grant {
            self.gated(quota::lease_grant_cost(), |state| state.lease_grant(r))
        } else if let Some(r) = &request.lease_revoke {
            self.gated(0, |state| state.lease_revoke(r))
        } else if let Some(r) = &request.lease_checkpoint {
            done(Ok(self.lease_checkpoint(r)))
        } else if let Some(r) = &request.alarm {
            done(Ok(self.alarm(r)))
        } else {
            return None;
        })
    }

    /// Requests about the cluster itself; whether it was one.
    fn apply_cluster(
        &mut self,
        index: Index,
        request: &InternalRaftRequest,
    ) -> Result<bool, Fatal> {
        if let Some(r) = &request.cluster_version_set {
            self.set_cluster_version(index, r)?;
        } else if let Some(r) = &request.cluster_member_attr_set {
            self.set_attributes(index, r)?;
        } else if let Some(r) = &request.downgrade_info_set {
            self.tables.downgrade = Some(DowngradeInfo {
                enabled: r.enabled,
                target_version: if r.enabled {
                    r.ver.clone()
                } else {
                    String::new()
                },
            });
        } else {
            // The last is for etcd's own tests and does nothing.
            return Ok(request.downgrade_version_test.is_some());
        }
        Ok(true)
    }

    /// Does `work`, a request that costs `cost` bytes, unless an alarm stands against it. What
    /// exceeds this member's quota is done all the same: the others may have had the space.
    fn gated(
        &mut self,
        cost: usize,
        work: impl FnOnce(&mut Self) -> Result<Response, ApiError>,
    ) -> Applied {
        if self.tables.alarms.has(AlarmType::Corrupt) {
            return done(Err(ApiError::Corrupt));
        }
        if cost > 0 && self.tables.alarms.has(AlarmType::Nospace) {
            return done(Err(ApiError::NoSpace));
        }
        // What compaction has set free is ours to take back at any time.
        let size = i64::try_from(self.mvcc.size().db_in_use_bytes).unwrap_or(i64::MAX);
        let fits = self.quota.admits(size, cost);
        match work(self) {
            Ok(_) if !fits => Applied {
                result: Err(ApiError::NoSpace),
                wants_alarm: true,
                damaged: None,
            },
            result => done(result),
        }
    }

    fn write<T>(
        &mut self,
        answering: bool,
        work: impl FnOnce(&mut Writer<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        Writer::run(&mut self.mvcc, &mut self.tables.leases, answering, work)
    }

    /// The current revision, as an answer shows it.
    fn header(&self) -> Option<ResponseHeader> {
        header(self.mvcc.revision().get())
    }

    /// A range in the log changes nothing: without anybody to answer it is not run.
    fn range(&mut self, request: &RangeRequest, answering: bool) -> Result<Response, ApiError> {
        let revision = self.mvcc.revision().get();
        let result = if answering {
            self.write(answering, |writer| {
                let range = writer.txn().range_for_answer(request);
                range.map_err(api_error)
            })?
        } else {
            RangeResult::default()
        };
        Ok(Response::Range(range_response(revision, result)))
    }

    fn put(&mut self, request: &PutRequest, answering: bool) -> Result<Response, ApiError> {
        let lease = LeaseId(request.lease);
        if !lease.is_zero() && !self.tables.leases.contains(lease) {
            return Err(ApiError::LeaseNotFound);
        }
        self.write(answering, |writer| writer.put(request))
            .map(Response::Put)
    }

    fn txn(&mut self, request: &TxnRequest, answering: bool) -> Result<Response, ApiError> {
        let compacted = self.mvcc.compact_revision();
        let compacted = compacted.map_or(-1, |revision| revision.get());
        self.write(answering, |writer| {
            let path = Path::choose(writer.txn(), request).map_err(api_error)?;
            let check = Check {
                state: writer.txn(),
                compacted,
                leases: Some(writer.leases()),
            };
            check.path(&path)?;
            Ok(txn::execute(writer, &path))
        })
        .map(Response::Txn)
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<Response, ApiError> {
        self.mvcc.compact(request.revision).map_err(api_error)?;
        let header = self.header();
        Ok(Response::Compaction(CompactionResponse { header }))
    }

    fn lease_grant(&mut self, request: &LeaseGrantRequest) -> Result<Response, ApiError> {
        let ttl = self.tables.leases.grant(request)?;
        self.cluster_changed = true;
        Ok(Response::LeaseGrant(LeaseGrantResponse {
            header: self.header(),
            id: request.id,
            ttl,
            error: String::new(),
        }))
    }

    fn lease_revoke(&mut self, request: &LeaseRevokeRequest) -> Result<Response, ApiError> {
        let keys = self.tables.leases.revoke(LeaseId(request.id))?;
        self.cluster_changed = true;
        self.write(false, |writer| {
            for key in &keys {
                writer.delete_unleased(key);
            }
            Ok(())
        })?;
        let header = self.header();
        Ok(Response::LeaseRevoke(LeaseRevokeResponse { header }))
    }

    fn lease_checkpoint(&mut self, request: &LeaseCheckpointRequest) -> Response {
        self.tables.leases.checkpoint(request);
        let header = self.header();
        Response::LeaseCheckpoint(LeaseCheckpointResponse { header })
    }

    fn alarm(&mut self, request: &AlarmRequest) -> Response {
        self.cluster_changed = true;
        Response::Alarm(AlarmResponse {
            header: self.header(),
            alarms: self.tables.alarms.apply(request),
        })
    }

    fn set_cluster_version(
        &mut self,
        index: Index,
        request: &ClusterVersionSetRequest,
    ) -> Result<(), Fatal> {
        let version = Version::parse(&request.ver).ok_or_else(|| Fatal::BadClusterVersion {
            index,
            text: request.ver.clone(),
        })?;
        let max = Version::CLUSTER_MAX;
        if version > max {
            return Err(Fatal::ClusterVersionTooHigh {
                index,
                version,
                max,
            });
        }
        self.tables.cluster_version = Some(version);
        Ok(())
    }

    fn set_attributes(
        &mut self,
        index: Index,
        request: &ClusterMemberAttrSetRequest,
    ) -> Result<(), Fatal> {
        let attributes = request.member_attributes.clone().unwrap_or_default();
        let member = MemberId(request.member_id);
        self.tables
            .members
            .set_attributes(index, member, attributes)
    }
}

fn done(result: Result<Response, ApiError>) -> Applied {
    Applied {
        result,
        wants_alarm: false,
        damaged: None,
    }
}
