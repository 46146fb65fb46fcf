//! Who wants to hear of which key.
//!
//! Single keys stand in an ordered map, ranges in an interval tree: an AVL tree over (start, end)
//! whose nodes know how far the intervals below them reach (Cormen et al., "Introduction to
//! Algorithms", section on interval trees). Interests in the same range share a node. So what a
//! change costs depends on who wants it, hardly on how many others there are.
//!
//! Invariants: the tree is balanced, and `reach` is the furthest end of a subtree. What an
//! interest stands for is not known here.

use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The keys that somebody wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// One key.
    Key(Bytes),
    /// All keys from the first on and below the second, if there is one.
    Range(Bytes, Option<Bytes>),
}

impl Interest {
    /// Whether `key` is one of them.
    #[must_use]
    pub fn covers(&self, key: &[u8]) -> bool {
        match self {
            Interest::Key(wanted) => wanted == key,
            Interest::Range(start, end) => {
                &start[..] <= key && end.as_ref().is_none_or(|end| key < &end[..])
            }
        }
    }
}

/// Interests by the keys that they cover. Each is a small value of the caller's.
#[derive(Debug)]
pub struct InterestIndex<T> {
    keys: BTreeMap<Bytes, Vec<T>>,
    ranges: Link<T>,
}

impl<T> Default for InterestIndex<T> {
    fn default() -> Self {
        InterestIndex {
            keys: BTreeMap::new(),
            ranges: None,
        }
    }
}

impl<T: Copy + PartialEq> InterestIndex<T> {
    /// Adds an interest.
    pub fn add(&mut self, interest: &Interest, value: T) {
        match interest {
            Interest::Key(key) => self.keys.entry(key.clone()).or_default().push(value),
            Interest::Range(start, end) => {
                let at = Span {
                    start: start.clone(),
                    end: End(end.clone()),
                };
                self.ranges = Some(insert(self.ranges.take(), at, value));
            }
        }
    }

    /// Removes an interest that was added.
    ///
    /// # Panics
    /// If it is not there: whoever added it would hear nothing, or hear on for ever.
    pub fn remove(&mut self, interest: &Interest, value: T) {
        let found = match interest {
            Interest::Key(key) => {
                let mut values = self.keys.remove(key).unwrap_or_default();
                let found = take(&mut values, value);
                if !values.is_empty() {
                    self.keys.insert(key.clone(), values);
                }
                found
            }
            Interest::Range(start, end) => {
                let at = Span {
                    start: start.clone(),
                    end: End(end.clone()),
                };
                let (ranges, found) = remove(self.ranges.take(), &at, value);
                self.ranges = ranges;
                found
            }
        };
        assert!(
            found,
            "an interest in {interest:?} was removed but is not there"
        );
    }

    /// Gives `see` every interest that covers `key`.
    pub fn each(&self, key: &[u8], mut see: impl FnMut(T)) {
        if let Some(values) = self.keys.get(key) {
            values.iter().copied().for_each(&mut see);
        }
        each(&self.ranges, key, &mut see);
    }
}

/// Takes one value out; whether it was there.
fn take<T: PartialEq>(values: &mut Vec<T>, value: T) -> bool {
    let at = values.iter().position(|there| *there == value);
    at.map(|at| values.swap_remove(at)).is_some()
}

/// The end of a range, exclusive; none is behind every key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End(Option<Bytes>);

impl End {
    fn is_behind(&self, key: &[u8]) -> bool {
        self.0.as_ref().is_none_or(|end| key < &end[..])
    }
}

impl Ord for End {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => one.cmp(other),
            (one, other) => one.is_none().cmp(&other.is_none()),
        }
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Bytes,
    end: End,
}

#[derive(Debug)]
struct Node<T> {
    span: Span,
    values: Vec<T>,
    /// The furthest end of this node and all below.
    reach: End,
    height: u8,
    left: Link<T>,
    right: Link<T>,
}

type Link<T> = Option<Box<Node<T>>>;

fn height<T>(link: &Link<T>) -> u8 {
    link.as_ref().map_or(0, |node| node.height)
}

impl<T> Node<T> {
    /// Works out what a node knows of its subtree.
    fn update(&mut self) {
        self.height = 1 + height(&self.left).max(height(&self.right));
        let below = [&self.left, &self.right].into_iter().flatten();
        let reach = below
            .map(|child| &child.reach)
            .chain([&self.span.end])
            .max();
        self.reach = reach.expect("at least the node's own").clone();
    }

    /// How much higher the left side is than the right.
    fn tilt(&self) -> i16 {
        i16::from(height(&self.left)) - i16::from(height(&self.right))
    }
}

fn rotate_right<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let mut top = node.left.take().expect("the higher side");
    node.left = top.right.take();
    node.update();
    top.right = Some(node);
    top.update();
    top
}

fn rotate_left<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    let mut top = node.right.take().expect("the higher side");
    node.right = top.left.take();
    node.update();
    top.left = Some(node);
    top.update();
    top
}

/// Restores balance and knowledge of a node, one of whose sides changed by one.
fn balance<T>(mut node: Box<Node<T>>) -> Box<Node<T>> {
    node.update();
    match node.tilt() {
        2.. => {
            let left = node.left.take().expect("the higher side");
            let left = if left.tilt() < 0 {
                rotate_left(left)
            } else {
                left
            };
            node.left = Some(left);
            rotate_right(node)
        }
        ..=-2 => {
            let right = node.right.take().expect("the higher side");
            let right = if right.tilt() > 0 {
                rotate_right(right)
            } else {
                right
            };
            node.right = Some(right);
            rotate_left(node)
        }
        _ => node,
    }
}

