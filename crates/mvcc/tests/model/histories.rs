//! Random histories.

use crate::harness::{Harness, Pinned, Write};
use bytes::Bytes;
use proptest::prelude::*;
use tenet_base::Rng;
use tenet_base::world::SplitMix64;
use tenet_mvcc::Interest;
use tenet_proto::etcdserverpb::RangeRequest;

#[derive(Clone, Debug)]
enum Step {
    Txn(Vec<Write>, Vec<RangeRequest>),
    /// Where to compact, in thousandths of the revisions there are.
    Compact(u64),
    Maintain(usize),
    Publish,
    Pin,
    /// Writes between two steps of the flush.
    Restart(bool),
    /// Entries that are moved at a time.
    MoveOver(usize),
    Flush,
    Rewrite,
    Compare(u64),
}

fn key() -> impl Strategy<Value = Bytes> {
    let letters = prop_oneof![Just(b'a'), Just(b'b'), Just(0), Just(0xff)];
    prop_oneof![
        6 => proptest::collection::vec(letters, 1..4).prop_map(Bytes::from),
        1 => Just(Bytes::from_static(b"hot")),
        1 => (1..60usize).prop_map(|len| Bytes::from(vec![b'a'; len])),
    ]
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(Bytes::new()), Just(Bytes::from_static(&[0])), key(),]
}

fn write() -> impl Strategy<Value = Write> {
    let value = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let lease = prop_oneof![4 => Just(0), 1 => -2..3i64];
    prop_oneof![
        4 => (key(), value, lease).prop_map(|(key, value, lease)| Write::Put(key, value, lease)),
        1 => (key(), range_end()).prop_map(|(key, end)| Write::Delete(key, end)),
    ]
}

