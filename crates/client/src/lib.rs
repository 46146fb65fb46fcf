//! A client of etcd's v3 API, for Tenet and for etcd.
//!
//! A [`Client`] knows some endpoints of one cluster, keeps a connection to each, and spreads calls
//! over those that are up. Requests and answers are the messages of the API ([`proto`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tenet_client::{Client, Config, KeyRange, proto::{PutRequest, RangeRequest}};
//!
//! let client = Client::new(Config::new(["127.0.0.1:2379"]))?;
//! let put = PutRequest { key: "greeting".into(), value: "hello".into(), ..Default::default() };
//! client.put(put).await?;
//! let answer = client.range(RangeRequest::from(KeyRange::prefix("greet"))).await?;
//! assert_eq!(answer.kvs[0].value, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! **Waiting.** A call waits until some endpoint is up; [`Client::with_timeout`] and
//! [`Client::with_deadline`] give clones whose calls end with [`Error::Deadline`] instead.
//!
//! **Repeating.** A call that surely never reached a server is sent again on another connection.
//! Beyond that, only reads are repeated, when the server was unavailable. A write that failed in a
//! way that leaves its outcome open is never repeated; [`Error::is_definite`] tells the two kinds
//! of failure apart.
//!
//! Invariant: no write is sent twice unless the first sending cannot have been processed. This
//! crate prints nothing: whoever wants to see failed attempts gives an [`Observer`].
//!
//! Connections are driven by tasks on the tokio runtime of the first call, and end with the last
//! clone of the client.

mod auth;
mod call;
mod client;
mod cluster;
mod config;
mod error;
mod kv;
mod maintenance;
mod range;
mod transport;

pub use client::Client;
pub use config::{Config, ConfigError, Credentials, FailedAttempt, KeepAlive, Observer};
pub use error::{Error, Status};
pub use kv::RangeStream;
pub use range::KeyRange;
pub use transport::Peer;

/// The messages of the API.
pub use tenet_proto::etcdserverpb as proto;

/// Generated: the client side of the services.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod services {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}
