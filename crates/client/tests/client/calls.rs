//! Unary calls: what is repeated, what is not, and how failures are told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tenet_client::kv_proto::KeyValue;
use tenet_client::proto::{PutRequest, PutResponse, RangeRequest, RangeResponse};
use tenet_client::proto::{RangeStreamResponse, TxnRequest};
use tenet_client::{Client, Config, ConfigError, Credentials, Error, FailedAttempt, Observer};
use tenet_proto::prost::Message;
use tenet_proto::{ApiError, Code};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scripted::{Act, Server, serve};

fn ok(message: &impl Message) -> Act {
    Act::Answer(vec![message.encode_to_vec().into()])
}

fn put() -> PutRequest {
    PutRequest {
        key: "k".into(),
        value: "v".into(),
        ..Default::default()
    }
}

fn get() -> RangeRequest {
    RangeRequest {
        key: "k".into(),
        ..Default::default()
    }
}

const GONE: Act = Act::Fail(Code::Unavailable, "etcdserver: leader changed");

#[tokio::test]
async fn a_request_and_its_answer_travel_whole() {
    let kv = KeyValue {
        key: "k".into(),
        value: vec![7; 100_000].into(),
        ..Default::default()
    };
    let answer = RangeResponse {
        kvs: vec![kv],
        count: 1,
        ..Default::default()
    };
    let server = Server::start([ok(&answer)]).await;
    let request = RangeRequest { limit: 5, ..get() };
    assert_eq!(server.client().range(request.clone()).await, Ok(answer));
    let came = &server.came()[0];
    assert_eq!(came.path, "/etcdserverpb.KV/Range");
    assert_eq!(RangeRequest::decode(came.body.clone()).unwrap(), request);
    assert_eq!(came.headers["client-api-version"], "3.7");
}

#[tokio::test]
async fn a_read_is_repeated_while_the_server_is_unavailable() {
    let server = Server::start([GONE, GONE, ok(&RangeResponse::default())]).await;
    assert!(server.client().range(get()).await.is_ok());
    assert_eq!(server.came().len(), 3);
}

#[tokio::test]
async fn a_write_with_an_open_outcome_is_not_repeated() {
    let server = Server::start([GONE, ok(&PutResponse::default())]).await;
    let error = server.client().put(put()).await.unwrap_err();
    assert_eq!(error, Error::Api(ApiError::LeaderChanged));
    assert!(!error.is_definite());
    assert_eq!(server.came().len(), 1);
}

#[tokio::test]
async fn a_write_on_a_connection_that_dies_is_not_repeated() {
    let server = Server::start([Act::Hang, ok(&PutResponse::default())]).await;
    let error = server.client().put(put()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!error.is_definite());
    assert_eq!(server.came().len(), 1);
}

#[tokio::test]
async fn a_read_on_a_connection_that_dies_is_repeated_on_a_new_one() {
    let server = Server::start([Act::Hang, ok(&RangeResponse::default())]).await;
    assert!(server.client().range(get()).await.is_ok());
    assert_eq!(server.came().len(), 2);
}

#[tokio::test]
async fn a_write_that_the_server_refuses_to_look_at_is_sent_again() {
    let server = Server::start([Act::Refuse, ok(&PutResponse::default())]).await;
    assert!(server.client().put(put()).await.is_ok());
    assert_eq!(server.came().len(), 2);
}

/// A server that goes away names the last request that it has looked at; here it is none.
#[tokio::test]
async fn a_write_that_a_going_server_has_not_looked_at_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = came.clone();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        socket.write_all(&settings).await.unwrap();
        read_until_headers(&mut socket).await;
        let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.write_all(&go_away).await.unwrap();
        socket.shutdown().await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let acts = Arc::new(Mutex::new(VecDeque::from([ok(&PutResponse::default())])));
        serve(socket, acts, seen).await;
    });
    let client = Client::new(Config::new([address.to_string()])).unwrap();
    let answer = client
        .with_timeout(Duration::from_secs(20))
        .put(put())
        .await;
    assert!(answer.is_ok(), "{answer:?}");
    let came = came.lock().unwrap();
    assert_eq!(PutRequest::decode(came[0].body.clone()).unwrap(), put());
}

/// Reads frames up to the first HEADERS frame.
async fn read_until_headers(socket: &mut TcpStream) {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        socket.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 1 {
            return;
        }
    }
}

#[tokio::test]
async fn an_error_of_the_api_ends_a_read_at_once() {
    let text = "etcdserver: mvcc: required revision has been compacted";
    let server = Server::start([Act::Fail(Code::OutOfRange, text)]).await;
    let error = server.client().range(get()).await.unwrap_err();
    assert_eq!(error, Error::Api(ApiError::Compacted));
    assert_eq!(server.came().len(), 1);
}

#[tokio::test]
async fn attempts_are_counted() {
    let server = Server::start([GONE]).await;
    let mut config = Config::new([server.address.to_string()]);
    config.attempts_max = 4;
    let client = Client::new(config).unwrap();
    assert_eq!(
        client.range(get()).await,
        Err(Error::Api(ApiError::LeaderChanged))
    );
    assert_eq!(server.came().len(), 4);
}

#[tokio::test]
async fn calls_go_round_and_pass_over_an_endpoint_that_is_down() {
    let [one, two] = [
        Server::start([ok(&RangeResponse::default())]).await,
        Server::start([ok(&RangeResponse::default())]).await,
    ];
    let dead = dead_address().await;
    let endpoints = [dead, one.address.to_string(), two.address.to_string()];
    let client = Client::new(Config::new(endpoints)).unwrap();
    // Both are up after a while: calls alternate from then on.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while one.came().is_empty() || two.came().is_empty() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "one of the two is never asked"
        );
        client.range(get()).await.unwrap();
    }
}

