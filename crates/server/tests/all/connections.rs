//! Connections as a whole: pings, keep-alive, shutdown.

use crate::client::{Client, PATIENCE, frame, reply, request};
use crate::{Server, options};
use bytes::Bytes;
use prost::Message;
use std::time::{Duration, Instant};
use tenet_proto::etcdserverpb as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const PUT: &str = "/etcdserverpb.KV/Put";

fn put() -> Bytes {
    let put = pb::PutRequest {
        key: Bytes::from_static(b"k"),
        ..Default::default()
    };
    frame(0, &put.encode_to_vec())
}

#[tokio::test]
async fn a_client_that_pings_too_often_is_told_so() {
    let server = Server::start();
    let mut client = server.client().await;
    for _ in 0..3 {
        let pong = timeout(PATIENCE, client.pings.ping(h2::Ping::opaque()))
            .await
            .expect("in time");
        pong.expect("an answer");
    }
    // The fourth ping is the third strike. It is answered too, if the client still looks.
    let _ = client.pings.ping(h2::Ping::opaque()).await;
    let ended = timeout(PATIENCE, client.connection)
        .await
        .expect("an end")
        .expect("no panic");
    let error = ended.expect_err("it was sent away");
    assert!(error.is_remote() && error.is_go_away(), "{error}");
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    assert!(error.to_string().contains("too_many_pings"), "{error}");
}

#[tokio::test]
async fn pings_between_answers_are_no_offence() {
    let server = Server::start();
    let mut client = server.client().await;
    for _ in 0..10 {
        assert_eq!(client.send(request(PUT), put()).await.code(), 0);
        client
            .pings
            .ping(h2::Ping::opaque())
            .await
            .expect("an answer");
    }
    assert_eq!(client.send(request(PUT), put()).await.code(), 0);
}

#[tokio::test]
async fn a_silent_client_is_given_up() {
    let server = Server::with(crate::ServeOptions {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..options()
    });
    // A client that answers pings stays, though it does nothing else.
    let mut alive = server.client().await;
    // One that does not is closed.
    let mut socket = tokio::net::TcpStream::connect(&server.address)
        .await
        .expect("a server");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    socket.write_all(preface).await.expect("sent");
    let mut all = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut all))
        .await
        .expect("it is closed");
    assert_eq!(alive.send(request(PUT), put()).await.code(), 0);
}

#[tokio::test]
async fn open_calls_end_before_the_server_does() {
    let server = Server::start();
    server.fake.delay_puts(Duration::from_millis(300));
    let mut client = server.client().await;
    let (answer, mut stream) = client.open(request(PUT)).await;
    stream.send_data(put(), true).expect("sent");
    let answer = tokio::spawn(reply(answer));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    server.serving.stop(Duration::from_secs(10)).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "it waits for the call, not for its patience"
    );
    assert_eq!(
        answer.await.expect("no panic").expect("an answer").code(),
        0
    );
    let ended = timeout(PATIENCE, client.connection)
        .await
        .expect("an end")
        .expect("no panic");
    assert!(ended.is_ok(), "a graceful end: {ended:?}");
    assert!(
        tokio::net::TcpStream::connect(&server.address)
            .await
            .is_err(),
        "nobody listens"
    );
}

#[tokio::test]
async fn calls_that_do_not_end_are_cut_off() {
    let server = Server::start();
    let mut client = server.client().await;
    let (answer, mut stream) = client.open(request("/grpc.health.v1.Health/Watch")).await;
    stream.send_data(frame(0, b""), true).expect("sent");
    let _body = answer.await.expect("an answer");
    // A half-open request, a silent connection and an idle HTTP/1.1 connection are open too.
    let _half = client.open(request(PUT)).await;
    let _silent = tokio::net::TcpStream::connect(&server.address)
        .await
        .expect("a server");
    let mut idle = tokio::net::TcpStream::connect(&server.address)
        .await
        .expect("a server");
    idle.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("sent");
    idle.read_u8().await.expect("an answer");
    let began = Instant::now();
    server.serving.stop(Duration::from_millis(200)).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    timeout(PATIENCE, client.connection)
        .await
        .expect("an end")
        .expect("no panic")
        .ok();
}

#[tokio::test]
async fn streams_over_the_limit_wait() {
    let server = Server::with(crate::ServeOptions {
        streams_max: 2,
        ..options()
    });
    server.fake.delay_puts(Duration::from_millis(20));
    let mut client = Client::connect(&server.address).await;
    // Until it knows the limit the client may go over it: then it is refused, and tries again.
    let mut answered = 0;
    while answered < 10 {
        let (answer, mut stream) = client.open(request(PUT)).await;
        stream.send_data(put(), true).expect("sent");
        match reply(answer).await {
            Ok(reply) => {
                assert_eq!(reply.code(), 0);
                answered += 1;
            }
            Err(error) => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM)),
        }
    }
    let (_first, mut one) = client.open(request(PUT)).await;
    one.send_data(put(), false).expect("sent");
    let (_second, mut two) = client.open(request(PUT)).await;
    two.send_data(put(), false).expect("sent");
    // Both places are taken; the library holds the third back until one is free.
    let (third, mut stream) = client.open(request(PUT)).await;
    stream.send_data(put(), true).expect("sent");
    one.send_reset(h2::Reason::CANCEL);
    assert_eq!(reply(third).await.expect("an answer").code(), 0);
}
