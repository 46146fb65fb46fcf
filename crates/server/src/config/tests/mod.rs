//! Tests of the configuration as a whole. The rules of etcd are tested against what etcd 3.7.1 did
//! when it was run, in [`recorded`]; what is our own, here.

mod own;
mod recorded;
