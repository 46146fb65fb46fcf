//! The store against a dumb twin: a map of the full history of every key, obvious code.

mod bucket;
mod checkpoints;
mod harness;
mod histories;
mod reclaim;
mod recorded;
mod streams;
mod threads;
mod twin;
