//! What the records of a log add up to, and whether they make sense.
//!
//! Records come in the order of writing, each already verified against the running checksum. The
//! checksum does not cover a record's kind, so a record that contradicts what came before is
//! treated as damage: it is never applied, and never cut off as if it had been torn.
//!
//! Rules that hold for every log that raft wrote: an entry follows the log or replaces its
//! uncommitted end; terms never fall along the log; term and commit of hard states never fall, a
//! vote is given once per term, and the commit index lies in the log. A batch ends with a hard
//! state whose term is at least that of the batch's entries.
//!
//! A snapshot record ahead of the log (a snapshot received from a leader) empties the log, but
//! only once a hard state has committed it; before that it may have been a torn attempt.

use crate::log_map::{LogMap, Place};
use crate::payload::{EntryView, Metadata, Payload, Position};
use tenet_base::limits;
use tenet_proto::raftpb::{Entry, EntryType, HardState};

/// See the module.
#[derive(Debug)]
pub(crate) struct Replay {
    collect: bool,
    /// Entries after this index are collected; moves up if a received snapshot replaces the log.
    after: u64,
    entries: Vec<Entry>,
    metadata: Option<Metadata>,
    state: HardState,
    positions: Vec<Position>,
    map: LogMap,
    pending: Option<Pending>,
    batch: Batch,
}

/// A snapshot record ahead of the log, and the log as it was before.
#[derive(Debug)]
struct Pending {
    index: u64,
    place: Place,
    after: u64,
    entries: Vec<Entry>,
    map: LogMap,
}

/// What has been seen since the last hard state.
#[derive(Debug, Default)]
struct Batch {
    term_max: u64,
    last_index: Option<u64>,
}

/// The sum of a log.
#[derive(Debug)]
pub(crate) struct Sum {
    /// The index after which entries were collected.
    pub(crate) after: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) state: HardState,
    pub(crate) positions: Vec<Position>,
    pub(crate) map: LogMap,
    /// Where the log ends with a snapshot record that nothing committed: from there on nothing
    /// counts.
    pub(crate) abandoned: Option<Place>,
}

impl Replay {
    /// For a log whose first entry to be read follows `base`. With `collect_after`, the entries
    /// after that index are kept.
    pub(crate) fn new(base: u64, collect_after: Option<u64>) -> Replay {
        Replay {
            collect: collect_after.is_some(),
            after: collect_after.unwrap_or(0),
            entries: Vec::new(),
            metadata: None,
            state: HardState::default(),
            positions: Vec::new(),
            map: LogMap::after(base),
            pending: None,
            batch: Batch::default(),
        }
    }

    /// Takes the next record; says what is wrong if it contradicts what came before.
    pub(crate) fn apply(&mut self, payload: Payload<'_>, place: Place) -> Result<(), String> {
        match payload {
            Payload::Crc => Ok(()),
            Payload::Metadata(metadata) => self.apply_metadata(metadata),
            Payload::Entry(entry) => self.apply_entry(entry, place),
            Payload::State(state) => self.apply_state(state),
            Payload::Position(position) => self.apply_position(position, place),
        }
    }

    /// The lowest index that the next entry of the unfinished batch can have.
    pub(crate) fn least_next(&self) -> u64 {
        self.batch.last_index.unwrap_or(self.state.commit) + 1
    }

    /// The sum of all records.
    pub(crate) fn finish(mut self) -> Sum {
        let abandoned = self.pending.as_ref().map(|pending| pending.place);
        self.abandon_pending();
        // An entry of a term shows that the term was reached, even if the hard state behind it
        // was torn off. Nobody was promised the vote that went with it.
        if let Some(term) = self.map.last_term().filter(|term| *term > self.state.term) {
            self.state = HardState {
                term,
                vote: 0,
                commit: self.state.commit,
            };
        }
        let commit = self.state.commit;
        self.positions
            .retain(|position| position.index.get() <= commit);
        Sum {
            after: self.after,
            entries: self.entries,
            metadata: self.metadata,
            state: self.state,
            positions: self.positions,
            map: self.map,
            abandoned,
        }
    }

    fn apply_metadata(&mut self, metadata: Metadata) -> Result<(), String> {
        match self.metadata {
            Some(known) if known != metadata => Err(format!(
                "the segment belongs to member {} of cluster {}, those before it to member {} of \
                 cluster {}",
                metadata.member, metadata.cluster, known.member, known.cluster
            )),
            _ => {
                self.metadata = Some(metadata);
                Ok(())
            }
        }
    }

