//! The log from outside: written to a disk in memory, damaged, opened again.

#![allow(
    clippy::print_stdout,
    reason = "how often what happened is shown with --nocapture"
)]

mod damage;
mod examples;
mod golden;
mod memory_disk;
mod script;
mod segments;
mod snapshots;
