//! A list of writes, what the store is after each of them, and a member that is sent them.

use tenet_base::Rng;
use tenet_base::world::SplitMix64;
use tenet_member::{Founder, Limits, Options, WatchOptions, Write};
use tenet_sim::disk::{Config, SimDisk};
use tenet_sim::member::{Answers, SimMember};
use tenet_sim::workload::next_write;
use tenet_state::State;

/// What tells two states of the store apart: current and compact revision, and the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    revision: i64,
    compact_revision: i64,
    hash: u32,
}

impl Fingerprint {
    pub(crate) fn of(state: &State) -> Self {
        let view = state.views().load();
        // The hash of a revision that was just compacted is one of before the compaction.
        let hash = view
            .kv
            .hash_kv(0)
            .expect("the current revision can be hashed");
        Fingerprint {
            revision: view.kv.revision().get(),
            compact_revision: view
                .kv
                .compact_revision()
                .map_or(-1, |revision| revision.get()),
            hash: hash.hash,
        }
    }
}

/// A member whose log has small segments and whose store is written often, so that a short list of
/// writes crosses cuts, flushes and removals of both.
pub(crate) fn options() -> Options {
    Options {
        name: "default".to_owned(),
        client_urls: vec!["http://localhost:2379".to_owned()],
        initial_cluster: vec![Founder {
            name: "default".to_owned(),
            peer_urls: vec!["http://localhost:2380".to_owned()],
        }],
        initial_cluster_token: "etcd-cluster".to_owned(),
        joins: None,
        election_ticks: 10,
        tick_ms: 100,
        initial_tick_advance: true,
        pre_vote: true,
        snapshot_count: 12,
        auto_compaction: None,
        snapshot_catchup_entries: 3,
        keep_segments: 1,
        lease_checkpoints: true,
        fast_lease_keep_alive: true,
        wal: tenet_wal::Options {
            segment_bytes: 4 * 1024,
        },
        limits: Limits::default(),
        watch: WatchOptions::default(),
        learners_max: 1,
        cluster_version: "3.7.0".to_owned(),
        unix_ms: 0,
        seed: 1,
    }
}

pub(crate) fn new_disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, Config::default())
}

/// Writes and what they lead to.
pub(crate) struct Script {
    pub(crate) writes: Vec<Write>,
    /// `after[n]` is the store after the first `n` writes.
    pub(crate) after: Vec<Fingerprint>,
}

impl Script {
    /// Makes `count` random writes and does them one by one without faults.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        Self::of(seed, count, next_write)
    }

    /// As [`Script::new`], with writes made by `next` from the current revision.
    pub(crate) fn of(seed: u64, count: usize, next: impl Fn(&mut dyn Rng, i64) -> Write) -> Self {
        let mut rng = SplitMix64::new(seed);
        let mut disk = new_disk(seed);
        let mut member = SimMember::start(&mut disk, &options(), Answers::default()).unwrap();
        member.settle(&mut disk, &mut rng);
        let mut script = Script {
            writes: Vec::new(),
            after: vec![Fingerprint::of(member.state())],
        };
        for n in 0..count {
            let revision = member.state().views().load().kv.revision().get();
            let write = next(&mut rng, revision);
            member.write(n as u64, write.clone()).unwrap();
            member.settle(&mut disk, &mut rng);
            script.writes.push(write);
            script.after.push(Fingerprint::of(member.state()));
        }
        assert_eq!(member.ended(), None);
        script
    }
}
