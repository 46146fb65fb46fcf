//! Callers that send what is no request, or too much of one, or too slowly.

use crate::world::{Member, answer, connect, headers, message, read_until, request};
use prost::Message as _;
use tenet_base::MemberId;
use tenet_base::limits::{PEER_CONNECTIONS_MAX, PEER_MESSAGE_BYTES_MAX};
use tenet_proto::raftpb::MessageType;
use tokio::io::AsyncWriteExt as _;

/// Whether a member still takes a message.
async fn is_well(member: &Member) {
    let beat = message(MessageType::Heartbeat, MemberId(2), member.id).encode_to_vec();
    let before = member.messages().len();
    let mut socket = connect(
        member.address,
        &request("POST", "/raft", &headers("2", ""), &beat),
    )
    .await;
    assert_eq!(answer(&mut socket).await, (204, String::new()));
    assert_eq!(member.messages().len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_ends_the_connection() {
    let member = Member::start(1).await;
    for garbage in [
        &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a client that speaks TLS"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"POST /raft HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /raft HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /raft HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut socket = connect(member.address, garbage).await;
        let read = read_until(&mut socket, |_| false).await;
        let text = String::from_utf8_lossy(&read);
        assert!(read.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    is_well(&member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_end_are_refused() {
    let member = Member::start(1).await;
    let mut socket = connect(member.address, b"GET /raft HTTP/1.1\r\n").await;
    let line = format!("X-Filler: {}\r\n", "x".repeat(8_000));
    let mut written = 0;
    while written < 64 << 20 {
        if socket.write_all(line.as_bytes()).await.is_err() {
            break;
        }
        written += line.len();
    }
    assert!(written < 32 << 20, "{written} bytes of headers were taken");
    is_well(&member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_limit_are_refused() {
    let member = Member::start(1).await;
    // One that says how long it is, before any of it comes.
    let mut names = headers("2", "");
    names.push((
        "Content-Length".into(),
        (PEER_MESSAGE_BYTES_MAX + 1).to_string(),
    ));
    let mut socket = connect(member.address, &request("POST", "/raft", &names, b"")).await;
    assert_eq!(
        answer(&mut socket).await,
        (400, "error reading raft message\n".into())
    );
    // One that does not, while it comes.
    let mut names = headers("2", "");
    names.push(("Transfer-Encoding".into(), "chunked".into()));
    let mut socket = connect(member.address, &request("POST", "/raft", &names, b"")).await;
    let chunk = [b"100000\r\n", &vec![0; 1 << 20][..], b"\r\n"].concat();
    for _ in 0..PEER_MESSAGE_BYTES_MAX >> 20 {
        if socket.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let _ = socket.write_all(&chunk).await;
    let (status, _) = answer(&mut socket).await;
    // The connection may be gone before the answer is read.
    assert!(status == 400 || status == 0, "{status}");
    is_well(&member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_too_slow_is_given_up() {
    let member = Member::start(1).await;
    let mut in_headers = connect(member.address, b"POST /raft HT").await;
    let mut names = headers("2", "");
    names.push(("Content-Length".into(), "100".into()));
    let mut in_body = connect(member.address, &request("POST", "/raft", &names, b"")).await;
    in_body.write_all(b"begun").await.unwrap();
    assert_eq!(
        answer(&mut in_body).await,
        (400, "error reading raft message\n".into())
    );
    // It ends, with an answer or without.
    read_until(&mut in_headers, |_| false).await;
    is_well(&member).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_and_those_before_are_served() {
    let member = Member::start(1).await;
    let mut held = Vec::new();
    for _ in 0..PEER_CONNECTIONS_MAX {
        held.push(connect(member.address, b"G").await);
    }
    // Which of the last ones was accepted first is the system's to say: one too many is certain.
    let mut refused = connect(member.address, b"").await;
    let mut one_more = connect(member.address, b"").await;
    let ended = tokio::join!(
        read_until(&mut refused, |_| false),
        read_until(&mut one_more, |_| false)
    );
    assert_eq!(ended, (Vec::new(), Vec::new()));
    held.clear();
    crate::world::until("room again", || true).await;
    let rest = request("GET", "/raft/probing", &[], b"");
    let served = async {
        loop {
            let mut socket = connect(member.address, &rest).await;
            if answer(&mut socket).await.0 == 200 {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), served)
        .await
        .expect("room again");
}
