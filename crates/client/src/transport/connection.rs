//! One HTTP/2 connection: made, driven by a task, and used as the transport of gRPC calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, Scheme, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::MapErr;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tenet_base::limits;
use tonic::body::Body;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::socket::Socket;
use crate::KeepAlive;

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the server: `ip:port`, or the path of a unix socket.
    pub remote: String,
    /// Address of this end: `ip:port`, or `@` for a unix socket.
    pub local: String,
}

/// Servers refuse pings that come more often than every five seconds.
const PING_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// A live connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: http2::SendRequest<Body>,
    pub(crate) peer: Arc<Peer>,
    authority: Authority,
}

impl Connection {
    /// Connects and waits for the server's first byte. Beside the connection, a future that ends
    /// with it and must be driven. The error is a text for people.
    pub(crate) async fn open(
        endpoint: &Endpoint,
        authority: &Authority,
        keep_alive: Option<KeepAlive>,
    ) -> Result<(Connection, impl Future<Output = ()> + Send + use<>), String> {
        let limit = Duration::from_millis(limits::CLIENT_CONNECT_TIMEOUT_MS);
        tokio::time::timeout(limit, Self::open_unbounded(endpoint, authority, keep_alive))
            .await
            .unwrap_or_else(|_| Err("transport: Error while dialing: i/o timeout".to_owned()))
    }

    async fn open_unbounded(
        endpoint: &Endpoint,
        authority: &Authority,
        keep_alive: Option<KeepAlive>,
    ) -> Result<(Connection, impl Future<Output = ()> + Send + use<>), String> {
        let (socket, peer, heard) = Socket::connect(&endpoint.address)
            .await
            .map_err(|error| format!("transport: Error while dialing: {error}"))?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        if let Some(keep_alive) = keep_alive {
            builder
                .keep_alive_interval(keep_alive.interval.max(PING_INTERVAL_MIN))
                .keep_alive_timeout(keep_alive.timeout)
                .keep_alive_while_idle(false);
        }
        let (sender, driver) = builder
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| format!("error writing the preface: {error}"))?;
        let mut driver = Box::pin(async move {
            // Whatever ends the connection is told to the calls on it.
            let _ = driver.await;
        });
        tokio::select! {
            () = heard.wait() => {}
            () = &mut driver => return Err("error reading server preface: EOF".to_owned()),
        }
        let connection = Connection {
            sender,
            peer: Arc::new(peer),
            authority: authority.clone(),
        };
        Ok((connection, driver))
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// A connection in the form that generated clients take: one per call.
pub(crate) struct Channel {
    pub(crate) connection: Connection,
    /// The full name of the method that it is made for.
    pub(crate) method: &'static str,
    pub(crate) receive_bytes_max: usize,
}

/// The body of an answer, with errors sorted.
pub(crate) type Answer = MapErr<Incoming, fn(hyper::Error) -> Failure>;

impl tower_service::Service<http::Request<Body>> for Channel {
    type Response = http::Response<Answer>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.connection
            .sender
            .poll_ready(cx)
            .map_err(|_| Failure::unsent())
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path_and_query().cloned();
        debug_assert_eq!(
            request.uri().path(),
            self.method,
            "a method is reported by its name"
        );
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.connection.authority.clone());
        parts.path_and_query = path;
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        let sending = self.connection.sender.try_send_request(request);
        Box::pin(async move {
            match sending.await {
                Ok(response) => Ok(response
                    .map(|body| body.map_err((|error| Failure::of_answer(&error)) as fn(_) -> _))),
                Err(mut error) => Err(match error.take_message() {
                    // A request that comes back was never written.
                    Some(_) => Failure::unsent(),
                    None => Failure::of_request(error.error()),
                }),
            }
        })
    }
}
