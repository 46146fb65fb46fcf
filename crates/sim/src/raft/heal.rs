//! Recovery: when faults stop, a leader must emerge and what is proposed must be applied by every
//! voter, within a bound.

use bytes::Bytes;
use tenet_base::MemberId;
use tenet_check::raft::{Property, Verdict, Violation};
use tenet_proto::raftpb::ConfChangeV2;
use tenet_raft::{Raft, Role};

use super::World;

/// Ticks in which a cluster must recover. Elections among seven members with colliding timeouts
/// take the longest.
const RECOVERY_TICKS: u64 = 2_000;
/// Messages go back and forth so often within a tick.
const EXCHANGES: u64 = 20;

impl World {
    /// The faults stop. A leader must emerge, and what is proposed must be applied by every voter.
    /// One case is counted instead, as [`Counts::deadlocks`](super::Counts::deadlocks): a leader
    /// that stops after its own removal, before the others know of it.
    ///
    /// # Errors
    /// If nothing happens within the bound, or something else breaks meanwhile.
    pub fn heal(&mut self) -> Verdict {
        self.settings.loss_percent = 0;
        self.settings.repeat_percent = 0;
        self.settings.delay_percent = 0;
        self.calm();
        let mut accepted = false;
        for tick in 0..RECOVERY_TICKS {
            if tick == RECOVERY_TICKS / 4 && self.waits_for_a_removed_member() {
                self.counts.deadlocks += 1;
                return self.verdict();
            }
            self.let_a_tick_pass();
            self.verdict()?;
            let Some(leader) = self.leader() else {
                continue;
            };
            if tick % 20 == 0 {
                accepted |= self.nudge(leader);
            }
            if accepted && self.is_settled(leader) {
                return self.verdict();
            }
        }
        Err(Violation::new(
            Property::Progress,
            format!(
                "nothing is committed {RECOVERY_TICKS} ticks after the faults have stopped: {}",
                self.describe()
            ),
        ))
    }

    /// Whatever is broken works again, for now.
    pub(super) fn calm(&mut self) {
        self.network.mend();
        for at in 0..self.members.len() {
            self.members[at].slow = false;
            self.restart(at);
            self.recover(at);
        }
    }

    /// A tick is long: whatever can happen between two of them does.
    fn let_a_tick_pass(&mut self) {
        for at in 0..self.members.len() {
            self.with(at, Raft::tick);
        }
        for _ in 0..EXCHANGES {
            for message in self.network.take_all() {
                self.deliver(message);
            }
            for at in 0..self.members.len() {
                self.sync(at);
                self.apply(at);
            }
        }
    }

    /// What a driver does at a leader from time to time. Whether a proposal was accepted.
    fn nudge(&mut self, leader: usize) -> bool {
        // An older snapshot may not name a member that needs it.
        self.members[leader].cut();
        let mut accepted = false;
        self.with(leader, |raft| {
            let configuration = raft.tracker().configuration.clone();
            if configuration.voters.is_joint() && !configuration.auto_leave {
                let _ = raft.propose_conf_change(ConfChangeV2::default());
            }
            // A leader that was removed takes no proposals; it stays until somebody takes over.
            let removed = !configuration.voters.contains(raft.id());
            if let Some(other) = raft.best_transferee().filter(|_| removed) {
                raft.transfer_leader(other);
            }
            let afterwards = vec![Bytes::from_static(b"afterwards")];
            accepted = raft.propose(afterwards).is_ok();
        });
        accepted
    }

    /// Whether every voter has applied everything.
    fn is_settled(&self, leader: usize) -> bool {
        let raft = self.members[leader].raft.as_ref().expect("a leader runs");
        let voters = &raft.tracker().configuration.voters;
        let (last, term) = (raft.status().last, raft.term());
        // Without pre-vote and check-quorum a member of a later term tells an earlier leader nothing
        // (as in etcd, whose servers always have both). If it knows too few of the present voters to
        // unseat that leader, it stays behind.
        let config = &self.settings.config;
        let silent = !config.pre_vote && !config.check_quorum;
        let has_all = |id: &MemberId| {
            let member = &self.members[id.get() as usize - 1];
            let later = member.raft.as_ref().is_some_and(|raft| raft.term() > term);
            member.machine.applied == last || (silent && later)
        };
        !voters.is_joint() && voters.incoming.ids().iter().all(has_all)
    }

    /// The one way in which a cluster cannot go on, etcd's as well: a leader has committed and
    /// applied its own removal, the others do not know, and it stops leading. They still need its
    /// vote, which it does not give because its log is longer, and it does not campaign any more.
    /// Drivers avoid it by handing leadership over before the leader is removed.
    fn waits_for_a_removed_member(&self) -> bool {
        let running = self.members.iter().filter_map(|m| m.raft.as_ref());
        let status: Vec<_> = running.map(Raft::status).collect();
        let leaderless = status.iter().all(|status| status.role != Role::Leader);
        let mut removed = status
            .iter()
            .filter(|s| !s.configuration.voters.contains(s.id));
        leaderless
            && removed.any(|gone| {
                let mut others = status.iter();
                others.any(|left| {
                    left.configuration.voters.contains(gone.id) && left.commit < gone.commit
                })
            })
    }

    fn describe(&self) -> String {
        let running = self.members.iter().filter_map(|m| {
            let status = m.raft.as_ref()?.status();
            Some(format!("\n{status:?} {:?}", m.machine))
        });
        running.collect()
    }
}
