//! The promises of Raft: one checker for each property, and the log as a checker sees it.
//!
//! An entry is known by its position, its term and its [`Chain`], a hash of everything up to and
//! with it. Two logs that agree in the chain of a position agree in all of them before, so that a
//! property of whole logs is checked by looking at one place.
//!
//! The properties are those of figure 3 of the Raft paper (Ongaro and Ousterhout 2014), of Ongaro's
//! thesis for configurations and reads, and of `etcdraft.tla` (the names that end in `Inv`).

mod commit;
mod configuration;
mod election;
mod log;
mod read;

use tenet_base::MemberId;
use tenet_proto::raftpb::Entry;
use thiserror::Error;

pub use commit::{Commits, Durable, Voters, counted};
pub use configuration::OneChange;
pub use election::Elections;
pub use log::{Log, Logs};
pub use read::Reads;

/// What may be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// At most one leader in a term (Raft figure 3; `ElectionSafetyInv`).
    ElectionSafety,
    /// A leader never replaces or removes entries of its own log (Raft figure 3).
    LeaderAppendOnly,
    /// Logs with an entry of one term and position agree up to there (Raft figure 3;
    /// `LogMatchingInv`).
    LogMatching,
    /// Leaders of later terms have every committed entry (Raft figure 3;
    /// `LeaderCompletenessInv`).
    LeaderCompleteness,
    /// Members apply the same entries in the same order, and only committed ones (Raft figure 3).
    StateMachineSafety,
    /// A committed entry is on the disks of a quorum, of both halves of a joint configuration
    /// (Raft 5.3, thesis 4.3; `CommittedIsDurableInv`).
    CommittedIsDurable,
    /// By counting, a leader commits only entries of its own term, and with them those before (Raft
    /// 5.4.2 and figure 8; the condition in `AdvanceCommitIndex`).
    CommitInOwnTerm,
    /// A log holds at most one change of the configuration that is not committed (thesis 4.1).
    OneConfigurationChange,
    /// A read sees everything that was acknowledged before it began (thesis 6.4).
    ReadLinearizability,
    /// While a leader answers reads by its lease, no later term has a leader (thesis 6.4.1).
    LeaseSafety,
    /// When faults stop, a leader emerges and commits (Raft 5.6, thesis 9).
    Progress,
}

/// A property is broken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{property:?}: {what}")]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// What has happened, with the numbers.
    pub what: String,
}

impl Violation {
    /// `property` is broken by `what`.
    #[must_use]
    pub fn new(property: Property, what: String) -> Self {
        Violation { property, what }
    }
}

/// What a checker says.
pub type Verdict = Result<(), Violation>;

/// Breaks with `property` unless `holds`.
fn require(holds: bool, property: Property, what: impl FnOnce() -> String) -> Verdict {
    match holds {
        true => Ok(()),
        false => Err(Violation::new(property, what())),
    }
}

/// A hash of everything up to and with an entry. It is also the state of the simplest state machine
/// whose state depends on all that it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain(pub u64);

impl Chain {
    /// The chain after `entry`.
    #[must_use]
    pub fn then(self, entry: &Entry) -> Chain {
        let place = entry.index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ entry.entry_type as u64;
        let mut hash = self.0 ^ place;
        for byte in &entry.data {
            // FNV-1a.
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Chain(hash.rotate_left(31) ^ entry.term)
    }
}

/// Who did something, for messages.
fn by(id: MemberId) -> String {
    format!("member {id}")
}
