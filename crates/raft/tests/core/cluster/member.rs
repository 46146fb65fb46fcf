//! One member: its core, its disk and its state machine.
//!
//! The disk loses what was not synced when the member crashes, wholly or in part. What is reported
//! to the core when is decided by the world; duties can be broken on purpose (see [`Sabotage`]).

use std::collections::VecDeque;

use prost::Message as _;
use tenet_base::{Index, MemberId, Rng, Term};
use tenet_proto::raftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Snapshot,
};
use tenet_raft::{Append, AppendDone, Config, MemoryLog, Raft, confchange};

use super::checker::{Shadow, applied_state};

/// A duty of the driver that is broken, to show that the checker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The core is told that an append is durable when it is only written.
    DoneBeforeDurable,
    /// Acknowledgements and votes are sent at once.
    ResponsesAtOnce,
    /// Hard states are not stored.
    HardStateForgotten,
    /// A disk is lost, and the member comes back under its id.
    DiskLost,
}

/// The state machine as it was at some index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) applied: Index,
    pub(crate) state: u64,
    pub(crate) conf_state: ConfState,
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    hard_state: HardState,
    base: (Index, Term),
    entries: Vec<Entry>,
    /// The state machine's last durable state.
    pub(crate) cut: Machine,
}

/// An append that is not durable yet.
pub(crate) struct Writing {
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    snapshot: Option<Snapshot>,
    pub(crate) responses: Vec<tenet_proto::raftpb::Message>,
    done: Option<AppendDone>,
}

pub(crate) struct Member {
    pub(crate) id: MemberId,
    /// `None` while it is down.
    pub(crate) raft: Option<Raft<MemoryLog>>,
    pub(crate) disk: Disk,
    pub(crate) shadow: Shadow,
    pub(crate) writing: VecDeque<Writing>,
    pub(crate) applying: VecDeque<Vec<Entry>>,
    pub(crate) machine: Machine,
    /// The disk answers nothing.
    pub(crate) hangs: bool,
}

impl Disk {
    fn write(&mut self, append: &Writing, sabotage: Option<Sabotage>) {
        if let Some(state) = append.hard_state
            && sabotage != Some(Sabotage::HardStateForgotten)
        {
            self.hard_state = state;
        }
        if let Some(snapshot) = &append.snapshot {
            self.base = (Index(snapshot.index()), Term(snapshot.term()));
            self.entries.clear();
            self.cut = machine_of(snapshot);
        }
        self.write_entries(&append.entries);
    }

    fn write_entries(&mut self, entries: &[Entry]) {
        if let Some(first) = entries.first() {
            self.entries
                .truncate((first.index - self.base.0.get() - 1) as usize);
            self.entries.extend_from_slice(entries);
        }
    }

    fn last(&self) -> u64 {
        self.base.0.get() + self.entries.len() as u64
    }
}

impl Member {
    pub(crate) fn new(id: MemberId, config: Config) -> Self {
        let mut member = Member {
            id,
            raft: None,
            disk: Disk::default(),
            shadow: Shadow::default(),
            writing: VecDeque::new(),
            applying: VecDeque::new(),
            machine: Machine::default(),
            hangs: false,
        };
        member.start(config);
        member
    }

    /// Starts from what is on disk.
    pub(crate) fn start(&mut self, config: Config) {
        let Disk {
            hard_state,
            base,
            entries,
            cut,
        } = &self.disk;
        assert!(
            cut.applied.get() <= self.disk.last(),
            "{} has applied {}, its log ends at {}",
            self.id,
            cut.applied,
            self.disk.last()
        );
        let commit = hard_state.commit.max(cut.applied.get());
        let hard_state = HardState {
            commit,
            ..*hard_state
        };
        let mut log =
            MemoryLog::with_state(hard_state, cut.conf_state.clone(), *base, entries.clone());
        offer_snapshot(&mut log, cut);
        self.shadow = Shadow::new(*base, entries);
        self.machine = cut.clone();
        let config = Config {
            applied: cut.applied,
            ..config
        };
        self.raft = Some(Raft::new(config, log).expect("what was durable can be started from"));
    }

    /// Stops at once. Of what was being written any prefix may be on disk, the last append in part.
    pub(crate) fn crash(&mut self, rng: &mut impl Rng, sabotage: Option<Sabotage>) {
        self.raft = None;
        self.applying.clear();
        self.hangs = false;
        let whole = rng.below(self.writing.len() as u64 + 1) as usize;
        let writing = std::mem::take(&mut self.writing);
        for (at, append) in writing.iter().enumerate() {
            if at < whole {
                self.disk.write(append, sabotage);
            } else {
                if append.snapshot.is_none() {
                    let torn = rng.below(append.entries.len() as u64 + 1) as usize;
                    self.disk.write_entries(&append.entries[..torn]);
                }
                break;
            }
        }
        if sabotage == Some(Sabotage::DiskLost) && rng.below(2) == 0 {
            self.disk = Disk::default();
        }
    }

