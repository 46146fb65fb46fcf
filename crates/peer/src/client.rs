//! What this member asks others beside raft: before it joins, and when another one leads.
//!
//! Each question goes to the addresses in turn until one answers.

use crate::body::RequestBody;
use crate::call::{Answered, CallError, Pool};
use crate::connect::Connector;
use crate::handler::{HashKv, LeaseRefusal, PromoteRefusal, Versions};
use crate::headers::{self, CLUSTER_ID};
use crate::url::PeerUrl;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits::PEER_ANSWER_BYTES_MAX;
use tenet_base::{ClusterId, LeaseId, MemberId, Revision};
use tenet_proto::etcdserverpb::{
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tenet_proto::leasepb::{LeaseInternalRequest, LeaseInternalResponse};
use tenet_tls::ClientTls;

/// The members as another member sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembersAnswer {
    /// Their cluster.
    pub cluster: ClusterId,
    /// The list, in JSON.
    pub members: Bytes,
}

/// Another member's hash of its store, or why it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKvAnswer {
    /// The hash.
    Hash(HashKv),
    /// The revision is compacted there.
    Compacted,
    /// The revision is not there yet.
    Future,
    /// It is of another cluster.
    OtherCluster,
}

/// See the module. Copies share their connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    patience: Duration,
}

impl Client {
    /// A client that gives a connection `dial_timeout` and an answer `patience`.
    #[must_use]
    pub fn new(dial_timeout: Duration, patience: Duration, tls: Option<ClientTls>) -> Client {
        Client(Arc::new(Inner {
            pool: Pool::new(Connector { dial_timeout, tls }),
            patience,
        }))
    }

    /// Asks for the members and their cluster.
    ///
    /// # Errors
    /// If no address answers.
    pub async fn members(&self, urls: &[PeerUrl]) -> Result<MembersAnswer, CallError> {
        let answered = good(self.ask(urls, get("/members")).await?)?;
        let cluster = headers::member_id(headers::text(&answered.headers, &CLUSTER_ID));
        let cluster = cluster.ok_or_else(|| CallError::Answer("it names no cluster".into()))?;
        Ok(MembersAnswer {
            cluster: ClusterId(cluster.get()),
            members: answered.body,
        })
    }

    /// Asks for the versions.
    ///
    /// # Errors
    /// If no address answers.
    pub async fn versions(&self, urls: &[PeerUrl]) -> Result<Versions, CallError> {
        let answered = good(self.ask(urls, get("/version")).await?)?;
        let read: serde_json::Value = json(&answered)?;
        let text = |name: &str| {
            let text = read[name].as_str().map(str::to_owned);
            text.ok_or_else(|| CallError::Answer(answered.text()))
        };
        let cluster = text("etcdcluster")?;
        Ok(Versions {
            server: text("etcdserver")?,
            cluster: (cluster != "not_decided").then_some(cluster),
            // Members before 3.6 do not say it.
            storage: text("storage").unwrap_or_else(|_| "unknown".into()),
        })
    }

    /// Asks whether the cluster is being downgraded.
    ///
    /// # Errors
    /// If no address answers, or the member cannot know.
    pub async fn downgrade_enabled(&self, urls: &[PeerUrl]) -> Result<bool, CallError> {
        let answered = good(self.ask(urls, get("/downgrade/enabled")).await?)?;
        let text = answered.text();
        text.parse().map_err(|_| CallError::Answer(text))
    }

    /// Asks the leader to make a learner a voter; answers with the members, in JSON.
    ///
    /// # Errors
    /// The outer one if no address answers, the inner one if the leader refuses.
    pub async fn promote(
        &self,
        urls: &[PeerUrl],
        id: MemberId,
        token: Option<&str>,
    ) -> Result<Result<Bytes, PromoteRefusal>, CallError> {
        let mut asked = get(&format!("/members/promote/{}", id.get()));
        asked.method = Method::POST;
        asked.token = token.and_then(|token| HeaderValue::from_str(token).ok());
        let answered = self.ask(urls, asked).await?;
        let text = answered.text();
        let refusal = match answered.status {
            StatusCode::OK => return Ok(Ok(answered.body)),
            StatusCode::NOT_FOUND => PromoteRefusal::NotFound,
            StatusCode::PRECONDITION_FAILED
                if text.contains(&PromoteRefusal::NotReady.to_string()) =>
            {
                PromoteRefusal::NotReady
            }
            StatusCode::PRECONDITION_FAILED
                if text.contains(&PromoteRefusal::NotLearner.to_string()) =>
            {
                PromoteRefusal::NotLearner
            }
            _ => PromoteRefusal::Other(format!("member promote: unknown error({text})")),
        };
        Ok(Err(refusal))
    }

    /// Asks for the hash of the store up to a revision.
    ///
    /// # Errors
    /// If no address answers as it should.
    pub async fn hash_kv(
        &self,
        urls: &[PeerUrl],
        cluster: ClusterId,
        revision: Revision,
    ) -> Result<HashKvAnswer, CallError> {
        let mut asked = get("/members/hashkv");
        asked.cluster = Some(headers::cluster(cluster));
        asked.kind = Some("application/json");
        asked.body = match revision.get() {
            0 => Bytes::from_static(b"{}"),
            revision => format!("{{\"revision\":{revision}}}").into(),
        };
        let answered = self.ask(urls, asked).await?;
        let text = answered.text();
        match answered.status {
            StatusCode::BAD_REQUEST if text.contains("required revision has been compacted") => {
                Ok(HashKvAnswer::Compacted)
            }
            StatusCode::BAD_REQUEST if text.contains("required revision is a future revision") => {
                Ok(HashKvAnswer::Future)
            }
            StatusCode::PRECONDITION_FAILED if text.contains("cluster ID mismatch") => {
                Ok(HashKvAnswer::OtherCluster)
            }
            _ => hash_of(&json(&good(answered)?)?).map(HashKvAnswer::Hash),
        }
    }

