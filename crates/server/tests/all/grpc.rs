//! What gRPC clients see: answers, and every way in which a request can be wrong.

use crate::Server;
use crate::client::{Client, Reply, frame, http, reply, request};
use bytes::Bytes;
use prost::Message;
use std::io::{Read, Write};
use std::time::Duration;
use tenet_proto::etcdserverpb as pb;
use tenet_proto::health;

const RANGE: &str = "/etcdserverpb.KV/Range";
const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
const PUT: &str = "/etcdserverpb.KV/Put";
const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";

fn key(key: &'static str) -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(key.as_bytes()),
        ..Default::default()
    }
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        range_end: Bytes::from_static(b"\0"),
        ..key("\0")
    }
}

fn range_frame() -> Bytes {
    frame(0, &key("k").encode_to_vec())
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(data).expect("memory");
    writer.finish().expect("memory")
}

#[track_caller]
fn assert_failed(reply: &Reply, code: i32, text: &str) {
    assert_eq!((reply.code(), reply.text()), (code, text));
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn a_put_is_answered_and_read_back() {
    let server = Server::start();
    let mut client = server.client().await;
    let put = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        ..Default::default()
    };
    let reply = client.call(PUT, &put).await;
    assert_eq!((reply.http, reply.code(), reply.text()), (200, 0, ""));
    assert_eq!(reply.headers["content-type"], "application/grpc");
    assert_eq!(
        reply.messages::<pb::PutResponse>()[0]
            .header
            .expect("a header")
            .revision,
        2
    );

    let found = &client
        .call(RANGE, &key("k"))
        .await
        .messages::<pb::RangeResponse>()[0];
    assert_eq!((found.count, &found.kvs[0].value[..]), (1, &b"v"[..]));
    assert_failed(
        &client.call(RANGE, &key("")).await,
        3,
        "etcdserver: key is not provided",
    );
}

#[tokio::test]
async fn a_snapshot_comes_message_by_message_and_says_when_it_cannot_go_on() {
    let server = Server::start();
    let mut client = server.client().await;
    let reply = client.call(SNAPSHOT, &pb::SnapshotRequest {}).await;
    let messages = reply.messages::<pb::SnapshotResponse>();
    let shape: Vec<_> = messages
        .iter()
        .map(|message| (message.remaining_bytes, message.blob.len()))
        .collect();
    assert_eq!(shape, [(2, 32_768), (1, 32_768), (0, 32_768)]);
    assert_eq!((reply.code(), reply.text()), (13, "no more"));
}

#[tokio::test]
async fn a_thousand_calls_on_one_connection_are_all_answered() {
    let server = Server::start();
    server.fake.delay_puts(Duration::from_millis(5));
    let mut roomy = h2::client::Builder::new();
    roomy.initial_connection_window_size(16 * 1024 * 1024);
    let mut client = Client::connect_with(&server.address, &roomy).await;
    let mut answers = Vec::new();
    for n in 0..1_000 {
        let put = pb::PutRequest {
            key: format!("k{n}").into(),
            ..Default::default()
        };
        let (answer, mut stream) = client.open(request(PUT)).await;
        stream
            .send_data(frame(0, &put.encode_to_vec()), true)
            .expect("sent");
        answers.push(tokio::spawn(reply(answer)));
    }
    for answer in answers {
        let reply = answer.await.expect("no panic").expect("an answer");
        assert_eq!(reply.code(), 0);
    }
    let all = client.call(RANGE, &everything()).await;
    assert_eq!(all.messages::<pb::RangeResponse>()[0].count, 1_000);
}

