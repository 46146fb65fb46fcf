//! The writer's half.

use crate::checkpoint::CheckpointWriter;
use crate::hash::CompactionHashes;
use crate::index::{IndexStats, Tree};
use crate::maintain::Maintenance;
use crate::restore::{CheckpointError, Restore};
use crate::txn::{Change, WriteTxn};
use crate::{MvccError, Size, View, Views};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::{Index, Revision, Term};
use tenet_store::{MemStore, Store};

/// The writer's half of the store. Owned by the applier.
#[derive(Debug)]
pub struct Mvcc {
    pub(crate) tree: Tree,
    pub(crate) store: MemStore,
    pub(crate) revision: i64,
    /// -1 for never.
    pub(crate) compacted: i64,
    pub(crate) hashes: CompactionHashes,
    /// Whether readers cannot see all of this yet.
    pub(crate) unpublished: bool,
    /// What was last published.
    pub(crate) applied: Index,
    pub(crate) term: Term,
    pub(crate) maintenance: Maintenance,
    pub(crate) spare_changes: Vec<Change>,
    views: Views,
}

impl Default for Mvcc {
    fn default() -> Self {
        Self::new()
    }
}

impl Mvcc {
    /// An empty store: at revision 1, never compacted.
    #[must_use]
    pub fn new() -> Self {
        Self::from_parts(Tree::default(), MemStore::default(), 1, -1)
    }

    pub(crate) fn from_parts(
        tree: Tree,
        mut store: MemStore,
        revision: i64,
        compacted: i64,
    ) -> Self {
        let view = View {
            tree: tree.clone(),
            store: store.view(),
            revision,
            compacted,
            applied: Index::ZERO,
            term: Term::ZERO,
            hashes: CompactionHashes::default(),
            size: size_of_store(&store),
        };
        Mvcc {
            tree,
            store,
            revision,
            compacted,
            hashes: CompactionHashes::default(),
            unpublished: false,
            applied: Index::ZERO,
            term: Term::ZERO,
            maintenance: Maintenance::default(),
            spare_changes: Vec::new(),
            views: Views(Arc::new(ArcSwap::from_pointee(view))),
        }
    }

    /// The readers' half.
    #[must_use]
    pub fn views(&self) -> Views {
        self.views.clone()
    }

    /// The current revision, what is not yet published included.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The compact revision; `None` if never compacted (etcd shows -1).
    #[must_use]
    pub fn compact_revision(&self) -> Option<Revision> {
        (self.compacted >= 0).then_some(Revision(self.compacted))
    }

    /// Begins the effects of one log entry. The transaction must be ended with
    /// [`WriteTxn::end`].
    pub fn begin(&mut self) -> WriteTxn<'_> {
        WriteTxn::new(self)
    }

    /// Compacts at `at`: from the next publication on nothing below it can be read. The physical
    /// work is left to [`Mvcc::step_maintenance`].
    ///
    /// # Errors
    /// If `at` is not above the compact revision, or in the future; then nothing changes.
    pub fn compact(&mut self, at: i64) -> Result<(), MvccError> {
        if at <= self.compacted {
            return Err(MvccError::Compacted);
        }
        if at > self.revision {
            return Err(MvccError::FutureRevision);
        }
        self.maintenance.schedule(at, self.compacted);
        self.compacted = at;
        self.unpublished = true;
        Ok(())
    }

    /// Does about `budget_entries` index entries or records of background work: hashes what a
    /// compaction covers, drops what it supersedes, gives room back. Returns whether work is
    /// left. What it did is published, unless there are writes that are not published yet; then
    /// it goes with them.
    pub fn step_maintenance(&mut self, budget_entries: usize) -> bool {
        let done = self.maintain(budget_entries);
        if done.changed && !self.unpublished {
            self.show();
        }
        done.left
    }

    /// Whether superseded entries of a scheduled compaction are not all dropped yet.
    #[must_use]
    pub fn compaction_pending(&self) -> bool {
        self.maintenance.is_compacting()
    }

    /// Makes everything so far visible to readers, as the state after entry (`applied`, `term`).
    pub fn publish(&mut self, applied: Index, term: Term) {
        assert!(
            applied >= self.applied,
            "state after entry {applied} published behind that after {}: the applier went back",
            self.applied
        );
        self.applied = applied;
        self.term = term;
        self.unpublished = false;
        self.show();
    }

    fn show(&mut self) {
        let view = View {
            tree: self.tree.clone(),
            store: self.store.view(),
            revision: self.revision,
            compacted: self.compacted,
            applied: self.applied,
            term: self.term,
            hashes: self.hashes.clone(),
            size: self.size(),
        };
        self.views.0.store(Arc::new(view));
    }

    /// What was last published, as a checkpoint. It can be written elsewhere while this store
    /// goes on.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointWriter {
        self.views.load().checkpoint()
    }

    /// Builds the store from a checkpoint, whose bytes may be cut into `chunks` anywhere (see
    /// [`Restore`] for bytes that come in one by one). The view of the checkpoint is published.
    ///
    /// # Errors
    /// If a byte is wrong or missing.
    pub fn restore<C: AsRef<[u8]>>(
        chunks: impl IntoIterator<Item = C>,
    ) -> Result<Mvcc, CheckpointError> {
        let mut restore = Restore::new();
        for chunk in chunks {
            restore.push(chunk.as_ref())?;
        }
        restore.finish()
    }

    /// How much room the store takes.
    #[must_use]
    pub fn size(&self) -> Size {
        size_of_store(&self.store)
    }

    /// What the index is made of. Looks at every node: for measurements.
    #[must_use]
    pub fn index_stats(&self) -> IndexStats {
        self.tree.stats()
    }
}

fn size_of_store(store: &MemStore) -> Size {
    let size = store.size();
    Size {
        db_bytes: size.total_bytes,
        db_in_use_bytes: size.live_bytes,
    }
}