    fn apply_entry(&mut self, entry: EntryView<'_>, place: Place) -> Result<(), String> {
        check_entry(&entry)?;
        let EntryView { term, index, .. } = entry;
        if self
            .pending
            .as_ref()
            .is_some_and(|pending| index <= pending.index)
        {
            self.abandon_pending();
        }
        if index <= self.state.commit {
            return Err(format!(
                "entry {index} would replace one that is committed (commit {})",
                self.state.commit
            ));
        }
        if index > self.map.last() + 1 {
            return Err(format!("entry {index} follows entry {}", self.map.last()));
        }
        if let Some(before) = self.map.term(index - 1).filter(|before| *before > term) {
            return Err(format!(
                "entry {index} has term {term}, the one before it {before}"
            ));
        }
        self.map.append(index, term, place);
        if self.collect {
            let keep = index.saturating_sub(self.after + 1);
            self.entries
                .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            if index > self.after {
                self.entries.push(entry.to_entry());
            }
        }
        self.batch.term_max = self.batch.term_max.max(term);
        self.batch.last_index = Some(index);
        Ok(())
    }

    fn apply_state(&mut self, state: HardState) -> Result<(), String> {
        let known = self.state;
        let fell = |what, new: u64, old: u64| Err(format!("{what} falls from {old} to {new}"));
        if state.term < known.term {
            return fell("the term", state.term, known.term);
        }
        if state.commit < known.commit {
            return fell("the commit index", state.commit, known.commit);
        }
        if state.term > limits::TERM_MAX {
            return Err(format!("no cluster reaches term {}", state.term));
        }
        let moved = known.vote != 0 && state.vote != known.vote;
        if (state.term == known.term && moved) || (state.term == 0 && state.vote != 0) {
            return Err(format!(
                "the vote in term {} changes from {:x} to {:x}",
                state.term, known.vote, state.vote
            ));
        }
        if state.term < self.batch.term_max {
            return fell("the term", state.term, self.batch.term_max);
        }
        self.pending
            .take_if(|pending| state.commit >= pending.index);
        // Until it is committed, a snapshot may yet have to give way to the log before it.
        let last = self
            .pending
            .as_ref()
            .map_or(&self.map, |pending| &pending.map)
            .last();
        if state.commit > last {
            return Err(format!(
                "{} is committed in a log that ends at {last}",
                state.commit
            ));
        }
        self.state = state;
        self.batch = Batch::default();
        Ok(())
    }

    fn apply_position(&mut self, position: Position, place: Place) -> Result<(), String> {
        let (index, term) = (position.index.get(), position.term.get());
        if index > limits::INDEX_MAX || term > limits::TERM_MAX || (index == 0) != (term == 0) {
            return Err(format!("no snapshot is at index {index} and term {term}"));
        }
        self.abandon_pending();
        let known = self.map.term(index);
        let contradicts = known.is_some_and(|known| known != term);
        if index <= self.state.commit && contradicts {
            return Err(format!(
                "the snapshot at index {index} has term {term}, the committed entry there {}",
                known.unwrap_or_default()
            ));
        }
        if contradicts || index > self.map.last() {
            self.pending = Some(Pending {
                index,
                place,
                after: self.after,
                entries: std::mem::take(&mut self.entries),
                map: self.map.clone(),
            });
            self.map.reset(index, term);
            self.after = self.after.max(index);
        }
        self.positions.push(position);
        Ok(())
    }

    fn abandon_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.after = pending.after;
            self.entries = pending.entries;
            self.map = pending.map;
        }
    }
}

fn check_entry(entry: &EntryView<'_>) -> Result<(), String> {
    let EntryView {
        entry_type,
        term,
        index,
        data,
    } = *entry;
    if index == 0 || index > limits::INDEX_MAX || term == 0 || term > limits::TERM_MAX {
        return Err(format!("no entry is at index {index} and term {term}"));
    }
    let conf_change = EntryType::ConfChange as u64;
    if entry_type > EntryType::ConfChangeV2 as u64 {
        return Err(format!("entry {index} has the unknown type {entry_type}"));
    }
    if entry_type == conf_change && data.is_empty() {
        return Err(format!(
            "entry {index} is a configuration change without a change"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::SegmentName;
    use tenet_base::{Index, Term};

    /// Found by the fuzz target `wal`: such a log opened, with entries committed that it lacked.
    #[test]
    fn a_commit_between_the_log_and_a_snapshot_that_nothing_committed_is_refused() {
        let place = Place {
            segment: SegmentName { seq: 0, index: 0 },
            offset: 0,
            crc: 0,
        };
        let state = |commit| {
            Payload::State(HardState {
                term: 1,
                vote: 0,
                commit,
            })
        };
        let position = Position {
            index: Index(9),
            term: Term(1),
            conf_state: None,
        };
        let mut replay = Replay::new(0, Some(0));
        replay.apply(Payload::Position(position), place).unwrap();
        assert_eq!(
            replay.apply(state(7), place),
            Err("7 is committed in a log that ends at 0".to_owned())
        );
        replay.apply(state(9), place).unwrap();
        assert_eq!(replay.finish().map.last(), 9);
    }
}
