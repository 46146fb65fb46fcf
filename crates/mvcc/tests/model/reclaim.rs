//! Room comes back after a compaction, and nothing that can be read goes with it.

use crate::files::{flush, rewrite};
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, LeaseId, Rng, Term};
use tenet_mvcc::{Mvcc, MvccError, View};
use tenet_proto::etcdserverpb::RangeRequest;

const KEYS: u64 = 2_000;
const VALUE_BYTES: usize = 500;

fn value(mvcc: &Mvcc) -> Bytes {
    let mut value = vec![b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&mvcc.revision().0.to_be_bytes());
    Bytes::from(value)
}

fn overwrite(mvcc: &mut Mvcc, rng: &mut SplitMix64, writes: usize) {
    for _ in 0..writes {
        let value = value(mvcc);
        let mut txn = mvcc.begin();
        let key = Bytes::from(format!("key/{:06}", rng.below(KEYS)));
        txn.put(&key, &value, LeaseId(0));
        txn.end();
    }
    let index = mvcc.views().load().applied().next();
    mvcc.publish(index, Term(1));
}

fn everything(view: &View, revision: i64) -> Vec<(Bytes, Bytes)> {
    let req = RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        revision,
        ..RangeRequest::default()
    };
    let kvs = view.range(&req).expect("readable").kvs;
    kvs.into_iter().map(|kv| (kv.key, kv.value)).collect()
}

#[test]
fn superseded_bytes_are_given_back() {
    let mut rng = SplitMix64::new(1);
    let mut mvcc = Mvcc::default();
    overwrite(&mut mvcc, &mut rng, 12_000);
    let before = mvcc.size();
    assert_eq!(
        before.db_bytes, before.db_in_use_bytes,
        "nothing is superseded for good yet"
    );
    let at = mvcc.revision().0 - 1_000;
    let pinned: Arc<View> = mvcc.views().load();
    let (at_mark, newest) = (everything(&pinned, at), everything(&pinned, 0));

    mvcc.compact(at).expect("not compacted before");
    mvcc.publish(Index(100), Term(1));
    assert!(mvcc.compaction_pending());
    let mut steps = 0;
    while mvcc.step_maintenance(200) {
        steps += 1;
        let view = mvcc.views().load();
        assert_eq!(everything(&view, at), at_mark, "step {steps}");
    }
    assert!(steps > 50, "the budget was not kept: {steps} steps");
    assert!(!mvcc.compaction_pending());

    let mut disk = MemoryDisk::default();
    flush(&mut mvcc, &mut disk, true, |_| {});
    rewrite(&mut mvcc, &mut disk);
    let after = mvcc.size();
    let live = (at_mark.len() + 1_000) as u64 * (VALUE_BYTES as u64 + 80);
    assert!(
        after.db_in_use_bytes <= live,
        "{after:?}, {live} at most live"
    );
    assert!(after.db_bytes * 7 <= after.db_in_use_bytes * 8, "{after:?}");
    let view = mvcc.views().load();
    assert_eq!(everything(&view, 0), newest);
    assert_eq!(view.size(), after);
    let req = RangeRequest {
        key: Bytes::from_static(b"key/000001"),
        revision: at - 1,
        ..RangeRequest::default()
    };
    assert_eq!(view.range(&req), Err(MvccError::Compacted));
    // A view from before still shows all that it showed.
    assert_eq!(everything(&pinned, at), at_mark);
    assert!(pinned.range(&req).is_ok());
}

#[test]
fn compactions_that_come_faster_than_the_work_are_all_done() {
    let mut rng = SplitMix64::new(2);
    let mut mvcc = Mvcc::default();
    for _ in 0..12 {
        overwrite(&mut mvcc, &mut rng, 300);
        mvcc.compact(mvcc.revision().0 - 50)
            .expect("further than before");
        mvcc.step_maintenance(100);
    }
    let newest = everything(&mvcc.views().load(), 0);
    mvcc.publish(Index(100), Term(1));
    while mvcc.step_maintenance(1_000) {}
    let view = mvcc.views().load();
    assert_eq!(everything(&view, 0), newest);
    // The hashes of the ten newest compactions are kept, each with the mark before it.
    let marks: Vec<i64> = (1..=12).map(|round| 300 * round + 1 - 50).collect();
    for (at, pair) in marks.windows(2).enumerate() {
        let hash = view.hash_kv(pair[1]);
        if at == 0 {
            assert_eq!(hash, Err(MvccError::Compacted), "the eleventh newest");
        } else {
            assert_eq!(hash.expect("kept").compact_revision, pair[0]);
        }
    }
}

#[test]
fn everything_deleted_and_compacted_leaves_nothing() {
    let (mut mvcc, mut disk) = (Mvcc::default(), MemoryDisk::default());
    for round in 0..3 {
        overwrite(&mut mvcc, &mut SplitMix64::new(round), 3_000);
        let mut txn = mvcc.begin();
        for key in txn.keys(&[0], &[0]) {
            assert!(txn.delete(&key));
        }
        txn.end();
        // Tombstones exactly at the mark stay, so compact behind them.
        let mut txn = mvcc.begin();
        txn.put(&Bytes::from_static(b"last"), &Bytes::new(), LeaseId(0));
        txn.end();
        mvcc.compact(mvcc.revision().0)
            .expect("further than before");
        while mvcc.step_maintenance(777) {}
        let index = mvcc.views().load().applied().next();
        mvcc.publish(index, Term(1));
        flush(&mut mvcc, &mut disk, true, |_| {});
        rewrite(&mut mvcc, &mut disk);
        let stats = mvcc.index_stats();
        assert_eq!((stats.live_keys, stats.entries, stats.leaves), (1, 1, 1));
        assert!(mvcc.size().db_bytes < 200, "{:?}", mvcc.size());
    }
}
