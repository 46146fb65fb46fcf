//! Walking the index in order.

use super::inner::SepRef;
use super::{Entry, Inner, KeyRange, KeyRef, Leaf, Node, Tree};
use std::ops::ControlFlow;
use tenet_store::Rev;

impl Tree {
    /// Gives `see` each key of the range that has an entry at or below main revision `at`, in
    /// order, with the newest such entry, tombstones included.
    pub(crate) fn visit<B>(
        &self,
        range: KeyRange<'_>,
        at: i64,
        mut see: impl FnMut(KeyRef<'_>, &Entry) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let (from, to) = match range {
            KeyRange::From(from, to) => (from, to),
            KeyRange::One(key) => {
                return match self.find(key, at) {
                    Some(entry) => see(KeyRef::of(key), &entry),
                    None => ControlFlow::Continue(()),
                };
            }
        };
        if to.is_some_and(|to| to <= from) {
            return ControlFlow::Continue(());
        }
        let mut walk = Walk {
            at,
            from: Some(from),
            to,
            found: false,
            see,
        };
        match walk.node(&self.root.node, None) {
            ControlFlow::Break(Stop::Seen(value)) => ControlFlow::Break(value),
            ControlFlow::Break(Stop::End) | ControlFlow::Continue(()) => ControlFlow::Continue(()),
        }
    }

    /// Gives `see` every entry at or behind a position, in order, with its key and whether it is
    /// the key's head.
    pub(crate) fn visit_entries<B>(
        &self,
        from: &Position,
        mut see: impl FnMut(KeyRef<'_>, &Entry, bool) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        entries(&self.root.node, Some((&from.key, from.rev)), &mut see)
    }
}

/// A place in the order of the index, for walks that go on later.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    key: Vec<u8>,
    rev: Rev,
}

impl Position {
    /// Before every entry.
    pub(crate) const START: Position = Position {
        key: Vec::new(),
        rev: Rev::MAX,
    };

    /// Before every entry of `key`.
    pub(crate) fn at_key(key: &[u8]) -> Self {
        Position {
            key: key.to_vec(),
            rev: Rev::MAX,
        }
    }

    /// Where `entry` of `key` is.
    pub(crate) fn of(key: KeyRef<'_>, entry: &Entry) -> Self {
        Position {
            key: key.to_vec(),
            rev: entry.rev(),
        }
    }
}

fn entries<B>(
    node: &Node,
    from: Option<(&[u8], Rev)>,
    see: &mut impl FnMut(KeyRef<'_>, &Entry, bool) -> ControlFlow<B>,
) -> ControlFlow<B> {
    match node {
        Node::Leaf(leaf) => {
            let start = from.map_or(0, |(key, rev)| leaf.lower_bound(key, rev));
            let mut before = leaf.key_number_before(start);
            for (at, entry) in leaf.entries.iter().enumerate().skip(start) {
                let head = before != Some(entry.key);
                before = Some(entry.key);
                see(leaf.key_of(at), entry, head)?;
            }
        }
        Node::Inner(inner) => {
            let start = from.map_or(0, |(key, rev)| inner.child_at(key, rev));
            for (at, child) in inner.children.iter().enumerate().skip(start) {
                entries(&child.node, from.filter(|_| at == start), see)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Why a walk ends before the end of the tree.
enum Stop<B> {
    /// The range ended.
    End,
    /// The visitor wants no more.
    Seen(B),
}

struct Walk<'a, F> {
    at: i64,
    /// Where the range begins; `None` once the walk is inside it.
    from: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    /// Whether the last key of the leaf before had an entry at or below `at`, so that its
    /// entries in the next leaf do not matter any more.
    found: bool,
    see: F,
}

impl<B, F: FnMut(KeyRef<'_>, &Entry) -> ControlFlow<B>> Walk<'_, F> {
    fn node(&mut self, node: &Node, upper: Option<SepRef<'_>>) -> ControlFlow<Stop<B>> {
        match node {
            Node::Leaf(leaf) => self.leaf(leaf),
            Node::Inner(inner) => self.inner(inner, upper),
        }
    }

    fn inner(&mut self, inner: &Inner, upper: Option<SepRef<'_>>) -> ControlFlow<Stop<B>> {
        let start = self.from.map_or(0, |from| inner.child_at(from, Rev::MAX));
        for (at, child) in inner.children.iter().enumerate().skip(start) {
            let child_upper = inner.upper(at, upper);
            if at > start {
                let lower = inner.seps.get(at - 1).expect("one before each child");
                if self.to.is_some_and(|to| lower.key >= to) {
                    return ControlFlow::Break(Stop::End);
                }
                if self.skips_history(lower, child_upper) {
                    continue;
                }
            }
            self.node(&child.node, child_upper)?;
        }
        ControlFlow::Continue(())
    }

    /// Whether a child between these separators holds older or newer entries only of one key,
    /// none of which is wanted: long histories are stepped over, not through.
    fn skips_history(&self, lower: SepRef<'_>, upper: Option<SepRef<'_>>) -> bool {
        upper.is_some_and(|upper| {
            lower.is_inside_key()
                && upper.is_inside_key()
                && lower.key == upper.key
                && (self.found || upper.rev.main > self.at)
        })
    }

    fn leaf(&mut self, leaf: &Leaf) -> ControlFlow<Stop<B>> {
        let first = match self.from.take() {
            Some(from) => leaf.keys.find(from).unwrap_or_else(|above| above),
            None => 0,
        };
        let end = match self.to {
            Some(to) => leaf.keys.find(to).unwrap_or_else(|above| above),
            None => leaf.keys.len(),
        };
        let entries = &leaf.entries[..];
        let mut pos = leaf.start_of(first);
        for key in first..end {
            let continued = key == 0 && leaf.continues;
            let mut found = continued && self.found;
            let wanted = !found;
            while pos < entries.len() && entries[pos].key as usize == key {
                let entry = &entries[pos];
                if !found && entry.main <= self.at {
                    found = true;
                    if wanted {
                        (self.see)(leaf.keys.get(key), entry).map_break(Stop::Seen)?;
                    }
                }
                pos += 1;
            }
            self.found = found;
        }
        if end < leaf.keys.len() {
            return ControlFlow::Break(Stop::End);
        }
        ControlFlow::Continue(())
    }
}
