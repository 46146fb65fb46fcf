//! Accepts connections, tells gRPC and HTTP/1.1 apart, and ends them all in time.
//!
//! On a shared port the first bytes decide: the HTTP/2 preface is gRPC, whatever is asked; a
//! request line is HTTP/1.1; anything else is closed without a word, as etcd does. A connection
//! that says nothing is closed after a while. Each client listener holds a bounded number of
//! connections; further ones wait in the kernel's queue.

use crate::api::Api;
use crate::config::access::AccessRules;
use crate::grpc::{LeaderLosses, Phase, Server, Settings, serve_connection};
use crate::http::{Http, Surface};
use crate::listen::{Connection, Listener};
use crate::metrics::OtherMetrics;
use crate::metrics::grpc::GrpcMetrics;
use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tenet_base::limits;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// gRPC and HTTP/1.1 for clients.
    Client,
    /// gRPC for clients, when HTTP has listeners of its own.
    ClientGrpc,
    /// HTTP/1.1 for clients, away from gRPC.
    ClientHttp,
    /// Health and metrics.
    Metrics,
}

impl Role {
    /// The word that log lines use for the traffic of client listeners.
    #[must_use]
    pub fn traffic(self) -> &'static str {
        match self {
            Role::Client => "grpc+http",
            Role::ClientGrpc => "grpc",
            Role::ClientHttp | Role::Metrics => "http",
        }
    }

    fn serves_grpc(self) -> bool {
        matches!(self, Role::Client | Role::ClientGrpc)
    }

    fn serves_http(self) -> bool {
        self != Role::ClientGrpc
    }

    fn surface(self) -> Surface {
        if self == Role::Metrics {
            Surface::Metrics
        } else {
            Surface::Client
        }
    }
}

/// What flags say about serving.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Largest gRPC message.
    pub message_bytes_max: usize,
    /// Streams per connection (`--max-concurrent-streams`).
    pub streams_max: u32,
    /// `--grpc-keepalive-min-time`.
    pub ping_interval_min: Duration,
    /// `--grpc-keepalive-interval`; zero for never.
    pub keepalive_interval: Duration,
    /// `--grpc-keepalive-timeout`.
    pub keepalive_timeout: Duration,
    /// `--warning-unary-request-duration`.
    pub slow_request: Duration,
    /// `--metrics extensive`.
    pub extensive_metrics: bool,
    /// Connections per client listener.
    pub connections_max: usize,
    /// Host names and origins.
    pub access: AccessRules,
    /// What else is measured.
    pub other_metrics: OtherMetrics,
    /// `--election-timeout`, after three of which without a leader streams that need one end.
    pub election_timeout: Duration,
}