fn own_read() -> impl Strategy<Value = RangeRequest> {
    (key(), range_end()).prop_map(|(key, range_end)| RangeRequest {
        key,
        range_end,
        ..RangeRequest::default()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let txn = (
        proptest::collection::vec(write(), 0..6),
        proptest::collection::vec(own_read(), 0..3),
    );
    prop_oneof![
        20 => txn.prop_map(|(writes, reads)| Step::Txn(writes, reads)),
        2 => (0..1_100u64).prop_map(Step::Compact),
        6 => prop_oneof![Just(1), 1..40usize, Just(10_000)].prop_map(Step::Maintain),
        6 => Just(Step::Publish),
        1 => Just(Step::Pin),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => (1..50usize).prop_map(Step::MoveOver),
        2 => Just(Step::Flush),
        2 => Just(Step::Rewrite),
        6 => any::<u64>().prop_map(Step::Compare),
    ]
}

/// A request with any combination of options.
fn random_request(rng: &mut SplitMix64, pinned: &Pinned) -> RangeRequest {
    let key = |rng: &mut SplitMix64| {
        let len = rng.below(4);
        Bytes::from(
            (0..len)
                .map(|_| b"ab\x00\xff"[rng.below(4) as usize])
                .collect::<Vec<u8>>(),
        )
    };
    let range_end = match rng.below(4) {
        0 => Bytes::new(),
        1 => Bytes::from_static(&[0]),
        _ => key(rng),
    };
    let from = match rng.below(4) {
        0 => Bytes::from_static(&[0]),
        1 => Bytes::from_static(b"hot"),
        _ => key(rng),
    };
    let some = |rng: &mut SplitMix64, chance: u64, value: i64| {
        if rng.below(chance) == 0 { value } else { 0 }
    };
    RangeRequest {
        key: from,
        range_end,
        limit: [0, 0, 1, 2, 5, 20, i64::MAX, -1][rng.below(8) as usize],
        revision: if rng.below(2) == 0 {
            0
        } else {
            pinned.some_revision(rng)
        },
        sort_order: rng.below(3) as i32,
        sort_target: rng.below(5) as i32,
        serializable: rng.below(2) == 0,
        keys_only: rng.below(3) == 0,
        count_only: rng.below(6) == 0,
        min_mod_revision: {
            let at = pinned.some_revision(rng);
            some(rng, 8, at)
        },
        max_mod_revision: {
            let at = pinned.some_revision(rng);
            some(rng, 8, at)
        },
        min_create_revision: {
            let at = pinned.some_revision(rng);
            some(rng, 8, at)
        },
        max_create_revision: {
            let at = pinned.some_revision(rng);
            some(rng, 8, at)
        },
    }
}

fn compare(pinned: &Pinned, seed: u64, requests: usize) {
    let mut rng = SplitMix64::new(seed);
    pinned.compare_numbers();
    for _ in 0..requests {
        let mut req = random_request(&mut rng, pinned);
        pinned.compare_range(&req);
        pinned.compare_pieces(&req);
        req.sort_order = 0;
        req.sort_target = 0;
        req.min_mod_revision = 0;
        req.max_mod_revision = 0;
        req.min_create_revision = 0;
        req.max_create_revision = 0;
        pinned.compare_stream(&req, 1 + rng.below(300) as usize);
    }
    for _ in 0..3 {
        pinned.compare_hash(pinned.some_revision(&mut rng));
        let RangeRequest { key, range_end, .. } = random_request(&mut rng, pinned);
        let keys = match &range_end[..] {
            [] => Interest::Key(key),
            [0] => Interest::Range(key, None),
            _ => Interest::Range(key, Some(range_end)),
        };
        pinned.compare_events(&mut rng, &keys);
    }
    pinned.compare_hash(0);
}

/// With `puts_first`, no transaction writes a key again that it deleted, so hashes are compared
/// throughout.
fn run(steps: &[Step], puts_first: bool) {
    let mut harness = Harness::new();
    let mut pinned: Vec<Pinned> = Vec::new();
    for step in steps {
        match step {
            Step::Txn(writes, reads) => {
                let mut writes = writes.clone();
                if puts_first {
                    writes.sort_by_key(|write| matches!(write, Write::Delete(..)));
                }
                harness.txn(&writes, reads);
            }
            Step::Compact(share) => {
                let at = (harness.twin.revision as u64 * share / 1_000) as i64;
                harness.compact(at);
            }
            Step::Maintain(budget) => {
                harness.maintain(*budget);
            }
            Step::Publish => harness.publish(),
            Step::Pin => pinned.push(harness.published.clone()),
            Step::Flush => harness.flush(|_| {}),
            Step::Rewrite => harness.rewrite(),
            Step::Restart(busy) => harness.restart(|mvcc| {
                if *busy {
                    let mut txn = mvcc.begin();
                    txn.delete(b"hot");
                    txn.put(
                        &Bytes::from_static(b"hot"),
                        &Bytes::new(),
                        tenet_base::LeaseId(0),
                    );
                    txn.end();
                    mvcc.step_maintenance(100);
                }
            }),
            Step::MoveOver(piece) => harness.move_over(*piece),
            Step::Compare(seed) => compare(&harness.published, *seed, 12),
        }
    }
    harness.publish();
    while harness.maintain(100) {}
    compare(&harness.published, 1, 60);
    for (at, pinned) in pinned.iter().enumerate() {
        compare(pinned, at as u64, 20);
    }
    harness.restart(|_| {});
    compare(&harness.published, 2, 20);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_histories_agree_with_the_twin(steps in proptest::collection::vec(step(), 1..160)) {
        run(&steps, true);
    }

    #[test]
    fn keys_deleted_and_written_again_at_one_revision_agree_with_the_twin(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        run(&steps, false);
    }
}

/// Enough keys for several levels of nodes and segments of their real sizes.
#[test]
fn a_large_history_agrees_with_the_twin() {
    let mut rng = SplitMix64::new(42);
    let mut harness = Harness::new();
    let mut pinned = Vec::new();
    let key = |rng: &mut SplitMix64| {
        let number = rng.below(6_000);
        Bytes::from(format!("/registry/{:02}/{number:06}", number % 7))
    };
    for round in 0..60 {
        for _ in 0..20 {
            let writes: Vec<Write> = (0..rng.below(40))
                .map(|_| match rng.below(12) {
                    0 => Write::Delete(key(&mut rng), Bytes::new()),
                    1 => Write::Put(Bytes::from_static(b"/hot"), Bytes::from(vec![b'h'; 30]), 0),
                    _ => {
                        let value = vec![b'v'; rng.below(120) as usize];
                        Write::Put(key(&mut rng), Bytes::from(value), rng.below(3) as i64)
                    }
                })
                .collect();
            harness.txn(&writes, &[]);
            harness.maintain(500);
        }
        harness.publish();
        match round % 10 {
            3 => harness.compact(harness.twin.revision - rng.below(200) as i64),
            7 => pinned.push(harness.published.clone()),
            1 | 5 => {
                harness.flush(|_| {});
                harness.rewrite();
            }
            9 => harness.restart(|_| {}),
            _ => {}
        }
        harness.published.compare_numbers();
    }
    while harness.maintain(1_000) {}
    harness.publish();
    pinned.push(harness.published.clone());
    for pinned in &pinned {
        for _ in 0..25 {
            let from = key(&mut rng);
            let req = RangeRequest {
                key: from,
                range_end: if rng.below(2) == 0 {
                    Bytes::from_static(&[0])
                } else {
                    key(&mut rng)
                },
                limit: [0, 500, 3][rng.below(3) as usize],
                revision: if rng.below(2) == 0 {
                    0
                } else {
                    pinned.some_revision(&mut rng)
                },
                keys_only: rng.below(2) == 0,
                ..RangeRequest::default()
            };
            pinned.compare_range(&req);
            pinned.compare_pieces(&req);
            pinned.compare_stream(&req, 4_000);
            let sorted = RangeRequest {
                sort_order: rng.below(3) as i32,
                sort_target: rng.below(5) as i32,
                ..req
            };
            pinned.compare_pieces(&sorted);
        }
        pinned.compare_hash(0);
        pinned.compare_hash(pinned.some_revision(&mut rng));
    }
}
