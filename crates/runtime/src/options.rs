//! What the runtime is told at the start.

use std::path::PathBuf;
use std::time::Duration;
use tenet_member::{Founder, Identity, Retention};

/// Everything that flags can say about a member, already checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// The member's name (`--name`).
    pub name: String,
    /// Where its data lives (`--data-dir`).
    pub data_dir: PathBuf,
    /// Where its log lives, if elsewhere (`--wal-dir`).
    pub wal_dir: Option<PathBuf>,
    /// The client URLs it publishes (`--advertise-client-urls`).
    pub advertise_client_urls: Vec<String>,
    /// The members of a new cluster, this one among them (`--initial-cluster`).
    pub initial_cluster: Vec<Founder>,
    /// What enters the ids of a new cluster (`--initial-cluster-token`).
    pub initial_cluster_token: String,
    /// Who this member is in a running cluster that it is to join.
    pub joins: Option<Identity>,
    /// Whether changes of members that could cost the quorum are refused
    /// (`--strict-reconfig-check`).
    pub strict_reconfiguration: bool,
    /// Entries applied between two flushes of the state (`--snapshot-count`).
    pub snapshot_count: u64,
    /// What history automatic compaction keeps (`--auto-compaction-mode`,
    /// `--auto-compaction-retention`).
    pub auto_compaction: Option<Retention>,
    /// Entries kept for slow followers (`--snapshot-catchup-entries`).
    pub snapshot_catchup_entries: u64,
    /// Log segments kept at least (`--max-wals`, 0 for all).
    pub keep_segments: usize,
    /// Length of a tick (`--heartbeat-interval`).
    pub heartbeat_ms: u64,
    /// Time without a leader before an election (`--election-timeout`).
    pub election_ms: u64,
    /// Skip most of the wait for the first election (`--initial-election-tick-advance`).
    pub initial_election_tick_advance: bool,
    /// Ask before campaigning (`--pre-vote`).
    pub pre_vote: bool,
    /// Storage quota in bytes: zero for the default, negative for none
    /// (`--quota-backend-bytes`).
    pub quota_bytes: i64,
    /// Write down what is left of leases, so that it survives restarts
    /// (`--feature-gates LeaseCheckpoint`).
    pub lease_checkpoints: bool,
    /// Renew known leases without waiting for all committed entries to be applied
    /// (`--feature-gates FastLeaseKeepAlive`).
    pub fast_lease_keep_alive: bool,
    /// Largest request (`--max-request-bytes`).
    pub request_bytes_max: usize,
    /// Operations in a transaction (`--max-txn-ops`).
    pub txn_ops_max: usize,
    /// Learners that a cluster may have (`--max-learners`).
    pub learners_max: usize,
    /// How long a watch is silent before it is told how far it is
    /// (`--watch-progress-notify-interval`).
    pub watch_progress_interval_ms: u64,
    /// Stretches of entries that take longer to apply are counted as slow
    /// (`--warning-apply-duration`).
    pub slow_apply: Duration,
    /// Make nothing durable (`--unsafe-no-fsync`).
    pub unsafe_no_fsync: bool,
}
