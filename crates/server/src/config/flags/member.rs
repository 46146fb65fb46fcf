//! Flags of the member itself: names, directories, listeners, limits.

use tenet_cli::flag::{Flag, Kind};

/// Why bbolt's knobs do nothing.
const NO_BBOLT: &str = "the store is not bbolt and has no such knob";

/// Name of the member.
pub static NAME: Flag = Flag::new(
    "name",
    Kind::Text,
    "default",
    "Name of this member, for people.",
)
.in_file();

/// Data directory.
pub static DATA_DIR: Flag = Flag::new("data-dir", Kind::Text, "", "Directory for all data.")
    .shown_default("<name>.etcd")
    .in_file()
    .path();

/// Directory of the write-ahead log.
pub static WAL_DIR: Flag = Flag::new(
    "wal-dir",
    Kind::Text,
    "",
    "Directory for the write-ahead log, if it should be on another disk than the data.",
)
.in_file()
.path();

/// Entries between two truncations of the log.
pub static SNAPSHOT_COUNT: Flag = Flag::new(
    "snapshot-count",
    Kind::Uint64,
    "10000",
    "Applied entries after which the log is truncated. 0 means the default.",
)
.in_file();

/// Entries kept for slow followers.
pub static SNAPSHOT_CATCHUP_ENTRIES: Flag = Flag::new(
    "snapshot-catchup-entries",
    Kind::Uint64,
    "5000",
    "Entries kept in the log behind the point of truncation, for slow followers. 0 means the default.",
)
.in_file();

/// Raft tick.
pub static HEARTBEAT_INTERVAL: Flag = Flag::new(
    "heartbeat-interval",
    Kind::Uint,
    "100",
    "Milliseconds between two heartbeats of the leader.",
)
.in_file();

/// Election timeout.
pub static ELECTION_TIMEOUT: Flag = Flag::new(
    "election-timeout",
    Kind::Uint,
    "1000",
    "Milliseconds without a heartbeat after which a follower campaigns. At least five heartbeats, \
     at most 50000.",
)
.in_file();

/// Skip the first wait.
pub static INITIAL_ELECTION_TICK_ADVANCE: Flag = Flag::new(
    "initial-election-tick-advance",
    Kind::Bool,
    "true",
    "Skip most of the wait before the first election after a start.",
)
.in_file();

/// Peer listeners.
pub static LISTEN_PEER_URLS: Flag = Flag::new(
    "listen-peer-urls",
    Kind::Urls { also: &[""] },
    "http://localhost:2380",
    "URLs to listen on for other members.",
)
.in_file()
.except("nothing listens there yet; the value decides what is advertised by default");

/// Client listeners.
pub static LISTEN_CLIENT_URLS: Flag = Flag::new(
    "listen-client-urls",
    Kind::Urls { also: &[""] },
    "http://localhost:2379",
    "URLs to listen on for clients: gRPC, and HTTP unless --listen-client-http-urls is given.",
)
.in_file()
.except("`https` and `unixs` need TLS, which is refused");

/// HTTP listeners.
pub static LISTEN_CLIENT_HTTP_URLS: Flag = Flag::new(
    "listen-client-http-urls",
    Kind::Urls { also: &[""] },
    "",
    "URLs to listen on for HTTP alone. HTTP is then not served on --listen-client-urls.",
)
.in_file()
.except("`https` and `unixs` need TLS, which is refused");

/// Listeners for metrics.
pub static LISTEN_METRICS_URLS: Flag = Flag::new(
    "listen-metrics-urls",
    Kind::Urls { also: &[""] },
    "",
    "Further URLs to listen on for metrics and health.",
)
.in_file()
.except("`https` and `unixs` need TLS, which is refused");

/// Snapshot files kept.
pub static MAX_SNAPSHOTS: Flag = Flag::new(
    "max-snapshots",
    Kind::Uint,
    "5",
    "Snapshot files to keep. Deprecated in etcd.",
)
.in_file()
.no_effect("there is no series of snapshot files");

/// WAL files kept.
pub static MAX_WALS: Flag = Flag::new(
    "max-wals",
    Kind::Uint,
    "5",
    "Released files of the write-ahead log to keep. 0 keeps all.",
)
.in_file();

/// Lock pages of the database.
pub static MEMORY_MLOCK: Flag = Flag::new(
    "memory-mlock",
    Kind::Bool,
    "false",
    "Keep the database's pages in memory.",
)
.in_file()
.no_effect("there is no memory-mapped database to lock");

/// Storage quota.
pub static QUOTA_BACKEND_BYTES: Flag = Flag::new(
    "quota-backend-bytes",
    Kind::Int64,
    "0",
    "Bytes of storage at which writes are refused and an alarm is raised. 0 means 2 GiB, a negative \
     number no limit.",
)
.in_file();

/// Free list of bbolt.
pub static BACKEND_BBOLT_FREELIST_TYPE: Flag = Flag::new(
    "backend-bbolt-freelist-type",
    Kind::Text,
    "",
    "Form of bbolt's list of free pages.",
)
.in_file()
.no_effect(NO_BBOLT);

/// Time between commits of bbolt.
pub static BACKEND_BATCH_INTERVAL: Flag = Flag::new(
    "backend-batch-interval",
    Kind::Duration,
    "0s",
    "Longest time between two commits of bbolt.",
)
.in_file()
.no_effect(NO_BBOLT);

