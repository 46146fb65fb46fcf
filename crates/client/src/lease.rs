//! Leases: keys that go away with whoever put them. How to keep one alive stands in
//! [`keep_alive`](crate::LeaseKeepAlive).

use tenet_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tenet_proto::{ApiError, Code};

use crate::call::{call, within};
use crate::keep_alive;
use crate::services::lease_client::LeaseClient;
use crate::{Client, Error, Status};

#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Makes a lease. The server chooses the id if none is given, and raises a time to live that is
    /// too short. A grant whose outcome is open may have left a lease behind, which then runs out.
    pub async fn lease_grant(
        &self,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Error> {
        let name = "/etcdserverpb.Lease/LeaseGrant";
        call!(self, name, Write, LeaseClient::lease_grant, request)
    }

    /// Ends a lease: its keys are deleted, all in one revision.
    pub async fn lease_revoke(
        &self,
        request: LeaseRevokeRequest,
    ) -> Result<LeaseRevokeResponse, Error> {
        let name = "/etcdserverpb.Lease/LeaseRevoke";
        call!(self, name, Write, LeaseClient::lease_revoke, request)
    }

    /// What is left of a lease, and its keys if asked for. A lease that is not there has the time
    /// to live −1.
    pub async fn lease_time_to_live(
        &self,
        request: LeaseTimeToLiveRequest,
    ) -> Result<LeaseTimeToLiveResponse, Error> {
        let name = "/etcdserverpb.Lease/LeaseTimeToLive";
        let answer = call!(self, name, Read, LeaseClient::lease_time_to_live, request)?;
        Ok(self.time_to_live_outward(answer))
    }

    /// The ids of all leases.
    pub async fn leases(&self) -> Result<LeaseLeasesResponse, Error> {
        let name = "/etcdserverpb.Lease/LeaseLeases";
        let request = LeaseLeasesRequest {};
        call!(self, name, Read, LeaseClient::lease_leases, request)
    }

    /// Renews a lease once. Doing it twice is doing it once, so it is repeated while the server is
    /// unavailable.
    pub async fn lease_keep_alive_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        let deadline = self.deadline.instant();
        let renewing = async {
            let mut wait = crate::duplex::ReopenWait::default();
            loop {
                match self.renew_once(id).await {
                    Err(status) if crate::duplex::may_come_back(&status) => {
                        tokio::time::sleep(wait.next()).await;
                    }
                    ended => return ended,
                }
            }
        };
        match within(deadline, renewing).await {
            Some(Ok(answer)) if answer.ttl <= 0 => Err(Error::Api(ApiError::LeaseNotFound)),
            Some(answer) => answer.map_err(Error::from),
            None => Err(Error::Deadline),
        }
    }

    async fn renew_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        self.renew_token(None).await.map_err(Error::into_status)?;
        let mut stream = keep_alive::open(self, false);
        let permit = stream.room_if(true).await;
        permit.send(LeaseKeepAliveRequest { id });
        let answer = stream.answer().await?;
        if answer.id == id {
            Ok(answer)
        } else {
            let text = format!(
                "the server answered for lease {:x} instead of {id:x}",
                answer.id
            );
            Err(Status::new(Code::DataLoss, text))
        }
    }
}
