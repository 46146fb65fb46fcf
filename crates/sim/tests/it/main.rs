//! Crash tests of the crates below `member`, on the simulated disk.

#![allow(
    clippy::print_stdout,
    reason = "how often what happened is shown with --nocapture"
)]

mod wal_crashes;
mod wal_work;
