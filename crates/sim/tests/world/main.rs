//! Whole members in the simulated world: one alone, and clusters.

#![allow(clippy::print_stdout)]

mod cluster;
mod determinism;
mod faults;
mod full_disk;
mod histories;
mod leases;
mod power_loss;
mod rot;
mod scene;
mod watches;
