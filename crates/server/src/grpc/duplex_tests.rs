//! Sessions against a client over a pipe in memory.

use super::*;
use crate::fake::Fake;
use crate::grpc::call;
use crate::grpc::connection::{self, Link, Phase, Server, Settings};
use crate::grpc::frames::put_prefix;
use crate::grpc::inbound::PREFIX_BYTES;
use crate::grpc::leader::LeaderLosses;
use crate::metrics::grpc::GrpcMetrics;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenet_proto::etcdserverpb::LeaseKeepAliveRequest;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the sessions of a test share: how far they may go, and how far they went.
#[derive(Default)]
struct Source {
    /// Numbers below this are there to be sent.
    published: AtomicU64,
    news: Notify,
    /// Messages given by all sessions.
    given: AtomicU64,
    body: Bytes,
}

impl Source {
    fn publish(&self, to: u64) {
        self.published.store(to, Ordering::SeqCst);
        self.news.notify_waiters();
    }
}

/// Sends the numbers of the source and echoes requests, all before the source's body. A request
/// for lease 2 ends the call.
struct Numbers {
    source: Arc<Source>,
    next: u64,
    echo: Option<LeaseKeepAliveRequest>,
    ended: bool,
    news: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Numbers {
    fn new(source: &Arc<Source>) -> Numbers {
        Numbers {
            source: source.clone(),
            next: 0,
            echo: None,
            ended: false,
            news: news(source.clone()),
        }
    }
}

fn news(source: Arc<Source>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move { source.news.notified().await })
}

impl Session for Numbers {
    type Request = LeaseKeepAliveRequest;

    fn takes_requests(&self) -> bool {
        self.echo.is_none()
    }

    fn receive(&mut self, request: LeaseKeepAliveRequest) {
        match request.id {
            2 => self.ended = true,
            _ => self.echo = Some(request),
        }
    }

    fn half_close(&mut self) {}

    fn poll(&mut self, cx: &mut Context<'_>, out: &mut Outbox) -> Poll<Status> {
        if let Some(echo) = self.echo.take_if(|_| out.has_room()) {
            let len = echo.encoded_len();
            out.parted(len, |out| echo.encode_raw(out), &self.source.body);
        }
        loop {
            while out.has_room() && self.next < self.source.published.load(Ordering::SeqCst) {
                let number = LeaseKeepAliveRequest {
                    id: self.next as i64 + 1_000,
                };
                let len = number.encoded_len();
                out.parted(len, |out| number.encode_raw(out), &self.source.body);
                self.next += 1;
                self.source.given.fetch_add(1, Ordering::SeqCst);
            }
            if self.ended && out.has_room() {
                return Poll::Ready(Status::new(Code::Aborted, "enough"));
            }
            if !out.has_room() || self.news.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.news = news(self.source.clone());
        }
    }
}

struct Client {
    send: SendRequest<Bytes>,
    /// Whether anything is read from the connection.
    reads: watch::Sender<bool>,
}

/// One call, as its client sees it.
struct Stream {
    send: SendStream<Bytes>,
    /// Until the headers are there, which come with the first message.
    answer: Option<ResponseFuture>,
    body: Option<RecvStream>,
    buffer: BytesMut,
}

/// A client with the given windows, and a server whose calls are all [`Numbers`].
async fn client(source: &Arc<Source>, stream_window: u32, window: u32) -> Client {
    let server = Arc::new(Server {
        api: Fake::default(),
        settings: Settings {
            message_bytes_max: 2 * 1024 * 1024,
            streams_max: u32::MAX,
            ping_interval_min: Duration::from_secs(5),
            keepalive_interval: Duration::ZERO,
            keepalive_timeout: Duration::from_secs(20),
            slow_request: Duration::from_secs(60),
        },
        metrics: Arc::new(GrpcMetrics::new(false)),
        losses: LeaderLosses::default(),
    });
    let source = source.clone();
    let serve = move |link: Arc<Link<Fake>>, request, respond| {
        let source = source.clone();
        async move {
            if let Some(mut call) = call::open(&link, request, respond) {
                Box::pin(call.converse(&link.server.api, || Numbers::new(&source))).await;
            }
        }
    };
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (phase, phases) = watch::channel(Phase::Serve);
    tokio::spawn(async move {
        connection::run(server, theirs, Bytes::new(), "a pipe".into(), phases, serve).await;
        drop(phase);
    });
    let mut builder = Builder::new();
    builder
        .initial_window_size(stream_window)
        .initial_connection_window_size(window);
    let (send, connection) = builder.handshake(ours).await.expect("HTTP/2");
    let (reads, gate) = watch::channel(true);
    tokio::spawn(read_while(connection, gate));
    Client { send, reads }
}

