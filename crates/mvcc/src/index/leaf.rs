//! The leaves of the index.
//!
//! A leaf holds entries in order of (key ascending, revision descending). Its keys stand apart,
//! each once however many revisions it has, with their common prefix taken out; they are shared
//! between the versions of a leaf as long as no key comes or goes, so overwriting a key copies
//! only fixed fields.

use super::{Entry, KeyRef, LEAF_ENTRIES_MAX, LEAF_KEY_BYTES_MAX, Summary};
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;
use tenet_store::Rev;

/// Room that a full vector grows by: leaves live long, so slack is kept small.
const GROWTH: usize = 8;

/// The distinct keys of a leaf, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// The common prefix, then the rest of each key.
    bytes: Vec<u8>,
    /// Where the rest of each key ends in `bytes`.
    ends: Vec<u32>,
    prefix: u32,
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix as usize]
    }

    fn span(&self, at: usize) -> Range<usize> {
        let start = if at == 0 {
            self.prefix
        } else {
            self.ends[at - 1]
        };
        start as usize..self.ends[at] as usize
    }

    fn rest(&self, at: usize) -> &[u8] {
        &self.bytes[self.span(at)]
    }

    pub(super) fn get(&self, at: usize) -> KeyRef<'_> {
        KeyRef {
            prefix: self.prefix(),
            rest: self.rest(at),
        }
    }

    /// Bytes of all keys if each were written out: what a join may come to, whatever prefix its
    /// keys have in common.
    pub(super) fn full_len(&self) -> usize {
        self.bytes.len() + self.len().saturating_sub(1) * self.prefix as usize
    }

    /// Bytes of all keys as they are held.
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of `key`, or that of the first key above it.
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = self.prefix();
        let Some(rest) = key.strip_prefix(prefix) else {
            // Not under the prefix: before all keys or behind them.
            return Err(if key < prefix { 0 } else { self.len() });
        };
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.rest(middle).cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Keys in exactly the room they need.
    fn build<'a>(keys: impl Iterator<Item = KeyRef<'a>> + Clone) -> Keys {
        let mut ends = keys.clone();
        let Some(first) = ends.next() else {
            return Keys::default();
        };
        let last = ends.last().unwrap_or(first);
        let prefix = first.common_len(&last);
        let (mut count, mut bytes) = (0, prefix);
        for key in keys.clone() {
            count += 1;
            bytes += key.len() - prefix;
        }
        let mut built = Keys {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(count),
            prefix: prefix as u32,
        };
        first.copy_part(0..prefix, &mut built.bytes);
        for key in keys {
            key.copy_part(prefix..key.len(), &mut built.bytes);
            built.push_end();
        }
        built
    }

    fn push_end(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a leaf's keys fit in 4 GB");
        self.ends.push(end);
    }

    /// Adds `key`, which is not there, as number `at`.
    fn insert(self: &mut Arc<Self>, at: usize, key: &[u8]) {
        let Some(rest) = key.strip_prefix(self.prefix()) else {
            let before = (0..at).map(|number| self.get(number));
            let after = (at..self.len()).map(|number| self.get(number));
            let all = before.chain(std::iter::once(KeyRef::of(key))).chain(after);
            *self = Arc::new(Keys::build(all));
            return;
        };
        match Arc::get_mut(self) {
            Some(keys) => keys.insert_here(at, rest),
            None => *self = Arc::new(self.with(at, rest)),
        }
    }

    /// Adds a key under the prefix in place.
    fn insert_here(&mut self, at: usize, rest: &[u8]) {
        let start = self.bytes_start(at);
        if self.bytes.capacity() - self.bytes.len() < rest.len() {
            self.bytes.reserve_exact(rest.len() * GROWTH);
        }
        if self.ends.len() == self.ends.capacity() {
            self.ends.reserve_exact(GROWTH);
        }
        self.bytes.extend_from_slice(rest);
        self.bytes[start..].rotate_right(rest.len());
        self.ends.insert(at, start as u32);
        for end in &mut self.ends[at..] {
            *end += rest.len() as u32;
        }
    }

    /// A copy with a key under the prefix added, in exactly the room it needs.
    fn with(&self, at: usize, rest: &[u8]) -> Keys {
        let start = self.bytes_start(at);
        let mut bytes = Vec::with_capacity(self.bytes.len() + rest.len());
        bytes.extend_from_slice(&self.bytes[..start]);
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(&self.bytes[start..]);
        let mut ends = Vec::with_capacity(self.ends.len() + 1);
        ends.extend_from_slice(&self.ends[..at]);
        ends.push((start + rest.len()) as u32);
        ends.extend(self.ends[at..].iter().map(|end| end + rest.len() as u32));
        Keys {
            bytes,
            ends,
            prefix: self.prefix,
        }
    }

    fn bytes_start(&self, at: usize) -> usize {
        if at == 0 {
            self.prefix as usize
        } else {
            self.ends[at - 1] as usize
        }
    }
}

/// A leaf.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) keys: Arc<Keys>,
    pub(super) entries: Vec<Entry>,
    /// Whether the first key's newer entries end the leaf before, so that none here is its head.
    pub(super) continues: bool,
}

impl Clone for Leaf {
    /// A copy with room for one entry more: leaves are copied in order to be written.
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + 1);
        entries.extend_from_slice(&self.entries);
        Leaf {
            keys: Arc::clone(&self.keys),
            entries,
            continues: self.continues,
        }
    }
}

