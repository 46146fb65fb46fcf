//! What a member is told once, when its core is made.
//!
//! Sizes and counts are bounds of the core's own queues; `u64::MAX` or `usize::MAX` means that
//! there is none. This module knows nothing of time: a tick is whatever the driver makes of it.

use tenet_base::limits::{RAFT_INFLIGHT_MAX, RAFT_MESSAGE_BYTES_MAX};
use tenet_base::{Index, MemberId};

use crate::bugs::KnownBug;
use crate::error::ConfigError;

/// How a leader makes sure that it still leads before it answers a read index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadOnly {
    /// A round of heartbeats that a quorum answers. Safe whatever the clocks do.
    #[default]
    Safe,
    /// A quorum has answered within the last election timeout, counted in the leader's own ticks.
    /// Saves the round; safe only while no member's clock runs away. Needs `check_quorum`.
    LeaseBased,
}

/// The settings of one [`Raft`](crate::Raft).
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub id: MemberId,
    /// Ticks without word from a leader after which a follower campaigns, at the earliest; the
    /// actual number is drawn anew each time from `election_ticks .. 2 * election_ticks`.
    pub election_ticks: u32,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u32,
    /// Encoded bytes of entries in one append message; at least one entry is sent. Zero means one
    /// entry a message.
    pub max_message_bytes: u64,
    /// Encoded bytes of committed entries that may be out for applying and not yet
    /// [applied](crate::Raft::apply_done); at least one entry is handed out.
    pub max_committed_bytes_per_output: u64,
    /// Append messages on their way to one follower.
    pub max_inflight_messages: usize,
    /// Bytes of entries on their way to one follower.
    pub max_inflight_bytes: u64,
    /// Bytes of proposed data that a leader holds uncommitted before it refuses proposals. A
    /// proposal of any size is taken when nothing is uncommitted.
    pub max_uncommitted_bytes: u64,
    /// Ask before campaigning, so that a member that comes back does not unseat a leader (Raft
    /// thesis 9.6).
    pub pre_vote: bool,
    /// A leader steps down when it has not heard from a quorum for an election timeout, and a
    /// follower that hears from a leader grants no votes (thesis 4.2.3 and 6.2).
    pub check_quorum: bool,
    /// How read indexes are confirmed.
    pub read_only: ReadOnly,
    /// A follower drops proposals instead of sending them to the leader.
    pub disable_proposal_forwarding: bool,
    /// Take configuration changes that look wrong in the configuration of the moment. Only for
    /// drivers that check them themselves: one that cannot be applied stops the member.
    pub disable_conf_change_validation: bool,
    /// A leader that is removed or made a learner steps down when it applies the change.
    pub step_down_on_removal: bool,
    /// The last entry that the state machine has applied; entries up to it are not handed out.
    pub applied: Index,
    /// Decides the election jitter, together with `id`.
    pub seed: u64,
    /// A mistake that is switched on, so that somebody finds it.
    #[cfg(feature = "instrumented")]
    pub bug: Option<KnownBug>,
}

impl Config {
    /// etcd's settings for the member `id`.
    #[must_use]
    pub fn new(id: MemberId) -> Self {
        Config {
            id,
            election_ticks: 10,
            heartbeat_ticks: 1,
            max_message_bytes: RAFT_MESSAGE_BYTES_MAX,
            max_committed_bytes_per_output: RAFT_MESSAGE_BYTES_MAX,
            max_inflight_messages: RAFT_INFLIGHT_MAX,
            max_inflight_bytes: u64::MAX,
            max_uncommitted_bytes: u64::MAX,
            pre_vote: true,
            check_quorum: true,
            read_only: ReadOnly::Safe,
            disable_proposal_forwarding: false,
            disable_conf_change_validation: false,
            step_down_on_removal: false,
            applied: Index::ZERO,
            seed: 0,
            #[cfg(feature = "instrumented")]
            bug: None,
        }
    }

    #[cfg(feature = "instrumented")]
    pub(crate) fn has_bug(&self, bug: KnownBug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "instrumented"))]
    #[inline(always)]
    pub(crate) fn has_bug(&self, _bug: KnownBug) -> bool {
        false
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.id.is_zero() || self.id >= crate::APPLY_THREAD {
            return Err(ConfigError::ReservedId(self.id));
        }
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return Err(ConfigError::Ticks {
                election: self.election_ticks,
                heartbeat: self.heartbeat_ticks,
            });
        }
        if self.max_inflight_messages == 0 {
            return Err(ConfigError::NoInflight);
        }
        if self.max_inflight_bytes < self.max_message_bytes {
            return Err(ConfigError::InflightBytes {
                inflight: self.max_inflight_bytes,
                message: self.max_message_bytes,
            });
        }
        if self.max_committed_bytes_per_output == 0 {
            return Err(ConfigError::NoCommittedBytes);
        }
        if self.read_only == ReadOnly::LeaseBased && !self.check_quorum {
            return Err(ConfigError::LeaseWithoutCheckQuorum);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = Config::new(MemberId(1));
        assert_eq!(good.check(), Ok(()));
        let bad = [
            Config {
                id: MemberId(0),
                ..good.clone()
            },
            Config {
                id: MemberId(u64::MAX),
                ..good.clone()
            },
            Config {
                heartbeat_ticks: 0,
                ..good.clone()
            },
            Config {
                heartbeat_ticks: 10,
                ..good.clone()
            },
            Config {
                max_inflight_messages: 0,
                ..good.clone()
            },
            Config {
                max_inflight_bytes: 1,
                ..good.clone()
            },
            Config {
                max_committed_bytes_per_output: 0,
                ..good.clone()
            },
            Config {
                read_only: ReadOnly::LeaseBased,
                check_quorum: false,
                ..good.clone()
            },
        ];
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
