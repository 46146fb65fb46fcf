//! Work for a log on a simulated disk, and what the log must hold after a crash.

use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::world::SplitMix64;
use tenet_base::{ClusterId, Index, MemberId, Rng as _, Term};
use tenet_proto::raftpb::{ConfState, Entry, HardState};
use tenet_sim::disk::SimDisk;
use tenet_wal::{
    self as wal, Metadata, Opened, Options, Position, WalWriter, create_with, exists, open_with,
    read,
};

const METADATA: Metadata = Metadata {
    member: MemberId(0xc437_c30f_b21f_c940),
    cluster: ClusterId(0xb7e2_1f30_77aa_0e51),
};
const OPTIONS: Options = Options {
    segment_bytes: 2_000,
};

fn dir() -> FilePath {
    FilePath::new("member/wal")
}

/// What a log holds that is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    /// All entries from index 1 on, released or not.
    pub(crate) entries: Vec<Entry>,
    pub(crate) state: HardState,
    /// The newest snapshot record.
    pub(crate) position: u64,
}

impl Model {
    fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    fn term(&self, index: u64) -> u64 {
        index
            .checked_sub(1)
            .map_or(0, |at| self.entries[at as usize].term)
    }

    fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.entries.truncate(entry.index as usize - 1);
            self.entries.push(entry.clone());
        }
        let term = self.term(self.last());
        if term > self.state.term {
            self.state = HardState {
                term,
                vote: 0,
                commit: self.state.commit,
            };
        }
    }
}

/// What a log can hold before a step is begun: one thing, but after the end of a process whose
/// last writes may or may not reach the disk.
#[derive(Clone, Debug)]
struct Before {
    allowed: Vec<Model>,
    /// Whether there may be no log at all.
    absent: bool,
}

impl From<Model> for Before {
    fn from(model: Model) -> Before {
        Before {
            allowed: vec![model],
            absent: false,
        }
    }
}

/// One submission.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) ops: Vec<DiskOp>,
    /// The entries of its batch.
    entries: Vec<Entry>,
    /// What the store has applied before it is submitted.
    floor: u64,
    /// What the log can hold before.
    before: Before,
    /// What the log holds when it is done.
    after: Model,
}

impl Step {
    /// What a log can hold while this step is in work.
    fn parts(&self) -> Vec<Model> {
        let [before] = &self.before.allowed[..] else {
            return vec![self.after.clone()];
        };
        let with = |count: usize| {
            let mut part = before.clone();
            part.append(&self.entries[..count]);
            part
        };
        let mut parts: Vec<Model> = (1..=self.entries.len()).map(with).collect();
        parts.push(self.after.clone());
        // The snapshot record without the hard state behind it: it counts if its index was
        // committed before.
        parts.push(Model {
            position: self.after.position,
            ..before.clone()
        });
        parts
    }
}

/// A log that is written, step by step. Steps are only made, not submitted.
#[derive(Debug)]
pub(crate) struct Work {
    rng: SplitMix64,
    writer: WalWriter,
    model: Model,
    floor: u64,
}

impl Work {
    /// A new log, and the step that creates it.
    pub(crate) fn create(seed: u64) -> (Work, Step) {
        let mut ops = vec![
            DiskOp::CreateDir {
                path: FilePath::new("member"),
            },
            DiskOp::SyncDir {
                path: FilePath::new(""),
            },
        ];
        let writer = create_with(&dir(), METADATA, OPTIONS, &mut ops);
        let model = Model::default();
        let work = Work {
            rng: SplitMix64::new(seed),
            writer,
            model,
            floor: 0,
        };
        let step = work.step(
            ops,
            Vec::new(),
            Before {
                allowed: Vec::new(),
                absent: true,
            },
        );
        (work, step)
    }

    /// Goes on with a log that was opened, and the step that repairs it.
    pub(crate) fn resume(seed: u64, recovered: Recovered) -> (Work, Step) {
        let Recovered {
            opened,
            model,
            before,
            floor,
        } = recovered;
        let rng = SplitMix64::new(seed);
        let work = Work {
            rng,
            writer: opened.writer,
            model,
            floor,
        };
        let step = work.step(opened.repair, Vec::new(), before);
        (work, step)
    }

    /// `count` random steps.
    pub(crate) fn steps(&mut self, count: usize) -> Vec<Step> {
        (0..count).map(|_| self.random_step()).collect()
    }

    fn step(&self, ops: Vec<DiskOp>, entries: Vec<Entry>, before: Before) -> Step {
        Step {
            ops,
            entries,
            floor: self.floor,
            before,
            after: self.model.clone(),
        }
    }

