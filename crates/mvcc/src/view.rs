//! The readers' half: published states.

use crate::hash::{self, CompactionHashes, HashJob, Shown};
use crate::index::Tree;
use crate::range::Reader;
use crate::{KvHash, MvccError, Opened, RangeResult, Size};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::crc::{self, Combiner};
use tenet_base::{Index, Revision, Term};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_store::{Hot, Patience, Records};

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
    pub(crate) store: tenet_store::View,
    pub(crate) revision: i64,
    /// -1 for never.
    pub(crate) compacted: i64,
    pub(crate) applied: Index,
    pub(crate) term: Term,
    pub(crate) hashes: CompactionHashes,
    pub(crate) size: Size,
}

impl View {
    fn reader<R: Records>(&self, records: R) -> Reader<'_, R> {
        Reader {
            tree: &self.tree,
            records,
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
    /// If the revision asked for is compacted or in the future, or a value cannot be read.
    pub fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader(&self.store).range(req)
    }

    /// As [`View::range`], but never waits for the medium.
    ///
    /// # Errors
    /// As [`View::range`], and one that [is cold](MvccError::is_cold) instead of waiting.
    pub fn range_cached(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader(Hot(&self.store)).range(req)
    }

    /// As [`View::range`] for an answer that may be held; how to go on for a longer one.
    ///
    /// # Errors
    /// As [`View::range`]; with patience for nothing one that [is cold](MvccError::is_cold).
    pub fn open_range(&self, req: &RangeRequest, patience: Patience) -> Result<Opened, MvccError> {
        match patience {
            Patience::Wait => self.reader(&self.store).open(req),
            Patience::Never => self.reader(Hot(&self.store)).open(req),
        }
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
        let mut combiner = Combiner::default();
        let begun = crc::extend(crc, b"key");
        self.export()
            .infos()
            .fold(begun, |crc, info| hash::extend(&mut combiner, crc, &info))
    }

    /// How much room the store takes.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }
}
