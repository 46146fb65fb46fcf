//! Streams, posts, and what happens when they break.

use crate::world::{
    CLUSTER, Member, append, connect, connected, headers, message, pair, read_until, request, until,
};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenet_base::MemberId;
use tenet_base::limits::{PEER_POSTS_WAITING_MAX, PEER_QUEUE_MESSAGES_MAX};
use tenet_peer::PeerUrl;
use tenet_proto::raftpb::{Entry, Message, MessageType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

/// All types that travel, with what they carry.
fn every_kind(from: MemberId, to: MemberId) -> Vec<Message> {
    let entry = Entry {
        data: Bytes::from_static(b"payload"),
        ..Entry::default()
    };
    [
        MessageType::Prop,
        MessageType::App,
        MessageType::AppResp,
        MessageType::Vote,
        MessageType::VoteResp,
        MessageType::Heartbeat,
        MessageType::HeartbeatResp,
        MessageType::TransferLeader,
        MessageType::TimeoutNow,
        MessageType::ReadIndex,
        MessageType::ReadIndexResp,
        MessageType::PreVote,
        MessageType::PreVoteResp,
    ]
    .map(|kind| Message {
        entries: vec![entry.clone()],
        context: Bytes::from_static(b"context"),
        reject: kind == MessageType::AppResp,
        reject_hint: 7,
        ..message(kind, from, to)
    })
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_every_kind_arrive_in_both_directions() {
    let (a, b) = pair().await;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let sent = every_kind(from.id, to.id);
        from.transport.send(sent.clone());
        to.until("all", |seen| seen.messages.len() == sent.len())
            .await;
        let mut came = to.messages();
        // There are two streams: appended entries may overtake.
        came.sort_by_key(|message| message.msg_type);
        let mut sent = sent;
        sent.sort_by_key(|message| message.msg_type);
        assert_eq!(came, sent);
    }
    assert!(a.transport.active_since(b.id).is_some());
    assert_eq!(
        (a.transport.active_count(), b.transport.active_count()),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_entries_arrive_in_order_and_whole() {
    let (a, b) = pair().await;
    let sent: Vec<Message> = (0..2_000)
        .map(|at| append(a.id, b.id, at, usize::try_from(at * 37 % 5_000).unwrap()))
        .collect();
    for some in sent.chunks(50) {
        a.transport.send(some.to_vec());
        // As raft does, not more than its window ahead.
        let so_far = usize::try_from(some[0].index).unwrap();
        b.until("progress", |seen| seen.messages.len() + 500 > so_far)
            .await;
    }
    b.until("all", |seen| seen.messages.len() == sent.len())
        .await;
    assert!(b.messages() == sent, "another order or other bytes");
    assert!(a.recorder.seen(|seen| seen.unreachable.is_empty()));
    let counts = a.transport.metrics().members()[0].1.clone();
    assert!(counts.sent_bytes.get() > 2_000 * 2_400);
    let counts = b.transport.metrics().members()[0].1.clone();
    assert!(counts.received_bytes.get() > 2_000 * 2_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stream_messages_are_posted() {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    // B does not know A, so it opens no stream to it.
    a.knows(&b);
    let sent = every_kind(a.id, b.id);
    a.transport.send(sent.clone());
    b.until("all", |seen| seen.messages.len() == sent.len())
        .await;
    assert_eq!(a.transport.streams_to(b.id), 0);
    // B has got to know where A is, and answers without knowing what it is.
    b.transport
        .send([message(MessageType::AppResp, b.id, a.id)]);
    a.until("the answer", |seen| seen.messages.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_are_opened_again() {
    let (a, b) = pair().await;
    for round in 0..5 {
        a.cut();
        b.cut();
        // Which of them notices first is not said.
        until("the end of streams or new ones", || {
            a.transport.streams_to(b.id) < 2 || b.transport.streams_to(a.id) < 2 || round > 0
        })
        .await;
        connected(&a, &b).await;
        let before = b.messages().len();
        let sent = append(a.id, b.id, round, 100);
        until("the message", || {
            a.transport.send([sent.clone()]);
            b.messages().len() > before
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_away_is_unreachable_and_found_when_it_is_back() {
    let a = Member::start(1).await;
    let away = MemberId(2);
    // A port that nobody listens on, and that nobody else can take meanwhile.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = held.local_addr().unwrap();
    let url = PeerUrl::parse(&format!("http://{address}")).unwrap();
    let b = Member::start(2).await;
    a.transport.add_peer(away, &[url, b.url.clone()]);
    a.transport
        .send([message(MessageType::Heartbeat, a.id, away)]);
    a.until("report", |seen| seen.unreachable.contains(&away))
        .await;
    // Its other address is tried.
    b.knows(&a);
    connected(&a, &b).await;
    assert!(a.transport.active_since(b.id).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_is_told_so_and_nobody_else_is() {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    b.knows(&a);
    // A does not know B: that is not the same as having removed it.
    until("calls", || a.transport.metrics().members().len() == 1).await;
    assert!(b.recorder.seen(|seen| seen.removed_says.is_empty()));
    a.recorder.removed.lock().unwrap().insert(b.id);
    b.until("the word", |seen| seen.removed_says.contains(&a.id))
        .await;
    // Its messages go no further, on whichever way they come.
    let post = request("POST", "/raft", &headers("2", ""), &{
        use prost::Message as _;
        message(MessageType::Heartbeat, b.id, a.id).encode_to_vec()
    });
    let mut socket = connect(a.address, &post).await;
    let answer = crate::world::answer(&mut socket).await;
    assert_eq!(answer, (500, "error processing raft message\n".into()));
    assert!(a.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_removed_loses_its_streams() {
    let (a, b) = pair().await;
    a.transport.remove_peer(b.id);
    until("the end", || b.transport.streams_to(a.id) == 0).await;
    assert_eq!(a.transport.streams_to(b.id), 0);
    assert_eq!(a.transport.active_since(b.id), None);
    a.knows(&b);
    connected(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_takes_the_place_of_an_older_one() {
    let a = Member::start(1).await;
    a.transport.add_peer(
        MemberId(2),
        &[PeerUrl::parse("http://127.0.0.1:1").unwrap()],
    );
    let get = request("GET", "/raft/stream/message/2", &headers("2", "1"), b"");
    let mut first = connect(a.address, &get).await;
    until("the first", || a.transport.streams_to(MemberId(2)) == 1).await;
    let mut second = connect(a.address, &get).await;
    let first = read_until(&mut first, |read| read.ends_with(b"0\r\n\r\n")).await;
    assert!(first.starts_with(b"HTTP/1.1 200 OK\r\n"), "{first:?}");
    assert!(
        first.ends_with(b"0\r\n\r\n"),
        "it ends as a whole: {first:?}"
    );
    a.transport
        .send([message(MessageType::Heartbeat, a.id, MemberId(2))]);
    let second = read_until(&mut second, |read| {
        read.windows(3).any(|bytes| bytes == [0x08, 0x08, 0x10])
    });
    let second = second.await;
    let text = String::from_utf8_lossy(&second).to_ascii_lowercase();
    assert!(text.contains("x-server-version: 3.7.1\r\n"), "{text}");
    assert!(text.contains("x-etcd-cluster-id: c1\r\n"), "{text}");
    assert!(text.contains("transfer-encoding: chunked\r\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_gives_signs_of_life() {
    let a = Member::start(1).await;
    a.transport.add_peer(
        MemberId(2),
        &[PeerUrl::parse("http://127.0.0.1:1").unwrap()],
    );
    for (kind, sign) in [
        ("message", &b"\r\n\0\0\0\0\0\0\0\x02\x08\x08\r\n"[..]),
        ("msgapp", b"\r\n\0\r\n"),
    ] {
        let path = format!("/raft/stream/{kind}/2");
        let mut socket = connect(a.address, &request("GET", &path, &headers("2", "1"), b"")).await;
        let twice = |read: &[u8]| {
            read.windows(sign.len())
                .filter(|bytes| *bytes == sign)
                .count()
                >= 2
        };
        let read = read_until(&mut socket, twice).await;
        assert!(twice(&read), "{kind}: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_does_not_read_is_dropped_and_reported_not_hoarded() {
    let a = Member::start(1).await;
    let slow = MemberId(2);
    a.transport
        .add_peer(slow, &[PeerUrl::parse("http://127.0.0.1:1").unwrap()]);
    let get = request("GET", "/raft/stream/msgapp/2", &headers("2", "1"), b"");
    let socket = connect(a.address, &get).await;
    until("the stream", || a.transport.streams_to(slow) == 1).await;
    // Until dialling has failed often enough to have been reported, reports say nothing.
    let before = a.recorder.seen(|seen| seen.unreachable.len());
    for at in 0..2 * PEER_QUEUE_MESSAGES_MAX as u64 {
        a.transport.send([append(a.id, slow, at, 64 * 1024)]);
    }
    assert!(a.recorder.seen(|seen| seen.unreachable.len()) > before);
    let counts = a.transport.metrics().members()[0].1.clone();
    assert!(
        counts.sent_failures.get() > PEER_QUEUE_MESSAGES_MAX as u64,
        "512 MiB were to be sent, and 64 MiB may wait: {}",
        counts.sent_failures.get()
    );
    // Not being read for long enough ends the stream.
    until("the end", || a.transport.streams_to(slow) == 0).await;
    drop(socket);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_to_a_member_that_hangs_are_dropped_and_reported_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let a = Member::start(1).await;
    a.transport
        .add_peer(MemberId(2), &[PeerUrl::parse(&url).unwrap()]);
    let sent = 10 * PEER_POSTS_WAITING_MAX;
    for _ in 0..sent {
        a.transport
            .send([message(MessageType::Heartbeat, a.id, MemberId(2))]);
    }
    let reported = a.recorder.seen(|seen| seen.unreachable.len());
    assert!(reported >= sent - PEER_POSTS_WAITING_MAX - 8, "{reported}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_takes_no_more_is_said_to_have_failed() {
    let (a, b) = pair().await;
    b.recorder.full.store(true, Ordering::Relaxed);
    a.transport
        .send([message(MessageType::Heartbeat, a.id, b.id)]);
    let counts = b.transport.metrics().members()[0].1.clone();
    until("the count", || counts.received_failures.get() == 1).await;
    b.recorder.full.store(false, Ordering::Relaxed);
    a.transport.send([message(MessageType::Vote, a.id, b.id)]);
    b.until("the next", |seen| seen.messages.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_member_hears_and_says_nothing() {
    let (a, b) = pair().await;
    b.transport.pause(a.id);
    a.transport.send([message(MessageType::Vote, a.id, b.id)]);
    b.transport.send([message(MessageType::Vote, b.id, a.id)]);
    let counts = b.transport.metrics().members()[0].1.clone();
    // The bytes come, the message does not.
    let before = counts.received_bytes.get();
    until("bytes", || {
        counts.received_bytes.get() > before || before > 0
    })
    .await;
    b.transport.resume(a.id);
    a.transport
        .send([message(MessageType::PreVote, a.id, b.id)]);
    b.until("a message", |seen| !seen.messages.is_empty()).await;
    let last = b.messages().pop().unwrap();
    assert_eq!(last.kind(), Some(MessageType::PreVote));
    assert!(a.messages().is_empty());
}

/// Answers every request with these bytes and then keeps silent; counts the requests.
async fn canned(answer: Vec<u8>) -> (PeerUrl, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = PeerUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (answer, counted) = (answer.clone(), counted.clone());
            tokio::spawn(async move {
                let mut read = vec![0; 4096];
                let len = socket.read(&mut read).await.unwrap_or(0);
                let read = String::from_utf8_lossy(&read[..len]).into_owned();
                if read.starts_with("GET /raft/stream") {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _ = socket.write_all(&answer).await;
                }
                // Until the other end goes.
                let _ = socket.read(&mut [0; 1]).await;
            });
        }
    });
    (url, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_falls_silent_is_opened_again() {
    let head = b"HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (url, count) = canned(head.to_vec()).await;
    let a = Member::start(1).await;
    a.transport.add_peer(MemberId(2), &[url]);
    until("the two streams", || count.load(Ordering::Relaxed) == 2).await;
    assert!(a.transport.active_since(MemberId(2)).is_some());
    until("two more", || count.load(Ordering::Relaxed) >= 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_stream_are_not_taken_for_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Server-Version: 2.0.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Server-Version: new\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nX-Server-Version: 3.7.1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 412 Precondition Failed\r\nX-Server-Version: 3.7.1\r\nContent-Length: 2\r\n\r\nx\n",
        "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n",
    ] {
        let (url, count) = canned(answer.as_bytes().to_vec()).await;
        let a = Member::start(1).await;
        a.transport.add_peer(MemberId(2), &[url]);
        until("attempts", || count.load(Ordering::Relaxed) >= 4).await;
        assert_eq!(a.transport.active_since(MemberId(2)), None, "{answer}");
        // Only a member that says its version can say that this one was removed.
        assert!(
            a.recorder.seen(|seen| seen.removed_says.is_empty()),
            "{answer}"
        );
    }
    assert_eq!(CLUSTER.to_string(), "c1");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_a_stream_ends_it_and_reaches_nobody() {
    let head = "HTTP/1.1 200 OK\r\nX-Server-Version: 3.7.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for garbage in [
        &[0xff; 32][..],
        b"\0\0\0\0\0\0\0\x04\xff\xff\xff\xff",
        b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let chunk = [
            format!("{:x}\r\n", garbage.len()).as_bytes(),
            garbage,
            b"\r\n",
        ]
        .concat();
        let (url, count) = canned([head.as_bytes(), &chunk].concat()).await;
        let a = Member::start(1).await;
        a.transport.add_peer(MemberId(2), &[url]);
        until("attempts", || count.load(Ordering::Relaxed) >= 4).await;
        assert!(a.messages().is_empty());
    }
}
