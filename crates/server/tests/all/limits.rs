//! Clients that ask for too much, or take nothing: others do not feel them.

use crate::Server;
use crate::client::{Client, PATIENCE, frame, http, reply, request};
use crate::grpc::value_of;
use bytes::Bytes;
use prost::Message;
use std::time::{Duration, Instant};
use tenet_base::limits;
use tenet_proto::etcdserverpb as pb;

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";

fn get(key: &'static str) -> Bytes {
    let request = pb::RangeRequest {
        key: Bytes::from_static(key.as_bytes()),
        ..Default::default()
    };
    frame(0, &request.encode_to_vec())
}

#[tokio::test]
async fn an_oversized_request_is_refused_by_its_length() {
    let server = Server::start();
    let mut client = server.client().await;
    let (answer, mut stream) = client.open(request(PUT)).await;
    // Only the length has arrived.
    stream
        .send_data(Bytes::from_static(&[0, 0, 0x20, 0, 1]), false)
        .expect("sent");
    let refused = reply(answer).await.expect("an answer");
    assert_eq!(refused.code(), 8);
    assert_eq!(
        refused.text(),
        "grpc: received message larger than max (2097153 vs. 2097152)"
    );

    let whole = client
        .send(request(PUT), frame(0, &vec![0; 3 * 1024 * 1024]))
        .await;
    assert_eq!(
        whole.text(),
        "grpc: received message larger than max (3145728 vs. 2097152)"
    );
    // The connection goes on.
    assert_eq!(client.send(request(RANGE), get("k")).await.code(), 0);
}

#[tokio::test]
async fn the_largest_request_is_taken() {
    let server = Server::start();
    let mut client = server.client().await;
    let mut put = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        ..Default::default()
    };
    put.value = vec![7; 2 * 1024 * 1024 - 16].into();
    let body = put.encode_to_vec();
    assert!(body.len() > 2 * 1024 * 1024 - 16 && body.len() <= 2 * 1024 * 1024);
    assert_eq!(client.send(request(PUT), frame(0, &body)).await.code(), 0);
    let found = client.send(request(RANGE), get("k")).await;
    assert_eq!(
        found.messages::<pb::RangeResponse>()[0].kvs[0].value,
        put.value
    );
}

/// A client asks for far more than it takes. Its further requests wait; those of others do not.
#[tokio::test]
async fn a_slow_reader_holds_up_only_itself() {
    const CALLS: usize = 200;
    const VALUE_BYTES: usize = 1024 * 1024;
    let server = Server::start();
    server.fake.set("big", vec![1; VALUE_BYTES]);
    let mut slow = Client::connect(&server.address).await;
    let mut answers = Vec::new();
    for _ in 0..CALLS {
        let (answer, mut stream) = slow.open(request(RANGE)).await;
        stream.send_data(get("big"), true).expect("sent");
        answers.push(answer);
    }
    let mut other = server.client().await;
    let series = "grpc_server_started_total{grpc_method=\"Range\"";
    let mut started = 0;
    let steady = Instant::now() + Duration::from_millis(500);
    while Instant::now() < steady {
        assert_eq!(other.send(request(PUT), get("k")).await.code(), 0);
        started = value_of(&http(&server.address, "GET", "/metrics", "").await, series);
    }
    let held = started as usize * VALUE_BYTES;
    assert!(
        held >= limits::CONNECTION_UNSENT_BYTES_MAX / 2,
        "{started} calls began"
    );
    assert!(
        held <= limits::CONNECTION_UNSENT_BYTES_MAX * 2,
        "{started} calls began"
    );
    // Once it reads, it gets everything. (All at once: unread answers share one window.)
    let reading: Vec<_> = answers
        .into_iter()
        .map(|answer| tokio::spawn(reply(answer)))
        .collect();
    for answer in reading {
        let reply = answer.await.expect("no panic").expect("an answer");
        assert_eq!((reply.code(), reply.body.len() > VALUE_BYTES), (0, true));
    }
    assert_eq!(
        value_of(&http(&server.address, "GET", "/metrics", "").await, series),
        CALLS as u64
    );
}

/// A client begins many large requests and ends none.
#[tokio::test]
async fn unfinished_requests_are_bounded_per_connection() {
    const PART_BYTES: usize = 2 * 1024 * 1024 - 64;
    let server = Server::start();
    let mut greedy = Client::connect(&server.address).await;
    let part = {
        let mut part = frame(0, &vec![0; 2 * 1024 * 1024]).to_vec();
        part.truncate(PART_BYTES);
        Bytes::from(part)
    };
    let mut open = Vec::new();
    for _ in 0..limits::CONNECTION_PARTIAL_BYTES_MAX / PART_BYTES + 8 {
        let (answer, mut stream) = greedy.open(request(PUT)).await;
        stream.send_data(part.clone(), false).expect("sent");
        open.push((tokio::spawn(reply(answer)), stream));
    }
    let (answers, streams): (Vec<_>, Vec<_>) = open.into_iter().unzip();
    let (first, ..) = tokio::time::timeout(PATIENCE, futures_util::future::select_all(answers))
        .await
        .expect("a refusal in time");
    let refused = first.expect("no panic").expect("an answer");
    assert_eq!(refused.code(), 8);
    assert!(
        refused.text().starts_with("too many unfinished requests"),
        "{}",
        refused.text()
    );
    let mut other = server.client().await;
    assert_eq!(other.send(request(RANGE), get("k")).await.code(), 0);
    drop(streams);
}
