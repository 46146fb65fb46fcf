//! How one configuration follows another: simple changes of one voter, joint changes of any
//! number (Raft thesis 4.1 and 4.3), and the configuration that a stored state stands for.
//!
//! Everything here computes a new configuration from an old one and touches neither; when a change
//! is decided and by whom is not known here. Invariant: what is returned satisfies the invariants
//! of [`tracker`](crate::tracker), asserted.

use tenet_base::{Index, MemberId};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};

use crate::error::ConfChangeError;
use crate::tracker::{Configuration, Inflights, Progress, ProgressMap};

/// The configuration that a change leads to, with everybody's progress.
pub type Changed = Result<(Configuration, ProgressMap), ConfChangeError>;

/// Computes changes of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Changer<'a> {
    /// The configuration in force.
    pub configuration: &'a Configuration,
    /// The progress of everybody in it.
    pub progress: &'a ProgressMap,
    /// The end of the log: where a new member is probed first.
    pub last_index: Index,
    /// Messages that may be in flight to a new member.
    pub max_inflight_messages: usize,
    /// Bytes that may be in flight to a new member.
    pub max_inflight_bytes: u64,
}

impl Changer<'_> {
    /// Whatever `change` asks for: leaving a joint configuration, entering one, or a simple change.
    ///
    /// # Errors
    /// The rule that the change breaks.
    pub fn apply(&self, change: &ConfChangeV2) -> Changed {
        if leaves_joint(change) {
            return self.leave_joint();
        }
        match joint_transition(change)? {
            Some(auto_leave) => self.enter_joint(auto_leave, &change.changes),
            None => self.simple(&change.changes),
        }
    }

    /// Changes at most one voter, and any number of learners.
    ///
    /// # Errors
    /// The rule that the change breaks.
    pub fn simple(&self, changes: &[ConfChangeSingle]) -> Changed {
        if self.configuration.voters.is_joint() {
            return Err(ConfChangeError::SimpleInJoint);
        }
        let mut draft = self.draft();
        draft.change_all(changes)?;
        let (old, new) = (
            &self.configuration.voters.incoming,
            &draft.configuration.voters.incoming,
        );
        let removed = old.ids().iter().filter(|id| !new.contains(**id)).count();
        let added = new.ids().iter().filter(|id| !old.contains(**id)).count();
        if removed + added > 1 {
            return Err(ConfChangeError::TooManyVoters);
        }
        Ok(draft.finish())
    }

    /// Enters the joint configuration between the present one and the changed one.
    ///
    /// # Errors
    /// The rule that the change breaks.
    pub fn enter_joint(&self, auto_leave: bool, changes: &[ConfChangeSingle]) -> Changed {
        let voters = &self.configuration.voters;
        if voters.is_joint() {
            return Err(ConfChangeError::AlreadyJoint);
        }
        if voters.incoming.is_empty() {
            return Err(ConfChangeError::NoVoters);
        }
        let mut draft = self.draft();
        draft.configuration.voters.outgoing = voters.incoming.clone();
        draft.change_all(changes)?;
        draft.configuration.auto_leave = auto_leave;
        Ok(draft.finish())
    }

    /// Leaves the joint configuration: the incoming half remains.
    ///
    /// # Errors
    /// If there is none.
    pub fn leave_joint(&self) -> Changed {
        if !self.configuration.voters.is_joint() {
            return Err(ConfChangeError::NotJoint);
        }
        let Draft {
            mut configuration,
            mut progress,
            ..
        } = self.draft();
        for id in std::mem::take(&mut configuration.learners_next).ids() {
            configuration.learners.insert(*id);
            if let Some(progress) = progress.get_mut(*id) {
                progress.learner = true;
            }
        }
        for id in std::mem::take(&mut configuration.voters.outgoing).ids() {
            let stays =
                configuration.voters.incoming.contains(*id) || configuration.learners.contains(*id);
            if !stays {
                progress.remove(*id);
            }
        }
        configuration.auto_leave = false;
        assert_invariants(&configuration, &progress);
        Ok((configuration, progress))
    }

    fn draft(&self) -> Draft<'_> {
        Draft {
            changer: self,
            configuration: self.configuration.clone(),
            progress: self.progress.clone(),
        }
    }
}

