//! The log of one member: the stable part in the store, the rest in memory, and how far of it is
//! committed and applied.
//!
//! Invariants, asserted: `applied <= applying <= committed <= last`; the commit index never falls;
//! committed entries are never replaced. It must not know of roles, votes or peers.

mod unstable;

use std::collections::VecDeque;

use tenet_base::{Index, Term};
use tenet_proto::raftpb::{Entry, EntryType, Snapshot};

use crate::error::{ConfigError, LogError};
use crate::marks::{Mark, mark};
use crate::size::{entries_size, entry_size, payload_size, take_within};
use crate::store::LogStore;
use unstable::Unstable;

/// What names an entry: no two entries of a cluster share term and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId {
    pub(crate) term: Term,
    pub(crate) index: Index,
}

/// Committed entries that the state machine has been given.
#[derive(Debug)]
struct Applying {
    last: Index,
    bytes: u64,
    payload: u64,
}

#[derive(Debug)]
pub(crate) struct Log<S> {
    pub(crate) store: S,
    pub(crate) unstable: Unstable,
    committed: Index,
    applying: Index,
    applied: Index,
    /// What is out for applying, oldest first, and its bytes.
    batches: VecDeque<Applying>,
    applying_bytes: u64,
    max_applying_bytes: u64,
    /// Whether handing out waits until something has been applied.
    applying_paused: bool,
    /// Whether handing out waits until the store has fetched something.
    fetching: bool,
    /// Whether entries may be applied that are committed and not stable here: only the driver that
    /// writes and applies in one go may.
    pub(crate) apply_unstable: bool,
}

impl<S: LogStore> Log<S> {
    pub(crate) fn new(
        store: S,
        commit: Index,
        applied: Index,
        max_applying_bytes: u64,
    ) -> Result<Self, ConfigError> {
        let (first, last) = (Index(store.first_index().get() - 1), store.last_index());
        let committed = if commit.is_zero() { first } else { commit };
        if committed < first || committed > last {
            return Err(ConfigError::CommitOutsideLog {
                commit,
                first,
                last,
            });
        }
        let applied = if applied.is_zero() { first } else { applied };
        if applied < first || applied > committed {
            return Err(ConfigError::AppliedOutsideLog {
                applied,
                first,
                commit: committed,
            });
        }
        Ok(Log {
            store,
            unstable: Unstable::new(last.next()),
            committed,
            applying: applied,
            applied,
            batches: VecDeque::new(),
            applying_bytes: 0,
            max_applying_bytes,
            applying_paused: false,
            fetching: false,
            apply_unstable: false,
        })
    }

    pub(crate) fn committed(&self) -> Index {
        self.committed
    }

    pub(crate) fn applied(&self) -> Index {
        self.applied
    }

    pub(crate) fn first_index(&self) -> Index {
        self.unstable
            .first_index()
            .unwrap_or_else(|| self.store.first_index())
    }

    pub(crate) fn last_index(&self) -> Index {
        self.unstable
            .last_index()
            .unwrap_or_else(|| self.store.last_index())
    }

    /// The last entry. Its term is always known, even if the entry is compacted.
    pub(crate) fn last_id(&self) -> EntryId {
        let index = self.last_index();
        match self.term(index) {
            Ok(term) => EntryId { term, index },
            Err(error) => panic!(
                "the store does not know the term of its last entry {index}, its first being {}: \
                 {error}",
                self.first_index()
            ),
        }
    }

    pub(crate) fn term(&self, index: Index) -> Result<Term, LogError> {
        if let Some(term) = self.unstable.term(index) {
            return Ok(term);
        }
        if index.next() < self.first_index() {
            return Err(LogError::Compacted);
        }
        if index > self.last_index() {
            return Err(LogError::Unavailable);
        }
        self.store.term(index)
    }

    pub(crate) fn matches(&self, id: EntryId) -> bool {
        self.term(id.index) == Ok(id.term)
    }

    /// Whether a log that ends with `last` holds at least what this one may have committed
    /// (Raft 5.4.1).
    pub(crate) fn is_up_to_date(&self, last: EntryId) -> bool {
        let own = self.last_id();
        (last.term, last.index) >= (own.term, own.index)
    }

    /// The largest position up to `index` that could match a log that has `term` there: going back,
    /// the first with a term that is not larger. Its term is zero where it is not known.
    pub(crate) fn conflict_hint(&self, mut index: Index, term: Term) -> EntryId {
        while index > Index::ZERO {
            match self.term(index) {
                Ok(own) if own > term => index = Index(index.get() - 1),
                Ok(own) => return EntryId { term: own, index },
                Err(_) => {
                    return EntryId {
                        term: Term::ZERO,
                        index,
                    };
                }
            }
        }
        EntryId {
            term: Term::ZERO,
            index,
        }
    }

    /// How many of `entries` are here already; they follow an entry that is.
    pub(crate) fn known_prefix(&self, entries: &[Entry]) -> usize {
        let known = |entry: &&Entry| self.term(entry.index()) == Ok(entry.term());
        entries.iter().take_while(known).count()
    }

    /// Appends entries, replacing whatever is there from the first of them on.
    pub(crate) fn append(&mut self, first: Index, entries: impl Iterator<Item = Entry>) {
        assert!(
            first > self.committed,
            "entry {first} would replace a committed one: the commit index is {}",
            self.committed
        );
        self.unstable.append(first, entries);
    }

    /// Everything up to `index` is committed.
    pub(crate) fn commit_to(&mut self, index: Index) {
        if index <= self.committed {
            return;
        }
        let last = self.last_index();
        assert!(
            index <= last,
            "index {index} is committed, but the log ends at {last}: entries were lost"
        );
        self.committed = index;
    }

