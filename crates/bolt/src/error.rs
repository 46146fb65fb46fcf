//! What can be wrong with a file that is read or with a stream that is written.

use crate::read::SourceError;

/// Why a file cannot be read. Offsets count from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoltError {
    /// Neither of the two meta pages is one.
    #[error(
        "no bbolt database: neither of its two meta pages has the magic number, version 2 and a matching checksum"
    )]
    NotADatabase,
    /// The file is shorter than its own meta page says.
    #[error(
        "the file ends at byte {len_bytes}, but its pages reach to byte {needed_bytes}: it was not copied whole"
    )]
    Truncated {
        /// What is there.
        len_bytes: u64,
        /// What the meta page names.
        needed_bytes: u64,
    },
    /// Something is not what the format has there.
    #[error("damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where it was seen.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The bytes could not be had.
    #[error("cannot read byte {offset}: {error}")]
    Source {
        /// The first byte that was asked for.
        offset: u64,
        /// Why.
        error: SourceError,
    },
}

impl BoltError {
    pub(crate) fn damaged(offset: u64, reason: impl Into<String>) -> Self {
        BoltError::Damaged {
            offset,
            reason: reason.into(),
        }
    }
}

/// Why a stream cannot become a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A key is not above the one before it.
    #[error("key {key} does not follow {before}: keys must come in ascending order, each once")]
    Order {
        /// The key, escaped.
        key: String,
        /// The one before it, escaped.
        before: String,
    },
    /// A key or a value has a length that the format cannot hold.
    #[error("{what} of {len_bytes} bytes, where bbolt allows {allowed}")]
    Length {
        /// "key" or "value".
        what: &'static str,
        /// Its length.
        len_bytes: usize,
        /// The lengths that are allowed.
        allowed: &'static str,
    },
    /// An entry came before any bucket.
    #[error("an entry outside of any bucket")]
    NoBucket,
    /// The second pass is not the stream that was planned.
    #[error("the stream is not the one that was planned: {pages} pages where {planned} were due")]
    Unplanned {
        /// Pages so far.
        pages: u64,
        /// Pages of the plan.
        planned: u64,
    },
}
