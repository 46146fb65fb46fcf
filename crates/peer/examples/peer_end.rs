//! One end of the transport as a program, so that a program of others can be the other end: takes
//! commands from its input and prints what reaches it, a line each.
//!
//! usage: `peer_end ID CLUSTER [DIRECTORY]`, ids in hexadecimal. With a directory TLS is spoken,
//! with the certificate that is in it, or is made there.
//!
//! | command | what it does |
//! |---|---|
//! | `peer ID URL`, `unpeer ID` | begins or ends to reach for a member |
//! | `removed ID` | counts a member as removed |
//! | `send HEX` | sends a message |
//! | `snapshot HEX LEN PAUSE` | sends a database of so many bytes behind a message, and waits so many ms in its middle |
//! | `streams ID`, `active ID` | prints how many streams there are, and whether it is within reach |
//! | `ask WHAT URL` | asks a question of another member and prints the answer |

use bytes::Bytes;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tenet_base::crc;
use tenet_base::{ClusterId, LeaseId, MemberId, Revision};
use tenet_peer::{
    Answer, Client, Database, Dropped, Handler, HashKv, LeaseRefusal, Options, PeerUrl,
    PromoteRefusal, SnapshotRefusal, Transport, Versions,
};
use tenet_proto::etcdserverpb::LeaseTimeToLiveResponse;
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::Message;
use tenet_tls::{ClientTls, SelfSigned, ServerTls, make_self_signed};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::Handle;

/// Prints a line at once.
fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    // Whoever started this reads it, or is gone.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal");
            u8::from_str_radix(pair, 16).expect("hexadecimal")
        })
        .collect()
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("a hexadecimal number")
}

/// Prints what reaches it.
#[derive(Default)]
struct Printer {
    removed: Mutex<BTreeSet<MemberId>>,
}

fn now<T: Send + 'static>(value: T) -> Answer<T> {
    Box::pin(std::future::ready(value))
}

impl Handler for Printer {
    fn receive(&self, message: Message) -> Result<(), Dropped> {
        say(&format!("message {}", hex(&message.encode_to_vec())));
        Ok(())
    }

    fn receive_snapshot(
        &self,
        message: Message,
        mut database: Database,
    ) -> Answer<Result<(), SnapshotRefusal>> {
        Box::pin(async move {
            let mut sum = crc::crc32c(b"");
            loop {
                match database.next().await {
                    Ok(Some(piece)) => sum = crc::extend(sum, &piece),
                    Ok(None) => break,
                    Err(error) => {
                        say(&format!("broken database {error}"));
                        return Err(SnapshotRefusal::Save(error.to_string()));
                    }
                }
            }
            let message = hex(&message.encode_to_vec());
            let len = database.received_bytes();
            say(&format!("database {len} {sum:08x} {message}"));
            Ok(())
        })
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.removed
            .lock()
            .expect("nothing panics with it")
            .contains(&id)
    }

    fn report_unreachable(&self, id: MemberId) {
        say(&format!("unreachable {id}"));
    }

    fn report_snapshot(&self, id: MemberId, arrived: bool) {
        say(&format!("snapshot {id} {arrived}"));
    }

    fn removed_says(&self, by: MemberId) {
        say(&format!("removed says {by}"));
    }

    fn members(&self) -> Bytes {
        Bytes::from_static(br#"[{"id":1,"peerURLs":["http://127.0.0.1:1"],"name":"m1"}]"#)
    }

    fn versions(&self) -> Versions {
        Versions {
            server: "3.7.1".into(),
            cluster: Some("3.7.0".into()),
            storage: "3.7.0".into(),
        }
    }

    fn promote(&self, id: MemberId, _: Option<String>) -> Answer<Result<Bytes, PromoteRefusal>> {
        now(match id.get() {
            1 => Ok(self.members()),
            2 => Err(PromoteRefusal::NotLearner),
            3 => Err(PromoteRefusal::NotReady),
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
                hash_revision: Revision(asked),
            }),
        })
    }

    fn keep_alive(&self, lease: LeaseId) -> Answer<Result<i64, LeaseRefusal>> {
        now(match lease.get() {
            2 => Err(LeaseRefusal::NotFound),
            3 => Err(LeaseRefusal::Timeout),
            _ => Ok(60),
        })
    }

    fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Answer<Result<LeaseTimeToLiveResponse, LeaseRefusal>> {
        now(match lease.get() {
            2 => Err(LeaseRefusal::NotFound),
            3 => Err(LeaseRefusal::Timeout),
            id => Ok(LeaseTimeToLiveResponse {
                id,
                ttl: 59,
                granted_ttl: 60,
                keys: if keys { vec!["k".into()] } else { Vec::new() },
                ..LeaseTimeToLiveResponse::default()
            }),
        })
    }

    fn downgrade_enabled(&self) -> Answer<Result<bool, String>> {
        now(Ok(true))
    }
}

