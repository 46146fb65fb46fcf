//! What members ask each other beside raft. Paths, statuses and texts are etcd's.

use super::PeerServer;
use super::answer::{Answered, error, good, last, of_type, wrong_method};
use crate::body::{ReadError, read_all};
use crate::handler::{Handler, LeaseRefusal, PromoteRefusal};
use crate::headers::{self, CLUSTER_ID};
use bytes::{Bytes, BytesMut};
use http::header::{ALLOW, AUTHORIZATION};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use prost::Message as _;
use std::sync::Arc;
use tenet_base::limits::PEER_QUESTION_BYTES_MAX;
use tenet_base::{LeaseId, MemberId, Revision};
use tenet_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tenet_proto::leasepb::{LeaseInternalRequest, LeaseInternalResponse};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";

impl PeerServer {
    fn handler(&self) -> &Arc<dyn Handler> {
        &self.0.transport.shared().handler
    }

    /// `GET /members`.
    pub(super) fn members(&self, request: &Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(request, &Method::GET) {
            return refusal;
        }
        let members = self.handler().members();
        self.with_cluster(good(JSON, line(&members)))
    }

    /// `POST /members/promote/<decimal id>`.
    pub(super) async fn promote(&self, request: &Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(request, &Method::POST) {
            return refusal;
        }
        let digits = request.uri().path().trim_start_matches("/members/promote/");
        let answer = match digits.parse() {
            Ok(id) => {
                let token = headers::text(request.headers(), &AUTHORIZATION);
                let token = (!token.is_empty()).then(|| token.to_owned());
                promoted(
                    self.handler().promote(MemberId(id), token).await,
                    MemberId(id),
                )
            }
            Err(_) => error(
                StatusCode::NOT_FOUND,
                format!("member {digits} not found in cluster"),
            ),
        };
        self.with_cluster(answer)
    }