/// Operations between commits of bbolt.
pub static BACKEND_BATCH_LIMIT: Flag = Flag::new(
    "backend-batch-limit",
    Kind::Int,
    "0",
    "Most operations between two commits of bbolt.",
)
.in_file()
.no_effect(NO_BBOLT);

/// Operations of a transaction.
pub static MAX_TXN_OPS: Flag = Flag::new(
    "max-txn-ops",
    Kind::Uint,
    "128",
    "Most operations in one transaction.",
)
.in_file();

/// Bytes of a request.
pub static MAX_REQUEST_BYTES: Flag = Flag::new(
    "max-request-bytes",
    Kind::Uint,
    "1572864",
    "Largest request in bytes. More than 10 MiB is not recommended.",
)
.in_file();

/// Streams of a connection.
pub static MAX_CONCURRENT_STREAMS: Flag = Flag::new(
    "max-concurrent-streams",
    Kind::Uint32,
    "4294967295",
    "Most requests and streams open at once on one client connection.",
)
.in_file();

/// Shortest time between pings.
pub static GRPC_KEEPALIVE_MIN_TIME: Flag = Flag::new(
    "grpc-keepalive-min-time",
    Kind::Duration,
    "5s",
    "Clients that ping more often than this are disconnected.",
)
.in_file();

/// Time between the server's pings.
pub static GRPC_KEEPALIVE_INTERVAL: Flag = Flag::new(
    "grpc-keepalive-interval",
    Kind::Duration,
    "2h0m0s",
    "A connection that is silent this long is pinged. 0 never pings.",
)
.in_file();

/// Wait for the answer of a ping.
pub static GRPC_KEEPALIVE_TIMEOUT: Flag = Flag::new(
    "grpc-keepalive-timeout",
    Kind::Duration,
    "20s",
    "A connection that does not answer a ping within this time is closed. 0 never closes.",
)
.in_file();

/// `SO_REUSEPORT`.
pub static SOCKET_REUSE_PORT: Flag = Flag::new(
    "socket-reuse-port",
    Kind::Bool,
    "false",
    "Listen with SO_REUSEPORT, so that a port in use can be bound once more.",
)
.file_key("socket-options.reuse-port");

/// `SO_REUSEADDR`.
pub static SOCKET_REUSE_ADDRESS: Flag = Flag::new(
    "socket-reuse-address",
    Kind::Bool,
    "false",
    "Listen with SO_REUSEADDR, so that an address in TIME_WAIT can be bound.",
)
.file_key("socket-options.reuse-address")
.no_effect("every listener is opened with SO_REUSEADDR anyway");

/// The JSON gateway.
pub static ENABLE_GRPC_GATEWAY: Flag = Flag::new(
    "enable-grpc-gateway",
    Kind::Bool,
    "true",
    "Serve the API as JSON under /v3.",
)
.in_file()
.no_effect("there is no JSON gateway yet, whatever the value");

/// Read timeout of peer connections.
pub static RAFT_READ_TIMEOUT: Flag = Flag::new(
    "raft-read-timeout",
    Kind::Duration,
    "5s",
    "Read timeout of connections between members. At least 5s.",
)
.refused("silence between members is noticed after five seconds in any case");

/// Write timeout of peer connections.
pub static RAFT_WRITE_TIMEOUT: Flag = Flag::new(
    "raft-write-timeout",
    Kind::Duration,
    "5s",
    "Write timeout of connections between members. At least 5s.",
)
.refused("silence between members is noticed after five seconds in any case");

/// Switches of features.
pub static FEATURE_GATES: Flag = Flag::new(
    "feature-gates",
    Kind::Custom(crate::config::gates::given),
    "",
    "Switches of features, as Name=true,Name=false.",
)
.in_file()
.except("a gate that asks for what does not exist yet is refused by its name; LeaseCheckpoint is on unless it is switched off");

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &NAME,
    &DATA_DIR,
    &WAL_DIR,
    &SNAPSHOT_COUNT,
    &SNAPSHOT_CATCHUP_ENTRIES,
    &HEARTBEAT_INTERVAL,
    &ELECTION_TIMEOUT,
    &INITIAL_ELECTION_TICK_ADVANCE,
    &LISTEN_PEER_URLS,
    &LISTEN_CLIENT_URLS,
    &LISTEN_CLIENT_HTTP_URLS,
    &LISTEN_METRICS_URLS,
    &MAX_SNAPSHOTS,
    &MAX_WALS,
    &MEMORY_MLOCK,
    &QUOTA_BACKEND_BYTES,
    &BACKEND_BBOLT_FREELIST_TYPE,
    &BACKEND_BATCH_INTERVAL,
    &BACKEND_BATCH_LIMIT,
    &MAX_TXN_OPS,
    &MAX_REQUEST_BYTES,
    &MAX_CONCURRENT_STREAMS,
    &GRPC_KEEPALIVE_MIN_TIME,
    &GRPC_KEEPALIVE_INTERVAL,
    &GRPC_KEEPALIVE_TIMEOUT,
    &SOCKET_REUSE_PORT,
    &SOCKET_REUSE_ADDRESS,
    &ENABLE_GRPC_GATEWAY,
    &RAFT_READ_TIMEOUT,
    &RAFT_WRITE_TIMEOUT,
    &FEATURE_GATES,
];
