//! What carries raft: single messages, streams and snapshots.

use super::PeerServer;
use super::answer::{Answered, empty, error, good, last, set, stream, wrong_method};
use crate::body::{Database, ReadError, next_piece, read_all};
use crate::headers::{self, CLUSTER_ID, FROM, PEER_URLS, SERVER_VERSION, TO};
use crate::link::Kind;
use crate::metrics::OneOf;
use crate::url::PeerUrl;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use prost::Message as _;
use std::time::Instant;
use tenet_base::MemberId;
use tenet_base::limits::PEER_MESSAGE_BYTES_MAX;
use tenet_proto::peer::SnapshotDecoder;
use tenet_proto::raftpb::{Message, MessageType};

impl PeerServer {
    /// `POST /raft`: one message.
    pub(super) async fn post(&self, request: Request<Incoming>, remote: &str) -> Answered {
        if let Some(refusal) = wrong_method(&request, &Method::POST) {
            return refusal;
        }
        let answer = self.posted(request, remote).await;
        self.with_cluster(answer)
    }

    async fn posted(&self, request: Request<Incoming>, remote: &str) -> Answered {
        if let Some(refusal) = self.incompatible(request.headers(), remote) {
            return last(refusal);
        }
        self.remember_caller(request.headers());
        let shared = self.0.transport.shared();
        let whose = headers::member_id(headers::text(request.headers(), &FROM));
        let unread = |text: &str, reason: &dyn std::fmt::Display| {
            shared
                .metrics
                .of(whose.unwrap_or_default())
                .received_failures
                .add(1);
            tracing::warn!("remote-addr" = remote, error = %reason, "{text}");
        };
        let body = read_all(
            request.into_body(),
            PEER_MESSAGE_BYTES_MAX,
            Some(&shared.partial),
        );
        let bytes = match body.await {
            Ok(bytes) => bytes,
            Err(reason) => {
                unread("failed to read Raft message", &reason);
                return last(error(status_of(&reason), "error reading raft message"));
            }
        };
        let len = bytes.len() as u64;
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(reason) => {
                unread("failed to unmarshal Raft message", &reason);
                return error(StatusCode::BAD_REQUEST, "error unmarshalling raft message");
            }
        };
        shared
            .metrics
            .of(MemberId(message.from))
            .received_bytes
            .add(len);
        match shared.deliver(message) {
            Ok(()) => empty(StatusCode::NO_CONTENT),
            Err(reason) => {
                unread("failed to process Raft message", &reason);
                // As etcd 3.7.1 answers; the connection ends with it.
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                last(error(status, "error processing raft message"))
            }
        }
    }

    /// `GET /raft/stream/…`: a stream to the member that asks.
    pub(super) fn stream(&self, request: &Request<Incoming>) -> Answered {
        if let Some(refusal) = wrong_method(request, &Method::GET) {
            return refusal;
        }
        let mut answer = self.streamed(request.uri().path(), request.headers());
        let version = self.0.transport.shared().options.server_version;
        set(
            &mut answer,
            SERVER_VERSION,
            HeaderValue::from_static(version),
        );
        self.with_cluster(answer)
    }

    fn streamed(&self, path: &str, asked: &HeaderMap) -> Answered {
        if let Some(refusal) = self.incompatible(asked, "") {
            return refusal;
        }
        let Some((folder, from)) = path.rsplit_once('/') else {
            return error(StatusCode::NOT_FOUND, "invalid path");
        };
        let kinds = [Kind::Message, Kind::Append];
        let Some(kind) = kinds.into_iter().find(|kind| kind.path() == folder) else {
            return error(StatusCode::NOT_FOUND, "invalid path");
        };
        let Some(from) = headers::member_id(from) else {
            return error(StatusCode::NOT_FOUND, "invalid from");
        };
        let shared = self.0.transport.shared();
        let refuse = |status, text: &str, line: &str| {
            tracing::warn!(
                "local-member-id" = %shared.options.local,
                "remote-peer-id-from" = %from,
                "remote-peer-id-header" = headers::text(asked, &TO),
                "cluster-id" = %shared.options.cluster,
                "{line}"
            );
            error(status, text)
        };
        // Only this ends a member of etcd's for good, so it must be true.
        if shared.handler.is_removed(from) {
            return refuse(
                StatusCode::GONE,
                "removed member",
                "rejected stream from remote peer because it was removed",
            );
        }
        let Some(link) = self.0.transport.link(from, kind) else {
            self.remember(from, headers::text(asked, &PEER_URLS));
            return refuse(
                StatusCode::NOT_FOUND,
                "error sender not found",
                "failed to find remote peer in cluster",
            );
        };
        if headers::text(asked, &TO) != shared.options.local.to_string() {
            return refuse(
                StatusCode::PRECONDITION_FAILED,
                "to field mismatch",
                "ignored streaming request; ID mismatch",
            );
        }
        match link.attach() {
            Some(outgoing) => stream(outgoing),
            None => error(StatusCode::NOT_FOUND, "error sender not found"),
        }
    }

    /// `POST /raft/snapshot`: a message and a database.
    pub(super) async fn snapshot(&self, request: Request<Incoming>, remote: &str) -> Answered {
        if let Some(refusal) = wrong_method(&request, &Method::POST) {
            return refusal;
        }
        let answer = match self.incompatible(request.headers(), remote) {
            Some(refusal) => last(refusal),
            None => {
                self.remember_caller(request.headers());
                self.received(request.into_body(), remote).await
            }
        };
        self.with_cluster(answer)
    }

    async fn received(&self, mut body: Incoming, remote: &str) -> Answered {
        let began = Instant::now();
        let shared = self.0.transport.shared();
        let (message, first) = match snapshot_head(&mut body).await {
            Ok(head) => head,
            Err(reason) => {
                tracing::warn!(
                    "remote-addr" = remote,
                    error = reason,
                    "failed to decode Raft message"
                );
                let text = format!("failed to decode raft message ({reason})");
                return last(error(StatusCode::BAD_REQUEST, text));
            }
        };
        let from = MemberId(message.from);
        let counts = shared.metrics.of(from);
        let index = message
            .snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.index());
        let refuse = |status, text: String| {
            counts.snapshot_receive_failures.add(1);
            tracing::warn!(
                "remote-snapshot-sender-id" = %from,
                "incoming-snapshot-index" = index,
                error = text,
                "the incoming snapshot was refused"
            );
            last(error(status, text))
        };
        if message.msg_type != MessageType::Snap as i32 || index == 0 {
            return refuse(StatusCode::BAD_REQUEST, "wrong raft message type".into());
        }
        // etcd stores the database first; there is no use in that if the message goes no further.
        if let Err(reason) = shared.check(&message) {
            let text = format!("failed to process raft message ({reason})");
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, text);
        }
        let Ok(_turn) = self.0.snapshots.try_acquire() else {
            let text = "too many snapshots are being received".into();
            return refuse(StatusCode::SERVICE_UNAVAILABLE, text);
        };
        let _one = OneOf::new(counts.clone(), |counts| &counts.snapshots_being_received);
        tracing::info!(
            "local-member-id" = %shared.options.local,
            "remote-snapshot-sender-id" = %from,
            "incoming-snapshot-index" = index,
            "receiving database snapshot"
        );
        let database = Database::new(first, body, counts.clone());
        if let Err(reason) = shared.handler.receive_snapshot(message, database).await {
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, reason.to_string());
        }
        counts.snapshots_received.add(1);
        counts
            .snapshot_receive_seconds
            .record(began.elapsed().as_secs_f64());
        tracing::info!(
            "local-member-id" = %shared.options.local,
            "remote-snapshot-sender-id" = %from,
            "incoming-snapshot-index" = index,
            "download-took" = ?began.elapsed(),
            "received and saved database snapshot"
        );
        empty(StatusCode::NO_CONTENT)
    }

    /// `/raft/probing`: what time it is here, whatever the method.
    #[expect(clippy::unused_self, reason = "it stands beside the others")]
    pub(super) fn probing(&self) -> Answered {
        let body = format!("{{\"OK\":true,\"Now\":\"{}\"}}\n", Timestamp::now());
        good("text/plain; charset=utf-8", body)
    }

    /// The refusal of a caller that we cannot talk to.
    fn incompatible(&self, asked: &HeaderMap, remote: &str) -> Option<Answered> {
        let options = &self.0.transport.shared().options;
        let reason = headers::check(asked, options).err()?;
        tracing::warn!(
            "local-member-id" = %options.local,
            "local-member-cluster-id" = %options.cluster,
            "local-member-server-version" = options.server_version,
            "remote-addr" = remote,
            "remote-peer-server-name" = headers::text(asked, &FROM),
            "remote-peer-server-version" = headers::text(asked, &SERVER_VERSION),
            "remote-peer-cluster-id" = headers::text(asked, &CLUSTER_ID),
            error = %reason,
            "request of another member was refused"
        );
        Some(error(StatusCode::PRECONDITION_FAILED, reason))
    }

    /// Remembers a caller that says who it is and where it can be reached.
    fn remember_caller(&self, asked: &HeaderMap) {
        if let Some(from) = headers::member_id(headers::text(asked, &FROM)) {
            self.remember(from, headers::text(asked, &PEER_URLS));
        }
    }

    fn remember(&self, id: MemberId, urls: &str) {
        let transport = &self.0.transport;
        // Asked first: a caller is known nearly always.
        if urls.is_empty() || transport.knows(id) || transport.shared().handler.is_removed(id) {
            return;
        }
        match PeerUrl::parse_list(urls) {
            Ok(urls) => transport.add_remote(id, &urls),
            Err(error) => tracing::warn!(
                "remote-peer-id-from" = %id,
                %error,
                "an unknown member has called that gives no address to answer to"
            ),
        }
    }

    pub(super) fn with_cluster(&self, mut answer: Answered) -> Answered {
        let cluster = headers::cluster(self.0.transport.shared().options.cluster);
        set(&mut answer, CLUSTER_ID, cluster);
        answer
    }
}

fn status_of(reason: &ReadError) -> StatusCode {
    match reason {
        ReadError::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The message in front of a database, and what of the database came with it.
async fn snapshot_head(body: &mut Incoming) -> Result<(Message, Bytes), String> {
    let mut decoder = SnapshotDecoder::new();
    loop {
        let piece = next_piece(body).await.map_err(|error| error.to_string())?;
        let piece = piece.ok_or_else(|| decoder.truncated().to_string())?;
        match decoder.push(piece) {
            Ok(None) => {}
            Ok(Some(head)) => return Ok(head),
            Err(error) => return Err(error.to_string()),
        }
    }
}
