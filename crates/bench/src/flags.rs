//! The flags of the load generator, each declared once.

use tenet_cli::flag::{Flag, Group, Kind};

pub(crate) static ENDPOINTS: Flag = Flag::new(
    "endpoints",
    Kind::List,
    "127.0.0.1:2379",
    "Servers, host and port.",
);
pub(crate) static JSON: Flag = Flag::new(
    "json",
    Kind::Bool,
    "false",
    "Print the report as one JSON document.",
);
pub(crate) static QUIET: Flag = Flag::new("quiet", Kind::Bool, "false", "Draw no progress bar.");
pub(crate) static SERVER_PID: Flag = Flag::new(
    "server-pid",
    Kind::Uint32,
    "0",
    "Report the CPU time and memory of this process as the server's.",
);

pub(crate) static PREFIX: Flag = Flag::new("prefix", Kind::Text, "", "What all keys begin with.");
pub(crate) static KEY_SIZE: Flag = Flag::new(
    "key-size",
    Kind::Uint,
    "8",
    "Bytes of a key, with the prefix.",
);
pub(crate) static KEY_SPACE: Flag = Flag::new(
    "key-space-size",
    Kind::Uint64,
    "100000",
    "Number of distinct keys.",
);
pub(crate) static SEED: Flag =
    Flag::new("seed", Kind::Uint64, "1", "Seed of random keys and values.");

pub(crate) static ORDER: Flag = Flag::new(
    "order",
    Kind::Choice(&["random", "sequential"]),
    "random",
    "Order in which the key space is walked: random or sequential.",
);
pub(crate) static CONNS: Flag = Flag::new("conns", Kind::Uint, "1", "Connections.");
pub(crate) static CLIENTS: Flag = Flag::new(
    "clients",
    Kind::Uint,
    "1",
    "Clients, each with one call at a time, spread over the connections.",
);
pub(crate) static THREADS: Flag =
    Flag::new("threads", Kind::Uint, "1", "Threads of the load generator.");
pub(crate) static TOTAL: Flag = Flag::new(
    "total",
    Kind::Uint64,
    "0",
    "Stop after this many operations instead of after --duration.",
);
pub(crate) static DURATION: Flag =
    Flag::new("duration", Kind::Duration, "10s", "How long to measure.");
pub(crate) static WARM_UP: Flag = Flag::new(
    "warm-up",
    Kind::Duration,
    "1s",
    "How long to run before measuring.",
);
pub(crate) static RATE: Flag = Flag::new(
    "rate",
    Kind::Uint,
    "0",
    "Start this many operations a second whatever the server does; a latency then runs from the \
     moment an operation was due.",
);

pub(crate) static VALUE_SIZE: Flag = Flag::new("val-size", Kind::Uint, "256", "Bytes of a value.");
pub(crate) static CONSISTENCY: Flag = Flag::new(
    "consistency",
    Kind::Choice(&["l", "s"]),
    "l",
    "Linearizable or serializable reads: l or s.",
);
pub(crate) static RANGE_LIMIT: Flag = Flag::new(
    "limit",
    Kind::Uint32,
    "1",
    "Keys read by a call, from a key of the space on.",
);

pub(crate) static PAGE_LIMIT: Flag = Flag::new("limit", Kind::Uint32, "500", "Keys of a page.");
pub(crate) static STRIDE: Flag = Flag::new(
    "stride",
    Kind::Uint64,
    "1",
    "Read only every n-th page, for a slow server.",
);
pub(crate) static PINNED: Flag = Flag::new(
    "pinned",
    Kind::Bool,
    "false",
    "Read all pages at the revision of the first.",
);

