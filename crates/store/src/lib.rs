//! The store of key-values: a log-structured store in revision order.
//!
//! **The revision is the place.** A record is found by its revision and by nothing else, so
//! records can be moved without telling the index. Records are opaque bytes here; each carries a
//! CRC-32C from the moment it is appended, and none is given out of a file whose bytes do not
//! have it.
//!
//! [`Store`] is the writer's half and [`View`] the readers': an immutable state that the writer
//! never waits for. Nothing is written on the way of an append: a [`Job`], run elsewhere, makes
//! what was appended durable (a *flush*, up to a *cut*), or gives the room of released records
//! back (a *rewrite*). The log is what makes a write durable; the store only has to be complete
//! up to its cut.
//!
//! Invariants: revisions only grow; a record is what was appended under its revision, or is gone
//! after it was released; a view shows for as long as it lives what it showed at first; what is
//! on the medium is at any moment one whole cut.
//!
//! This crate knows nothing of keys, of versions of a key, or of when a record is superseded.

pub mod chunk;
mod directory;
mod error;
mod file;
mod job;
mod manifest;
mod marks;
mod open;
mod rev;
mod scrub;
mod segment;
mod segments;
#[cfg(test)]
mod tests;
pub mod varint;
mod view;

use bytes::Bytes;
pub use error::{Patience, ReadError};
pub use file::{FileId, FileKind, SegmentMeta, path};
pub use job::{Chunks, Done, Job, Sides};
pub use manifest::{Cut, IndexFile, Manifest, SideFile};
pub use marks::Marks;
pub use open::{Found, OpenError, Opened, open};
pub use rev::Rev;
pub use scrub::{Damage, ScrubStep, Scrubbed};
pub use segment::{Place, Record, RecordInfo};
pub use segments::Store;
pub use view::{Hot, Scan, View};

/// Reading one record.
pub trait Records {
    /// The record at `rev`; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError>;

    /// The length of the record at `rev`, without reading it.
    fn len(&self, rev: Rev) -> Option<usize>;
}

/// The room that a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of all records and their directories.
    pub total_bytes: u64,
    /// The part that is not released.
    pub live_bytes: u64,
}

impl<R: Records> Records for &R {
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError> {
        (**self).get(rev)
    }

    fn len(&self, rev: Rev) -> Option<usize> {
        (**self).len(rev)
    }
}
