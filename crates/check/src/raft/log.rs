//! The log of each member as it will be once all that it has appended is durable.
//!
//! Checks log matching and leader append-only. Invariant: a log is a base, of which only term and
//! chain are known, and the positions after it without a gap.

use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, EntryType};

use super::{Chain, Property, Verdict, by, require};

/// One position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) term: Term,
    pub(super) chain: Chain,
}

/// The log of one member.
#[derive(Clone, Debug)]
pub struct Log {
    base: Index,
    /// The base, then each position after it.
    places: Vec<Place>,
    conf_changes: Vec<Index>,
}

impl Log {
    /// A log that begins after `base`, an entry with this term and chain.
    #[must_use]
    pub fn new(base: Index, term: Term, chain: Chain) -> Self {
        Log {
            base,
            places: vec![Place { term, chain }],
            conf_changes: Vec::new(),
        }
    }

    /// A log with what is stored after its base.
    #[must_use]
    pub fn with_entries(mut self, entries: &[Entry]) -> Self {
        self.append(entries);
        self
    }

    /// The last position.
    #[must_use]
    pub fn last(&self) -> Index {
        Index(self.base.get() + self.places.len() as u64 - 1)
    }

    /// Before this position nothing is known.
    pub(super) fn base(&self) -> Index {
        self.base
    }

    /// `None` where the log does not reach, or has been compacted.
    pub(super) fn place(&self, index: Index) -> Option<Place> {
        let at = index.get().checked_sub(self.base.get())?;
        self.places.get(at as usize).copied()
    }

    /// The chain at a position, where it is known.
    #[must_use]
    pub fn chain(&self, index: Index) -> Option<Chain> {
        self.place(index).map(|place| place.chain)
    }

    /// The term at a position, where it is known.
    #[must_use]
    pub fn term(&self, index: Index) -> Option<Term> {
        self.place(index).map(|place| place.term)
    }

    /// Where changes of the configuration are.
    pub(super) fn conf_changes(&self) -> &[Index] {
        &self.conf_changes
    }

    fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first().map(|entry| Index(entry.index)) else {
            return;
        };
        self.places
            .truncate((first.get() - self.base.get()) as usize);
        self.conf_changes.retain(|index| *index < first);
        for entry in entries {
            let before = self.places[self.places.len() - 1].chain;
            self.places.push(Place {
                term: Term(entry.term),
                chain: before.then(entry),
            });
            if entry.entry_type != EntryType::Normal as i32 {
                self.conf_changes.push(Index(entry.index));
            }
        }
    }
}

/// Everything that any log has ever held.
#[derive(Debug, Default)]
pub struct Logs {
    /// By position, from the first: what was seen there in each term.
    seen: Vec<Vec<Place>>,
}

impl Logs {
    /// A member appends entries, replacing what is there from the first of them on.
    ///
    /// # Errors
    /// If a leader replaces something, or an entry is not what it is elsewhere.
    pub fn appends(
        &mut self,
        id: MemberId,
        leads: bool,
        log: &mut Log,
        entries: &[Entry],
    ) -> Verdict {
        let Some(first) = entries.first().map(|entry| Index(entry.index)) else {
            return Ok(());
        };
        let last = log.last();
        require(!leads || first > last, Property::LeaderAppendOnly, || {
            format!("{} leads and replaces {first} of {last}", by(id))
        })?;
        let follows = first > log.base() && first <= last.next();
        require(follows, Property::LogMatching, || {
            format!("{} appends {first} to a log that ends at {last}", by(id))
        })?;
        log.append(entries);
        for entry in entries {
            let place = log
                .place(Index(entry.index))
                .expect("it has just been appended");
            self.note(id, Index(entry.index), place)?;
        }
        Ok(())
    }

    fn note(&mut self, id: MemberId, index: Index, place: Place) -> Verdict {
        let at = index.get() as usize - 1;
        if self.seen.len() <= at {
            self.seen.resize_with(at + 1, Vec::new);
        }
        let known = self.seen[at].iter().find(|seen| seen.term == place.term);
        match known.copied() {
            None => {
                self.seen[at].push(place);
                Ok(())
            }
            Some(known) => require(known == place, Property::LogMatching, || {
                format!(
                    "entry {}/{index} at {} follows or holds something else than elsewhere: \
                     {:x?}, {:x?}",
                    place.term,
                    by(id),
                    place.chain,
                    known.chain
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64, data: &'static str) -> Entry {
        Entry {
            term,
            index,
            data: data.into(),
            ..Entry::default()
        }
    }

    fn empty() -> Log {
        Log::new(Index::ZERO, Term::ZERO, Chain::default())
    }

    #[test]
    fn equal_entries_after_different_ones_break_log_matching() {
        let mut logs = Logs::default();
        let (mut a, mut b) = (empty(), empty());
        let ours = [entry(1, 1, "x"), entry(2, 2, "y")];
        assert_eq!(logs.appends(MemberId(1), true, &mut a, &ours), Ok(()));
        let theirs = [entry(1, 1, "other"), entry(2, 2, "y")];
        let verdict = logs.appends(MemberId(2), false, &mut b, &theirs);
        assert_eq!(verdict.unwrap_err().property, Property::LogMatching);
    }

    #[test]
    fn only_a_leader_may_not_replace() {
        let mut logs = Logs::default();
        let mut log = empty();
        let old = [entry(1, 1, "x"), entry(1, 2, "y")];
        assert_eq!(logs.appends(MemberId(1), false, &mut log, &old), Ok(()));
        let new = [entry(2, 2, "z")];
        assert_eq!(
            logs.appends(MemberId(1), false, &mut log.clone(), &new),
            Ok(())
        );
        let verdict = logs.appends(MemberId(1), true, &mut log, &new);
        assert_eq!(verdict.unwrap_err().property, Property::LeaderAppendOnly);
    }

    #[test]
    fn a_gap_is_noticed() {
        let verdict = Logs::default().appends(MemberId(1), false, &mut empty(), &[entry(1, 2, "")]);
        assert_eq!(verdict.unwrap_err().property, Property::LogMatching);
    }
}
