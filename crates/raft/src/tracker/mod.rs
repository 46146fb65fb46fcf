//! The configuration in force and the progress of everybody in it.
//!
//! Invariants: whoever is in the configuration has a progress and nobody else; learners and voters
//! do not overlap; `learners_next` are voters of the outgoing half; outside of a joint
//! configuration `learners_next` is empty and `auto_leave` false. The rules by which one
//! configuration follows another are in [`confchange`](crate::confchange).

mod inflights;
mod progress;

use std::fmt;

use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::ConfState;

pub use inflights::Inflights;
pub use progress::{Progress, ProgressState};

use crate::quorum::{Joint, MemberSet, VoteResult};

/// Who votes and who learns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The voters; two sets of them during a joint change.
    pub voters: Joint,
    /// Whether a joint configuration is left as soon as it has been applied.
    pub auto_leave: bool,
    /// Members that receive the log and do not vote.
    pub learners: MemberSet,
    /// Voters of the outgoing half that become learners when the joint configuration is left: until
    /// then they still vote.
    pub learners_next: MemberSet,
}

impl Configuration {
    /// The configuration in etcd's form.
    #[must_use]
    pub fn conf_state(&self) -> ConfState {
        let raw = |set: &MemberSet| set.ids().iter().map(|id| id.get()).collect();
        ConfState {
            voters: raw(&self.voters.incoming),
            learners: raw(&self.learners),
            voters_outgoing: raw(&self.voters.outgoing),
            learners_next: raw(&self.learners_next),
            auto_leave: self.auto_leave,
        }
    }

    /// Whether `id` alone decides everything.
    #[must_use]
    pub fn is_sole_voter(&self, id: MemberId) -> bool {
        !self.voters.is_joint() && self.voters.incoming.ids() == [id]
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voters={}", self.voters)?;
        if !self.learners.is_empty() {
            write!(f, " learners={}", self.learners)?;
        }
        if !self.learners_next.is_empty() {
            write!(f, " learners_next={}", self.learners_next)?;
        }
        if self.auto_leave {
            f.write_str(" autoleave")?;
        }
        Ok(())
    }
}

/// The progress of each member, in order of their ids. Clusters are small, so a sorted vector
/// beats any tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressMap(Vec<(MemberId, Progress)>);

impl ProgressMap {
    /// The progress of `id`.
    #[must_use]
    pub fn get(&self, id: MemberId) -> Option<&Progress> {
        self.position(id).ok().map(|at| &self.0[at].1)
    }

    /// The progress of `id`.
    pub fn get_mut(&mut self, id: MemberId) -> Option<&mut Progress> {
        self.position(id).ok().map(|at| &mut self.0[at].1)
    }

    /// Sets the progress of `id`.
    pub fn insert(&mut self, id: MemberId, progress: Progress) {
        match self.position(id) {
            Ok(at) => self.0[at].1 = progress,
            Err(at) => self.0.insert(at, (id, progress)),
        }
    }

    /// Forgets `id`.
    pub fn remove(&mut self, id: MemberId) -> Option<Progress> {
        self.position(id).ok().map(|at| self.0.remove(at).1)
    }

    /// Everybody, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (MemberId, &Progress)> {
        self.0.iter().map(|(id, progress)| (*id, progress))
    }

    /// Everybody, in order.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (MemberId, &mut Progress)> {
        self.0.iter_mut().map(|(id, progress)| (*id, progress))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The member at a place in the order, for loops that change what they visit.
    pub(crate) fn id_at(&self, at: usize) -> Option<MemberId> {
        self.0.get(at).map(|(id, _)| *id)
    }

    fn position(&self, id: MemberId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id)
    }
}

impl fmt::Display for ProgressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, progress) in self.iter() {
            writeln!(f, "{}: {progress}", id.get())?;
        }
        Ok(())
    }
}

/// The configuration with everybody's progress and the votes of the election under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    /// Who is in.
    pub configuration: Configuration,
    /// How far they are.
    pub progress: ProgressMap,
    votes: Vec<(MemberId, bool)>,
}

impl Tracker {
    /// A configuration before anybody has voted in it.
    #[must_use]
    pub fn new(configuration: Configuration, progress: ProgressMap) -> Self {
        Tracker {
            configuration,
            progress,
            votes: Vec::new(),
        }
    }

    /// The largest index that a quorum holds.
    #[must_use]
    pub fn committed(&self) -> Index {
        let matched = |id| {
            self.progress
                .get(id)
                .map_or(0, |progress| progress.matched.get())
        };
        Index(self.configuration.voters.committed(matched))
    }

    /// Whether a quorum has been heard from recently.
    #[must_use]
    pub fn quorum_active(&self) -> bool {
        let active = |id| {
            let progress = self.progress.get(id).filter(|progress| !progress.learner)?;
            Some(progress.recent_active)
        };
        self.configuration.voters.vote_result(active) == VoteResult::Won
    }

    /// Begins a new round of votes.
    pub fn reset_votes(&mut self) {
        self.votes.clear();
    }

    /// Takes a vote; only the first of each member counts.
    pub fn record_vote(&mut self, id: MemberId, granted: bool) {
        if self.vote_of(id).is_none() {
            self.votes.push((id, granted));
        }
    }

    /// What the votes come to.
    #[must_use]
    pub fn tally(&self) -> VoteResult {
        self.configuration.voters.vote_result(|id| self.vote_of(id))
    }

    fn vote_of(&self, id: MemberId) -> Option<bool> {
        self.votes
            .iter()
            .find(|(voter, _)| *voter == id)
            .map(|(_, granted)| *granted)
    }
}
