//! Readers on other threads while the writer writes, compacts and rewrites.

use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use tenet_base::world::SplitMix64;
use tenet_base::{Index, LeaseId, Rng, Term};
use tenet_mvcc::{Mvcc, MvccError, Views};
use tenet_proto::etcdserverpb::RangeRequest;

const KEYS: u64 = 300;

/// Every transaction writes one value under a key of each half, so in every view, at every
/// revision, the halves are equal.
fn write(mvcc: &mut Mvcc, rng: &mut SplitMix64) {
    let number = rng.below(KEYS);
    let delete = rng.below(5) == 0;
    let value = Bytes::from(format!("{:x}", rng.next_u64()));
    let mut txn = mvcc.begin();
    for half in ["left", "right"] {
        let key = Bytes::from(format!("{half}/{number:04}"));
        if delete {
            txn.delete(&key);
        } else {
            txn.put(&key, &value, LeaseId(0));
        }
    }
    txn.end();
}

fn half(half: &str, revision: i64) -> RangeRequest {
    RangeRequest {
        key: Bytes::from(format!("{half}/")),
        range_end: Bytes::from(format!("{half}0")),
        revision,
        ..RangeRequest::default()
    }
}

/// Returns how many states it compared.
fn read(views: &Views, seed: u64, done: &AtomicBool) -> u64 {
    let mut rng = SplitMix64::new(seed);
    let mut compared = 0;
    let mut last = Index::ZERO;
    loop {
        let stop = done.load(Ordering::Acquire);
        let view = views.load();
        assert!(view.applied() >= last, "published states went back");
        last = view.applied();
        let newest = view.revision().0;
        let oldest = view.compact_revision().map_or(2, |at| at.0.max(2));
        let revision = if rng.below(2) == 0 || newest <= oldest {
            0
        } else {
            oldest + rng.below((newest - oldest) as u64) as i64
        };
        let left = view.range(&half("left", revision));
        let right = view.range(&half("right", revision));
        let (left, right) = match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (left, right) => panic!("{left:?} and {right:?} at {revision} of {oldest}..{newest}"),
        };
        assert_eq!(left.count, left.kvs.len() as i64);
        let values = |kvs: Vec<tenet_proto::mvccpb::KeyValue>| -> Vec<_> {
            kvs.into_iter()
                .map(|kv| (kv.mod_revision, kv.version, kv.value))
                .collect()
        };
        assert_eq!(values(left.kvs), values(right.kvs), "at {revision}");
        let below = view.range(&half("left", oldest - 1));
        assert!(oldest <= 2 || below == Err(MvccError::Compacted));
        compared += 1;
        if stop {
            return compared;
        }
    }
}

#[test]
fn readers_see_whole_transactions_whatever_the_writer_does() {
    let mut mvcc = Mvcc::default();
    let done = AtomicBool::new(false);
    let compared: u64 = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|seed| {
                let views = mvcc.views();
                let done = &done;
                scope.spawn(move || read(&views, seed, done))
            })
            .collect();
        let mut rng = SplitMix64::new(9);
        for batch in 1..2_000 {
            for _ in 0..1 + rng.below(8) {
                write(&mut mvcc, &mut rng);
            }
            if batch % 100 == 0 {
                mvcc.compact(mvcc.revision().0 - 100)
                    .expect("further than before");
            }
            mvcc.step_maintenance(50);
            mvcc.publish(Index(batch), Term(1));
            mvcc.step_maintenance(50);
        }
        done.store(true, Ordering::Release);
        readers
            .into_iter()
            .map(|reader| reader.join().expect("no failure"))
            .sum()
    });
    assert!(compared >= 2);
}