    /// An append has been handed out.
    pub(crate) fn write(&mut self, append: Append, sabotage: Option<Sabotage>) {
        let Append {
            hard_state,
            entries,
            snapshot,
            responses,
            done,
            ..
        } = append;
        let mut writing = Writing {
            hard_state,
            entries,
            snapshot,
            responses,
            done: None,
        };
        if sabotage == Some(Sabotage::DoneBeforeDurable) {
            self.report(&writing, done);
        } else {
            writing.done = Some(done);
        }
        self.writing.push_back(writing);
    }

    /// The oldest append becomes durable; returns what may be sent now.
    pub(crate) fn sync_one(
        &mut self,
        sabotage: Option<Sabotage>,
    ) -> Vec<tenet_proto::raftpb::Message> {
        let Some(mut writing) = self.writing.pop_front() else {
            return Vec::new();
        };
        self.disk.write(&writing, sabotage);
        if let Some(done) = writing.done.take() {
            self.report(&writing, done);
        }
        writing.responses
    }

    fn report(&mut self, writing: &Writing, done: AppendDone) {
        let raft = self.raft.as_mut().expect("only a running member writes");
        let log = raft.log_mut();
        if let Some(state) = writing.hard_state {
            log.set_hard_state(state);
        }
        if let Some(snapshot) = &writing.snapshot {
            log.apply_snapshot(snapshot.clone())
                .expect("snapshots only go forward");
            self.machine = machine_of(snapshot);
        }
        log.append(writing.entries.clone());
        raft.append_done(done);
    }

    /// The state machine applies the oldest batch; whether there was one.
    pub(crate) fn apply_one(&mut self) -> bool {
        let Some(batch) = self.applying.pop_front() else {
            return false;
        };
        let raft = self.raft.as_mut().expect("only a running member applies");
        for entry in &batch {
            // A snapshot may have overtaken the batch.
            if entry.index() <= self.machine.applied {
                continue;
            }
            assert_eq!(
                entry.index(),
                self.machine.applied.next(),
                "{} skips entries",
                self.id
            );
            self.machine.state = applied_state(self.machine.state, entry);
            self.machine.applied = entry.index();
            if let Some(change) = conf_change(entry) {
                let state = raft
                    .apply_conf_change(&change)
                    .expect("proposed changes are valid");
                self.machine.conf_state = state;
            }
        }
        raft.apply_done(batch.last().expect("batches are not empty").index());
        true
    }

    /// Makes the state machine durable as it is. The log must hold everything that it has applied,
    /// so that both can be started from.
    pub(crate) fn cut(&mut self) {
        if let Some(raft) = &mut self.raft
            && self.machine.applied.get() <= self.disk.last()
        {
            self.disk.cut = self.machine.clone();
            offer_snapshot(raft.log_mut(), &self.disk.cut);
        }
    }

    /// Drops the log up to `index`, if the state machine is durable beyond it.
    pub(crate) fn compact(&mut self, index: Index) {
        let Some(raft) = &mut self.raft else { return };
        let index = index.min(self.disk.cut.applied);
        if index > self.disk.base.0 && raft.log_mut().compact(index).is_ok() {
            let count = (index.get() - self.disk.base.0.get()) as usize;
            let term = self.disk.entries[count - 1].term();
            self.disk.entries.drain(..count);
            self.disk.base = (index, term);
        }
    }
}

fn offer_snapshot(log: &mut MemoryLog, cut: &Machine) {
    let state = cut.state.to_le_bytes().to_vec().into();
    // Refused if there is a later one, or none of this age can be made: both are fine.
    let _ = log.create_snapshot(cut.applied, cut.conf_state.clone(), state);
}

fn machine_of(snapshot: &Snapshot) -> Machine {
    let metadata = snapshot.metadata.clone().expect("a snapshot has metadata");
    Machine {
        applied: Index(metadata.index),
        state: u64::from_le_bytes(snapshot.data.as_ref().try_into().expect("eight bytes")),
        conf_state: metadata.conf_state.unwrap_or_default(),
    }
}

fn conf_change(entry: &Entry) -> Option<ConfChangeV2> {
    match EntryType::try_from(entry.entry_type).expect("only known entries are proposed") {
        EntryType::Normal => None,
        EntryType::ConfChange => {
            let change = ConfChange::decode(entry.data.clone()).expect("a change");
            Some(confchange::as_v2(&change))
        }
        EntryType::ConfChangeV2 => {
            Some(ConfChangeV2::decode(entry.data.clone()).expect("a change"))
        }
    }
}
