//! The disk, as pure code sees it.
//!
//! Writing is completion-based: the caller submits an ordered list of operations under a token
//! and goes on; later a [`Completion`] with that token comes in as a message. Operations of one
//! submission are done in order and stop at the first failure; submissions of one caller are done
//! in the order of submission. So a simulated disk can be slow, hang, lose un-synced sectors and
//! interleave with everything else, and the real one can run on a thread of its own.
//!
//! Reading is synchronous. At start-up and in background work it goes by name, through
//! [`DiskView`]; what serves readers is an open file, a [`FileReader`], which can also be asked for
//! what the system has in memory only, so that a thread that must not wait does not.
//!
//! What a caller may assume of the medium: bytes survive power loss once a [`DiskOp::SyncData`] of
//! their file completed after they were written; a created, renamed or removed name survives once
//! a [`DiskOp::SyncDir`] of its directory completed; nothing else survives for certain, and
//! un-synced writes may survive in part and in any order, by 512-byte sector.
//!
//! A failed write or sync is final: the caller must stop acknowledging and end the process, since
//! the kernel may have dropped the dirty pages ("Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020). The one exception is a lack of space ([`DiskError::no_space`]) on the way of a
//! file that nothing durable names yet: such a file may be thrown away, and another be made later.

use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// A file or directory, relative to the root that the disk was opened at, with `/` between parts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Arc<str>);

impl FilePath {
    /// A path from its text.
    ///
    /// # Panics
    /// If it is absolute or leaves the root: paths are made by our code, never by input.
    #[must_use]
    pub fn new(path: &str) -> Self {
        assert!(
            !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
            "path {path:?} leaves the root of the disk"
        );
        FilePath(Arc::from(path))
    }

    /// The entry `name` in this directory. The root directory is the empty path.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self::new(name)
        } else {
            Self::new(&format!("{}/{name}", self.0))
        }
    }

    /// The directory that holds this entry; the root for a path of one part.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            Some(at) => FilePath(Arc::from(&self.0[..at])),
            None => FilePath(Arc::from("")),
        }
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rfind('/').map_or(&*self.0, |at| &self.0[at + 1..])
    }

    /// The whole path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// One operation on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Creates a directory, readable by its owner only. Done if it exists.
    CreateDir {
        /// The directory.
        path: FilePath,
    },
    /// Creates an empty file, or empties an existing one, and reserves `reserve_bytes` for it as
    /// zeros (its length becomes that). If there is no space for them, no file is left.
    Create {
        /// The file.
        path: FilePath,
        /// Its length afterwards.
        reserve_bytes: u64,
    },
    /// Writes `data` at `offset`, growing the file if need be.
    Write {
        /// The file, which must exist.
        path: FilePath,
        /// Where the first byte goes.
        offset: u64,
        /// What is written.
        data: Bytes,
    },
    /// Sets the length; what is new reads as zeros.
    SetLen {
        /// The file, which must exist.
        path: FilePath,
        /// The length afterwards.
        len: u64,
    },
    /// Makes the contents and length durable (`fdatasync`).
    SyncData {
        /// The file.
        path: FilePath,
    },
    /// Makes the names in a directory durable.
    SyncDir {
        /// The directory.
        path: FilePath,
    },
    /// Renames a file or directory, replacing a file that has the new name.
    Rename {
        /// The old name.
        from: FilePath,
        /// The new name.
        to: FilePath,
    },
    /// Removes a file. Done if it is not there.
    Remove {
        /// The file.
        path: FilePath,
    },
    /// Removes a directory and all in it. Done if it is not there.
    RemoveDir {
        /// The directory.
        path: FilePath,
    },
    /// Takes etcd's lock on an open WAL segment (an open-file-description write lock over the
    /// whole file), held until [`DiskOp::Close`] or the end of the process. Fails if another
    /// holder exists.
    Lock {
        /// The file, which must exist.
        path: FilePath,
    },
    /// Lets go of a file that will not be written again, and of its lock.
    Close {
        /// The file.
        path: FilePath,
    },
}

/// Names a submission; unique per caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {reason}")]
pub struct DiskError {
    /// What was tried, as a verb ("write", "sync").
    pub operation: &'static str,
    /// On what.
    pub path: FilePath,
    /// What the system said.
    pub reason: String,
    /// Whether there was no space left, which callers may treat apart from damage.
    pub no_space: bool,
}

impl DiskError {
    /// The error for a file that ends before what is to be read.
    #[must_use]
    pub fn short_read(path: &FilePath, offset: u64, len: usize) -> Self {
        DiskError {
            operation: "read",
            path: path.clone(),
            reason: format!("it ends before byte {}", offset + len as u64),
            no_space: false,
        }
    }
}

/// The end of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The submission's token.
    pub token: Token,
    /// Whether all of its operations were done.
    pub result: Result<(), DiskError>,
}

/// Where operations are submitted. Never blocks; the completion comes in as a message.
pub trait Disk {
    /// Queues `ops` to be done in order after all earlier submissions.
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>);
}

/// How much room there is where a file lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can still be taken.
    pub free_bytes: u64,
    /// Bytes that there are altogether.
    pub capacity_bytes: u64,
}

impl Room {
    /// That of a disk which is never full.
    pub const ENDLESS: Room = Room {
        free_bytes: u64::MAX,
        capacity_bytes: u64::MAX,
    };
}

/// Synchronous reading.
pub trait DiskView {
    /// The names in a directory, sorted; `None` if it does not exist.
    ///
    /// # Errors
    /// If the directory is there but cannot be read.
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError>;

    /// The length of a file in bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// If the system cannot tell.
    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError>;

    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// If the file is not there or cannot be read.
    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError>;

    /// Opens a file that is not written any more. What was opened can be read until it is
    /// dropped, even if the name is removed meanwhile.
    ///
    /// # Errors
    /// If the file is not there or cannot be opened.
    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError>;

    /// As [`DiskView::read_at`], but from the medium, past what the system has in memory, where
    /// it can; `len` bytes are not kept in memory for it.
    ///
    /// # Errors
    /// As [`DiskView::read_at`].
    fn read_medium(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.read_at(path, offset, len)
    }

    /// How much room there is where `path` lives, or would live.
    ///
    /// # Errors
    /// If the system cannot tell.
    fn room(&self, path: &FilePath) -> Result<Room, DiskError> {
        let _ = path;
        Ok(Room::ENDLESS)
    }
}

/// An open file that many threads may read at once.
pub trait FileReader: Send + Sync + fmt::Debug {
    /// Exactly `len` bytes from `offset`, however long the medium takes.
    ///
    /// # Errors
    /// If they cannot be read, or the file ends before.
    fn read(&self, offset: u64, len: usize) -> Result<Bytes, DiskError>;

    /// As [`FileReader::read`], but `None` if the system does not have all of it in memory.
    ///
    /// # Errors
    /// As [`FileReader::read`].
    fn read_cached(&self, offset: u64, len: usize) -> Result<Option<Bytes>, DiskError>;
}

/// A disk that is written and read.
pub trait Storage: Disk + DiskView {}

impl<T: Disk + DiskView> Storage for T {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_join_and_part() {
        let root = FilePath::new("");
        let file = root.join("member").join("wal").join("0.wal");
        assert_eq!(file.as_str(), "member/wal/0.wal");
        assert_eq!(file.name(), "0.wal");
        assert_eq!(file.parent().as_str(), "member/wal");
        assert_eq!(FilePath::new("member").parent(), root);
    }
}
