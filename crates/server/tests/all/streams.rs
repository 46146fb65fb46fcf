//! Calls in which both sides stream, by the examples of LeaseKeepAlive and Watch.

use crate::Server;
use crate::client::{Reply, frame, http, reply, request};
use crate::grpc::value_of;
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use tenet_proto::etcdserverpb as pb;

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

fn renew(id: i64) -> Bytes {
    frame(0, &pb::LeaseKeepAliveRequest { id }.encode_to_vec())
}

fn ttls(reply: &Reply) -> Vec<(i64, i64)> {
    let messages = reply.messages::<pb::LeaseKeepAliveResponse>();
    messages.iter().map(|m| (m.id, m.ttl)).collect()
}

#[tokio::test]
async fn keep_alives_are_answered_in_order_until_the_client_ends_its_side() {
    let server = Server::start();
    for id in 1..=2_000 {
        server.fake.grant(id, id * 10);
    }
    let mut client = server.client().await;
    // Many messages in one frame; an unknown lease among them is answered and ends nothing.
    let mut body = Vec::new();
    for id in 0..=2_000 {
        body.extend_from_slice(&renew(id));
    }
    let answer = client.send(request(KEEP_ALIVE), body.into()).await;
    assert_eq!((answer.http, answer.code(), answer.text()), (200, 0, ""));
    let expected: Vec<_> = (0..=2_000).map(|id| (id, id * 10)).collect();
    assert_eq!(ttls(&answer), expected);

    let page = http(&server.address, "GET", "/metrics", "").await;
    let labels = "{grpc_method=\"LeaseKeepAlive\",grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"}";
    // As etcd, which also counts the attempt to receive that finds the end.
    for (name, count) in [("started", 1), ("msg_received", 2_002), ("msg_sent", 2_001)] {
        let series = format!("grpc_server_{name}_total{labels}");
        assert_eq!(value_of(&page, &series), count, "{series}");
    }
}

#[tokio::test]
async fn a_stream_without_messages_ends_well() {
    let server = Server::start();
    let mut client = server.client().await;
    let answer = client.send(request(KEEP_ALIVE), Bytes::new()).await;
    assert_eq!((answer.code(), answer.body.len()), (0, 0));
}

#[tokio::test]
async fn messages_that_cannot_be_read_end_the_stream_after_the_answers_before_them() {
    let server = Server::start();
    server.fake.grant(1, 60);
    let mut client = server.client().await;
    let parse = "grpc: failed to unmarshal the received message: proto: cannot parse invalid \
                 wire-format data";
    for (bad, code, text) in [
        (frame(0, b"\xff\xff\xff"), 13, parse),
        (frame(0, &[8, 1])[..6].to_vec().into(), 13, "unexpected EOF"),
    ] {
        let body = [&renew(1)[..], &bad].concat();
        let answer = client.send(request(KEEP_ALIVE), body.into()).await;
        assert_eq!((answer.code(), answer.text()), (code, text));
        assert_eq!(ttls(&answer), [(1, 60)]);
    }
}

#[tokio::test]
async fn an_error_of_the_member_ends_the_stream() {
    let server = Server::start();
    server.fake.lose_leader();
    let mut client = server.client().await;
    let answer = client.send(request(KEEP_ALIVE), renew(1)).await;
    assert_eq!(
        (answer.code(), answer.text()),
        (14, "etcdserver: request timed out")
    );
}

#[tokio::test]
async fn a_stream_ends_at_the_clients_deadline() {
    let server = Server::start();
    let mut client = server.client().await;
    let (answer, _open) = client
        .open(request(KEEP_ALIVE).header("grpc-timeout", "50m"))
        .await;
    let ended = reply(answer).await.expect("an answer");
    assert_eq!(
        (ended.code(), ended.text()),
        (4, "context deadline exceeded")
    );
}

