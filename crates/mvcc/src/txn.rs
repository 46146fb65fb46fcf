//! Write transactions.

use crate::index::KeyRange;
use crate::range::Reader;
use crate::record::{self, Numbers};
use crate::{KeyMeta, Mvcc, MvccError, RangeResult};
use bytes::Bytes;
use std::cell::OnceCell;
use tenet_base::{LeaseId, Revision};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::mvccpb::KeyValue;
use tenet_store::{ReadError, Records, Rev, Store};

/// One change of a write transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The transaction's revision.
    pub revision: Revision,
    /// The change's number within the revision, from zero.
    pub sub: u32,
    /// Whether the key was deleted.
    pub tombstone: bool,
}

/// The effects of one log entry, all at one main revision. Reads see the writes before them.
#[derive(Debug)]
pub struct WriteTxn<'a> {
    mvcc: &'a mut Mvcc,
    changes: Vec<Change>,
    ended: bool,
}

impl<'a> WriteTxn<'a> {
    pub(crate) fn new(mvcc: &'a mut Mvcc) -> Self {
        WriteTxn {
            changes: std::mem::take(&mut mvcc.spare_changes),
            mvcc,
            ended: false,
        }
    }

    fn next_rev(&self) -> Rev {
        let sub =
            u32::try_from(self.changes.len()).expect("a transaction's changes fit in 32 bits");
        Rev::new(self.mvcc.revision + 1, sub)
    }

    fn changed_key(&mut self, rev: Rev, key: Bytes, tombstone: bool) {
        self.changes.push(Change {
            key,
            revision: Revision(rev.main),
            sub: rev.sub,
            tombstone,
        });
    }

    fn reader(&self) -> Reader<'_, Noting<'_>> {
        self.reader_noting(&self.mvcc.unread)
    }

    fn reader_noting<'n>(&'n self, unread: &'n OnceCell<ReadError>) -> Reader<'n, Noting<'n>> {
        Reader {
            tree: &self.mvcc.tree,
            records: Noting {
                store: &self.mvcc.store,
                unread,
            },
            revision: self.revision().0,
            compacted: self.mvcc.compacted,
        }
    }

    /// Writes a key.
    pub fn put(&mut self, key: &Bytes, value: &Bytes, lease: LeaseId) {
        let rev = self.next_rev();
        let entry = self.mvcc.tree.put(key, rev);
        let numbers = Numbers {
            create: entry.create,
            modified: rev.main,
            version: entry.version,
            lease: lease.0,
        };
        self.mvcc.store.append(rev, false, |out| {
            record::encode(out, key, value, &numbers);
        });
        self.changed_key(rev, key.clone(), false);
    }

    /// Deletes a key. Returns whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        if self.mvcc.tree.head(key).is_none() {
            return false;
        }
        let rev = self.next_rev();
        self.mvcc.tree.delete(key, rev);
        self.mvcc.store.append(rev, true, |out| {
            record::encode(out, key, &[], &Numbers::default());
        });
        self.changed_key(rev, Bytes::copy_from_slice(key), true);
        true
    }

    /// The newest state of a live key, own writes included.
    #[must_use]
    pub fn head(&self, key: &[u8]) -> Option<KeyMeta> {
        self.reader().head(key)
    }

    /// The newest key-value, own writes included. What cannot be read is as if it was not there,
    /// and [`Mvcc::read_failure`] tells.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.reader().get(key).ok().flatten()
    }

    /// As [`WriteTxn::get`], for an answer only: what cannot be read does not stop the writer, but
    /// [`Mvcc::take_unanswered`] tells.
    #[must_use]
    pub fn get_for_answer(&self, key: &[u8]) -> Option<KeyValue> {
        let reader = self.reader_noting(&self.mvcc.unanswered);
        reader.get(key).ok().flatten()
    }

    /// As [`WriteTxn::range`], for an answer only: see [`WriteTxn::get_for_answer`].
    ///
    /// # Errors
    /// As [`WriteTxn::range`].
    pub fn range_for_answer(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader_noting(&self.mvcc.unanswered).range(req)
    }

    /// A range that sees own writes.
    ///
    /// # Errors
    /// If the revision asked for is compacted or in the future, or a value cannot be read; of the
    /// latter [`Mvcc::read_failure`] tells too.
    pub fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        self.reader().range(req)
    }

    /// The live keys of a range in order, own writes included. An empty `range_end` names one
    /// key, a single zero byte means "to the end".
    #[must_use]
    pub fn keys(&self, key: &[u8], range_end: &[u8]) -> Vec<Bytes> {
        self.reader().keys(KeyRange::new(key, range_end))
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

    /// What a header shows now: the revision before the transaction, one more once it has
    /// written.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.mvcc.revision + i64::from(self.changed()))
    }

    /// Ends the transaction and returns the current revision: one more than before if and only
    /// if something was written.
    pub fn end(mut self) -> Revision {
        self.ended = true;
        let revision = self.revision();
        self.mvcc.unpublished |= self.changed();
        self.mvcc.revision = revision.0;
        self.changes.clear();
        self.mvcc.spare_changes = std::mem::take(&mut self.changes);
        revision
    }
}

/// The writer's store, of which a failure to read is remembered.
#[derive(Debug)]
struct Noting<'a> {
    store: &'a Store,
    unread: &'a OnceCell<ReadError>,
}

impl Records for Noting<'_> {
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError> {
        self.store.get(rev).inspect_err(|error| {
            // The first one is enough.
            let _ = self.unread.set(error.clone());
        })
    }

    fn len(&self, rev: Rev) -> Option<usize> {
        self.store.len(rev)
    }
}

impl Drop for WriteTxn<'_> {
    fn drop(&mut self) {
        assert!(
            self.ended || std::thread::panicking(),
            "write transaction behind revision {} dropped with {} changes and no end: its \
             effects would be part of the next entry's",
            self.mvcc.revision,
            self.changes.len()
        );
    }
}