#[tokio::test]
async fn a_long_answer_arrives_whole() {
    let server = Server::start();
    for n in 0..300 {
        server.fake.set(&format!("k{n:03}"), vec![n as u8; 10_000]);
    }
    let mut client = server.client().await;
    let whole = &client
        .call(RANGE, &everything())
        .await
        .messages::<pb::RangeResponse>()[0];
    assert_eq!((whole.count, whole.kvs.len()), (300, 300));
    for (n, kv) in whole.kvs.iter().enumerate() {
        assert_eq!(
            (&kv.key[..], kv.value.len()),
            (format!("k{n:03}").as_bytes(), 10_000)
        );
        assert!(kv.value.iter().all(|byte| *byte == n as u8));
    }
    let chunks = client.call(RANGE_STREAM, &everything()).await;
    let chunks = chunks.messages::<pb::RangeStreamResponse>();
    assert_eq!(chunks.len(), 301);
    let last = chunks[300].range_response.as_ref().expect("a chunk");
    assert_eq!((last.count, last.header.is_some()), (300, true));
}

#[tokio::test]
async fn headers_are_checked_as_grpc_go_does() {
    let server = Server::start();
    let mut client = server.client().await;
    for (name, value, http, code, text) in [
        (
            "content-type",
            "application/json",
            415,
            3,
            "invalid gRPC request content-type \"application/json\"",
        ),
        (
            "grpc-timeout",
            "10x",
            400,
            13,
            "malformed grpc-timeout: transport: timeout unit is not recognized: \"10x\"",
        ),
        ("grpc-timeout", "0S", 200, 4, "context deadline exceeded"),
        (
            "grpc-encoding",
            "deflate",
            200,
            12,
            "grpc: Decompressor is not installed for grpc-encoding \"deflate\"",
        ),
    ] {
        let mut wrong = request(RANGE);
        wrong
            .headers_mut()
            .expect("no error yet")
            .insert(name, value.parse().expect("a value"));
        let reply = client.send(wrong, range_frame()).await;
        assert_eq!(reply.http, http, "{name}: {value}");
        assert_failed(&reply, code, text);
    }
    let get = request(RANGE).method("GET");
    let reply = client.send(get, range_frame()).await;
    assert_eq!(reply.http, 405);
    let text = "Received a HEADERS frame with :method \"GET\" which should be POST";
    assert_failed(&reply, 13, text);
    let version = http::HeaderValue::from_bytes(b"\xff\xfe").expect("opaque bytes");
    let reply = client.send(
        request(RANGE).header("client-api-version", version),
        range_frame(),
    );
    assert_failed(&reply.await, 3, "etcdserver: invalid client api version");
}

#[tokio::test]
async fn unknown_methods_are_named() {
    let server = Server::start();
    let mut client = server.client().await;
    for (path, text) in [
        (
            "/etcdserverpb.KV/Foo",
            "unknown method Foo for service etcdserverpb.KV",
        ),
        (
            "/etcdserverpb.KV/Range?x=1",
            "unknown method Range?x=1 for service etcdserverpb.KV",
        ),
        ("/foo.Bar/Baz", "unknown service foo.Bar"),
        ("/a/b/c", "unknown service a/b"),
        ("/foo", "malformed method name: \"/foo\""),
        // Not served yet: the same words, since those are what clients understand.
        (
            "/etcdserverpb.Auth/AuthEnable",
            "unknown method AuthEnable for service etcdserverpb.Auth",
        ),
    ] {
        assert_failed(&client.send(request(path), range_frame()).await, 12, text);
    }
}

#[tokio::test]
async fn bodies_that_are_no_messages_are_refused() {
    let server = Server::start();
    let mut client = server.client().await;
    let cases: [(&str, Bytes, i32, &str); 10] = [
        // grpc-go never answers a request without a body; we answer as it does to an empty one.
        (RANGE, Bytes::new(), 2, "EOF"),
        (RANGE, Bytes::from_static(&[0, 0, 0]), 2, "EOF"),
        (
            RANGE,
            Bytes::from_static(&[0, 0, 0, 0, 9, 1]),
            2,
            "unexpected EOF",
        ),
        (
            RANGE,
            frame(0, &[0xff, 0xff, 0xff]),
            13,
            "grpc: error unmarshalling request: proto: cannot parse invalid wire-format data",
        ),
        (
            RANGE,
            frame(2, b""),
            13,
            "grpc: received unexpected payload format 2",
        ),
        (
            RANGE,
            frame(1, b""),
            13,
            "grpc: compressed flag set with identity or empty encoding",
        ),
        (
            RANGE_STREAM,
            Bytes::new(),
            13,
            "cardinality violation: received no request message from non-client-streaming RPC",
        ),
        (
            RANGE_STREAM,
            Bytes::from_static(&[0, 0, 0, 0, 9, 1]),
            13,
            "unexpected EOF",
        ),
        (
            RANGE_STREAM,
            [range_frame(), range_frame()].concat().into(),
            13,
            "cardinality violation: received multiple request messages for non-client-streaming RPC",
        ),
        (
            RANGE_STREAM,
            frame(0, &[0xff, 0xff, 0xff]),
            13,
            "grpc: failed to unmarshal the received message: proto: cannot parse invalid \
             wire-format data",
        ),
    ];
    for (path, body, code, text) in cases {
        assert_failed(&client.send(request(path), body).await, code, text);
    }
    // What follows the message of a unary call is not looked at.
    let body = [&range_frame()[..], &[1, 2]].concat();
    assert_eq!(client.send(request(RANGE), body.into()).await.code(), 0);
}

