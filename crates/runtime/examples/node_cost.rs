//! What a write and a read cost below the transports: a member on a real disk, called by tasks of
//! its own process.
//!
//! `cargo run --release -p tenet-runtime --example node_cost -- [clients] [puts]`
//! prints throughput, CPU time per operation of the whole process, and latencies.

#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};
use tenet_member::Founder;
use tenet_proto::etcdserverpb::{PutRequest, RangeRequest};
use tenet_runtime::{Node, Options, start};

fn options(dir: &std::path::Path) -> Options {
    Options {
        name: "default".to_owned(),
        data_dir: dir.join("data"),
        wal_dir: None,
        advertise_client_urls: Vec::new(),
        initial_cluster: vec![Founder {
            name: "default".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
        }],
        initial_cluster_token: "etcd-cluster".to_owned(),
        joins: None,
        strict_reconfiguration: true,
        snapshot_count: 10_000,
        auto_compaction: None,
        snapshot_catchup_entries: 5_000,
        keep_segments: 5,
        heartbeat_ms: 100,
        election_ms: 1_000,
        initial_election_tick_advance: true,
        pre_vote: true,
        quota_bytes: 0,
        lease_checkpoints: true,
        fast_lease_keep_alive: true,
        request_bytes_max: 1_572_864,
        txn_ops_max: 128,
        learners_max: 1,
        watch_progress_interval_ms: 600_000,
        slow_apply: std::time::Duration::from_millis(100),
        unsafe_no_fsync: false,
    }
}

/// User and system time of this process so far, from the kernel's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the kernel tells");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields[at].parse::<u64>().unwrap_or(0);
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

async fn run(node: &Node, clients: usize, total: usize, writes: bool) -> Vec<Duration> {
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let node = node.clone();
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(total / clients);
                for n in 0..total / clients {
                    let key = format!("{:08}", client * (total / clients) + n).into();
                    let begin = Instant::now();
                    if writes {
                        let value = vec![b'v'; 256].into();
                        let put = PutRequest {
                            key,
                            value,
                            ..PutRequest::default()
                        };
                        node.put(put).await.expect("a healthy member writes");
                    } else {
                        let get = RangeRequest {
                            key,
                            ..RangeRequest::default()
                        };
                        node.range(get).await.expect("a healthy member reads");
                    }
                    took.push(begin.elapsed());
                }
                took
            })
        })
        .collect();
    let mut all = Vec::with_capacity(total);
    for task in tasks {
        all.extend(task.await.expect("no task fails"));
    }
    all.sort_unstable();
    all
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let (clients, total) = (args.next().unwrap_or(1_000), args.next().unwrap_or(200_000));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = start(&options(dir.path())).expect("an empty directory founds a member");
    node.ready().await;
    for (what, writes) in [("put", true), ("get", false)] {
        let (begin, before) = (Instant::now(), cpu());
        let took = run(&node, clients, total, writes).await;
        let (wall, used) = (begin.elapsed(), cpu() - before);
        let at = |share: f64| took[(took.len() as f64 * share) as usize];
        println!(
            "{what}: {clients} clients, {:.0}/s, {:.1} us CPU each, p50 {:?}, p99 {:?}",
            took.len() as f64 / wall.as_secs_f64(),
            used.as_secs_f64() * 1e6 / took.len() as f64,
            at(0.5),
            at(0.99),
        );
    }
    node.stop().await;
}
