//! The server: transports the node API over gRPC and HTTP, renders metrics, writes the log, and
//! is the program that `tenet` and `etcd` run.
//!
//! A member is reached only through [`api::Api`]; what is decided about data is decided there.
//! Invariants: whatever a client sends is answered or refused, never a panic, and costs bounded
//! memory per connection; the texts, codes, names and lines that other programs read are etcd's.

pub mod api;
pub mod config;
mod coordination;
mod greeting;
mod grpc;
mod http;
mod init;
pub mod listen;
mod log;
pub mod metrics;
mod node;
mod peers;
mod program;
mod pulling;
pub mod serve;

pub use program::main;

#[cfg(test)]
extern crate self as tenet_server;

#[cfg(test)]
#[path = "../tests/all/fake.rs"]
mod fake;
