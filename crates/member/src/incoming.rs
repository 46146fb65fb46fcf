//! A snapshot of the leader on its way to become the state of this member.
//!
//! The core has accepted it. Its keys and tables are made durable in place of the files that there
//! are, while the old state goes on serving; then the log is told; then it takes the old state's
//! place. The way back ends with the first of these: a start finds the snapshot, and finishes what
//! was begun.
//!
//! Invariant: the files of the store are those of one state at any moment; while a snapshot is being
//! installed no other job is begun.

use crate::keeper::StoreJob;
use tenet_base::Index;
use tenet_state::State;

#[derive(Debug)]
enum Stage {
    /// A job on the old files is to end first.
    Waiting,
    /// The keeper writes it.
    Writing,
    /// The store holds it; the log does not yet.
    Stored,
    /// Store and log hold it.
    Due,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    installing: Option<(Box<State>, Stage)>,
}

impl Incoming {
    /// The core has accepted the snapshot of this state.
    pub(crate) fn install(&mut self, state: Box<State>) {
        assert!(
            self.installing.is_none(),
            "two snapshots are to be installed"
        );
        self.installing = Some((state, Stage::Waiting));
    }

    /// Whether a snapshot is being installed.
    pub(crate) fn is_under_way(&self) -> bool {
        self.installing.is_some()
    }

    /// What the keeper should do for it, given that it is free.
    pub(crate) fn next_job(&mut self, old: &State) -> Option<StoreJob> {
        let (state, stage) = self.installing.as_mut()?;
        matches!(stage, Stage::Waiting).then(|| {
            *stage = Stage::Writing;
            StoreJob::install(state, old)
        })
    }

    /// The keeper has ended a job: that of the state that is returned, or else one of the old state.
    pub(crate) fn kept(&mut self) -> Option<&mut State> {
        let (state, stage) = self.installing.as_mut()?;
        if !matches!(stage, Stage::Writing) {
            return None;
        }
        *stage = Stage::Stored;
        Some(state)
    }

    /// The keeper has given a job up: that of the state that is returned, which is tried again, or
    /// else one of the old state.
    pub(crate) fn given_up(&mut self) -> Option<&mut State> {
        let (state, stage) = self.installing.as_mut()?;
        if !matches!(stage, Stage::Writing) {
            return None;
        }
        *stage = Stage::Waiting;
        Some(state)
    }

    /// The log holds it, too.
    pub(crate) fn switch(&mut self, index: Index) {
        match &mut self.installing {
            Some((state, stage @ Stage::Stored)) if state.applied().0 == index => {
                *stage = Stage::Due;
            }
            other => panic!("the log goes on after a snapshot of entry {index}, but {other:?}"),
        }
    }

    /// The state whose turn it is.
    pub(crate) fn take(&mut self) -> Option<Box<State>> {
        let due = self
            .installing
            .take_if(|(_, stage)| matches!(stage, Stage::Due));
        due.map(|(state, _)| state)
    }
}
