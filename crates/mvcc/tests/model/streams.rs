//! How a stream is cut into messages, and what ends it.

use crate::long;
use bytes::Bytes;
use tenet_base::{Index, LeaseId, Revision, Term};
use tenet_mvcc::{Mvcc, MvccError, RangeEnd, RangeStream, View};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::SortTarget;
use tenet_proto::mvccpb::KeyValue;

const REQUEST_BYTES_MAX: usize = 1_572_864;

fn store(keys: usize, value_bytes: usize) -> Mvcc {
    let mut mvcc = Mvcc::default();
    for number in 0..keys {
        let mut txn = mvcc.begin();
        let key = Bytes::from(format!("key/{number:05}"));
        txn.put(&key, &Bytes::from(vec![b'v'; value_bytes]), LeaseId(0));
        txn.end();
    }
    mvcc.publish(Index(1), Term(1));
    mvcc
}

fn all() -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    }
}

/// The keys of the next message, with what the last one carries.
fn next(
    stream: &mut RangeStream,
    view: &View,
) -> Result<(Vec<KeyValue>, Option<RangeEnd>), MvccError> {
    loop {
        if let Some(chunk) = stream.step(view, 50)? {
            return Ok((long::all_of(view, chunk.range).kvs, chunk.end));
        }
    }
}

fn chunks(mvcc: &Mvcc, req: RangeRequest) -> Vec<usize> {
    let view = mvcc.views().load();
    let mut stream = RangeStream::new(req, REQUEST_BYTES_MAX);
    let mut keys = Vec::new();
    while !stream.is_done() {
        keys.push(next(&mut stream, &view).expect("readable").0.len());
    }
    keys
}

/// All of these are what etcd 3.7.1 sends.
#[test]
fn messages_double_until_they_are_large_enough() {
    let large = store(300, 20_000);
    assert_eq!(chunks(&large, all()), [10, 20, 40, 40, 40, 40, 40, 40, 30]);
    let small = store(300, 100);
    assert_eq!(chunks(&small, all()), [10, 20, 40, 80, 150]);
    let huge = store(40, 500_000);
    assert_eq!(chunks(&huge, all()), [10, 5, 5, 5, 5, 5, 5]);
    let limited = RangeRequest { limit: 35, ..all() };
    assert_eq!(chunks(&small, limited), [10, 20, 5]);
    let below_first = RangeRequest { limit: 4, ..all() };
    assert_eq!(chunks(&small, below_first), [4]);
    let no_limit = RangeRequest { limit: -1, ..all() };
    assert_eq!(
        chunks(&small, no_limit),
        [300],
        "a negative limit is none, in one message"
    );
    assert_eq!(
        chunks(&store(0, 0), all()),
        [0],
        "an empty range is one message"
    );
    let counted = RangeRequest {
        count_only: true,
        ..all()
    };
    assert_eq!(chunks(&small, counted), [0]);
}

/// etcd 3.7.1 gives some keys twice and others never.
#[test]
fn a_sort_target_without_an_order_leaves_the_keys_in_theirs() {
    let mvcc = store(100, 10);
    let view = mvcc.views().load();
    let by_value = RangeRequest {
        sort_target: SortTarget::Value.into(),
        ..all()
    };
    let mut stream = RangeStream::new(by_value, REQUEST_BYTES_MAX);
    let mut keys = Vec::new();
    while !stream.is_done() {
        let (kvs, _) = next(&mut stream, &view).expect("readable");
        keys.extend(kvs.into_iter().map(|kv| kv.key));
    }
    assert!(keys.len() == 100 && keys.is_sorted());
}

#[test]
fn later_writes_are_not_seen_and_compaction_ends_the_stream() {
    let mut mvcc = store(100, 10);
    let views = mvcc.views();
    let mut stream = RangeStream::new(all(), REQUEST_BYTES_MAX);
    let first = next(&mut stream, &views.load()).expect("readable");
    assert_eq!((first.0.len(), first.1), (10, None));
    let begun = mvcc.revision();

    let mut txn = mvcc.begin();
    txn.put(
        &Bytes::from_static(b"key/00015"),
        &Bytes::from_static(b"new"),
        LeaseId(0),
    );
    assert!(txn.delete(b"key/00016"));
    txn.put(
        &Bytes::from_static(b"key/00016/new"),
        &Bytes::new(),
        LeaseId(0),
    );
    txn.end();
    mvcc.publish(Index(2), Term(1));
    let second = next(&mut stream, &views.load()).expect("readable");
    assert_eq!(second.0.len(), 20);
    assert_eq!(second.0[5].value, Bytes::from(vec![b'v'; 10]));
    assert_eq!(second.0[6].key, Bytes::from_static(b"key/00016"));

    // Compacted exactly at the pinned revision, it goes on; above it, it ends.
    mvcc.compact(begun.0).expect("not compacted before");
    while mvcc.step_maintenance(10) {}
    mvcc.publish(Index(3), Term(1));
    let third = next(&mut stream, &views.load()).expect("readable");
    assert_eq!(third.0.len(), 40);
    mvcc.compact(begun.0 + 1).expect("above the last");
    mvcc.publish(Index(4), Term(1));
    assert_eq!(next(&mut stream, &views.load()), Err(MvccError::Compacted));
    assert!(stream.is_done());
}

#[test]
fn the_last_message_tells_the_whole_count_and_the_first_revision() {
    let mut mvcc = store(25, 10);
    let views = mvcc.views();
    let mut stream = RangeStream::new(RangeRequest { limit: 12, ..all() }, REQUEST_BYTES_MAX);
    next(&mut stream, &views.load()).expect("readable");
    let begun = mvcc.revision();
    let mut txn = mvcc.begin();
    txn.put(&Bytes::from_static(b"other"), &Bytes::new(), LeaseId(0));
    txn.end();
    mvcc.publish(Index(2), Term(1));
    let last = next(&mut stream, &views.load()).expect("readable");
    let end = last.1.expect("the last");
    assert_eq!((last.0.len(), end.more, end.count), (2, true, 25));
    assert_eq!(end.revision, begun);
    assert_eq!(begun, Revision(26));
}