fn insert<T>(link: Link<T>, span: Span, value: T) -> Box<Node<T>> {
    let Some(mut node) = link else {
        return Box::new(Node {
            reach: span.end.clone(),
            span,
            values: vec![value],
            height: 1,
            left: None,
            right: None,
        });
    };
    match span.cmp(&node.span) {
        Ordering::Less => node.left = Some(insert(node.left.take(), span, value)),
        Ordering::Greater => node.right = Some(insert(node.right.take(), span, value)),
        Ordering::Equal => {
            node.values.push(value);
            return node;
        }
    }
    balance(node)
}

/// The tree without the value, and whether it was there.
fn remove<T: PartialEq>(link: Link<T>, span: &Span, value: T) -> (Link<T>, bool) {
    let Some(mut node) = link else {
        return (None, false);
    };
    let found;
    match span.cmp(&node.span) {
        Ordering::Less => (node.left, found) = remove(node.left.take(), span, value),
        Ordering::Greater => (node.right, found) = remove(node.right.take(), span, value),
        Ordering::Equal => {
            found = take(&mut node.values, value);
            if node.values.is_empty() {
                return (join(node.left.take(), node.right.take()), found);
            }
        }
    }
    (Some(balance(node)), found)
}

/// One tree of two whose heights differ by one at most, all of the first before the second.
fn join<T>(left: Link<T>, right: Link<T>) -> Link<T> {
    let Some(right) = right else {
        return left;
    };
    let (rest, mut first) = take_first(right);
    first.left = left;
    first.right = rest;
    Some(balance(first))
}

fn take_first<T>(mut node: Box<Node<T>>) -> (Link<T>, Box<Node<T>>) {
    match node.left.take() {
        None => (node.right.take(), node),
        Some(left) => {
            let (rest, first) = take_first(left);
            node.left = rest;
            (Some(balance(node)), first)
        }
    }
}

fn each<T: Copy>(link: &Link<T>, key: &[u8], see: &mut impl FnMut(T)) {
    let Some(node) = link else { return };
    if !node.reach.is_behind(key) {
        return;
    }
    each(&node.left, key, see);
    if &node.span.start[..] <= key {
        if node.span.end.is_behind(key) {
            node.values.iter().copied().for_each(&mut *see);
        }
        each(&node.right, key, see);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(link: &Link<u32>) -> (u8, Option<End>) {
        let Some(node) = link else { return (0, None) };
        let ((left, left_reach), (right, right_reach)) = (check(&node.left), check(&node.right));
        assert!(
            left.abs_diff(right) <= 1,
            "out of balance: {left} and {right}"
        );
        assert_eq!(node.height, 1 + left.max(right));
        assert!(!node.values.is_empty());
        let reach = left_reach.max(right_reach).max(Some(node.span.end.clone()));
        assert_eq!(Some(&node.reach), reach.as_ref());
        for (child, order) in [
            (&node.left, Ordering::Less),
            (&node.right, Ordering::Greater),
        ] {
            let Some(child) = child else { continue };
            assert_eq!(child.span.cmp(&node.span), order);
        }
        (node.height, reach)
    }

    fn any_key() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(b'a'..b'e', 1..4).prop_map(Bytes::from)
    }

    fn any_interest() -> impl Strategy<Value = Interest> {
        prop_oneof![
            any_key().prop_map(Interest::Key),
            (any_key(), proptest::option::of(any_key()))
                .prop_map(|(start, end)| Interest::Range(start, end)),
        ]
    }

    proptest! {
        #[test]
        fn it_finds_what_a_list_finds(
            interests in proptest::collection::vec(any_interest(), 1..80),
            gone in proptest::collection::vec(any::<proptest::sample::Index>(), 0..80),
            keys in proptest::collection::vec(any_key(), 20),
        ) {
            let mut index = InterestIndex::default();
            let mut list = Vec::new();
            for (number, interest) in (0u32..).zip(&interests) {
                index.add(interest, number);
                check(&index.ranges);
                list.push((number, interest.clone()));
            }
            for gone in gone {
                if list.is_empty() { break; }
                let (number, interest) = list.swap_remove(gone.index(list.len()));
                index.remove(&interest, number);
                check(&index.ranges);
            }
            for key in keys {
                let mut found = Vec::new();
                index.each(&key, |number| found.push(number));
                found.sort_unstable();
                let mut wanted: Vec<u32> = list
                    .iter()
                    .filter(|(_, interest)| interest.covers(&key))
                    .map(|(number, _)| *number)
                    .collect();
                wanted.sort_unstable();
                prop_assert_eq!(found, wanted);
            }
            for (number, interest) in list.drain(..) {
                index.remove(&interest, number);
            }
            prop_assert!(index.keys.is_empty() && index.ranges.is_none());
        }
    }

    #[test]
    #[should_panic(expected = "is not there")]
    fn what_was_not_added_cannot_be_removed() {
        let mut index = InterestIndex::default();
        index.add(&Interest::Key(Bytes::from("a")), 1u32);
        index.remove(&Interest::Key(Bytes::from("a")), 2);
    }
}
