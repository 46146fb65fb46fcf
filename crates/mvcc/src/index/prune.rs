//! Dropping what a compaction supersedes, in steps.
//!
//! Of each key the newest entry at or below the compact revision stays, unless it is a tombstone
//! below it; older ones go. Subtrees in which every entry is a live head are passed over.
//!
//! The older entries of a key go before its newer ones: a tombstone whose history reaches into
//! the next leaf stays until that is gone, or the key would come back to life in between.
//!
//! Nodes are rebuilt, not edited: what is left unchanged stays shared with the readers' trees.

use super::inner::{Sep, SepRef};
use super::{
    Child, Entry, INNER_CHILDREN_MAX, Inner, LEAF_ENTRIES_MAX, LEAF_KEY_BYTES_MAX, Leaf, Node, Tree,
};
use std::sync::Arc;
use tenet_store::Rev;

/// Where a pruning goes on.
#[derive(Clone, Debug)]
pub(crate) struct PruneAt {
    /// The position of the next entry.
    key: Vec<u8>,
    rev: Rev,
    /// If the position is inside the history of `key`: whether its entry that stays was seen.
    found: bool,
    /// A tombstone of `key` that goes once its history is gone.
    tombstone: Option<(Vec<u8>, Rev)>,
}

impl Default for PruneAt {
    fn default() -> Self {
        PruneAt {
            key: Vec::new(),
            rev: Rev::MAX,
            found: false,
            tombstone: None,
        }
    }
}

/// What a step of pruning did.
#[derive(Debug)]
pub(crate) struct Pruned {
    /// Where the next step goes on; `None` when all is done.
    pub(crate) next: Option<PruneAt>,
    /// What was dropped.
    pub(crate) dropped: Vec<Rev>,
    /// What the step cost, in entries looked at.
    pub(crate) looked: usize,
}

impl Tree {
    /// Drops what is superseded at main revision `at`, looking at about `budget` entries.
    pub(crate) fn prune(&mut self, at: i64, from: PruneAt, budget: usize) -> Pruned {
        let mut prune = Prune {
            at,
            budget,
            looked: 0,
            found: from.found,
            tombstones: from.tombstone.into_iter().collect(),
            dropped: Vec::new(),
            stop: None,
        };
        let change = prune.child(&self.root, Some((&from.key, from.rev)), None);
        self.replace_root(change);
        let mut next = prune.stop;
        for (key, rev) in prune.tombstones {
            match &mut next {
                Some(next) if next.rev != Rev::MAX && next.key == key => {
                    next.tombstone = Some((key, rev));
                }
                _ => {
                    prune.dropped.push(rev);
                    let change = remove(&self.root, &key, rev);
                    self.replace_root(change);
                }
            }
        }
        Pruned {
            next,
            dropped: prune.dropped,
            looked: prune.looked.max(1),
        }
    }

    fn replace_root(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::To(child) => self.root = child,
            Change::Gone => *self = Tree::default(),
        }
        while let Node::Inner(inner) = &*self.root.node {
            let [only] = &inner.children[..] else { break };
            self.root = only.clone();
        }
    }
}

/// What becomes of a subtree.
enum Change {
    None,
    To(Child),
    Gone,
}

struct Prune {
    at: i64,
    budget: usize,
    looked: usize,
    /// Whether the entry that stays was seen of the last key looked at.
    found: bool,
    tombstones: Vec<(Vec<u8>, Rev)>,
    dropped: Vec<Rev>,
    stop: Option<PruneAt>,
}

impl Prune {
    fn child(
        &mut self,
        child: &Child,
        from: Option<(&[u8], Rev)>,
        upper: Option<SepRef<'_>>,
    ) -> Change {
        if child.sum.entries == child.sum.live {
            let last = match &*child.node {
                Node::Leaf(leaf) => leaf.entries.last(),
                Node::Inner(inner) => inner.last_leaf().entries.last(),
            };
            self.found = last.is_some_and(|entry| entry.main <= self.at);
            self.looked += 1;
            return Change::None;
        }
        match &*child.node {
            Node::Leaf(leaf) => self.leaf(leaf, from, upper),
            Node::Inner(inner) => self.inner(inner, from, upper),
        }
    }

    fn inner(
        &mut self,
        inner: &Inner,
        from: Option<(&[u8], Rev)>,
        upper: Option<SepRef<'_>>,
    ) -> Change {
        let start = from.map_or(0, |(key, rev)| inner.child_at(key, rev));
        let mut changes = Vec::new();
        for (at, child) in inner.children.iter().enumerate().skip(start) {
            if at > start && self.looked >= self.budget {
                let next = inner.seps.get(at - 1).expect("one before each child");
                self.stop.get_or_insert_with(|| PruneAt {
                    key: next.key.to_vec(),
                    rev: next.rev,
                    found: self.found,
                    tombstone: None,
                });
                break;
            }
            match self.child(child, from.filter(|_| at == start), inner.upper(at, upper)) {
                Change::None => {}
                Change::To(child) => changes.push((at, Some(child))),
                Change::Gone => changes.push((at, None)),
            }
        }
        rebuild(inner, changes)
    }

