//! What can be wrong with a log, in words for the person who has to decide.

use tenet_base::disk::{DiskError, FilePath};
use tenet_base::{Index, Term};

/// Why a log cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),

    /// There is no segment at all.
    #[error("{dir} holds no log segment: check the directory's name, or start with an empty one")]
    NoSegments {
        /// The log's directory.
        dir: FilePath,
    },

    /// A segment between others is gone.
    #[error(
        "log segment number {seq} is missing from {dir}, although later ones are there: \
         put the file back, or {advice}", advice = REPLACE)]
    SegmentMissing {
        /// The log's directory.
        dir: FilePath,
        /// Which one.
        seq: u64,
    },

    /// The log begins too late for the store.
    #[error(
        "the log in {dir} begins after index {begins_after}, but the store has applied only up to \
         {applied}: the store is older than the log or was lost; put it back, or {advice}", advice = REPLACE)]
    BeginsAfter {
        /// The log's directory.
        dir: FilePath,
        /// What the store has applied.
        applied: Index,
        /// The index before the first that the log holds.
        begins_after: Index,
    },

    /// The log ends before what the store has applied, although that was durable in it.
    #[error(
        "the log in {dir} ends at index {last}, but the store has applied up to {applied}: \
         synced entries were lost ({cut}); put the log back, or {advice}", advice = REPLACE)]
    EndsBefore {
        /// The log's directory.
        dir: FilePath,
        /// What the store has applied.
        applied: Index,
        /// The last index of the log.
        last: Index,
        /// What is wrong with the log's end.
        cut: String,
    },

    /// The log and the store do not belong together.
    #[error(
        "index {index} has term {in_log} in the log and term {in_store} in the store: \
         they are not of one history; put the right one back, or {advice}", advice = REPLACE)]
    TermMismatch {
        /// What the store has applied.
        index: Index,
        /// The term there in the log.
        in_log: Term,
        /// The term there in the store.
        in_store: Term,
    },

    /// Damage that no power loss explains, or that took what was synced.
    #[error("{file} is damaged at offset {offset}: {reason}; put a good copy back, or {advice}", advice = REPLACE)]
    Damaged {
        /// The segment.
        file: FilePath,
        /// Where the first record that cannot be used begins.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },

    /// No snapshot record is valid, so it is not known where the log begins.
    #[error("the log in {dir} has no valid snapshot record: it was never finished, or {advice}", advice = REPLACE)]
    NoPosition {
        /// The log's directory.
        dir: FilePath,
    },

    /// The snapshot record that was asked for is not there.
    #[error("the log in {dir} has no valid snapshot record at index {index} and term {term}")]
    PositionNotFound {
        /// The log's directory.
        dir: FilePath,
        /// The index asked for.
        index: Index,
        /// The term asked for.
        term: Term,
    },

    /// Entries were asked for that the log does not hold.
    #[error("entries {lo} to {hi} are not in the log, which holds {first} to {last}")]
    NotHeld {
        /// The first that was asked for.
        lo: Index,
        /// One after the last that was asked for.
        hi: Index,
        /// The first that is there.
        first: Index,
        /// The last that is there.
        last: Index,
    },
}

/// The way out that always works.
const REPLACE: &str = "remove this member from the cluster and add it again with an empty data \
                       directory (a cluster of one: restore a snapshot)";
