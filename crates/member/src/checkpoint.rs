//! Writing a checkpoint of the whole state, a piece at a time.
//!
//! A job holds an immutable view of the state at its applied index; the applier goes on meanwhile.
//! The file is written under a temporary name, synced, renamed and the directory synced, so a file
//! with a final name is whole. Only then may the log be truncated to it and the older file go.
//!
//! File names are `<term:016x>-<index:016x>.checkpoint`, so the newest sorts last within a term
//! and no two positions share a name.

use std::fmt;
use tenet_base::disk::{Completion, Disk, DiskError, DiskOp, FilePath, Token};
use tenet_base::{Index, Term};
use tenet_state::{Checkpoint, State};
use tenet_wal::Position;

/// The ending of a whole checkpoint's name.
const SUFFIX: &str = ".checkpoint";
/// The name under which one is written.
const TEMPORARY: &str = "checkpoint.tmp";

/// A checkpoint to be written.
pub struct CheckpointJob {
    position: Position,
    chunks: Checkpoint,
}

impl fmt::Debug for CheckpointJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointJob")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl CheckpointJob {
    /// A job for the state as it is now.
    #[must_use]
    pub fn new(state: &mut State) -> Self {
        let (index, term) = state.applied();
        let position = Position {
            index,
            term,
            conf_state: Some(state.conf_state().clone()),
        };
        CheckpointJob {
            position,
            chunks: state.checkpoint(),
        }
    }
}

/// A checkpoint that is durable.
#[derive(Debug)]
pub struct Durable {
    /// Where the state stood.
    pub position: Position,
    /// The length of the file.
    pub bytes: u64,
}

/// The actor that writes checkpoints, one at a time.
#[derive(Debug)]
pub struct Checkpointer {
    dir: FilePath,
    /// The newest whole checkpoint, to be removed when the next one is durable.
    previous: Option<FilePath>,
    running: Option<Running>,
    next_token: u64,
    failed: bool,
}

#[derive(Debug)]
struct Running {
    job: CheckpointJob,
    token: Token,
    offset: u64,
    finished: bool,
}

impl Checkpointer {
    /// An actor that writes into `dir`, where `previous` is the newest checkpoint.
    #[must_use]
    pub fn new(dir: FilePath, previous: Option<FilePath>) -> Self {
        Checkpointer {
            dir,
            previous,
            running: None,
            next_token: 0,
            failed: false,
        }
    }

    /// Begins a checkpoint.
    ///
    /// # Panics
    /// If one is being written: the applier starts the next when it has heard of the last.
    pub fn start(&mut self, job: CheckpointJob, disk: &mut dyn Disk) {
        assert!(
            self.running.is_none(),
            "two checkpoints would be written at once"
        );
        let create = DiskOp::Create {
            path: self.temporary(),
            reserve_bytes: 0,
        };
        let token = self.token();
        self.running = Some(Running {
            job,
            token,
            offset: 0,
            finished: false,
        });
        disk.submit(token, vec![create]);
    }

    /// The disk has finished a piece; gives the checkpoint once it is durable.
    ///
    /// # Errors
    /// If the disk failed; the caller must end the process.
    pub fn completed(
        &mut self,
        completion: Completion,
        disk: &mut dyn Disk,
    ) -> Result<Option<Durable>, DiskError> {
        if self.failed {
            return Ok(None);
        }
        let running = self
            .running
            .as_ref()
            .expect("a completion without a checkpoint");
        assert!(
            running.token == completion.token,
            "completions of a checkpoint out of order"
        );
        if let Err(error) = completion.result {
            self.failed = true;
            return Err(error);
        }
        if running.finished {
            return Ok(Some(self.finish()));
        }
        self.write_next(disk);
        Ok(None)
    }

    fn write_next(&mut self, disk: &mut dyn Disk) {
        let token = self.token();
        let temporary = self.temporary();
        let mut running = self.running.take().expect("a checkpoint is being written");
        running.token = token;
        let ops = match running.job.chunks.next() {
            Some(data) => {
                let offset = running.offset;
                running.offset += data.len() as u64;
                vec![DiskOp::Write {
                    path: temporary,
                    offset,
                    data,
                }]
            }
            None => {
                running.finished = true;
                self.seal(temporary, &running.job.position)
            }
        };
        self.running = Some(running);
        disk.submit(token, ops);
    }

    /// The older file goes only after the new name is durable. The log may still reach back to it,
    /// which is fine: the log is truncated later.
    fn seal(&mut self, temporary: FilePath, position: &Position) -> Vec<DiskOp> {
        let path = self.dir.join(&file_name(position.index, position.term));
        let mut ops = vec![
            DiskOp::SyncData {
                path: temporary.clone(),
            },
            DiskOp::Close {
                path: temporary.clone(),
            },
            DiskOp::Rename {
                from: temporary,
                to: path.clone(),
            },
            DiskOp::SyncDir {
                path: self.dir.clone(),
            },
        ];
        let old = self.previous.replace(path.clone());
        if let Some(old) = old.filter(|old| *old != path) {
            ops.push(DiskOp::Remove { path: old });
        }
        ops
    }

    fn finish(&mut self) -> Durable {
        let running = self.running.take().expect("a checkpoint is being written");
        Durable {
            position: running.job.position,
            bytes: running.offset,
        }
    }

    fn temporary(&self) -> FilePath {
        self.dir.join(TEMPORARY)
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }
}

/// The name of a checkpoint taken at a position.
#[must_use]
pub(crate) fn file_name(index: Index, term: Term) -> String {
    format!("{:016x}-{:016x}{SUFFIX}", term.get(), index.get())
}

/// The position in a checkpoint's name, if it is one.
#[must_use]
pub(crate) fn parse_name(name: &str) -> Option<(Index, Term)> {
    let (term, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |text: &str| {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits {
            u64::from_str_radix(text, 16).ok()
        } else {
            None
        }
    };
    Some((Index(number(index)?), Term(number(term)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not() {
        let name = file_name(Index(0x1234), Term(7));
        assert_eq!(name, "0000000000000007-0000000000001234.checkpoint");
        assert_eq!(parse_name(&name), Some((Index(0x1234), Term(7))));
        for other in [
            "checkpoint.tmp",
            "1-2.checkpoint",
            "+000000000000007-0000000000001234.checkpoint",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
