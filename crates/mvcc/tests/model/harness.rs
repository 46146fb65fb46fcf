//! The store, the twin and the bucket, driven together and compared.

use crate::bucket::Bucket;
use crate::twin::Twin;
use crate::{files, long};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use tenet_base::disk::FilePath;
use tenet_base::memory_disk::MemoryDisk;
use tenet_base::world::SplitMix64;
use tenet_base::{Index, LeaseId, Revision, Rng, Term};
use tenet_mvcc::{
    Event, ExportPosition, Import, Interest, Mvcc, MvccError, Opened, RangeResult, RangeStream,
    View, Views,
};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message as _;
use tenet_store::Patience;

fn read<T>(found: impl Iterator<Item = Result<T, tenet_store::ReadError>>) -> Vec<T> {
    found.collect::<Result<_, _>>().expect("readable")
}

/// A published state and what it must show.
#[derive(Clone)]
pub(crate) struct Pinned {
    view: Arc<View>,
    twin: Twin,
    bucket: Bucket,
    /// Whether hashes of compactions may still be missing.
    compacting: bool,
    /// Whether a transaction wrote a key again that it had deleted. etcd's API refuses that, and
    /// its compaction would lose such a write, so there is no hash to compare with.
    rewritten: bool,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Put(Bytes, Bytes, i64),
    Delete(Bytes, Bytes),
}

pub(crate) struct Harness {
    pub(crate) mvcc: Mvcc,
    views: Views,
    pub(crate) twin: Twin,
    bucket: Bucket,
    pub(crate) published: Pinned,
    unpublished: bool,
    rewritten: bool,
    applied: u64,
    disk: MemoryDisk,
    flushes: u64,
}

impl Harness {
    pub(crate) fn new() -> Self {
        let mvcc = Mvcc::default();
        let (twin, bucket) = (Twin::new(), Bucket::new());
        Harness {
            views: mvcc.views(),
            published: Pinned {
                view: mvcc.views().load(),
                twin: twin.clone(),
                bucket: bucket.clone(),
                compacting: false,
                rewritten: false,
            },
            mvcc,
            twin,
            bucket,
            unpublished: false,
            rewritten: false,
            applied: 0,
            disk: MemoryDisk::default(),
            flushes: 0,
        }
    }

    /// Runs a transaction, with each of `reads` answered between any two writes.
    pub(crate) fn txn(&mut self, writes: &[Write], reads: &[RangeRequest]) {
        let before = self.twin.revision;
        let main = before + 1;
        let mut sub = 0;
        let mut changed: Vec<(Bytes, bool)> = Vec::new();
        let mut txn = self.mvcc.begin();
        for write in writes {
            match write {
                Write::Put(key, value, lease) => {
                    self.rewritten |= changed.contains(&(key.clone(), true));
                    txn.put(key, value, LeaseId(*lease));
                    self.twin.put(main, sub, key, value, *lease);
                    self.bucket
                        .put((main, sub), self.twin.newest(key).expect("just put"));
                    changed.push((key.clone(), false));
                    sub += 1;
                }
                Write::Delete(from, range_end) => {
                    let live = self.twin.live(from, range_end, i64::MAX);
                    let keys: Vec<Bytes> = live.into_iter().map(|kv| kv.key.clone()).collect();
                    assert_eq!(txn.keys(from, range_end), keys);
                    let there = self.twin.newest(from).is_some();
                    assert!(there || !txn.delete(from), "deleted what is not there");
                    for key in keys {
                        assert!(txn.delete(&key));
                        self.twin.delete(main, sub, &key);
                        self.bucket.delete((main, sub), &key);
                        changed.push((key, true));
                        sub += 1;
                    }
                }
            }
            let now = before + i64::from(sub > 0);
            assert_eq!(txn.revision(), Revision(now));
            for read in reads {
                assert_eq!(txn.range(read), self.twin.range(read, now), "{read:?}");
                let newest = self.twin.newest(&read.key);
                assert_eq!(txn.get(&read.key).as_ref(), newest);
                let head = txn.head(&read.key);
                assert_eq!(
                    head.map(|head| (head.create_revision.0, head.mod_revision.0, head.version)),
                    newest.map(|kv| (kv.create_revision, kv.mod_revision, kv.version))
                );
            }
        }
        assert_eq!(txn.changed(), sub > 0);
        let changes = txn.changes().iter().enumerate().map(|(at, change)| {
            assert_eq!((change.revision.0, change.sub), (main, at as u32));
            (change.key.clone(), change.tombstone)
        });
        assert_eq!(changes.collect::<Vec<_>>(), changed);
        self.twin.revision += i64::from(sub > 0);
        self.bucket.revision = self.twin.revision;
        self.unpublished |= sub > 0;
        assert_eq!(txn.end(), Revision(self.twin.revision));
        assert_eq!(self.mvcc.revision(), Revision(self.twin.revision));
    }

