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

mod history;
mod mvcc;
mod request;
mod stream;
mod view;

pub use history::{Change, CheckpointError, CheckpointWriter};
pub use mvcc::{Mvcc, WriteTxn};
pub use request::{KeyMeta, KvHash, MvccError, RangeResult, Size};
pub use stream::{RangeChunk, RangeEnd, RangeStream};
pub use view::{View, Views};
