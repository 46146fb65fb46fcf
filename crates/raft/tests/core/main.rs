//! The consensus core against what is known of etcd's: transcripts, twins, random clusters.

#![allow(clippy::print_stdout, reason = "tests say what they have seen")]
#![allow(clippy::disallowed_methods, reason = "transcripts are files")]

mod cluster;
mod confchange;
mod datafile;
mod hostile;
mod interaction;
mod native;
mod quorum;
mod transcripts;
mod twins;
