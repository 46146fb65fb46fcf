//! The actor that does the store's work on files, one job at a time: flushes, which make the state
//! durable up to a cut, and rewrites, which give room back.
//!
//! A job works on an immutable view; the applier goes on meanwhile. Only when a flush is durable
//! may the log be truncated to its cut.

use tenet_base::disk::{Completion, DiskError, Storage, Token};
use tenet_state::State;
use tenet_store::{Done, Job, ReadError};
use tenet_wal::Position;

/// Work on the files of the store.
#[derive(Debug)]
pub struct StoreJob {
    /// Where the state stands that will be durable; `None` for a rewrite.
    position: Option<Position>,
    /// The state came as a snapshot, and the log does not know of it yet.
    received: bool,
    job: Job,
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
            job: state.flush(with_index),
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
            job: state.rewrite()?,
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
pub struct Kept {
    /// Where the state stands that is durable now, if it was a flush: the log may be truncated to
    /// there.
    pub position: Option<Position>,
    /// Where a state stands that came as a snapshot: for the consensus actor.
    pub received: Option<Position>,
    /// For the applier.
    pub done: Done,
}

/// Why the store cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A record that was to be copied cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Keeper {
    running: Option<(StoreJob, Token)>,
    next_token: u64,
    failed: bool,
}

impl Keeper {
    /// Begins a job.
    ///
    /// # Errors
    /// If the job cannot begin.
    ///
    /// # Panics
    /// If one is under way: the applier starts the next when it has heard of the last.
    pub fn start(&mut self, job: StoreJob, disk: &mut dyn Storage) -> Result<(), KeepError> {
        assert!(
            self.running.is_none(),
            "two jobs on the files of the store at once"
        );
        self.go_on(job, disk).map(|kept| {
            assert!(kept.is_none(), "a job without a single operation");
        })
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
        let (job, token) = self.running.take().expect("a completion without a job");
        assert!(
            token == completion.token,
            "completions of a job out of order"
        );
        if let Err(error) = completion.result {
            self.failed = true;
            return Err(error.into());
        }
        self.go_on(job, disk)
    }

    fn go_on(
        &mut self,
        mut job: StoreJob,
        disk: &mut dyn Storage,
    ) -> Result<Option<Kept>, KeepError> {
        let Some(ops) = job.job.step()? else {
            let (position, received) = match job.received {
                true => (None, job.position),
                false => (job.position, None),
            };
            return Ok(Some(Kept {
                position,
                received,
                done: job.job.finish(disk)?,
            }));
        };
        self.next_token += 1;
        let token = Token(self.next_token);
        self.running = Some((job, token));
        disk.submit(token, ops);
        Ok(None)
    }
}