/// Drives the client's end, which stops to read whenever the gate is closed.
async fn read_while(connection: impl Future, mut gate: watch::Receiver<bool>) {
    let mut connection = std::pin::pin!(connection);
    loop {
        tokio::select! {
            _ = &mut connection => return,
            closed = gate.wait_for(|open| !open) => if closed.is_err() { break },
        }
        if gate.wait_for(|open| *open).await.is_err() {
            return;
        }
    }
    connection.await;
}

impl Client {
    async fn open(&mut self) -> Stream {
        let request = http::Request::builder()
            .method("POST")
            .uri("http://localhost/etcdserverpb.Watch/Watch")
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        self.send = self.send.clone().ready().await.expect("a connection");
        let (answer, send) = self.send.send_request(request, false).expect("a stream");
        Stream {
            send,
            answer: Some(answer),
            body: None,
            buffer: BytesMut::new(),
        }
    }
}

impl Stream {
    fn request(&mut self, id: i64) {
        let message = LeaseKeepAliveRequest { id }.encode_to_vec();
        let mut frame = BytesMut::new();
        put_prefix(&mut frame, 0, message.len());
        frame.put_slice(&message);
        let sent = self.send.send_data(frame.freeze(), false);
        sent.expect("an open stream");
    }

    /// The bytes of the next message; `None` at the end. Each read gives its window back.
    async fn next(&mut self) -> Option<Bytes> {
        timeout(PATIENCE, self.read()).await.expect("in time")
    }

    async fn read(&mut self) -> Option<Bytes> {
        if let Some(answer) = self.answer.take() {
            self.body = Some(answer.await.expect("an answer").into_body());
        }
        let body = self.body.as_mut().expect("the answer has come");
        loop {
            if let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX_BYTES>() {
                let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                if rest.len() >= len {
                    let _ = self.buffer.split_to(PREFIX_BYTES);
                    return Some(self.buffer.split_to(len).freeze());
                }
            }
            let data = body.data().await?.expect("an open stream");
            let returned = body.flow_control().release_capacity(data.len());
            returned.expect("what was received");
            self.buffer.put(data);
        }
    }

    /// The id that the next message begins with, ahead of the source's body.
    async fn number(&mut self, source: &Source) -> i64 {
        let message = self.next().await.expect("a message");
        let own = message.slice(..message.len() - source.body.len());
        let number = LeaseKeepAliveRequest::decode(own).expect("a number");
        number.id
    }

    async fn status(&mut self) -> (String, String) {
        assert_eq!(self.next().await, None);
        let body = self.body.as_mut().expect("the answer has come");
        let trailers = body.trailers().await.expect("trailers");
        let trailers = trailers.expect("trailers");
        let text = |name: &str| trailers[name].to_str().expect("ASCII").to_owned();
        (text("grpc-status"), text("grpc-message"))
    }
}

/// Lets everything run until nothing moves.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

const WIDE: u32 = 16 * 1024 * 1024;

#[tokio::test]
async fn messages_go_both_ways_in_order_and_the_status_follows_the_last() {
    let source = Arc::new(Source::default());
    let mut client = client(&source, WIDE, WIDE).await;
    let mut stream = client.open().await;
    for id in [7, 8, 9] {
        stream.request(id);
        assert_eq!(stream.number(&source).await, id);
    }
    source.publish(10_000);
    stream.request(2);
    for number in 0..10_000 {
        assert_eq!(stream.number(&source).await, number + 1_000);
    }
    assert_eq!(stream.status().await, ("10".into(), "enough".into()));
}

