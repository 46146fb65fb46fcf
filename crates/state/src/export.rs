//! The whole state as etcd's buckets have it, for a snapshot that etcd and we can restore.

use crate::state::State;
use crate::tables::{Bucket, Entries, STORAGE_VERSION, Tables, compaction_entries};
use crate::version::Version;
use std::sync::Arc;
use tenet_base::{Index, Revision, Term};
use tenet_mvcc::View;
use tenet_proto::raftpb::ConfState;

/// An immutable state, as of one applied entry. Taking one costs as much as there are entries in
/// the small tables; working it out is left to a thread that may be busy for long.
#[derive(Debug)]
pub struct Export {
    /// The buckets whose names come before that of the keys, in order.
    pub before_keys: Vec<TableBucket>,
    /// The keys.
    pub keys: Arc<View>,
    /// The buckets behind it.
    pub after_keys: Vec<TableBucket>,
    /// The last applied entry.
    pub applied: (Index, Term),
    /// The raft configuration there.
    pub conf_state: ConfState,
}

/// A bucket of a small table.
#[derive(Debug)]
pub struct TableBucket {
    /// Its name.
    pub name: &'static str,
    /// Its entries, keys ascending.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Export {
    /// The name of the bucket of the keys.
    pub const KEYS: &'static str = "key";
}

impl State {
    /// Publishes and begins an export of what was published.
    pub fn export(&mut self) -> Export {
        self.publish();
        let compacted = self.mvcc.compact_revision();
        let buckets = |buckets: &[Bucket]| {
            let bucket = |bucket: &Bucket| TableBucket {
                name: bucket.name(),
                entries: entries(&self.tables, *bucket, compacted),
            };
            buckets.iter().map(bucket).collect()
        };
        Export {
            before_keys: buckets(&Bucket::BEFORE_KEYS),
            keys: self.mvcc.views().load(),
            after_keys: buckets(&Bucket::AFTER_KEYS),
            applied: self.applied(),
            conf_state: self.tables.conf_state.clone(),
        }
    }
}

/// The entries of a bucket, with what etcd has in it beyond our tables.
fn entries(tables: &Tables, bucket: Bucket, compacted: Option<Revision>) -> Entries {
    let mut entries = tables.entries(bucket);
    if bucket == Bucket::Meta {
        let version = Version::CLUSTER_MAX.to_string();
        entries.push((STORAGE_VERSION.to_vec(), version.into()));
        entries.extend(compaction_entries(compacted));
        entries.sort_unstable();
    }
    entries
}
