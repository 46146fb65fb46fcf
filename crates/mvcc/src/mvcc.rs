//! The writer's half.

use crate::history::{Change, CheckpointError, CheckpointWriter, History, Version};
use crate::{KeyMeta, MvccError, RangeResult, Size, View, Views};
use arc_swap::ArcSwap;
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::{Index, LeaseId, Revision, Term};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::mvccpb::KeyValue;

/// The writer's half of the store. Owned by the applier.
#[derive(Debug)]
pub struct Mvcc {
    history: History,
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
        Self::of(History::new())
    }

    fn of(history: History) -> Self {
        let view = View {
            history: Arc::new(history.clone()),
        };
        Mvcc {
            history,
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
        Revision(self.history.revision)
    }

    /// The compact revision; `None` if never compacted (etcd shows -1).
    #[must_use]
    pub fn compact_revision(&self) -> Option<Revision> {
        (self.history.compacted >= 0).then_some(Revision(self.history.compacted))
    }

    /// Begins the effects of one log entry. The transaction must be ended with
    /// [`WriteTxn::end`].
    pub fn begin(&mut self) -> WriteTxn<'_> {
        WriteTxn {
            main: self.history.revision + 1,
            history: &mut self.history,
            changes: Vec::new(),
            ended: false,
        }
    }

    /// Compacts at `at`: from now on nothing below it can be read. The physical work is left to
    /// [`Mvcc::step_maintenance`].
    ///
    /// # Errors
    /// If `at` is not above the compact revision, or in the future; then nothing changes.
    pub fn compact(&mut self, at: i64) -> Result<(), MvccError> {
        self.history.compact(at)
    }

    /// Does up to about `budget_entries` index entries or records of background work. Returns
    /// whether work is left.
    pub fn step_maintenance(&mut self, budget_entries: usize) -> bool {
        let _ = budget_entries;
        false
    }

    /// Whether the physical work of a compaction is not done yet.
    #[must_use]
    pub fn compaction_pending(&self) -> bool {
        false
    }

    /// Makes everything so far visible to readers, as the state after entry (`applied`, `term`).
    pub fn publish(&mut self, applied: Index, term: Term) {
        self.history.applied = applied;
        self.history.term = term;
        self.views.0.store(Arc::new(View {
            history: Arc::new(self.history.clone()),
        }));
    }

    /// What was last published, as a checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> CheckpointWriter {
        self.views.load().checkpoint()
    }

    /// Builds the store from a checkpoint, whose bytes may be cut into `chunks` anywhere. The
    /// view of the checkpoint is published.
    ///
    /// # Errors
    /// If a byte is wrong or missing.
    pub fn restore<C: AsRef<[u8]>>(
        chunks: impl IntoIterator<Item = C>,
    ) -> Result<Mvcc, CheckpointError> {
        let mut all = Vec::new();
        for chunk in chunks {
            all.extend_from_slice(chunk.as_ref());
        }
        History::restore(&all).map(Mvcc::of)
    }

    /// How much room the store takes.
    #[must_use]
    pub fn size(&self) -> Size {
        self.history.size()
    }
}

/// The effects of one log entry, all at one main revision.
#[derive(Debug)]
pub struct WriteTxn<'a> {
    history: &'a mut History,
    main: i64,
    changes: Vec<Change>,
    ended: bool,
}

impl WriteTxn<'_> {
    fn record(&mut self, tombstone: bool, kv: KeyValue) {
        let sub = u32::try_from(self.changes.len()).expect("changes of one transaction fit u32");
        let key = kv.key.clone();
        let versions = self.history.keys.entry(key.clone()).or_default();
        versions.insert((self.main, sub), Version { tombstone, kv });
        self.changes.push(Change {
            key,
            revision: Revision(self.main),
            sub,
            tombstone,
        });
    }

    /// Writes a key.
    pub fn put(&mut self, key: &Bytes, value: &Bytes, lease: LeaseId) {
        let before = self.head(key);
        self.record(
            false,
            KeyValue {
                key: key.clone(),
                create_revision: before.map_or(self.main, |meta| meta.create_revision.0),
                mod_revision: self.main,
                version: before.map_or(1, |meta| meta.version + 1),
                value: value.clone(),
                lease: lease.0,
            },
        );
    }

    /// The newest state of a live key, own writes included.
    #[must_use]
    pub fn head(&self, key: &[u8]) -> Option<KeyMeta> {
        self.history.meta(key)
    }

    /// The newest key-value, own writes included.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.history.at(key, i64::MAX).cloned()
    }

    /// A range that sees own writes.
    ///
    /// # Errors
    /// If the revision asked for is compacted or in the future.
    pub fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.history.range(req, self.revision().0)
    }

    /// The live keys of a range in order, own writes included. An empty `range_end` names one
    /// key, a single zero byte means "to the end".
    #[must_use]
    pub fn keys(&self, key: &[u8], range_end: &[u8]) -> Vec<Bytes> {
        let live = self.history.live(key, range_end, i64::MAX);
        live.into_iter().map(|kv| kv.key.clone()).collect()
    }

    /// Deletes a key. Returns whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        if self.head(key).is_none() {
            return false;
        }
        self.record(
            true,
            KeyValue {
                key: Bytes::copy_from_slice(key),
                ..KeyValue::default()
            },
        );
        true
    }

    /// Whether anything was written.
    #[must_use]
    pub fn changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// What was written so far, in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What a header shows now: the revision before the transaction, one more once it has written.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(if self.changed() {
            self.main
        } else {
            self.main - 1
        })
    }

    /// Ends the transaction and returns the current revision.
    pub fn end(mut self) -> Revision {
        self.ended = true;
        self.history.revision = self.revision().0;
        self.revision()
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        assert!(
            self.ended || std::thread::panicking(),
            "write transaction at revision {} dropped with {} changes and no end",
            self.main,
            self.changes.len()
        );
    }
}
