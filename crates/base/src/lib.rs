//! The ground that every crate of Tenet stands on: newtypes for the numbers that must never be
//! mixed up, all limits in one file, checksums, counters, and the traits through which time,
//! randomness and the disk come in.
//!
//! Invariant: nothing here does I/O, reads a clock or draws a random number. Code that is given
//! these traits behaves the same in the server and in the simulator.

pub mod counters;
pub mod crc;
pub mod disk;
pub mod ids;
pub mod limits;
pub mod memory_disk;
pub mod world;

pub use ids::{ClusterId, Index, LeaseId, MemberId, Revision, Term};
pub use world::{Clock, Rng};
