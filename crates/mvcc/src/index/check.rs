//! Verifies every invariant of an index, for tests.

use super::inner::SepRef;
use super::{Child, INNER_CHILDREN_MAX, LEAF_ENTRIES_MAX, Leaf, Node, Summary, Tree};
use tenet_store::Rev;

/// What a verified index is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) depth: usize,
    pub(crate) leaves: usize,
    pub(crate) inners: usize,
}

/// Verifies the whole index.
///
/// # Panics
/// If anything is not as it should be.
pub(crate) fn check(tree: &Tree) -> Shape {
    let mut check = Check::default();
    let depth = check.child(&tree.root, None, None, true);
    Shape {
        depth,
        ..check.shape
    }
}

#[derive(Default)]
struct Check {
    shape: Shape,
    /// The last entry so far.
    last: Option<(Vec<u8>, Rev)>,
}

impl Check {
    fn child(
        &mut self,
        child: &Child,
        lower: Option<SepRef<'_>>,
        upper: Option<SepRef<'_>>,
        root: bool,
    ) -> usize {
        let depth = match &*child.node {
            Node::Leaf(leaf) => {
                self.shape.leaves += 1;
                assert!(root || !leaf.entries.is_empty(), "an empty leaf");
                self.leaf(leaf, lower, upper);
                1
            }
            Node::Inner(inner) => {
                self.shape.inners += 1;
                assert!(inner.children.len() <= INNER_CHILDREN_MAX);
                assert!(
                    inner.children.len() > usize::from(root),
                    "a root with one child"
                );
                assert_eq!(inner.seps.len() + 1, inner.children.len());
                let mut depths = Vec::new();
                for (at, child) in inner.children.iter().enumerate() {
                    let lower = at.checked_sub(1).map_or(lower, |at| inner.seps.get(at));
                    depths.push(self.child(child, lower, inner.upper(at, upper), false));
                }
                depths.dedup();
                assert_eq!(depths.len(), 1, "leaves at different depths");
                depths[0] + 1
            }
        };
        assert_eq!(child.sum, child.node.summary(), "a wrong summary");
        depth
    }

    fn leaf(&mut self, leaf: &Leaf, lower: Option<SepRef<'_>>, upper: Option<SepRef<'_>>) {
        assert!(leaf.entries.len() <= LEAF_ENTRIES_MAX);
        let used: Vec<u16> = leaf.entries.iter().map(|entry| entry.key).collect();
        assert!(used.is_sorted(), "keys out of order");
        let mut distinct = used.clone();
        distinct.dedup();
        assert_eq!(distinct.len(), leaf.keys.len(), "a key without entry");
        let continues = match (&self.last, leaf.entries.first()) {
            (Some((last, _)), Some(_)) => leaf.key_of(0).cmp_bytes(last).is_eq(),
            _ => false,
        };
        assert_eq!(
            leaf.continues, continues,
            "a leaf is wrong about its first key"
        );
        for (at, entry) in leaf.entries.iter().enumerate() {
            let key = leaf.key_of(at).to_vec();
            assert!(entry.main > 1 && (entry.tombstone || entry.create <= entry.main));
            assert_eq!(entry.tombstone, entry.version == 0);
            if let Some((last, rev)) = &self.last {
                let ordered = *last < key || (*last == key && *rev > entry.rev());
                assert!(ordered, "{last:?} {rev} before {key:?} {}", entry.rev());
            }
            let above = lower.is_none_or(|lower| is_before(lower, &key, entry.rev()));
            let below = upper.is_none_or(|upper| !is_before(upper, &key, entry.rev()));
            assert!(
                above && below,
                "{key:?} {} outside its separators",
                entry.rev()
            );
            self.last = Some((key, entry.rev()));
        }
    }
}

fn is_before(sep: SepRef<'_>, key: &[u8], rev: Rev) -> bool {
    sep.key < key || (sep.key == key && sep.rev >= rev)
}

/// The counted summary of a plain list of entries in order, for comparison.
pub(crate) fn totals(tree: &Tree) -> (u64, u64, i64) {
    let Summary {
        entries,
        live,
        turned,
    } = tree.root.sum;
    (entries, live, turned)
}
