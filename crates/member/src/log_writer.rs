//! The log writer actor: makes appends durable, in order, one write and one sync for all that
//! wait.
//!
//! While the disk works on one batch the next one forms here. A batch ends with a hard-state
//! record and the next is written only after its sync, so a torn tail can only be one batch. A
//! commit index that moved alone does not come here: it is written with the next batch.
//!
//! The next segment of the log is prepared before it is needed. If there is no space for it, a
//! smaller one is tried, then the actor says so and goes on with what is reserved; once that is
//! used up, appends wait for space with nothing half written, and nothing is acknowledged.
//!
//! Invariant: an append is reported done only after the completion of a submission that held all
//! its bytes and a sync behind them. A failed write or sync is final: the actor reports it and
//! never submits again.

use crate::messages::LogAppend;
use crate::progress::Progress;
use std::collections::VecDeque;
use std::sync::Arc;
use tenet_base::disk::{Completion, Disk, DiskError, DiskOp, Token};
use tenet_base::{Index, limits};
use tenet_proto::raftpb::{Entry, HardState};
use tenet_wal::{Position, Preparation, WalWriter};

/// What the log writer reacts to.
#[derive(Debug)]
pub enum LogInput {
    /// Entries and state from the consensus actor.
    Append(LogAppend),
    /// The disk has finished a submission.
    Completed(Completion),
    /// There may be space again for the next segment. `low` says that there is little of it, so
    /// that nothing of the log is kept that the store holds.
    Room {
        /// Whether there is little.
        low: bool,
    },
    /// The store is durable at this position: record it, and release what is older than
    /// `release_through`.
    Truncate {
        /// Where the store stands.
        position: Position,
        /// Segments wholly at or below this index may go.
        release_through: Index,
    },
}

/// What the log writer wants done.
#[derive(Debug, Default)]
pub struct LogOutputs {
    /// For the consensus actor: this many more appends are durable.
    pub done: usize,
    /// There is no space for the next segment.
    pub no_space: bool,
    /// The disk failed: the process must end, and nothing may be acknowledged any more.
    pub fatal: Option<DiskError>,
}

/// What the disk works on.
#[derive(Debug)]
struct InFlight {
    token: Token,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Batch {
        /// How many appends it holds.
        appends: usize,
        /// The last index in the log once the batch is durable, if it has entries.
        last_index: Option<Index>,
    },
    /// The next segment, at the given part of the usual size.
    Preparation(Preparation, u64),
}

/// The smallest part of the usual size of a segment that is tried when space is short.
const SEGMENT_PARTS_MAX: u64 = 64;
/// The part that is tried first then.
const SEGMENT_PARTS_LOW: u64 = 8;

/// See the module.
#[derive(Debug)]
pub struct LogWriter {
    wal: WalWriter,
    progress: Arc<Progress>,
    waiting: VecDeque<LogAppend>,
    /// What is written next.
    batch: Batch,
    truncation: Option<(Position, Index)>,
    in_flight: Option<InFlight>,
    next_token: u64,
    failed: bool,
    /// How many segments are kept at least.
    keep_segments: usize,
    /// The part of the usual size at which the next segment is prepared.
    smaller: u64,
    /// There was no space for the next segment when it was last tried.
    no_space: bool,
    /// There is little space.
    low: bool,
}

impl LogWriter {
    /// An actor over an open log, of which at least `keep_segments` are kept.
    pub fn new(wal: WalWriter, progress: Arc<Progress>, keep_segments: usize) -> Self {
        LogWriter {
            wal,
            progress,
            waiting: VecDeque::new(),
            batch: Batch::default(),
            truncation: None,
            in_flight: None,
            next_token: 0,
            failed: false,
            keep_segments,
            smaller: 1,
            no_space: false,
            low: false,
        }
    }

    /// Takes a batch of inputs (leaving it empty), submits what can be submitted to `disk` and
    /// appends to `out` what is done.
    pub fn handle(
        &mut self,
        inputs: &mut Vec<LogInput>,
        disk: &mut dyn Disk,
        out: &mut LogOutputs,
    ) {
        for input in inputs.drain(..) {
            match input {
                LogInput::Append(append) => self.waiting.push_back(append),
                LogInput::Completed(completion) => self.on_completion(completion, out),
                LogInput::Room { low } => {
                    self.no_space = false;
                    self.low = low;
                }
                LogInput::Truncate {
                    position,
                    release_through,
                } => {
                    self.truncation = Some((position, release_through));
                }
            }
        }
        if !self.failed && self.in_flight.is_none() {
            self.submit(disk);
        }
        self.progress
            .set_log_waiting(self.no_space && self.in_flight.is_none() && self.has_work());
    }

    fn has_work(&self) -> bool {
        self.batch.appends > 0 || !self.waiting.is_empty()
    }

