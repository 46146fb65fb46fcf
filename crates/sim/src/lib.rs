//! The simulated world, from one seed.
//!
//! The same `member` and `raft` that the server runs are driven here by a simulated disk, network
//! and clock, so that a run is a pure function of its seed and its list of faults.
//!
//! Invariant: nothing here reads a real clock, draws from another source than the seed, or starts
//! a thread; equal seeds give equal traces.

pub mod cluster;
pub mod disk;
pub mod history;
pub mod member;
pub mod raft;
pub mod workload;
