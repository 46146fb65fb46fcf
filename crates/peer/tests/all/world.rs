//! Members that write down what reaches them, and raw connections.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tenet_base::{ClusterId, LeaseId, MemberId, Revision};
use tenet_peer::{
    Answer, Database, Dropped, Handler, HashKv, LeaseRefusal, Options, PeerUrl, PromoteRefusal,
    SnapshotRefusal, Transport, Versions,
};
use tenet_proto::etcdserverpb::LeaseTimeToLiveResponse;
use tenet_proto::raftpb::{Entry, Message, MessageType};
use tenet_tls::{ClientTls, ServerTls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// The cluster of all tests.
pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
/// Bound of every wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has reached a member.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<Message>,
    pub(crate) unreachable: Vec<MemberId>,
    pub(crate) snapshots: Vec<(MemberId, bool)>,
    pub(crate) removed_says: Vec<MemberId>,
    /// Length and content of databases, or why they did not arrive.
    pub(crate) databases: Vec<Result<Vec<u8>, String>>,
}

/// A member's other half: it writes down.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    seen: Arc<Mutex<Seen>>,
    pub(crate) removed: Mutex<BTreeSet<MemberId>>,
    /// Takes nothing more.
    pub(crate) full: Arc<AtomicBool>,
}

impl Recorder {
    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    fn write(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
    }
}

fn now<T: Send + 'static>(value: T) -> Answer<T> {
    Box::pin(std::future::ready(value))
}

impl Handler for Recorder {
    fn receive(&self, message: Message) -> Result<(), Dropped> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Dropped);
        }
        self.write(|seen| seen.messages.push(message));
        Ok(())
    }

    fn receive_snapshot(
        &self,
        message: Message,
        mut database: Database,
    ) -> Answer<Result<(), SnapshotRefusal>> {
        let (seen, full) = (self.seen.clone(), self.full.clone());
        Box::pin(async move {
            while full.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut content = Vec::new();
            let ended = loop {
                match database.next().await {
                    Ok(None) => break Ok(()),
                    Ok(Some(piece)) => content.extend_from_slice(&piece),
                    Err(error) => break Err(error.to_string()),
                }
            };
            let mut seen = seen.lock().unwrap();
            match ended {
                Ok(()) if content == b"unsound" => {
                    Err(SnapshotRefusal::Process("it is unsound".into()))
                }
                Ok(()) => {
                    seen.databases.push(Ok(content));
                    seen.messages.push(message);
                    Ok(())
                }
                Err(text) => {
                    seen.databases.push(Err(text.clone()));
                    Err(SnapshotRefusal::Save(text))
                }
            }
        })
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.removed.lock().unwrap().contains(&id)
    }

    fn report_unreachable(&self, id: MemberId) {
        self.write(|seen| seen.unreachable.push(id));
    }

    fn report_snapshot(&self, id: MemberId, arrived: bool) {
        self.write(|seen| seen.snapshots.push((id, arrived)));
    }

    fn removed_says(&self, by: MemberId) {
        self.write(|seen| seen.removed_says.push(by));
    }

    fn members(&self) -> Bytes {
        Bytes::from_static(br#"[{"id":1,"peerURLs":["http://a:1"],"name":"m1"}]"#)
    }

    fn versions(&self) -> Versions {
        Versions {
            server: "3.7.1".into(),
            cluster: None,
            storage: "unknown".into(),
        }
    }

    fn promote(
        &self,
        id: MemberId,
        token: Option<String>,
    ) -> Answer<Result<Bytes, PromoteRefusal>> {
        now(match id.get() {
            1 => Ok(self.members()),
            2 => Err(PromoteRefusal::NotLearner),
            3 => Err(PromoteRefusal::NotReady),
            4 => Err(PromoteRefusal::Other(format!("{token:?}"))),
            _ => Err(PromoteRefusal::NotFound),
        })
    }

    fn hash_kv(&self, revision: Revision) -> Answer<Result<HashKv, String>> {
        now(match revision.get() {
            1 => Err("mvcc: required revision has been compacted".into()),
            9 => Err("mvcc: required revision is a future revision".into()),
            asked => Ok(HashKv {
                revision: Revision(8),
                hash: 0xffff_fff0,
                compact_revision: -1,
                hash_revision: Revision(asked.max(4)),
            }),
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<Result<i64, LeaseRefusal>> {
        now(refused_lease(lease).map_or(Ok(60), Err))
    }

    fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Answer<Result<LeaseTimeToLiveResponse, LeaseRefusal>> {
        let left = LeaseTimeToLiveResponse {
            id: lease.get(),
            ttl: 59,
            granted_ttl: 60,
            keys: if keys { vec!["k".into()] } else { Vec::new() },
            ..LeaseTimeToLiveResponse::default()
        };
        now(refused_lease(lease).map_or(Ok(left), Err))
    }

    fn downgrade_enabled(&self) -> Answer<Result<bool, String>> {
        now(Ok(true))
    }
}

fn refused_lease(lease: LeaseId) -> Option<LeaseRefusal> {
    match lease.get() {
        2 => Some(LeaseRefusal::NotFound),
        3 => Some(LeaseRefusal::Timeout),
        4 => Some(LeaseRefusal::NotPrimary),
        _ => None,
    }
}

/// A member on loopback.
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) transport: Transport,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) address: SocketAddr,
    pub(crate) url: PeerUrl,
    cut: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Member {
    pub(crate) async fn start(id: u64) -> Member {
        Member::start_with(id, None).await
    }

    pub(crate) async fn start_with(id: u64, tls: Option<(ServerTls, ClientTls)>) -> Member {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = PeerUrl::parse(&format!("{scheme}://{address}")).unwrap();
        let (server_tls, client_tls) = tls.unzip();
        let options = Options {
            local: MemberId(id),
            cluster: CLUSTER,
            urls: vec![url.clone()],
            server_version: "3.7.1",
            cluster_version_min: "3.0.0",
            dial_timeout: Duration::from_secs(2),
            tls: client_tls,
        };
        let recorder = Arc::new(Recorder::default());
        let transport = Transport::new(options, recorder.clone(), Handle::current());
        let server = transport.server(server_tls);
        let (cut, mut cuts) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (socket, remote) = accepted.unwrap();
                        let server = server.clone();
                        connections.spawn(async move {
                            server.serve(socket, &remote.to_string(), Some(remote.ip())).await;
                        });
                    }
                    cut = cuts.recv() => match cut {
                        Some(()) => connections.abort_all(),
                        None => return,
                    },
                    _ = connections.join_next(), if !connections.is_empty() => {}
                }
            }
        });
        Member {
            id: MemberId(id),
            transport,
            recorder,
            address,
            url,
            cut,
        }
    }

    /// Breaks all connections that others have made to this member.
    pub(crate) fn cut(&self) {
        self.cut.send(()).unwrap();
    }

    pub(crate) fn knows(&self, other: &Member) {
        self.transport
            .add_peer(other.id, std::slice::from_ref(&other.url));
    }

    pub(crate) async fn until(&self, what: &str, found: impl Fn(&Seen) -> bool) {
        until(what, || self.recorder.seen(&found)).await;
    }

    /// The messages that have arrived.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.recorder.seen(|seen| seen.messages.clone())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.transport.stop();
    }
}