    fn leaf(
        &mut self,
        leaf: &Leaf,
        from: Option<(&[u8], Rev)>,
        upper: Option<SepRef<'_>>,
    ) -> Change {
        let start = from.map_or(0, |(key, rev)| leaf.lower_bound(key, rev));
        let (before, entries) = leaf.entries.split_at(start);
        self.looked += entries.len();
        let mut current = leaf.key_number_before(start);
        let mut kept = before.to_vec();
        for entry in entries {
            if current != Some(entry.key) {
                current = Some(entry.key);
                self.found = false;
            }
            if self.keeps(leaf, entry, upper) {
                kept.push(*entry);
            } else {
                self.dropped.push(entry.rev());
            }
        }
        let Some(first) = kept.first() else {
            return Change::Gone;
        };
        if kept.len() == leaf.entries.len() {
            return Change::None;
        }
        let continues = leaf.continues && first.key == 0;
        let keys: Vec<_> = (0..leaf.keys.len()).map(|at| leaf.keys.get(at)).collect();
        Change::To(Child::new(Node::Leaf(Leaf::pack(&keys, &kept, continues))))
    }

    /// Decides on one entry; called in order.
    fn keeps(&mut self, leaf: &Leaf, entry: &Entry, upper: Option<SepRef<'_>>) -> bool {
        if entry.main > self.at {
            return true;
        }
        if std::mem::replace(&mut self.found, true) {
            return false;
        }
        if !entry.tombstone || entry.main == self.at {
            return true;
        }
        let key = leaf.keys.get(entry.key as usize);
        let goes_on = entry.key as usize == leaf.keys.len() - 1
            && upper.is_some_and(|upper| upper.is_inside_key() && key.cmp_bytes(upper.key).is_eq());
        if goes_on {
            self.tombstones.push((key.to_vec(), entry.rev()));
        }
        goes_on
    }
}

/// Removes the one entry at (`key`, `rev`).
fn remove(child: &Child, key: &[u8], rev: Rev) -> Change {
    match &*child.node {
        Node::Leaf(leaf) => {
            let at = leaf.lower_bound(key, rev);
            let entry = leaf.entries.get(at);
            assert!(
                entry.is_some_and(|entry| entry.rev() == rev),
                "tombstone {rev} is not in the index any more, there is {entry:?}"
            );
            if leaf.entries.len() == 1 {
                return Change::Gone;
            }
            let mut kept = leaf.entries.clone();
            kept.remove(at);
            let keys: Vec<_> = (0..leaf.keys.len()).map(|at| leaf.keys.get(at)).collect();
            let continues = leaf.continues && kept[0].key == 0;
            Change::To(Child::new(Node::Leaf(Leaf::pack(&keys, &kept, continues))))
        }
        Node::Inner(inner) => {
            let at = inner.child_at(key, rev);
            match remove(&inner.children[at], key, rev) {
                Change::None => Change::None,
                Change::To(child) => rebuild(inner, vec![(at, Some(child))]),
                Change::Gone => rebuild(inner, vec![(at, None)]),
            }
        }
    }
}

/// An inner node with some children changed or gone. Neighbours of which one changed are joined
/// if they fit together with room to spare.
fn rebuild(inner: &Inner, changes: Vec<(usize, Option<Child>)>) -> Change {
    if changes.is_empty() {
        return Change::None;
    }
    let mut changes = changes.into_iter().peekable();
    // Each child with the separator before it, which the first one does not need.
    let mut seps: Vec<Sep> = Vec::with_capacity(inner.children.len());
    let mut children: Vec<Child> = Vec::with_capacity(inner.children.len());
    let mut last_changed = false;
    for (at, child) in inner.children.iter().enumerate() {
        let changed = changes.next_if(|(changed, _)| *changed == at);
        let is_changed = changed.is_some();
        let child = match changed {
            Some((_, Some(child))) => child,
            Some((_, None)) => continue,
            None => child.clone(),
        };
        let Some(last) = children.last_mut() else {
            children.push(child);
            last_changed = is_changed;
            continue;
        };
        let sep = inner.seps.get(at - 1).expect("one before each child");
        let joined = if is_changed || last_changed {
            join(last, sep, &child)
        } else {
            None
        };
        if let Some(joined) = joined {
            *last = joined;
            last_changed = true;
        } else {
            seps.push(sep.to_sep());
            children.push(child);
            last_changed = is_changed;
        }
    }
    if children.is_empty() {
        return Change::Gone;
    }
    children.shrink_to_fit();
    let seps = seps.iter().map(Sep::as_ref);
    Change::To(Child::new(Node::Inner(Inner::build(seps, children))))
}

/// Two neighbours in one node, if that stays a quarter below the largest size.
fn join(left: &Child, sep: SepRef<'_>, right: &Child) -> Option<Child> {
    let fits = |sum: usize, max: usize| sum <= max - max / 4;
    let node = match (&*left.node, &*right.node) {
        (Node::Leaf(left), Node::Leaf(right)) => {
            let entries = left.entries.len() + right.entries.len();
            let key_bytes = left.keys.full_len() + right.keys.full_len();
            if !fits(entries, LEAF_ENTRIES_MAX) || !fits(key_bytes, LEAF_KEY_BYTES_MAX) {
                return None;
            }
            Node::Leaf(left.join(right))
        }
        (Node::Inner(left), Node::Inner(right)) => {
            let children = left.children.len() + right.children.len();
            if !fits(children - 1, INNER_CHILDREN_MAX) {
                return None;
            }
            // The children that become neighbours may fit together in turn.
            let (last, first) = (&left.children[left.children.len() - 1], &right.children[0]);
            let seam = join(last, sep, first);
            if seam.is_none() && !fits(children, INNER_CHILDREN_MAX) {
                return None;
            }
            Node::Inner(left.join(sep, right, seam))
        }
        _ => unreachable!("all leaves of the index are at one depth"),
    };
    Some(Child {
        sum: node.summary(),
        node: Arc::new(node),
    })
}
