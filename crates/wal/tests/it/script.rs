//! Random histories of a log, and what the log must hold after each step.

use crate::memory_disk::MemoryDisk;
use bytes::Bytes;
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::world::SplitMix64;
use tenet_base::{ClusterId, Index, MemberId, Rng as _, Term};
use tenet_proto::raftpb::{ConfState, Entry, HardState};
use tenet_wal::{Metadata, Opened, Options, Position, WalWriter};

pub(crate) const METADATA: Metadata = Metadata {
    member: MemberId(0xc437_c30f_b21f_c940),
    cluster: ClusterId(0xb7e2_1f30_77aa_0e51),
};

pub(crate) fn dir() -> FilePath {
    FilePath::new("member/wal")
}

/// What a log holds: entries from index 1 on, and the hard state that is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) entries: Vec<Entry>,
    pub(crate) state: HardState,
}

impl Model {
    pub(crate) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn term(&self, index: u64) -> u64 {
        if index == 0 {
            0
        } else {
            self.entries[index as usize - 1].term
        }
    }

    fn append(&mut self, entry: &Entry) {
        self.entries.truncate(entry.index as usize - 1);
        self.entries.push(entry.clone());
    }

    /// The model after the first `count` entries of `batch`, and without its hard state.
    pub(crate) fn with_part(&self, batch: &[Entry], count: usize) -> Model {
        let mut model = self.clone();
        batch[..count].iter().for_each(|entry| model.append(entry));
        let term = model.term(model.last());
        if term > model.state.term {
            model.state = HardState {
                term,
                vote: 0,
                commit: model.state.commit,
            };
        }
        model
    }

    pub(crate) fn equals(&self, opened: &Opened) -> bool {
        self.entries == opened.entries && self.state == opened.hard_state
    }
}

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) ops: Vec<DiskOp>,
    pub(crate) before: Model,
    /// The hard state before, with a commit index that only a cut brings to the disk.
    behind: HardState,
    pub(crate) entries: Vec<Entry>,
    pub(crate) after: Model,
}

impl Step {
    /// Whether `opened` holds what was there before this step and a part of what it wrote.
    pub(crate) fn allows(&self, opened: &Opened) -> bool {
        let cut = Model {
            entries: self.before.entries.clone(),
            state: self.behind,
        };
        let part = |count| {
            [&self.before, &cut]
                .iter()
                .any(|before| before.with_part(&self.entries, count).equals(opened))
        };
        self.after.equals(opened) || (0..=self.entries.len()).any(part)
    }
}

/// Makes histories.
pub(crate) struct Script {
    rng: SplitMix64,
    pub(crate) writer: WalWriter,
    pub(crate) disk: MemoryDisk,
    pub(crate) model: Model,
    pub(crate) options: Options,
}

impl Script {
    pub(crate) fn new(seed: u64, segment_bytes: u64) -> Script {
        let options = Options { segment_bytes };
        let mut ops = vec![DiskOp::CreateDir {
            path: FilePath::new("member"),
        }];
        let writer = tenet_wal::create_with(&dir(), METADATA, options, &mut ops);
        let mut disk = MemoryDisk::default();
        disk.run(&ops);
        let rng = SplitMix64::new(seed);
        Script {
            rng,
            writer,
            disk,
            model: Model::default(),
            options,
        }
    }

    /// Takes random steps until `bytes` have been appended and the last step was a batch that did
    /// not begin a segment, so that it is the last segment's tail.
    pub(crate) fn run(&mut self, bytes: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = self.step();
            let began = step
                .ops
                .iter()
                .any(|op| matches!(op, DiskOp::Rename { .. }));
            let wrote = step.ops.iter().any(|op| matches!(op, DiskOp::Write { .. }));
            steps.push(step);
            if self.writer.appended_bytes() >= bytes && wrote && !began {
                return steps;
            }
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        let before = self.model.clone();
        let behind = self.writer.hard_state();
        let mut ops = Vec::new();
        let entries = match self.rng.below(10) {
            0 => self.vote(&mut ops),
            1 => self.overwrite(&mut ops),
            2 => self.commit_only(&mut ops),
            3 => self.position(&mut ops),
            _ => self.append(&mut ops),
        };
        self.disk.run(&ops);
        Step {
            ops,
            before,
            behind,
            entries,
            after: self.model.clone(),
        }
    }

    fn save(&mut self, state: HardState, entries: &[Entry], ops: &mut Vec<DiskOp>) {
        let synced = self.writer.save(Some(&state), entries, ops);
        let syncs = ops.iter().any(|op| matches!(op, DiskOp::SyncData { .. }));
        assert_eq!(synced, syncs, "what save says of its operations is wrong");
        entries.iter().for_each(|entry| self.model.append(entry));
        if synced {
            self.model.state = state;
        }
    }

    fn append(&mut self, ops: &mut Vec<DiskOp>) -> Vec<Entry> {
        let mut state = self.writer.hard_state();
        state.term = state.term.max(1);
        let entries = self.make_entries(self.model.last() + 1, state.term);
        let last = self.model.last() + entries.len() as u64;
        state.commit += self.rng.below(last - state.commit + 1);
        self.save(state, &entries, ops);
        entries
    }

    /// A new leader replaces a part of what is not committed.
    fn overwrite(&mut self, ops: &mut Vec<DiskOp>) -> Vec<Entry> {
        let mut state = self.writer.hard_state();
        state.term += 1 + self.rng.below(3);
        state.vote = [0, METADATA.member.get()][self.rng.below(2) as usize];
        let open = self.model.last() - state.commit;
        let first = state.commit + 1 + self.rng.below(open + 1);
        let entries = self.make_entries(first, state.term);
        self.save(state, &entries, ops);
        entries
    }

    fn vote(&mut self, ops: &mut Vec<DiskOp>) -> Vec<Entry> {
        let state = self.writer.hard_state();
        let state = HardState {
            term: state.term + 1,
            vote: self.rng.next_u64() | 1,
            ..state
        };
        self.save(state, &[], ops);
        Vec::new()
    }

    fn commit_only(&mut self, ops: &mut Vec<DiskOp>) -> Vec<Entry> {
        let mut state = self.writer.hard_state();
        state.commit += self.rng.below(self.model.last() - state.commit + 1);
        self.save(state, &[], ops);
        assert!(ops.is_empty());
        Vec::new()
    }

    fn position(&mut self, ops: &mut Vec<DiskOp>) -> Vec<Entry> {
        let state = self.writer.hard_state();
        if state.commit > 0 {
            self.writer
                .save_position(&self.position_at(state.commit), ops);
            self.model.state = state;
        }
        Vec::new()
    }

    pub(crate) fn position_at(&self, index: u64) -> Position {
        Position {
            index: Index(index),
            term: Term(self.model.term(index)),
            conf_state: Some(ConfState {
                voters: vec![METADATA.member.get()],
                ..ConfState::default()
            }),
        }
    }

    fn make_entries(&mut self, first: u64, term: u64) -> Vec<Entry> {
        let count = 1 + self.rng.below(4);
        (first..first + count)
            .map(|index| Entry {
                entry_type: 0,
                term,
                index,
                data: self.make_data(),
            })
            .collect()
    }

    fn make_data(&mut self) -> Bytes {
        let len = match self.rng.below(8) {
            0 => 0,
            1 => self.rng.below(1_500),
            _ => self.rng.below(60),
        };
        let zeros = self.rng.below(4) == 0;
        (0..len)
            .map(|_| if zeros { 0 } else { self.rng.next_u64() as u8 })
            .collect()
    }
}