/// A database of so many bytes, with a pause in its middle.
struct Made {
    left: usize,
    middle: usize,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

const PIECE_BYTES: usize = 64 * 1024;

impl futures_core::Stream for Made {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let paused = self.left <= self.middle;
        if let Some(pause) = self.pause.as_mut().filter(|_| paused) {
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.pause = None;
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = self.left.min(PIECE_BYTES);
        self.left -= len;
        let byte = u8::try_from(self.left / PIECE_BYTES % 251).expect("less than 251");
        Poll::Ready(Some(Ok(vec![byte; len].into())))
    }
}

async fn ask(what: &str, url: PeerUrl, tls: Option<ClientTls>) -> String {
    let client = Client::new(Duration::from_secs(2), Duration::from_secs(8), tls);
    let urls = [url];
    match what {
        "members" => format!("{:?}", client.members(&urls).await),
        "version" => format!("{:?}", client.versions(&urls).await),
        "downgrade" => format!("{:?}", client.downgrade_enabled(&urls).await),
        "hashkv" => {
            let cluster = client.members(&urls).await.map(|answer| answer.cluster);
            let cluster = cluster.unwrap_or_default();
            format!("{:?}", client.hash_kv(&urls, cluster, Revision(0)).await)
        }
        "keepalive" => format!("{:?}", client.keep_alive(&urls, LeaseId(7)).await),
        "timetolive" => format!("{:?}", client.time_to_live(&urls, LeaseId(7), true).await),
        "promote" => format!("{:?}", client.promote(&urls, MemberId(7), None).await),
        other => format!("no question {other}"),
    }
}

async fn command(line: &str, transport: &Transport, printer: &Printer, tls: Option<&ClientTls>) {
    let words: Vec<&str> = line.split(' ').collect();
    match *words.as_slice() {
        ["peer", id, url] => match PeerUrl::parse_list(url) {
            Ok(urls) => transport.add_peer(MemberId(number(id)), &urls),
            Err(error) => say(&format!("error {error}")),
        },
        ["unpeer", id] => transport.remove_peer(MemberId(number(id))),
        ["removed", id] => {
            let mut removed = printer.removed.lock().expect("nothing panics with it");
            removed.insert(MemberId(number(id)));
        }
        ["send", message] => match Message::decode(&unhex(message)[..]) {
            Ok(message) => transport.send([message]),
            Err(error) => say(&format!("error {error}")),
        },
        ["snapshot", message, len, pause] => {
            let message = Message::decode(&unhex(message)[..]).expect("a message");
            let len: usize = len.parse().expect("a number of bytes");
            let pause: u64 = pause.parse().expect("a number of milliseconds");
            let made = Made {
                left: len,
                middle: len / 2,
                pause: Some(Box::pin(tokio::time::sleep(Duration::from_millis(pause)))),
            };
            transport.send_snapshot(message, Box::pin(made));
        }
        ["streams", id] => {
            let streams = transport.streams_to(MemberId(number(id)));
            say(&format!("streams {id} {streams}"));
        }
        ["active", id] => {
            let active = transport.active_since(MemberId(number(id))).is_some();
            say(&format!("active {id} {active}"));
        }
        ["ask", what, url] => {
            let url = PeerUrl::parse(url).expect("a URL");
            say(&format!("answer {}", ask(what, url, tls.cloned()).await));
        }
        _ => say(&format!("error no command {line}")),
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, id, cluster, directory @ ..] = arguments.as_slice() else {
        panic!("usage: peer_end ID CLUSTER [DIRECTORY]");
    };
    let tls = directory.first().map(|directory| {
        let hosts = ["127.0.0.1".to_owned()];
        let files = make_self_signed(SelfSigned {
            directory: directory.as_ref(),
            hosts: &hosts,
            years: 1,
        });
        let files = files.expect("certificates");
        let server = ServerTls::new(&files).expect("a server's end");
        (server, ClientTls::new(&files).expect("a client's end"))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = PeerUrl::parse(&format!("{scheme}://{address}")).expect("a URL");
    let (server_tls, client_tls) = tls.unzip();
    let options = Options {
        local: MemberId(number(id)),
        cluster: ClusterId(number(cluster)),
        urls: vec![url.clone()],
        server_version: "3.7.1",
        cluster_version_min: "3.0.0",
        dial_timeout: Duration::from_secs(2),
        tls: client_tls.clone(),
    };
    let printer = Arc::new(Printer::default());
    let transport = Transport::new(options, printer.clone(), Handle::current());
    let server = transport.server(server_tls);
    tokio::spawn(async move {
        loop {
            let (socket, remote) = listener.accept().await.expect("connections");
            let server = server.clone();
            tokio::spawn(async move {
                server
                    .serve(socket, &remote.to_string(), Some(remote.ip()))
                    .await;
            });
        }
    });
    say(&format!("ready {url}"));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        command(&line, &transport, &printer, client_tls.as_ref()).await;
    }
    transport.stop();
}
