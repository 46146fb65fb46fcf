//! Why the store cannot read.

use tenet_base::disk::{DiskError, FilePath};

/// Why a record or a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes are not those that were written.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The file.
        path: FilePath,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The caller does not want to wait for the medium, and the bytes are not in memory.
    #[error("not in memory")]
    Cold,
}

impl ReadError {
    pub(crate) fn damaged(path: &FilePath, offset: u64, reason: impl Into<String>) -> ReadError {
        ReadError::Damaged {
            path: path.clone(),
            offset,
            reason: reason.into(),
        }
    }
}

/// Whether a reader may wait for the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// It may.
    Wait,
    /// It wants [`ReadError::Cold`] instead.
    Never,
}
