//! The `etcd_network_*` families about other members.
//!
//! As in etcd a series appears with the first thing that it counts. Bytes and failures of senders
//! that nobody knows stand under a name of their own, so that callers cannot make up series.

use super::Page;
use tenet_base::MemberId;
use tenet_base::counters::Histogram;
use tenet_peer::{Metrics, PeerCounts};

/// The label of senders that nobody knows; etcd's name for those of snapshots.
const UNKNOWN: &str = "UNKNOWN_SNAPSHOT_SENDER";

/// Writes what the transport of a member has counted; whoever starts one calls this at a scrape.
pub fn collect_peers(page: &mut Page, local: MemberId, metrics: &Metrics) {
    let members = metrics.members();
    let known: Vec<(String, &PeerCounts)> = members
        .iter()
        .map(|(id, counts)| (id.to_string(), &**counts))
        .collect();
    let mut senders = known.clone();
    senders.push((UNKNOWN.to_owned(), metrics.others()));
    collect_reach(page, &local.to_string(), &known);
    collect_bytes(page, &known, &senders);
    collect_snapshots(page, &known, &senders);
}

type Counted<'a> = [(String, &'a PeerCounts)];

fn collect_reach(page: &mut Page, local: &str, known: &Counted<'_>) {
    let was_active = |counts: &PeerCounts| counts.active.get() > 0 || counts.disconnected.get() > 0;
    for (id, counts) in known.iter().filter(|(_, counts)| was_active(counts)) {
        let labels = [("Local", local), ("Remote", id.as_str())];
        page.gauges("etcd_network_active_peers", "Members within reach.")
            .row(&labels, counts.active.get() as f64);
    }
    for (id, counts) in known {
        let labels = [("Local", local), ("Remote", id.as_str())];
        let name = "etcd_network_disconnected_peers_total";
        if counts.disconnected.get() > 0 {
            page.counters(name, "Times that a member got out of reach.")
                .row(&labels, counts.disconnected.get() as f64);
        }
        let name = "etcd_network_peer_round_trip_time_seconds";
        let help = "Time of a round trip to a member.";
        histogram(page, name, help, ("To", id), &counts.round_trips);
    }
}

fn collect_bytes(page: &mut Page, known: &Counted<'_>, senders: &Counted<'_>) {
    for (id, counts) in known {
        let name = "etcd_network_peer_sent_bytes_total";
        let help = "Bytes sent to a member.";
        counted(page, name, help, ("To", id), counts.sent_bytes.get());
        let name = "etcd_network_peer_sent_failures_total";
        let help = "Messages to a member that were not sent.";
        counted(page, name, help, ("To", id), counts.sent_failures.get());
    }
    for (id, counts) in senders {
        let name = "etcd_network_peer_received_bytes_total";
        let help = "Bytes received from a member.";
        counted(page, name, help, ("From", id), counts.received_bytes.get());
        let name = "etcd_network_peer_received_failures_total";
        let help = "Messages of a member that were not taken.";
        counted(
            page,
            name,
            help,
            ("From", id),
            counts.received_failures.get(),
        );
    }
}

fn collect_snapshots(page: &mut Page, known: &Counted<'_>, senders: &Counted<'_>) {
    for (id, counts) in known {
        let label = ("To", id.as_str());
        let ended = [
            ("success", counts.snapshots_sent.get()),
            ("failures", counts.snapshot_send_failures.get()),
        ];
        let now = counts.snapshots_being_sent.get();
        snapshots(
            page,
            "send",
            label,
            ended,
            now,
            &counts.snapshot_send_seconds,
        );
    }
    for (id, counts) in senders {
        let label = ("From", id.as_str());
        let ended = [
            ("success", counts.snapshots_received.get()),
            ("failures", counts.snapshot_receive_failures.get()),
        ];
        let now = counts.snapshots_being_received.get();
        snapshots(
            page,
            "receive",
            label,
            ended,
            now,
            &counts.snapshot_receive_seconds,
        );
    }
}

/// Snapshots in one direction: how those before have ended, and how many there are now.
fn snapshots(
    page: &mut Page,
    direction: &str,
    label: (&str, &str),
    ended: [(&str, u64); 2],
    now: u64,
    seconds: &Histogram,
) {
    for (end, count) in ended {
        let name = format!("etcd_network_snapshot_{direction}_{end}");
        counted(page, &name, "Snapshots that have ended so.", label, count);
    }
    if now > 0 || ended.iter().any(|(_, count)| *count > 0) {
        let name = format!("etcd_network_snapshot_{direction}_inflights_total");
        page.gauges(&name, "Snapshots on their way.")
            .row(&[label], now as f64);
    }
    let name = format!("etcd_network_snapshot_{direction}_total_duration_seconds");
    histogram(page, &name, "Time that a snapshot took.", label, seconds);
}

/// A counter, if it has counted.
fn counted(page: &mut Page, name: &str, help: &'static str, label: (&str, &str), count: u64) {
    if count > 0 {
        page.counters(name, help).row(&[label], count as f64);
    }
}

/// A histogram, if it has counted.
fn histogram(
    page: &mut Page,
    name: &str,
    help: &'static str,
    label: (&str, &str),
    histogram: &Histogram,
) {
    if histogram.cumulative().1 > 0 {
        page.histogram(name, help, &[label], histogram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_appear_with_what_they_count_under_etcds_names() {
        let metrics = Metrics::default();
        let counts = metrics.add(MemberId(0xb2));
        let print = || {
            let mut page = Page::new();
            collect_peers(&mut page, MemberId(0xa1), &metrics);
            page.print()
        };
        assert_eq!(print(), "");
        counts.active.set(1);
        counts.sent_bytes.add(5);
        counts.received_failures.add(2);
        counts.snapshots_sent.add(1);
        counts.round_trips.record(0.0003);
        metrics.others().received_bytes.add(7);
        let page = print();
        for line in [
            "etcd_network_active_peers{Local=\"a1\",Remote=\"b2\"} 1",
            "etcd_network_peer_sent_bytes_total{To=\"b2\"} 5",
            "etcd_network_peer_received_failures_total{From=\"b2\"} 2",
            "etcd_network_peer_received_bytes_total{From=\"UNKNOWN_SNAPSHOT_SENDER\"} 7",
            "etcd_network_snapshot_send_success{To=\"b2\"} 1",
            "etcd_network_snapshot_send_inflights_total{To=\"b2\"} 0",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"b2\",le=\"0.0002\"} 0",
            "etcd_network_peer_round_trip_time_seconds_bucket{To=\"b2\",le=\"0.0004\"} 1",
        ] {
            assert!(
                page.lines().any(|is| is == line),
                "{line} is not in\n{page}"
            );
        }
        counts.active.set(0);
        counts.disconnected.add(1);
        let page = print();
        for line in [
            "etcd_network_active_peers{Local=\"a1\",Remote=\"b2\"} 0",
            "etcd_network_disconnected_peers_total{Local=\"a1\",Remote=\"b2\"} 1",
        ] {
            assert!(
                page.lines().any(|is| is == line),
                "{line} is not in\n{page}"
            );
        }
    }
}