    /// Asks the leader to renew a lease; answers with its time to live in seconds.
    ///
    /// # Errors
    /// The outer one if no address answers, the inner one if the leader refuses.
    pub async fn keep_alive(
        &self,
        urls: &[PeerUrl],
        lease: LeaseId,
    ) -> Result<Result<i64, LeaseRefusal>, CallError> {
        let asked = LeaseKeepAliveRequest { id: lease.get() };
        let answered = self
            .ask(urls, question("/leases", asked.encode_to_vec()))
            .await?;
        if let Some(refusal) = lease_refusal(&answered) {
            return Ok(Err(refusal));
        }
        let read = LeaseKeepAliveResponse::decode(answered.body);
        match read {
            Ok(read) if read.id == lease.get() => Ok(Ok(read.ttl)),
            Ok(_) => Err(CallError::Answer("lease: renew id mismatch".into())),
            Err(error) => Err(CallError::Answer(error.to_string())),
        }
    }

    /// Asks the leader what is left of a lease, and for its keys.
    ///
    /// # Errors
    /// The outer one if no address answers, the inner one if the leader refuses.
    pub async fn time_to_live(
        &self,
        urls: &[PeerUrl],
        lease: LeaseId,
        keys: bool,
    ) -> Result<Result<LeaseTimeToLiveResponse, LeaseRefusal>, CallError> {
        let asked = LeaseInternalRequest {
            lease_time_to_live_request: Some(LeaseTimeToLiveRequest {
                id: lease.get(),
                keys,
            }),
        };
        let asked = question("/leases/internal", asked.encode_to_vec());
        let answered = self.ask(urls, asked).await?;
        if let Some(refusal) = lease_refusal(&answered) {
            return Ok(Err(refusal));
        }
        let read = LeaseInternalResponse::decode(answered.body)
            .map_err(|error| CallError::Answer(error.to_string()))?;
        match read.lease_time_to_live_response {
            Some(left) if left.id == lease.get() => Ok(Ok(left)),
            _ => Err(CallError::Answer("lease: TTL id mismatch".into())),
        }
    }

    /// Asks at each address until one answers, whatever it says.
    async fn ask(&self, urls: &[PeerUrl], asked: Asked) -> Result<Answered, CallError> {
        let mut failure = CallError::Answer("there is no address to ask at".into());
        for url in urls {
            let Inner { pool, patience } = &*self.0;
            match pool
                .call(url, asked.request(), PEER_ANSWER_BYTES_MAX, *patience)
                .await
            {
                Ok(answered) => return Ok(answered),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

/// A question.
struct Asked {
    method: Method,
    path: String,
    kind: Option<&'static str>,
    cluster: Option<HeaderValue>,
    token: Option<HeaderValue>,
    body: Bytes,
}

fn get(path: &str) -> Asked {
    Asked {
        method: Method::GET,
        path: path.to_owned(),
        kind: None,
        cluster: None,
        token: None,
        body: Bytes::new(),
    }
}

fn question(path: &str, body: Vec<u8>) -> Asked {
    Asked {
        method: Method::POST,
        kind: Some("application/protobuf"),
        body: body.into(),
        ..get(path)
    }
}

impl Asked {
    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(self.body.clone().into());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("a path of letters and digits");
        let headers = request.headers_mut();
        if let Some(kind) = self.kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        if let Some(cluster) = &self.cluster {
            headers.insert(CLUSTER_ID, cluster.clone());
        }
        if let Some(token) = &self.token {
            headers.insert(AUTHORIZATION, token.clone());
        }
        request
    }
}

/// The answer, if it is a good one.
fn good(answered: Answered) -> Result<Answered, CallError> {
    if answered.status == StatusCode::OK {
        return Ok(answered);
    }
    Err(CallError::Status {
        status: answered.status,
        text: answered.text(),
    })
}

fn json(answered: &Answered) -> Result<serde_json::Value, CallError> {
    serde_json::from_slice(&answered.body).map_err(|error| CallError::Answer(error.to_string()))
}

/// A hash from JSON, in which zeros are left out.
fn hash_of(read: &serde_json::Value) -> Result<HashKv, CallError> {
    let number = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Some(0),
        value => value.as_i64(),
    };
    let hash = || {
        Some(HashKv {
            revision: Revision(number(&read["header"]["revision"])?),
            hash: u32::try_from(number(&read["hash"])?).ok()?,
            compact_revision: number(&read["compact_revision"])?,
            hash_revision: Revision(number(&read["hash_revision"])?),
        })
    };
    hash().ok_or_else(|| CallError::Answer(read.to_string()))
}

fn lease_refusal(answered: &Answered) -> Option<LeaseRefusal> {
    let text = answered.text();
    match answered.status {
        StatusCode::OK => None,
        StatusCode::NOT_FOUND => Some(LeaseRefusal::NotFound),
        StatusCode::REQUEST_TIMEOUT => Some(LeaseRefusal::Timeout),
        _ if text == LeaseRefusal::NotPrimary.to_string() => Some(LeaseRefusal::NotPrimary),
        _ => Some(LeaseRefusal::Other(format!("lease: unknown error({text})"))),
    }
}
