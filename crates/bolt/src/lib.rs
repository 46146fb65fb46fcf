//! bbolt files, etcd's database format: reads any of them, writes a fresh one from a sorted stream.
//!
//! Reading ([`Db`]) goes through a [`Source`] and takes one page at a time. Writing takes the same
//! stream twice: a [`Planner`] sees keys and lengths of values and finds where everything will
//! stand; a [`Writer`] then gives the bytes of the file from the first to the last, so that it can
//! be sent on while it comes into being, and holds no more than the pages it is filling.
//!
//! Invariants: whatever the bytes are, reading ends with an error that says where, never with a
//! panic, and never holds more than one path of pages; a written file has every page reachable
//! once, keys strictly ascending, and nothing that bbolt's own check objects to.
//!
//! This crate does no I/O and knows nothing of etcd's buckets or what is in them.

mod error;
mod format;
mod read;
mod write;

pub use error::{BoltError, WriteError};
pub use format::PAGE_BYTES;
pub use read::{Bucket, Content, Db, Entry, Source, SourceError, Walk};
pub use write::{Plan, Planner, Writer};