    pub(crate) fn compact(&mut self, at: i64) {
        let expected = self.twin.compact(at);
        assert_eq!(self.mvcc.compact(at), expected);
        if expected.is_ok() {
            self.bucket.compact(at);
            self.unpublished = true;
            assert!(self.mvcc.compaction_pending());
        }
    }

    pub(crate) fn maintain(&mut self, budget: usize) -> bool {
        let left = self.mvcc.step_maintenance(budget);
        assert!(left || !self.mvcc.compaction_pending());
        if !self.unpublished {
            self.take_view();
        }
        left
    }

    pub(crate) fn publish(&mut self) {
        self.applied += 1;
        self.mvcc
            .publish(Index(self.applied), Term(self.applied / 10));
        self.unpublished = false;
        self.take_view();
        assert_eq!(self.published.view.applied(), Index(self.applied));
    }

    fn take_view(&mut self) {
        self.published = Pinned {
            view: self.views.load(),
            twin: self.twin.clone(),
            bucket: self.bucket.clone(),
            compacting: self.mvcc.compaction_pending(),
            rewritten: self.rewritten,
        };
    }

    /// Makes what was published durable. `between` is done to the store after each step.
    pub(crate) fn flush(&mut self, between: impl FnMut(&mut Mvcc)) {
        if self.unpublished {
            self.publish();
        }
        self.flushes += 1;
        let with_index = self.flushes.is_multiple_of(3);
        files::flush(&mut self.mvcc, &mut self.disk, with_index, between);
        if !self.unpublished {
            self.take_view();
        }
    }

    /// Gives back what room it may.
    pub(crate) fn rewrite(&mut self) {
        files::rewrite(&mut self.mvcc, &mut self.disk);
        if !self.unpublished {
            self.take_view();
        }
    }

    /// Goes on with a store recovered from what was flushed of what was published. `between` is
    /// done to the old store after each step of the flush, and is lost.
    pub(crate) fn restart(&mut self, between: impl FnMut(&mut Mvcc)) {
        if self.unpublished {
            self.publish();
        }
        let published = self.published.clone();
        self.flush(between);
        self.published = published;
        let found = tenet_store::open(&self.disk, &FilePath::new("store")).expect("intact");
        let opened = found.store.expect("flushed");
        self.go_on_with(Mvcc::recover(&self.disk, opened).expect("intact"));
    }

    /// Goes on with a store that took in the entries of etcd's bucket that this one gives, `piece`
    /// of them at a time.
    pub(crate) fn move_over(&mut self, piece: usize) {
        let view = Arc::clone(&self.published.view);
        let export = view.export();
        let mut lengths = Vec::new();
        let counted = export.lengths(|key, len| {
            lengths.push((key.to_vec(), len));
            Ok::<(), ()>(())
        });
        assert_eq!(counted, Ok(()));
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut next = Some(ExportPosition::START);
        while let Some(from) = next {
            let end = entries.len() + piece;
            let entered = export.entries(from, |key, value| {
                entries.push((key.to_vec(), value.to_vec()));
                match entries.len() < end {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            });
            next = entered.expect("readable");
        }
        let found: Vec<_> = entries.iter().map(|(k, v)| (k.clone(), v.len())).collect();
        assert_eq!(found, lengths);
        let mut import = Import::default();
        for (key, value) in &entries {
            import.entry(key, value).expect("an entry that was written");
        }
        let compacted = view.compact_revision();
        // The files are those of another store.
        self.disk = MemoryDisk::default();
        self.go_on_with(import.finish(compacted, view.applied(), view.term()));
    }

    fn go_on_with(&mut self, mvcc: Mvcc) {
        self.mvcc = mvcc;
        self.views = self.mvcc.views();
        self.twin = self.published.twin.clone();
        self.bucket = self.published.bucket.clone();
        self.bucket.hashes.clear();
        self.unpublished = false;
        self.applied = self.published.view.applied().0;
        let old = Arc::clone(&self.published.view);
        self.take_view();
        let new = &self.published.view;
        assert_eq!((new.applied(), new.term()), (old.applied(), old.term()));
    }
}

impl Pinned {
    pub(crate) fn compare_range(&self, req: &RangeRequest) {
        let expected = self.twin.range(req, self.twin.revision);
        assert_eq!(self.view.range(req), expected, "{req:?}");
    }

    pub(crate) fn compare_stream(&self, req: &RangeRequest, target_bytes: usize) {
        let mut stream = RangeStream::new(req.clone(), target_bytes);
        let mut merged = RangeResult::default();
        let mut ended = None;
        while !stream.is_done() {
            let chunk = match stream.step(&self.view, 7) {
                Ok(None) => continue,
                Ok(Some(chunk)) => chunk,
                Err(error) => {
                    assert_eq!(self.twin.range(req, self.twin.revision), Err(error));
                    return;
                }
            };
            merged.kvs.extend(long::all_of(&self.view, chunk.range).kvs);
            ended = chunk.end;
        }
        let end = ended.expect("a last message");
        assert_eq!(end.revision, Revision(self.twin.revision));
        (merged.more, merged.count) = (end.more, end.count);
        assert_eq!(
            Ok(merged),
            self.twin.range(req, self.twin.revision),
            "{req:?}"
        );
    }

