//! The server: transports the node API over gRPC and HTTP, renders metrics, writes the log, and
//! is the program that `tenet` and `etcd` run.
//!
//! A member is reached only through [`api::Api`]; what is decided about data is decided there.
//! Invariants: whatever a client sends is answered or refused, never a panic, and costs bounded
//! memory per connection; the texts, codes, names and lines that other programs read are etcd's.

pub mod api;
mod grpc;
mod http;
pub mod listen;
pub mod metrics;
pub mod serve;

pub use http::HttpSettings;
