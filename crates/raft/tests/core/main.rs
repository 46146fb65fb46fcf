//! The consensus core against what is known of etcd's: transcripts, twins, random clusters.

mod cluster;
mod confchange;
mod datafile;
mod hostile;
mod interaction;
mod native;
mod quorum;
mod transcripts;
mod twins;
