//! Keep-alives over streams that the test drives.

use tenet_client::proto::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tenet_client::{Error, LeaseEnd};
use tenet_proto::{ApiError, Code};

use crate::scripted::{Stream, StreamServer, soon};

fn answer(id: i64, ttl: i64) -> LeaseKeepAliveResponse {
    LeaseKeepAliveResponse {
        id,
        ttl,
        ..LeaseKeepAliveResponse::default()
    }
}

async fn renewal(stream: &mut Stream) -> i64 {
    stream.next::<LeaseKeepAliveRequest>().await.unwrap().id
}

#[tokio::test]
async fn leases_are_renewed_over_one_stream_and_told_apart() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (mut one, mut two) = (client.keep_alive(1), client.keep_alive(2));
    let mut stream = server.stream().await;
    assert_eq!(stream.path, "/etcdserverpb.Lease/LeaseKeepAlive");
    let mut ids = [renewal(&mut stream).await, renewal(&mut stream).await];
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    stream.send(&answer(1, 1));
    stream.send(&answer(2, 0));
    assert_eq!(soon(one.next()).await.map(|answer| answer.ttl), Some(1));
    assert_eq!(soon(two.next()).await, None);
    assert_eq!(soon(two.ended()).await, LeaseEnd::Gone);
    assert!(one.is_alive() && !two.is_alive());
    // A third of a second later, on its own.
    assert_eq!(renewal(&mut stream).await, 1);
}

#[tokio::test]
async fn renewals_go_on_over_a_new_connection() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let mut keep_alive = client.keep_alive(1);
    let mut stream = server.stream().await;
    renewal(&mut stream).await;
    stream.cut();
    let mut stream = server.stream().await;
    assert_eq!(renewal(&mut stream).await, 1);
    stream.send(&answer(1, 60));
    assert!(soon(keep_alive.next()).await.is_some());
    stream.fail(Code::Unavailable, "etcdserver: no leader");
    // The next renewal is due in 20 seconds; the stream is opened all the same.
    server.stream().await;
    assert!(keep_alive.is_alive());
}

#[tokio::test]
async fn a_lease_whose_renewals_are_not_answered_is_lost_in_time() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let keep_alive = client.keep_alive(1);
    let mut stream = server.stream().await;
    renewal(&mut stream).await;
    stream.send(&answer(1, 1));
    assert_eq!(soon(keep_alive.ended()).await, LeaseEnd::Late);
    // Nobody keeps a lease any more, so the stream is given up.
    while stream.next::<LeaseKeepAliveRequest>().await.is_some() {}
}

#[tokio::test]
async fn a_failure_that_will_not_pass_ends_all_leases() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let keep_alive = client.keep_alive(1);
    let stream = server.stream().await;
    stream.fail(Code::Unimplemented, "unknown service");
    let LeaseEnd::Failed(error) = soon(keep_alive.ended()).await else {
        panic!("another end")
    };
    assert_eq!(error.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_single_renewal_is_repeated_and_told() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let renewing = client.lease_keep_alive_once(7);
    let serving = async {
        let mut stream = server.stream().await;
        renewal(&mut stream).await;
        stream.fail(Code::Unavailable, "etcdserver: leader changed");
        let mut stream = server.stream().await;
        assert_eq!(renewal(&mut stream).await, 7);
        stream.send(&answer(7, 60));
        stream
    };
    let (renewed, _stream) = tokio::join!(soon(renewing), serving);
    assert_eq!(renewed.map(|answer| answer.ttl), Ok(60));
}

#[tokio::test]
async fn a_single_renewal_of_a_lease_that_is_gone_fails() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let renewing = client.lease_keep_alive_once(7);
    let serving = async {
        let mut stream = server.stream().await;
        renewal(&mut stream).await;
        stream.send(&answer(7, 0));
        stream
    };
    let (renewed, _stream) = tokio::join!(soon(renewing), serving);
    assert_eq!(renewed, Err(Error::Api(ApiError::LeaseNotFound)));
}
