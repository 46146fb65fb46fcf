//! Watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tenet_client::kv_proto::event::EventType;
use tenet_client::proto::request_op::Request;
use tenet_client::proto::{
    CompactionRequest, DeleteRangeRequest, PutRequest, RequestOp, TxnRequest,
};
use tenet_client::{KeyRange, Update, WatchError, WatchOptions};

use super::{put, revisions, start};
use crate::scripted::soon;

fn options() -> WatchOptions {
    WatchOptions::new(KeyRange::prefix("k"))
}

#[tokio::test]
async fn changes_come_as_they_were_made() {
    let server = start!();
    let client = server.client();
    let mut all = client.watch(options().prev_kv()).await.unwrap();
    let mut deletions = client.watch(options().no_puts()).await.unwrap();
    put(&client, "k1", "a").await;
    put(&client, "other", "x").await;
    let second = put(&client, "k1", "b").await;
    let delete = DeleteRangeRequest::from(KeyRange::key("k1"));
    client.delete_range(delete).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let Update::Events { events, .. } = soon(all.next()).await.unwrap() else {
            panic!("no events")
        };
        seen.extend(events.into_iter().map(|event| {
            let before = event.prev_kv.as_ref().map(|kv| kv.value.clone());
            (event.r#type(), event.kv.unwrap().mod_revision, before)
        }));
    }
    let expected = [
        (EventType::Put, second - 2, None),
        (EventType::Put, second, Some("a".into())),
        (EventType::Delete, second + 1, Some("b".into())),
    ];
    assert_eq!(seen, expected);
    assert_eq!(revisions(&mut deletions).await, [second + 1]);
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_while_the_server_is_killed() {
    let mut server = start!();
    let client = server.client();
    let mut watch = client.watch(options()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (client, stop) = (client.clone(), stop.clone());
        async move {
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let request = PutRequest {
                    key: "k".into(),
                    ..PutRequest::default()
                };
                // What comes of a put while the server is killed is open, and does not matter.
                if let Ok(answer) = client.put(request).await {
                    last = answer.header.unwrap().revision;
                }
            }
            last
        }
    });
    let mut seen = Vec::new();
    for restart in 1..=3 {
        while seen.len() < restart * 100 {
            seen.extend(revisions(&mut watch).await);
        }
        server.restart().await;
    }
    let more = seen.len() + 100;
    while seen.len() < more {
        seen.extend(revisions(&mut watch).await);
    }
    stop.store(true, Ordering::Relaxed);
    let last = soon(writer).await.unwrap();
    while *seen.last().unwrap() < last {
        seen.extend(revisions(&mut watch).await);
    }
    // Every revision is a put of this key, so they come one after the other.
    let gap = seen.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(gap, None, "of {} changes", seen.len());
}

#[tokio::test]
async fn a_watch_of_what_is_compacted_tells_and_goes_on() {
    let server = start!();
    let client = server.client();
    let mut last = 0;
    for _ in 0..10 {
        last = put(&client, "k", "v").await;
    }
    let revision = last - 3;
    let compaction = CompactionRequest {
        revision,
        ..CompactionRequest::default()
    };
    client.compact(compaction).await.unwrap();
    let mut watch = client.watch(options().from_revision(2)).await.unwrap();
    let Update::Compacted {
        compact_revision, ..
    } = soon(watch.next()).await.unwrap()
    else {
        panic!("not told")
    };
    assert_eq!(compact_revision, revision);
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        seen.extend(revisions(&mut watch).await);
    }
    assert_eq!(seen, [last - 3, last - 2, last - 1, last]);
    let ending = options().from_revision(2).end_when_compacted();
    let mut watch = client.watch(ending).await.unwrap();
    let ended = soon(watch.next()).await;
    assert!(
        matches!(ended, Err(WatchError::Compacted { compact_revision, .. }) if compact_revision == revision),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_revision_larger_than_a_message_comes_whole() {
    let server = start!();
    let client = server.client();
    let mut watch = client.watch(options().prev_kv()).await.unwrap();
    let whole = client.watch(options().prev_kv().unfragmented());
    let mut whole = whole.await.unwrap();
    let put = |at: usize| {
        let put = PutRequest {
            key: format!("k{at}").into(),
            value: vec![7; 12_000].into(),
            ..PutRequest::default()
        };
        RequestOp {
            request: Some(Request::RequestPut(put)),
        }
    };
    for _ in 0..2 {
        let txn = TxnRequest {
            success: (0..120).map(put).collect(),
            ..TxnRequest::default()
        };
        client.txn(txn).await.unwrap();
    }
    for watch in [&mut watch, &mut whole] {
        for _ in 0..2 {
            assert_eq!(revisions(watch).await.len(), 120);
        }
    }
}

#[tokio::test]
async fn a_thousand_watches_each_get_their_own() {
    let server = start!();
    let client = server.client();
    let mut beginning = tokio::task::JoinSet::new();
    for at in 0..1_000 {
        let client = client.clone();
        let key = format!("k{at}");
        beginning.spawn(async move {
            let options = WatchOptions::new(KeyRange::key(key.clone()));
            (client.watch(options).await.unwrap(), key)
        });
    }
    let mut watches = soon(beginning.join_all()).await;
    for (watch, key) in watches.iter_mut().rev() {
        let revision = put(&client, key, "v").await;
        assert_eq!(revisions(watch).await, [revision]);
    }
}

#[tokio::test]
async fn a_reader_who_comes_late_gets_everything_in_order() {
    let server = start!();
    let client = server.client();
    let mut late = client.watch(options()).await.unwrap();
    let mut prompt = client.watch(options()).await.unwrap();
    let value = vec![7; 500_000];
    let count = 4 * tenet_client::WATCH_BUFFER_BYTES_MAX / value.len();
    let mut written = Vec::new();
    for _ in 0..count {
        let revision = put(&client, "k", value.clone()).await;
        assert_eq!(revisions(&mut prompt).await, [revision]);
        written.push(revision);
    }
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.extend(revisions(&mut late).await);
    }
    assert_eq!(seen, written);
}

#[tokio::test]
async fn progress_is_told_when_asked_for() {
    let server = start!();
    let client = server.client();
    let mut watch = client.watch(options()).await.unwrap();
    let revision = put(&client, "other", "v").await;
    watch.request_progress();
    let Update::Progress { header } = soon(watch.next()).await.unwrap() else {
        panic!("no progress")
    };
    assert_eq!(header.revision, revision);
}

#[tokio::test]
async fn a_range_that_is_none_is_refused() {
    let server = start!();
    let options = WatchOptions::new(KeyRange::between("b", "a"));
    let refused = server.client().watch(options).await;
    let reason = "mvcc: watcher range is empty".to_owned();
    assert_eq!(refused.unwrap_err(), WatchError::Refused { reason });
}
