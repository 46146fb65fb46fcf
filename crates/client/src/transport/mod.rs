//! Connections to the endpoints, and who of them gets the next call.
//!
//! Knows HTTP/2 and nothing of the API.

mod connection;
mod endpoint;
mod failure;
mod pool;
mod socket;

pub(crate) use connection::Channel;
pub use connection::Peer;
pub(crate) use endpoint::Endpoint;
pub(crate) use failure::Failure;
pub(crate) use pool::{Pool, spread};
