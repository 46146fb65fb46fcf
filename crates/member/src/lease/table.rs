//! The leases of the lessor, found by id and held by small numbers that a [`Wheel`] can carry.

use super::wheel::Wheel;
use std::collections::BTreeMap;
use tenet_base::LeaseId;

/// How far a lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was granted, and its deadline counts from the next time that the lessor is told: the
    /// last one may be long ago, and no lease may end early.
    Fresh,
    /// It has a deadline.
    Running,
    /// Its deadline has passed; it waits for its revoke to be proposed.
    Due,
    /// A revoke was proposed at this time. It cannot be renewed any more.
    Proposed { at_ms: u64 },
}

/// What a restart would make of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It would begin anew.
    Clean,
    /// It would have what a checkpoint says, which is there or on its way: less than a renewal
    /// promises. A renewal is answered only after a checkpoint that takes this back.
    Marked,
    /// The checkpoint that takes it back is on its way.
    Resetting,
}

/// One lease.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    pub(super) id: LeaseId,
    pub(super) ttl_s: i64,
    /// As the state machine has it: zero if no checkpoint says otherwise.
    pub(super) remaining_s: i64,
    pub(super) deadline_ms: u64,
    /// When what is left is worth writing down.
    pub(super) checkpoint_ms: u64,
    pub(super) phase: Phase,
    pub(super) mark: Mark,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    tokens: BTreeMap<LeaseId, u32>,
    leases: Vec<Option<Timed>>,
    free: Vec<u32>,
    wheel: Wheel,
}

impl Table {
    pub(super) fn new(now_ms: u64) -> Self {
        Table {
            tokens: BTreeMap::new(),
            leases: Vec::new(),
            free: Vec::new(),
            wheel: Wheel::new(now_ms),
        }
    }

    /// Adds a lease. One that is there already is replaced.
    pub(super) fn insert(&mut self, lease: Timed) {
        self.remove(lease.id);
        let token = self.free.pop().unwrap_or_else(|| {
            self.leases.push(None);
            (self.leases.len() - 1) as u32
        });
        self.tokens.insert(lease.id, token);
        self.leases[token as usize] = Some(lease);
    }

    pub(super) fn remove(&mut self, id: LeaseId) -> Option<Timed> {
        let token = self.tokens.remove(&id)?;
        self.wheel.remove(token);
        self.free.push(token);
        self.leases[token as usize].take()
    }

    pub(super) fn get_mut(&mut self, id: LeaseId) -> Option<&mut Timed> {
        let token = *self.tokens.get(&id)?;
        self.leases[token as usize].as_mut()
    }

    pub(super) fn get(&self, id: LeaseId) -> Option<&Timed> {
        let token = *self.tokens.get(&id)?;
        self.leases[token as usize].as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Timed> {
        self.leases.iter().flatten()
    }

    pub(super) fn ids(&self) -> Vec<LeaseId> {
        self.tokens.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Looks at a lease again once `at_ms` has passed, and not before.
    pub(super) fn wake_at(&mut self, id: LeaseId, at_ms: u64) {
        if let Some(token) = self.tokens.get(&id) {
            self.wheel.set(*token, at_ms);
        }
    }

    /// The leases that are to be looked at now.
    pub(super) fn woken(&mut self, now_ms: u64) -> Vec<LeaseId> {
        let mut tokens = Vec::new();
        self.wheel.turn(now_ms, &mut tokens);
        let id_of = |token: u32| self.leases[token as usize].as_ref().map(|lease| lease.id);
        tokens.into_iter().filter_map(id_of).collect()
    }
}
