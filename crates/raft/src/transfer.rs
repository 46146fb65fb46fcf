//! Handing leadership to another member (Raft thesis 3.10).
//!
//! Invariant: while it is being handed over, a leader takes no proposals; it waits no longer than
//! an election timeout.

use std::cmp::Reverse;

use tenet_base::MemberId;
use tenet_proto::raftpb::{Message, MessageType};

use crate::bugs::KnownBug;
use crate::marks::{Mark, mark};
use crate::raft::{Raft, Role};
use crate::store::LogStore;

impl<S: LogStore> Raft<S> {
    /// Asks for leadership to go to `to`: at a follower, by asking the leader. It may come to
    /// nothing, and then this member's leader stays in office.
    pub fn transfer_leader(&mut self, to: MemberId) {
        match self.role() {
            Role::Leader => self.begin_transfer(to),
            Role::Follower if !self.leader().is_zero() => {
                // In the name of the member that is to lead, as etcd has it.
                let message = Message {
                    from: to.get(),
                    ..Message::default()
                };
                self.send(MessageType::TransferLeader, self.leader(), message);
            }
            _ => {}
        }
    }

    /// The voter with the most complete log that has been heard from, apart from this member: whom
    /// to [hand leadership to](Raft::transfer_leader) when this member's disk hangs.
    #[must_use]
    pub fn best_transferee(&self) -> Option<MemberId> {
        if self.role() != Role::Leader {
            return None;
        }
        let voters = &self.tracker.configuration.voters.incoming;
        let others = self.tracker.progress.iter().filter(|(id, progress)| {
            !self.is_self(*id) && voters.contains(*id) && progress.recent_active
        });
        others
            .max_by_key(|(id, progress)| (progress.matched, Reverse(*id)))
            .map(|(id, _)| id)
    }

    pub(crate) fn begin_transfer(&mut self, to: MemberId) {
        let Some(progress) = self.tracker.progress.get(to) else {
            return;
        };
        if progress.learner || self.transferee == to {
            return;
        }
        // A new wish ends an earlier one, even the wish to let things be.
        self.transferee = MemberId::ZERO;
        if self.is_self(to) {
            return;
        }
        let caught_up = progress.matched == self.log.last_index();
        self.transferee = to;
        self.election_elapsed = 0;
        if caught_up {
            mark(Mark::TransferAtOnce);
            self.ask_to_take_over(to);
        } else {
            self.send_append(to, true);
        }
    }

    /// Member `from` has made progress.
    pub(crate) fn continue_transfer(&mut self, from: MemberId) {
        let caught_up = |id| {
            let progress = self.tracker.progress.get(id);
            progress.is_some_and(|progress| progress.matched == self.log.last_index())
        };
        if from == self.transferee && caught_up(from) {
            mark(Mark::TransferLater);
            self.ask_to_take_over(from);
        }
    }

    fn ask_to_take_over(&mut self, to: MemberId) {
        if !self.config.has_bug(KnownBug::LeaseDuringTransfer) {
            self.reads.void_lease();
        }
        self.send(MessageType::TimeoutNow, to, Message::default());
    }
}
