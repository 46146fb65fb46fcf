//! The index against an ordered map of all entries.

use super::check::{Shape, check, totals};
use super::{
    Builder, Entry, INNER_CHILDREN_MAX, KeyRange, KeyRef, LEAF_ENTRIES_MAX, Position, PruneAt, Tree,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tenet_base::Rng;
use tenet_base::world::SplitMix64;
use tenet_store::Rev;

const ALL: KeyRange<'static> = KeyRange::From(&[], None);

/// Every entry in the order of the index.
type Model = BTreeMap<(Vec<u8>, Reverse<Rev>), Entry>;

#[derive(Clone, Default)]
struct Twin {
    tree: Tree,
    model: Model,
    main: i64,
    compacted: i64,
}

impl Twin {
    fn new() -> Self {
        Twin {
            main: 1,
            ..Twin::default()
        }
    }

    fn find(&self, key: &[u8], at: i64) -> Option<&Entry> {
        let from = (key.to_vec(), Reverse(Rev::new(at, u32::MAX)));
        let ((found, _), entry) = self.model.range(from..).next()?;
        (found == key).then_some(entry)
    }

    fn write(&mut self, key: &[u8], rev: Rev, delete: bool) {
        let head = self
            .find(key, i64::MAX)
            .copied()
            .filter(|head| !head.tombstone);
        let entry = match (delete, head) {
            (true, None) => return,
            (true, Some(_)) => {
                self.tree.delete(key, rev);
                Entry::new(rev, 0, 0, true)
            }
            (false, head) => {
                let create = head.map_or(rev.main, |head| head.create);
                let version = head.map_or(1, |head| head.version + 1);
                let entry = Entry::new(rev, create, version, false);
                assert_eq!(self.tree.put(key, rev), entry);
                entry
            }
        };
        self.model.insert((key.to_vec(), Reverse(rev)), entry);
    }

    fn keys(&self) -> BTreeSet<&[u8]> {
        self.model.keys().map(|(key, _)| &key[..]).collect()
    }

    fn in_range<'a>(&'a self, range: KeyRange<'a>, at: i64) -> Vec<(Vec<u8>, Entry)> {
        self.keys()
            .into_iter()
            .filter(|key| match range {
                KeyRange::One(one) => *key == one,
                KeyRange::From(from, to) => *key >= from && to.is_none_or(|to| *key < to),
            })
            .filter_map(|key| Some((key.to_vec(), *self.find(key, at)?)))
            .collect()
    }

    fn compare_range(&self, range: KeyRange<'_>, at: i64) {
        let expected = self.in_range(range, at);
        let mut found = Vec::new();
        let end: ControlFlow<()> = self.tree.visit(range, at, |key, entry| {
            found.push((
                key.to_vec(),
                Entry::new(entry.rev(), entry.create, entry.version, entry.tombstone),
            ));
            ControlFlow::Continue(())
        });
        assert!(end.is_continue());
        assert_eq!(found, expected, "{range:?} at {at}");
        let live = expected
            .iter()
            .filter(|(_, entry)| !entry.tombstone)
            .count();
        assert_eq!(self.tree.count(range, at), live as u64, "{range:?} at {at}");
    }

    fn compare_entries(&self, from: &[u8], rev: Rev) {
        let expected: Vec<_> = self.model.range((from.to_vec(), Reverse(rev))..).collect();
        let mut at = 0;
        let key = KeyRef::of(from);
        let start = Position::of(key, &Entry::new(rev, 0, 0, false));
        let _: ControlFlow<()> = self.tree.visit_entries(&start, |key, entry, head| {
            let (key_there, Reverse(rev)) = expected[at].0;
            assert!(key.cmp_bytes(key_there).is_eq());
            assert_eq!(entry.rev(), *rev);
            let newest = self.find(key_there, i64::MAX).map(Entry::rev);
            assert_eq!(head, newest == Some(*rev));
            at += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(at, expected.len());
    }

    fn compare(&self, rng: &mut SplitMix64) -> Shape {
        let shape = check(&self.tree);
        let mut live = 0;
        let mut turned = 0;
        for key in self.keys() {
            live += u64::from(!self.find(key, i64::MAX).expect("there").tombstone);
        }
        for entry in self.model.values() {
            turned = turned.max(if entry.tombstone {
                entry.main
            } else {
                entry.create
            });
        }
        assert_eq!(totals(&self.tree), (self.model.len() as u64, live, turned));
        for _ in 0..12 {
            let (a, b) = (random_key(rng), random_key(rng));
            let at = self.compacted.max(1)
                + rng.below((self.main - self.compacted.max(1)) as u64 + 1) as i64;
            let at = if rng.below(4) == 0 { i64::MAX } else { at };
            self.compare_range(KeyRange::From(&a, Some(&b)), at);
            self.compare_range(KeyRange::From(&a, None), at);
            self.compare_range(ALL, at);
            self.compare_range(KeyRange::One(&a), at);
            let found = self.tree.find(&a, at);
            assert_eq!(
                found.map(|entry| entry.rev()),
                self.find(&a, at).map(Entry::rev)
            );
            self.compare_entries(&a, Rev::new(at, 0));
        }
        shape
    }

    /// What a compaction at `at` leaves.
    fn prune_model(&mut self, at: i64) -> BTreeSet<Rev> {
        let mut gone = BTreeSet::new();
        let mut last: Option<Vec<u8>> = None;
        self.model.retain(|(key, Reverse(rev)), entry| {
            if rev.main > at {
                return true;
            }
            let first = last.as_ref() != Some(key);
            last = Some(key.clone());
            let kept = first && (!entry.tombstone || rev.main == at);
            if !kept {
                gone.insert(*rev);
            }
            kept
        });
        self.compacted = at;
        gone
    }
}

/// Few keys of few letters, so that they are prefixes of each other and get long histories.
fn random_key(rng: &mut SplitMix64) -> Vec<u8> {
    if rng.below(20) == 0 {
        return vec![0xff; rng.below(3) as usize];
    }
    let mut key = b"k/".to_vec();
    key.extend((0..1 + rng.below(3)).map(|_| b"\x00ab\xff"[rng.below(4) as usize]));
    if rng.below(12) == 0 {
        key.extend(vec![b'x'; rng.below(90) as usize]);
    }
    key
}

fn run(seed: u64, steps: usize, delete_percent: u64, hot_percent: u64) -> Shape {
    let mut rng = SplitMix64::new(seed);
    let mut twin = Twin::new();
    let mut pinned: Vec<Twin> = Vec::new();
    let mut shape = Shape::default();
    for _ in 0..steps {
        twin.main += 1;
        for sub in 0..1 + rng.below(4) as u32 {
            let key = if rng.below(100) < hot_percent {
                b"k/hot".to_vec()
            } else {
                random_key(&mut rng)
            };
            twin.write(
                &key,
                Rev::new(twin.main, sub),
                rng.below(100) < delete_percent,
            );
        }
        if rng.below(40) == 0 {
            pinned.push(twin.clone());
        }
        if rng.below(25) == 0 {
            compact(&mut twin, &mut rng);
        }
        if rng.below(30) == 0 {
            shape = twin.compare(&mut rng);
        }
    }
    for old in &pinned {
        old.compare(&mut rng);
    }
    twin.compare(&mut rng);
    shape
}

/// Compacts in steps with writes in between.
fn compact(twin: &mut Twin, rng: &mut SplitMix64) {
    let low = twin.compacted.max(1);
    if twin.main <= low {
        return;
    }
    let at = low + 1 + rng.below((twin.main - low) as u64) as i64;
    let mut expected = twin.prune_model(at);
    let mut next = Some(PruneAt::default());
    let budget = [1, 9, 40, usize::MAX][rng.below(4) as usize];
    while let Some(from) = next {
        let pruned = twin.tree.prune(at, from, budget);
        assert!(pruned.looked > 0);
        for rev in pruned.dropped {
            assert!(expected.remove(&rev), "{rev} dropped at {at}");
        }
        next = pruned.next;
        // Not yet dropped entries may not bring anything back to life.
        let live = twin.in_range(ALL, i64::MAX);
        let live = live.iter().filter(|(_, entry)| !entry.tombstone).count();
        assert_eq!(twin.tree.live(), live as u64);
        twin.main += 1;
        let key = random_key(rng);
        twin.write(&key, Rev::new(twin.main, 0), rng.below(3) == 0);
    }
    assert!(expected.is_empty(), "{expected:?} not dropped at {at}");
    check(&twin.tree);
}

#[test]
fn random_histories_agree_with_the_map() {
    for seed in 0..16 {
        run(seed, 400, 25, 10);
    }
    let shape = run(100, 2_000, 5, 2);
    assert!(shape.depth >= 4, "{shape:?}");
}

#[test]
fn long_histories_and_many_deletes_agree_with_the_map() {
    for seed in 0..10 {
        run(1_000 + seed, 300, 10, 80);
        run(2_000 + seed, 300, 60, 40);
    }
}

#[test]
fn keys_in_order_fill_leaves() {
    let mut tree = Tree::default();
    let count = 1_000;
    for main in 0..count {
        tree.put(format!("key/{main:08}").as_bytes(), Rev::new(main + 2, 0));
    }
    let shape = check(&tree);
    let full = count as usize / LEAF_ENTRIES_MAX;
    assert!(shape.leaves <= full + 1, "{shape:?}");
    assert!(
        shape.inners <= 2 * full / INNER_CHILDREN_MAX + shape.depth,
        "{shape:?}"
    );
}

#[test]
fn a_hot_key_fills_leaves() {
    let mut tree = Tree::default();
    tree.put(b"a", Rev::new(2, 0));
    tree.put(b"z", Rev::new(3, 0));
    for main in 4..1_000 {
        tree.put(b"hot", Rev::new(main, 0));
    }
    let shape = check(&tree);
    assert!(shape.leaves <= 1_000 / LEAF_ENTRIES_MAX + 4, "{shape:?}");
}

#[test]
fn pruning_nearly_everything_shrinks_the_tree() {
    let mut rng = SplitMix64::new(5);
    let mut tree = Tree::default();
    let mut main = 1;
    let keys: Vec<Vec<u8>> = (0..2_000)
        .map(|at| format!("key/{at:06}").into_bytes())
        .collect();
    for key in &keys {
        main += 1;
        tree.put(key, Rev::new(main, 0));
    }
    let mut left = 0;
    for key in &keys {
        if rng.below(20) == 0 {
            left += 1;
            continue;
        }
        main += 1;
        tree.delete(key, Rev::new(main, 0));
    }
    let old = tree.clone();
    let before = check(&old);
    let mut next = Some(PruneAt::default());
    while let Some(from) = next {
        next = tree.prune(main + 1, from, 100).next;
    }
    let shape = check(&tree);
    assert_eq!((tree.entries(), tree.live()), (left, left));
    assert!(
        shape.leaves <= 4 * left as usize / LEAF_ENTRIES_MAX,
        "{shape:?} for {left}"
    );
    assert_eq!(check(&old), before, "a clone changed");
    assert_eq!(old.live(), left);
}

#[test]
fn a_built_index_equals_the_written_one() {
    for seed in 0..10 {
        let mut rng = SplitMix64::new(seed);
        let mut twin = Twin::new();
        for _ in 0..rng.below(900) {
            twin.main += 1;
            let key = if rng.below(3) == 0 {
                b"k/hot".to_vec()
            } else {
                random_key(&mut rng)
            };
            twin.write(&key, Rev::new(twin.main, 0), rng.below(4) == 0);
        }
        let mut builder = Builder::default();
        for ((key, _), entry) in &twin.model {
            builder.push(key, *entry);
        }
        twin.tree = builder.finish();
        twin.compare(&mut rng);
        twin.main += 1;
        twin.write(b"k/hot", Rev::new(twin.main, 0), false);
        twin.compare(&mut rng);
    }
}