pub(crate) static WATCHERS: Flag = Flag::new("watchers", Kind::Uint, "1000", "Watches.");
pub(crate) static TARGET: Flag = Flag::new(
    "target",
    Kind::Choice(&["one", "each", "range", "all"]),
    "one",
    "What they watch: one key for all, a key each, a range each, or all keys.",
);
pub(crate) static STREAM_EACH: Flag = Flag::new(
    "stream-each",
    Kind::Bool,
    "false",
    "Give each watch a stream of its own instead of one for all of a connection.",
);
pub(crate) static DEAF: Flag = Flag::new(
    "deaf",
    Kind::Uint,
    "0",
    "Further watches of all keys that never read what comes, each on its own connection.",
);
pub(crate) static HISTORY: Flag = Flag::new(
    "history",
    Kind::Bool,
    "false",
    "Put nothing: watch from revision 1, until --total events have come to each watch.",
);
pub(crate) static PART: Flag = Flag::new(
    "part",
    Kind::Choice(&["grant", "renew", "storm", "revoke"]),
    "grant",
    "What to measure: grants, renewals of what was granted, leases of one key that all end within \
     a second, or the revoke of one lease with all the keys.",
);
pub(crate) static LEASES: Flag = Flag::new(
    "leases",
    Kind::Uint64,
    "100000",
    "Number of leases; of keys on the one lease of revoke.",
);
pub(crate) static TTL: Flag = Flag::new(
    "ttl",
    Kind::Uint32,
    "600",
    "Seconds that leases live. Those of a storm are all over this long after its start.",
);
pub(crate) static PUT_RATE: Flag = Flag::new(
    "put-rate",
    Kind::Uint32,
    "1000",
    "Puts per second that feel a storm or a revoke.",
);
pub(crate) static STREAMS: Flag = Flag::new(
    "clients",
    Kind::Uint,
    "500",
    "Clients, each with one call or stream at a time, spread over the connections.",
);
pub(crate) static LEASE_CONNS: Flag = Flag::new("conns", Kind::Uint, "8", "Connections.");

pub(crate) static LISTEN: Flag = Flag::new(
    "listen",
    Kind::Text,
    "127.0.0.1:2379",
    "Address to serve on.",
);
pub(crate) static FLOOR_THREADS: Flag =
    Flag::new("threads", Kind::Uint, "2", "Threads of the server.");
pub(crate) static FLOOR_VALUE_SIZE: Flag = Flag::new(
    "val-size",
    Kind::Uint,
    "256",
    "Bytes of the value that a range answers.",
);

pub(crate) const REPORT: Group = Group {
    title: "Report",
    flags: &[&ENDPOINTS, &JSON, &QUIET, &SERVER_PID],
};
pub(crate) const KEY_FLAGS: Group = Group {
    title: "Keys",
    flags: &[&PREFIX, &KEY_SIZE, &KEY_SPACE, &SEED],
};
pub(crate) const LOAD: Group = Group {
    title: "Load",
    flags: &[
        &ORDER, &CONNS, &CLIENTS, &THREADS, &TOTAL, &DURATION, &WARM_UP, &RATE,
    ],
};
pub(crate) const PUT: Group = Group {
    title: "Put",
    flags: &[&VALUE_SIZE],
};
pub(crate) const RANGE: Group = Group {
    title: "Range",
    flags: &[&CONSISTENCY, &RANGE_LIMIT],
};
pub(crate) const PAGES: Group = Group {
    title: "Pages",
    flags: &[&PAGE_LIMIT, &STRIDE, &PINNED],
};
pub(crate) const WATCH: Group = Group {
    title: "Watch",
    flags: &[&WATCHERS, &TARGET, &STREAM_EACH, &DEAF, &HISTORY],
};
pub(crate) const LEASE: Group = Group {
    title: "Leases",
    flags: &[&PART, &LEASES, &TTL, &PUT_RATE, &STREAMS, &LEASE_CONNS],
};
pub(crate) const FLOOR: Group = Group {
    title: "Floor",
    flags: &[&LISTEN, &FLOOR_THREADS, &FLOOR_VALUE_SIZE],
};
