//! The keys as etcd's bucket `key` has them, for a snapshot that etcd can restore.
//!
//! What is given is what a finished compaction at the compact revision leaves, in revision order:
//! superseded revisions above it and tombstones are part of it, and how far the physical work of a
//! compaction has come makes no difference. Both passes of a writer see the same entries, since
//! they come from one immutable view.

use crate::View;
use crate::hash::{Shown, ShownMarks};
use crate::record::bucket_key;
use std::ops::ControlFlow;
use tenet_store::{Place, ReadError, RecordInfo, Rev};

/// The entries of one view.
#[derive(Debug)]
pub struct Export {
    store: tenet_store::View,
    compacted: i64,
    kept: ShownMarks,
}

/// Where an [`Export`] goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportPosition(Rev);

impl ExportPosition {
    /// Before the first entry.
    pub const START: ExportPosition = ExportPosition(Rev::MIN);
}

impl View {
    /// Begins an export. Looks at the whole index, so it belongs on a thread that may be busy for
    /// long.
    #[must_use]
    pub fn export(&self) -> Export {
        let mut kept = ShownMarks::new(Shown::Kept, self.compacted, self.compacted);
        if self.compacted >= 0 {
            let mut budget = usize::MAX;
            kept.step(&self.tree, &self.store, &mut budget);
        }
        Export {
            store: self.store.clone(),
            compacted: self.compacted,
            kept,
        }
    }
}

impl Export {
    fn shows(&self, main: i64, place: Place) -> bool {
        main > self.compacted || self.kept.marks().contains(place)
    }

    /// All entries in revision order, without their values.
    pub(crate) fn infos(&self) -> impl Iterator<Item = RecordInfo> + '_ {
        let infos = self.store.scan_infos(Rev::MIN);
        infos.filter(|info| self.shows(info.rev.main, info.place))
    }

    /// Gives `see` the key of each entry and the length of its value. Reads no value.
    ///
    /// # Errors
    /// The first that `see` gives.
    pub fn lengths<E>(&self, mut see: impl FnMut(&[u8], usize) -> Result<(), E>) -> Result<(), E> {
        for info in self.infos() {
            let (key, len) = bucket_key(info.rev, info.tombstone);
            see(&key[..len], info.len)?;
        }
        Ok(())
    }

    /// Gives `see` entries from a position on, until it breaks; then it has taken the entry that it
    /// broke at. Returns where to go on, `None` at the end.
    ///
    /// # Errors
    /// If a value cannot be read.
    ///
    /// # Panics
    /// If the bytes of a record are not those that were written: a backup must not spread damage
    /// of memory.
    pub fn entries(
        &self,
        from: ExportPosition,
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<Option<ExportPosition>, ReadError> {
        for record in self.store.scan(from.0) {
            let record = record?;
            if !self.shows(record.rev.main, record.place) {
                continue;
            }
            record.verify();
            let (key, len) = bucket_key(record.rev, record.tombstone);
            if see(&key[..len], &record.data).is_break() {
                let Rev { main, sub } = record.rev;
                return Ok(Some(ExportPosition(Rev::new(main, sub + 1))));
            }
        }
        Ok(None)
    }
}
