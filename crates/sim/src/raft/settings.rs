//! What is decided about a run before it begins.

use tenet_base::world::SplitMix64;
use tenet_base::{MemberId, Rng};
use tenet_raft::{Config, ReadOnly};

/// Events of a run with faults.
const STEPS: u64 = 6_000;

/// What happens rarely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rare {
    Nothing,
    Campaign,
    ConfChange,
    Transfer,
    ForgetLeader,
    Crash,
    Reboot,
    Calm,
    Restart,
    Partition,
    Mend,
    Checkpoint,
    Hang,
    Recover,
    Slow,
    Unreachable,
}

/// Each with its usual weight. A seed leaves some out and has others more often, so that runs
/// differ in kind (swarm testing, Groce and others 2012).
const RARE: [(Rare, u64); 15] = [
    (Rare::Campaign, 8),
    (Rare::ConfChange, 8),
    (Rare::Transfer, 4),
    (Rare::ForgetLeader, 2),
    (Rare::Crash, 4),
    (Rare::Reboot, 6),
    (Rare::Calm, 2),
    (Rare::Restart, 20),
    (Rare::Partition, 3),
    (Rare::Mend, 3),
    (Rare::Checkpoint, 10),
    (Rare::Hang, 2),
    (Rare::Recover, 8),
    (Rare::Slow, 3),
    (Rare::Unreachable, 2),
];
/// The weight of nothing rare at all.
const NOTHING_WEIGHT: u64 = 20;

/// A duty of the driver that is broken, to show that the checkers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The core is told that an append is durable when it is only written.
    DoneBeforeDurable,
    /// Acknowledgements and votes are sent at once.
    ResponsesAtOnce,
    /// Hard states are not stored.
    HardStateForgotten,
    /// A disk is lost, and the member comes back under its id.
    DiskLost,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 4] = [
        Sabotage::DoneBeforeDurable,
        Sabotage::ResponsesAtOnce,
        Sabotage::HardStateForgotten,
        Sabotage::DiskLost,
    ];
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that happens.
    pub seed: u64,
    /// How many members vote from the start.
    pub voters: u64,
    /// The settings of every core.
    pub config: Config,
    /// Messages that get lost, of a hundred.
    pub loss_percent: u64,
    /// Messages that arrive twice.
    pub repeat_percent: u64,
    /// Messages that arrive much later.
    pub delay_percent: u64,
    /// All members tick at once, which is what leases need; else each at its own pace.
    pub lock_step: bool,
    /// Events that are ticks, of a hundred: few make a network that is fast beside them.
    pub tick_percent: u64,
    /// How often a disk is ready when it is asked, of a hundred times.
    pub disk_percent: u64,
    /// Events that are reads.
    pub read_percent: u64,
    /// How often rare events happen, beside each other.
    weights: [u64; RARE.len()],
    /// Entries of a proposal, at most.
    pub batch_max: u64,
    /// What the driver does wrong.
    pub sabotage: Option<Sabotage>,
}

impl Settings {
    /// The settings that a seed stands for.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = SplitMix64::new(seed ^ 0x5e77_1465);
        let mut pick = |choices: &[u64]| choices[rng.below(choices.len() as u64) as usize];
        // Others must be left to join.
        let voters = pick(&[1, 2, 3, 3, 4, 5, 5]);
        let lock_step = pick(&[0, 0, 1]) == 1;
        let config = Config {
            election_ticks: 5,
            max_message_bytes: pick(&[0, 60, 1_000, u64::MAX]),
            max_committed_bytes_per_output: pick(&[1, 100, u64::MAX]),
            max_inflight_messages: pick(&[1, 3, 256]) as usize,
            max_uncommitted_bytes: pick(&[200, u64::MAX, u64::MAX]),
            pre_vote: pick(&[0, 1]) == 1,
            check_quorum: lock_step || pick(&[0, 1]) == 1,
            read_only: match lock_step {
                true => ReadOnly::LeaseBased,
                false => ReadOnly::Safe,
            },
            step_down_on_removal: pick(&[0, 1]) == 1,
            seed,
            ..Config::new(MemberId(1))
        };
        Settings {
            seed,
            voters,
            config,
            loss_percent: pick(&[0, 2, 10]),
            repeat_percent: pick(&[0, 2, 10]),
            delay_percent: pick(&[0, 5, 20]),
            lock_step,
            tick_percent: pick(&[0, 3, 10, 25]),
            disk_percent: pick(&[100, 100, 20]),
            read_percent: pick(&[2, 2, 10]),
            weights: RARE.map(|(rare, weight)| {
                let ends = matches!(rare, Rare::Restart | Rare::Calm | Rare::Recover);
                weight * pick(&[0, 1, 1, 3]).max(u64::from(ends))
            }),
            batch_max: pick(&[1, 3, 30, 100]),
            sabotage: None,
        }
    }

    pub(super) fn steps(&self) -> u64 {
        STEPS
    }

    /// What happens next of what happens rarely.
    pub(super) fn rare(&self, rng: &mut impl Rng) -> Rare {
        let mut at = rng.below(self.weights.iter().sum::<u64>() + NOTHING_WEIGHT);
        for ((rare, _), weight) in RARE.iter().zip(self.weights) {
            if at < weight {
                return *rare;
            }
            at -= weight;
        }
        Rare::Nothing
    }
}
