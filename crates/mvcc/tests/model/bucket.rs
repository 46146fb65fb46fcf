//! What etcd holds on disk and in its index, and the hashes it takes of that: a sorted map of
//! entries that compactions really delete from, and generations of each key.

use std::collections::{BTreeMap, BTreeSet};
use tenet_base::crc;
use tenet_mvcc::{KvHash, MvccError};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message;

type Rev = (i64, u32);

/// One life of a key.
#[derive(Clone, Debug, Default)]
struct Generation {
    revs: Vec<Rev>,
}

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) revision: i64,
    compacted: i64,
    entries: BTreeMap<Rev, (bool, Vec<u8>)>,
    /// Lives of each key; the last one is empty after a delete.
    keys: BTreeMap<Vec<u8>, Vec<Generation>>,
    pub(crate) hashes: Vec<KvHash>,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        Bucket {
            revision: 1,
            compacted: -1,
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            hashes: Vec::new(),
        }
    }

    pub(crate) fn put(&mut self, rev: Rev, kv: &KeyValue) {
        self.entries.insert(rev, (false, kv.encode_to_vec()));
        let lives = self
            .keys
            .entry(kv.key.to_vec())
            .or_insert_with(|| vec![Generation::default()]);
        lives.last_mut().expect("one life").revs.push(rev);
    }

    pub(crate) fn delete(&mut self, rev: Rev, key: &[u8]) {
        let kv = KeyValue {
            key: key.to_vec().into(),
            ..KeyValue::default()
        };
        self.entries.insert(rev, (true, kv.encode_to_vec()));
        let lives = self.keys.get_mut(key).expect("a live key");
        lives.last_mut().expect("one life").revs.push(rev);
        lives.push(Generation::default());
    }

    /// The life that a compaction at `at` begins with, and the place in it of what it keeps.
    fn cut(lives: &[Generation], at: i64) -> (usize, Option<usize>) {
        let ended_before = |life: &Generation| life.revs.last().is_some_and(|last| last.0 < at);
        let first = (0..lives.len() - 1)
            .find(|&life| !ended_before(&lives[life]))
            .unwrap_or(lives.len() - 1);
        let kept = lives[first].revs.iter().rposition(|rev| rev.0 <= at);
        (first, kept)
    }

    /// What keys show at `at`: the newest revisions, without those that end a life.
    fn keep(&self, at: i64) -> BTreeSet<Rev> {
        let mut keep = BTreeSet::new();
        for lives in self.keys.values() {
            let (life, kept) = Self::cut(lives, at);
            let Some(kept) = kept else { continue };
            let ends = kept == lives[life].revs.len() - 1 && life != lives.len() - 1;
            if !ends {
                keep.insert(lives[life].revs[kept]);
            }
        }
        keep
    }

    fn hash(&self, compacted: i64, at: i64, keep: &BTreeSet<Rev>) -> KvHash {
        let mut hash = crc::crc32c(b"key");
        for (rev, entry) in &self.entries {
            let superseded = rev.0 <= compacted && !keep.is_empty() && !keep.contains(rev);
            if rev.0 > at || superseded || (rev.0 == compacted && entry.0) {
                continue;
            }
            hash = extend(hash, *rev, entry);
        }
        KvHash {
            hash,
            compact_revision: compacted,
            hash_revision: at,
        }
    }

    pub(crate) fn hash_kv(&self, revision: i64) -> Result<KvHash, MvccError> {
        let cached = self
            .hashes
            .iter()
            .find(|hash| hash.hash_revision == revision);
        cached.map_or_else(|| self.hash_uncached(revision), |hash| Ok(*hash))
    }

    pub(crate) fn hash_uncached(&self, revision: i64) -> Result<KvHash, MvccError> {
        if revision > 0 && revision < self.compacted {
            return Err(MvccError::Compacted);
        }
        if revision > self.revision {
            return Err(MvccError::FutureRevision);
        }
        let at = if revision == 0 {
            self.revision
        } else {
            revision
        };
        Ok(self.hash(self.compacted, at, &self.keep(at)))
    }

    /// All entries, as Maintenance.Hash takes them.
    pub(crate) fn hash_all(&self, crc: u32) -> u32 {
        self.entries
            .iter()
            .fold(crc::extend(crc, b"key"), |crc, (rev, entry)| {
                extend(crc, *rev, entry)
            })
    }

    /// Deletes what a compaction at `at` supersedes and keeps the hash of what it covered.
    pub(crate) fn compact(&mut self, at: i64) {
        let mut available = BTreeSet::new();
        for lives in self.keys.values_mut() {
            let (life, kept) = Self::cut(lives, at);
            if let Some(kept) = kept {
                available.insert(lives[life].revs[kept]);
                lives[life].revs.drain(..kept);
            }
            lives.drain(..life);
        }
        self.keys
            .retain(|_, lives| lives.len() > 1 || !lives[0].revs.is_empty());
        self.hashes.push(self.hash(self.compacted, at, &available));
        if self.hashes.len() > 10 {
            self.hashes.remove(0);
        }
        self.entries
            .retain(|rev, _| rev.0 > at || available.contains(rev));
        self.compacted = at;
    }
}

/// Extends a CRC by an entry: its key of 17 bytes, 18 for a tombstone, and its value.
fn extend(crc: u32, rev: Rev, (tombstone, value): &(bool, Vec<u8>)) -> u32 {
    let mut key = rev.0.to_be_bytes().to_vec();
    key.push(b'_');
    key.extend(i64::from(rev.1).to_be_bytes());
    if *tombstone {
        key.push(b't');
    }
    crc::extend(crc::extend(crc, &key), value)
}
