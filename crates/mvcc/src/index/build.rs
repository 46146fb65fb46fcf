//! Building an index from entries in order, for restoring.

use super::inner::Sep;
use super::{
    Child, Entry, INNER_CHILDREN_MAX, Inner, KeyRef, LEAF_ENTRIES_MAX, LEAF_KEY_BYTES_MAX, Leaf,
    Node, Tree,
};

/// How full nodes are built: some room is left, or the first writes would split them all.
const fn filled(max: usize) -> usize {
    max - max / 8
}

/// Takes entries in order of (key ascending, revision descending).
#[derive(Debug, Default)]
pub(crate) struct Builder {
    keys: Vec<Vec<u8>>,
    key_bytes: usize,
    entries: Vec<Entry>,
    continues: bool,
    /// Finished leaves, each with the separator before it.
    leaves: Vec<(Option<Sep>, Child)>,
    /// The separator before the leaf in the making.
    sep: Option<Sep>,
}

impl Builder {
    /// Adds the next entry.
    pub(crate) fn push(&mut self, key: &[u8], entry: Entry) {
        let same = self.keys.last().is_some_and(|last| last == key);
        let full = self.entries.len() >= filled(LEAF_ENTRIES_MAX)
            || self.key_bytes + key.len() > LEAF_KEY_BYTES_MAX;
        let overfull = self.entries.len() >= LEAF_ENTRIES_MAX;
        if !self.entries.is_empty() && ((full && !same) || overfull) {
            let last = self.keys.pop().unwrap_or_default();
            let sep = Sep::between(KeyRef::of(&last), KeyRef::of(key), entry.rev());
            self.keys.push(last);
            self.end_leaf();
            self.sep = Some(sep);
            self.continues = same;
        }
        if !same || self.keys.is_empty() {
            self.keys.push(key.to_vec());
            self.key_bytes += key.len();
        }
        self.entries.push(Entry {
            key: (self.keys.len() - 1) as u16,
            ..entry
        });
    }

    fn end_leaf(&mut self) {
        let keys: Vec<KeyRef<'_>> = self.keys.iter().map(|key| KeyRef::of(key)).collect();
        let leaf = Leaf::pack(&keys, &self.entries, self.continues);
        self.leaves
            .push((self.sep.take(), Child::new(Node::Leaf(leaf))));
        self.keys.clear();
        self.key_bytes = 0;
        self.entries.clear();
    }

    /// The index of all that was added.
    pub(crate) fn finish(mut self) -> Tree {
        if self.entries.is_empty() {
            return Tree::default();
        }
        self.end_leaf();
        let mut level = self.leaves;
        while level.len() > 1 {
            level = parents(level);
        }
        let (_, root) = level.pop().expect("one is left");
        Tree { root }
    }
}

/// The inner nodes above a level, each with the separator before it.
fn parents(level: Vec<(Option<Sep>, Child)>) -> Vec<(Option<Sep>, Child)> {
    let mut above = Vec::with_capacity(level.len() / filled(INNER_CHILDREN_MAX) + 1);
    let mut rest = level.into_iter().peekable();
    while rest.peek().is_some() {
        let mut group: Vec<(Option<Sep>, Child)> =
            rest.by_ref().take(filled(INNER_CHILDREN_MAX)).collect();
        let before = group[0].0.take();
        let (seps, children): (Vec<Option<Sep>>, Vec<Child>) = group.into_iter().unzip();
        let seps = seps.iter().flatten().map(Sep::as_ref);
        above.push((
            before,
            Child::new(Node::Inner(Inner::build(seps, children))),
        ));
    }
    above
}
