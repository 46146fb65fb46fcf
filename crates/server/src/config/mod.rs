//! The server's configuration: from command line, environment and file to one typed value.
//!
//! [`load`] decides everything that can be decided without the data directory and the network, in
//! etcd's order, with its texts and exit codes. It touches nothing but the configuration file and
//! the log files it is told to open. What it has to say while no logger is up yet comes back as
//! [`Notices`], or, when the start ends here, as a [`Stop`] that knows how to say it.
//!
//! Invariant: a flag is effective, without effect, or refused, as its declaration in [`flags`]
//! says; a [`ServerConfig`] never holds a value that is refused.

use std::path::PathBuf;
use std::time::Duration;

use tenet_cli::go::Url;
use tenet_cli::log::{Entry, Format, Level};
use tenet_runtime::Retention;

pub mod access;
mod cluster;
mod describe;
mod finish;
pub mod flags;
mod from_file;
mod gates;
mod host;
mod load;
mod meta;
mod stop;
mod validate;

#[cfg(test)]
mod tests;

pub use cluster::Bootstrap;
pub use host::default_host;
pub use load::{Invocation, load};
pub use meta::{compatibility_markdown, help, usage, version_text};
pub use stop::Stop;

/// The version of etcd whose surface this server has.
pub const ETCD_VERSION: &str = "3.7.1";

/// What the server is told to be.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Name of the member, for people.
    pub name: String,
    /// Directory for all data.
    pub data_dir: PathBuf,
    /// Directory for the log, if it is not in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// Entries between two truncations of the log; not 0.
    pub snapshot_count: u64,
    /// What history automatic compaction keeps; all if `None`.
    pub auto_compaction: Option<Retention>,
    /// Entries kept behind the point of truncation; not 0.
    pub snapshot_catchup_entries: u64,
    /// Milliseconds between heartbeats; not 0.
    pub heartbeat_ms: u64,
    /// Milliseconds until a follower campaigns: at least five heartbeats, at most 50000.
    pub election_timeout_ms: u64,
    /// Skip most of the wait before the first election.
    pub initial_election_tick_advance: bool,
    /// Peer listeners.
    pub listen_peer_urls: Vec<Url>,
    /// Client listeners.
    pub listen_client_urls: Vec<Url>,
    /// Listeners for HTTP alone; if there are any, [`Self::listen_client_urls`] serve gRPC alone.
    pub listen_client_http_urls: Vec<Url>,
    /// Listeners for metrics and health.
    pub listen_metrics_urls: Vec<Url>,
    /// Peer URLs in the member list. They enter the member's id.
    pub initial_advertise_peer_urls: Vec<Url>,
    /// Client URLs in the member list.
    pub advertise_client_urls: Vec<Url>,
    /// The first members as given; see [`Self::bootstrap`].
    pub initial_cluster: String,
    /// Whether a member without data starts a cluster or joins one.
    pub initial_cluster_state: ClusterState,
    /// Enters the ids of cluster and member.
    pub initial_cluster_token: String,
    /// Bytes of storage at which writes are refused; negative for no limit, never 0.
    pub quota_backend_bytes: i64,
    /// Most operations in a transaction.
    pub max_txn_ops: usize,
    /// Largest request in its raft encoding; at most what the 32-bit length of a gRPC message holds.
    pub max_request_bytes: usize,
    /// Most streams open at once on a client connection.
    pub max_concurrent_streams: u32,
    /// Keep-alive of client connections.
    pub keepalive: Keepalive,
    /// Listen with `SO_REUSEPORT`.
    pub socket_reuse_port: bool,
    /// Ask before campaigning.
    pub pre_vote: bool,
    /// Refuse changes of members that could cost the quorum.
    pub strict_reconfig_check: bool,
    /// Write down what is left of leases, so that it survives restarts.
    pub lease_checkpoint: bool,
    /// Renew known leases without waiting for all committed entries to be applied.
    pub fast_lease_keep_alive: bool,
    /// Released log files to keep; `None` keeps all.
    pub max_wals: Option<usize>,
    /// The log.
    pub log: LogSettings,
    /// Whether the histogram of gRPC handling times is among the metrics.
    pub extensive_metrics: bool,
    /// Unary requests that take longer are logged.
    pub warning_unary_request: Duration,
    /// How long a watch is silent before it is told how far it is.
    pub watch_progress_interval: Duration,
    /// Entries that take longer to apply are logged.
    pub warning_apply: Duration,
    /// Do not wait for the disk.
    pub unsafe_no_fsync: bool,
    /// Which HTTP requests are served.
    pub access: access::AccessRules,
    /// What is to be said about all this once the logger is up.
    pub notices: Notices,
    /// Values that are only shown.
    described: describe::Described,
}

/// Keep-alive of client connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Clients that ping more often are disconnected.
    pub min_time: Duration,
    /// A connection that is silent this long is pinged; `None` never pings.
    pub interval: Option<Duration>,
    /// A ping that is not answered in time closes the connection; `None` never closes.
    pub timeout: Option<Duration>,
}

/// Whether a member without data starts a new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// It does.
    New,
    /// It joins one that exists.
    Existing,
}

impl ClusterState {
    /// The text of the flag.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Existing => "existing",
        }
    }
}

/// How and where to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Less serious entries are dropped.
    pub level: Level,
    /// Form of a line.
    pub format: Format,
    /// Targets for [`tenet_cli::log::Outputs::open`]. They could be opened when this was decided.
    pub outputs: Vec<String>,
    /// Whether any flag about the log was given: then a person on a terminal gets log lines too.
    pub is_given: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: Level::Info,
            format: Format::Json,
            outputs: vec!["stderr".to_owned()],
            is_given: false,
        }
    }
}

/// What start-up has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Said before the log settings were known: to standard error, as JSON, whatever the settings.
    pub early: Vec<Entry>,
    /// Said through the logger.
    pub late: Vec<Entry>,
}
