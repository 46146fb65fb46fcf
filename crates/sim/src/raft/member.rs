//! One member: its core, its disk and its state machine.
//!
//! The disk loses what was not synced when the member crashes, wholly or in part. What is reported
//! to the core when is decided by the world; duties can be broken on purpose (see [`Sabotage`]).

use std::collections::VecDeque;

use prost::Message as _;
use tenet_base::{Index, MemberId, Rng};
use tenet_check::raft::Log;
use tenet_proto::raftpb::{ConfChange, ConfChangeV2, Entry, EntryType, HardState, Message};
use tenet_raft::{Append, AppendDone, Config, MemoryLog, Raft, confchange};

use super::Sabotage;
use super::disk::{Disk, Machine, Writing, machine_of};

/// What a crash has cost.
pub(super) struct Lost {
    pub(super) appends: bool,
    /// An append is on disk in part.
    pub(super) torn: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    /// `None` while it is down.
    pub(super) raft: Option<Raft<MemoryLog>>,
    pub(super) disk: Disk,
    /// Its log as a checker sees it.
    pub(super) log: Log,
    pub(super) writing: VecDeque<Writing>,
    pub(super) applying: VecDeque<Vec<Entry>>,
    pub(super) machine: Machine,
    /// The disk answers nothing.
    pub(super) hangs: bool,
    /// The disk answers rarely.
    pub(super) slow: bool,
    /// The read that is being asked for at this moment.
    pub(super) asking: Option<u64>,
}

impl Member {
    pub(super) fn new(id: MemberId, config: Config) -> Self {
        let disk = Disk::default();
        let mut member = Member {
            id,
            raft: None,
            log: log_of(&disk),
            disk,
            writing: VecDeque::new(),
            applying: VecDeque::new(),
            machine: Machine::default(),
            hangs: false,
            slow: false,
            asking: None,
        };
        member.start(config);
        member
    }

    /// Starts from what is on disk.
    pub(super) fn start(&mut self, config: Config) {
        let disk = &self.disk;
        let cut = &disk.cut;
        assert!(
            cut.applied <= disk.last(),
            "{} has applied {}, its log ends at {}",
            self.id,
            cut.applied,
            disk.last()
        );
        let hard_state = HardState {
            commit: disk.hard_state.commit.max(cut.applied.get()),
            ..disk.hard_state
        };
        let base = (disk.base.0, disk.base.1);
        let entries = disk.entries.clone();
        let mut log = MemoryLog::with_state(hard_state, cut.conf_state.clone(), base, entries);
        offer_snapshot(&mut log, cut);
        self.log = log_of(disk);
        self.machine = cut.clone();
        let config = Config {
            applied: cut.applied,
            ..config
        };
        self.raft = Some(Raft::new(config, log).expect("what was durable can be started from"));
    }

    /// Stops at once. Of what was being written any prefix may be on disk, the last append in part.
    pub(super) fn crash(&mut self, rng: &mut impl Rng, sabotage: Option<Sabotage>) -> Lost {
        self.raft = None;
        self.applying.clear();
        self.hangs = false;
        let writing = std::mem::take(&mut self.writing);
        let whole = rng.below(writing.len() as u64 + 1) as usize;
        let mut lost = Lost {
            appends: whole < writing.len(),
            torn: false,
        };
        for append in writing.iter().take(whole) {
            self.disk.write(append, sabotage);
        }
        if let Some(append) = writing.get(whole).filter(|w| w.snapshot.is_none()) {
            let count = append.entries.len() as u64;
            let kept = rng.below(count + 1);
            lost.torn = 0 < kept && kept < count;
            self.disk.write_entries(&append.entries[..kept as usize]);
        }
        if sabotage == Some(Sabotage::DiskLost) && rng.below(2) == 0 {
            self.disk = Disk::default();
        }
        lost
    }

    /// An append has been handed out.
    pub(super) fn write(&mut self, append: Append, sabotage: Option<Sabotage>) {
        let mut writing = Writing {
            hard_state: append.hard_state,
            entries: append.entries,
            snapshot: append.snapshot,
            responses: append.responses,
            done: None,
        };
        if sabotage == Some(Sabotage::DoneBeforeDurable) {
            self.report(&writing, append.done);
        } else {
            writing.done = Some(append.done);
        }
        self.writing.push_back(writing);
    }

    /// The oldest append becomes durable; returns what may be sent now.
    pub(super) fn sync_one(&mut self, sabotage: Option<Sabotage>) -> Vec<Message> {
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
    pub(super) fn apply_one(&mut self) -> bool {
        let Some(batch) = self.applying.pop_front() else {
            return false;
        };
        let raft = self.raft.as_mut().expect("only a running member applies");
        for entry in &batch {
            // A snapshot may have overtaken the batch.
            if entry.index() <= self.machine.applied {
                continue;
            }
            let (index, next) = (entry.index(), self.machine.applied.next());
            assert_eq!(index, next, "{} skips entries", self.id);
            self.machine.state = self.machine.state.then(entry);
            self.machine.applied = index;
            if let Some(change) = conf_change(entry) {
                self.machine.conf_state = raft
                    .apply_conf_change(&change)
                    .expect("proposed changes are valid");
            }
        }
        raft.apply_done(batch.last().expect("batches are not empty").index());
        true
    }

    /// Makes the state machine durable as it is. The log must hold everything that it has applied,
    /// so that both can be started from.
    pub(super) fn cut(&mut self) {
        if let Some(raft) = &mut self.raft
            && self.machine.applied <= self.disk.last()
        {
            self.disk.cut = self.machine.clone();
            offer_snapshot(raft.log_mut(), &self.disk.cut);
        }
    }

    /// Drops the log up to `index`, if the state machine is durable beyond it.
    pub(super) fn compact(&mut self, index: Index) {
        let Some(raft) = &mut self.raft else { return };
        let index = index.min(self.disk.cut.applied);
        if index > self.disk.base.0 && raft.log_mut().compact(index).is_ok() {
            self.disk.compact(index);
        }
    }
}

fn log_of(disk: &Disk) -> Log {
    let (index, term, chain) = disk.base;
    Log::new(index, term, chain).with_entries(&disk.entries)
}

fn offer_snapshot(log: &mut MemoryLog, cut: &Machine) {
    let state = cut.state.0.to_le_bytes().to_vec().into();
    // Refused if there is a later one, or none of this age can be made: both are fine.
    let _ = log.create_snapshot(cut.applied, cut.conf_state.clone(), state);
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
