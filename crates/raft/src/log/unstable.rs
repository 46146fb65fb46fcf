//! The end of the log that is not known to be stable yet.
//!
//! Invariants: `entries[i]` has the position `offset + i`; entries before `taken` are being written
//! by the log; a snapshot stands for everything before `offset`. It must not know what is committed.

use std::collections::VecDeque;

use tenet_base::{Index, Term};
use tenet_proto::raftpb::{Entry, Snapshot};

use super::EntryId;
use crate::marks::{Mark, mark};

#[derive(Debug)]
pub(crate) struct Unstable {
    snapshot: Option<Snapshot>,
    snapshot_taken: bool,
    entries: VecDeque<Entry>,
    offset: Index,
    taken: Index,
}

impl Unstable {
    pub(crate) fn new(offset: Index) -> Self {
        Unstable {
            snapshot: None,
            snapshot_taken: false,
            entries: VecDeque::new(),
            offset,
            taken: offset,
        }
    }

    /// The first position that the store is not asked for.
    pub(crate) fn offset(&self) -> Index {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// The first position of the log, if a snapshot decides it.
    pub(crate) fn first_index(&self) -> Option<Index> {
        self.snapshot
            .as_ref()
            .map(|snapshot| Index(snapshot.index()).next())
    }

    /// The last position of the log, if it is not the store's.
    pub(crate) fn last_index(&self) -> Option<Index> {
        if self.entries.is_empty() {
            return self
                .snapshot
                .as_ref()
                .map(|snapshot| Index(snapshot.index()));
        }
        Some(Index(self.end().get() - 1))
    }

    fn end(&self) -> Index {
        Index(self.offset.get() + self.entries.len() as u64)
    }

    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index < self.offset {
            let snapshot = self.snapshot.as_ref()?;
            return (snapshot.index() == index.get()).then(|| Term(snapshot.term()));
        }
        self.entries
            .get((index.get() - self.offset.get()) as usize)
            .map(Entry::term)
    }

    /// The entries at `low..high`, all of which must be here.
    pub(crate) fn range(
        &self,
        low: Index,
        high: Index,
    ) -> impl ExactSizeIterator<Item = &Entry> + use<'_> {
        assert!(
            self.offset <= low && low <= high && high <= self.end(),
            "entries {low}..{high} asked of {}..{} in memory",
            self.offset,
            self.end()
        );
        let from = (low.get() - self.offset.get()) as usize;
        let to = (high.get() - self.offset.get()) as usize;
        self.entries.range(from..to)
    }

    /// Whether there is anything that the log has not been given.
    pub(crate) fn has_next(&self) -> bool {
        self.taken < self.end() || self.has_next_snapshot()
    }

    fn has_next_snapshot(&self) -> bool {
        self.snapshot.is_some() && !self.snapshot_taken
    }

    /// What the log has not been given yet; from now on it is being written.
    pub(crate) fn take_next(&mut self) -> (Vec<Entry>, Option<Snapshot>) {
        let entries = self.range(self.taken, self.end()).cloned().collect();
        if !self.entries.is_empty() {
            self.taken = self.end();
        }
        let snapshot = if self.has_next_snapshot() {
            self.snapshot.clone()
        } else {
            None
        };
        self.snapshot_taken = self.snapshot.is_some();
        (entries, snapshot)
    }

    /// The store holds everything up to `id`. Nothing happens if that entry is not here: it has
    /// been replaced since, or was reported before.
    pub(crate) fn stable_through(&mut self, id: EntryId) {
        if id.index < self.offset || self.term(id.index) != Some(id.term) {
            return;
        }
        let count = (id.index.get() + 1 - self.offset.get()) as usize;
        self.entries.drain(..count);
        self.offset = id.index.next();
        self.taken = self.taken.max(self.offset);
    }

    /// The store holds the snapshot.
    pub(crate) fn stable_snapshot(&mut self, index: Index) {
        if self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.index() == index.get())
        {
            self.snapshot = None;
            self.snapshot_taken = false;
        }
    }

    /// Replaces the whole log by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.offset = Index(snapshot.index()).next();
        self.taken = self.offset;
        self.entries.clear();
        self.snapshot = Some(snapshot);
        self.snapshot_taken = false;
    }

    /// Appends entries from `first` on; what is there at or after it is replaced.
    pub(crate) fn append(&mut self, first: Index, entries: impl Iterator<Item = Entry>) {
        assert!(
            first <= self.end(),
            "entry {first} after a log that ends before {}",
            self.end()
        );
        if first < self.end() {
            if first <= self.offset {
                self.entries.clear();
                self.offset = first;
            } else {
                self.entries
                    .truncate((first.get() - self.offset.get()) as usize);
            }
            if first < self.taken {
                mark(Mark::WrittenReplaced);
            }
            self.taken = self.taken.min(first);
        }
        self.entries.extend(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry {
            term,
            index,
            ..Entry::default()
        }
    }

    fn with(entries: &[(u64, u64)], taken: usize) -> Unstable {
        let mut unstable = Unstable::new(Index(5));
        let mut entries = entries.iter().map(|(term, index)| entry(*term, *index));
        for entry in entries.by_ref().take(taken) {
            unstable.append(entry.index(), std::iter::once(entry));
        }
        unstable.take_next();
        for entry in entries {
            unstable.append(entry.index(), std::iter::once(entry));
        }
        unstable
    }

    fn ids(entries: &[Entry]) -> Vec<(u64, u64)> {
        entries.iter().map(|e| (e.term, e.index)).collect()
    }

    #[test]
    fn entries_are_given_to_the_log_once() {
        let mut unstable = with(&[(1, 5), (1, 6), (1, 7)], 2);
        assert_eq!(ids(&unstable.take_next().0), [(1, 7)]);
        assert!(!unstable.has_next());
    }

    #[test]
    fn replaced_entries_are_given_to_the_log_again() {
        let mut unstable = with(&[(1, 5), (1, 6), (1, 7)], 3);
        unstable.append(Index(6), std::iter::once(entry(2, 6)));
        assert_eq!(ids(&unstable.take_next().0), [(2, 6)]);
        unstable.append(Index(4), std::iter::once(entry(3, 4)));
        assert_eq!(unstable.offset(), Index(4));
        assert_eq!(ids(&unstable.take_next().0), [(3, 4)]);
    }

    #[test]
    fn only_the_entry_itself_makes_itself_stable() {
        let mut unstable = with(&[(1, 5), (2, 6)], 2);
        for (term, index) in [(1, 4), (1, 6), (3, 6), (2, 7)] {
            unstable.stable_through(EntryId {
                term: Term(term),
                index: Index(index),
            });
            assert_eq!(unstable.offset(), Index(5));
        }
        unstable.stable_through(EntryId {
            term: Term(1),
            index: Index(5),
        });
        assert_eq!(
            (unstable.offset(), unstable.last_index()),
            (Index(6), Some(Index(6)))
        );
    }
}