    fn random_step(&mut self) -> Step {
        let state = self.writer.hard_state();
        let open = self.model.last() - state.commit;
        let commit = state.commit + self.rng.below(open + 1);
        match self.rng.below(10) {
            0 => {
                let state = HardState {
                    term: state.term + 1,
                    vote: self.rng.next_u64() | 1,
                    commit,
                };
                self.save(state, Vec::new())
            }
            1 => {
                let term = state.term + 1 + self.rng.below(2);
                let first = commit + 1 + self.rng.below(self.model.last() - commit + 1);
                let entries = self.entries(first, term);
                self.save(
                    HardState {
                        term,
                        vote: 0,
                        commit,
                    },
                    entries,
                )
            }
            2 if state.commit > self.model.position => self.truncate(state),
            _ => {
                let term = state.term.max(1);
                let entries = self.entries(self.model.last() + 1, term);
                self.save(
                    HardState {
                        term,
                        commit,
                        ..state
                    },
                    entries,
                )
            }
        }
    }

    fn save(&mut self, state: HardState, entries: Vec<Entry>) -> Step {
        let (mut ops, before) = (Vec::new(), Before::from(self.model.clone()));
        assert!(self.writer.save(Some(&state), &entries, &mut ops));
        self.model.append(&entries);
        self.model.state = state;
        self.step(ops, entries, before)
    }

    /// The store is durable at the commit index: record it and release what is not needed.
    fn truncate(&mut self, state: HardState) -> Step {
        let index = state.commit;
        let conf_state = ConfState {
            voters: vec![1],
            ..ConfState::default()
        };
        let term = Term(self.model.term(index));
        let position = Position {
            index: Index(index),
            term,
            conf_state: Some(conf_state),
        };
        let (mut ops, before) = (Vec::new(), Before::from(self.model.clone()));
        self.writer.save_position(&position, &mut ops);
        self.writer
            .release(Index(index.saturating_sub(self.rng.below(4))), 1, &mut ops);
        (self.model.position, self.model.state, self.floor) = (index, state, index);
        self.step(ops, Vec::new(), before)
    }

    fn entries(&mut self, first: u64, term: u64) -> Vec<Entry> {
        let count = 1 + self.rng.below(3);
        (first..first + count)
            .map(|index| {
                let len = if self.rng.below(6) == 0 {
                    self.rng.below(1_200)
                } else {
                    self.rng.below(60)
                };
                let zeros = self.rng.below(4) == 0;
                let data = (0..len).map(|_| if zeros { 0 } else { self.rng.next_u64() as u8 });
                Entry {
                    entry_type: 0,
                    term,
                    index,
                    data: data.collect(),
                }
            })
            .collect()
    }
}

/// A log as it was found after a crash.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) opened: Opened,
    model: Model,
    /// What a loss of power could still make of it, until it is repaired.
    before: Before,
    floor: u64,
}

/// Opens the log on a disk that crashed after the first `completed` of `steps` were done, while
/// the next was in work. `None` if there is no log, which is right only before the first step is
/// done.
///
/// Says what is wrong if the log is refused, misses something that was done, or holds something
/// that was never written.
pub(crate) fn recover(
    disk: &SimDisk,
    steps: &[Step],
    completed: usize,
) -> Result<Option<Recovered>, String> {
    let in_work = steps.get(completed);
    let last = &steps[completed.saturating_sub(1)];
    let mut before = in_work.map_or_else(|| last.after.clone().into(), |step| step.before.clone());
    if !exists(disk, &dir()).map_err(|error| error.to_string())? {
        return if before.absent {
            Ok(None)
        } else {
            Err("the log is gone".to_owned())
        };
    }
    if let Some(step) = in_work {
        before.allowed.extend(step.parts());
    }
    let floor = in_work.unwrap_or(last).floor;
    let term = in_work.unwrap_or(last).after.term(floor);
    let opened = open_with(disk, &dir(), Some((Index(floor), Term(term))), OPTIONS)
        .map_err(|error| format!("refused: {error}"))?;
    // etcd reads all segments that are there and begins at the newest snapshot record.
    let newest = read(disk, &dir(), wal::From::Newest)
        .map_err(|error| format!("etcd would refuse: {error}"))?;
    let position = newest.start.index.get();
    let found = before.allowed.iter().find(|model| {
        opened.entries == model.entries[floor.min(model.last()) as usize..]
            && opened.hard_state == model.state
            && position == model.position
    });
    match found.cloned() {
        Some(model) => Ok(Some(Recovered {
            opened,
            model,
            before,
            floor,
        })),
        None => Err(format!(
            "the log ends at {} with {:?} and snapshot {position}, which is neither what was done \
             nor a part of what was in work: {:?}",
            floor + opened.entries.len() as u64,
            opened.hard_state,
            before
                .allowed
                .iter()
                .map(|it| (it.last(), it.state, it.position))
                .collect::<Vec<_>>()
        )),
    }
}
