//! Building the store from the entries of etcd's bucket `key`, in their order.
//!
//! Every entry is judged: its key is a revision above the last one, its value the canonical form of
//! a key-value that follows from what the key had before. So what is taken in is hashed as etcd
//! hashes it, and a snapshot that etcd could not have written is refused.
//!
//! One entry is of no key: `etcdutl snapshot restore --bump-revision` leaves an empty value at the
//! revision that it goes up to. It is kept, since it is hashed; no request can ask for it.

use crate::Mvcc;
use crate::hash::CompactionHashes;
use crate::index::{Entry, Tree};
use crate::record::{self, Numbers, Parts};
use tenet_base::{Index, LeaseId, Revision, Term};
use tenet_store::{Rev, Store};

/// Why an entry cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ImportError(String);

/// A store in the making.
#[derive(Debug, Default)]
pub struct Import {
    tree: Tree,
    store: Store,
    last: Rev,
}

/// An entry that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported<'a> {
    /// The key that it is of.
    pub key: &'a [u8],
    /// The lease that the key is on now.
    pub lease: Option<LeaseId>,
}

impl Import {
    /// Waits for the first entry, to be put into an empty store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Import {
            store,
            ..Import::default()
        }
    }

    /// Takes in an entry of the bucket.
    ///
    /// # Errors
    /// If etcd would not have it there.
    pub fn entry<'a>(
        &mut self,
        bucket_key: &[u8],
        value: &'a [u8],
    ) -> Result<Imported<'a>, ImportError> {
        let Some((rev, tombstone)) = parse_bucket_key(bucket_key) else {
            let shown = bucket_key.escape_ascii();
            return Err(ImportError(format!("{shown} is not a revision")));
        };
        let wrong = |what: &str| ImportError(format!("revision {rev}: {what}"));
        if rev <= self.last {
            return Err(wrong("not above the one before"));
        }
        if rev.main <= 1 {
            return Err(wrong("the first change of a store has revision 2"));
        }
        let parts = record::parse(value)
            .ok_or_else(|| wrong("its value is not a key-value in the form that etcd writes"))?;
        let head = self.tree.find(parts.key, i64::MAX);
        let entry = judge(&parts, rev, tombstone, head.as_ref()).map_err(wrong)?;
        self.tree.set(parts.key, rev, entry);
        self.store
            .append(rev, tombstone, |out| out.extend_from_slice(value));
        self.last = rev;
        let lease = parts.numbers.lease;
        Ok(Imported {
            key: parts.key,
            lease: (lease != 0).then_some(LeaseId(lease)),
        })
    }

    /// Goes `by` revisions beyond the newest entry and gives the revision there, which has to be
    /// compacted.
    ///
    /// # Errors
    /// If there is no such revision.
    pub fn bump(&mut self, by: u64) -> Result<Revision, ImportError> {
        let main = i64::try_from(by)
            .ok()
            .and_then(|by| self.last.main.checked_add(by))
            .filter(|main| *main < i64::MAX);
        let Some(main) = main else {
            let last = self.last.main;
            return Err(ImportError(format!(
                "{by} revisions do not fit above {last}"
            )));
        };
        let mut key = [0; 17];
        key[..8].copy_from_slice(&main.to_be_bytes());
        key[8] = b'_';
        self.entry(&key, &[])?;
        Ok(Revision(main))
    }

    /// The store, as of log entry (`applied`, `term`), with a compaction at `compacted` that may be
    /// done only in part.
    #[must_use]
    pub fn finish(self, compacted: Option<Revision>, applied: Index, term: Term) -> Mvcc {
        let at = compacted.map_or(-1, |at| at.0);
        let revision = self.last.main.max(at).max(1);
        let mut mvcc = Mvcc::from_parts(self.tree, self.store, revision, -1);
        if at >= 0 {
            let compaction = mvcc.compact(at);
            assert!(
                compaction.is_ok(),
                "compacting {revision} at {at}: {compaction:?}"
            );
            while mvcc.compaction_pending() {
                mvcc.step_maintenance(usize::MAX);
            }
            // It is not the hash of what the compaction covered when it was asked for.
            mvcc.hashes = CompactionHashes::default();
        }
        mvcc.publish(applied, term);
        mvcc
    }
}

/// The revision that a key of the bucket spells, and whether it is a tombstone's.
fn parse_bucket_key(key: &[u8]) -> Option<(Rev, bool)> {
    let (main, rest) = key.split_first_chunk()?;
    let (sub, tombstone) = rest.strip_prefix(b"_")?.split_first_chunk()?;
    let tombstone = match tombstone {
        b"" => false,
        b"t" => true,
        _ => return None,
    };
    let main = i64::from_be_bytes(*main);
    let sub = u32::try_from(i64::from_be_bytes(*sub)).ok()?;
    (main >= 0 && sub < 1 << 31).then(|| (Rev::new(main, sub), tombstone))
}

/// The index entry of a record, if it can follow the newest that its key had before.
fn judge(
    parts: &Parts<'_>,
    rev: Rev,
    tombstone: bool,
    head: Option<&Entry>,
) -> Result<Entry, &'static str> {
    let Numbers {
        create,
        modified,
        version,
        ..
    } = parts.numbers;
    if is_mark(parts) && !tombstone {
        return Ok(Entry::new(rev, 0, 0, false));
    }
    if parts.key.is_empty() {
        return Err("its key is empty");
    }
    let alive = head.filter(|head| !head.tombstone);
    if tombstone {
        let only_key = parts.numbers == Numbers::default() && parts.value.is_empty();
        if !only_key {
            return Err("a tombstone with more than a key");
        }
        if head.is_some() && alive.is_none() {
            return Err("a tombstone of a key that is deleted already");
        }
        return Ok(Entry::new(rev, 0, 0, true));
    }
    let follows = match (head, alive) {
        (_, Some(alive)) => create == alive.create && version == alive.version + 1,
        (Some(_), None) => create == rev.main && version == 1,
        // What came before may have been compacted.
        (None, None) => create > 1 && create <= rev.main && version >= 1,
    };
    match follows && modified == rev.main {
        true => Ok(Entry::new(rev, create, version, false)),
        false => Err("its key-value does not follow from what the key had before"),
    }
}

/// Whether a record is the mark that a bump of the revision leaves.
pub(crate) fn is_mark(parts: &Parts<'_>) -> bool {
    parts.key.is_empty() && parts.value.is_empty() && parts.numbers == Numbers::default()
}
