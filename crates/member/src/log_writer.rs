//! The log writer actor: makes appends durable, in order, one write and one sync for all that
//! wait.
//!
//! While the disk works on one batch the next one forms here. A batch ends with a hard-state
//! record and the next is written only after its sync, so a torn tail can only be one batch. A
//! commit index that moved alone does not come here: it is written with the next batch.
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
use tenet_wal::{Position, WalWriter};

/// What the log writer reacts to.
#[derive(Debug)]
pub enum LogInput {
    /// Entries and state from the consensus actor.
    Append(LogAppend),
    /// The disk has finished a submission.
    Completed(Completion),
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
    /// The disk failed: the process must end, and nothing may be acknowledged any more.
    pub fatal: Option<DiskError>,
}

/// A batch that the disk works on.
#[derive(Debug)]
struct InFlight {
    token: Token,
    /// How many appends it holds.
    appends: usize,
    /// The last index in the log once the batch is durable, if it has entries.
    last_index: Option<Index>,
}

/// See the module.
#[derive(Debug)]
pub struct LogWriter {
    wal: WalWriter,
    progress: Arc<Progress>,
    waiting: VecDeque<LogAppend>,
    truncation: Option<(Position, Index)>,
    in_flight: Option<InFlight>,
    next_token: u64,
    failed: bool,
    /// How many segments are kept at least.
    keep_segments: usize,
}

impl LogWriter {
    /// An actor over an open log, of which at least `keep_segments` are kept.
    pub fn new(wal: WalWriter, progress: Arc<Progress>, keep_segments: usize) -> Self {
        LogWriter {
            wal,
            progress,
            waiting: VecDeque::new(),
            truncation: None,
            in_flight: None,
            next_token: 0,
            failed: false,
            keep_segments,
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
    }

    /// The last operations of a clean stop: the commit index, which a restart is then spared to
    /// find out.
    pub fn close(&mut self) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        if !self.failed && self.in_flight.is_none() {
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
        match completion.result {
            Ok(()) => {
                if let Some(last) = in_flight.last_index {
                    self.progress.set_durable(last);
                }
                out.done += in_flight.appends;
            }
            Err(error) => {
                // What the kernel holds of the file is unknown from here on.
                self.failed = true;
                out.fatal = Some(error);
            }
        }
    }

    fn submit(&mut self, disk: &mut dyn Disk) {
        let batch = self.collect();
        let mut ops = Vec::new();
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
            self.wal
                .release(release_through, self.keep_segments, &mut ops);
        }
        if ops.is_empty() {
            return;
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        let position = batch.position.as_ref().map(|position| position.index);
        let last_index = batch.entries.last().map(Entry::index).or(position);
        self.in_flight = Some(InFlight {
            token,
            appends: batch.appends,
            last_index,
        });
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
