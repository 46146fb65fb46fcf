//! Watches: what a client asks and what it makes of the answers, over streams that the test drives.

use tenet_client::kv_proto::{Event, KeyValue};
use tenet_client::proto::watch_request::RequestUnion;
use tenet_client::proto::{ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};
use tenet_client::{Client, Config, Error, KeyRange, Update, Watch, WatchError, WatchOptions};
use tenet_proto::{ApiError, Code};

use crate::scripted::{Stream, StreamServer, soon};

fn options() -> WatchOptions {
    WatchOptions::new(KeyRange::prefix("a"))
}

fn response(watch_id: i64, revision: i64) -> WatchResponse {
    let header = ResponseHeader {
        revision,
        ..ResponseHeader::default()
    };
    WatchResponse {
        header: Some(header),
        watch_id,
        ..WatchResponse::default()
    }
}

fn put_at(watch_id: i64, revision: i64) -> WatchResponse {
    let kv = KeyValue {
        key: "a".into(),
        mod_revision: revision,
        ..KeyValue::default()
    };
    let event = Event {
        kv: Some(kv),
        ..Event::default()
    };
    WatchResponse {
        events: vec![event],
        ..response(watch_id, revision)
    }
}

async fn creation(stream: &mut Stream) -> WatchCreateRequest {
    match stream
        .next::<WatchRequest>()
        .await
        .and_then(|request| request.request_union)
    {
        Some(RequestUnion::CreateRequest(request)) => request,
        other => panic!("no creation but {other:?}"),
    }
}

/// Answers a creation.
async fn create(stream: &mut Stream, revision: i64) -> WatchCreateRequest {
    let request = creation(stream).await;
    stream.send(&WatchResponse {
        created: true,
        ..response(request.watch_id, revision)
    });
    request
}

async fn revisions(watch: &mut Watch) -> Vec<i64> {
    match soon(watch.next()).await {
        Ok(Update::Events { events, .. }) => {
            let kvs = events.into_iter().filter_map(|event| event.kv);
            kvs.map(|kv| kv.mod_revision).collect()
        }
        other => panic!("no events but {other:?}"),
    }
}

/// Begins a watch at a server that has it from revision 10 on.
async fn begin(
    server: &mut StreamServer,
    client: &Client,
    options: WatchOptions,
) -> (Watch, Stream) {
    let watching = tokio::spawn({
        let client = client.clone();
        async move { client.watch(options).await }
    });
    let mut stream = server.stream().await;
    create(&mut stream, 10).await;
    let watch = soon(watching).await.unwrap().unwrap();
    (watch, stream)
}

#[tokio::test]
async fn a_watch_goes_on_over_a_new_connection_where_the_old_one_broke() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (mut watch, mut stream) = begin(&mut server, &client, options()).await;
    assert_eq!(stream.path, "/etcdserverpb.Watch/Watch");
    assert_eq!(stream.headers["hasleader"], "true");
    stream.send(&put_at(1, 11));
    assert_eq!(revisions(&mut watch).await, [11]);
    stream.cut();
    let mut stream = server.stream().await;
    assert_eq!(create(&mut stream, 20).await.start_revision, 12);
    stream.send(&put_at(1, 12));
    assert_eq!(revisions(&mut watch).await, [12]);
}

#[tokio::test]
async fn a_watch_leaves_a_server_without_leader_for_another_one() {
    let [mut one, mut two] = [StreamServer::start().await, StreamServer::start().await];
    let endpoints = [&one, &two].map(|server| server.address.to_string());
    let client = Client::new(Config::new(endpoints)).unwrap();
    let watching = tokio::spawn({
        let client = client.clone();
        async move { client.watch(options()).await }
    });
    let (mut stream, first_is_one) = tokio::select! {
        stream = one.stream() => (stream, true),
        stream = two.stream() => (stream, false),
    };
    create(&mut stream, 10).await;
    let mut watch = soon(watching).await.unwrap().unwrap();
    stream.fail(Code::Unavailable, "etcdserver: no leader");
    // The first one answers like that for good, so the watch must come to the other one.
    let other = async {
        loop {
            let (mut stream, is_one) = tokio::select! {
                stream = one.stream() => (stream, true),
                stream = two.stream() => (stream, false),
            };
            if is_one == first_is_one {
                stream.fail(Code::Unavailable, "etcdserver: no leader");
                continue;
            }
            create(&mut stream, 10).await;
            stream.send(&put_at(1, 11));
            return stream;
        }
    };
    let (_stream, revisions) = tokio::join!(soon(other), revisions(&mut watch));
    assert_eq!(revisions, [11]);
}

#[tokio::test]
async fn a_lost_leader_ends_a_watch_that_wants_that() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (mut watch, stream) = begin(&mut server, &client, options().end_without_leader()).await;
    stream.fail(Code::Unavailable, "etcdserver: no leader");
    let error = WatchError::Call(Error::Api(ApiError::NoLeader));
    assert_eq!(soon(watch.next()).await, Err(error));
}