/// Two members whose streams are open in both directions.
pub(crate) async fn pair() -> (Member, Member) {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    a.knows(&b);
    b.knows(&a);
    connected(&a, &b).await;
    (a, b)
}

pub(crate) async fn connected(a: &Member, b: &Member) {
    until("streams", || {
        a.transport.streams_to(b.id) == 2 && b.transport.streams_to(a.id) == 2
    })
    .await;
}

/// Waits for a condition, within a bound.
pub(crate) async fn until(what: &str, found: impl Fn() -> bool) {
    let began = Instant::now();
    while !found() {
        assert!(began.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn message(kind: MessageType, from: MemberId, to: MemberId) -> Message {
    Message {
        msg_type: kind as i32,
        from: from.get(),
        to: to.get(),
        term: 3,
        ..Message::default()
    }
}

/// Appended entries behind `index`, one with `len` bytes.
pub(crate) fn append(from: MemberId, to: MemberId, index: u64, len: usize) -> Message {
    Message {
        log_term: 3,
        index,
        commit: index,
        entries: vec![Entry {
            term: 3,
            index: index + 1,
            data: vec![b'x'; len].into(),
            ..Entry::default()
        }],
        ..message(MessageType::App, from, to)
    }
}

/// Names and values of headers.
pub(crate) type Headers = Vec<(String, String)>;

/// The headers of a member that belongs here.
pub(crate) fn headers(from: &str, to: &str) -> Headers {
    [
        ("X-Server-From", from),
        ("X-Server-Version", "3.7.1"),
        ("X-Min-Cluster-Version", "3.0.0"),
        ("X-Etcd-Cluster-ID", "c1"),
        ("X-Raft-To", to),
        ("X-PeerURLs", "http://127.0.0.1:1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The bytes of a request.
pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Writes bytes on a new connection.
pub(crate) async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    socket
}

/// Reads until `found`, or to the end.
pub(crate) async fn read_until(socket: &mut TcpStream, found: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut read = Vec::new();
    while !found(&read) {
        let mut piece = [0; 4096];
        let len = tokio::time::timeout(PATIENCE, socket.read(&mut piece)).await;
        match len.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(len) => read.extend_from_slice(&piece[..len]),
        }
    }
    read
}

/// The status and the body of an answer with a length.
pub(crate) async fn answer(socket: &mut TcpStream) -> (u16, String) {
    let whole = |read: &[u8]| {
        let text = String::from_utf8_lossy(read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let len = head.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        len.is_none_or(|len: usize| body.len() >= len)
    };
    let read = read_until(socket, whole).await;
    let text = String::from_utf8_lossy(&read);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}