async fn dead_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Notes what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn attempt_failed(&self, attempt: &FailedAttempt<'_>) {
        let FailedAttempt {
            target,
            method,
            attempt,
            peer,
            status,
        } = attempt;
        let peer = peer.map(|peer| peer.remote.clone());
        self.0
            .lock()
            .unwrap()
            .push(format!("{target} {method} {attempt} {peer:?} {status}"));
    }
}

#[tokio::test]
async fn a_deadline_tells_why_nobody_was_reached() {
    let dead = dead_address().await;
    let notes = Arc::new(Notes::default());
    let mut config = Config::new([format!("http://{dead}")]);
    config.observer = Some(notes.clone());
    let client = Client::new(config)
        .unwrap()
        .with_timeout(Duration::from_millis(300));
    assert_eq!(client.put(put()).await, Err(Error::Deadline));
    let expected = format!(
        "{dead} /etcdserverpb.KV/Put 0 None rpc error: code = DeadlineExceeded desc = latest \
         balancer error: connection error: desc = \"transport: Error while dialing: dial tcp \
         {dead}: connect: connection refused\""
    );
    assert_eq!(*notes.0.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_not_answered() {
    let server = Server::start([ok(&RangeResponse::default()), Act::Wait]).await;
    let notes = Arc::new(Notes::default());
    let mut config = Config::new([server.address.to_string()]);
    config.observer = Some(notes.clone());
    let client = Client::new(config)
        .unwrap()
        .with_timeout(Duration::from_millis(500));
    // The connection stands before the call that is measured.
    client.range(get()).await.unwrap();
    assert_eq!(client.range(get()).await, Err(Error::Deadline));
    let address = server.address;
    let expected = format!(
        "{address} /etcdserverpb.KV/Range 0 Some(\"{address}\") rpc error: code = \
         DeadlineExceeded desc = context deadline exceeded"
    );
    assert_eq!(*notes.0.lock().unwrap(), [expected]);
    assert!(server.came()[1].headers.contains_key("grpc-timeout"));
}

#[tokio::test]
async fn sizes_are_limited_in_both_directions() {
    let kv = KeyValue {
        value: vec![7; 1000].into(),
        ..Default::default()
    };
    let answer = RangeResponse {
        kvs: vec![kv],
        ..Default::default()
    };
    let (size, put_size) = (answer.encoded_len(), put().encoded_len());
    let server = Server::start([ok(&answer)]).await;
    let mut config = Config::new([server.address.to_string()]);
    config.receive_bytes_max = 999;
    config.send_bytes_max = 5;
    let client = Client::new(config).unwrap();
    assert_eq!(
        client.range(get()).await.unwrap_err().to_string(),
        format!(
            "rpc error: code = ResourceExhausted desc = grpc: received message larger than max \
             ({size} vs. 999)"
        )
    );
    assert_eq!(
        client.put(put()).await.unwrap_err().to_string(),
        format!(
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max \
             ({put_size} vs. 5)"
        )
    );
    assert_eq!(server.came().len(), 1, "what is too large is not sent");
}

#[tokio::test]
async fn a_stream_of_parts_is_one_answer() {
    let part = |key: &str, count| {
        let kv = KeyValue {
            key: key.to_owned().into(),
            ..Default::default()
        };
        let part = RangeResponse {
            kvs: vec![kv],
            count,
            ..Default::default()
        };
        RangeStreamResponse {
            range_response: Some(part),
        }
        .encode_to_vec()
        .into()
    };
    let parts = Act::Answer(vec![part("a", 0), part("b", 0), part("c", 3)]);
    let server = Server::start([parts, Act::Fail(Code::Unimplemented, "no")]).await;
    let client = server.client();
    let whole = client
        .range_stream(get())
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let keys: Vec<&[u8]> = whole.kvs.iter().map(|kv| &kv.key[..]).collect();
    assert_eq!((keys, whole.count), (vec![&b"a"[..], b"b", b"c"], 3));
    let error = client.range_stream(get()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_token_is_fetched_when_the_server_asks_who_calls() {
    let token = tenet_client::proto::AuthenticateResponse {
        token: "abc.1".to_owned(),
        ..Default::default()
    };
    let asks = Act::Fail(Code::InvalidArgument, "etcdserver: user name is empty");
    let server = Server::start([asks, ok(&token), ok(&PutResponse::default())]).await;
    let mut config = Config::new([server.address.to_string()]);
    config.credentials = Some(Credentials::Password {
        user: "u".into(),
        password: "p".into(),
    });
    let client = Client::new(config).unwrap();
    assert!(client.put(put()).await.is_ok());
    let came = server.came();
    let paths: Vec<&str> = came.iter().map(|came| &came.path[..]).collect();
    let put = "/etcdserverpb.KV/Put";
    assert_eq!(paths, [put, "/etcdserverpb.Auth/Authenticate", put]);
    assert_eq!(came[2].headers["token"], "abc.1");
}

#[tokio::test]
async fn without_credentials_a_refusal_is_final() {
    let asks = Act::Fail(Code::InvalidArgument, "etcdserver: user name is empty");
    let server = Server::start([asks]).await;
    let error = server
        .client()
        .txn(TxnRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error, Error::Api(ApiError::UserEmpty));
    assert_eq!(server.came().len(), 1);
}

#[test]
fn a_client_needs_endpoints_that_it_can_reach() {
    let made = |endpoints: &[&str]| Client::new(Config::new(endpoints.iter().copied())).err();
    assert_eq!(made(&[]), Some(ConfigError::NoEndpoints));
    assert_eq!(
        made(&["https://x:1"]),
        Some(ConfigError::Tls("https://x:1".to_owned()))
    );
    assert_eq!(made(&["x:1", "unix:a"]), None);
}