/// Everything that is being served.
pub struct Serving<A> {
    grpc: Arc<Server<A>>,
    http: Arc<Http<A>>,
    connections_max: usize,
    phase: watch::Sender<Phase>,
    /// Every connection holds a sender; when none is left the receiver sees the end.
    alive: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl<A: Api> Serving<A> {
    /// Serves nothing yet. Must be called inside the runtime that is going to serve.
    pub fn new(api: A, options: ServeOptions) -> Serving<A> {
        let metrics = Arc::new(GrpcMetrics::new(options.extensive_metrics));
        let settings = Settings {
            message_bytes_max: options.message_bytes_max,
            streams_max: options.streams_max,
            ping_interval_min: options.ping_interval_min,
            keepalive_interval: options.keepalive_interval,
            keepalive_timeout: options.keepalive_timeout,
            slow_request: options.slow_request,
        };
        let http = Http::new(
            api.clone(),
            options.access,
            metrics.clone(),
            options.other_metrics,
        );
        let grpc = Arc::new(Server {
            api,
            settings,
            metrics,
            losses: LeaderLosses::default(),
        });
        let phase = watch::Sender::new(Phase::Serve);
        tokio::spawn(look_after_leader(
            grpc.clone(),
            options.election_timeout,
            phase.subscribe(),
        ));
        Serving {
            grpc,
            http: Arc::new(http),
            connections_max: options.connections_max,
            phase,
            alive: mpsc::channel(1),
        }
    }

    /// Begins to accept connections.
    pub fn listen(&self, listener: Listener, role: Role) {
        let door = Door {
            grpc: self.grpc.clone(),
            http: self.http.clone(),
            role,
            phase: self.phase.subscribe(),
            alive: self.alive.0.clone(),
        };
        let places = match role {
            Role::Metrics => Semaphore::MAX_PERMITS,
            _ => self.connections_max.min(Semaphore::MAX_PERMITS),
        };
        tokio::spawn(door.accept(listener, Arc::new(Semaphore::new(places))));
    }

    /// Stops accepting, lets open calls end for a while, and drops the rest.
    pub async fn stop(self, patience: Duration) {
        let (alive, mut gone) = self.alive;
        drop(alive);
        self.phase.send_replace(Phase::Drain);
        if timeout(patience, gone.recv()).await.is_err() {
            self.phase.send_replace(Phase::Cut);
            // Every connection sees this at its next poll.
            let _ = timeout(patience, gone.recv()).await;
        }
    }
}

async fn look_after_leader<A: Api>(
    grpc: Arc<Server<A>>,
    election_timeout: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    tokio::select! {
        () = grpc.losses.look(grpc.api.clone(), election_timeout) => {}
        // Ends as well if nobody is left to say so.
        _ = phase.wait_for(|phase| *phase > Phase::Serve) => {}
    }
}

/// One listener's loop.
struct Door<A> {
    grpc: Arc<Server<A>>,
    http: Arc<Http<A>>,
    role: Role,
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
}

impl<A: Api> Door<A> {
    async fn accept(self, listener: Listener, places: Arc<Semaphore>) {
        let mut phase = self.phase.clone();
        let mut pause = Duration::ZERO;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase > Phase::Serve) => return,
                accepted = next(&listener, &places) => accepted,
            };
            let Some((result, place)) = accepted else {
                return;
            };
            match result {
                Ok((connection, remote)) => {
                    pause = Duration::ZERO;
                    let serving = self.serve(connection, remote);
                    let alive = self.alive.clone();
                    tokio::spawn(async move {
                        serving.await;
                        drop((place, alive));
                    });
                }
                Err(error) => {
                    // Usually out of file descriptors: accepting again at once would only spin.
                    pause = (pause * 2).clamp(Duration::from_millis(5), Duration::from_secs(1));
                    tracing::warn!(
                        address = %listener.address,
                        error = %error,
                        "cannot accept a connection; waiting before the next"
                    );
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn serve(
        &self,
        mut connection: Connection,
        remote: String,
    ) -> impl Future<Output = ()> + Send + use<A> {
        let (grpc, http, role) = (self.grpc.clone(), self.http.clone(), self.role);
        let mut phase = self.phase.clone();
        async move {
            let wait = Duration::from_secs(limits::CONNECTION_PREFACE_SECONDS);
            let first = tokio::select! {
                first = timeout(wait, sniff(&mut connection)) => first,
                _ = phase.wait_for(|phase| *phase > Phase::Serve) => return,
            };
            match first {
                Ok(Ok(First::Http2(prefix))) if role.serves_grpc() => {
                    serve_connection(grpc, connection, prefix, remote, phase).await;
                }
                Ok(Ok(First::Http1(prefix))) if role.serves_http() => {
                    let connection = Rewound { prefix, connection };
                    http.serve_connection(connection, role.surface(), phase)
                        .await;
                }
                _ => {}
            }
        }
    }
}

type Accepted = (
    io::Result<(Connection, String)>,
    tokio::sync::OwnedSemaphorePermit,
);

/// The next connection, once there is room for it.
async fn next(listener: &Listener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = places.clone().acquire_owned().await.ok()?;
    Some((listener.accept().await, place))
}

/// What a connection begins with, and the bytes that showed it.
enum First {
    Http2(Bytes),
    Http1(Bytes),
}

async fn sniff(connection: &mut Connection) -> io::Result<First> {
    let mut seen = BytesMut::with_capacity(4096);
    loop {
        if connection.read_buf(&mut seen).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let compared = seen.len().min(PREFACE.len());
        if seen[..compared] == PREFACE[..compared] {
            if compared == PREFACE.len() {
                return Ok(First::Http2(seen.freeze()));
            }
            continue;
        }
        if seen.starts_with(b"PRI ") || !seen[0].is_ascii_uppercase() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        return Ok(First::Http1(seen.freeze()));
    }
}

/// A connection whose first bytes were already read.
struct Rewound {
    prefix: Bytes,
    connection: Connection,
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.connection).poll_read(cx, buf);
        }
        let len = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}
