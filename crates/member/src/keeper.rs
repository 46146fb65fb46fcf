//! The actor that does the store's work on files, one job at a time: flushes, which make the state
//! durable up to a cut, rewrites, which give room back, and pieces of the scrub, which reads files
//! back. It also looks after the room of the file system.
//!
//! A job works on an immutable view; the applier goes on meanwhile. Only when a flush is durable
//! may the log be truncated to its cut. A job for which there is no space is given up with nothing
//! changed, and so is one that meets a record which cannot be read; the applier hands out the next
//! when it sees fit. Any other failure of a write or sync is final.

use crate::progress::Progress;
use crate::space::{Space, SpaceNews};
use std::sync::Arc;
use tenet_base::disk::{Completion, DiskError, DiskOp, FilePath, Storage, Token};
use tenet_state::State;
use tenet_store::{Done, Job, ReadError, ScrubStep, Scrubbed};
use tenet_wal::Position;

/// Work on the files of the store.
#[derive(Debug)]
pub struct StoreJob {
    /// Where the state stands that will be durable, if it is a flush.
    position: Option<Position>,
    /// The state came as a snapshot, and the log does not know of it yet.
    received: bool,
    work: Files,
}

#[derive(Debug)]
enum Files {
    Written(Box<Job>),
    Checked(ScrubStep),
}

impl StoreJob {
    /// A flush of the state as it is now.
    #[must_use]
    pub fn flush(state: &mut State, with_index: bool) -> StoreJob {
        let (index, term) = state.applied();
        let conf_state = Some(state.conf_state().clone());
        StoreJob {
            position: Some(Position {
                index,
                term,
                conf_state,
            }),
            received: false,
            work: Files::Written(Box::new(state.flush(with_index))),
        }
    }

    /// A flush of a state that came as a snapshot, in place of the files of `other`, which must have
    /// no job under way.
    #[must_use]
    pub fn install(state: &mut State, other: &State) -> StoreJob {
        state.supersede(other);
        StoreJob {
            received: true,
            ..StoreJob::flush(state, true)
        }
    }

    /// A rewrite, if there is anything to gain.
    #[must_use]
    pub fn rewrite(state: &mut State) -> Option<StoreJob> {
        Some(StoreJob {
            position: None,
            received: false,
            work: Files::Written(Box::new(state.rewrite()?)),
        })
    }

    /// The next piece of the scrub; `None` at the end of a pass.
    #[must_use]
    pub fn scrub(state: &mut State) -> Option<StoreJob> {
        Some(StoreJob {
            position: None,
            received: false,
            work: Files::Checked(state.scrub()?),
        })
    }

    /// Whether it only gives room back, so that it may be slow and may be given up.
    #[must_use]
    pub fn is_rewrite(&self) -> bool {
        self.position.is_none()
    }
}

/// What came of a job.
#[derive(Debug)]
pub enum Kept {
    /// It was done.
    Done {
        /// Where the state stands that is durable now, if it was a flush: the log may be truncated
        /// to there.
        position: Option<Position>,
        /// Where a state stands that came as a snapshot: for the consensus actor.
        received: Option<Position>,
        /// For the applier.
        done: Box<Done>,
    },
    /// It was given up: everything is as it was before.
    GivenUp(GivenUp),
    /// A piece of the scrub was done.
    Scrubbed(Scrubbed),
}

/// Why a job was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenUp {
    /// There was no space.
    #[error("there is no space: {0}")]
    NoSpace(DiskError),
    /// A record that was to be copied cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
}

/// Why the store cannot be kept: the process must end.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A record that was to be copied cannot be read, and it is too late to give up.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A flush or a rewrite.
#[derive(Debug)]
struct Writing {
    position: Option<Position>,
    received: bool,
    job: Box<Job>,
}

#[derive(Debug)]
enum Work {
    Job(Box<Writing>),
    /// A job's files are being removed.
    Undoing(GivenUp),
    Ballast,
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    space: Space,
    progress: Arc<Progress>,
    /// Where the log lives.
    log_dir: FilePath,
    store_dir: FilePath,
    /// What the disk works on, oldest first.
    running: Vec<(Token, Work)>,
    next_token: u64,
    failed: bool,
}

impl Keeper {
    pub(crate) fn new(
        space: Space,
        progress: Arc<Progress>,
        store_dir: FilePath,
        log_dir: FilePath,
    ) -> Self {
        Keeper {
            space,
            progress,
            log_dir,
            store_dir,
            running: Vec::new(),
            next_token: 0,
            failed: false,
        }
    }

