//! The hashes that members compare: HashKV, the hash of a compaction, and Hash.
//!
//! All are CRC-32C over the bucket name `key` and the entries of etcd's bucket, in revision
//! order, that a rule lets in. The rule goes by revisions only, never by what is physically left,
//! because members collect at different times. For a hash at revision R of a store compacted at C:
//!
//! * entries above R are out; entries above C and not above R are in;
//! * an entry not above C is in if it is the one that its key shows at R. If no key shows
//!   anything at R, those are in that the compaction at C left;
//! * a tombstone exactly at C is out.
//!
//! A key that is deleted and put again by one transaction shows nothing at that transaction's
//! revision: etcd looks at the generation that the tombstone ends.
//!
//! A hash is computed in steps over a fixed state, so nothing waits for it, and from the checksums
//! of the records, so no value is read.

use crate::index::{Entry, Position, Tree};
use crate::record;
use crate::request::KvHash;
use std::ops::ControlFlow;
use std::sync::Arc;
use tenet_base::crc::{self, Combiner};
use tenet_base::limits::COMPACTION_HASHES_MAX;
use tenet_store::{Marks, RecordInfo, Rev, View};

/// Which entries a key shows at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The newest, unless it is a tombstone.
    Alive,
    /// The newest, unless it is a tombstone below the revision: what a compaction there keeps.
    Kept,
}

impl Shown {
    fn shows(self, main: i64, tombstone: bool, at: i64) -> bool {
        !tombstone || (self == Shown::Kept && main == at)
    }
}

/// Marks, of the records not above `compacted`, those that keys show at `at`. Steps through the
/// index from entry to entry.
#[derive(Debug)]
pub(crate) struct ShownMarks {
    shown: Shown,
    at: i64,
    compacted: i64,
    next: Position,
    /// Whether the newest entry not above `at` was seen of the key that the next entry is of.
    found: bool,
    /// That entry, as long as a tombstone of the same revision can still follow.
    candidate: Option<Entry>,
    marks: Marks,
    /// Whether any key shows anything at `at`, at whatever revision.
    any: bool,
}

impl ShownMarks {
    pub(crate) fn new(shown: Shown, at: i64, compacted: i64) -> Self {
        ShownMarks {
            shown,
            at,
            compacted,
            next: Position::START,
            found: false,
            candidate: None,
            marks: Marks::default(),
            any: false,
        }
    }

    /// Looks at up to `budget` entries and takes them off it. Returns whether all are done.
    pub(crate) fn step(&mut self, tree: &Tree, store: &View, budget: &mut usize) -> bool {
        let from = std::mem::replace(&mut self.next, Position::START);
        let end = tree.visit_entries(&from, |key, entry, head| {
            if *budget == 0 {
                return ControlFlow::Break(Position::of(key, entry));
            }
            *budget -= 1;
            if head {
                self.settle(store);
                self.found = false;
            }
            self.consider(entry);
            ControlFlow::Continue(())
        });
        match end {
            ControlFlow::Break(next) => {
                self.next = next;
                false
            }
            ControlFlow::Continue(()) => {
                self.settle(store);
                true
            }
        }
    }

    /// Entries of a key come newest first.
    fn consider(&mut self, entry: &Entry) {
        if entry.main > self.at {
            return;
        }
        if !std::mem::replace(&mut self.found, true) {
            self.candidate = Some(*entry);
        } else if entry.main == self.at && entry.tombstone && self.shown == Shown::Alive {
            self.candidate = None;
        }
    }

    /// All that matters of a key was considered.
    fn settle(&mut self, store: &View) {
        if let Some(entry) = self.candidate.take() {
            self.see(store, &entry);
        }
    }

    /// Takes in the newest entry of a key that is not above `at`.
    fn see(&mut self, store: &View, entry: &Entry) {
        if !self.shown.shows(entry.main, entry.tombstone, self.at) {
            return;
        }
        self.any = true;
        if entry.main > self.compacted {
            return;
        }
        let Some(record) = store.info(entry.rev()) else {
            panic!(
                "the index names record {}, which the store does not have: index and store \
                 disagree",
                entry.rev()
            );
        };
        self.marks.insert(record.place);
    }

    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }
}

/// A hash in the making.
#[derive(Debug)]
pub(crate) struct HashJob {
    tree: Tree,
    store: View,
    compacted: i64,
    at: i64,
    marks: ShownMarks,
    marked: bool,
    next: Rev,
    crc: u32,
    combiner: Combiner,
}

impl HashJob {
    /// The hash at revision `at` of a store compacted at `compacted` (-1 for never).
    pub(crate) fn new(tree: Tree, store: View, shown: Shown, at: i64, compacted: i64) -> Self {
        HashJob {
            tree,
            store,
            compacted,
            at,
            marks: ShownMarks::new(shown, at, compacted),
            // Without a compaction every entry is in.
            marked: compacted < 0,
            next: Rev::MIN,
            crc: crc::crc32c(b"key"),
            combiner: Combiner::default(),
        }
    }

    /// Looks at up to `budget` keys and records and takes them off it. Returns the hash when done.
    pub(crate) fn step(&mut self, budget: &mut usize) -> Option<KvHash> {
        while !self.marked {
            if !self.marks.step(&self.tree, &self.store, budget) {
                return None;
            }
            let nothing_shown = !self.marks.any;
            if nothing_shown && self.marks.at != self.compacted {
                self.marks = ShownMarks::new(Shown::Kept, self.compacted, self.compacted);
            } else {
                self.marked = true;
            }
        }
        for record in self.store.scan_infos(self.next) {
            if record.rev.main > self.at {
                break;
            }
            if *budget == 0 {
                self.next = record.rev;
                return None;
            }
            *budget -= 1;
            let old = record.rev.main <= self.compacted;
            let out = old && !self.marks.marks.contains(record.place);
            let at_mark = record.rev.main == self.compacted && record.tombstone;
            if !out && !at_mark {
                self.crc = extend(&mut self.combiner, self.crc, &record);
            }
        }
        Some(KvHash {
            hash: self.crc,
            compact_revision: self.compacted,
            hash_revision: self.at,
        })
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> KvHash {
        let mut budget = usize::MAX;
        self.step(&mut budget).expect("the budget is not limited")
    }
}

/// Extends a CRC by one entry of the bucket. The record is not read: its own CRC is known.
pub(crate) fn extend(combiner: &mut Combiner, crc: u32, record: &RecordInfo) -> u32 {
    let (key, len) = record::bucket_key(record.rev, record.tombstone);
    combiner.combine(crc::extend(crc, &key[..len]), record.crc, record.len)
}

/// The hashes of the newest compactions, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct CompactionHashes(Arc<Vec<KvHash>>);

impl CompactionHashes {
    pub(crate) fn push(&mut self, hash: KvHash) {
        let hashes = Arc::make_mut(&mut self.0);
        if hashes.len() == COMPACTION_HASHES_MAX {
            hashes.remove(0);
        }
        hashes.push(hash);
    }

    /// The hash taken when the store was compacted at `revision`.
    pub(crate) fn get(&self, revision: i64) -> Option<KvHash> {
        self.0
            .iter()
            .find(|hash| hash.hash_revision == revision)
            .copied()
    }
}
