//! What a leader does: replicate, commit, keep its office (Raft 5.3, 5.4.2, thesis 10.2.1).
//!
//! Invariants: a leader only appends to its own log; it counts itself like any other voter, once
//! its own log says that an entry is durable; only entries of its own term are committed by
//! counting, and with them everything before.

use bytes::Bytes;
use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::{Entry, EntryType, Message, MessageType};

use crate::bugs::KnownBug;
use crate::error::LogError;
use crate::log::EntryId;
use crate::marks::{Mark, mark};
use crate::quorum::MemberSet;
use crate::raft::{Raft, Role};
use crate::size::payload_size;
use crate::store::LogStore;
use crate::tracker::{Progress, ProgressState};

impl<S: LogStore> Raft<S> {
    /// Appends entries to this leader's log and returns the position of the first. The leader's
    /// own acknowledgement waits until they are durable, like everybody's.
    pub(crate) fn append_own(
        &mut self,
        entries: impl Iterator<Item = (EntryType, Bytes)>,
    ) -> Index {
        let last = self.log.last_id();
        let truncates = self.config.has_bug(KnownBug::LeaderTruncates) && last.term < self.term();
        let first = match truncates {
            true => self.log.committed().next(),
            false => last.index.next(),
        };
        let term = self.term().get();
        let entries = entries
            .zip(first.get()..)
            .map(|((entry_type, data), index)| Entry {
                entry_type: entry_type as i32,
                term,
                index,
                data,
            });
        self.log.append(first, entries);
        let index = self.log.last_index().get();
        self.send(
            MessageType::AppResp,
            self.id(),
            Message {
                index,
                ..Message::default()
            },
        );
        first
    }

    /// Sends everybody what they are due, or at least the commit index.
    pub(crate) fn broadcast_append(&mut self) {
        self.for_each_peer(|raft, id| {
            raft.send_append(id, true);
        });
    }

    /// Sends everybody the entries that they are due.
    pub(crate) fn send_what_is_due(&mut self) {
        self.for_each_peer(|raft, id| {
            raft.send_append(id, false);
        });
    }

    pub(crate) fn broadcast_heartbeat(&mut self) {
        let context = self.reads.heartbeat_context();
        self.for_each_peer(|raft, id| raft.send_heartbeat(id, context.clone()));
    }

    fn for_each_peer(&mut self, mut visit: impl FnMut(&mut Self, MemberId)) {
        for at in 0..self.tracker.progress.len() {
            match self.tracker.progress.id_at(at) {
                Some(id) if !self.is_self(id) => visit(self, id),
                _ => {}
            }
        }
    }

    /// Sends one append message, or a snapshot, if the member's progress allows it. A message
    /// without entries carries the commit index; it is sent only if `even_if_empty`. Whether
    /// anything was sent.
    pub(crate) fn send_append(&mut self, to: MemberId, even_if_empty: bool) -> bool {
        let Some(progress) = self.tracker.progress.get_mut(to) else {
            return false;
        };
        if progress.is_paused() {
            return false;
        }
        let previous = Index(progress.next.get() - 1);
        let term = match self.log.term(previous) {
            Ok(term) => term,
            Err(LogError::Unavailable) => return false,
            Err(_) => return self.send_snapshot(to),
        };
        // With a full window only an empty message goes out: should all that fill it have been
        // lost, its answer is what gets things going again.
        let full = progress.state == ProgressState::Replicate && progress.inflights.is_full();
        if full {
            mark(Mark::WindowFull);
        }
        let mut entries = Vec::new();
        if !full {
            match self
                .log
                .entries_from(progress.next, self.config.max_message_bytes)
            {
                Ok(due) => entries = due,
                Err(LogError::Unavailable) => return false,
                Err(_) => return self.send_snapshot(to),
            }
        }
        if entries.is_empty() && !even_if_empty {
            return false;
        }
        let commit = self.log.committed();
        progress.sent_entries(entries.len(), payload_size(&entries));
        progress.sent_commit(commit);
        let message = Message {
            index: previous.get(),
            log_term: term.get(),
            entries,
            commit: commit.get(),
            ..Message::default()
        };
        self.send(MessageType::App, to, message);
        true
    }

    fn send_snapshot(&mut self, to: MemberId) -> bool {
        let Some(progress) = self.tracker.progress.get_mut(to) else {
            return false;
        };
        // Whoever is not there would only be sent it again.
        if !progress.recent_active {
            mark(Mark::SnapshotToNobody);
            return false;
        }
        let snapshot = match self.log.snapshot() {
            Ok(snapshot) if !snapshot.is_empty() => snapshot,
            _ => return false,
        };
        mark(Mark::SnapshotSent);
        progress.become_snapshot(Index(snapshot.index()));
        let message = Message {
            snapshot: Some(Box::new(snapshot)),
            ..Message::default()
        };
        self.send(MessageType::Snap, to, message);
        true
    }

    fn send_heartbeat(&mut self, to: MemberId, context: Bytes) {
        let Some(progress) = self.tracker.progress.get_mut(to) else {
            return;
        };
        // Never more than the follower is known to hold.
        let commit = match self.config.has_bug(KnownBug::HeartbeatCommit) {
            true => self.log.committed(),
            false => progress.matched.min(self.log.committed()),
        };
        progress.sent_commit(commit);
        let message = Message {
            commit: commit.get(),
            context,
            ..Message::default()
        };
        self.send(MessageType::Heartbeat, to, message);
    }

