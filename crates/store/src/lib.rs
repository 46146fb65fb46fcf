//! The store of key-values, in revision order.
//!
//! **The revision is the place.** A record is found by its revision and by nothing else, so
//! records can be moved without telling the index. Records are opaque bytes here; each carries a
//! CRC-32C from the moment it is appended.
//!
//! [`Store`] is the writer's half and [`StoreView`] the readers': an immutable state that the
//! writer never waits for. [`MemStore`] holds everything in memory.
//!
//! Invariants: revisions only grow; a record is what was appended under its revision, or is gone
//! after it was released; a view shows for as long as it lives what it showed at first.
//!
//! This crate knows nothing of keys, of versions of a key, or of when a record is superseded.

pub mod chunk;
mod marks;
mod mem;
mod rev;
mod segment;
pub mod varint;

pub use marks::Marks;
pub use mem::{MemStore, MemView};
pub use rev::Rev;
pub use segment::{Place, Record};

use bytes::Bytes;

/// Reading one record.
pub trait Records {
    /// The record at `rev`. Shares memory with the store; `None` if there is none.
    fn get(&self, rev: Rev) -> Option<Bytes>;
}

/// The readers' half: an immutable state of the store.
pub trait StoreView: Records + Clone {
    /// All records from `from` on, oldest first. Some of them may have been released.
    fn scan(&self, from: Rev) -> impl Iterator<Item = Record<'_>>;

    /// The record at `rev`.
    fn find(&self, rev: Rev) -> Option<Record<'_>>;
}

/// The writer's half.
pub trait Store: Records {
    /// What readers hold.
    type View: StoreView;

    /// Appends a record, whose bytes `encode` writes behind what the buffer already holds.
    ///
    /// # Panics
    /// If `rev` is not above all that were appended before: the order is what recovery, hashes
    /// and watchers rest on.
    fn append(&mut self, rev: Rev, tombstone: bool, encode: impl FnOnce(&mut Vec<u8>));

    /// Ends the batch of appends so far and gives a view that shows it.
    fn view(&mut self) -> Self::View;

    /// Says that no reader of later views will ask for this record; its room may be taken back.
    ///
    /// # Panics
    /// If there is no such record or it was released before: the index and the store disagree.
    fn release(&mut self, rev: Rev);

    /// Rewrites segments that hold much released room, looking at up to about `budget_records`
    /// records. Returns how many it looked at: zero when there is nothing to gain.
    fn maintain(&mut self, budget_records: usize) -> usize;

    /// How much room is taken, and how much of it by records that are not released.
    fn size(&self) -> StoreSize;
}

/// The room that a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreSize {
    /// Bytes of all records and their directories.
    pub total_bytes: u64,
    /// The part that is not released.
    pub live_bytes: u64,
}
