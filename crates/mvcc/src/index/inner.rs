//! The inner nodes of the index.
//!
//! Between two children stands a separator: a position (key, revision) that is above everything
//! on its left and not above anything on its right. A separator at a border between keys is cut
//! to the shortest bytes that tell them apart, at [`Rev::MAX`], which comes before every revision
//! of a key. One inside the history of a key holds the whole key and a revision. Separators are
//! shared between the versions of a node as long as no child comes or goes.

use super::{Child, INNER_CHILDREN_MAX, KeyRef, Node, Summary};
use std::sync::Arc;
use tenet_store::Rev;

/// A separator taken apart from its node.
#[derive(Clone, Debug)]
pub(super) struct Sep {
    pub(super) key: Vec<u8>,
    pub(super) rev: Rev,
}

/// A separator in its node.
#[derive(Clone, Copy, Debug)]
pub(super) struct SepRef<'a> {
    pub(super) key: &'a [u8],
    pub(super) rev: Rev,
}

impl SepRef<'_> {
    /// Whether the position (`key`, `rev`) lies at or behind this separator.
    pub(super) fn is_at_or_before(&self, key: &[u8], rev: Rev) -> bool {
        self.key.cmp(key).then_with(|| rev.cmp(&self.rev)).is_le()
    }

    pub(super) fn to_sep(self) -> Sep {
        Sep {
            key: self.key.to_vec(),
            rev: self.rev,
        }
    }

    /// Whether this separator stands inside the history of one key.
    pub(super) fn is_inside_key(&self) -> bool {
        self.rev != Rev::MAX
    }
}

impl Sep {
    pub(super) fn as_ref(&self) -> SepRef<'_> {
        SepRef {
            key: &self.key,
            rev: self.rev,
        }
    }

    /// The separator between a leaf that ends with `left` and one that begins with `right`.
    pub(super) fn between(left: KeyRef<'_>, right: KeyRef<'_>, right_rev: Rev) -> Sep {
        let common = left.common_len(&right);
        let (len, rev) = if common == right.len() {
            (common, right_rev)
        } else {
            (common + 1, Rev::MAX)
        };
        let mut key = Vec::with_capacity(len);
        right.copy_part(0..len, &mut key);
        Sep { key, rev }
    }
}

/// The separators of a node, one fewer than it has children.
///
/// A search compares the first eight bytes behind what all have in common as numbers, which lie
/// close together, and looks at whole separators only where those are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Seps {
    heads: Vec<u64>,
    bytes: Vec<u8>,
    items: Vec<(u32, Rev)>,
    /// Bytes that all separators begin with.
    common: usize,
}

