//! Counting live keys without looking at each.

use super::inner::SepRef;
use super::{Child, Inner, KeyRange, Leaf, Node, Tree};
use tenet_store::Rev;

impl Tree {
    /// How many keys of the range are alive at main revision `at`, which must not be below what
    /// was pruned.
    ///
    /// A subtree in which no key came to life or died after `at` has as many live keys then as
    /// now, so only the edges of the range and what was created or deleted since are looked at.
    pub(crate) fn count(&self, range: KeyRange<'_>, at: i64) -> u64 {
        let (from, to) = match range {
            KeyRange::From(from, to) => (from, to),
            KeyRange::One(key) => {
                let alive = self.find(key, at).is_some_and(|entry| !entry.tombstone);
                return u64::from(alive);
            }
        };
        if to.is_some_and(|to| to <= from) {
            return 0;
        }
        let mut count = Count {
            at,
            to,
            settled: false,
            live: 0,
        };
        count.child(&self.root, Some(from), None);
        count.live
    }
}

struct Count<'a> {
    at: i64,
    to: Option<&'a [u8]>,
    /// Whether the last key of the leaf before is accounted for, its entries in the next leaf
    /// included.
    settled: bool,
    live: u64,
}

impl Count<'_> {
    fn child(&mut self, child: &Child, from: Option<&[u8]>, upper: Option<SepRef<'_>>) {
        let whole = from.is_none_or(<[u8]>::is_empty)
            && match (self.to, upper) {
                (None, _) => true,
                (Some(to), Some(upper)) => upper.is_at_or_before(to, Rev::MAX),
                (Some(_), None) => false,
            };
        if whole && child.sum.turned <= self.at {
            self.whole(child);
            return;
        }
        match &*child.node {
            Node::Leaf(leaf) => self.leaf(leaf, from),
            Node::Inner(inner) => self.inner(inner, from, upper),
        }
    }

    /// Counts a subtree that lies inside the range and is the same at `at` as now.
    fn whole(&mut self, child: &Child) {
        self.live += child.sum.live;
        if !self.settled {
            // A key whose newer entries, all above `at`, are in the leaf before has no head here.
            let leaf = match &*child.node {
                Node::Leaf(leaf) => leaf,
                Node::Inner(inner) => inner.first_leaf(),
            };
            let alive = leaf.continues && !leaf.entries[0].tombstone;
            self.live += u64::from(alive);
        }
        self.settled = true;
    }

    fn inner(&mut self, inner: &Inner, from: Option<&[u8]>, upper: Option<SepRef<'_>>) {
        let start = from.map_or(0, |from| inner.child_at(from, Rev::MAX));
        for (at, child) in inner.children.iter().enumerate().skip(start) {
            if at > start {
                let lower = inner.seps.get(at - 1).expect("one before each child");
                if self.to.is_some_and(|to| lower.key >= to) {
                    return;
                }
            }
            self.child(child, from.filter(|_| at == start), inner.upper(at, upper));
        }
    }

    fn leaf(&mut self, leaf: &Leaf, from: Option<&[u8]>) {
        let find = |key: &[u8]| leaf.keys.find(key).unwrap_or_else(|above| above);
        let first = from.map_or(0, find);
        let end = self.to.map_or(leaf.keys.len(), find);
        let mut settled = first == 0 && leaf.continues && self.settled;
        let mut key = first;
        for entry in &leaf.entries[leaf.start_of(first)..leaf.start_of(end)] {
            if entry.key as usize != key {
                key = entry.key as usize;
                settled = false;
            }
            if !settled && entry.main <= self.at {
                settled = true;
                self.live += u64::from(!entry.tombstone);
            }
        }
        self.settled = settled;
    }
}
