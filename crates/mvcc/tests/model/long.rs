//! Answers in pieces: what holds for each piece, whatever the writer does meanwhile.

use crate::files;
use bytes::Bytes;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::{Index, LeaseId, Term};
use tenet_mvcc::{LongRange, Mvcc, Opened, RangeResult, View};
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse};
use tenet_proto::prost::Message as _;
use tenet_store::Patience;

/// All of a long range, read in pieces of different sizes, with its length checked.
pub(crate) fn all_of(view: &View, mut range: LongRange) -> RangeResult {
    while range.measure(view, 3).is_none() {}
    let measured = range.measured().expect("measured").clone();
    let mut encoded = Vec::new();
    let mut piece_bytes = 1;
    loop {
        piece_bytes = piece_bytes % 400 + 17;
        let Some(bytes) = range.plan_piece(view, piece_bytes) else {
            continue;
        };
        if bytes == 0 {
            break;
        }
        let piece = range.read_piece(view, Patience::Wait).expect("readable");
        assert_eq!(piece.len(), bytes);
        let kvs = RangeResponse::decode(piece.clone())
            .expect("whole key-values")
            .kvs;
        assert!(
            kvs.len() == 1 || bytes <= piece_bytes.max(64 * 1024),
            "{bytes}"
        );
        encoded.extend_from_slice(&piece);
    }
    assert_eq!(encoded.len() as u64, measured.bytes);
    let kvs = RangeResponse::decode(&encoded[..]).expect("key-values").kvs;
    assert_eq!(kvs.len() as u64, measured.keys);
    assert!(
        RangeResponse {
            kvs: kvs.clone(),
            ..RangeResponse::default()
        }
        .encode_to_vec()
            == encoded
    );
    RangeResult {
        kvs,
        more: measured.more,
        count: measured.count,
    }
}

const KEYS: usize = 3_000;

fn put_all(mvcc: &mut Mvcc, value: impl Fn(usize) -> String) {
    for number in 0..KEYS {
        let mut txn = mvcc.begin();
        let key = Bytes::from(format!("key/{number:05}"));
        txn.put(&key, &Bytes::from(value(number)), LeaseId(0));
        txn.end();
    }
}

fn all() -> RangeRequest {
    RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        ..RangeRequest::default()
    }
}

fn open(view: &View, req: &RangeRequest) -> LongRange {
    match view.open_range(req, Patience::Never).expect("readable") {
        Opened::Long(range) => *range,
        Opened::Sorted => view.sort_range(req).expect("readable"),
        Opened::Whole(result) => panic!("{} keys at once", result.kvs.len()),
    }
}

#[test]
fn what_was_begun_stays_the_same_while_keys_are_written_compacted_and_moved_to_files() {
    for order in [SortOrder::None, SortOrder::Descend] {
        let mut mvcc = Mvcc::default();
        let mut disk = MemoryDisk::default();
        let views = mvcc.views();
        put_all(&mut mvcc, |number| format!("first {number:0100}"));
        mvcc.publish(Index(1), Term(1));
        let req = RangeRequest {
            sort_order: order.into(),
            ..all()
        };
        let begun = views.load();
        let expected = begun.range(&req).expect("readable");
        let mut range = open(&begun, &req);
        while range.measure(&begun, 100).is_none() {}
        let mut view = begun;
        let mut encoded = Vec::new();
        let mut round = 0;
        loop {
            // The newest view that still shows it, as a server does.
            let newest = views.load();
            if newest.shows(range.revision()) {
                view = newest;
            }
            let bytes = range.plan_piece(&view, 20_000).unwrap_or(1);
            if bytes == 0 {
                break;
            }
            let piece = range.read_piece(&view, Patience::Wait).expect("readable");
            encoded.extend_from_slice(&piece);
            round += 1;
            match round {
                2 => files::flush(&mut mvcc, &mut disk, true, |_| {}),
                4 => {
                    put_all(&mut mvcc, |number| format!("second {number}"));
                    mvcc.publish(Index(2), Term(1));
                }
                6 => {
                    mvcc.compact(mvcc.revision().0)
                        .expect("further than before");
                    mvcc.publish(Index(3), Term(1));
                }
                8 => {
                    while mvcc.step_maintenance(1_000) {}
                    files::flush(&mut mvcc, &mut disk, true, |_| {});
                    files::rewrite(&mut mvcc, &mut disk);
                    mvcc.publish(Index(4), Term(1));
                }
                _ => {}
            }
        }
        assert!(
            round > 10,
            "{round} pieces: it was over before anything was done"
        );
        assert!(!views.load().shows(range.revision()), "it was compacted");
        let found = RangeResponse::decode(&encoded[..]).expect("key-values").kvs;
        assert_eq!(found, expected.kvs);
    }
}

#[test]
fn values_that_begin_alike_are_sorted_to_their_ends() {
    let mut mvcc = Mvcc::default();
    // Equal for longer than is compared at a time, then different, or not at all, or shorter.
    put_all(&mut mvcc, |number| {
        let long = "x".repeat(100);
        match number % 4 {
            0 => format!("{long}{:03}", number * 7 % 1_000),
            1 => long,
            2 => "x".repeat(number % 130),
            _ => format!("{:x}", number * 7_919 % 3_001),
        }
    });
    mvcc.publish(Index(1), Term(1));
    let view = mvcc.views().load();
    for order in [SortOrder::Ascend, SortOrder::Descend] {
        for (limit, keys_only) in [(0, false), (700, false), (0, true)] {
            let req = RangeRequest {
                sort_order: order.into(),
                sort_target: SortTarget::Value.into(),
                limit,
                keys_only,
                ..all()
            };
            let found = all_of(&view, view.sort_range(&req).expect("readable"));
            assert_eq!(Ok(found), view.range(&req), "{req:?}");
        }
    }
}

#[test]
fn a_piece_that_would_have_to_wait_is_read_on_with_patience() {
    let mut mvcc = Mvcc::default();
    let mut disk = MemoryDisk::default();
    put_all(&mut mvcc, |number| format!("{number:0100}"));
    mvcc.publish(Index(1), Term(1));
    files::flush(&mut mvcc, &mut disk, true, |_| {});
    disk.set_cold(true);
    let view = mvcc.views().load();
    let error = view.open_range(&all(), Patience::Never).expect_err("cold");
    assert!(error.is_cold());
    let Opened::Long(mut range) = view.open_range(&all(), Patience::Wait).expect("readable") else {
        panic!("it is long");
    };
    while range.measure(&view, 1_000).is_none() {}
    let mut encoded = Vec::new();
    let mut waited = 0;
    while let Some(bytes @ 1..) = range.plan_piece(&view, 10_000) {
        let piece = match range.read_piece(&view, Patience::Never) {
            Err(error) if error.is_cold() => {
                waited += 1;
                assert_eq!(
                    range.plan_piece(&view, 1),
                    Some(bytes),
                    "still the same piece"
                );
                range.read_piece(&view, Patience::Wait)
            }
            other => other,
        };
        encoded.extend_from_slice(&piece.expect("readable"));
    }
    assert!(waited > 10, "{waited}");
    let found = RangeResponse::decode(&encoded[..]).expect("key-values").kvs;
    assert_eq!(found, view.range(&all()).expect("readable").kvs);
}
