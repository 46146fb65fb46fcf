//! The lease part of the node API.
//!
//! Grants and revokes are writes. Renewals and questions are answered on the calling task by the
//! lessor, which either knows at once or keeps the task until it is worth asking again.

use crate::node::{Node, TaskWaiter, unexpected};
use tenet_base::LeaseId;
use tenet_member::{ApplyInput, Input, LeaseCounts, Outcome, Remaining, Renewal, Write};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tenet_state::Response;
use tokio::sync::oneshot;

impl Node {
    /// Grants a lease.
    ///
    /// # Errors
    /// As etcd's LeaseGrant.
    pub async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, ApiError> {
        match self.write(Write::LeaseGrant(request)).await? {
            Response::LeaseGrant(response) => Ok(response),
            other => unexpected(&other),
        }
    }

    /// Ends a lease and deletes the keys on it.
    ///
    /// # Errors
    /// As etcd's LeaseRevoke.
    pub async fn lease_revoke(
        &self,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, ApiError> {
        match self.write(Write::LeaseRevoke(request)).await? {
            Response::LeaseRevoke(response) => Ok(response),
            other => unexpected(&other),
        }
    }

    /// Gives a lease its whole time again. A lease that is not there has no time to live, which is
    /// no error.
    ///
    /// # Errors
    /// If nobody leads, or what has to be waited for takes too long.
    pub async fn lease_keep_alive(
        &self,
        request: LeaseKeepAliveRequest,
    ) -> Result<LeaseKeepAliveResponse, ApiError> {
        // As in etcd the header is of before the renewal.
        let header = Some(self.header());
        let ttl = self.renew(LeaseId(request.id)).await?;
        Ok(LeaseKeepAliveResponse {
            header,
            id: request.id,
            ttl,
        })
    }

    /// Has a lease renewed by whoever leads.
    async fn renew(&self, id: LeaseId) -> Result<i64, ApiError> {
        loop {
            let elsewhere = self.led_by_others(|leader| self.renew_elsewhere(leader, id));
            match elsewhere.await {
                Ok(Some(ttl_s)) => return Ok(ttl_s),
                Err(ApiError::LeaseNotFound) => return Ok(0),
                Err(error) => return Err(error),
                Ok(None) => {}
            }
            tokio::select! {
                renewed = self.renew_here(id) => return renewed,
                () = self.follows() => {}
            }
        }
    }

    /// Renews a lease, once this member leads; its time to live in seconds, or 0 if there is none.
    ///
    /// # Errors
    /// If it does not lead for too long, or what has to be waited for takes too long.
    pub async fn renew_here(&self, id: LeaseId) -> Result<i64, ApiError> {
        let (mut caught_up, mut confirmed) = (false, false);
        loop {
            if self.post().is_stopping() {
                return Err(ApiError::Stopped);
            }
            let mut kept = None;
            let renewal = self
                .lessor()
                .renew(id, self.now_ms(), caught_up, confirmed, || {
                    let (waiter, receiver) = TaskWaiter::new();
                    kept = Some(receiver);
                    waiter
                });
            match renewal {
                Renewal::Renewed(ttl_s) => return Ok(ttl_s),
                Renewal::NotFound => return Ok(0),
                Renewal::Refused(error) => return Err(error),
                Renewal::Unsure => {
                    self.ask(Input::Read).await?;
                    if self.leader() != Some(self.identity().member) {
                        return Err(ApiError::LeaderChanged);
                    }
                    confirmed = true;
                }
                Renewal::Waits { urgent } => {
                    if urgent && let Some(batch) = self.lessor().batch() {
                        self.post().request(batch);
                    }
                    self.news(kept).await?;
                    caught_up = true;
                }
            }
        }
    }

    /// Waits for what the lessor keeps this task for.
    async fn news(
        &self,
        kept: Option<oneshot::Receiver<Result<Outcome, ApiError>>>,
    ) -> Result<(), ApiError> {
        let Some(receiver) = kept else {
            unreachable!("the lessor says that a waiter waits without having made one")
        };
        // Who began to wait after the lessor had told everybody is not told any more.
        if self.post().is_stopping() {
            return Err(ApiError::Stopped);
        }
        receiver.await.unwrap_or(Err(ApiError::Stopped)).map(drop)
    }

    /// What is left of a lease; -1 if there is none.
    ///
    /// # Errors
    /// If nobody leads, or what has to be waited for takes too long.
    pub async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, ApiError> {
        let (id, keys) = (LeaseId(request.id), request.keys);
        loop {
            let elsewhere =
                self.led_by_others(|leader| self.time_to_live_elsewhere(leader, id, keys));
            match elsewhere.await {
                Ok(Some(response)) => {
                    let header = Some(self.header());
                    return Ok(LeaseTimeToLiveResponse { header, ..response });
                }
                Err(ApiError::LeaseNotFound) => {
                    return Ok(LeaseTimeToLiveResponse {
                        header: Some(self.header()),
                        id: request.id,
                        ttl: -1,
                        ..LeaseTimeToLiveResponse::default()
                    });
                }
                Err(error) => return Err(error),
                Ok(None) => {}
            }
            tokio::select! {
                answered = self.time_to_live_here(request) => return answered,
                () = self.follows() => {}
            }
        }
    }

    /// As [`Node::lease_time_to_live`], once this member leads.
    ///
    /// # Errors
    /// As there.
    pub async fn time_to_live_here(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, ApiError> {
        let id = LeaseId(request.id);
        let mut response = LeaseTimeToLiveResponse {
            id: request.id,
            ttl: -1,
            ..LeaseTimeToLiveResponse::default()
        };
        let term = self.progress().term();
        if let Some((remaining_s, granted_s)) = self.remaining(id).await? {
            let keys = if request.keys {
                self.lease_keys(id).await?
            } else {
                Some(Vec::new())
            };
            if self.progress().term() != term {
                return Err(ApiError::LeaderChanged);
            }
            // It may have been revoked meanwhile.
            if let Some(keys) = keys {
                response.ttl = remaining_s;
                response.granted_ttl = granted_s;
                response.keys = keys;
            }
        }
        response.header = Some(self.header());
        Ok(response)
    }

    async fn remaining(&self, id: LeaseId) -> Result<Option<(i64, i64)>, ApiError> {
        let mut caught_up = false;
        loop {
            if self.post().is_stopping() {
                return Err(ApiError::Stopped);
            }
            let mut kept = None;
            let remaining = self.lessor().remaining(id, self.now_ms(), caught_up, || {
                let (waiter, receiver) = TaskWaiter::new();
                kept = Some(receiver);
                waiter
            });
            match remaining {
                Remaining::Found {
                    remaining_s,
                    granted_s,
                } => return Ok(Some((remaining_s, granted_s))),
                Remaining::NotFound => return Ok(None),
                Remaining::Refused(error) => return Err(error),
                Remaining::Waits => {
                    self.news(kept).await?;
                    caught_up = true;
                }
            }
        }
    }

    async fn lease_keys(&self, id: LeaseId) -> Result<Option<Vec<bytes::Bytes>>, ApiError> {
        match self
            .ask_applier(|waiter| ApplyInput::LeaseKeys(id, waiter))
            .await?
        {
            Outcome::LeaseKeys(keys) => Ok(keys),
            other => unreachable!("a question about keys was answered with {other:?}"),
        }
    }

    /// All leases that this member knows, the one that ends first first.
    ///
    /// # Errors
    /// None so far; the transports expect that a call may fail.
    pub async fn lease_leases(&self) -> Result<LeaseLeasesResponse, ApiError> {
        let leases = self.lessor().by_deadline();
        Ok(LeaseLeasesResponse {
            header: Some(self.header()),
            leases: leases
                .into_iter()
                .map(|id| LeaseStatus { id: id.get() })
                .collect(),
        })
    }

    /// What happened to leases.
    pub fn lease_counts(&self) -> &LeaseCounts {
        self.lessor().counts()
    }
}
