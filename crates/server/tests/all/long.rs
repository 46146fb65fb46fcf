//! Range answers that are read while they are sent.

use crate::Server;
use crate::client::{Client, frame, reply, request};
use crate::grpc::value_of;
use bytes::Bytes;
use prost::Message;
use tenet_proto::etcdserverpb as pb;

const RANGE: &str = "/etcdserverpb.KV/Range";
const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
const SENT: &str = "grpc_server_msg_sent_total{grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"}";

fn everything() -> pb::RangeRequest {
    pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..Default::default()
    }
}

/// A server with 300 keys of 10,000 bytes.
fn filled() -> Server {
    let server = Server::start();
    for n in 0..300 {
        server.fake.set(&format!("k{n:03}"), vec![n as u8; 10_000]);
    }
    server
}

#[tokio::test]
async fn the_bytes_are_those_of_the_whole_message_compressed_or_not() {
    let server = filled();
    let mut client = server.client().await;
    let plain = client.call(RANGE, &everything()).await;
    assert_eq!((plain.code(), plain.body[0]), (0, 0));
    let len = u32::from_be_bytes(plain.body[1..5].try_into().expect("four bytes")) as usize;
    assert_eq!(plain.body.len(), len + 5);
    let message = pb::RangeResponse::decode(plain.body.slice(5..)).expect("one message");
    assert_eq!(message.encode_to_vec(), plain.body[5..]);
    assert_eq!((message.count, message.kvs.len()), (300, 300));

    let body = frame(0, &everything().encode_to_vec());
    let zipped = client
        .send(request(RANGE).header("grpc-encoding", "gzip"), body)
        .await;
    assert_eq!((zipped.code(), zipped.body[0]), (0, 1));
    let mut unzipped = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(&zipped.body[5..]);
    std::io::Read::read_to_end(&mut reader, &mut unzipped).expect("valid gzip");
    assert_eq!(unzipped, plain.body[5..]);
}

#[tokio::test]
async fn a_value_that_cannot_be_read_ends_the_answer_with_its_error() {
    let server = filled();
    server.fake.damage_after(100);
    let mut client = server.client().await;
    for path in [RANGE, RANGE_STREAM] {
        let broken = client.call(path, &everything()).await;
        assert_eq!(broken.code(), 15, "data loss");
        assert_eq!(broken.text(), "etcdserver: corrupt cluster");
        assert!(
            broken.body.len() > 100 * 10_000 && broken.body.len() < 102 * 10_000,
            "{} bytes came before it",
            broken.body.len()
        );
    }
    let body = frame(0, &everything().encode_to_vec());
    let zipped = client
        .send(request(RANGE).header("grpc-encoding", "gzip"), body)
        .await;
    assert_eq!((zipped.code(), zipped.body.len()), (15, 0));
    // The connection goes on.
    server.fake.damage_after(usize::MAX);
    assert_eq!(client.call(RANGE, &everything()).await.code(), 0);
    let page = crate::client::http(&server.address, "GET", "/metrics", "").await;
    assert_eq!(value_of(&page, SENT), 3);
    let failed = SENT.replace("msg_sent_total{", "handled_total{grpc_code=\"DataLoss\",");
    assert_eq!(value_of(&page, &failed), 2);
}

/// Windows that are never opened.
async fn reads_nothing(server: &Server) -> Client {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(100_000);
    Client::connect_with(&server.address, &builder).await
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_at_the_deadline() {
    let server = filled();
    let mut client = reads_nothing(&server).await;
    let (answer, mut stream) = client
        .open(request(RANGE).header("grpc-timeout", "100m"))
        .await;
    let body = frame(0, &everything().encode_to_vec());
    stream.send_data(body, true).expect("sent");
    let mut body = answer.await.expect("headers").into_body();
    // Only what the window lets through, then the status, which no window holds back.
    let mut taken = 0;
    while let Some(part) = body.data().await {
        taken += part.expect("data").len();
    }
    assert!(taken <= 100_000, "{taken}");
    let trailers = body.trailers().await.expect("an end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "4");
}

/// On one connection, a client reads much in several answers at once and little in others.
#[tokio::test]
async fn long_answers_do_not_hold_up_short_ones() {
    const LONG_READS: usize = 4;
    let server = filled();
    let mut client = server.client().await;
    let mut reading = Vec::new();
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for _ in 0..LONG_READS {
        let (answer, mut stream) = client.open(request(RANGE)).await;
        let body = frame(0, &everything().encode_to_vec());
        stream.send_data(body, true).expect("sent");
        let taken = taken.clone();
        reading.push(tokio::spawn(async move {
            let mut body = answer.await.expect("headers").into_body();
            let mut bytes = 0;
            while let Some(part) = body.data().await {
                let part = part.expect("data");
                bytes += part.len();
                taken.fetch_add(part.len(), std::sync::atomic::Ordering::SeqCst);
                body.flow_control()
                    .release_capacity(part.len())
                    .expect("taken before");
                tokio::task::yield_now().await;
            }
            bytes
        }));
    }
    let now = || taken.load(std::sync::atomic::Ordering::SeqCst);
    while now() == 0 {
        tokio::task::yield_now().await;
    }
    let small = pb::RangeRequest {
        key: Bytes::from_static(b"none"),
        ..Default::default()
    };
    let mut answered = 0;
    let mut most = 0;
    while reading.iter().any(|reading| !reading.is_finished()) {
        let (answer, mut stream) = client.open(request(RANGE)).await;
        let body = frame(0, &small.encode_to_vec());
        let before = now();
        stream.send_data(body, true).expect("sent");
        assert_eq!(reply(answer).await.expect("an answer").code(), 0);
        most = most.max(now() - before);
        answered += 1;
    }
    for reading in reading {
        assert!(reading.await.expect("no panic") > 3_000_000);
    }
    // What was on its way when the request came, and a piece of each.
    assert!(
        answered >= 5,
        "{answered} short answers beside 12 MB of long ones"
    );
    assert!(
        most <= 2_500_000,
        "{most} bytes of long answers came before a short one"
    );
}