    /// The last operations of a clean stop: the commit index, which a restart is then spared to
    /// find out.
    pub fn close(&mut self) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        // Appends that wait for space were acknowledged to nobody.
        if !self.failed && self.in_flight.is_none() && self.batch.appends == 0 {
            self.wal.flush(&mut ops);
        }
        ops
    }

    /// Whether the disk has work of this actor.
    pub fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    fn on_completion(&mut self, completion: Completion, out: &mut LogOutputs) {
        let in_flight = self
            .in_flight
            .take()
            .expect("a completion without a submission");
        assert!(
            in_flight.token == completion.token,
            "completion of {:?} while {:?} is in flight",
            completion.token,
            in_flight.token
        );
        match (completion.result, in_flight.work) {
            (
                Ok(()),
                Work::Batch {
                    appends,
                    last_index,
                },
            ) => {
                if let Some(last) = last_index {
                    self.progress.set_durable(last);
                }
                out.done += appends;
            }
            (Ok(()), Work::Preparation(preparation, _)) => {
                self.wal.prepared(preparation);
                self.smaller = 1;
            }
            // Of a segment that nothing is in yet nothing is lost.
            (Err(error), Work::Preparation(_, part)) if error.no_space => {
                self.smaller = part * 2;
                if self.smaller > SEGMENT_PARTS_MAX {
                    self.smaller = 1;
                    self.no_space = true;
                    out.no_space = true;
                }
            }
            (Err(error), _) => {
                // What the kernel holds of the file is unknown from here on.
                self.failed = true;
                out.fatal = Some(error);
            }
        }
    }

    fn submit(&mut self, disk: &mut dyn Disk) {
        if self.batch.appends == 0 {
            self.batch = self.collect();
        }
        let mut bytes = tenet_wal::batch_bytes(&self.batch.entries);
        let truncation = self.truncation.as_ref().map(|(position, _)| position);
        for position in self.batch.position.iter().chain(truncation) {
            bytes += tenet_wal::position_bytes(position);
        }
        let work = self.batch.appends > 0 || self.truncation.is_some();
        let must_prepare = work && !self.wal.has_room(bytes);
        let early = self.gives_up_last() && !self.wal.has_next();
        if !self.no_space && (must_prepare || early || self.wal.wants_next()) {
            let part = self
                .smaller
                .max(if self.low { SEGMENT_PARTS_LOW } else { 1 });
            let (preparation, create) = self.wal.prepare(bytes, part);
            self.begin(Work::Preparation(preparation, part), vec![create], disk);
        } else if work && !must_prepare {
            self.write(disk);
        }
    }

    /// Whether the last segment is to be ended early, so that it can be released: all that is in
    /// it is in the store, and there is little space.
    fn gives_up_last(&self) -> bool {
        self.low && self.truncation.is_some() && self.wal.can_begin_next()
    }

    fn write(&mut self, disk: &mut dyn Disk) {
        let mut ops = Vec::new();
        if self.gives_up_last() {
            self.wal.begin_next(&mut ops);
        }
        let batch = std::mem::take(&mut self.batch);
        if let Some(position) = &batch.position {
            self.wal.save_position(position, &mut ops);
            self.wal
                .save(batch.hard_state.as_ref(), &batch.entries, &mut ops);
        } else if batch.appends > 0 {
            let synced = self
                .wal
                .save(batch.hard_state.as_ref(), &batch.entries, &mut ops);
            assert!(
                synced,
                "a batch that must be durable would be written without a sync"
            );
        }
        if let Some((position, release_through)) = self.truncation.take() {
            self.wal.save_position(&position, &mut ops);
            let (release_through, keep) = if self.low {
                (position.index, 1)
            } else {
                (release_through, self.keep_segments)
            };
            self.wal.release(release_through, keep, &mut ops);
        }
        let position = batch.position.as_ref().map(|position| position.index);
        let work = Work::Batch {
            appends: batch.appends,
            last_index: batch.entries.last().map(Entry::index).or(position),
        };
        self.begin(work, ops, disk);
    }

    fn begin(&mut self, work: Work, ops: Vec<DiskOp>, disk: &mut dyn Disk) {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.in_flight = Some(InFlight { token, work });
        disk.submit(token, ops);
    }

    /// Moves waiting appends into one batch, up to a size. Appends follow each other in the log,
    /// except where a new leader overwrites, which starts a batch of its own, and where a snapshot
    /// takes the place of the log, which is one by itself.
    fn collect(&mut self) -> Batch {
        let mut batch = Batch::default();
        while let Some(append) = self.waiting.front_mut() {
            if append.position.is_some() {
                if batch.appends == 0 {
                    let append = self.waiting.pop_front().expect("front was there");
                    return Batch::of(append);
                }
                break;
            }
            let contiguous = match (batch.entries.last(), append.entries.first()) {
                (Some(last), Some(first)) => first.index() == last.index().next(),
                _ => true,
            };
            if !contiguous || batch.bytes >= limits::LOG_BATCH_BYTES_MAX {
                break;
            }
            batch.hard_state = Some(append.hard_state);
            batch.bytes += append
                .entries
                .iter()
                .map(|entry| entry.data.len())
                .sum::<usize>();
            batch.appends += 1;
            if batch.entries.is_empty() {
                batch.entries = std::mem::take(&mut append.entries);
            } else {
                batch.entries.append(&mut append.entries);
            }
            self.waiting.pop_front();
        }
        batch
    }
}

#[derive(Debug, Default)]
struct Batch {
    /// A snapshot record, to be written first.
    position: Option<Position>,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    bytes: usize,
    appends: usize,
}

impl Batch {
    fn of(append: LogAppend) -> Batch {
        let LogAppend {
            position,
            hard_state,
            entries,
        } = append;
        Batch {
            position,
            hard_state: Some(hard_state),
            bytes: entries.iter().map(|entry| entry.data.len()).sum(),
            entries,
            appends: 1,
        }
    }
}
