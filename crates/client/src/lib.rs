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
//! | for | see |
//! |---|---|
//! | keys, transactions, compaction | [`Client::range`], [`Client::put`], [`Client::txn`], … |
//! | changes as they happen | [`Client::watch`], [`WatchOptions`] |
//! | keys that go away with whoever put them | [`Client::lease_grant`], [`Client::keep_alive`] |
//! | locks and elections | [`Session`], and [`concurrency`] on fencing |
//! | the server's own Lock and Election services | [`Client::lock_service`], [`Client::election_service`] |
//! | a part of the key space | [`Client::namespace`] |
//! | members and their state | [`Client::member_list`], [`Client::status`], [`Client::at`] |
//!
//! **Waiting.** A call waits until some endpoint is up; [`Client::with_timeout`] and
//! [`Client::with_deadline`] give clones whose calls end with [`Error::Deadline`] instead. Watches,
//! keep-alives and sessions go on until they are dropped.
//!
//! **Repeating.** A call that surely never reached a server is sent again on another connection:
//! it was not written, or the server promised not to have looked at it. Beyond that, only reads are
//! repeated, when the server was unavailable. A write that failed in a way that leaves its outcome
//! open is never repeated; [`Error::is_definite`] tells the two kinds of failure apart. A write
//! whose outcome is open can be made repeatable by the caller, with a transaction that compares the
//! revision of what it is about to change.
//!
//! Invariant: no write is sent twice unless the first sending cannot have been processed. This
//! crate prints nothing: whoever wants to see failed attempts gives an [`Observer`].
//!
//! Connections, watches and keep-alives are driven by tasks on the tokio runtime of the first call,
//! and end with the last clone of the client.

mod auth;
mod call;
mod client;
mod cluster;
pub mod concurrency;
mod config;
mod duplex;
mod error;
mod keep_alive;
mod kv;
mod lease;
mod ledger;
mod maintenance;
mod namespace;
mod range;
mod snapshot;
mod transport;
mod watch;

pub use client::Client;
pub use concurrency::{ConcurrencyError, Leader, Leadership, Lock, Session};
pub use config::{Config, ConfigError, Credentials, FailedAttempt, KeepAlive, Observer};
pub use error::{Error, Status};
pub use keep_alive::{LeaseEnd, LeaseKeepAlive};
pub use kv::RangeStream;
pub use range::KeyRange;
pub use snapshot::Snapshot;
pub use tenet_base::limits::CLIENT_WATCH_BUFFER_BYTES_MAX as WATCH_BUFFER_BYTES_MAX;
pub use transport::Peer;
pub use watch::{Update, Watch, WatchError, WatchOptions};

/// The messages of the API.
pub use tenet_proto::etcdserverpb as proto;
/// Key-values and the events of watches.
pub use tenet_proto::mvccpb as kv_proto;
/// The messages of the Election service.
pub use tenet_proto::v3electionpb as election_proto;
/// The messages of the Lock service.
pub use tenet_proto::v3lockpb as lock_proto;

/// Generated: the client side of the services.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
mod services {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}
