//! A stream of requests and answers in both directions, once opened: for watches and keep-alives.
//!
//! Invariant: waiting for an answer may be given up and begun again at any point; nothing is lost.
//! A server may say nothing at all before its first answer, so requests go out while the opening
//! of the stream is still under way. This knows neither what is sent nor what to do about an end.

use std::future::Future;
use std::pin::Pin;

use tenet_base::limits;
use tenet_proto::Code;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::transport::Channel;
use crate::{Client, Status};

/// What a call of a generated client gives.
pub(crate) type Opened<A> = Result<tonic::Response<tonic::Streaming<A>>, tonic::Status>;

type Opening<A> = Pin<Box<dyn Future<Output = Result<tonic::Streaming<A>, Status>> + Send>>;

pub(crate) struct Duplex<Q, A> {
    sender: mpsc::Sender<Q>,
    state: State<A>,
    client: Client,
}

enum State<A> {
    Opening(Opening<A>),
    Open(Box<tonic::Streaming<A>>),
}

impl<Q: Send + 'static, A: Send + 'static> Duplex<Q, A> {
    /// Begins to open a stream on the next connection that is up. `require_leader` asks the server
    /// to break it when there is no leader.
    pub(crate) fn open<F, R>(
        client: &Client,
        method: &'static str,
        require_leader: bool,
        send: F,
    ) -> Duplex<Q, A>
    where
        F: FnOnce(Channel, tonic::Request<ReceiverStream<Q>>) -> R + Send + 'static,
        R: Future<Output = Opened<A>> + Send,
    {
        let (sender, receiver) = mpsc::channel(limits::CLIENT_STREAM_QUEUE_MAX);
        let opener = client.clone();
        let opening = async move {
            let channel = opener.channel(method).await;
            let mut message = opener.message(ReceiverStream::new(receiver), None);
            if require_leader {
                let yes = tonic::metadata::AsciiMetadataValue::from_static("true");
                message.metadata_mut().insert("hasleader", yes);
            }
            match send(channel, message).await {
                Ok(answers) => Ok(answers.into_inner()),
                Err(error) => Err(opener.status_of(&error)),
            }
        };
        Duplex {
            sender,
            state: State::Opening(Box::pin(opening)),
            client: client.clone(),
        }
    }

    /// Waits until a request can be taken on; for ever if there is none, or the stream has ended,
    /// which the next [`Self::answer`] tells. Does not borrow the stream.
    pub(crate) fn room_if(
        &self,
        has_request: bool,
    ) -> impl Future<Output = mpsc::OwnedPermit<Q>> + Send + use<Q, A> {
        let sender = has_request.then(|| self.sender.clone());
        async move {
            if let Some(sender) = sender
                && let Ok(permit) = sender.reserve_owned().await
            {
                return permit;
            }
            std::future::pending().await
        }
    }

    /// The next answer. A stream that the server ends without an error ends with one here.
    pub(crate) async fn answer(&mut self) -> Result<A, Status> {
        if let State::Opening(opening) = &mut self.state {
            let answers = opening.await?;
            self.state = State::Open(Box::new(answers));
        }
        let State::Open(answers) = &mut self.state else {
            unreachable!("a stream that is not opening is open")
        };
        match answers.message().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Status::new(
                Code::Unavailable,
                "the server ended the stream",
            )),
            Err(error) => Err(self.client.status_of(&error)),
        }
    }
}

/// Waits before a broken stream is opened again: each twice as long as the one before, up to a
/// limit, until the stream has worked again.
#[derive(Debug, Default)]
pub(crate) struct ReopenWait {
    failures: u32,
}

impl ReopenWait {
    /// The stream has worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn next(&mut self) -> std::time::Duration {
        let longest = limits::CLIENT_STREAM_WAIT_MS_MAX;
        let base = limits::CLIENT_STREAM_WAIT_MS.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        crate::transport::spread(std::time::Duration::from_millis(base.min(longest)), 0.2)
    }
}

/// Whether a stream that ended so is worth opening again: the server or the way to it may be back
/// soon. Anything else would fail again in the same way.
pub(crate) fn may_come_back(status: &Status) -> bool {
    let code = status
        .api_error()
        .map_or(status.code, tenet_proto::ApiError::code);
    matches!(code, Code::Unavailable | Code::Internal | Code::Canceled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_begin_anew_after_success() {
        let mut wait = ReopenWait::default();
        let waits: Vec<u128> = (0..20).map(|_| wait.next().as_millis()).collect();
        assert!((40..=60).contains(&waits[0]), "{waits:?}");
        assert!((4_000..=6_000).contains(&waits[19]), "{waits:?}");
        wait.reset();
        assert!(wait.next().as_millis() <= 60);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, text, again) in [
            (Code::Unavailable, "error reading from server: EOF", true),
            (Code::Unavailable, "etcdserver: no leader", true),
            (Code::Canceled, "etcdserver: watch canceled", true),
            (Code::Unimplemented, "unknown service", false),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                false,
            ),
            (
                Code::ResourceExhausted,
                "grpc: received message larger than max",
                false,
            ),
        ] {
            assert_eq!(may_come_back(&Status::new(code, text)), again, "{text}");
        }
    }
}
