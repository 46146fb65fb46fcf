//! What a follower does with what its leader sends (Raft 5.3, 7).
//!
//! Invariants: committed entries are never replaced; answers are released when what they
//! acknowledge is durable; nothing is acknowledged beyond what the leader is known to share.

use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Message, MessageType, Snapshot};

use crate::bugs::KnownBug;
use crate::confchange::{self, Changed};
use crate::error::StepError;
use crate::log::EntryId;
use crate::marks::{Mark, mark};
use crate::raft::Raft;
use crate::store::{LogStore, conf_state_of};
use crate::tracker::Tracker;

impl<S: LogStore> Raft<S> {
    /// Entries from the leader; `message` is known to be well formed.
    pub(crate) fn on_append(&mut self, message: Message) -> Result<(), StepError> {
        let from = MemberId(message.from);
        let committed = self.log.committed();
        let previous = EntryId {
            term: Term(message.log_term),
            index: Index(message.index),
        };
        if previous.index < committed {
            mark(Mark::OldAppend);
            self.check_fork(from, &message)?;
            self.acknowledge(from, committed);
            return Ok(());
        }
        let reaches = previous.index <= self.log.last_index();
        let unmatched = self.config.has_bug(KnownBug::UnmatchedAppend) && reaches;
        if !self.log.matches(previous) && !unmatched {
            self.refuse(from, previous);
            return Ok(());
        }
        let last_new = Index(message.index + message.entries.len() as u64);
        let known = self.log.known_prefix(&message.entries);
        if let Some(first) = message.entries.get(known) {
            let first = first.index();
            if first <= committed {
                let term = self.term();
                return Err(StepError::ForkedLog {
                    from,
                    term,
                    index: first,
                    committed,
                });
            }
            if first <= self.log.last_index() {
                mark(Mark::EntriesReplaced);
            }
            self.log
                .append(first, message.entries.into_iter().skip(known));
        }
        self.log.commit_to(Index(message.commit).min(last_new));
        self.acknowledge(from, last_new);
        Ok(())
    }

    /// Committed entries are in every later leader's log. Acknowledging others in their place would
    /// let that leader commit them.
    fn check_fork(&self, from: MemberId, message: &Message) -> Result<(), StepError> {
        let committed = self.log.committed();
        let previous = (Index(message.index), Term(message.log_term));
        let entries = message
            .entries
            .iter()
            .map(|entry| (entry.index(), entry.term()));
        let differs = |(index, term): &(Index, Term)| {
            *index <= committed && self.log.term(*index).is_ok_and(|own| own != *term)
        };
        match std::iter::once(previous).chain(entries).find(differs) {
            None => Ok(()),
            Some((index, _)) => {
                let term = self.term();
                Err(StepError::ForkedLog {
                    from,
                    term,
                    index,
                    committed,
                })
            }
        }
    }

    fn acknowledge(&mut self, leader: MemberId, index: Index) {
        let message = Message {
            index: index.get(),
            ..Message::default()
        };
        self.send(MessageType::AppResp, leader, message);
    }

    /// This log does not have the entry that the leader's entries follow. Tell it the largest
    /// position that could match: here, too, positions with a larger term cannot.
    fn refuse(&mut self, leader: MemberId, previous: EntryId) {
        let start = previous.index.min(self.log.last_index());
        let hint = self.log.conflict_hint(start, previous.term);
        let message = Message {
            index: previous.index.get(),
            reject: true,
            reject_hint: hint.index.get(),
            log_term: hint.term.get(),
            ..Message::default()
        };
        self.send(MessageType::AppResp, leader, message);
    }

    /// The leader is alive.
    pub(crate) fn on_heartbeat(&mut self, message: Message) {
        let commit = match self.config.has_bug(KnownBug::HeartbeatCommit) {
            true => Index(message.commit).min(self.log.last_index()),
            false => Index(message.commit),
        };
        self.log.commit_to(commit);
        let answer = Message {
            context: message.context,
            ..Message::default()
        };
        self.send(MessageType::HeartbeatResp, MemberId(message.from), answer);
    }

    /// A snapshot from the leader.
    pub(crate) fn on_snapshot(&mut self, message: Message) -> Result<(), StepError> {
        let from = MemberId(message.from);
        let snapshot = message
            .snapshot
            .map(|snapshot| *snapshot)
            .unwrap_or_default();
        let index = if self.restore(from, snapshot)? {
            self.log.last_index()
        } else {
            self.log.committed()
        };
        self.acknowledge(from, index);
        Ok(())
    }

    /// Takes a snapshot in place of the log, if it tells anything new.
    fn restore(&mut self, from: MemberId, snapshot: Snapshot) -> Result<bool, StepError> {
        let id = EntryId {
            term: Term(snapshot.term()),
            index: Index(snapshot.index()),
        };
        if id.index <= self.log.committed() {
            mark(Mark::OldSnapshot);
            return Ok(false);
        }
        let state = conf_state_of(&snapshot);
        let own = self.id().get();
        let mut members = state
            .voters
            .iter()
            .chain(&state.learners)
            .chain(&state.voters_outgoing);
        if !members.any(|member| *member == own) {
            // It would leave this member outside of the configuration that it is part of.
            return Ok(false);
        }
        if self.log.matches(id) {
            // The log has it all, and may have more: just commit.
            mark(Mark::SnapshotMatches);
            self.log.commit_to(id.index);
            return Ok(false);
        }
        self.configuration_of(&snapshot)
            .map_err(|why| StepError::SnapshotConfState { from, why })?;
        mark(Mark::SnapshotRestored);
        self.log.restore(snapshot);
        Ok(true)
    }

    fn configuration_of(&self, snapshot: &Snapshot) -> Changed {
        confchange::restore(
            &conf_state_of(snapshot),
            Index(snapshot.index()),
            self.config.max_inflight_messages,
            self.config.max_inflight_bytes,
        )
    }

    /// The log and the state machine hold a snapshot. Its configuration takes effect only now, with
    /// the state machine: until then changes before the snapshot may still be applied, and they
    /// belong to the configuration of before. Nothing asks for it earlier, because a member with a
    /// pending snapshot does not campaign.
    pub(crate) fn restored(&mut self, snapshot: &Snapshot) {
        let index = Index(snapshot.index());
        if index > self.log.applied() {
            let (configuration, progress) = self
                .configuration_of(snapshot)
                .expect("it was checked when it came");
            self.tracker = Tracker::new(configuration, progress);
        }
        self.log.stable_snapshot(index);
        self.applied_to(index);
    }

    /// Forgets who leads, without leaving the term: other candidates are then heard. Ignored with
    /// lease-based reads, which rest on followers that stand by their leader.
    pub fn forget_leader(&mut self) {
        use crate::config::ReadOnly;
        use crate::raft::Role;
        if self.role() == Role::Follower && self.config.read_only != ReadOnly::LeaseBased {
            self.leader = MemberId::ZERO;
        }
    }
}