/// The configuration that a stored state stands for, with fresh progress.
///
/// # Errors
/// If no series of changes leads to such a state.
pub fn restore(
    state: &ConfState,
    last_index: Index,
    max_inflight_messages: usize,
    max_inflight_bytes: u64,
) -> Changed {
    let mut configuration = Configuration::default();
    let mut progress = ProgressMap::default();
    let change = |kind: ConfChangeType, ids: &[u64]| -> Vec<ConfChangeSingle> {
        let single = |id: &u64| ConfChangeSingle {
            change_type: kind as i32,
            node_id: *id,
        };
        ids.iter().map(single).collect()
    };
    let mut incoming = change(ConfChangeType::RemoveNode, &state.voters_outgoing);
    incoming.extend(change(ConfChangeType::AddNode, &state.voters));
    incoming.extend(change(ConfChangeType::AddLearnerNode, &state.learners));
    incoming.extend(change(ConfChangeType::AddLearnerNode, &state.learners_next));

    // First the configuration that became the outgoing half, one voter at a time; then from it
    // either the joint configuration in one step, or (when nothing goes out) the rest one by one.
    let outgoing = change(ConfChangeType::AddNode, &state.voters_outgoing);
    let joint = !outgoing.is_empty();
    let single_steps = if joint { &outgoing } else { &incoming };
    for step in single_steps {
        let changer = Changer {
            configuration: &configuration,
            progress: &progress,
            last_index,
            max_inflight_messages,
            max_inflight_bytes,
        };
        (configuration, progress) = changer.simple(std::slice::from_ref(step))?;
    }
    if joint {
        let changer = Changer {
            configuration: &configuration,
            progress: &progress,
            last_index,
            max_inflight_messages,
            max_inflight_bytes,
        };
        (configuration, progress) = changer.enter_joint(state.auto_leave, &incoming)?;
    }
    let reached = configuration.conf_state();
    if sorted(state) != reached {
        return Err(ConfChangeError::Unreachable {
            given: format!("{state:?}"),
            reached: format!("{reached:?}"),
        });
    }
    Ok((configuration, progress))
}

fn sorted(state: &ConfState) -> ConfState {
    let mut state = state.clone();
    for ids in [
        &mut state.voters,
        &mut state.learners,
        &mut state.voters_outgoing,
        &mut state.learners_next,
    ] {
        ids.sort_unstable();
    }
    state
}

/// A [`ConfChange`] in the newer form.
#[must_use]
pub fn as_v2(change: &ConfChange) -> ConfChangeV2 {
    ConfChangeV2 {
        transition: ConfChangeTransition::Auto as i32,
        changes: vec![ConfChangeSingle {
            change_type: change.change_type,
            node_id: change.node_id,
        }],
        context: change.context.clone(),
    }
}

/// Whether the change leaves a joint configuration: it changes nothing else.
#[must_use]
pub fn leaves_joint(change: &ConfChangeV2) -> bool {
    change.transition == ConfChangeTransition::Auto as i32 && change.changes.is_empty()
}

/// Whether the change goes through a joint configuration, and if so, whether that is left
/// automatically.
fn joint_transition(change: &ConfChangeV2) -> Result<Option<bool>, ConfChangeError> {
    match ConfChangeTransition::try_from(change.transition) {
        Ok(ConfChangeTransition::Auto) if change.changes.len() <= 1 => Ok(None),
        Ok(ConfChangeTransition::Auto | ConfChangeTransition::JointImplicit) => Ok(Some(true)),
        Ok(ConfChangeTransition::JointExplicit) => Ok(Some(false)),
        Err(_) => Err(ConfChangeError::UnknownTransition(change.transition)),
    }
}

