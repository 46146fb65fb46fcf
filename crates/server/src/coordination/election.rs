//! Elections: like locks, with a value that the leader proclaims.

use super::watching::Watching;
use super::{
    Failure, Retreat, delete, end_of, found, get, if_created_at, is_delete, key_of, lease_of,
    one_by_creation, prefix_of, put, revision_of, wait_for_turn,
};
use crate::api::Api;
use bytes::Bytes;
use tenet_proto::etcdserverpb::ResponseHeader;
use tenet_proto::etcdserverpb::range_request::SortOrder;
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};

/// Waits to be elected; whoever campaigns already with the same lease proclaims the new value.
pub(crate) async fn campaign(
    api: &impl Api,
    request: CampaignRequest,
) -> Result<CampaignResponse, Failure> {
    let lease = lease_of(api, request.lease).await?;
    let prefix = prefix_of(&request.name);
    let key = key_of(&prefix, lease);
    let enter = if_created_at(
        &key,
        0,
        vec![put(&key, request.value.clone(), lease)],
        vec![get(&key)],
    );
    let entered = api.txn(enter).await?;
    // From here on, giving up means to step back.
    let retreat = Retreat::new(api, &key);
    let mut rev = revision_of(entered.header.as_ref());
    if let [own, ..] = found(&entered.responses[0]) {
        rev = own.create_revision;
        if own.value != request.value {
            let value = request.value;
            proclaim_as(api, &key, rev, lease, value).await?;
        }
    }
    if let Err(failure) = wait_for_turn(api, &prefix, rev).await {
        // As etcd: the key stays, and whoever campaigns again finds it.
        retreat.cancel();
        return Err(failure);
    }
    retreat.cancel();
    Ok(CampaignResponse {
        header: entered.header,
        leader: Some(LeaderKey {
            name: request.name,
            key,
            rev,
            lease,
        }),
    })
}

async fn proclaim_as(
    api: &impl Api,
    key: &Bytes,
    rev: i64,
    lease: i64,
    value: Bytes,
) -> Result<Option<ResponseHeader>, Failure> {
    let change = if_created_at(key, rev, vec![put(key, value, lease)], Vec::new());
    let changed = api.txn(change).await?;
    if changed.succeeded {
        Ok(changed.header)
    } else {
        Err(Failure::NotLeader)
    }
}

/// Changes the leader's value.
pub(crate) async fn proclaim(
    api: &impl Api,
    request: ProclaimRequest,
) -> Result<ProclaimResponse, Failure> {
    let leader = request.leader.ok_or(Failure::NoLeaderField)?;
    let lease = lease_of(api, leader.lease).await?;
    let header = proclaim_as(api, &leader.key, leader.rev, lease, request.value).await?;
    Ok(ProclaimResponse { header })
}

/// Steps down.
pub(crate) async fn resign(
    api: &impl Api,
    request: ResignRequest,
) -> Result<ResignResponse, Failure> {
    let leader = request.leader.ok_or(Failure::NoLeaderField)?;
    let delete = if_created_at(
        &leader.key,
        leader.rev,
        vec![delete(&leader.key)],
        Vec::new(),
    );
    Ok(ResignResponse {
        header: api.txn(delete).await?.header,
    })
}

/// Who leads.
pub(crate) async fn leader(
    api: &impl Api,
    request: LeaderRequest,
) -> Result<LeaderResponse, Failure> {
    let prefix = prefix_of(&request.name);
    let answer = api
        .range(one_by_creation(&prefix, SortOrder::Ascend))
        .await?;
    match answer.kvs.into_iter().next() {
        Some(kv) => Ok(LeaderResponse {
            header: answer.header,
            kv: Some(kv),
        }),
        None => Err(Failure::NoLeader),
    }
}

/// Follows who leads and what each leader proclaims.
pub(crate) fn observe<A: Api>(api: &A, request: &LeaderRequest) -> Observation<A> {
    Observation {
        api: api.clone(),
        prefix: prefix_of(&request.name),
        followed: None,
        ready: Vec::new(),
    }
}

/// See [`observe`].
pub(crate) struct Observation<A: Api> {
    api: A,
    prefix: Vec<u8>,
    /// The present leader's key, as it changes.
    followed: Option<Watching<A::Watches>>,
    /// What is to be told, last first.
    ready: Vec<LeaderResponse>,
}

impl<A: Api> Observation<A> {
    /// The next leader or proclamation. Not to be asked again after an error.
    pub(crate) async fn next(&mut self) -> Result<LeaderResponse, Failure> {
        loop {
            if let Some(next) = self.ready.pop() {
                return Ok(next);
            }
            let Some(watching) = &mut self.followed else {
                let (header, kv) = find(&self.api, &self.prefix).await?;
                let from = revision_of(header.as_ref()) + 1;
                self.followed = Some(Watching::key(&self.api, &kv.key, from));
                return Ok(LeaderResponse {
                    header,
                    kv: Some(kv),
                });
            };
            let response = watching.next().await?;
            let ended = response.events.iter().any(is_delete);
            let changes = response.events.into_iter();
            let told = changes
                .take_while(|event| !is_delete(event))
                .map(|event| LeaderResponse {
                    header: response.header,
                    kv: event.kv,
                });
            self.ready = told.collect();
            self.ready.reverse();
            if ended {
                self.followed = None;
            }
        }
    }
}

/// The leader that there is, or the first that comes.
async fn find(
    api: &impl Api,
    prefix: &[u8],
) -> Result<(Option<ResponseHeader>, KeyValue), Failure> {
    let answer = api
        .range(one_by_creation(prefix, SortOrder::Ascend))
        .await?;
    let from = revision_of(answer.header.as_ref());
    if let Some(kv) = answer.kvs.into_iter().next() {
        return Ok((answer.header, kv));
    }
    let mut watching = Watching::range(api, prefix.to_vec().into(), end_of(prefix), from);
    loop {
        let response = watching.next().await?;
        let put = response.events.into_iter().find(|event| !is_delete(event));
        if let Some(kv) = put.and_then(|event| event.kv) {
            let header = response.header.map(|header| ResponseHeader {
                revision: kv.mod_revision,
                ..header
            });
            return Ok((header, kv));
        }
    }
}
