//! What other members ask of this one.

use super::{Peers, snapshots};
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use tenet_base::{LeaseId, MemberId, Revision};
use tenet_peer::{
    Answer, Database, Dropped, Handler, HashKv, LeaseRefusal, PromoteRefusal, SnapshotRefusal,
    Versions,
};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    HashKvRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, MemberListRequest,
};
use tenet_proto::raftpb::Message;
use tenet_state::Member;

/// Tells apart the files of snapshots that come in at once.
static SNAPSHOTS: AtomicU64 = AtomicU64::new(0);

impl Handler for Peers {
    fn receive(&self, message: Message) -> Result<(), Dropped> {
        match self.node.receive(message) {
            true => Ok(()),
            false => Err(Dropped),
        }
    }

    fn receive_snapshot(
        &self,
        message: Message,
        database: Database,
    ) -> Answer<Result<(), SnapshotRefusal>> {
        let number = SNAPSHOTS.fetch_add(1, Ordering::Relaxed);
        let path = snapshots::path(&self.snapshot_dir, number);
        let node = self.node.clone();
        Box::pin(async move {
            let file = snapshots::Incoming::new(path);
            let saved = file.take(database).await;
            saved.map_err(|error| SnapshotRefusal::Save(error.to_string()))?;
            let taken = node.receive_snapshot(message, file.path()).await;
            taken.map_err(|error| SnapshotRefusal::Process(error.to_string()))
        })
    }

    fn is_removed(&self, id: MemberId) -> bool {
        let view = self.node.views().load();
        view.cluster.removed.binary_search(&id).is_ok()
    }

    fn report_unreachable(&self, id: MemberId) {
        self.node.unreachable(id);
    }

    fn report_snapshot(&self, id: MemberId, arrived: bool) {
        self.node.snapshot_sent(id, arrived);
    }

    fn removed_says(&self, by: MemberId) {
        tracing::error!(%by, "the member has been permanently removed from the cluster");
        self.removed.send_replace(true);
    }

    fn members(&self) -> Bytes {
        let view = self.node.views().load();
        list_of(&view.cluster.members)
    }

    fn versions(&self) -> Versions {
        let versions = self.node.versions();
        Versions {
            server: versions.server.to_owned(),
            cluster: versions.cluster,
            storage: versions.storage.unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    fn promote(
        &self,
        id: MemberId,
        _token: Option<String>,
    ) -> Answer<Result<Bytes, PromoteRefusal>> {
        let node = self.node.clone();
        Box::pin(async move {
            match node.promote_here(id).await {
                Ok(_) => Ok(list_of(&node.views().load().cluster.members)),
                Err(ApiError::MemberNotFound) => Err(PromoteRefusal::NotFound),
                Err(ApiError::MemberNotLearner) => Err(PromoteRefusal::NotLearner),
                Err(ApiError::LearnerNotReady) => Err(PromoteRefusal::NotReady),
                Err(error) => Err(PromoteRefusal::Other(error.text().to_owned())),
            }
        })
    }

    fn hash_kv(&self, revision: Revision) -> Answer<Result<HashKv, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            let request = HashKvRequest {
                revision: revision.get(),
            };
            let hashed = node.hash_kv(request).await;
            let hashed = hashed.map_err(|error| error.text().to_owned())?;
            Ok(HashKv {
                revision: Revision(hashed.header.map_or(0, |header| header.revision)),
                hash: hashed.hash,
                compact_revision: hashed.compact_revision,
                hash_revision: Revision(hashed.hash_revision),
            })
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<Result<i64, LeaseRefusal>> {
        let node = self.node.clone();
        Box::pin(async move {
            if node.leader() != Some(node.identity().member) {
                return Err(LeaseRefusal::NotPrimary);
            }
            match node.renew_here(lease).await {
                Ok(0) => Err(LeaseRefusal::NotFound),
                Ok(ttl_s) => Ok(ttl_s),
                Err(error) => Err(refusal(error)),
            }
        })
    }

    fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Answer<Result<LeaseTimeToLiveResponse, LeaseRefusal>> {
        let node = self.node.clone();
        Box::pin(async move {
            if node.leader() != Some(node.identity().member) {
                return Err(LeaseRefusal::NotPrimary);
            }
            let request = LeaseTimeToLiveRequest {
                id: lease.get(),
                keys,
            };
            match node.time_to_live_here(request).await {
                Ok(response) if response.ttl < 0 => Err(LeaseRefusal::NotFound),
                Ok(response) => Ok(response),
                Err(error) => Err(refusal(error)),
            }
        })
    }

    fn downgrade_enabled(&self) -> Answer<Result<bool, String>> {
        let node = self.node.clone();
        Box::pin(async move {
            // So that the answer holds what was decided before the question.
            let listed = node.member_list(MemberListRequest { linearizable: true });
            listed.await.map_err(|error| error.text().to_owned())?;
            Ok(node.views().load().cluster.downgrade.enabled)
        })
    }
}

fn refusal(error: ApiError) -> LeaseRefusal {
    match error {
        ApiError::LeaseNotFound => LeaseRefusal::NotFound,
        ApiError::Timeout | ApiError::TimeoutWaitAppliedIndex => LeaseRefusal::Timeout,
        ApiError::LeaderChanged | ApiError::NotLeader => LeaseRefusal::NotPrimary,
        other => LeaseRefusal::Other(other.text().to_owned()),
    }
}

/// The members as etcd lists them for other members.
fn list_of(members: &[Member]) -> Bytes {
    let mut out = vec![b'['];
    for (at, member) in members.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(member.to_json());
    }
    out.extend(b"]\n");
    out.into()
}