/// The first eight bytes as a number that orders as they do; what is missing counts as zero.
fn head(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut head = [0; 8];
    head[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(head)
}

impl Seps {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<SepRef<'_>> {
        let (end, rev) = *self.items.get(at)?;
        let start = if at == 0 { 0 } else { self.items[at - 1].0 };
        Some(SepRef {
            key: &self.bytes[start as usize..end as usize],
            rev,
        })
    }

    fn iter(&self) -> impl Iterator<Item = SepRef<'_>> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(super) fn build<'a>(seps: impl Iterator<Item = SepRef<'a>> + Clone) -> Seps {
        let bytes = seps.clone().map(|sep| sep.key.len()).sum();
        let count = seps.clone().count();
        let mut built = Seps {
            heads: Vec::with_capacity(count),
            bytes: Vec::with_capacity(bytes),
            items: Vec::with_capacity(count),
            common: 0,
        };
        if let (Some(first), Some(last)) = (seps.clone().next(), seps.clone().last()) {
            built.common = KeyRef::of(first.key).common_len(&KeyRef::of(last.key));
        }
        for sep in seps {
            built.heads.push(head(&sep.key[built.common..]));
            built.bytes.extend_from_slice(sep.key);
            let end = u32::try_from(built.bytes.len()).expect("separators fit in 4 GB");
            built.items.push((end, sep.rev));
        }
        built
    }

    /// The number of separators at or before the position.
    fn rank(&self, key: &[u8], rev: Rev) -> usize {
        let common = &self.bytes[..self.common];
        let Some(rest) = key.strip_prefix(common) else {
            return if key < common { 0 } else { self.len() };
        };
        let wanted = head(rest);
        let mut low = self.heads.partition_point(|&head| head < wanted);
        let same = self.heads[low..].partition_point(|&head| head == wanted);
        let mut high = low + same;
        while low < high {
            let middle = usize::midpoint(low, high);
            let sep = self.get(middle).expect("in range");
            if sep.is_at_or_before(key, rev) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// An inner node.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) seps: Arc<Seps>,
    pub(super) children: Vec<Child>,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Inner {
            seps: Arc::clone(&self.seps),
            children: self.children.clone(),
        }
    }
}

impl Inner {
    /// A node of children and the separators between them.
    pub(super) fn build<'a>(
        seps: impl Iterator<Item = SepRef<'a>> + Clone,
        children: Vec<Child>,
    ) -> Inner {
        let seps = Arc::new(Seps::build(seps));
        assert!(
            seps.len() + 1 == children.len(),
            "an index node of {} children got {} separators",
            children.len(),
            seps.len()
        );
        Inner { seps, children }
    }

    /// The number of the child that holds the position.
    pub(super) fn child_at(&self, key: &[u8], rev: Rev) -> usize {
        self.seps.rank(key, rev)
    }

    /// The separator behind child `at`, or that behind the whole node.
    pub(super) fn upper<'a>(&'a self, at: usize, upper: Option<SepRef<'a>>) -> Option<SepRef<'a>> {
        self.seps.get(at).or(upper)
    }

    /// Puts a child behind child `at`.
    pub(super) fn insert(&mut self, at: usize, sep: &Sep, child: Child) {
        let before = (0..at).filter_map(|at| self.seps.get(at));
        let after = (at..self.seps.len()).filter_map(|at| self.seps.get(at));
        let all = before.chain(std::iter::once(sep.as_ref())).chain(after);
        self.seps = Arc::new(Seps::build(all));
        self.children.reserve_exact(1);
        self.children.insert(at + 1, child);
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.children.len() > INNER_CHILDREN_MAX
    }

    /// Splits off the right part; at the end if the last child is the new one, for keys that
    /// arrive in order.
    pub(super) fn split(&mut self, new: usize) -> (Sep, Inner) {
        let len = self.children.len();
        let at = if new == len - 1 { len - 1 } else { len / 2 };
        let right = self.children.split_off(at);
        self.children.shrink_to_fit();
        let seps = std::mem::take(&mut self.seps);
        let sep = |at: usize| seps.get(at).expect("in range");
        self.seps = Arc::new(Seps::build((0..at - 1).map(sep)));
        let right = Inner::build((at..len - 1).map(sep), right);
        (sep(at - 1).to_sep(), right)
    }

    /// This node and its right neighbour in one. `seam`, if given, stands for the last child of
    /// this one and the first of the other.
    pub(super) fn join(&self, sep: SepRef<'_>, next: &Inner, seam: Option<Child>) -> Inner {
        let cut = usize::from(seam.is_some());
        let left = &self.children[..self.children.len() - cut];
        let right = &next.children[cut..];
        let mut children = Vec::with_capacity(left.len() + cut + right.len());
        children.extend_from_slice(left);
        children.extend(seam);
        children.extend_from_slice(right);
        let between = (cut == 0).then_some(sep);
        let seps = self.seps.iter().chain(between).chain(next.seps.iter());
        Inner::build(seps.collect::<Vec<_>>().into_iter(), children)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.children.capacity() * size_of::<Child>()
            + size_of::<Seps>()
            + self.seps.heads.capacity() * size_of::<u64>()
            + self.seps.bytes.capacity()
            + self.seps.items.capacity() * size_of::<(u32, Rev)>()
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        for child in &self.children {
            sum.add(&child.sum);
        }
        sum
    }

    /// The first leaf below.
    pub(super) fn first_leaf(&self) -> &super::Leaf {
        match &*self.children[0].node {
            Node::Leaf(leaf) => leaf,
            Node::Inner(inner) => inner.first_leaf(),
        }
    }

    /// The last leaf below.
    pub(super) fn last_leaf(&self) -> &super::Leaf {
        match &*self.children[self.children.len() - 1].node {
            Node::Leaf(leaf) => leaf,
            Node::Inner(inner) => inner.last_leaf(),
        }
    }
}
