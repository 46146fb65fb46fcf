//! Keys as the index holds them, and ranges of keys.

use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;

/// A key of a leaf: the leaf's common prefix and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRef<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) rest: &'a [u8],
}

impl<'a> KeyRef<'a> {
    pub(crate) fn of(key: &'a [u8]) -> Self {
        KeyRef {
            prefix: &[],
            rest: key,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.prefix.len() + self.rest.len()
    }

    fn byte(&self, at: usize) -> u8 {
        match at.checked_sub(self.prefix.len()) {
            None => self.prefix[at],
            Some(at) => self.rest[at],
        }
    }

    /// How many bytes both keys begin with.
    pub(crate) fn common_len(&self, other: &KeyRef<'_>) -> usize {
        let len = self.len().min(other.len());
        (0..len)
            .find(|&at| self.byte(at) != other.byte(at))
            .unwrap_or(len)
    }

    /// Appends the bytes `part` of the key.
    pub(crate) fn copy_part(&self, part: Range<usize>, out: &mut Vec<u8>) {
        let split = self.prefix.len();
        let (start, end) = (part.start, part.end);
        out.extend_from_slice(&self.prefix[start.min(split)..end.min(split)]);
        out.extend_from_slice(&self.rest[start.max(split) - split..end.max(split) - split]);
    }

    pub(crate) fn to_bytes(self) -> Bytes {
        let mut key = Vec::with_capacity(self.len());
        self.copy_part(0..self.len(), &mut key);
        Bytes::from(key)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.len());
        self.copy_part(0..self.len(), &mut key);
        key
    }

    pub(crate) fn cmp_bytes(&self, key: &[u8]) -> Ordering {
        let split = self.prefix.len().min(key.len());
        let (front, back) = key.split_at(split);
        self.prefix.cmp(front).then_with(|| self.rest.cmp(back))
    }
}

/// The keys that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyRange<'a> {
    /// One key.
    One(&'a [u8]),
    /// All keys from the first on and below the second, if there is one.
    From(&'a [u8], Option<&'a [u8]>),
}

impl<'a> KeyRange<'a> {
    /// By etcd's rules for `range_end`: empty is one key, a single zero byte "to the end".
    pub(crate) fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => KeyRange::One(key),
            [0] => KeyRange::From(key, None),
            _ => KeyRange::From(key, Some(range_end)),
        }
    }
}