/// A configuration being changed; its invariants hold again at the end.
struct Draft<'a> {
    changer: &'a Changer<'a>,
    configuration: Configuration,
    progress: ProgressMap,
}

impl Draft<'_> {
    fn change_all(&mut self, changes: &[ConfChangeSingle]) -> Result<(), ConfChangeError> {
        for change in changes {
            let id = MemberId(change.node_id);
            if id.is_zero() {
                // The state machine decided against the change and blanked it.
                continue;
            }
            match ConfChangeType::try_from(change.change_type) {
                Ok(ConfChangeType::AddNode) => self.make_voter(id),
                Ok(ConfChangeType::AddLearnerNode) => self.make_learner(id),
                Ok(ConfChangeType::RemoveNode) => self.remove(id),
                Ok(ConfChangeType::UpdateNode) => {}
                Err(_) => return Err(ConfChangeError::UnknownType(change.change_type)),
            }
        }
        if self.configuration.voters.incoming.is_empty() {
            return Err(ConfChangeError::RemovedAllVoters);
        }
        Ok(())
    }

    fn make_voter(&mut self, id: MemberId) {
        match self.progress.get_mut(id) {
            Some(progress) => progress.learner = false,
            None => self.add(id, false),
        }
        self.configuration.learners.remove(id);
        self.configuration.learners_next.remove(id);
        self.configuration.voters.incoming.insert(id);
    }

    fn make_learner(&mut self, id: MemberId) {
        let Some(progress) = self.progress.get_mut(id) else {
            self.add(id, true);
            self.configuration.learners.insert(id);
            return;
        };
        if progress.learner {
            return;
        }
        self.configuration.voters.incoming.remove(id);
        self.configuration.learners_next.remove(id);
        // As long as it votes in the outgoing half it cannot be a learner.
        if self.configuration.voters.outgoing.contains(id) {
            self.configuration.learners_next.insert(id);
        } else {
            progress.learner = true;
            self.configuration.learners.insert(id);
        }
    }

    fn remove(&mut self, id: MemberId) {
        self.configuration.voters.incoming.remove(id);
        self.configuration.learners.remove(id);
        self.configuration.learners_next.remove(id);
        if !self.configuration.voters.outgoing.contains(id) {
            self.progress.remove(id);
        }
    }

    fn add(&mut self, id: MemberId, learner: bool) {
        let changer = self.changer;
        let inflights = Inflights::new(changer.max_inflight_messages, changer.max_inflight_bytes);
        let mut progress = Progress::new(changer.last_index.max(Index(1)), learner, inflights);
        // Or the next check of quorum could unseat the leader before the newcomer can answer.
        progress.recent_active = true;
        self.progress.insert(id, progress);
    }

    fn finish(self) -> (Configuration, ProgressMap) {
        assert_invariants(&self.configuration, &self.progress);
        (self.configuration, self.progress)
    }
}

fn assert_invariants(configuration: &Configuration, progress: &ProgressMap) {
    let Configuration {
        voters,
        learners,
        learners_next,
        auto_leave,
    } = configuration;
    for id in voters.ids().ids() {
        let progress = progress.get(*id);
        assert!(
            progress.is_some_and(|p| !p.learner),
            "voter {id} without a voter's progress"
        );
        assert!(
            !learners.contains(*id),
            "member {id} both votes and learns: {configuration}"
        );
    }
    for id in learners.ids() {
        let progress = progress.get(*id);
        assert!(
            progress.is_some_and(|p| p.learner),
            "learner {id} without a learner's progress"
        );
    }
    for id in learners_next.ids() {
        assert!(
            voters.outgoing.contains(*id),
            "{id} is to learn, but does not vote until then"
        );
    }
    for (id, _) in progress.iter() {
        let known = voters.contains(id) || learners.contains(id);
        assert!(known, "progress of {id}, which is not in {configuration}");
    }
    if !voters.is_joint() {
        assert!(
            learners_next.is_empty() && !auto_leave,
            "not joint, and yet {configuration}"
        );
    }
}
