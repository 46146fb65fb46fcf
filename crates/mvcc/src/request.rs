//! What readers ask and what they get, apart from how it is found.

use tenet_base::Revision;
use tenet_proto::mvccpb::KeyValue;
use tenet_store::ReadError;

/// The answer to a range: etcd's `RangeResponse` without the header.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResult {
    /// The keys found, in the order that was asked for, at most `limit`.
    pub kvs: Vec<KeyValue>,
    /// Whether more keys matched than `limit`.
    pub more: bool,
    /// Keys in the range at that revision, whatever the limit and the revision filters.
    pub count: i64,
}

/// Why a revision cannot be read or compacted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MvccError {
    /// The revision lies below the compact revision.
    #[error("mvcc: required revision has been compacted")]
    Compacted,
    /// The revision does not exist yet.
    #[error("mvcc: required revision is a future revision")]
    FutureRevision,
    /// The store cannot give a value.
    #[error(transparent)]
    Read(Box<ReadError>),
}

impl MvccError {
    /// Whether the same question would be answered if its asker waited for the medium.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        matches!(self, MvccError::Read(error) if **error == ReadError::Cold)
    }
}

impl From<ReadError> for MvccError {
    fn from(error: ReadError) -> Self {
        MvccError::Read(Box::new(error))
    }
}

/// What is known of a live key without reading its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMeta {
    /// Where the key's present life began.
    pub create_revision: Revision,
    /// Where it was last written.
    pub mod_revision: Revision,
    /// How often it was written since it was created, that write included.
    pub version: i64,
}

/// The answer of HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvHash {
    /// CRC-32C over the key-values that the revision shows.
    pub hash: u32,
    /// The compact revision that the hash was taken with; -1 for a store never compacted.
    pub compact_revision: i64,
    /// The revision that was hashed.
    pub hash_revision: i64,
}

/// How much room the store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes held, those that a compaction has set free but not given back included.
    pub db_bytes: u64,
    /// Bytes of key-values that are still reachable at some readable revision.
    pub db_in_use_bytes: u64,
}
