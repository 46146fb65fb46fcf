//! How a call is made: picked connection, deadline, metadata, attempts.
//!
//! Invariant: a write is sent again only if the transport says that the server cannot have seen it.

use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tenet_base::limits;
use tenet_proto::prost::Message;
use tenet_proto::{ApiError, Code};
use tokio::time::Instant;

use crate::client::Client;
use crate::error::code_of;
use crate::transport::{Channel, Failure, Peer, spread};
use crate::{Credentials, Error, FailedAttempt, Status};

/// Whether a call may be repeated when its outcome is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// A unary call: its full name, its kind, the method of the generated client, the request.
macro_rules! call {
    ($client:expr, $name:expr, $kind:ident, $service:ident :: $method:ident, $request:expr) => {
        $client
            .unary(
                $name,
                $crate::call::Kind::$kind,
                $request,
                |channel, request| async move {
                    let limit = channel.receive_bytes_max;
                    $service::new(channel)
                        .max_decoding_message_size(limit)
                        .$method(request)
                        .await
                },
            )
            .await
    };
}
pub(crate) use call;

/// How an attempt ended that has no answer.
struct Failed {
    status: Status,
    peer: Option<Arc<Peer>>,
    /// By this client's own deadline.
    timed_out: bool,
}

/// The version of the API that requests announce.
const API_VERSION: &str = "3.7";

impl Client {
    /// Makes a unary call, as often as is safe and useful.
    pub(crate) async fn unary<Q, A, F, R>(
        &self,
        method: &'static str,
        kind: Kind,
        request: Q,
        send: F,
    ) -> Result<A, Error>
    where
        Q: Message + Clone,
        F: Fn(Channel, tonic::Request<Q>) -> R,
        R: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
    {
        let deadline = self.deadline.instant();
        let mut attempt = 0;
        loop {
            let failed = match self.attempt(method, &request, deadline, &send).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            if let Some(observer) = &self.shared.config.observer {
                observer.attempt_failed(&FailedAttempt {
                    target: self.shared.pool.target(),
                    method,
                    attempt,
                    peer: failed.peer.as_deref(),
                    status: &failed.status,
                });
            }
            attempt += 1;
            if failed.timed_out {
                return Err(Error::Deadline);
            }
            if attempt >= self.shared.config.attempts_max
                || !self
                    .is_worth_repeating(kind, &failed.status, deadline)
                    .await?
            {
                return Err(failed.status.into_error());
            }
            within(deadline, tokio::time::sleep(self.wait_before(attempt)))
                .await
                .ok_or(Error::Deadline)?;
        }
    }