    /// Begins a job. A piece of the scrub is done at once.
    ///
    /// # Errors
    /// If the job cannot begin.
    ///
    /// # Panics
    /// If one is under way: the applier starts the next when it has heard of the last.
    pub fn start(
        &mut self,
        job: StoreJob,
        disk: &mut dyn Storage,
    ) -> Result<Option<Kept>, KeepError> {
        let busy = |(_, work): &(Token, Work)| !matches!(work, Work::Ballast);
        assert!(
            !self.running.iter().any(busy),
            "two jobs on the files of the store at once"
        );
        let StoreJob {
            position,
            received,
            work,
        } = job;
        match work {
            Files::Written(job) => self.go_on(
                Box::new(Writing {
                    position,
                    received,
                    job,
                }),
                disk,
            ),
            Files::Checked(step) => Ok(Some(Kept::Scrubbed(step.run(disk)))),
        }
    }

    /// Bytes that the rewrite which is under way has read and written.
    #[must_use]
    pub fn rewritten_bytes(&self) -> u64 {
        let moved = |(_, work): &(Token, Work)| match work {
            Work::Job(writing) if writing.position.is_none() => writing.job.moved_bytes(),
            _ => 0,
        };
        self.running.iter().map(moved).sum()
    }

    /// The disk has finished a piece; gives what came of the job once it is done.
    ///
    /// # Errors
    /// If the disk failed or a file is damaged; the caller must end the process.
    pub fn completed(
        &mut self,
        completion: Completion,
        disk: &mut dyn Storage,
    ) -> Result<Option<Kept>, KeepError> {
        if self.failed {
            return Ok(None);
        }
        assert!(!self.running.is_empty(), "a completion without a job");
        let (token, work) = self.running.remove(0);
        assert!(
            token == completion.token,
            "completions of a job out of order"
        );
        match (work, completion.result) {
            (Work::Job(writing), Ok(())) => self.go_on(writing, disk),
            (Work::Job(writing), Err(error)) if error.no_space => {
                // A rewrite can wait, unless it is to give back what is missing.
                if writing.position.is_some() || self.progress.is_space_low() {
                    self.ran_out(disk);
                }
                self.give_up(
                    &writing,
                    GivenUp::NoSpace(error.clone()),
                    error.into(),
                    disk,
                )?;
                Ok(None)
            }
            (Work::Undoing(why), Ok(())) => Ok(Some(Kept::GivenUp(why))),
            (Work::Ballast, result) => {
                // Room for nothing: that there is none is no failure.
                if result.is_err() {
                    self.space.not_made();
                }
                Ok(None)
            }
            (Work::Job(_) | Work::Undoing(_), Err(error)) => {
                self.failed = true;
                Err(error.into())
            }
        }
    }

    /// Looks how much room there is, and makes the ballast if it can be. To be called about every
    /// [`SPACE_LOOK_MS`](tenet_base::limits::SPACE_LOOK_MS).
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn look(&mut self, disk: &mut dyn Storage) -> Result<SpaceNews, DiskError> {
        let (store, log) = (disk.room(&self.store_dir)?, disk.room(&self.log_dir)?);
        let (ops, news) = self.space.look(store, log);
        self.move_ballast(ops, disk);
        self.progress.set_space_low(news.low);
        Ok(news)
    }

    /// The log writer has found no space. Says whether there is some now, that of the ballast.
    pub fn ran_out(&mut self, disk: &mut dyn Storage) -> bool {
        let ops = self.space.ran_out();
        let had_ballast = !ops.is_empty();
        self.move_ballast(ops, disk);
        had_ballast
    }

    fn move_ballast(&mut self, ops: Vec<DiskOp>, disk: &mut dyn Storage) {
        if !ops.is_empty() {
            self.submit(Work::Ballast, ops, disk);
        }
    }

    fn go_on(
        &mut self,
        mut writing: Box<Writing>,
        disk: &mut dyn Storage,
    ) -> Result<Option<Kept>, KeepError> {
        match writing.job.step() {
            Ok(Some(ops)) => self.submit(Work::Job(writing), ops, disk),
            Ok(None) => {
                let Writing {
                    position,
                    received,
                    job,
                } = *writing;
                let done = Box::new(job.finish(disk)?);
                self.space.set_side_bytes(done.side_bytes());
                let (position, received) = match received {
                    true => (None, position),
                    false => (position, None),
                };
                return Ok(Some(Kept::Done {
                    position,
                    received,
                    done,
                }));
            }
            Err(error) => self.give_up(&writing, error.clone().into(), error.into(), disk)?,
        }
        Ok(None)
    }

    fn give_up(
        &mut self,
        writing: &Writing,
        why: GivenUp,
        too_late: KeepError,
        disk: &mut dyn Storage,
    ) -> Result<(), KeepError> {
        let Some(ops) = writing.job.give_up() else {
            self.failed = true;
            return Err(too_late);
        };
        self.submit(Work::Undoing(why), ops, disk);
        Ok(())
    }

    fn submit(&mut self, work: Work, ops: Vec<DiskOp>, disk: &mut dyn Storage) {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.running.push((token, work));
        disk.submit(token, ops);
    }
}
