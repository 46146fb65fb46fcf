//! The flags of etcdutl.

use tenet_cli::flag::{Flag, Kind};

use crate::flags::flag;

flag!(
    TIMEOUT,
    "timeout",
    Duration,
    "10s",
    "Time to wait for the lock of a database; 0 means for ever."
);
pub(super) static WRITE_OUT: Flag = Flag::new(
    "write-out",
    Kind::Text,
    "simple",
    "Format of the answer: fields, json, protobuf, simple or table.",
)
.short('w');

/// The flags of all commands.
pub(super) static GLOBAL: &[&Flag] = &[&TIMEOUT, &WRITE_OUT];

flag!(
    DATA_DIR,
    "data-dir",
    Text,
    "",
    "The data directory to make; empty means <name>.etcd."
);
flag!(
    WAL_DIR,
    "wal-dir",
    Text,
    "",
    "Where the log goes; empty means below the data directory."
);
flag!(
    INITIAL_CLUSTER,
    "initial-cluster",
    Text,
    "default=http://localhost:2380",
    "The members of the new cluster, as name=URL, by commas."
);
flag!(
    INITIAL_CLUSTER_TOKEN,
    "initial-cluster-token",
    Text,
    "etcd-cluster",
    "What the ids of the new cluster are made with."
);
flag!(
    INITIAL_ADVERTISE_PEER_URLS,
    "initial-advertise-peer-urls",
    Text,
    "http://localhost:2380",
    "The peer URLs of this member, by commas."
);
flag!(NAME, "name", Text, "default", "The name of this member.");
flag!(
    SKIP_HASH_CHECK,
    "skip-hash-check",
    Bool,
    "false",
    "Take a file without a checksum, such as a copy of etcd's member/snap/db."
);
flag!(
    INITIAL_MEMORY_MAP_SIZE,
    "initial-memory-map-size",
    Uint64,
    "10737418240",
    "Has no meaning here; it is for etcd's database."
);
flag!(
    BUMP_REVISION,
    "bump-revision",
    Uint64,
    "0",
    "Go so many revisions beyond the newest, so that no client sees one go back."
);
flag!(
    MARK_COMPACTED,
    "mark-compacted",
    Bool,
    "false",
    "Compact at the newest revision; needed with --bump-revision, and only there."
);

/// The flags of `snapshot restore`.
pub(super) static RESTORE: &[&Flag] = &[
    &DATA_DIR,
    &WAL_DIR,
    &INITIAL_CLUSTER,
    &INITIAL_CLUSTER_TOKEN,
    &INITIAL_ADVERTISE_PEER_URLS,
    &NAME,
    &SKIP_HASH_CHECK,
    &INITIAL_MEMORY_MAP_SIZE,
    &BUMP_REVISION,
    &MARK_COMPACTED,
];
