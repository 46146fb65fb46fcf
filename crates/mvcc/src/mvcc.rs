//! The writer's half.

use crate::hash::CompactionHashes;
use crate::index::{IndexStats, Tree};
use crate::index_file::IndexWriter;
use crate::maintain::Maintenance;
use crate::txn::{Change, WriteTxn};
use crate::{MvccError, Size, View, Views};
use arc_swap::ArcSwap;
use std::cell::OnceCell;
use std::sync::Arc;
use tenet_base::{Index, Revision, Term};
use tenet_store::{Chunks, Cut, Done, Job, ReadError, ScrubStep, Scrubbed, Sides, Store};

/// The writer's half of the store. Owned by the applier.
#[derive(Debug)]
pub struct Mvcc {
    pub(crate) tree: Tree,
    pub(crate) store: Store,
    /// Why a read of the writer failed: it cannot go on.
    pub(crate) unread: OnceCell<ReadError>,
    /// Why a read that only an answer needs failed since this was last asked.
    pub(crate) unanswered: OnceCell<ReadError>,
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
    /// Keys over a store of nobody, for tests.
    fn default() -> Self {
        Mvcc::new(Store::default())
    }
}

impl Mvcc {
    /// Keys over an empty store: at revision 1, never compacted.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self::from_parts(Tree::default(), store, 1, -1)
    }

    pub(crate) fn from_parts(tree: Tree, mut store: Store, revision: i64, compacted: i64) -> Self {
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
            unread: OnceCell::new(),
            unanswered: OnceCell::new(),
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

    /// Why the writer could not read a value, if that has happened. Then what it has written since
    /// is wrong and must not be published: the member must stop.
    #[must_use]
    pub fn read_failure(&self) -> Option<&ReadError> {
        self.unread.get()
    }

    /// Why a read failed, since the last call, that only an answer needs. What was written is
    /// right.
    pub fn take_unanswered(&mut self) -> Option<ReadError> {
        self.unanswered.take()
    }

    /// Begins to make what was published durable, with the small tables that belong to it. The
    /// first time, and when `with_index`, the index is written too.
    ///
    /// # Panics
    /// If something is not published, or a job is under way.
    pub fn flush(&mut self, tables: Chunks, with_index: bool) -> Job {
        assert!(
            !self.unpublished,
            "a flush at revision {} with changes that are not published",
            self.revision
        );
        let view = self.views.load();
        let with_index = with_index || !self.store.has_durable();
        self.store.flush(Sides {
            cut: Cut {
                applied: self.applied,
                term: self.term,
                revision: self.revision(),
                compacted: self.compact_revision(),
            },
            tables,
            index: with_index.then(|| Box::new(IndexWriter::new((*view).clone())) as Chunks),
        })
    }

    /// Makes the first flush take the place of the files of `other`: see [`Store::supersede`].
    ///
    /// # Panics
    /// As there.
    pub fn supersede(&mut self, other: &Mvcc) {
        self.store.supersede(&other.store);
    }

    /// Begins to give room back that compactions have set free, if there is much and it may be.
    pub fn rewrite(&mut self) -> Option<Job> {
        self.store.rewrite()
    }

    /// Takes over what a job has done and publishes it.
    pub fn finished(&mut self, done: Done) {
        self.store.finished(done);
        if !self.unpublished {
            self.show();
        }
    }

    /// A job was given up: everything is as it was before.
    pub fn given_up(&mut self) {
        self.store.given_up();
    }

    /// The next piece of the scrub of the store's files: see [`Store::scrub`].
    pub fn scrub(&mut self) -> Option<ScrubStep> {
        self.store.scrub()
    }

    /// Takes over what a piece of the scrub found: see [`Store::scrubbed`].
    pub fn scrubbed(&mut self, found: &Scrubbed) -> bool {
        self.store.scrubbed(found)
    }

    /// Somebody asked for room, or nobody does any more: see [`Store::set_hurry`].
    pub fn set_hurry(&mut self, hurry: bool) {
        self.store.set_hurry(hurry);
    }

    /// There is this much free space: see [`Store::set_free_bytes`].
    pub fn set_free_bytes(&mut self, bytes: u64) {
        self.store.set_free_bytes(bytes);
    }

    /// The store, to ask what it holds.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Entries of the index.
    #[must_use]
    pub fn index_entries(&self) -> u64 {
        self.tree.entries()
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

fn size_of_store(store: &Store) -> Size {
    let size = store.size();
    Size {
        db_bytes: size.total_bytes,
        db_in_use_bytes: size.live_bytes,
    }
}
