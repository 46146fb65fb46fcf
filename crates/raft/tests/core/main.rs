//! The consensus core against what is known of etcd's: transcripts, twins, hostile messages, random scripts.

#![allow(clippy::print_stdout, reason = "tests say what they have seen")]
#![allow(clippy::disallowed_methods, reason = "transcripts are files")]

mod confchange;
mod datafile;
mod hostile;
mod interaction;
mod native;
mod quorum;
mod scripts;
mod transcripts;
mod twins;
