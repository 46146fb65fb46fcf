//! Leases in time: when they end, who may renew them, and what of it survives a restart.
//!
//! The state machine knows which leases there are and which keys hang on them; it has no clock.
//! The [`Lessor`] of the leading member gives each a deadline, proposes a revoke once it has
//! passed, and lets clients put it off.

mod lessor;
mod table;
mod waits;
mod wheel;

pub use lessor::{LeaseCounts, LeaseOptions, Lessor, Remaining, Renewal};
