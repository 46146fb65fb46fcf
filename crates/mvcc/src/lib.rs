//! The multi-version key-value store: one writer, many readers that never wait for it.
//!
//! [`Mvcc`] is the writer's half, owned by the applier. [`Views`] is the readers' half: each
//! [`View`] is an immutable, consistent state with the applied index it stands for.
//!
//! Invariants: a view never changes; every answer at a revision depends only on what was written
//! and on the compact revision, never on how far the physical work of a compaction has come; one
//! write transaction raises the main revision by one if and only if it changed something.
//!
//! This crate knows nothing of raft, leases, users or sockets: it is told what to write.

mod events;
mod export;
mod hash;
mod import;
mod index;
mod index_file;
mod interest;
mod long;
mod maintain;
mod mvcc;
mod plan;
mod range;
mod record;
mod recover;
mod request;
mod stream;
mod txn;
mod view;

pub use events::{Event, History};
pub use export::{Export, ExportPosition};
pub use import::{Import, ImportError, Imported};
pub use index::IndexStats;
pub use index_file::IndexWriter;
pub use interest::{Interest, InterestIndex};
pub use long::{LongRange, Measured, Opened};
pub use mvcc::Mvcc;
pub use request::{KeyMeta, KvHash, MvccError, RangeResult, Size};
pub use stream::{RangeChunk, RangeEnd, RangeStream};
pub use txn::{Change, WriteTxn};
pub use view::{View, Views};
