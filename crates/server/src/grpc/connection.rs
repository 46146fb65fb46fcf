//! Drives one HTTP/2 connection and all of its calls in a single task.
//!
//! A round accepts what has arrived, polls the calls that can go on and lets the HTTP/2 library
//! write what they left; rounds follow each other until nothing is left to do ([`LocalWaker`]). The
//! task is outside the runtime's cooperative budget, which would cut such rounds at arbitrary
//! places; instead it gives way to other tasks after [`ROUNDS_MAX`] rounds.

use super::budget::Budget;
use super::call;
use super::guard::{Guarded, Traffic};
use super::leader::LeaderLosses;
use super::waker::LocalWaker;
use crate::api::Api;
use crate::metrics::grpc::{ClientVersions, GrpcMetrics, VersionCounters};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use h2::server::{Connection, SendResponse};
use http::HeaderValue;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tenet_base::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// Rounds that a connection may do before other tasks get their turn.
const ROUNDS_MAX: usize = 16;
/// Requests accepted in one round at most. Small, since only running them shows what they make us
/// keep for the client.
const ROUND_ACCEPTS_MAX: usize = 32;
/// Calls ended in one round at most, before what they left is written.
const ROUND_ENDS_MAX: usize = 256;
/// What one stream's answer may occupy in the HTTP/2 library.
const STREAM_SEND_BYTES_MAX: usize = 256 * 1024;
/// Answers with so many bytes go out as one frame, which is what clients' frame limits start at.
const FRAME_BYTES: u32 = 16 * 1024;

/// How far the shutdown of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Serving.
    Serve,
    /// No new calls; those that are open may end.
    Drain,
    /// Drop everything.
    Cut,
}

/// What flags say about gRPC.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Largest message that is accepted.
    pub message_bytes_max: usize,
    /// Streams per connection.
    pub streams_max: u32,
    /// Pings may not follow each other faster.
    pub ping_interval_min: Duration,
    /// Silence after which we ask whether the client is alive; zero for never.
    pub keepalive_interval: Duration,
    /// Time that it has to answer.
    pub keepalive_timeout: Duration,
    /// Unary calls that take longer are logged.
    pub slow_request: Duration,
}

/// What all connections share.
pub(crate) struct Server<A> {
    pub api: A,
    pub settings: Settings,
    pub metrics: Arc<GrpcMetrics>,
    pub losses: LeaderLosses,
}

/// The client at the other end.
pub(super) struct Peer {
    /// Its address, for the log.
    pub remote: String,
    /// Bytes of unfinished requests.
    pub partial: Arc<Budget>,
    /// Bytes of answers that it has not taken yet.
    pub unsent: Arc<Budget>,
    traffic: Arc<Traffic>,
    /// The version that its first call named, and its counters: later calls name the same.
    version: OnceLock<(Option<HeaderValue>, Arc<VersionCounters>)>,
}

/// What the calls of one connection share. They hold it by one reference, which only this
/// connection's task touches: one that all connections share would wander between cores.
pub(super) struct Link<A> {
    pub server: Arc<Server<A>>,
    pub peer: Arc<Peer>,
}

impl Peer {
    /// Counts a call under the client's version. Tells whether the version is valid UTF-8.
    pub(super) fn count_version(
        &self,
        versions: &ClientVersions,
        version: Option<&HeaderValue>,
        unary: bool,
    ) -> bool {
        let counters = match self.version.get() {
            Some((known, counters)) if known.as_ref() == version => counters.clone(),
            _ => {
                let name = version.map_or(Ok("unknown"), |v| std::str::from_utf8(v.as_bytes()));
                let Ok(name) = name else { return false };
                let counters = versions.get(name);
                let _ = self.version.set((version.cloned(), counters.clone()));
                counters
            }
        };
        if unary {
            counters.unary.add(1)
        } else {
            counters.stream.add(1)
        }
        true
    }
}

/// Serves a connection until the client leaves, misbehaves or the process ends.
pub(crate) async fn serve_connection<A: Api, S>(
    server: Arc<Server<A>>,
    socket: S,
    prefix: Bytes,
    remote: String,
    phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    run(server, socket, prefix, remote, phase, call::serve).await;
}

/// As [`serve_connection`], with `serve` to run the calls.
pub(super) async fn run<A: Api, S, C>(
    server: Arc<Server<A>>,
    socket: S,
    prefix: Bytes,
    remote: String,
    mut phase: watch::Receiver<Phase>,
    serve: impl Fn(Arc<Link<A>>, http::Request<h2::RecvStream>, SendResponse<Bytes>) -> C,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    C: Future<Output = ()>,
{
    let traffic = Arc::new(Traffic::default());
    let settings = &server.settings.clone();
    let guarded = Guarded::new(socket, prefix, settings.ping_interval_min, traffic.clone());
    let handshake = builder(settings).handshake::<_, Bytes>(guarded);
    let preface = Duration::from_secs(limits::CONNECTION_PREFACE_SECONDS);
    let Ok(Ok(connection)) = timeout(preface, handshake).await else {
        return;
    };
    let peer = Arc::new(Peer {
        remote,
        partial: Arc::default(),
        unsent: Arc::default(),
        traffic: traffic.clone(),
        version: OnceLock::new(),
    });
    let link = Arc::new(Link {
        server,
        peer: peer.clone(),
    });
    let serve = |request, respond| serve(link.clone(), request, respond);
    let keepalive = Keepalive::new(settings, traffic);
    let mut driver = Driver::new(connection, peer.clone(), keepalive, serve);
    let driving = async {
        loop {
            tokio::select! {
                biased;
                () = poll_fn(|cx| driver.poll(cx)) => return,
                changed = phase.changed() => {
                    let now = changed.map_or(Phase::Cut, |()| *phase.borrow_and_update());
                    match now {
                        Phase::Serve => {}
                        Phase::Drain => driver.connection.graceful_shutdown(),
                        Phase::Cut => return,
                    }
                }
            }
        }
    };
    tokio::task::coop::unconstrained(driving).await;
}

fn builder(settings: &Settings) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(limits::REQUEST_HEADER_BYTES_MAX)
        .max_concurrent_streams(settings.streams_max.min(limits::STREAMS_PER_CONNECTION_MAX))
        .max_pending_accept_reset_streams(limits::UNSEEN_RESETS_MAX)
        .max_send_buffer_size(STREAM_SEND_BYTES_MAX);
    builder
}

