//! The store against a dumb twin: a map of the full history of every key, obvious code.
mod bucket;
mod files;
mod harness;
mod histories;
mod long;
mod reclaim;
mod recorded;
mod recovery;
mod streams;
mod threads;
mod twin;
