//! Members that talk over loopback, and callers that do not behave.

mod garbage;
mod questions;
mod refusals;
mod secure;
mod snapshots;
mod streams;
mod world;
