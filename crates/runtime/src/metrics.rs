//! What a running member counts, for whoever renders metrics.

use std::time::Duration;
use tenet_base::counters::{Counter, Histogram};

/// Bounds of the disk histograms in seconds: 1 ms doubling to 8.192 s, as in etcd.
const DISK_SECONDS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192,
];

/// Bounds of the times of snapshots in seconds: 10 ms doubling to 655.36 s, as in etcd.
const SNAPSHOT_SECONDS: &[f64] = &[
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84,
    327.68, 655.36,
];

/// What the disk threads count.
#[derive(Debug)]
pub struct DiskMetrics {
    /// Time of each sync of the log.
    pub wal_sync: Timer,
    /// Bytes written to the log.
    pub wal_bytes: Counter,
}

impl Default for DiskMetrics {
    fn default() -> Self {
        DiskMetrics {
            wal_sync: Timer::new(DISK_SECONDS),
            wal_bytes: Counter::new(),
        }
    }
}

/// A histogram of durations.
#[derive(Debug)]
pub struct Timer(Histogram);

impl Timer {
    fn new(bounds: &'static [f64]) -> Self {
        Timer(Histogram::new(bounds))
    }

    pub(crate) fn record(&self, took: Duration) {
        self.0.record(took.as_secs_f64());
    }

    /// The histogram, in seconds.
    pub fn histogram(&self) -> &Histogram {
        &self.0
    }
}

/// What the requests and actors of a member count. Names of etcd's metrics stand beside each.
#[derive(Debug)]
pub struct Metrics {
    /// `etcd_disk_wal_fsync_duration_seconds`, `etcd_disk_wal_write_bytes_total`.
    pub disk: std::sync::Arc<DiskMetrics>,
    /// `etcd_mvcc_put_total`.
    pub puts: Counter,
    /// `etcd_mvcc_delete_total`.
    pub deletes: Counter,
    /// `etcd_mvcc_txn_total`.
    pub txns: Counter,
    /// `etcd_mvcc_range_total`.
    pub ranges: Counter,
    /// `etcd_server_proposals_failed_total`.
    pub proposals_failed: Counter,
    /// `etcd_server_slow_apply_total`.
    pub slow_applies: Counter,
    /// `etcd_server_read_indexes_failed_total`.
    pub read_indexes_failed: Counter,
    /// `etcd_disk_backend_snapshot_duration_seconds`.
    pub snapshots: Timer,
    /// `tenet_store_scrubbed_bytes_total`.
    pub scrubbed_bytes: Counter,
    /// `tenet_store_damages_found_total`.
    pub damages_found: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            disk: std::sync::Arc::default(),
            puts: Counter::new(),
            deletes: Counter::new(),
            txns: Counter::new(),
            ranges: Counter::new(),
            proposals_failed: Counter::new(),
            slow_applies: Counter::new(),
            read_indexes_failed: Counter::new(),
            snapshots: Timer::new(SNAPSHOT_SECONDS),
            scrubbed_bytes: Counter::new(),
            damages_found: Counter::new(),
        }
    }
}
