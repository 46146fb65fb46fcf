//! The crates and what each may use: the one table behind ARCHITECTURE.md and the test of edges.

/// One crate of the plan. Its package is named `tenet-<folder>`, but `tenet` itself.
pub(crate) struct Plan {
    pub(crate) folder: &'static str,
    pub(crate) what: &'static str,
    /// It may depend on these and on whatever is reachable through them.
    pub(crate) uses: &'static [&'static str],
    /// Whether it must not meet the world: no sockets, files, clocks, threads or randomness.
    pub(crate) pure: bool,
}

/// A crate that the simulator runs as well as the server.
const fn pure(folder: &'static str, uses: &'static [&'static str], what: &'static str) -> Plan {
    Plan {
        folder,
        what,
        uses,
        pure: true,
    }
}

/// A crate that meets the world.
const fn worldly(folder: &'static str, uses: &'static [&'static str], what: &'static str) -> Plan {
    Plan {
        folder,
        what,
        uses,
        pure: false,
    }
}

/// All crates, from the ground up.
pub(crate) const PLAN: &[Plan] = &[
    pure(
        "base",
        &[],
        "newtypes, limits, checksums, plain counters; the traits that let the world in",
    ),
    pure(
        "proto",
        &["base"],
        "the messages of etcd's wire and disk formats, and the texts of its errors",
    ),
    pure(
        "raft",
        &["base", "proto"],
        "the consensus core: step, tick, propose in; outputs out",
    ),
    pure(
        "wal",
        &["base", "proto"],
        "etcd's write-ahead log and .snap formats",
    ),
    pure(
        "bolt",
        &["base"],
        "bbolt files: reads any, writes a fresh one from a sorted stream",
    ),
    pure(
        "store",
        &["base"],
        "the revision-ordered store of key-values",
    ),
    pure(
        "mvcc",
        &["base", "proto", "store"],
        "ordered index, revisions, ranges, transactions' effects, compaction, hashes",
    ),
    pure(
        "state",
        &["mvcc"],
        "the replicated state machine: apply an entry, get response and events",
    ),
    pure(
        "member",
        &["raft", "wal", "bolt", "state"],
        "one member without sockets: consensus, log writer and applier as message-driven actors",
    ),
    worldly(
        "runtime",
        &["member"],
        "the real world for a member: threads, disk, clocks, the one door out",
    ),
    worldly("tls", &["base"], "certificates, their reload and checks"),
    worldly(
        "peer",
        &["member", "tls"],
        "the transport between members: etcd's HTTP/1.1 streams, both ends",
    ),
    pure(
        "check",
        &["proto"],
        "pure checkers: linearizability, watch guarantees, raft invariants, equal hashes",
    ),
    pure(
        "sim",
        &["member", "check"],
        "the simulated world, from one seed: scheduler, disk with faults, network, clients",
    ),
    pure(
        "lab",
        &["raft", "sim"],
        "sessions of the Raft lab: actions in, trace out",
    ),
    worldly("client", &["proto", "tls"], "a client of the v3 API"),
    worldly(
        "cli",
        &["base"],
        "one declaration per flag; printers in Go's text forms; log lines; exit codes",
    ),
    worldly(
        "server",
        &["runtime", "peer", "lab", "cli"],
        "the transports of the node API: gRPC, HTTP, metrics",
    ),
    worldly(
        "ctl",
        &["client", "runtime", "wal", "bolt", "state", "cli"],
        "etcdctl and etcdutl",
    ),
    worldly("bench", &["client", "cli"], "the load generator"),
    worldly("up", &["client", "cli"], "supervises a local cluster"),
    worldly(
        "tenet",
        &["server", "ctl", "bench", "up"],
        "the binary: picks the program by name",
    ),
];

/// The plan of a crate.
pub(crate) fn plan_of(folder: &str) -> Option<&'static Plan> {
    PLAN.iter().find(|plan| plan.folder == folder)
}

/// The package's folder, if it is one of ours.
pub(crate) fn folder_of(package: &str) -> Option<&str> {
    match package {
        "tenet" => Some("tenet"),
        other => other.strip_prefix("tenet-"),
    }
}

/// Whether the table lets `from` depend on `to`, directly or through others.
pub(crate) fn may_use(from: &Plan, to: &str) -> bool {
    from.uses
        .iter()
        .any(|&used| used == to || plan_of(used).is_some_and(|plan| may_use(plan, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_uses_only_rows_above_or_beside_it_and_nothing_twice() {
        for (at, plan) in PLAN.iter().enumerate() {
            for used in plan.uses {
                assert!(
                    PLAN[..at].iter().any(|above| above.folder == *used),
                    "{} uses {used}, which does not stand above it",
                    plan.folder
                );
            }
        }
    }

    #[test]
    fn what_is_pure_uses_only_what_is_pure() {
        for plan in PLAN.iter().filter(|plan| plan.pure) {
            for used in plan.uses {
                assert!(
                    plan_of(used).is_some_and(|plan| plan.pure),
                    "{}",
                    plan.folder
                );
            }
        }
    }

    #[test]
    fn reach_goes_through_rows_but_never_up() {
        let member = plan_of("member").unwrap();
        assert!(may_use(member, "store"));
        assert!(!may_use(member, "runtime"));
        assert!(!may_use(plan_of("base").unwrap(), "proto"));
    }
}
