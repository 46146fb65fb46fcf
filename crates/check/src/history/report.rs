//! What the checkers of histories say.

use std::fmt;

use super::format::Operation;

/// What may be broken in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// Names are used once, and answers are of the kind that was asked for.
    Form,
    /// Revisions are given once and grow, also in real time.
    Revisions,
    /// There is an order of all operations, in which each takes effect between its call and its
    /// answer, that explains every answer (Herlihy and Wing 1990).
    Linearizable,
    /// Events come in the order of their revisions, and within one as they were made.
    WatchOrdered,
    /// No event comes twice.
    WatchUnique,
    /// No event is missing between the start of a watch and the last that it was told.
    WatchReliable,
    /// The events of a revision come in one response, unless they may be cut.
    WatchAtomic,
    /// What says how far a watch is comes after all events up to there, and before all others.
    WatchBookmark,
    /// Events are of changes that were made, with what they left.
    WatchTrue,
    /// What was before an event is told if, and only if, it was asked for.
    WatchPrevious,
    /// Only events of the keys, kinds and revisions that were asked for.
    WatchFiltered,
    /// A watch begins once, ends once, and ends by compaction only if there was one.
    WatchLife,
}

/// A property that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// How, in words.
    pub what: String,
    /// The lines that it can be seen from.
    pub evidence: Vec<String>,
}

impl Violation {
    pub(super) fn new(property: Property, what: String, evidence: Vec<String>) -> Violation {
        Violation {
            property,
            what,
            evidence,
        }
    }

    pub(super) fn of(property: Property, what: String, operations: &[&Operation]) -> Violation {
        let evidence = operations.iter().map(ToString::to_string).collect();
        Violation::new(property, what, evidence)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.property, self.what)?;
        for line in &self.evidence {
            write!(out, "\n    {line}")?;
        }
        Ok(())
    }
}

/// What was found in a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong. Nothing else may be relied on if there is anything.
    pub violations: Vec<Violation>,
    /// Operations with an answer.
    pub answered: usize,
    /// Operations whose answer was lost.
    pub lost: usize,
    /// Of those, how many took effect.
    pub lost_done: usize,
    /// Leases that ended by themselves.
    pub expired: usize,
    /// The newest revision.
    pub revision: i64,
    /// Watches.
    pub watches: usize,
    /// Of those, how many went on with an earlier one.
    pub resumed: usize,
    /// Events that they were told.
    pub events: usize,
    /// Times that a watch was told how far it is.
    pub bookmarks: usize,
    /// Steps of the search that had to be taken back.
    pub taken_back: usize,
}
