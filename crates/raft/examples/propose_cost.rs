//! What a proposed entry costs: nanoseconds and allocations for batches of 1, 10 and 100, with one
//! voter and with three. Everything between the proposal and the report that it is applied is
//! counted, on all members, with logs in memory; encoding, disks and networks are not.
//!
//! `cargo run --release -p tenet-raft --example propose_cost`

// Measuring is what this program is for.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::time::Instant;

use bytes::Bytes;
use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::Message;
use tenet_raft::{Config, LogStore, MemoryLog, Raft, Role};

const ENTRIES: usize = 300_000;
const DATA_BYTES: usize = 256;
const ROUNDS: usize = 5;

struct Cluster {
    members: Vec<Raft<MemoryLog>>,
    messages: Vec<Message>,
}

impl Cluster {
    fn new(voters: u64) -> Self {
        let all: Vec<_> = (1..=voters)
            .map(|id| (MemberId(id), Bytes::new()))
            .collect();
        let start = |id| {
            let mut raft = Raft::new(Config::new(id), MemoryLog::new()).expect("fresh member");
            raft.bootstrap(&all).expect("empty log");
            raft
        };
        let members = all.iter().map(|(id, _)| start(*id)).collect();
        let mut cluster = Cluster {
            members,
            messages: Vec::new(),
        };
        cluster.settle();
        cluster.members[0].campaign();
        cluster.settle();
        assert_eq!(cluster.members[0].role(), Role::Leader);
        cluster
    }

    /// Lets everybody work until nothing is left to do.
    fn settle(&mut self) {
        loop {
            for raft in &mut self.members {
                while raft.has_output() {
                    work(raft, &mut self.messages);
                }
            }
            if self.messages.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.messages) {
                let to = message.to as usize - 1;
                self.members[to]
                    .step(message)
                    .expect("messages of members are taken");
            }
        }
    }

    fn run(&mut self, entries: usize, batch: usize, data: &Bytes) {
        for _ in 0..entries / batch {
            let proposal = vec![data.clone(); batch];
            self.members[0]
                .propose(proposal)
                .expect("a leader takes proposals");
            self.settle();
        }
        let expected = self.members[0].status().last;
        assert!(
            self.members
                .iter()
                .all(|raft| raft.status().applied == expected)
        );
    }
}

fn work(raft: &mut Raft<MemoryLog>, messages: &mut Vec<Message>) {
    let output = raft.take_output();
    messages.extend(output.messages);
    if let Some(append) = output.append {
        if let Some(state) = append.hard_state {
            raft.log_mut().set_hard_state(state);
        }
        raft.log_mut().append(append.entries);
        raft.append_done(append.done);
        messages.extend(append.responses);
    }
    if let Some(last) = output.committed.last() {
        let applied = last.index();
        raft.apply_done(applied);
        let log = raft.log_mut();
        if applied.get() - log.first_index().get() > 20_000 {
            log.compact(Index(applied.get() - 10_000))
                .expect("it is applied");
        }
    }
}

fn main() {
    let data = Bytes::from(vec![7; DATA_BYTES]);
    println!("{ENTRIES} entries of {DATA_BYTES} bytes, median of {ROUNDS} rounds");
    println!("voters  batch  ns/entry  allocations/entry");
    for voters in [1, 3] {
        for batch in [1, 10, 100] {
            let mut times: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let mut cluster = Cluster::new(voters);
                    cluster.run(10_000, batch, &data);
                    let start = Instant::now();
                    cluster.run(ENTRIES, batch, &data);
                    start.elapsed().as_nanos() as f64 / ENTRIES as f64
                })
                .collect();
            times.sort_by(f64::total_cmp);
            let mut cluster = Cluster::new(voters);
            cluster.run(10_000, batch, &data);
            let counted = allocation_counter::measure(|| cluster.run(ENTRIES / 10, batch, &data));
            let allocations = counted.count_total as f64 / (ENTRIES / 10) as f64;
            println!(
                "{voters:>6} {batch:>6} {:>9.0} {allocations:>18.2}",
                times[ROUNDS / 2]
            );
        }
    }
}
