//! The readers' half: published states.

use crate::checkpoint::CheckpointWriter;
use crate::hash::{self, CompactionHashes, HashJob, Shown, ShownMarks};
use crate::index::Tree;
use crate::range::Reader;
use crate::{KvHash, MvccError, RangeResult, Size};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::{Index, Revision, Term, crc};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_store::{MemView, Rev, StoreView};

/// Where readers get the newest published [`View`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Views(pub(crate) Arc<ArcSwap<View>>);

impl Views {
    /// The newest published view.
    #[must_use]
    pub fn load(&self) -> Arc<View> {
        self.0.load_full()
    }
}

/// An immutable state of the store, as of one applied entry.
///
/// Holding one keeps its memory: whatever takes long reads in chunks from newer views instead.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) tree: Tree,
    pub(crate) store: MemView,
    pub(crate) revision: i64,
    /// -1 for never.
    pub(crate) compacted: i64,
    pub(crate) applied: Index,
    pub(crate) term: Term,
    pub(crate) hashes: CompactionHashes,
    pub(crate) size: Size,
}

impl View {
    fn reader(&self) -> Reader<'_, MemView> {
        Reader {
            tree: &self.tree,
            records: &self.store,
            revision: self.revision,
            compacted: self.compacted,
        }
    }

    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The revision below which nothing can be read; `None` if the store was never compacted.
    #[must_use]
    pub fn compact_revision(&self) -> Option<Revision> {
        (self.compacted >= 0).then_some(Revision(self.compacted))
    }

    /// The index of the last entry whose effects are in this view.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// The term of that entry.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Answers a range by etcd's rules. Sort enums out of range are the caller's to refuse; here
    /// they count as their zero values.
    ///
    /// # Errors
    /// If the revision asked for is compacted or in the future.
    pub fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader().range(req)
    }

    /// As [`View::range`], but the count goes only as far as was read.
    pub(crate) fn range_uncounted(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader().page(req, false)
    }

    /// The hash of what is visible at `revision` (0: the current one), by etcd's rules: a hash
    /// taken when the store was compacted at exactly `revision` comes first.
    ///
    /// # Errors
    /// If the revision is compacted or in the future.
    pub fn hash_kv(&self, revision: i64) -> Result<KvHash, MvccError> {
        if let Some(hash) = self.hashes.get(revision) {
            return Ok(hash);
        }
        if revision > self.revision {
            return Err(MvccError::FutureRevision);
        }
        if revision > 0 && revision < self.compacted {
            return Err(MvccError::Compacted);
        }
        let at = if revision == 0 {
            self.revision
        } else {
            revision
        };
        let (tree, store) = (self.tree.clone(), self.store.clone());
        Ok(HashJob::new(tree, store, Shown::Alive, at, self.compacted).run())
    }

    /// Extends `crc` by the bucket name `key` and all entries that a finished compaction leaves,
    /// as Maintenance.Hash wants it.
    #[must_use]
    pub fn hash_all(&self, crc: u32) -> u32 {
        let mut kept = ShownMarks::new(Shown::Kept, self.compacted, self.compacted);
        let mut budget = usize::MAX;
        kept.step(&self.tree, &self.store, &mut budget);
        let marks = kept.marks();
        self.store
            .scan(Rev::MIN)
            .filter(|record| record.rev.main > self.compacted || marks.contains(record.place))
            .fold(crc::extend(crc, b"key"), |crc, record| {
                hash::extend(crc, &record)
            })
    }

    /// How much room the store takes.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// This view as a checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointWriter {
        CheckpointWriter::new(self.clone())
    }
}
