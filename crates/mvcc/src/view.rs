//! The readers' half.

use crate::history::History;
use crate::{CheckpointWriter, KvHash, MvccError, RangeResult, Size};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::{Index, Revision, Term};
use tenet_proto::etcdserverpb::RangeRequest;

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
#[derive(Debug)]
pub struct View {
    pub(crate) history: Arc<History>,
}

impl View {
    /// The current revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.history.revision)
    }

    /// The revision below which nothing can be read; `None` if the store was never compacted.
    #[must_use]
    pub fn compact_revision(&self) -> Option<Revision> {
        (self.history.compacted >= 0).then_some(Revision(self.history.compacted))
    }

    /// The index of the last entry whose effects are in this view.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.history.applied
    }

    /// The term of that entry.
    #[must_use]
    pub fn term(&self) -> Term {
        self.history.term
    }

    /// Answers a range by etcd's rules. Sort enums out of range are the caller's to refuse; here
    /// they count as their zero values.
    ///
    /// # Errors
    /// If the revision asked for is compacted or in the future.
    pub fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.history.range(req, self.history.revision)
    }

    /// The hash of what is visible at `revision` (0: the current one), by etcd's rules.
    ///
    /// # Errors
    /// If the revision is compacted (and no hash of a compaction at it is kept) or in the future.
    pub fn hash_kv(&self, revision: i64) -> Result<KvHash, MvccError> {
        self.history.hash_kv(revision)
    }

    /// Extends `crc` by the bucket name `key` and all its entries, as Maintenance.Hash wants it.
    #[must_use]
    pub fn hash_all(&self, crc: u32) -> u32 {
        self.history.hash_all(crc)
    }

    /// How much room the store takes.
    #[must_use]
    pub fn size(&self) -> Size {
        self.history.size()
    }

    /// This view as a checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointWriter {
        CheckpointWriter::new(Arc::clone(&self.history))
    }
}
