//! What is answered to requests that are not as they should be: etcd's statuses and texts.

use crate::world::{Headers, Member, answer, connect, headers, message, request};
use prost::Message as _;
use tenet_base::MemberId;
use tenet_base::limits::PEER_REMOTES_MAX;
use tenet_peer::PeerUrl;
use tenet_proto::raftpb::MessageType;

/// Headers with one of them changed, or left out.
fn with(name: &str, value: Option<&str>) -> Headers {
    let mut headers = headers("2", "1");
    headers.retain(|(known, _)| known != name);
    if let Some(value) = value {
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit_are_refused_in_etcds_words() {
    let member = Member::start(1).await;
    member.transport.add_peer(
        MemberId(2),
        &[PeerUrl::parse("http://127.0.0.1:1").unwrap()],
    );
    member.recorder.removed.lock().unwrap().insert(MemberId(9));
    let good = || headers("2", "1");
    let to_other = message(MessageType::Heartbeat, MemberId(2), MemberId(5)).encode_to_vec();
    let to_us = message(MessageType::Heartbeat, MemberId(2), MemberId(1)).encode_to_vec();
    let stream = "/raft/stream/message/2";
    type Case<'a> = (&'a str, &'a str, Headers, &'a [u8], u16, &'a str);
    let cases: &[Case<'_>] = &[
        ("POST", "/raft", good(), &to_us, 204, ""),
        ("GET", "/raft", good(), b"", 405, "Method Not Allowed\n"),
        ("POST", stream, good(), b"x", 405, "Method Not Allowed\n"),
        (
            "GET",
            "/raft/snapshot",
            good(),
            b"",
            405,
            "Method Not Allowed\n",
        ),
        (
            "POST",
            "/raft",
            with("X-Server-Version", Some("2.3.8")),
            &to_us,
            412,
            "incompatible version\n",
        ),
        (
            "POST",
            "/raft",
            with("X-Server-Version", None),
            &to_us,
            412,
            "incompatible version\n",
        ),
        (
            "POST",
            "/raft",
            with("X-Server-Version", Some("x")),
            &to_us,
            412,
            "incompatible version\n",
        ),
        (
            "POST",
            "/raft",
            with("X-Min-Cluster-Version", Some("3.8.0")),
            &to_us,
            412,
            "incompatible version\n",
        ),
        (
            "POST",
            "/raft",
            with("X-Etcd-Cluster-ID", Some("c2")),
            &to_us,
            412,
            "cluster ID mismatch\n",
        ),
        (
            "POST",
            "/raft/snapshot",
            with("X-Etcd-Cluster-ID", Some("c2")),
            b"x",
            412,
            "cluster ID mismatch\n",
        ),
        (
            "POST",
            "/raft",
            good(),
            b"\xff\xff\xff",
            400,
            "error unmarshalling raft message\n",
        ),
        (
            "POST",
            "/raft",
            good(),
            &to_other,
            500,
            "error processing raft message\n",
        ),
        (
            "GET",
            stream,
            with("X-Etcd-Cluster-ID", Some("c2")),
            b"",
            412,
            "cluster ID mismatch\n",
        ),
        (
            "GET",
            stream,
            with("X-Server-Version", Some("2.0.0")),
            b"",
            412,
            "incompatible version\n",
        ),
        (
            "GET",
            stream,
            with("X-Raft-To", Some("7")),
            b"",
            412,
            "to field mismatch\n",
        ),
        (
            "GET",
            "/raft/stream/message/xyz",
            good(),
            b"",
            404,
            "invalid from\n",
        ),
        (
            "GET",
            "/raft/stream/other/2",
            good(),
            b"",
            404,
            "invalid path\n",
        ),
        ("GET", "/raft/stream/2", good(), b"", 404, "invalid path\n"),
        (
            "GET",
            "/raft/stream/message/3",
            good(),
            b"",
            404,
            "error sender not found\n",
        ),
        (
            "GET",
            "/raft/stream/msgapp/9",
            good(),
            b"",
            410,
            "removed member\n",
        ),
        ("GET", "/", good(), b"", 404, "404 page not found\n"),
        (
            "GET",
            "/raft/other",
            good(),
            b"",
            404,
            "404 page not found\n",
        ),
        ("GET", "/v2/keys", good(), b"", 404, "404 page not found\n"),
        (
            "POST",
            "/members",
            good(),
            b"x",
            405,
            "Method Not Allowed\n",
        ),
        ("GET", "/leases", good(), b"", 405, "Method Not Allowed\n"),
    ];
    for (method, path, headers, body, status, text) in cases {
        let mut socket = connect(member.address, &request(method, path, headers, body)).await;
        let (got, said) = answer(&mut socket).await;
        assert_eq!(
            (got, said.as_str()),
            (*status, *text),
            "{method} {path} {headers:?}"
        );
    }
    assert_eq!(member.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_nobody_knows_are_remembered_but_not_without_end() {
    let member = Member::start(1).await;
    let beat =
        |from: u64| message(MessageType::Heartbeat, MemberId(from), MemberId(1)).encode_to_vec();
    for from in 100..100 + 2 * PEER_REMOTES_MAX as u64 {
        let mut headers = headers(&format!("{from:x}"), "");
        if from == 100 {
            // An address that is none is no reason to refuse the message.
            headers.iter_mut().for_each(|(name, value)| {
                if name == "X-PeerURLs" {
                    *value = "nowhere".into();
                }
            });
        }
        let mut socket = connect(
            member.address,
            &request("POST", "/raft", &headers, &beat(from)),
        )
        .await;
        assert_eq!(answer(&mut socket).await.0, 204);
    }
    assert_eq!(member.transport.metrics().members().len(), PEER_REMOTES_MAX);
    assert!(member.transport.metrics().others().received_bytes.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_tells_the_time() {
    let member = Member::start(1).await;
    let mut socket = connect(member.address, &request("GET", "/raft/probing", &[], b"")).await;
    let (status, body) = answer(&mut socket).await;
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["OK"], true);
    assert!(body["Now"].as_str().unwrap().ends_with('Z'), "{body}");
}