impl Leaf {
    pub(super) fn new() -> Self {
        Leaf {
            keys: Arc::new(Keys::default()),
            entries: Vec::new(),
            continues: false,
        }
    }

    /// A leaf of `entries`, whose keys' numbers refer to `keys`; keys without an entry are left
    /// out. Takes exactly the room it needs.
    pub(super) fn pack(keys: &[KeyRef<'_>], entries: &[Entry], continues: bool) -> Self {
        let mut packed: Vec<Entry> = Vec::with_capacity(entries.len());
        let mut used: Vec<KeyRef<'_>> = Vec::with_capacity(keys.len());
        let mut last = None;
        for entry in entries {
            if last != Some(entry.key) {
                last = Some(entry.key);
                used.push(keys[entry.key as usize]);
            }
            packed.push(Entry {
                key: (used.len() - 1) as u16,
                ..*entry
            });
        }
        Leaf {
            keys: Arc::new(Keys::build(used.into_iter())),
            entries: packed,
            continues,
        }
    }

    pub(super) fn key_of(&self, at: usize) -> KeyRef<'_> {
        self.keys.get(self.entries[at].key as usize)
    }

    /// The number of the key whose entry comes before entry `at`, possibly in the leaf before.
    pub(super) fn key_number_before(&self, at: usize) -> Option<u16> {
        match at.checked_sub(1) {
            Some(before) => Some(self.entries[before].key),
            None => self.continues.then_some(0),
        }
    }

    /// Where the entries of key number `key` begin, or would.
    pub(super) fn start_of(&self, key: usize) -> usize {
        self.entries
            .partition_point(|entry| (entry.key as usize) < key)
    }

    /// The first entry at or after (`key`, `rev`).
    pub(super) fn lower_bound(&self, key: &[u8], rev: Rev) -> usize {
        match self.keys.find(key) {
            Err(above) => self.start_of(above),
            Ok(number) => self.entries.partition_point(|entry| {
                let own = entry.key as usize;
                own < number || (own == number && entry.rev() > rev)
            }),
        }
    }

    /// Puts an entry in front of the older ones of its key. `make` gets the head before.
    pub(super) fn insert(&mut self, key: &[u8], make: impl FnOnce(Option<&Entry>) -> Entry) {
        let number = match self.keys.find(key) {
            Ok(number) => number,
            Err(number) => {
                self.keys.insert(number, key);
                let start = self.start_of(number);
                for entry in &mut self.entries[start..] {
                    entry.key += 1;
                }
                number
            }
        };
        let start = self.start_of(number);
        let before = self.entries.get(start);
        let entry = make(before.filter(|entry| entry.key as usize == number));
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        let key = number as u16;
        self.entries.insert(start, Entry { key, ..entry });
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.entries.len() > LEAF_ENTRIES_MAX
            || (self.keys.byte_len() > LEAF_KEY_BYTES_MAX && self.entries.len() > 1)
    }

    /// Splits a leaf that became too large when the entry of `key` came in. Returns the right
    /// part; this one keeps the left.
    pub(super) fn split(&mut self, key: &[u8]) -> Leaf {
        let at = self.split_point(key);
        let keys: Vec<KeyRef<'_>> = (0..self.keys.len()).map(|at| self.keys.get(at)).collect();
        let inside = self.entries[at - 1].key == self.entries[at].key;
        let left = Leaf::pack(&keys, &self.entries[..at], self.continues);
        let right = Leaf::pack(&keys, &self.entries[at..], inside);
        *self = left;
        right
    }

    /// Where to split. Behind all others if the new entry came last, so that keys that arrive in
    /// order fill leaves instead of halving them; else at the border between two keys that is
    /// nearest to the middle; else, with one key only, behind its head, for the same reason:
    /// entries of a key come in at its front.
    fn split_point(&self, key: &[u8]) -> usize {
        let len = self.entries.len();
        let last = self.entries[len - 1].key;
        let came_last = self.keys.find(key) == Ok(last as usize);
        if came_last && self.entries[len - 2].key != last {
            return len - 1;
        }
        let border = |at: &usize| self.entries[at - 1].key != self.entries[*at].key;
        let middle = len / 2;
        (1..len)
            .filter(border)
            .min_by_key(|at| at.abs_diff(middle))
            .unwrap_or(1)
    }

    /// This leaf and the next one in one. The next may continue the last key of this one.
    pub(super) fn join(&self, next: &Leaf) -> Leaf {
        let shared = usize::from(next.continues);
        let mut keys: Vec<KeyRef<'_>> = (0..self.keys.len()).map(|at| self.keys.get(at)).collect();
        let base = (keys.len() - shared) as u16;
        keys.extend((shared..next.keys.len()).map(|at| next.keys.get(at)));
        let mut entries = self.entries.clone();
        entries.extend(next.entries.iter().map(|entry| Entry {
            key: entry.key + base,
            ..*entry
        }));
        Leaf::pack(&keys, &entries, self.continues)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + size_of::<Keys>()
            + self.keys.bytes.capacity()
            + self.keys.ends.capacity() * size_of::<u32>()
    }

    pub(super) fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        let mut last = self.key_number_before(0);
        for entry in &self.entries {
            let head = last != Some(entry.key);
            last = Some(entry.key);
            sum.add_entry(entry, head);
        }
        sum
    }
}
