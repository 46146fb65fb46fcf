//! What is counted of each member, for whoever renders metrics. Names of etcd's metrics stand
//! beside each.
//!
//! Members are those that were added, or that have called and are remembered; bytes that name
//! anyone else as their sender are counted together, so that nobody can make up labels.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenet_base::MemberId;
use tenet_base::counters::{Counter, Gauge, Histogram};

/// Bounds of round trips in seconds: 0.1 ms doubling to 3.2768 s, as in etcd.
const ROUND_TRIP_SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048,
    0.4096, 0.8192, 1.6384, 3.2768,
];

/// Bounds of the times of snapshots in seconds: 0.1 s doubling to 51.2 s, as in etcd.
const SNAPSHOT_SECONDS: &[f64] = &[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2];

/// How many there are at the moment.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of a [`Level`], as long as it lives.
#[derive(Debug)]
pub(crate) struct OneOf<F: Fn(&PeerCounts) -> &Level>(Arc<PeerCounts>, F);

impl<F: Fn(&PeerCounts) -> &Level> OneOf<F> {
    pub(crate) fn new(counts: Arc<PeerCounts>, which: F) -> Self {
        which(&counts).0.fetch_add(1, Ordering::Relaxed);
        OneOf(counts, which)
    }
}

impl<F: Fn(&PeerCounts) -> &Level> Drop for OneOf<F> {
    fn drop(&mut self) {
        (self.1)(&self.0).0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is counted of one member.
#[derive(Debug)]
pub struct PeerCounts {
    /// `etcd_network_active_peers`: 1 while it is within reach.
    pub active: Gauge,
    /// `etcd_network_disconnected_peers_total`.
    pub disconnected: Counter,
    /// `etcd_network_peer_sent_bytes_total`.
    pub sent_bytes: Counter,
    /// `etcd_network_peer_received_bytes_total`.
    pub received_bytes: Counter,
    /// `etcd_network_peer_sent_failures_total`.
    pub sent_failures: Counter,
    /// `etcd_network_peer_received_failures_total`.
    pub received_failures: Counter,
    /// `etcd_network_peer_round_trip_time_seconds`.
    pub round_trips: Histogram,
    /// `etcd_network_snapshot_send_success`.
    pub snapshots_sent: Counter,
    /// `etcd_network_snapshot_send_failures`.
    pub snapshot_send_failures: Counter,
    /// `etcd_network_snapshot_send_inflights_total`.
    pub snapshots_being_sent: Level,
    /// `etcd_network_snapshot_send_total_duration_seconds`.
    pub snapshot_send_seconds: Histogram,
    /// `etcd_network_snapshot_receive_success`.
    pub snapshots_received: Counter,
    /// `etcd_network_snapshot_receive_failures`.
    pub snapshot_receive_failures: Counter,
    /// `etcd_network_snapshot_receive_inflights_total`.
    pub snapshots_being_received: Level,
    /// `etcd_network_snapshot_receive_total_duration_seconds`.
    pub snapshot_receive_seconds: Histogram,
}

impl Default for PeerCounts {
    fn default() -> Self {
        PeerCounts {
            active: Gauge::new(),
            disconnected: Counter::new(),
            sent_bytes: Counter::new(),
            received_bytes: Counter::new(),
            sent_failures: Counter::new(),
            received_failures: Counter::new(),
            round_trips: Histogram::new(ROUND_TRIP_SECONDS),
            snapshots_sent: Counter::new(),
            snapshot_send_failures: Counter::new(),
            snapshots_being_sent: Level::default(),
            snapshot_send_seconds: Histogram::new(SNAPSHOT_SECONDS),
            snapshots_received: Counter::new(),
            snapshot_receive_failures: Counter::new(),
            snapshots_being_received: Level::default(),
            snapshot_receive_seconds: Histogram::new(SNAPSHOT_SECONDS),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Metrics {
    members: Mutex<BTreeMap<MemberId, Arc<PeerCounts>>>,
    others: Arc<PeerCounts>,
}

impl Metrics {
    /// Begins to count a member apart, or goes on if it was removed and added again.
    pub fn add(&self, id: MemberId) -> Arc<PeerCounts> {
        self.members.lock().entry(id).or_default().clone()
    }

    /// Where a member is counted.
    pub(crate) fn of(&self, id: MemberId) -> Arc<PeerCounts> {
        self.members.lock().get(&id).unwrap_or(&self.others).clone()
    }

    /// All members that are counted apart, by id.
    pub fn members(&self) -> Vec<(MemberId, Arc<PeerCounts>)> {
        let members = self.members.lock();
        members
            .iter()
            .map(|(id, counts)| (*id, counts.clone()))
            .collect()
    }

    /// What came in other names.
    pub fn others(&self) -> &PeerCounts {
        &self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_senders_are_counted_together() {
        let metrics = Metrics::default();
        metrics.add(MemberId(1)).received_bytes.add(5);
        for id in 2..1_000 {
            metrics.of(MemberId(id)).received_bytes.add(1);
        }
        assert_eq!(metrics.members().len(), 1);
        assert_eq!(metrics.others().received_bytes.get(), 998);
        assert_eq!(metrics.add(MemberId(1)).received_bytes.get(), 5);
    }

    #[test]
    fn a_level_counts_what_lives() {
        let counts = Arc::new(PeerCounts::default());
        let one = OneOf::new(counts.clone(), |counts| &counts.snapshots_being_sent);
        assert_eq!(counts.snapshots_being_sent.get(), 1);
        drop(one);
        assert_eq!(counts.snapshots_being_sent.get(), 0);
    }
}
