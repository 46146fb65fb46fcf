//! Changes of who votes and of who leads.

use tenet_base::{MemberId, Rng};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2,
};

use super::{Fault, MEMBERS_MAX, World};

impl World {
    /// A change of the configuration at the leader; mostly one that it can take.
    pub(super) fn change_configuration(&mut self) {
        let Some(at) = self.leader() else { return };
        let raft = self.members[at].raft.as_ref().expect("a leader runs");
        let configuration = &raft.tracker().configuration;
        let (joint, voters) = (
            configuration.voters.is_joint(),
            configuration.voters.incoming.ids().to_vec(),
        );
        let against_the_state = self.percent(10);
        let mut change = ConfChangeV2::default();
        if joint == against_the_state {
            change = self.random_change(&voters);
        }
        self.count(Fault::ConfChange);
        let v1 = self.percent(50);
        self.with(at, |raft| {
            let single = match change.changes.as_slice() {
                [single] if v1 => Some(*single),
                _ => None,
            };
            let _ = match single {
                Some(ConfChangeSingle {
                    change_type,
                    node_id,
                }) => raft.propose_conf_change(ConfChange {
                    change_type,
                    node_id,
                    ..ConfChange::default()
                }),
                None => raft.propose_conf_change(change),
            };
        });
    }

    /// Changes that leave at least one voter.
    fn random_change(&mut self, voters: &[MemberId]) -> ConfChangeV2 {
        let mut left = voters.to_vec();
        let mut changes = Vec::new();
        for _ in 0..1 + self.rng.below(3) {
            let id = MemberId(1 + self.rng.below(MEMBERS_MAX));
            let kind = match self.rng.below(5) {
                0..3 => ConfChangeType::AddNode,
                3 => ConfChangeType::AddLearnerNode,
                _ => ConfChangeType::RemoveNode,
            };
            if kind == ConfChangeType::AddNode {
                left.push(id);
            } else if left.iter().all(|voter| *voter == id) {
                continue;
            } else {
                left.retain(|voter| *voter != id);
            }
            changes.push(single(kind, id));
        }
        if changes.is_empty() {
            changes.push(single(ConfChangeType::AddNode, voters[0]));
        }
        let transition = match self.rng.below(3) {
            0 => ConfChangeTransition::JointImplicit,
            1 => ConfChangeTransition::JointExplicit,
            _ => ConfChangeTransition::Auto,
        };
        ConfChangeV2 {
            transition: transition as i32,
            changes,
            ..ConfChangeV2::default()
        }
    }

    pub(super) fn transfer(&mut self, at: usize) {
        self.count(Fault::Transfer);
        let to = MemberId(1 + self.rng.below(MEMBERS_MAX));
        self.with(at, |raft| raft.transfer_leader(to));
    }
}

fn single(kind: ConfChangeType, id: MemberId) -> ConfChangeSingle {
    ConfChangeSingle {
        change_type: kind as i32,
        node_id: id.get(),
    }
}