/// See the module. `C` is the future of one call.
struct Driver<S, C, F> {
    connection: Connection<Guarded<S>, Bytes>,
    calls: FuturesUnordered<C>,
    peer: Arc<Peer>,
    keepalive: Keepalive,
    serve: F,
    local: Arc<LocalWaker>,
    waker: Waker,
}

impl<S, C, F> Driver<S, C, F>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Future<Output = ()>,
    F: Fn(http::Request<h2::RecvStream>, SendResponse<Bytes>) -> C,
{
    fn new(
        connection: Connection<Guarded<S>, Bytes>,
        peer: Arc<Peer>,
        keepalive: Keepalive,
        serve: F,
    ) -> Self {
        let local = Arc::new(LocalWaker::default());
        let waker = Waker::from(local.clone());
        Driver {
            connection,
            calls: FuturesUnordered::new(),
            peer,
            keepalive,
            serve,
            local,
            waker,
        }
    }

    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = self.waker.clone();
        let mut inner = Context::from_waker(&waker);
        for _ in 0..ROUNDS_MAX {
            self.local.begin(cx.waker());
            if self.round(&mut inner).is_ready() {
                return Poll::Ready(());
            }
            if self.local.try_end() {
                return Poll::Pending;
            }
        }
        self.local.end();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_accept(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Poll::Ready(lost) = self.keepalive.poll(&mut self.connection, cx) {
            tracing::debug!(remote = %self.peer.remote, "{lost}");
            return Poll::Ready(());
        }
        let behind = self.is_behind();
        for ended in 0..=ROUND_ENDS_MAX {
            match self.calls.poll_next_unpin(cx) {
                Poll::Ready(Some(())) if ended < ROUND_ENDS_MAX => {
                    self.peer.traffic.open_calls.fetch_sub(1, Ordering::Relaxed);
                }
                Poll::Ready(Some(())) => {
                    self.peer.traffic.open_calls.fetch_sub(1, Ordering::Relaxed);
                    // More may be ready: what these left is written first.
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        if behind && !self.is_behind() {
            // Calls were dropped with what they had to send; requests may wait.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the client leaves so much unread that it gets no further calls.
    fn is_behind(&self) -> bool {
        self.peer.unsent.used() > limits::CONNECTION_UNSENT_BYTES_MAX
    }

    /// Takes new requests, and in any case lets the library read and write. A client that does
    /// not take its answers is not asked for more requests.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUND_ACCEPTS_MAX {
            if self.is_behind() {
                if self.connection.poll_closed(cx).is_ready() {
                    return Poll::Ready(());
                }
                if self.is_behind() {
                    return Poll::Pending;
                }
            }
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.peer.traffic.open_calls.fetch_add(1, Ordering::Relaxed);
                    self.calls.push((self.serve)(request, respond));
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Asks a silent client whether it is alive.
struct Keepalive {
    ping_pong: Option<h2::PingPong>,
    traffic: Arc<Traffic>,
    interval: Duration,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Reads at the last look.
    seen: u64,
    /// A ping is on its way.
    asked: bool,
}

impl Keepalive {
    fn new(settings: &Settings, traffic: Arc<Traffic>) -> Keepalive {
        let interval = settings.keepalive_interval;
        let timer = (!interval.is_zero())
            .then(|| Instant::now().checked_add(interval))
            .flatten()
            .map(|at| Box::pin(sleep_until(at)));
        Keepalive {
            ping_pong: None,
            traffic,
            interval,
            timeout: settings.keepalive_timeout,
            timer,
            seen: 0,
            asked: false,
        }
    }

    /// Ready when the client is lost.
    fn poll<S>(
        &mut self,
        connection: &mut Connection<S, Bytes>,
        cx: &mut Context<'_>,
    ) -> Poll<&'static str>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(timer) = &mut self.timer else {
            return Poll::Pending;
        };
        while timer.as_mut().poll(cx).is_ready() {
            let reads = self.traffic.reads.load(Ordering::Relaxed);
            let silent = reads == std::mem::replace(&mut self.seen, reads);
            if silent && self.asked {
                return Poll::Ready("a client did not answer a ping; closing its connection");
            }
            self.asked = silent;
            let wait = if silent { self.timeout } else { self.interval };
            if silent {
                if self.ping_pong.is_none() {
                    self.ping_pong = connection.ping_pong();
                }
                if let Some(ping_pong) = &mut self.ping_pong {
                    // It fails if one is on its way or the connection is over; both show elsewhere.
                    let _ = ping_pong.send_ping(h2::Ping::opaque());
                    // The answer shows as a read; taking it makes room for the next ping.
                    let _ = ping_pong.poll_pong(cx);
                    // The connection has not been asked to look for pings of ours before.
                    cx.waker().wake_by_ref();
                }
            } else if let Some(ping_pong) = &mut self.ping_pong {
                let _ = ping_pong.poll_pong(cx);
            }
            let Some(at) = Instant::now().checked_add(wait) else {
                return Poll::Pending;
            };
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}