    /// Commits what a quorum holds, if its last entry is of this term; whether that is news.
    pub(crate) fn maybe_commit(&mut self) -> bool {
        let index = self.held_by_quorum();
        if self.config.has_bug(KnownBug::OlderTermCommitted) && index > self.log.committed() {
            self.log.commit_to(index);
            return true;
        }
        let id = EntryId {
            term: self.term(),
            index,
        };
        let commits = self.log.maybe_commit(id);
        if !commits && index > self.log.committed() {
            mark(Mark::OlderTermWaits);
        }
        commits
    }

    /// The last entry that a quorum holds.
    fn held_by_quorum(&self) -> Index {
        let configuration = &self.tracker.configuration;
        let also = if self.config.has_bug(KnownBug::IncomingDecides) {
            Vec::new()
        } else if self.config.has_bug(KnownBug::RemovedLeaderCounts) {
            vec![self.id()]
        } else if self.config.has_bug(KnownBug::LearnerCounted) {
            configuration.learners.ids().to_vec()
        } else {
            return self.tracker.committed();
        };
        let counted = configuration.voters.incoming.ids().iter().copied();
        let counted: MemberSet = counted.chain(also).collect();
        let own = self.log.last_index();
        Index(counted.committed(|id| match self.tracker.progress.get(id) {
            Some(progress) => progress.matched.get(),
            None if self.is_self(id) => own.get(),
            None => 0,
        }))
    }

    /// A member has appended, or refused to.
    pub(crate) fn on_append_response(&mut self, message: &Message) {
        let from = MemberId(message.from);
        let Some(progress) = self.tracker.progress.get_mut(from) else {
            return;
        };
        progress.recent_active = true;
        if message.reject {
            self.on_append_refused(from, message);
            return;
        }
        let index = Index(message.index);
        // A member that is already known to hold this much may still be probed.
        let found = progress.matched == index && progress.state == ProgressState::Probe;
        if !progress.maybe_update(index) && !found {
            return;
        }
        let reconnected = progress.matched.next() >= self.log.first_index();
        match progress.state {
            ProgressState::Probe => progress.become_replicate(),
            // Whatever snapshot it has got, and from whom: the log continues from there.
            ProgressState::Snapshot if reconnected => {
                mark(Mark::SnapshotCaughtUp);
                progress.become_probe();
                progress.become_replicate();
            }
            ProgressState::Snapshot => {}
            ProgressState::Replicate => progress.inflights.free_through(index),
        }
        let commit = self.log.committed();
        let behind = progress.can_bump_commit(commit);
        if self.maybe_commit() {
            self.release_waiting_reads();
            self.broadcast_append();
        } else if behind && !self.is_self(from) {
            self.send_append(from, true);
        }
        if self.is_self(from) {
            return;
        }
        while self.send_append(from, false) {}
        self.continue_transfer(from);
    }

    fn on_append_refused(&mut self, from: MemberId, message: &Message) {
        let (hint, term) = (Index(message.reject_hint), message.log_term.into());
        // The follower's log has `term` at its hint; where this log has a larger term it cannot
        // match, so skip to where it has not: at most one probe for each term.
        let next = match message.log_term {
            0 => hint,
            _ => self.log.conflict_hint(hint, term).index,
        };
        let Some(progress) = self.tracker.progress.get_mut(from) else {
            return;
        };
        if !progress.maybe_decrease(Index(message.index), next) {
            mark(Mark::OldRefusal);
            return;
        }
        if progress.state == ProgressState::Replicate {
            mark(Mark::ReplicateRefused);
            progress.become_probe();
        } else {
            mark(Mark::ProbeRefused);
        }
        self.send_append(from, true);
    }

    /// A member is alive.
    pub(crate) fn on_heartbeat_response(&mut self, message: &Message) {
        let from = MemberId(message.from);
        let Some(progress) = self.tracker.progress.get_mut(from) else {
            return;
        };
        progress.recent_active = true;
        progress.paused = false;
        // Also when it has everything but is being probed: its answer ends the probing.
        if progress.matched < self.log.last_index() || progress.state == ProgressState::Probe {
            self.send_append(from, true);
        }
        self.on_read_ack(from, &message.context);
    }

    /// Steps down unless a quorum has been heard from since the last check.
    pub(crate) fn check_quorum(&mut self) {
        if !self.tracker.quorum_active() {
            mark(Mark::QuorumLost);
            self.become_follower(self.term(), MemberId::ZERO);
        }
        let own = self.id();
        for (id, progress) in self.tracker.progress.iter_mut() {
            if id != own {
                progress.recent_active = false;
            }
        }
    }

    /// The transport could not reach a member: what is on its way to it is probably lost.
    pub fn report_unreachable(&mut self, id: MemberId) {
        if let Some(progress) = self.followed(id)
            && progress.state == ProgressState::Replicate
        {
            progress.become_probe();
        }
    }

    /// How the sending of a snapshot to a member has ended.
    pub fn report_snapshot(&mut self, id: MemberId, ok: bool) {
        if self.config.has_bug(KnownBug::SnapshotFailureIgnored) {
            return;
        }
        if let Some(progress) = self.followed(id)
            && progress.state == ProgressState::Snapshot
        {
            if !ok {
                mark(Mark::SnapshotFailed);
                progress.pending_snapshot = Index::ZERO;
            }
            progress.become_probe();
            // Its acknowledgement, or the next sign of life, tells how to go on.
            progress.paused = true;
        }
    }

    fn followed(&mut self, id: MemberId) -> Option<&mut Progress> {
        match self.role() {
            Role::Leader => self.tracker.progress.get_mut(id),
            _ => None,
        }
    }
}
