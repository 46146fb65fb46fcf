//! Proposals and configuration changes.
//!
//! Invariants: at most one configuration change is appended and not applied; a leader that is
//! handing over takes no proposals; data waiting for a quorum is bounded.

use bytes::Bytes;
use prost::Message as _;
use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, Message, MessageType,
};

use crate::bugs::KnownBug;
use crate::confchange::{self, Changer};
use crate::error::{ConfChangeError, ConfChangeRefusal, ProposeError};
use crate::marks::{Mark, mark};
use crate::raft::{Raft, Role};
use crate::store::LogStore;

/// Where a proposal has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposed {
    /// Into this leader's log. Its entries follow each other from `first` on; each of them is
    /// committed if it is still there, under that term, when that position is committed.
    Appended {
        /// The term of the entries.
        term: Term,
        /// The position of the first.
        first: Index,
    },
    /// To the leader, as a message; it may be lost without notice.
    Forwarded,
}

/// A configuration change in either form.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfChangeProposal {
    /// One member; what etcd proposes.
    V1(ConfChange),
    /// Any number of members.
    V2(ConfChangeV2),
}

impl From<ConfChange> for ConfChangeProposal {
    fn from(change: ConfChange) -> Self {
        ConfChangeProposal::V1(change)
    }
}

impl From<ConfChangeV2> for ConfChangeProposal {
    fn from(change: ConfChangeV2) -> Self {
        ConfChangeProposal::V2(change)
    }
}

impl<S: LogStore> Raft<S> {
    /// Proposes one entry for each item of `data`, in order and without gaps: at the leader by
    /// appending them, at a follower by asking the leader.
    ///
    /// # Errors
    /// Why none of them was taken.
    pub fn propose(&mut self, data: Vec<Bytes>) -> Result<Proposed, ProposeError> {
        if data.is_empty() {
            return Err(ProposeError::Empty);
        }
        if self.role() != Role::Leader {
            let entry = |data| Entry {
                data,
                ..Entry::default()
            };
            return self.forward(self.id(), data.into_iter().map(entry).collect());
        }
        let bytes = data.iter().map(|data| data.len() as u64).sum();
        self.admit(bytes)?;
        Ok(self.append_and_send(data.into_iter().map(|data| (EntryType::Normal, data))))
    }