    /// Commits up to the entry `id` if it is here under that term; whether that is news.
    pub(crate) fn maybe_commit(&mut self, id: EntryId) -> bool {
        if id.index <= self.committed || !self.matches(id) {
            return false;
        }
        self.commit_to(id.index);
        true
    }

    pub(crate) fn stable_through(&mut self, id: EntryId) {
        if id.index >= self.unstable.offset() {
            self.unstable.stable_through(id);
            let (stored, offset) = (self.store.last_index(), self.unstable.offset());
            assert!(
                stored.next() >= offset,
                "entries before {offset} are reported as durable, but the store ends at {stored}"
            );
        }
    }

    /// Replaces the log by a snapshot from the leader.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let index = Index(snapshot.index());
        assert!(
            index > self.committed,
            "a snapshot to {index} would undo commits up to {}",
            self.committed
        );
        self.committed = index;
        self.unstable.restore(snapshot);
    }

    /// The store and the state machine hold the snapshot.
    pub(crate) fn stable_snapshot(&mut self, index: Index) {
        self.unstable.stable_snapshot(index);
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, LogError> {
        match self.unstable.snapshot() {
            Some(snapshot) => Ok(snapshot.clone()),
            None => self.store.snapshot(),
        }
    }

    /// The entries from `low` up to the end, as many as fit into `max_bytes`, at least one.
    pub(crate) fn entries_from(&self, low: Index, max_bytes: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        if low <= self.last_index() {
            self.read(low, self.last_index().next(), max_bytes, &mut entries)?;
        }
        Ok(entries)
    }

    fn read(
        &self,
        low: Index,
        high: Index,
        max_bytes: u64,
        into: &mut Vec<Entry>,
    ) -> Result<(), LogError> {
        let (first, offset) = (self.first_index(), self.unstable.offset());
        if low < first {
            return Err(LogError::Compacted);
        }
        if low >= offset {
            take_within(self.unstable.range(low, high), max_bytes, into);
            return Ok(());
        }
        let cut = high.min(offset);
        self.store.entries(low, cut, max_bytes, into)?;
        assert!(
            into.first().is_some_and(|entry| entry.index() == low),
            "the store was asked for {low}..{cut} and answered with {:?}",
            into.first().map(Entry::index)
        );
        if cut == high || (into.len() as u64) < cut.get() - low.get() {
            return Ok(());
        }
        let mut left = max_bytes.saturating_sub(entries_size(into));
        for entry in self.unstable.range(offset, high) {
            let size = entry_size(entry);
            if size > left {
                break;
            }
            left -= size;
            into.push(entry.clone());
        }
        Ok(())
    }

    /// Whether a committed configuration change waits to be applied. True as well if the entries
    /// cannot be read now: the answer is used to stay on the safe side.
    pub(crate) fn has_unapplied_conf_change(&self) -> bool {
        let (mut low, high) = (self.applied.next(), self.committed.next());
        let mut entries = Vec::new();
        while low < high {
            entries.clear();
            if self
                .read(low, high, self.max_applying_bytes, &mut entries)
                .is_err()
            {
                return true;
            }
            if entries
                .iter()
                .any(|entry| entry.entry_type != EntryType::Normal as i32)
            {
                return true;
            }
            low = Index(low.get() + entries.len() as u64);
        }
        false
    }

    fn appliable(&self) -> Index {
        if self.apply_unstable {
            return self.committed;
        }
        self.committed.min(Index(self.unstable.offset().get() - 1))
    }

    pub(crate) fn has_next_committed(&self) -> bool {
        !self.applying_paused
            && !self.fetching
            && self.unstable.snapshot().is_none()
            && self.applying < self.appliable()
    }

    /// The committed entries that the state machine has not been given, within the limit on what
    /// may be out.
    pub(crate) fn take_committed(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        if !self.has_next_committed() {
            return entries;
        }
        let (low, last) = (self.applying.next(), self.appliable());
        let left = self.max_applying_bytes - self.applying_bytes;
        match self.read(low, last.next(), left, &mut entries) {
            Ok(()) => {}
            Err(LogError::Unavailable) => {
                self.fetching = true;
                return Vec::new();
            }
            Err(error) => panic!(
                "committed entries {low} to {last} cannot be read, the log begins at {}: {error}",
                self.first_index()
            ),
        }
        let bytes = entries_size(&entries);
        self.applying = Index(self.applying.get() + entries.len() as u64);
        self.applying_bytes += bytes;
        // Pause as well when the limit cut this read short: the next entry would exceed it.
        self.applying_paused =
            self.applying_bytes >= self.max_applying_bytes || self.applying < last;
        if self.applying_paused {
            mark(Mark::ApplyPaused);
        }
        let payload = payload_size(&entries);
        self.batches.push_back(Applying {
            last: self.applying,
            bytes,
            payload,
        });
        entries
    }

    /// The store has fetched what was unavailable.
    pub(crate) fn fetched(&mut self) {
        self.fetching = false;
    }

    /// The state machine has applied entries up to `index`; returns the size of what was proposed
    /// in the batches that are done with.
    pub(crate) fn applied_to(&mut self, index: Index) -> u64 {
        assert!(
            self.applied <= index && index <= self.committed,
            "applied up to {index}, which is not within {} (applied) and {} (committed)",
            self.applied,
            self.committed
        );
        self.applied = index;
        self.applying = self.applying.max(index);
        let mut payload = 0;
        while self
            .batches
            .front()
            .is_some_and(|batch| batch.last <= index)
        {
            let batch = self.batches.pop_front().expect("there is a front");
            self.applying_bytes -= batch.bytes;
            payload += batch.payload;
        }
        self.applying_paused = self.applying_bytes >= self.max_applying_bytes;
        payload
    }
}
