//! A member's disk: what it holds after a crash.
//!
//! Invariant: entries follow the base without a gap. It knows no file and no format.

use tenet_base::{Index, Term};
use tenet_check::raft::Chain;
use tenet_proto::raftpb::{ConfState, Entry, HardState, Message, Snapshot};
use tenet_raft::AppendDone;

use super::Sabotage;

/// The state machine as it was at some index.
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) applied: Index,
    pub(super) state: Chain,
    pub(super) conf_state: ConfState,
}

/// An append that is not durable yet.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) hard_state: Option<HardState>,
    pub(super) entries: Vec<Entry>,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) responses: Vec<Message>,
    pub(super) done: Option<AppendDone>,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    /// The position before the first entry.
    pub(super) base: (Index, Term, Chain),
    pub(super) entries: Vec<Entry>,
    /// The state machine's last durable state.
    pub(super) cut: Machine,
}

impl Disk {
    pub(super) fn write(&mut self, append: &Writing, sabotage: Option<Sabotage>) {
        if let Some(state) = append.hard_state
            && sabotage != Some(Sabotage::HardStateForgotten)
        {
            self.hard_state = state;
        }
        if let Some(snapshot) = &append.snapshot {
            let machine = machine_of(snapshot);
            self.base = (machine.applied, Term(snapshot.term()), machine.state);
            self.entries.clear();
            self.cut = machine;
        }
        self.write_entries(&append.entries);
    }

    pub(super) fn write_entries(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.entries
                .truncate((first.index - self.base.0.get() - 1) as usize);
            self.entries.extend_from_slice(entries);
        }
    }

    pub(super) fn last(&self) -> Index {
        Index(self.base.0.get() + self.entries.len() as u64)
    }

    /// The term of the entry there.
    pub(super) fn term(&self, index: Index) -> Option<Term> {
        let at = index.get().checked_sub(self.base.0.get() + 1)?;
        self.entries.get(at as usize).map(Entry::term)
    }

    /// Drops the entries up to `index`.
    pub(super) fn compact(&mut self, index: Index) {
        let count = (index.get() - self.base.0.get()) as usize;
        let term = self.entries[count - 1].term();
        let dropped = self.entries.drain(..count);
        let chain = dropped.fold(self.base.2, |chain, entry| chain.then(&entry));
        self.base = (index, term, chain);
    }
}

/// The state that a snapshot carries.
pub(super) fn machine_of(snapshot: &Snapshot) -> Machine {
    let metadata = snapshot.metadata.clone().expect("a snapshot has metadata");
    let state = snapshot.data.as_ref().try_into().expect("eight bytes");
    Machine {
        applied: Index(metadata.index),
        state: Chain(u64::from_le_bytes(state)),
        conf_state: metadata.conf_state.unwrap_or_default(),
    }
}
