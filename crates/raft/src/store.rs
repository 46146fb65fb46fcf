//! The stable log as the core reads it, and one that lives in memory.
//!
//! Invariants of a [`LogStore`]: its entries are contiguous; terms never fall; the position before
//! the first entry keeps its term; whatever an [`Append`](crate::Append) brought is readable before
//! [`append_done`](crate::Raft::append_done) is called for it. It must not know of terms, votes or
//! peers beyond what it stores.

use std::collections::VecDeque;

use tenet_base::{Index, Term};
use tenet_proto::raftpb::{ConfState, Entry, HardState, Snapshot, SnapshotMetadata};

use crate::error::LogError;
use crate::size::entry_size;

/// What the core reads back, synchronously: its own thread waits for every answer.
pub trait LogStore {
    /// What was stored when the member last ran: the hard state (the default one for a new member)
    /// and the configuration in force at [`Config::applied`](crate::Config::applied).
    fn initial_state(&self) -> (HardState, ConfState);

    /// The term of the entry at `index`, which may be the position before the first entry.
    ///
    /// # Errors
    /// [`LogError::Compacted`] before that, [`LogError::Unavailable`] after the last entry.
    fn term(&self, index: Index) -> Result<Term, LogError>;

    /// Appends to `into` the entries at `low..high`, in order: at least one, and as many as fit
    /// into `max_bytes` of [encoded size](crate::entry_size).
    ///
    /// # Errors
    /// [`LogError::Compacted`] if `low` is gone for good. [`LogError::Unavailable`] if it is not in
    /// memory now; the store then begins to fetch it and the core asks again on the next occasion,
    /// or when it is told by [`Raft::log_fetched`](crate::Raft::log_fetched).
    fn entries(
        &self,
        low: Index,
        high: Index,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), LogError>;

    /// The first entry that can be read; one after the last when there is none.
    fn first_index(&self) -> Index;

    /// The last entry; the position before the first when there is none.
    fn last_index(&self) -> Index;

    /// A snapshot for a follower whose next entry is compacted.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] while none is at hand; the core asks again later.
    fn snapshot(&self) -> Result<Snapshot, LogError>;
}

/// A log in memory: the whole log of a simulated member, the recent part of a real one.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    hard_state: HardState,
    conf_state: ConfState,
    snapshot: Snapshot,
    /// The position before the first entry, and its term.
    base: (Index, Term),
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl MemoryLog {
    /// The log of a member that has never run.
    #[must_use]
    pub fn new() -> Self {
        MemoryLog::default()
    }

    /// The log of a member that has run: what is stored after the position `base`.
    ///
    /// # Panics
    /// If the entries do not follow `base` without a gap.
    #[must_use]
    pub fn with_state(
        hard_state: HardState,
        conf_state: ConfState,
        base: (Index, Term),
        entries: Vec<Entry>,
    ) -> Self {
        let mut log = MemoryLog {
            hard_state,
            conf_state,
            base,
            ..MemoryLog::default()
        };
        log.append(entries);
        log
    }

    /// Stores the hard state.
    pub fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    /// The stored hard state.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Appends entries; whatever is at or after the first of them is replaced. Entries that are
    /// compacted here are passed over.
    ///
    /// # Panics
    /// If there would be a gap.
    pub fn append(&mut self, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(Entry::index) else {
            return;
        };
        let end = self.last_index().next();
        assert!(
            first <= end,
            "entry {first} does not follow the log, which ends at {}: an append was lost",
            self.last_index()
        );
        if first < end {
            self.truncate(first);
        }
        self.entries.reserve(entries.len());
        for entry in entries {
            if entry.index() > self.base.0 {
                self.bytes += entry_size(&entry);
                self.entries.push_back(entry);
            }
        }
    }

    /// Replaces everything by a snapshot.
    ///
    /// # Errors
    /// [`LogError::OldSnapshot`] if a later one is stored.
    pub fn apply_snapshot(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        let (given, stored) = (Index(snapshot.index()), Index(self.snapshot.index()));
        if !stored.is_zero() && stored >= given {
            return Err(LogError::OldSnapshot { given, stored });
        }
        self.base = (given, Term(snapshot.term()));
        self.entries.clear();
        self.bytes = 0;
        self.conf_state = conf_state_of(&snapshot);
        self.snapshot = snapshot;
        Ok(())
    }

    /// Stores a snapshot of the state machine at `index` for followers; nothing is compacted.
    ///
    /// # Errors
    /// [`LogError::OldSnapshot`] if a later one is stored, [`LogError::Compacted`] or
    /// [`LogError::Unavailable`] if the log has no such entry.
    pub fn create_snapshot(
        &mut self,
        index: Index,
        conf_state: ConfState,
        data: bytes::Bytes,
    ) -> Result<(), LogError> {
        let stored = Index(self.snapshot.index());
        if index <= stored {
            return Err(LogError::OldSnapshot {
                given: index,
                stored,
            });
        }
        let term = self.term(index)?;
        self.snapshot = Snapshot {
            data,
            metadata: Some(SnapshotMetadata {
                conf_state: Some(conf_state),
                index: index.get(),
                term: term.get(),
            }),
        };
        Ok(())
    }

    /// Drops the entries up to and with `index`.
    ///
    /// # Errors
    /// [`LogError::Compacted`] if that has been done, [`LogError::Unavailable`] if the log does not
    /// reach so far.
    pub fn compact(&mut self, index: Index) -> Result<(), LogError> {
        if index <= self.base.0 {
            return Err(LogError::Compacted);
        }
        let term = self.term(index)?;
        let count = (index.get() - self.base.0.get()) as usize;
        for entry in self.entries.drain(..count) {
            self.bytes -= entry_size(&entry);
        }
        self.base = (index, term);
        Ok(())
    }

    /// The encoded size of the entries held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Drops the entries at and after `first`.
    fn truncate(&mut self, first: Index) {
        let keep = first.get().saturating_sub(self.base.0.get() + 1) as usize;
        for entry in self.entries.drain(keep..) {
            self.bytes -= entry_size(&entry);
        }
    }
}

