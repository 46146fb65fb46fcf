//! Requests with short answers, over connections that are kept for the next one.
//!
//! A request that has left on a connection is not sent again when that breaks: the other member may
//! have got it, and a forwarded write must not happen twice. So a connection that has been idle
//! nearly as long as etcd keeps one is not used any more.

use crate::body::{ReadError, RequestBody, read_all};
use crate::connect::{Connection, Connector};
use crate::url::PeerUrl;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};
use tenet_base::limits::{PEER_IDLE_CONNECTIONS_MAX, PEER_SILENCE_MS};
use tenet_tls::TlsError;
use tokio::time::timeout;

/// How long a connection may be idle and still be used: a second less than the other end waits.
const IDLE_MAX: Duration = Duration::from_millis(PEER_SILENCE_MS - 1_000);

/// Why a request to another member has no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is nobody.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// TLS is spoken there, and no certificate was given.
    #[error("TLS is spoken there, and there is no certificate for it: see --peer-cert-file")]
    NoTls,
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It took too long.
    #[error("{what} took more than {} ms", after.as_millis())]
    Slow {
        /// What did.
        what: &'static str,
        /// After which time it was given up.
        after: Duration,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("{0}")]
    Http(String),
    /// The answer is too long.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The other member refuses.
    #[error("{status}: {text}")]
    Status {
        /// With this status.
        status: StatusCode,
        /// And this text.
        text: String,
    },
    /// The other member says that this one was removed from the cluster.
    #[error("the member has been permanently removed from the cluster")]
    Removed,
    /// The answer is not what it should be.
    #[error("the answer cannot be understood: {0}")]
    Answer(String),
    /// The snapshot that was to be sent has failed.
    #[error("{0}")]
    Snapshot(String),
}

impl CallError {
    /// From an error of the HTTP library, with what is behind it.
    pub(crate) fn http(error: hyper::Error) -> CallError {
        use std::error::Error as _;
        CallError::Http(match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })
    }
}

impl From<ReadError> for CallError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLong(max) => CallError::TooLong(max),
            other => CallError::Http(other.to_string()),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answered {
    /// The body as text, without the line's end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .trim_end_matches('\n')
            .to_owned()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) connector: Connector,
    idle: Mutex<BTreeMap<PeerUrl, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    connection: Connection,
}

impl Pool {
    pub(crate) fn new(connector: Connector) -> Pool {
        Pool {
            connector,
            idle: Mutex::default(),
        }
    }

    /// Sends a request, whose address has a path only, and waits for the answer.
    ///
    /// # Errors
    /// If there is none in time. Whatever its status is, an answer is one.
    pub(crate) async fn call(
        &self,
        url: &PeerUrl,
        mut request: Request<RequestBody>,
        bytes_max: usize,
        patience: Duration,
    ) -> Result<Answered, CallError> {
        set_host(&mut request, url);
        let answered = timeout(patience, async {
            let (response, connection) = self.send(url, request).await?;
            let (head, body) = response.into_parts();
            let body = read_all(body, bytes_max, None).await?;
            self.keep(url, connection);
            Ok(Answered {
                status: head.status,
                headers: head.headers,
                body,
            })
        });
        answered.await.unwrap_or(Err(CallError::Slow {
            what: "the answer",
            after: patience,
        }))
    }

    /// Sends a request on a kept connection, or on a new one if there is none that takes it.
    async fn send(
        &self,
        url: &PeerUrl,
        mut request: Request<RequestBody>,
    ) -> Result<(http::Response<hyper::body::Incoming>, Connection), CallError> {
        while let Some(mut connection) = self.kept(url) {
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    // It has not left.
                    Some(unsent) => request = unsent,
                    None => return Err(CallError::http(error.into_error())),
                },
            }
        }
        let patience = Duration::from_millis(PEER_SILENCE_MS);
        let mut connection = self.connector.open(url, patience).await?;
        let response = connection
            .sender
            .send_request(request)
            .await
            .map_err(CallError::http)?;
        Ok((response, connection))
    }

    /// A connection that can be used again.
    fn kept(&self, url: &PeerUrl) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(url)?;
        kept.retain(|idle| idle.since.elapsed() < IDLE_MAX && !idle.connection.sender.is_closed());
        let connection = kept.pop().map(|idle| idle.connection);
        if kept.is_empty() {
            idle.remove(url);
        }
        connection
    }

    /// Keeps a connection whose answer was read whole.
    fn keep(&self, url: &PeerUrl, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        // Addresses that are not called any more must not be kept for ever.
        idle.retain(|_, kept| {
            kept.retain(|idle| idle.since.elapsed() < IDLE_MAX);
            !kept.is_empty()
        });
        let kept = idle.entry(url.clone()).or_default();
        if kept.len() < PEER_IDLE_CONNECTIONS_MAX {
            kept.push(Idle {
                since: Instant::now(),
                connection,
            });
        }
    }
}

/// Says in the request whom it is for.
pub(crate) fn set_host(request: &mut Request<RequestBody>, url: &PeerUrl) {
    let host = HeaderValue::from_str(url.authority()).expect("what was parsed is fit for a header");
    request.headers_mut().insert(HOST, host);
}