    async fn attempt<Q, A, F, R>(
        &self,
        method: &'static str,
        request: &Q,
        deadline: Option<Instant>,
        send: &F,
    ) -> Result<A, Failed>
    where
        Q: Message + Clone,
        F: Fn(Channel, tonic::Request<Q>) -> R,
        R: Future<Output = Result<tonic::Response<A>, tonic::Status>>,
    {
        let mut peer = None;
        let outcome = within(deadline, async {
            loop {
                let channel = self.channel(method).await;
                peer = Some(channel.connection.peer.clone());
                self.check_size(request)?;
                let message = self.message(request.clone(), deadline);
                match send(channel, message).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    // Gone before the request went out: not an attempt, another one is taken.
                    Err(error) if is_unsent(&error) => peer = None,
                    Err(error) => return Err(self.status_of(&error)),
                }
            }
        })
        .await;
        match outcome {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(status)) => Err(Failed {
                status,
                peer,
                timed_out: false,
            }),
            None => {
                let status = self.deadline_status(peer.is_some());
                Err(Failed {
                    status,
                    peer,
                    timed_out: true,
                })
            }
        }
    }

    /// The next connection that is up, for one call.
    pub(crate) async fn channel(&self, method: &'static str) -> Channel {
        let connection = self.shared.pool.connection().await;
        Channel {
            connection,
            method,
            receive_bytes_max: self.shared.config.receive_bytes_max,
        }
    }

    /// A request with its metadata.
    pub(crate) fn message<Q>(&self, request: Q, deadline: Option<Instant>) -> tonic::Request<Q> {
        let mut message = tonic::Request::new(request);
        let metadata = message.metadata_mut();
        metadata.insert(
            "client-api-version",
            tonic::metadata::AsciiMetadataValue::from_static(API_VERSION),
        );
        let token = self
            .shared
            .token
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*token {
            metadata.insert("token", token.clone());
        }
        if let Some(deadline) = deadline {
            message.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        message
    }

    pub(crate) fn check_size(&self, request: &impl Message) -> Result<(), Status> {
        let (len, max) = (request.encoded_len(), self.shared.config.send_bytes_max);
        if len <= max {
            return Ok(());
        }
        let text = format!("trying to send message larger than max ({len} vs. {max})");
        Err(Status::new(Code::ResourceExhausted, text))
    }

    /// What an error of the gRPC layer says, with the failures of the transport below it.
    pub(crate) fn status_of(&self, error: &tonic::Status) -> Status {
        if let Some(failure) = Failure::below(error) {
            return failure.status.clone();
        }
        if let Some(len) = oversized(error) {
            let max = self.shared.config.receive_bytes_max;
            let text = format!("grpc: received message larger than max ({len} vs. {max})");
            return Status::new(Code::ResourceExhausted, text);
        }
        Status::new(code_of(error.code()), error.message())
    }

    /// What a passed deadline means: the endpoints may be to blame.
    pub(crate) fn deadline_status(&self, was_connected: bool) -> Status {
        let text = match self.shared.pool.failure() {
            Some(failure) if !was_connected => {
                format!("latest balancer error: connection error: desc = {failure:?}")
            }
            _ => "context deadline exceeded".to_owned(),
        };
        Status::new(Code::DeadlineExceeded, text)
    }

    async fn is_worth_repeating(
        &self,
        kind: Kind,
        status: &Status,
        deadline: Option<Instant>,
    ) -> Result<bool, Error> {
        let error = status.api_error();
        if self.wants_new_token(error) {
            self.renew_token(deadline).await?;
            return Ok(true);
        }
        // A learner refuses what a voter would answer.
        if error == Some(ApiError::NotSupportedForLearner) {
            return Ok(self.shared.pool.len() > 1);
        }
        let code = error.map_or(status.code, ApiError::code);
        // The last two are the server's; this client's own deadline has been dealt with.
        let may_pass = matches!(
            code,
            Code::Unavailable | Code::DeadlineExceeded | Code::Canceled
        );
        Ok(kind == Kind::Read && may_pass)
    }

    fn wants_new_token(&self, error: Option<ApiError>) -> bool {
        let renewable = matches!(
            self.shared.config.credentials,
            Some(Credentials::Password { .. })
        );
        match error {
            Some(ApiError::UserEmpty | ApiError::InvalidAuthToken) => renewable,
            // The users changed while the call was under way; nothing of it was done.
            Some(ApiError::AuthOldRevision) => {
                !matches!(self.shared.config.credentials, Some(Credentials::Token(_)))
            }
            _ => false,
        }
    }

    /// Every endpoint of a quorum is tried once before there is a wait.
    fn wait_before(&self, attempt: u32) -> Duration {
        let quorum = self.shared.pool.len() / 2 + 1;
        if (attempt as usize).is_multiple_of(quorum) {
            spread(Duration::from_millis(limits::CLIENT_RETRY_WAIT_MS), 0.1)
        } else {
            Duration::ZERO
        }
    }
}

/// The future's output, or nothing once the deadline has passed.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    match deadline {
        Some(deadline) if deadline <= Instant::now() => None,
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

pub(crate) fn is_unsent(error: &tonic::Status) -> bool {
    Failure::below(error).is_some_and(|failure| !failure.reached)
}

/// The size of an answer that was over the limit: the gRPC layer has it in its text only.
fn oversized(error: &tonic::Status) -> Option<usize> {
    let text = error
        .message()
        .strip_prefix("Error, decoded message length too large: found ")?;
    text.split(' ').next()?.parse().ok()
}
