//! The server's own Lock and Election services: the same protocol, run by the server for clients
//! that have neither watches nor leases of their own at hand. Its keys are those of [`super`], so
//! both kinds of callers stand in one line.
//!
//! The server runs these calls through a client of its own, so its errors come as
//! [`Code::Unknown`](tenet_proto::Code::Unknown) with the API's texts, by which they are known here.
//! A call that waits for a lock and is given up leaves its key behind until its lease ends.

use bytes::Bytes;
use tenet_proto::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use tenet_proto::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

use crate::call::{call, is_unsent};
use crate::services::election_client::ElectionClient;
use crate::services::lock_client::LockClient;
use crate::{Client, Error};

impl Client {
    /// The Lock service.
    #[must_use]
    pub fn lock_service(&self) -> LockService {
        LockService {
            client: self.clone(),
        }
    }

    /// The Election service.
    #[must_use]
    pub fn election_service(&self) -> ElectionService {
        ElectionService {
            client: self.clone(),
        }
    }
}

/// The Lock service.
#[derive(Clone, Debug)]
pub struct LockService {
    client: Client,
}

#[allow(clippy::missing_errors_doc)]
impl LockService {
    /// Waits for the lock of a name, for a lease that the caller keeps alive. The key in the answer
    /// is the lock.
    pub async fn lock(&self, mut request: LockRequest) -> Result<LockResponse, Error> {
        request.name = self.client.name_inward(&request.name);
        let name = "/v3lockpb.Lock/Lock";
        let client = &self.client;
        let mut answer = call!(client, name, Write, LockClient::lock, request)?;
        client.key_outward(&mut answer.key);
        Ok(answer)
    }

    /// Deletes the key of a lock.
    pub async fn unlock(&self, mut request: UnlockRequest) -> Result<UnlockResponse, Error> {
        request.key = self.client.key_inward(&request.key)?;
        let name = "/v3lockpb.Lock/Unlock";
        let client = &self.client;
        call!(client, name, Write, LockClient::unlock, request)
    }
}

/// The Election service.
#[derive(Clone, Debug)]
pub struct ElectionService {
    client: Client,
}

#[allow(clippy::missing_errors_doc)]
impl ElectionService {
    /// Stands for election, for a lease that the caller keeps alive, and waits until elected.
    pub async fn campaign(&self, mut request: CampaignRequest) -> Result<CampaignResponse, Error> {
        request.name = self.client.name_inward(&request.name);
        let name = "/v3electionpb.Election/Campaign";
        let client = &self.client;
        let mut answer = call!(client, name, Write, ElectionClient::campaign, request)?;
        if let Some(leader) = &mut answer.leader {
            client.key_outward(&mut leader.key);
            client.key_outward(&mut leader.name);
        }
        Ok(answer)
    }

    /// Changes the value of an office that is held.
    pub async fn proclaim(&self, mut request: ProclaimRequest) -> Result<ProclaimResponse, Error> {
        self.leader_inward(&mut request.leader)?;
        let name = "/v3electionpb.Election/Proclaim";
        let client = &self.client;
        call!(client, name, Write, ElectionClient::proclaim, request)
    }

    /// Who holds an office.
    pub async fn leader(&self, mut request: LeaderRequest) -> Result<LeaderResponse, Error> {
        request.name = self.client.name_inward(&request.name);
        let name = "/v3electionpb.Election/Leader";
        let client = &self.client;
        let answer = call!(client, name, Read, ElectionClient::leader, request)?;
        Ok(client.leader_outward(answer))
    }

    /// Gives an office up.
    pub async fn resign(&self, mut request: ResignRequest) -> Result<ResignResponse, Error> {
        self.leader_inward(&mut request.leader)?;
        let name = "/v3electionpb.Election/Resign";
        let client = &self.client;
        call!(client, name, Write, ElectionClient::resign, request)
    }

    /// Sees who holds an office, and each change. The stream is not resumed when it breaks;
    /// [`Client::election_observer`] is.
    pub async fn observe(&self, mut request: LeaderRequest) -> Result<LeaderStream, Error> {
        request.name = self.client.name_inward(&request.name);
        let client = self.client.clone();
        client.renew_token(None).await?;
        loop {
            let channel = client.channel("/v3electionpb.Election/Observe").await;
            let message = client.message(request.clone(), None);
            match ElectionClient::new(channel).observe(message).await {
                Ok(leaders) => {
                    let leaders = leaders.into_inner();
                    return Ok(LeaderStream { client, leaders });
                }
                // Gone before the request went out: another one is taken.
                Err(error) if is_unsent(&error) => {}
                Err(error) => return Err(client.status_of(&error).into_error()),
            }
        }
    }

    fn leader_inward(&self, leader: &mut Option<LeaderKey>) -> Result<(), Error> {
        if let Some(leader) = leader {
            leader.key = self.client.key_inward(&leader.key)?;
            leader.name = self.client.name_inward(&leader.name);
        }
        Ok(())
    }
}

impl Client {
    fn name_inward(&self, name: &Bytes) -> Bytes {
        [&self.prefix[..], name].concat().into()
    }

    fn leader_outward(&self, mut answer: LeaderResponse) -> LeaderResponse {
        if let Some(kv) = &mut answer.kv {
            self.key_outward(&mut kv.key);
        }
        answer
    }
}

/// Holders of an office, as the server shows them.
pub struct LeaderStream {
    client: Client,
    leaders: tonic::Streaming<LeaderResponse>,
}

impl LeaderStream {
    /// The next holder or value; none when the server has ended the stream.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn next(&mut self) -> Result<Option<LeaderResponse>, Error> {
        match self.leaders.message().await {
            Ok(answer) => Ok(answer.map(|answer| self.client.leader_outward(answer))),
            Err(error) => Err(self.client.status_of(&error).into_error()),
        }
    }
}

impl std::fmt::Debug for LeaderStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaderStream").finish_non_exhaustive()
    }
}
