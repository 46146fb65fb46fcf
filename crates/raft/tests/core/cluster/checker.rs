//! What must be true of a cluster, whatever has happened to it.
//!
//! One check for each property of Raft (figure 3 of the paper, thesis 6.4 for reads). The checker
//! is told what members do, sees more than any of them, and panics at the first violation.

use std::collections::BTreeMap;

use tenet_base::{Index, MemberId, Term};
use tenet_proto::raftpb::{Entry, EntryType};

/// What is known of an entry besides its name (term and index).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    previous_term: u64,
    entry_type: i32,
    data: bytes::Bytes,
}

/// One committed position.
struct Committed {
    term: u64,
    /// The state machine after it.
    state: u64,
}

#[derive(Default)]
pub(crate) struct Checker {
    leaders: BTreeMap<Term, MemberId>,
    entries: BTreeMap<(u64, u64), Contents>,
    committed: Vec<Committed>,
    /// Reads under way: what was committed when they were asked for.
    reads: BTreeMap<u64, Index>,
    pub(crate) reads_answered: u64,
}

/// The terms of a member's log as it will be once all that it has appended is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shadow {
    /// The position before the first term here.
    base: u64,
    /// The term of `base`, then of each position after it.
    terms: Vec<u64>,
    conf_changes: Vec<u64>,
}

impl Shadow {
    pub(crate) fn new(base: (Index, Term), entries: &[Entry]) -> Self {
        let mut shadow = Shadow {
            base: base.0.get(),
            terms: vec![base.1.get()],
            conf_changes: vec![],
        };
        shadow.append(entries);
        shadow
    }

    pub(crate) fn last(&self) -> u64 {
        self.base + self.terms.len() as u64 - 1
    }

    /// `None` where the log does not reach or has been compacted.
    fn term(&self, index: u64) -> Option<u64> {
        self.terms
            .get(index.checked_sub(self.base)? as usize)
            .copied()
    }

    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        self.terms.truncate((first.index - self.base) as usize);
        self.conf_changes.retain(|index| *index < first.index);
        for entry in entries {
            self.terms.push(entry.term);
            if entry.entry_type != EntryType::Normal as i32 {
                self.conf_changes.push(entry.index);
            }
        }
    }
}

/// The state machine: a hash of everything applied, in order.
pub(crate) fn applied_state(state: u64, entry: &Entry) -> u64 {
    let mut hash =
        state ^ entry.index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ entry.entry_type as u64;
    for byte in &entry.data {
        // FNV-1a.
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.rotate_left(31) ^ entry.term
}

impl Checker {
    pub(crate) fn commit_index(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// Election safety: at most one leader in a term. Leader completeness: it has every committed
    /// entry of earlier terms.
    pub(crate) fn leads(&mut self, id: MemberId, term: Term, log: &Shadow) {
        match self.leaders.insert(term, id) {
            Some(other) if other == id => return,
            Some(other) => panic!("election safety: {other} and {id} lead term {term}"),
            None => {}
        }
        for (index, committed) in (1..).zip(&self.committed) {
            if index > log.base {
                let own = log.term(index);
                let known = committed.term;
                assert!(
                    own == Some(known),
                    "leader completeness: {id} leads term {term} with {own:?} at index {index}, \
                     where an entry of term {known} is committed"
                );
            }
        }
    }

    /// Log matching: entries of equal term and index are equal, and so are those before them.
    /// Leader append-only: a leader replaces nothing in its own log.
    pub(crate) fn appends(
        &mut self,
        id: MemberId,
        leads: bool,
        log: &mut Shadow,
        entries: &[Entry],
    ) {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return;
        };
        let last = log.last();
        assert!(
            !leads || first > last,
            "leader append-only: {id} replaces {first} of {last}"
        );
        assert!(
            first <= last + 1,
            "{id} appends {first} to a log that ends at {last}"
        );
        let mut previous_term = log
            .term(first - 1)
            .expect("the entry before is not compacted");
        for entry in entries {
            let contents = Contents {
                previous_term,
                entry_type: entry.entry_type,
                data: entry.data.clone(),
            };
            let known = self
                .entries
                .entry((entry.term, entry.index))
                .or_insert(contents.clone());
            assert!(
                *known == contents,
                "log matching: entry {}/{} at {id} is {contents:?}, elsewhere it is {known:?}",
                entry.term,
                entry.index
            );
            previous_term = entry.term;
        }
        log.append(entries);
    }

    /// A member knows everything up to `commit` to be committed. What is committed once stays.
    pub(crate) fn commits(&mut self, id: MemberId, commit: Index, log: &Shadow) {
        for index in log.base + 1..=commit.get() {
            let term = log.term(index);
            match self.committed.get(index as usize - 1) {
                Some(committed) => assert!(
                    term == Some(committed.term),
                    "state machine safety: {id} commits {term:?} at {index}, {} is committed",
                    committed.term
                ),
                None => {
                    let term = term.unwrap_or_else(|| {
                        panic!(
                            "{id} commits index {index} of a log that ends at {}",
                            log.last()
                        )
                    });
                    let state = match index {
                        1 => 0,
                        _ => self.committed[index as usize - 2].state,
                    };
                    let contents = &self.entries[&(term, index)];
                    let entry = Entry {
                        entry_type: contents.entry_type,
                        term,
                        index,
                        data: contents.data.clone(),
                    };
                    self.committed.push(Committed {
                        term,
                        state: applied_state(state, &entry),
                    });
                }
            }
        }
    }

    /// State machine safety: whoever has applied up to `index` is in the same state.
    pub(crate) fn applied(&self, id: MemberId, index: Index, state: u64) {
        let Some(at) = index.get().checked_sub(1) else {
            return;
        };
        let committed = self
            .committed
            .get(at as usize)
            .map(|committed| committed.state);
        assert!(
            committed == Some(state),
            "state machine safety: {id} has applied {index} and is in state {state:x}, expected \
             {committed:x?}"
        );
    }

    /// At most one configuration change is appended and not committed.
    pub(crate) fn one_conf_change(&self, id: MemberId, log: &Shadow) {
        let commit = self.commit_index().get();
        let pending: Vec<_> = log
            .conf_changes
            .iter()
            .filter(|index| **index > commit)
            .collect();
        assert!(
            pending.len() <= 1,
            "{id} has configuration changes at {pending:?}, {commit} is committed"
        );
    }

    pub(crate) fn read_begins(&mut self, read: u64) {
        self.reads.insert(read, self.commit_index());
    }

    /// A read sees everything that was committed when it was asked for.
    pub(crate) fn read_ends(&mut self, id: MemberId, read: u64, index: Index) {
        let Some(committed) = self.reads.get(&read) else {
            return;
        };
        assert!(
            index >= *committed,
            "linearizable reads: {id} may read at {index}, {committed} was committed before"
        );
        self.reads_answered += 1;
    }
}