#[tokio::test]
async fn streams_that_need_a_leader_end_when_there_is_none_for_a_while() {
    let server = Server::start();
    server.fake.grant(1, 60);
    let mut client = server.client().await;
    let needs = || request(KEEP_ALIVE).header("hasleader", "true");
    let (answer, mut open) = client.open(needs()).await;
    let (other, mut unasking) = client.open(request(KEEP_ALIVE)).await;
    open.send_data(renew(1), false).expect("sent");
    let ended = tokio::spawn(reply(answer));
    let other = tokio::spawn(reply(other));
    let sent = "grpc_server_msg_sent_total{grpc_method=\"LeaseKeepAlive\",\
                grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"}";
    while value_of(&http(&server.address, "GET", "/metrics", "").await, sent) == 0 {}
    // Losing it for one look is forgiven.
    server.fake.lose_leader();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.fake.find_leader();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!ended.is_finished());
    server.fake.lose_leader();
    let ended = ended.await.expect("no panic").expect("an answer");
    assert_eq!((ended.code(), ended.text()), (14, "etcdserver: no leader"));
    assert_eq!(ttls(&ended), [(1, 60)]);
    // New ones are refused at once, and those that do not ask go on.
    let refused = client.send(needs(), Bytes::new()).await;
    assert_eq!(refused.text(), "etcdserver: no leader");
    assert!(!other.is_finished());
    unasking.send_data(Bytes::new(), true).expect("open");
    let ended = other.await.expect("no panic").expect("an answer");
    assert_eq!(ended.code(), 0);
}

#[tokio::test]
async fn streams_that_are_reset_count_as_canceled_and_are_gone() {
    let server = Server::start();
    server.fake.grant(1, 60);
    let mut client = server.client().await;
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let (answer, mut stream) = client.open(request(KEEP_ALIVE)).await;
        stream.send_data(renew(1), false).expect("sent");
        streams.push((tokio::spawn(reply(answer)), stream));
    }
    for (answer, mut stream) in streams {
        stream.send_reset(h2::Reason::CANCEL);
        answer.abort();
    }
    let series = "grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"LeaseKeepAlive\",\
                  grpc_service=\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"}";
    let mut canceled = 0;
    for _ in 0..1_000 {
        canceled = value_of(&http(&server.address, "GET", "/metrics", "").await, series);
        if canceled == 1_000 {
            break;
        }
    }
    assert_eq!(canceled, 1_000);
    // The connection goes on.
    assert_eq!(
        ttls(&client.send(request(KEEP_ALIVE), renew(1)).await),
        [(1, 60)]
    );
}

const WATCH: &str = "/etcdserverpb.Watch/Watch";

fn create(responses: usize, length: usize) -> Bytes {
    let create = pb::WatchCreateRequest {
        key: responses.to_string().into(),
        range_end: vec![b'x'; length].into(),
        ..pb::WatchCreateRequest::default()
    };
    let request = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    frame(0, &request.encode_to_vec())
}

#[tokio::test]
async fn watches_outlive_the_end_of_the_clients_side() {
    let server = Server::start();
    let mut client = server.client().await;
    let (answer, mut stream) = client
        .open(request(WATCH).header("grpc-timeout", "300m"))
        .await;
    // More requests than may wait for their answers, then the end; far more than a turn of long
    // responses.
    for _ in 0..200 {
        stream.send_data(create(3, 10), false).expect("sent");
    }
    stream
        .send_data(create(40, 400_000), true)
        .expect("sent and ended");
    let ended = reply(answer).await.expect("an answer");
    assert_eq!(
        (ended.code(), ended.text()),
        (4, "context deadline exceeded")
    );
    let responses = ended.messages::<pb::WatchResponse>();
    assert_eq!(responses.len(), 640);
    let ids: Vec<i64> = responses.iter().map(|response| response.watch_id).collect();
    assert!(ids.is_sorted() && ids.last() == Some(&200));
    assert_eq!(responses[639].cancel_reason.len(), 400_000);
}
