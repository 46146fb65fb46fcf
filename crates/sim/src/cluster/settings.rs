//! What is decided about a run before it begins.

use super::network::Manners;
use tenet_base::Rng;
use tenet_base::world::SplitMix64;
use tenet_member::{Founder, Limits, Options, WatchOptions};

/// Steps of a run with faults.
const STEPS: u64 = 60_000;

/// What happens rarely, to members and to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A message got lost.
    Lost,
    /// A message arrives twice.
    Repeated,
    /// A message arrives much later.
    Delayed,
    /// A message was sent over a link that is cut.
    Cut,
    /// The members fall into two halves that do not hear each other.
    Split,
    /// One member is not heard, but hears.
    Mute,
    /// Two members hear each other only through the others.
    Bridge,
    /// A member ends without losing what the system holds.
    Killed,
    /// A member loses its power, and what was not synced.
    PowerLoss,
    /// A disk answers nothing for a while.
    DiskHangs,
    /// A member does nothing for a while.
    Paused,
    /// Leadership is handed over.
    Transfer,
}

impl Fault {
    /// Those that are drawn as events, each with its usual weight; the others befall messages.
    pub(super) const EVENTS: [(Fault, u64); 8] = [
        (Fault::Split, 4),
        (Fault::Mute, 2),
        (Fault::Bridge, 2),
        (Fault::Killed, 5),
        (Fault::PowerLoss, 5),
        (Fault::DiskHangs, 3),
        (Fault::Paused, 3),
        (Fault::Transfer, 3),
    ];
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that happens.
    pub seed: u64,
    /// Members of the cluster.
    pub members: usize,
    /// Steps until faults end.
    pub steps: u64,
    pub(super) manners: Manners,
    /// Entries applied between two flushes, and entries kept for slow members.
    flush: (u64, u64),
    /// Requests, of a thousand steps.
    pub(super) requests: u64,
    /// Faults, of ten thousand steps.
    pub(super) faults: u64,
    /// How often each happens, beside each other.
    pub(super) weights: [u64; Fault::EVENTS.len()],
}

impl Settings {
    /// The settings that a seed stands for.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed ^ 0xc105_7e25);
        let mut pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
        let members = pick(&[1, 2, 3, 3, 3, 3, 4, 5]) as usize;
        let manners = Manners {
            lost: pick(&[0, 1, 5, 20]),
            repeated: pick(&[0, 5, 20]),
            delayed: pick(&[0, 5, 30]),
        };
        let requests = pick(&[3, 6]);
        let flush = (pick(&[5, 20, 60]), pick(&[1, 5, 1 << 40]));
        let faults = pick(&[2, 5, 10]);
        // A seed leaves some out and has others more often, so that runs differ in kind (swarm
        // testing, Groce and others 2012).
        let weights = Fault::EVENTS.map(|(_, usual)| usual * pick(&[0, 1, 1, 4]));
        Settings {
            seed,
            members,
            steps: STEPS,
            manners,
            flush,
            requests,
            faults,
            weights,
        }
    }

    /// What the member at place `at` is started with.
    pub(super) fn options(&self, at: usize, start: u64) -> Options {
        let founder = |n: usize| Founder {
            name: format!("m{n}"),
            peer_urls: vec![format!("http://m{n}:2380")],
        };
        Options {
            name: format!("m{at}"),
            client_urls: vec![format!("http://m{at}:2379")],
            initial_cluster: (0..self.members).map(founder).collect(),
            initial_cluster_token: "simulated".to_owned(),
            joins: None,
            election_ticks: 10,
            tick_ms: 100,
            initial_tick_advance: true,
            pre_vote: true,
            snapshot_count: self.flush.0,
            auto_compaction: None,
            snapshot_catchup_entries: self.flush.1,
            keep_segments: 1,
            lease_checkpoints: true,
            fast_lease_keep_alive: true,
            wal: tenet_wal::Options {
                segment_bytes: 16 * 1024,
            },
            limits: Limits::default(),
            watch: WatchOptions::default(),
            learners_max: 1,
            cluster_version: "3.7.0".to_owned(),
            unix_ms: start,
            seed: self.seed.wrapping_add(start << 8).wrapping_add(at as u64),
        }
    }
}
