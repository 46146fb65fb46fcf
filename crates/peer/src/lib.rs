//! The transport between members: etcd's protocol over HTTP/1.1, both ends.
//!
//! Between two members each opens two streams to the other and reads from them: one for appended
//! entries, one for everything else. What is sent therefore travels in the answers to the other
//! member's requests. While it has no stream open to us, messages are posted to it one by one.
//! Snapshots are posted, and some questions are asked beside raft.
//!
//! ```text
//! consensus ──▶ Transport ──▶ link ──▶ answer of a GET ═══▶ reader ──▶ Handler ──▶ consensus
//!                  │           (no stream)                                 ▲
//!                  └─────────▶ posts ──▶ POST /raft ═══════▶ server ───────┘
//! ```
//!
//! Invariants: sending never waits; what does not fit is dropped and reported, since raft sends it
//! again. Messages of one stream arrive in the order in which they were sent or not at all. A
//! message that names another receiver, or a removed sender, goes no further. Nothing here knows
//! what a message means: whoever implements [`Handler`] does.

mod body;
mod call;
mod client;
mod connect;
mod handler;
mod headers;
mod link;
mod metrics;
mod options;
mod peer;
mod picker;
mod posts;
mod probe;
mod queue;
mod reader;
mod serve;
mod shared;
mod snapshot;
mod stall;
mod status;
mod transport;
mod trouble;
mod url;

pub use body::{Database, DatabaseError};
pub use call::CallError;
pub use client::{Client, HashKvAnswer, MembersAnswer};
pub use handler::{
    Answer, Dropped, Handler, HashKv, LeaseRefusal, PromoteRefusal, SnapshotRefusal, Versions,
};
pub use metrics::{Metrics, PeerCounts};
pub use options::Options;
pub use serve::PeerServer;
pub use snapshot::DatabaseStream;
pub use transport::Transport;
pub use url::{PeerUrl, UrlError};