#[tokio::test]
async fn a_session_is_not_asked_for_more_than_the_client_takes() {
    const BODY_BYTES: usize = 10_000;
    const WINDOW: u32 = 100_000;
    let source = Arc::new(Source {
        body: Bytes::from(vec![7; BODY_BYTES]),
        ..Source::default()
    });
    let mut client = client(&source, WINDOW, WIDE).await;
    let mut slow = client.open().await;
    source.publish(1_000);
    settle().await;
    let given = source.given.load(Ordering::SeqCst);
    // What fits the window, and the message that waits.
    assert!((10..=11).contains(&given), "{given} messages were taken");
    // A further stream of the same connection is not held up.
    let mut quick = client.open().await;
    for number in 0..1_000 {
        assert_eq!(quick.number(&source).await, number + 1_000);
    }
    assert!(source.given.load(Ordering::SeqCst) <= 1_000 + 11);
    // What the slow one asks is still heard.
    slow.request(7);
    for number in 0..1_000 {
        let seen = slow.number(&source).await;
        if seen == 7 {
            return;
        }
        assert_eq!(seen, number + 1_000);
    }
    panic!("the echo of the slow stream's request is missing");
}

#[tokio::test]
async fn bytes_that_wait_for_the_socket_are_bounded_over_all_streams() {
    const BODY_BYTES: usize = 64 * 1024;
    let source = Arc::new(Source {
        body: Bytes::from(vec![7; BODY_BYTES]),
        ..Source::default()
    });
    // The streams' windows are wide, but the client reads nothing from the socket.
    let mut client = client(&source, WIDE, 1 << 30).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = client.open().await;
        stream.request(7);
        assert_eq!(stream.number(&source).await, 7);
        streams.push(stream);
    }
    client.reads.send_replace(false);
    settle().await;
    source.publish(20);
    settle().await;
    let held = source.given.load(Ordering::SeqCst) as usize * BODY_BYTES;
    // Each stream may have one message more.
    let allowed = limits::CONNECTION_UNSENT_BYTES_MAX / 2 + 101 * BODY_BYTES;
    assert!(
        held >= limits::CONNECTION_UNSENT_BYTES_MAX / 2,
        "{held} bytes"
    );
    assert!(held <= allowed, "{held} bytes are held for one client");
    client.reads.send_replace(true);
    for stream in &mut streams {
        for number in 0..20 {
            assert_eq!(stream.number(&source).await, number + 1_000);
        }
    }
}

#[tokio::test]
async fn streams_of_one_connection_take_turns() {
    let source = Arc::new(Source {
        body: Bytes::from(vec![7; 100]),
        ..Source::default()
    });
    let mut client = client(&source, WIDE, 1 << 30).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = client.open().await;
        stream.request(7);
        assert_eq!(stream.number(&source).await, 7);
        streams.push(stream);
    }
    // Far more than one turn each. Whoever is read last must have got about as much.
    source.publish(5_000);
    for number in 0..5_000 {
        assert_eq!(streams[99].number(&source).await, number + 1_000);
    }
    let given = source.given.load(Ordering::SeqCst);
    assert!(given > 100 * 5_000 / 2, "{given} of 500000 messages");
    for stream in &mut streams[..99] {
        for number in 0..5_000 {
            assert_eq!(stream.number(&source).await, number + 1_000);
        }
    }
}

#[tokio::test]
async fn many_streams_that_come_and_go_leave_nothing_behind() {
    let source = Arc::new(Source::default());
    let mut client = client(&source, WIDE, WIDE).await;
    let mut neighbour = client.open().await;
    for round in 0..20 {
        let mut streams = Vec::new();
        for _ in 0..500 {
            streams.push(client.open().await);
        }
        for stream in &mut streams {
            stream.request(7);
            assert_eq!(stream.number(&source).await, 7);
        }
        drop(streams);
        neighbour.request(8);
        assert_eq!(neighbour.number(&source).await, 8, "round {round}");
    }
    settle().await;
    // Each call holds the source thrice; ours and the one in the server's closure remain.
    let mut holders = Arc::strong_count(&source);
    for _ in 0..1_000 {
        if holders <= 5 {
            break;
        }
        settle().await;
        holders = Arc::strong_count(&source);
    }
    assert!(holders <= 5, "{holders} references to the source are left");
}