    /// Proposes a configuration change. An empty [`ConfChangeV2`] leaves a joint configuration.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn propose_conf_change(
        &mut self,
        change: impl Into<ConfChangeProposal>,
    ) -> Result<Proposed, ProposeError> {
        let (entry_type, data) = match change.into() {
            ConfChangeProposal::V1(change) => (EntryType::ConfChange, change.encode_to_vec()),
            ConfChangeProposal::V2(change) => (EntryType::ConfChangeV2, change.encode_to_vec()),
        };
        let entry = Entry {
            entry_type: entry_type as i32,
            data: data.into(),
            ..Entry::default()
        };
        self.on_proposal(self.id(), vec![entry])
    }

    /// Whether this leader has a configuration change in its log that it has not applied, or may
    /// have: until then it takes no other.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.pending_conf_index > self.log.applied()
    }

    /// Entries that `from` proposes, possibly with configuration changes among them.
    pub(crate) fn on_proposal(
        &mut self,
        from: MemberId,
        entries: Vec<Entry>,
    ) -> Result<Proposed, ProposeError> {
        if entries.is_empty() {
            return Err(ProposeError::Empty);
        }
        if self.role() != Role::Leader {
            return self.forward(from, entries);
        }
        let mut proposed = Vec::with_capacity(entries.len());
        let (mut pending, mut refused) = (self.pending_conf_index, None);
        for (entry, at) in entries.into_iter().zip(self.log.last_index().get() + 1..) {
            let entry_type = EntryType::try_from(entry.entry_type)
                .map_err(|_| ProposeError::UnknownEntryType(entry.entry_type))?;
            if let Some(change) = decode(entry_type, &entry.data)? {
                if let Err(refusal) = self.check_conf_change(&change, pending) {
                    refused = Some(refusal);
                    proposed.push((EntryType::Normal, Bytes::new()));
                    continue;
                }
                pending = Index(at);
            }
            proposed.push((entry_type, entry.data));
        }
        self.admit(proposed.iter().map(|(_, data)| data.len() as u64).sum())?;
        self.pending_conf_index = pending;
        let appended = self.append_and_send(proposed.into_iter());
        match refused {
            Some(refusal) => Err(ProposeError::ConfChangeRefused(refusal)),
            None => Ok(appended),
        }
    }

    fn append_and_send(&mut self, entries: impl Iterator<Item = (EntryType, Bytes)>) -> Proposed {
        let first = self.append_own(entries);
        self.broadcast_append();
        Proposed::Appended {
            term: self.term(),
            first,
        }
    }

    fn forward(&mut self, from: MemberId, entries: Vec<Entry>) -> Result<Proposed, ProposeError> {
        let leader = self.leader();
        if leader.is_zero() || self.role() != Role::Follower {
            return Err(ProposeError::NoLeader(self.term()));
        }
        if self.config.disable_proposal_forwarding {
            return Err(ProposeError::ForwardingDisabled(leader));
        }
        let message = Message {
            from: from.get(),
            entries,
            ..Message::default()
        };
        self.send(MessageType::Prop, leader, message);
        Ok(Proposed::Forwarded)
    }

    /// Whether this leader takes `bytes` of proposed data now; they are then counted.
    fn admit(&mut self, bytes: u64) -> Result<(), ProposeError> {
        if self.tracker.progress.get(self.id()).is_none() {
            return Err(ProposeError::Removed);
        }
        if !self.transferee.is_zero() {
            mark(Mark::RefusedInTransfer);
            return Err(ProposeError::Transferring(self.transferee));
        }
        let (held, limit) = (self.uncommitted_bytes, self.config.max_uncommitted_bytes);
        if held > 0 && bytes > 0 && held.saturating_add(bytes) > limit {
            mark(Mark::TooMuchUncommitted);
            return Err(ProposeError::TooMuchUncommitted {
                uncommitted: held,
                proposed: bytes,
                limit,
            });
        }
        self.uncommitted_bytes = held.saturating_add(bytes);
        Ok(())
    }

    /// Whether the change makes sense in the configuration of the moment. That configuration may
    /// change before it is committed, so this catches mistakes; it does not make changes safe.
    fn check_conf_change(
        &self,
        change: &ConfChangeV2,
        pending: Index,
    ) -> Result<(), ConfChangeRefusal> {
        if self.config.disable_conf_change_validation {
            return Ok(());
        }
        let applied = self.log.applied();
        let joint = self.tracker.configuration.voters.is_joint();
        match change.changes.is_empty() {
            _ if pending > applied && !self.config.has_bug(KnownBug::SecondChange) => {
                mark(Mark::ChangePending);
                Err(ConfChangeRefusal::Pending { pending, applied })
            }
            false if joint => {
                mark(Mark::ChangeInJoint);
                Err(ConfChangeRefusal::Joint)
            }
            true if !joint => {
                mark(Mark::ChangeNotJoint);
                Err(ConfChangeRefusal::NotJoint)
            }
            _ => Ok(()),
        }
    }

    /// The state machine has reached a committed configuration change, which takes effect here.
    /// Returns the configuration to be stored with the state machine. Not to be called for a change
    /// that the state machine decides against (or with the member id zeroed).
    ///
    /// # Errors
    /// If the change cannot follow the configuration in force: validation was disabled or a member
    /// does not keep the rules. This member must stop, for others may have applied the change.
    pub fn apply_conf_change(
        &mut self,
        change: &ConfChangeV2,
    ) -> Result<ConfState, ConfChangeError> {
        let changer = Changer {
            configuration: &self.tracker.configuration,
            progress: &self.tracker.progress,
            last_index: self.log.last_index(),
            max_inflight_messages: self.config.max_inflight_messages,
            max_inflight_bytes: self.config.max_inflight_bytes,
        };
        (self.tracker.configuration, self.tracker.progress) = changer.apply(change)?;
        let state = self.tracker.configuration.conf_state();
        if self.role() == Role::Leader {
            self.lead_changed_configuration();
        }
        Ok(state)
    }

    fn lead_changed_configuration(&mut self) {
        let own = self.tracker.progress.get(self.id());
        if own.is_none_or(|own| own.learner) {
            mark(Mark::LeaderRemoved);
            if self.config.step_down_on_removal {
                self.become_follower(self.term(), MemberId::ZERO);
            }
            return;
        }
        // A smaller quorum may have had entries for long; new members are probed at once.
        if self.maybe_commit() {
            mark(Mark::ChangeCommits);
            self.release_waiting_reads();
            self.broadcast_append();
        } else {
            self.send_what_is_due();
        }
        if !self.tracker.configuration.voters.contains(self.transferee) {
            self.transferee = MemberId::ZERO;
        }
    }

    /// The state machine has applied entries up to `index`.
    pub(crate) fn applied_to(&mut self, index: Index) {
        let applied = index.max(self.log.applied());
        let payload = self.log.applied_to(applied);
        // Entries of earlier terms were never counted here, so this may well be too much.
        self.uncommitted_bytes = self.uncommitted_bytes.saturating_sub(payload);
        let leave = self.tracker.configuration.auto_leave && applied >= self.pending_conf_index;
        if leave && self.role() == Role::Leader {
            mark(Mark::AutoLeave);
            // Without data, which stands for the empty change and is never too much. Refused only
            // while leadership is being handed over: the next leader, or this one the next time,
            // does it then.
            let leave = Entry {
                entry_type: EntryType::ConfChangeV2 as i32,
                ..Entry::default()
            };
            let _ = self.on_proposal(self.id(), vec![leave]);
        }
    }
}

fn decode(entry_type: EntryType, data: &Bytes) -> Result<Option<ConfChangeV2>, ProposeError> {
    let undecodable = |_| ProposeError::UndecodableConfChange;
    Ok(match entry_type {
        EntryType::Normal => None,
        EntryType::ConfChange => {
            let change = ConfChange::decode(data.clone()).map_err(undecodable)?;
            Some(confchange::as_v2(&change))
        }
        EntryType::ConfChangeV2 => Some(ConfChangeV2::decode(data.clone()).map_err(undecodable)?),
    })
}
