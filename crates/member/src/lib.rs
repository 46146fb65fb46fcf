//! One member without sockets.
//!
//! Four actors exchange messages: [`Consensus`] drives the raft core and keeps who waits,
//! [`LogWriter`] makes entries durable, [`Applier`] feeds committed entries to the state machine
//! and answers, [`Keeper`] makes the state durable so that the log can be truncated. Beside
//! them, [`Frontend`] checks and encodes requests on the caller's thread and runs reads on
//! published views. The [`Lessor`] counts the time of leases. [`boot`] brings all of them up from a data directory, new or old.
//!
//! ```text
//! Frontend ──▶ Consensus ──▶ LogWriter ──▶ disk
//!                 ▲  │           │
//!                 │  └◀──────────┘ durable
//!                 │  └──▶ Applier ──▶ waiters, published views
//!                 └─────────┘ │
//!                  applied    └──▶ Keeper ──▶ disk
//! ```
//!
//! Invariants: nothing here does I/O, reads a clock, starts a thread or draws a random number, so
//! the simulator runs exactly this code. A write is answered only after it is durable in this
//! member's log, committed, applied and published. Whoever drives the actors gives each its inputs
//! in the order in which they were produced, and ends the process on the first `fatal` output.

mod applier;
mod boot;
mod compactor;
mod consensus;
mod duties;
mod frontend;
mod identity;
mod incoming;
mod keeper;
mod lease;
mod log_writer;
mod messages;
mod pace;
mod progress;
mod proposal;
mod reads;
mod received;
mod reconfigure;
mod restored;
mod room;
mod snapshot;
mod space;
mod waiter;
mod watch;

pub use applier::{Applier, ApplyInput, ApplyOutputs, FlushPolicy, StopReason};
pub use boot::{BootError, Booted, Founder, Options, boot};
pub use compactor::{Compactor, Retention};
pub use consensus::{Consensus, Timeouts};
pub use duties::Duties;
pub use frontend::{Frontend, Limits, Write};
pub use identity::{Identity, RequestIds};
pub use keeper::{GivenUp, KeepError, Keeper, Kept, StoreJob};
pub use lease::{LeaseCounts, LeaseOptions, Lessor, Remaining, Renewal};
pub use log_writer::{LogInput, LogOutputs, LogWriter};
pub use messages::{Asked, Committed, Input, LogAppend, Notice, Outputs};
pub use progress::{Permit, Progress};
pub use proposal::{Change, Prepared, Proposal};
pub use received::{Receiver, TakeInError, take_in};
pub use reconfigure::Surroundings;
pub use restored::{NewCluster, NewDirectory};
pub use snapshot::{SnapshotError, SnapshotFile};
pub use space::SpaceNews;
pub use waiter::{Outcome, Waiter};
pub use watch::{Pulled, WatchCounts, WatchHub, WatchOptions, WatchSession};
