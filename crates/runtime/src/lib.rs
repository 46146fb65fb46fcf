//! The real world for a member: threads, disk, clocks, mailboxes, and the one door out.
//!
//! The actors of `tenet-member` run here on plain named threads, each behind a [`mailbox`]; the
//! transports call [`Node`] from their own tasks. This crate decides nothing about data: it moves
//! messages, does the disk's work in order, and ends the process when it cannot go on.

mod clock;
mod data_dir;
mod disk;
mod fatal;
mod leases;
mod mailbox;
mod metrics;
mod node;
mod options;
mod peers;
mod reads;
mod restore;
mod snapshot;
mod store_thread;
mod threads;

pub use data_dir::{StartError, has_log};
pub use metrics::{DiskMetrics, Metrics, Timer};
pub use node::{ETCD_CLUSTER_VERSION, ETCD_VERSION, Node, Versions, start};
pub use options::Options;
pub use peers::{Elsewhere, Later, OutgoingSnapshot, Outlet, SnapshotTrouble};
pub use reads::{LongAnswer, RangeAnswer, RangeStream, Watches};
pub use restore::{RestoreError, RestoreTarget};
pub use snapshot::SnapshotStream;
pub use tenet_member::{
    BootError, Founder, Identity, NewCluster, Pulled, Retention, TakeInError, take_in,
};