    /// Compares the same answer in pieces.
    pub(crate) fn compare_pieces(&self, req: &RangeRequest) {
        let expected = self.twin.range(req, self.twin.revision);
        if !req.count_only {
            let listed = self.view.sort_range(req);
            let found = listed.map(|range| long::all_of(&self.view, range));
            assert_eq!(found, expected, "{req:?}");
        }
        let opened = self.view.open_range(req, Patience::Wait);
        let found = opened.and_then(|opened| match opened {
            Opened::Whole(result) => Ok(result),
            Opened::Long(range) => Ok(long::all_of(&self.view, *range)),
            Opened::Sorted => self
                .view
                .sort_range(req)
                .map(|range| long::all_of(&self.view, range)),
        });
        assert_eq!(found, expected, "{req:?}");
    }

    pub(crate) fn compare_hash(&self, revision: i64) {
        let found = self.view.hash_kv(revision);
        let expected = self.bucket.hash_kv(revision);
        if self.rewritten {
            // The hash of a compaction can be had once its work is done.
            assert!(
                found.is_ok() == expected.is_ok() || (self.compacting && expected.is_ok()),
                "hash at {revision}: {found:?}, {expected:?}"
            );
        } else if self.compacting && found != expected {
            assert_eq!(
                found,
                self.bucket.hash_uncached(revision),
                "hash at {revision}"
            );
        } else {
            assert_eq!(found, expected, "hash at {revision}");
        }
    }

    /// Compares the changes since a random revision, all of them and those of some keys, and what
    /// was there before each.
    pub(crate) fn compare_events(&self, rng: &mut SplitMix64, keys: &Interest) {
        let compacted = self.twin.compacted.max(1);
        let changes = self.twin.changes(compacted);
        let last = changes.iter().take_while(|(main, ..)| *main == compacted);
        let mut keys_there: Vec<_> = last.map(|(_, key, _)| key).collect();
        keys_there.sort_unstable();
        // Where a transaction wrote a key twice, compacting there leaves the second.
        let twice = keys_there.windows(2).any(|pair| pair[0] == pair[1]);
        let low = compacted + i64::from(twice);
        let from = low + rng.below((self.twin.revision - low + 2) as u64) as i64;
        let wanted = self.twin.changes(from);
        let found: Vec<Event> = read(self.view.events(Revision(from), Patience::Wait));
        assert_eq!(found.len(), wanted.len(), "changes since {from}");
        for (event, (main, key, kv)) in found.iter().zip(&wanted) {
            assert_eq!((event.revision.0, &event.key[..]), (*main, &key[..]));
            assert_eq!(event.is_delete, kv.is_none());
            let alone =
                read(
                    self.view
                        .changes(event.revision, event.sub, event.sub, Patience::Wait),
                );
            assert_eq!(&alone[..], std::slice::from_ref(event));
            if let Some(kv) = kv {
                assert_eq!(event.record, kv.encode_to_vec());
                assert_eq!(event.is_create, kv.create_revision == *main);
            }
            let before = self.view.before(key, Revision(*main), Patience::Wait);
            if *main > self.twin.compacted {
                let wanted = self.twin.at(key, main - 1).map(KeyValue::encode_to_vec);
                assert_eq!(before, Ok(wanted.map(Bytes::from)), "{key:?} before {main}");
            } else {
                assert_eq!(before, Err(MvccError::Compacted));
            }
        }
        let found: Vec<_> = found
            .into_iter()
            .filter(|event| keys.covers(&event.key))
            .collect();
        let budget = rng.below(1 + 3 * wanted.len() as u64) as usize;
        let history = self.view.history(keys, Revision(from), budget);
        assert!(history.is_some() || budget < self.twin.changes(0).len());
        if let Some(history) = history {
            assert!(found.len() <= budget);
            assert_eq!(read(self.view.events_of(&history, Patience::Wait)), found);
        }
    }

    pub(crate) fn compare_numbers(&self) {
        assert_eq!(self.view.revision(), Revision(self.twin.revision));
        let compacted = self.view.compact_revision().map_or(-1, Revision::get);
        assert_eq!(compacted, self.twin.compacted);
        if !self.rewritten {
            assert_eq!(self.view.hash_all(7), self.bucket.hash_all(7));
        }
        let size = self.view.size();
        assert!(size.db_in_use_bytes <= size.db_bytes);
        let future = RangeRequest {
            key: Bytes::from_static(b"k"),
            revision: self.twin.revision + 1,
            ..RangeRequest::default()
        };
        assert_eq!(self.view.range(&future), Err(MvccError::FutureRevision));
    }

    /// A revision around those that can be read.
    pub(crate) fn some_revision(&self, rng: &mut SplitMix64) -> i64 {
        let low = self.twin.compacted - 2;
        low + rng.below((self.twin.revision - low + 3) as u64) as i64
    }
}