    /// `GET /members/hashkv`, with the revision in the body.
    pub(super) async fn hash_kv(&self, request: Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(&request, &Method::GET) {
            return refusal;
        }
        let cluster = headers::text(request.headers(), &CLUSTER_ID);
        if !cluster.is_empty() && cluster != self.0.transport.shared().options.cluster.to_string() {
            return error(StatusCode::PRECONDITION_FAILED, "cluster ID mismatch");
        }
        let body = match self.question(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Some(revision) = asked_revision(&body) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self.handler().hash_kv(revision).await {
            Err(text) => error(StatusCode::BAD_REQUEST, text),
            Ok(hash) => {
                // Zeros are left out, as Go does.
                let mut header = serde_json::Map::new();
                let mut body = serde_json::Map::new();
                let put = |map: &mut serde_json::Map<_, _>, name: &str, number: i64| {
                    if number != 0 {
                        map.insert(name.to_owned(), number.into());
                    }
                };
                put(&mut header, "revision", hash.revision.get());
                body.insert("header".to_owned(), header.into());
                put(&mut body, "hash", hash.hash.into());
                put(&mut body, "compact_revision", hash.compact_revision);
                put(&mut body, "hash_revision", hash.hash_revision.get());
                self.with_cluster(good(JSON, serde_json::Value::from(body).to_string()))
            }
        }
    }

    /// `POST /leases`: renews a lease.
    pub(super) async fn keep_alive(&self, request: Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_lease_method(&request) {
            return refusal;
        }
        let body = match self.question(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let Ok(asked) = LeaseKeepAliveRequest::decode(body) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self.handler().keep_alive(LeaseId(asked.id)).await {
            Ok(ttl) => {
                let answer = LeaseKeepAliveResponse {
                    id: asked.id,
                    ttl,
                    ..LeaseKeepAliveResponse::default()
                };
                good(PROTOBUF, answer.encode_to_vec())
            }
            Err(reason) => lease_refused(&reason, StatusCode::BAD_REQUEST),
        }
    }

    /// `POST /leases/internal`: what is left of a lease.
    pub(super) async fn time_to_live(&self, request: Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_lease_method(&request) {
            return refusal;
        }
        let body = match self.question(request).await {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let asked = LeaseInternalRequest::decode(body).ok();
        let Some(asked) = asked.and_then(|asked| asked.lease_time_to_live_request) else {
            return error(StatusCode::BAD_REQUEST, "error unmarshalling request");
        };
        match self
            .handler()
            .time_to_live(LeaseId(asked.id), asked.keys)
            .await
        {
            Ok(left) => {
                let answer = LeaseInternalResponse {
                    lease_time_to_live_response: Some(left),
                };
                good(PROTOBUF, answer.encode_to_vec())
            }
            Err(reason) => lease_refused(&reason, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// `GET /downgrade/enabled`.
    pub(super) async fn downgrade_enabled(&self, request: &Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(request, &Method::GET) {
            return refusal;
        }
        let answer = match self.handler().downgrade_enabled().await {
            Ok(enabled) => good("text/plain", enabled.to_string()),
            Err(reason) => error(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("failed linearized read: {reason}"),
            ),
        };
        self.with_cluster(answer)
    }

    /// `GET /version`.
    pub(super) fn version(&self, request: &Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(request, &Method::GET) {
            return refusal;
        }
        let versions = self.handler().versions();
        let cluster = versions.cluster.as_deref().unwrap_or("not_decided");
        let body = format!(
            "{{\"etcdserver\":\"{}\",\"etcdcluster\":\"{cluster}\",\"storage\":\"{}\"}}",
            versions.server, versions.storage
        );
        good(JSON, body)
    }

    /// The body of a question.
    async fn question(&self, request: Request<Incoming>) -> Result<Bytes, Answered> {
        let partial = &self.0.transport.shared().partial;
        let body = read_all(request.into_body(), PEER_QUESTION_BYTES_MAX, Some(partial)).await;
        body.map_err(|reason| {
            last(match reason {
                ReadError::TooLong(_) => {
                    error(StatusCode::PAYLOAD_TOO_LARGE, "request body too large")
                }
                _ => error(StatusCode::BAD_REQUEST, "error reading body"),
            })
        })
    }
}

fn line(text: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(text.len() + 1);
    line.extend_from_slice(text);
    line.extend_from_slice(b"\n");
    line.freeze()
}

fn promoted(result: Result<Bytes, PromoteRefusal>, id: MemberId) -> Answered {
    let reason = match result {
        Ok(members) => return good(JSON, line(&members)),
        Err(reason) => reason,
    };
    tracing::warn!("member-id" = %id, error = %reason, "failed to promote a member");
    match reason {
        PromoteRefusal::NotFound => error(StatusCode::NOT_FOUND, reason),
        PromoteRefusal::NotLearner | PromoteRefusal::NotReady => {
            error(StatusCode::PRECONDITION_FAILED, reason)
        }
        PromoteRefusal::Other(_) => of_type(
            StatusCode::INTERNAL_SERVER_ERROR,
            JSON,
            r#"{"message":"Internal Server Error"}"#,
        ),
    }
}

/// The revision that a question in JSON names; zero if it names none.
fn asked_revision(body: &[u8]) -> Option<Revision> {
    let asked: serde_json::Value = serde_json::from_slice(body).ok()?;
    match asked.as_object()?.get("revision") {
        None | Some(serde_json::Value::Null) => Some(Revision::ZERO),
        Some(revision) => revision.as_i64().map(Revision),
    }
}

/// As [`wrong_method`], without naming the right one, as etcd does here.
fn wrong_lease_method(request: &Request<Incoming>) -> Option<Answered> {
    let mut refusal = wrong_method(request, &Method::POST)?;
    refusal.headers_mut().remove(ALLOW);
    Some(refusal)
}

fn lease_refused(reason: &LeaseRefusal, not_primary: StatusCode) -> Answered {
    let status = match reason {
        LeaseRefusal::NotFound => StatusCode::NOT_FOUND,
        LeaseRefusal::Timeout => StatusCode::REQUEST_TIMEOUT,
        LeaseRefusal::NotPrimary => not_primary,
        LeaseRefusal::Other(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_number_or_missing() {
        assert_eq!(asked_revision(br#"{"revision":7}"#), Some(Revision(7)));
        assert_eq!(asked_revision(b"{}"), Some(Revision(0)));
        for bad in [
            &b""[..],
            b"[]",
            b"7",
            br#"{"revision":"7"}"#,
            br#"{"revision":1.5}"#,
        ] {
            assert_eq!(asked_revision(bad), None);
        }
    }
}
