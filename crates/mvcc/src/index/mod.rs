//! The ordered index: which revisions each key has.
//!
//! A path-copying B+tree over (key ascending, revision descending), one entry per revision of a
//! key. Nodes are immutable once another tree shares them: [`Tree::clone`] costs nothing and the
//! clone never changes, while the writer copies each node that it touches once and edits it in
//! place until the next clone. Readers therefore hold a clone and never wait.
//!
//! Every node's parent knows, for the whole subtree, how many entries it has, how many keys are
//! alive, and the newest revision at which a key in it came to life or died. So the live keys of
//! a range are counted in logarithmic time, also at an old revision wherever nothing was created
//! or deleted since; overwriting does not matter.
//!
//! Invariants ([`check`] verifies them all): entries are strictly ordered; the older entries of a
//! key go before its newer ones do, so a leaf that continues a key's history is always preceded
//! by one that ends with it; the head of a key is in the leaf where a newer entry would go.
//!
//! The index knows no values and gives out revisions only.

mod build;
#[cfg(test)]
pub(crate) mod check;
mod count;
mod inner;
mod key;
mod leaf;
mod prune;
mod stats;
#[cfg(test)]
mod tests;
mod visit;

pub(crate) use build::Builder;
use inner::{Inner, Sep};
pub(crate) use key::{KeyRange, KeyRef};
use leaf::Leaf;
pub(crate) use prune::PruneAt;
pub use stats::IndexStats;
use std::sync::Arc;
use tenet_store::Rev;
pub(crate) use visit::Position;

/// Entries of a leaf. Larger leaves cost more to copy, smaller ones more to find. Unit tests use
/// small nodes, so that small histories make deep trees; integration tests use these.
const LEAF_ENTRIES_MAX: usize = if cfg!(test) { 8 } else { 64 };
/// Bytes of keys at which a leaf with several entries is split.
const LEAF_KEY_BYTES_MAX: usize = if cfg!(test) { 256 } else { 8 * 1024 };
/// Children of an inner node. Copying one touches the counter of each child.
const INNER_CHILDREN_MAX: usize = if cfg!(test) { 5 } else { 16 };

/// One revision of a key. A tombstone has no create revision and no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) main: i64,
    pub(crate) create: i64,
    pub(crate) version: i64,
    pub(crate) sub: u32,
    /// The number of the key in the leaf.
    key: u16,
    pub(crate) tombstone: bool,
}

impl Entry {
    /// An entry apart from any leaf.
    pub(crate) const fn new(rev: Rev, create: i64, version: i64, tombstone: bool) -> Self {
        Entry {
            main: rev.main,
            create,
            version,
            sub: rev.sub,
            key: 0,
            tombstone,
        }
    }

    pub(crate) const fn rev(&self) -> Rev {
        Rev::new(self.main, self.sub)
    }
}

/// What a parent knows of a subtree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Summary {
    /// All entries.
    entries: u64,
    /// Keys whose head is here and no tombstone.
    live: u64,
    /// The newest revision at which a key came to life or died, as far as entries here tell.
    turned: i64,
}

impl Summary {
    fn add_entry(&mut self, entry: &Entry, head: bool) {
        self.entries += 1;
        self.live += u64::from(head && !entry.tombstone);
        let turned = if entry.tombstone {
            entry.main
        } else {
            entry.create
        };
        self.turned = self.turned.max(turned);
    }

    fn add(&mut self, other: &Summary) {
        self.entries += other.entries;
        self.live += other.live;
        self.turned = self.turned.max(other.turned);
    }
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Leaf),
    Inner(Inner),
}

impl Node {
    fn summary(&self) -> Summary {
        match self {
            Node::Leaf(leaf) => leaf.summary(),
            Node::Inner(inner) => inner.summary(),
        }
    }
}

/// A subtree as its parent holds it.
#[derive(Clone, Debug)]
struct Child {
    node: Arc<Node>,
    sum: Summary,
}

impl Child {
    fn new(node: Node) -> Self {
        Child {
            sum: node.summary(),
            node: Arc::new(node),
        }
    }
}

/// The index.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: Child,
}

impl Default for Tree {
    fn default() -> Self {
        Tree {
            root: Child::new(Node::Leaf(Leaf::new())),
        }
    }
}

/// What [`Tree::write`] did.
struct Written {
    entry: Entry,
    split: Option<(Sep, Child)>,
}

impl Tree {
    /// Live keys.
    pub(crate) fn live(&self) -> u64 {
        self.root.sum.live
    }

    /// All entries.
    pub(crate) fn entries(&self) -> u64 {
        self.root.sum.entries
    }

