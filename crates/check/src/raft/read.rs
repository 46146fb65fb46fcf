//! Reads that are not entries of the log: whether they see what they must.

use std::collections::BTreeMap;

use tenet_base::{Index, MemberId, Term};

use super::{Property, Verdict, by, require};

/// Reads under way: what was committed when they were asked for.
#[derive(Debug, Default)]
pub struct Reads {
    open: BTreeMap<u64, Index>,
    answered: u64,
}

impl Reads {
    /// A read is asked for when everything up to `committed` is committed.
    pub fn begins(&mut self, read: u64, committed: Index) {
        self.open.insert(read, committed);
    }

    /// A member may serve it once it has applied `index`. An answer that comes twice counts twice.
    ///
    /// # Errors
    /// If it would miss something.
    pub fn ends(&mut self, id: MemberId, read: u64, index: Index) -> Verdict {
        let Some(committed) = self.open.get(&read).copied() else {
            return Ok(());
        };
        self.answered += 1;
        require(index >= committed, Property::ReadLinearizability, || {
            format!(
                "{} may serve read {read} at {index}, {committed} was committed before it began",
                by(id)
            )
        })
    }

    /// A leader of `term` has answered at once, without asking anybody; `latest` is the latest term
    /// that has had a leader.
    ///
    /// # Errors
    /// If that is a later one.
    pub fn by_lease(id: MemberId, term: Term, latest: Term) -> Verdict {
        require(latest <= term, Property::LeaseSafety, || {
            format!(
                "{} answers by its lease of term {term}, but term {latest} has a leader",
                by(id)
            )
        })
    }

    /// How many answers were checked.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_misses_a_commit_is_noticed() {
        let mut reads = Reads::default();
        reads.begins(1, Index(5));
        assert_eq!(reads.ends(MemberId(1), 1, Index(5)), Ok(()));
        let verdict = reads.ends(MemberId(1), 1, Index(4));
        assert_eq!(verdict.unwrap_err().property, Property::ReadLinearizability);
        assert_eq!(reads.answered(), 2);
    }

    #[test]
    fn a_lease_beside_a_later_leader_is_noticed() {
        assert_eq!(Reads::by_lease(MemberId(1), Term(2), Term(2)), Ok(()));
        let verdict = Reads::by_lease(MemberId(1), Term(2), Term(3));
        assert_eq!(verdict.unwrap_err().property, Property::LeaseSafety);
    }
}
