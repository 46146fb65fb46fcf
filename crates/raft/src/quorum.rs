//! Majorities, single and joint: what a set of voters has decided.
//!
//! Invariant: an empty half of a joint configuration agrees with everything, so that a joint
//! configuration with one empty half decides like the other half alone. Nothing here knows what is
//! voted on.

use std::fmt;

use tenet_base::MemberId;

/// A set of members: sorted, without repetition. When they vote, their majority decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberSet(Vec<MemberId>);

/// What a vote has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteResult {
    /// Both outcomes are open.
    Pending,
    /// A majority can no longer be had.
    Lost,
    /// A majority has agreed.
    Won,
}

impl MemberSet {
    /// Adds a member; one that is there already changes nothing.
    pub fn insert(&mut self, id: MemberId) {
        if let Err(at) = self.0.binary_search(&id) {
            self.0.insert(at, id);
        }
    }

    /// Takes a member out; whether it was there.
    pub fn remove(&mut self, id: MemberId) -> bool {
        match self.0.binary_search(&id) {
            Ok(at) => {
                self.0.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether `id` is in it.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in order.
    #[must_use]
    pub fn ids(&self) -> &[MemberId] {
        &self.0
    }

    /// The largest position that a majority has reached, where `acked` tells how far each voter
    /// got; `u64::MAX` for the empty set.
    #[must_use]
    pub fn committed(&self, mut acked: impl FnMut(MemberId) -> u64) -> u64 {
        /// Clusters are small: up to this many positions are sorted on the stack.
        const ON_STACK: usize = 9;
        let count = self.0.len();
        let mut on_stack = [0; ON_STACK];
        let mut on_heap = Vec::new();
        let positions = match count {
            0 => return u64::MAX,
            1 => return acked(self.0[0]),
            _ if count <= ON_STACK => &mut on_stack[..count],
            _ => {
                on_heap.resize(count, 0);
                &mut on_heap[..]
            }
        };
        for (position, id) in positions.iter_mut().zip(&self.0) {
            *position = acked(*id);
        }
        positions.sort_unstable();
        // A majority is count/2 + 1 voters: so many positions are at or above this one.
        positions[count - (count / 2 + 1)]
    }

    /// What the votes come to, where `vote` tells what each voter said, if anything.
    #[must_use]
    pub fn vote_result(&self, mut vote: impl FnMut(MemberId) -> Option<bool>) -> VoteResult {
        let (mut yes, mut open) = (0, 0);
        for id in &self.0 {
            match vote(*id) {
                Some(true) => yes += 1,
                Some(false) => {}
                None => open += 1,
            }
        }
        let needed = if self.0.is_empty() {
            0
        } else {
            self.0.len() / 2 + 1
        };
        if yes >= needed {
            VoteResult::Won
        } else if yes + open >= needed {
            VoteResult::Pending
        } else {
            VoteResult::Lost
        }
    }
}

impl FromIterator<MemberId> for MemberSet {
    fn from_iter<I: IntoIterator<Item = MemberId>>(ids: I) -> Self {
        let mut ids: Vec<_> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        MemberSet(ids)
    }
}

impl fmt::Display for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (at, id) in self.0.iter().enumerate() {
            let space = if at > 0 { " " } else { "" };
            write!(f, "{space}{id}")?;
        }
        f.write_str(")")
    }
}

/// Two sets of voters that must agree (Raft thesis 4.3). Outside of a configuration change the
/// outgoing half is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joint {
    /// The voters from now on.
    pub incoming: MemberSet,
    /// The voters until now, while the change lasts.
    pub outgoing: MemberSet,
}

impl Joint {
    /// Whether `id` votes in either half.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        self.incoming.contains(id) || self.outgoing.contains(id)
    }

    /// Whether a change is under way.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The voters of both halves in order.
    #[must_use]
    pub fn ids(&self) -> MemberSet {
        if !self.is_joint() {
            return self.incoming.clone();
        }
        self.incoming
            .ids()
            .iter()
            .chain(self.outgoing.ids())
            .copied()
            .collect()
    }

    /// The largest position that both majorities have reached.
    #[must_use]
    pub fn committed(&self, mut acked: impl FnMut(MemberId) -> u64) -> u64 {
        let incoming = self.incoming.committed(&mut acked);
        if self.is_joint() {
            incoming.min(self.outgoing.committed(acked))
        } else {
            incoming
        }
    }

    /// What the votes come to: won if both halves agree, lost as soon as one cannot.
    #[must_use]
    pub fn vote_result(&self, mut vote: impl FnMut(MemberId) -> Option<bool>) -> VoteResult {
        match (
            self.incoming.vote_result(&mut vote),
            self.outgoing.vote_result(vote),
        ) {
            (VoteResult::Won, VoteResult::Won) => VoteResult::Won,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            _ => VoteResult::Pending,
        }
    }
}

impl fmt::Display for Joint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.incoming)?;
        if self.is_joint() {
            write!(f, "&&{}", self.outgoing)?;
        }
        Ok(())
    }
}