    /// The newest entry of `key` at or below main revision `at`, tombstones included.
    pub(crate) fn find(&self, key: &[u8], at: i64) -> Option<Entry> {
        let wanted = Rev::new(at, u32::MAX);
        let mut node = &*self.root.node;
        // If nothing is left in the leaf where the position is, the entry may begin the next one.
        let mut next: Option<&Node> = None;
        let leaf = loop {
            match node {
                Node::Leaf(leaf) => break leaf,
                Node::Inner(inner) => {
                    let child = inner.child_at(key, wanted);
                    if let Some(right) = inner.children.get(child + 1) {
                        next = Some(&right.node);
                    }
                    node = &inner.children[child].node;
                }
            }
        };
        let here = leaf.lower_bound(key, wanted);
        let (leaf, at) = if here < leaf.entries.len() {
            (leaf, here)
        } else {
            let leaf = match next? {
                Node::Leaf(leaf) => leaf,
                Node::Inner(inner) => inner.first_leaf(),
            };
            (leaf, 0)
        };
        let entry = leaf.entries[at];
        (leaf.key_of(at).cmp_bytes(key).is_eq()).then_some(entry)
    }

    /// The newest entry of `key` if it is alive.
    pub(crate) fn head(&self, key: &[u8]) -> Option<Entry> {
        self.find(key, i64::MAX).filter(|entry| !entry.tombstone)
    }

    /// Writes `key` at `rev`, which must be above all revisions in the tree, and returns its new
    /// entry.
    pub(crate) fn put(&mut self, key: &[u8], rev: Rev) -> Entry {
        self.write(key, rev, |head| match head {
            Some(head) if !head.tombstone => Entry::new(rev, head.create, head.version + 1, false),
            _ => Entry::new(rev, rev.main, 1, false),
        })
    }

    /// Writes a tombstone for `key`, which must be alive.
    pub(crate) fn delete(&mut self, key: &[u8], rev: Rev) {
        self.write(key, rev, |head| {
            assert!(
                head.is_some_and(|head| !head.tombstone),
                "tombstone at {rev} for a key that is not alive"
            );
            Entry::new(rev, 0, 0, true)
        });
    }

    /// Writes an entry of `key` that was judged elsewhere, above all revisions in the tree.
    pub(crate) fn set(&mut self, key: &[u8], rev: Rev, entry: Entry) {
        self.write(key, rev, |_| entry);
    }

    fn write(&mut self, key: &[u8], rev: Rev, make: impl FnOnce(Option<&Entry>) -> Entry) -> Entry {
        let written = write(&mut self.root, key, rev, make);
        if let Some((sep, right)) = written.split {
            let left = std::mem::replace(&mut self.root, right.clone());
            let seps = std::iter::once(sep.as_ref());
            self.root = Child::new(Node::Inner(Inner::build(seps, vec![left, right])));
        }
        written.entry
    }
}

/// Puts a new head of `key` into the subtree.
fn write(
    child: &mut Child,
    key: &[u8],
    rev: Rev,
    make: impl FnOnce(Option<&Entry>) -> Entry,
) -> Written {
    match Arc::make_mut(&mut child.node) {
        Node::Leaf(leaf) => {
            let (mut entry, mut was_live) = (None, false);
            leaf.insert(key, |head| {
                was_live = head.is_some_and(|head| !head.tombstone);
                *entry.insert(make(head))
            });
            let entry = entry.expect("made above");
            if leaf.is_too_large() {
                let right = leaf.split(key);
                let left_end = leaf.key_of(leaf.entries.len() - 1);
                let sep = Sep::between(left_end, right.key_of(0), right.entries[0].rev());
                let split = Some((sep, Child::new(Node::Leaf(right))));
                child.sum = leaf.summary();
                return Written { entry, split };
            }
            child.sum.live -= u64::from(was_live);
            child.sum.add_entry(&entry, true);
            Written { entry, split: None }
        }
        Node::Inner(inner) => {
            let at = inner.child_at(key, rev);
            let before = inner.children[at].sum;
            let Written { entry, split } = write(&mut inner.children[at], key, rev, make);
            let Some((sep, right)) = split else {
                let after = inner.children[at].sum;
                child.sum.entries += after.entries - before.entries;
                child.sum.live = child.sum.live + after.live - before.live;
                child.sum.turned = child.sum.turned.max(after.turned);
                return Written { entry, split: None };
            };
            inner.insert(at, &sep, right);
            let split = inner.is_too_large().then(|| {
                let (sep, right) = inner.split(at + 1);
                (sep, Child::new(Node::Inner(right)))
            });
            child.sum = inner.summary();
            Written { entry, split }
        }
    }
}
