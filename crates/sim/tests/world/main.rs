//! One whole member in the simulated world.

#![allow(clippy::print_stdout)]

mod determinism;
mod histories;
mod leases;
mod power_loss;
mod scene;
mod watches;