#[tokio::test]
async fn a_message_may_come_in_any_number_of_parts() {
    let server = Server::start();
    let mut client = server.client().await;
    let whole = range_frame();
    for cut in 1..whole.len() {
        let (answer, mut stream) = client.open(request(RANGE)).await;
        stream.send_data(whole.slice(..cut), false).expect("sent");
        tokio::task::yield_now().await;
        // The server does not wait for the end of the stream.
        stream.send_data(whole.slice(cut..), false).expect("sent");
        assert_eq!(
            reply(answer).await.expect("an answer").code(),
            0,
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn gzip_is_taken_and_answered_with_gzip() {
    let server = Server::start();
    server.fake.set("k", b"value".to_vec());
    let mut client = server.client().await;
    let gzipped = || request(RANGE).header("grpc-encoding", "gzip");
    for body in [frame(1, &gzip(&key("k").encode_to_vec())), range_frame()] {
        let reply = client.send(gzipped(), body).await;
        assert_eq!(
            (reply.code(), &reply.headers["grpc-encoding"]),
            (0, &"gzip".parse().unwrap())
        );
        assert_eq!(reply.body[0], 1);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&reply.body[5..])
            .read_to_end(&mut plain)
            .expect("gzip");
        let found = pb::RangeResponse::decode(&plain[..]).expect("a message");
        assert_eq!(found.kvs[0].value, "value");
    }
    // A client that only could take gzip gets none.
    let reply = client.send(
        request(RANGE).header("grpc-accept-encoding", "gzip"),
        range_frame(),
    );
    assert_eq!(reply.await.body[0], 0);

    let truncated = &gzip(&key("k").encode_to_vec())[..12];
    let reply = client.send(gzipped(), frame(1, truncated)).await;
    assert_failed(
        &reply,
        13,
        "grpc: failed to read decompressed data: unexpected EOF",
    );
    let bomb = gzip(&vec![0; 8 * 1024 * 1024]);
    let text = "grpc: received message after decompression larger than max 2097152";
    assert_failed(&client.send(gzipped(), frame(1, &bomb)).await, 8, text);
}

#[tokio::test]
async fn a_deadline_ends_the_call() {
    let server = Server::start();
    server.fake.delay_puts(Duration::from_secs(60));
    let mut client = server.client().await;
    let put = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        ..Default::default()
    };
    let body = frame(0, &put.encode_to_vec());
    let reply_ = client
        .send(request(PUT).header("grpc-timeout", "50m"), body)
        .await;
    assert_failed(&reply_, 4, "context deadline exceeded");
    // Also while the request is on its way.
    let (answer, _stream) = client
        .open(request(PUT).header("grpc-timeout", "50m"))
        .await;
    assert_failed(
        &reply(answer).await.expect("an answer"),
        4,
        "context deadline exceeded",
    );
}

#[tokio::test]
async fn a_client_that_wants_a_leader_is_told_when_there_is_none() {
    let server = Server::start();
    let mut client = server.client().await;
    let wanting = || request(RANGE).header("hasleader", "true");
    assert_eq!(client.send(wanting(), range_frame()).await.code(), 0);
    server.fake.lose_leader();
    assert_failed(
        &client.send(wanting(), range_frame()).await,
        14,
        "etcdserver: no leader",
    );
}

#[tokio::test]
async fn health_is_served() {
    let server = Server::start();
    let mut client = server.client().await;
    let ask = |service: &str| health::HealthCheckRequest {
        service: service.into(),
    };
    let check = "/grpc.health.v1.Health/Check";
    let well = client.call(check, &ask("")).await;
    assert_eq!(well.messages::<health::HealthCheckResponse>()[0].status, 1);
    assert_failed(&client.call(check, &ask("foo")).await, 5, "unknown service");
    let list = client
        .call("/grpc.health.v1.Health/List", &health::HealthListRequest {})
        .await;
    let list = &list.messages::<health::HealthListResponse>()[0];
    assert_eq!(list.statuses[""].status, 1);

    let (answer, mut stream) = client.open(request("/grpc.health.v1.Health/Watch")).await;
    stream.send_data(frame(0, b""), true).expect("sent");
    let mut body = answer.await.expect("an answer").into_body();
    let first = body.data().await.expect("a message").expect("a message");
    assert_eq!(&first[..], [0, 0, 0, 0, 2, 8, 1]);
    assert!(!body.is_end_stream(), "it goes on until the client leaves");
}

#[tokio::test]
async fn calls_are_counted_as_etcd_counts_them() {
    let server = Server::start();
    let mut client = server.client().await;
    let versioned = || request(RANGE).header("client-api-version", "3.7");
    client.send(versioned(), range_frame()).await;
    client.send(versioned(), frame(0, b"")).await;
    // Not counted at all: a unary request that is not decoded, an unknown method.
    client.send(versioned(), frame(0, &[0xff])).await;
    client
        .send(request("/etcdserverpb.KV/Foo"), range_frame())
        .await;
    // Counted as canceled: a client that leaves.
    server.fake.delay_puts(Duration::from_secs(60));
    let put = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        ..Default::default()
    };
    let (answer, mut stream) = client.open(request(PUT)).await;
    stream
        .send_data(frame(0, &put.encode_to_vec()), true)
        .expect("sent");
    let page = eventually(&server, "grpc_server_started_total{grpc_method=\"Put\"", 1).await;
    assert!(page.contains(
        "etcd_server_client_requests_total{client_api_version=\"3.7\",type=\"unary\"} 2\n"
    ));
    drop((answer, stream));
    let canceled = "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Put\"";
    let page = eventually(&server, canceled, 1).await;
    for (series, value) in [
        ("grpc_server_started_total{grpc_method=\"Range\"", 2),
        ("grpc_server_msg_received_total{grpc_method=\"Range\"", 2),
        ("grpc_server_msg_sent_total{grpc_method=\"Range\"", 2),
        (
            "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Range\"",
            1,
        ),
        (
            "grpc_server_handled_total{grpc_code=\"InvalidArgument\",grpc_method=\"Range\"",
            1,
        ),
        (
            "grpc_server_handled_total{grpc_code=\"Internal\",grpc_method=\"Range\"",
            0,
        ),
        ("grpc_server_msg_sent_total{grpc_method=\"Put\"", 1),
    ] {
        assert_eq!(value_of(&page, series), value, "{series}");
    }
}

/// The page of metrics once the series has the value.
async fn eventually(server: &Server, series: &str, value: u64) -> String {
    let waiting = async {
        loop {
            let page = http(&server.address, "GET", "/metrics", "").await;
            if value_of(&page, series) == value {
                return page;
            }
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, waiting)
        .await
        .expect(series)
}

/// The value of the only series that starts so.
pub(crate) fn value_of(page: &str, series: &str) -> u64 {
    let mut lines = page.lines().filter(|line| line.starts_with(series));
    let line = lines.next().unwrap_or_else(|| panic!("no {series}"));
    assert!(lines.next().is_none(), "several {series}");
    line.rsplit(' ')
        .next()
        .and_then(|value| value.parse().ok())
        .expect("a number")
}