#[tokio::test]
async fn a_failure_that_will_not_pass_ends_all_watches() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (mut watch, stream) = begin(&mut server, &client, options()).await;
    stream.fail(Code::Unimplemented, "unknown service");
    let Err(WatchError::Call(error)) = soon(watch.next()).await else {
        panic!("it goes on")
    };
    assert_eq!(error.code(), Code::Unimplemented);
    // The next one is tried anew.
    let (mut watch, mut stream) = begin(&mut server, &client, options()).await;
    stream.send(&put_at(1, 11));
    assert_eq!(revisions(&mut watch).await, [11]);
}

#[tokio::test]
async fn watches_share_a_stream_which_ends_with_the_last_of_them() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (one, mut stream) = begin(&mut server, &client, options()).await;
    let second = client.watch(options());
    let (two, request) = tokio::join!(second, create(&mut stream, 10));
    let mut two = two.unwrap();
    assert_eq!(request.watch_id, 2);
    stream.send(&put_at(2, 11));
    stream.send(&put_at(1, 11));
    assert_eq!(revisions(&mut two).await, [11]);
    drop(one);
    let canceled = stream
        .next::<WatchRequest>()
        .await
        .and_then(|request| request.request_union);
    assert!(
        matches!(&canceled, Some(RequestUnion::CancelRequest(request)) if request.watch_id == 1),
        "{canceled:?}"
    );
    drop(two);
    // What the client cancels, or the end of the stream itself.
    while stream.next::<WatchRequest>().await.is_some() {}
}

#[tokio::test]
async fn a_watch_that_is_not_answered_ends_with_the_deadline() {
    let mut server = StreamServer::start().await;
    let client = server
        .client()
        .with_timeout(std::time::Duration::from_millis(300));
    let watching = client.watch(options());
    let (watch, mut stream) = tokio::join!(watching, server.stream());
    assert_eq!(watch.unwrap_err(), WatchError::Call(Error::Deadline));
    creation(&mut stream).await;
    // Nobody watches any more, so the stream is given up.
    while stream.next::<WatchRequest>().await.is_some() {}
}

#[tokio::test]
async fn a_slow_reader_does_not_hold_up_others() {
    let mut server = StreamServer::start().await;
    let client = server.client();
    let (mut slow, mut stream) = begin(&mut server, &client, options()).await;
    let (quick, _) = tokio::join!(client.watch(options()), create(&mut stream, 10));
    let mut quick = quick.unwrap();
    let large = |watch_id, revision| {
        let mut response = put_at(watch_id, revision);
        let kv = response.events[0].kv.as_mut().unwrap();
        kv.value = vec![0; 1 << 20].into();
        response
    };
    let past_limit = tenet_client::WATCH_BUFFER_BYTES_MAX >> 20;
    let last = 10 + i64::try_from(past_limit).unwrap();
    for revision in 11..=last {
        stream.send(&large(1, revision));
        stream.send(&put_at(2, revision));
        assert_eq!(revisions(&mut quick).await, [revision]);
    }
    let canceled = stream
        .next::<WatchRequest>()
        .await
        .and_then(|request| request.request_union);
    assert!(
        matches!(&canceled, Some(RequestUnion::CancelRequest(request)) if request.watch_id == 1),
        "{canceled:?}"
    );
    let mut read = Vec::new();
    let reading = async {
        while read.last() != Some(&(last + 1)) {
            read.extend(revisions(&mut slow).await);
        }
    };
    let resuming = async {
        let request = create(&mut stream, last).await;
        assert_eq!((request.start_revision, request.watch_id), (last + 1, 3));
        stream.send(&put_at(3, last + 1));
    };
    tokio::join!(soon(reading), resuming);
    let all: Vec<i64> = (11..=last + 1).collect();
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_namespace_is_asked_for_and_not_shown() {
    let mut server = StreamServer::start().await;
    let client = server.client().namespace("ns/");
    let watching = client.watch(options());
    let serving = async {
        let mut stream = server.stream().await;
        let request = create(&mut stream, 10).await;
        assert_eq!(
            (&request.key[..], &request.range_end[..]),
            (&b"ns/a"[..], &b"ns/b"[..])
        );
        let mut response = put_at(request.watch_id, 11);
        response.events[0].kv.as_mut().unwrap().key = "ns/abc".into();
        stream.send(&response);
        stream
    };
    let (watch, _stream) = tokio::join!(watching, serving);
    let Ok(Update::Events { events, .. }) = soon(watch.unwrap().next()).await else {
        panic!("no events")
    };
    assert_eq!(events[0].kv.as_ref().unwrap().key, "abc");
}