impl LogStore for MemoryLog {
    fn initial_state(&self) -> (HardState, ConfState) {
        (self.hard_state, self.conf_state.clone())
    }

    fn term(&self, index: Index) -> Result<Term, LogError> {
        if index < self.base.0 {
            return Err(LogError::Compacted);
        }
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        let at = (index.get() - self.base.0.get() - 1) as usize;
        self.entries
            .get(at)
            .map(Entry::term)
            .ok_or(LogError::Unavailable)
    }

    fn entries(
        &self,
        low: Index,
        high: Index,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        if low <= self.base.0 {
            return Err(LogError::Compacted);
        }
        if high > self.last_index().next() || low > high {
            return Err(LogError::Unavailable);
        }
        let from = (low.get() - self.base.0.get() - 1) as usize;
        let to = (high.get() - self.base.0.get() - 1) as usize;
        crate::size::take_within(self.entries.range(from..to), max_bytes, into);
        Ok(())
    }

    fn first_index(&self) -> Index {
        self.base.0.next()
    }

    fn last_index(&self) -> Index {
        Index(self.base.0.get() + self.entries.len() as u64)
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        if self.snapshot.is_empty() {
            return Err(LogError::Unavailable);
        }
        Ok(self.snapshot.clone())
    }
}

/// The configuration of a snapshot; the empty one when it carries none.
pub(crate) fn conf_state_of(snapshot: &Snapshot) -> ConfState {
    snapshot
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.conf_state.clone())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry {
            term,
            index,
            data: bytes::Bytes::from(vec![7; index as usize]),
            ..Entry::default()
        }
    }

    fn ids(log: &MemoryLog) -> Vec<(u64, u64)> {
        log.entries.iter().map(|e| (e.term, e.index)).collect()
    }

    #[test]
    fn append_replaces_the_tail_and_keeps_the_byte_count() {
        let mut log = MemoryLog::new();
        log.append(vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        log.append(vec![entry(2, 2)]);
        assert_eq!(ids(&log), [(1, 1), (2, 2)]);
        assert_eq!(
            log.bytes(),
            entry_size(&entry(1, 1)) + entry_size(&entry(2, 2))
        );
        log.compact(Index(1)).unwrap();
        assert_eq!(log.bytes(), entry_size(&entry(2, 2)));
        assert_eq!(log.term(Index(1)), Ok(Term(1)));
        assert_eq!(log.term(Index(0)), Err(LogError::Compacted));
        assert_eq!(log.term(Index(3)), Err(LogError::Unavailable));
        log.append(vec![entry(3, 1), entry(3, 2)]);
        assert_eq!(ids(&log), [(3, 2)], "the compacted entry is passed over");
    }

    #[test]
    #[should_panic(expected = "does not follow the log")]
    fn a_gap_is_a_lost_append() {
        MemoryLog::new().append(vec![entry(1, 2)]);
    }

    #[test]
    fn reads_stay_inside_of_the_log_and_the_byte_limit() {
        let mut log = MemoryLog::new();
        log.append((1..=9).map(|i| entry(1, i)).collect());
        log.compact(Index(3)).unwrap();
        let read = |low, high, max| {
            let mut out = Vec::new();
            log.entries(Index(low), Index(high), max, &mut out)
                .map(|()| out.iter().map(|e| e.index).collect::<Vec<_>>())
        };
        assert_eq!(read(3, 5, u64::MAX), Err(LogError::Compacted));
        assert_eq!(read(4, 11, u64::MAX), Err(LogError::Unavailable));
        assert_eq!(read(4, 10, u64::MAX), Ok(vec![4, 5, 6, 7, 8, 9]));
        assert_eq!(read(4, 10, 0), Ok(vec![4]));
        let two = entry_size(&entry(1, 4)) + entry_size(&entry(1, 5));
        assert_eq!(read(4, 10, two), Ok(vec![4, 5]));
        assert_eq!(read(4, 10, two - 1), Ok(vec![4]));
    }

    #[test]
    fn a_snapshot_replaces_everything_and_never_an_older_one() {
        let mut log = MemoryLog::new();
        log.append(vec![entry(1, 1)]);
        assert_eq!(log.snapshot(), Err(LogError::Unavailable));
        let at = |index| Snapshot {
            metadata: Some(SnapshotMetadata {
                index,
                term: 2,
                conf_state: Some(ConfState {
                    voters: vec![index],
                    ..ConfState::default()
                }),
            }),
            ..Snapshot::default()
        };
        log.apply_snapshot(at(7)).unwrap();
        assert_eq!((log.first_index(), log.last_index()), (Index(8), Index(7)));
        assert_eq!(log.initial_state().1.voters, [7]);
        assert_eq!(
            log.apply_snapshot(at(6)),
            Err(LogError::OldSnapshot {
                given: Index(6),
                stored: Index(7)
            })
        );
        log.append(vec![entry(3, 8), entry(3, 9)]);
        log.create_snapshot(Index(8), ConfState::default(), bytes::Bytes::new())
            .unwrap();
        assert_eq!(log.snapshot().unwrap().term(), 3);
        assert_eq!(log.first_index(), Index(8), "a snapshot compacts nothing");
    }
}
