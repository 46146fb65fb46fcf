//! The replicated state machine: committed entries in, answers and a new state out.
//!
//! [`State`] is the writer's half, owned by whoever applies the log; [`StateViews`] is the
//! readers' half. Beside them stand what is checked before a request is proposed ([`check_txn`]
//! and its like, [`Quota`]) and reads of a published view ([`read_range`], [`read_txn`]).
//!
//! Invariants: what an entry does depends only on the entries before it, never on a clock, on
//! chance or on this member's disk; either an entry is applied as a whole or nothing of it is;
//! readers see the state after some entry, never one in between.
//!
//! This crate knows nothing of raft's protocol, the log on disk, threads or sockets.

mod alarm;
mod answer;
mod apply;
mod auth;
mod base64;
mod check;
mod durable;
mod export;
mod identity;
mod import;
mod kv;
mod lease;
mod members;
mod quota;
mod read;
mod state;
mod tables;
#[cfg(test)]
mod tests;
mod txn;
mod version;
mod views;

pub use answer::{Applied, ConfApplied, Fatal, Response};
pub use check::{check_delete_range, check_put, check_range, check_range_stream, check_txn};
pub use durable::{HashJob, RecoverError};
pub use export::{Export, TableBucket};
pub use identity::{added_member_id, bootstrap_member_id, cluster_id};
pub use import::{Beginning, Import, ImportError};
pub use lease::Lease;
pub use members::{Member, promotion_json};
pub use quota::{Quota, lease_grant_cost, put_cost, txn_cost};
pub use read::{
    CannotRead, read_hash_kv, read_range, read_range_cached, read_txn, read_txn_cached,
};
pub use state::{Config, State};
pub use txn::{is_read_only, is_serializable};
pub use version::Version;
pub use views::{ClusterView, StateView, StateViews};
