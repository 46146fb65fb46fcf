//! What the log writer has been given and has not finished, and whether its disk hangs.
//!
//! Invariants: appends are completed in the order in which the core produced them; responses that
//! promise durability go out with the completion, never before. An append with a snapshot goes to
//! the log writer only once the store holds the snapshot, with all that follow it waiting behind,
//! and it is done only when the state machine has become that of the snapshot.
//!
//! Ticks and messages do not wait for the disk, so a leader whose disk hangs would go on being
//! leader for ever: an append that is older than one election timeout makes it offer leadership,
//! one older than two makes it give up. A sole voter has nobody to offer it to, and waits.

use crate::messages::{LogAppend, Notice, Outputs};
use std::collections::VecDeque;
use tenet_base::Index;
use tenet_proto::raftpb::{Entry, HardState, Message, Snapshot};
use tenet_raft::{Append, AppendDone, MemoryLog, Raft};
use tenet_wal::Position;

/// How far an append is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The log writer has it, or will have it after a snapshot.
    Writing,
    /// Durable, or nothing in it has to be.
    Written,
    /// Durable; the state machine becomes that of the snapshot.
    Switching,
}

#[derive(Debug)]
struct Outstanding {
    stage: Stage,
    since_tick: u64,
    snapshot: Option<Snapshot>,
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    responses: Vec<Message>,
    done: AppendDone,
}

/// How the disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Disk {
    #[default]
    Answers,
    /// For one election timeout it has not; leadership was offered.
    Slow,
    /// Nor for another; the core was told.
    Hangs,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Appends {
    outstanding: VecDeque<Outstanding>,
    /// From an append with a snapshot on: kept from the log writer until the store holds it.
    held: Option<VecDeque<LogAppend>>,
    disk: Disk,
    election_ticks: u64,
}

impl Appends {
    pub(super) fn new(election_ticks: u64) -> Self {
        Appends {
            outstanding: VecDeque::new(),
            held: None,
            disk: Disk::default(),
            election_ticks,
        }
    }

    /// Gives an append to the log writer, unless nothing in it has to be durable: a commit index
    /// that moved is written with the next append.
    pub(super) fn start<W>(
        &mut self,
        append: Append,
        now_tick: u64,
        raft: &mut Raft<MemoryLog>,
        out: &mut Outputs<W>,
    ) {
        let Append {
            hard_state,
            entries,
            snapshot,
            must_sync,
            responses,
            done,
        } = append;
        if snapshot.is_some() {
            self.held = Some(VecDeque::new());
        }
        if must_sync {
            let for_writer = LogAppend {
                position: None,
                hard_state: raft.hard_state(),
                entries: entries.clone(),
            };
            match &mut self.held {
                Some(held) => held.push_back(for_writer),
                None => out.appends.push(for_writer),
            }
        }
        self.outstanding.push_back(Outstanding {
            stage: if must_sync {
                Stage::Writing
            } else {
                Stage::Written
            },
            since_tick: now_tick,
            snapshot,
            entries,
            hard_state,
            responses,
            done,
        });
        self.complete(raft, out);
    }

    /// Whether a snapshot is being installed.
    pub(super) fn is_installing(&self) -> bool {
        self.outstanding
            .iter()
            .any(|append| append.snapshot.is_some())
    }

    /// The store holds the snapshot that stands at `position`: the log may go on after it.
    pub(super) fn stored<W>(&mut self, position: Position, out: &mut Outputs<W>) {
        let mut held = self.held.take().expect("a snapshot is to be installed");
        let first = held.front_mut().expect("its append is the first");
        first.position = Some(position);
        out.appends.extend(held);
    }

    /// The log writer has made `count` more appends durable.
    pub(super) fn written<W>(
        &mut self,
        count: usize,
        raft: &mut Raft<MemoryLog>,
        out: &mut Outputs<W>,
    ) {
        let writing = self.outstanding.iter_mut();
        let mut writing = writing.filter(|append| append.stage == Stage::Writing);
        for _ in 0..count {
            let first = writing.next();
            first.expect("an append that was not asked for").stage = Stage::Written;
        }
        self.complete(raft, out);
    }

    /// The state machine is that of the snapshot at `index`.
    pub(super) fn installed<W>(
        &mut self,
        index: Index,
        raft: &mut Raft<MemoryLog>,
        out: &mut Outputs<W>,
    ) {
        let front = self.outstanding.pop_front();
        let front = front.expect("the append of the snapshot is outstanding");
        let is_its = front.stage == Stage::Switching
            && front.snapshot.as_ref().map(Snapshot::index) == Some(index.get());
        assert!(is_its, "the state of entry {index} was not asked for");
        finish(front, raft, out);
        self.complete(raft, out);
    }

    /// Completes what is written, in order, up to a snapshot.
    fn complete<W>(&mut self, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
        while let Some(front) = self.outstanding.front_mut() {
            if front.stage != Stage::Written {
                return;
            }
            if let Some(snapshot) = &front.snapshot {
                front.stage = Stage::Switching;
                out.switch = Some(Index(snapshot.index()));
                return;
            }
            let front = self.outstanding.pop_front().expect("just seen");
            finish(front, raft, out);
        }
    }

    /// Looks how long the disk has been silent. Installing a snapshot may take its time.
    pub(super) fn tick<W>(
        &mut self,
        now_tick: u64,
        raft: &mut Raft<MemoryLog>,
        out: &mut Outputs<W>,
    ) {
        let front = self.outstanding.front();
        let oldest = front.filter(|append| append.snapshot.is_none());
        let age = oldest.map_or(0, |append| now_tick - append.since_tick);
        let alone = raft.tracker().configuration.is_sole_voter(raft.id());
        if age < self.election_ticks {
            if self.disk == Disk::Hangs {
                raft.disk_recovered();
                out.notices.push(Notice::DiskAnswers);
            }
            self.disk = Disk::Answers;
        } else if self.disk == Disk::Answers && !alone {
            self.disk = Disk::Slow;
            out.notices.push(Notice::DiskSlow { ticks: age });
            if let Some(to) = raft.best_transferee() {
                raft.transfer_leader(to);
            }
        } else if self.disk == Disk::Slow && age >= 2 * self.election_ticks && !alone {
            self.disk = Disk::Hangs;
            out.notices.push(Notice::DiskHangs { ticks: age });
            raft.disk_stalled();
        }
    }
}

fn finish<W>(append: Outstanding, raft: &mut Raft<MemoryLog>, out: &mut Outputs<W>) {
    let log = raft.log_mut();
    if let Some(snapshot) = append.snapshot
        && let Err(error) = log.apply_snapshot(snapshot)
    {
        unreachable!("a snapshot that the core has accepted: {error}")
    }
    log.append(append.entries);
    if let Some(state) = append.hard_state {
        log.set_hard_state(state);
    }
    raft.append_done(append.done);
    out.messages.extend(append.responses);
}
