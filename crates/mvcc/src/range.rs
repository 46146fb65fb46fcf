//! Answering ranges by etcd's rules, from an index and the records it names.
//!
//! Whatever can be decided by the index is: counts, limits, filters, and all orders but that of
//! values; only the key-values that are answered are read.

use crate::index::{Entry, KeyRange, KeyRef, Tree};
use crate::long::{LongRange, Opened};
use crate::plan::{self, Order, Plan};
use crate::record;
use crate::{KeyMeta, MvccError, RangeResult};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use tenet_base::Revision;
use tenet_base::limits::{RANGE_PIECE_KEYS, RANGE_WHOLE_BYTES};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::SortTarget;
use tenet_proto::mvccpb::KeyValue;
use tenet_store::{ReadError, Records};

/// Key-values for which room is made before it is known how many there are.
const RESERVED_MAX: usize = 1024;

/// What the numbers of a key-value take in an answer, about.
const KV_NUMBERS_BYTES: usize = 24;

/// Key-values that were read in the order of keys.
struct Gathered {
    kvs: Vec<KeyValue>,
    end: End,
}

/// Why no more were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There are no more.
    All,
    /// There are more, but as many were read as are wanted.
    Limit,
    /// There may be more, but these are many bytes.
    Bytes,
}

/// An index with its records, read as of one state.
#[derive(Debug)]
pub(crate) struct Reader<'a, R> {
    pub(crate) tree: &'a Tree,
    pub(crate) records: R,
    /// The current revision.
    pub(crate) revision: i64,
    /// The compact revision, -1 for none.
    pub(crate) compacted: i64,
}

impl<R: Records> Reader<'_, R> {
    /// Answers `req`. Sort enums out of range count as their zero values.
    pub(crate) fn range(&self, req: &RangeRequest) -> Result<RangeResult, MvccError> {
        let at = plan::revision_of(req, self.revision, self.compacted)?;
        let range = KeyRange::new(&req.key, &req.range_end);
        if req.count_only {
            return Ok(self.counted(range, at));
        }
        let plan = Plan::new(req, at);
        match plan.order {
            Order::Natural => {
                let gathered = self.gather(range, &plan, usize::MAX)?;
                Ok(self.in_order(range, &plan, gathered))
            }
            Order::Explicit { .. } => self.sorted(range, &plan),
        }
    }

    /// As [`Reader::range`], but only as far as it comes to about `RANGE_WHOLE_BYTES`.
    pub(crate) fn open(&self, req: &RangeRequest) -> Result<Opened, MvccError> {
        if req.count_only || req.range_end.is_empty() {
            return self.range(req).map(Opened::Whole);
        }
        let at = plan::revision_of(req, self.revision, self.compacted)?;
        let range = KeyRange::new(&req.key, &req.range_end);
        let plan = Plan::new(req, at);
        if let Order::Explicit { .. } = plan.order {
            return if self.is_short(range, at) {
                self.sorted(range, &plan).map(Opened::Whole)
            } else {
                Ok(Opened::Sorted)
            };
        }
        let gathered = self.gather(range, &plan, RANGE_WHOLE_BYTES)?;
        Ok(if gathered.end != End::Bytes {
            Opened::Whole(self.in_order(range, &plan, gathered))
        } else if plan.in_key_order() {
            let (key, range_end) = (&req.key, &req.range_end);
            let range = LongRange::in_order(key, range_end, &plan, &gathered.kvs, true);
            Opened::Long(Box::new(range))
        } else {
            Opened::Sorted
        })
    }

    fn counted(&self, range: KeyRange<'_>, at: i64) -> RangeResult {
        RangeResult {
            count: self.tree.count(range, at) as i64,
            ..RangeResult::default()
        }
    }

    /// Whether all of a range is so few keys, with so few bytes, that it may be held.
    fn is_short(&self, range: KeyRange<'_>, at: i64) -> bool {
        let (mut keys, mut bytes) = (0, 0);
        let walked = self.tree.visit(range, at, |_, entry| {
            keys += 1;
            bytes += self.records.len(entry.rev()).unwrap_or(0);
            if keys > RANGE_PIECE_KEYS || bytes > RANGE_WHOLE_BYTES {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        walked.is_continue()
    }

    /// The newest state of a live key.
    pub(crate) fn head(&self, key: &[u8]) -> Option<KeyMeta> {
        self.tree.head(key).map(|entry| KeyMeta {
            create_revision: Revision(entry.create),
            mod_revision: Revision(entry.main),
            version: entry.version,
        })
    }

    /// The newest key-value.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, ReadError> {
        let head = self.tree.head(key);
        head.map(|entry| self.read(&entry)).transpose()
    }

    /// The live keys of a range.
    pub(crate) fn keys(&self, range: KeyRange<'_>) -> Vec<Bytes> {
        let mut keys = Vec::new();
        self.each_live(range, self.revision, |key, _| {
            keys.push(key.to_bytes());
            ControlFlow::Continue(())
        });
        keys
    }

    fn each_live(
        &self,
        range: KeyRange<'_>,
        at: i64,
        mut see: impl FnMut(KeyRef<'_>, &Entry) -> ControlFlow<()>,
    ) {
        // A visitor that breaks has what it wants.
        let _ = self.tree.visit(range, at, |key, entry| {
            if entry.tombstone {
                ControlFlow::Continue(())
            } else {
                see(key, entry)
            }
        });
    }

    fn read(&self, entry: &Entry) -> Result<KeyValue, ReadError> {
        let rev = entry.rev();
        let Some(data) = self.records.get(rev)? else {
            panic!(
                "the index names record {rev}, which the store does not have, at revision {} \
                 compacted at {}: index and store disagree",
                self.revision, self.compacted
            );
        };
        Ok(record::decode(rev, &data))
    }

    fn answer(&self, plan: &Plan, key: KeyRef<'_>, entry: &Entry) -> Result<KeyValue, ReadError> {
        if plan.from_index {
            Ok(from_index(key.to_bytes(), entry))
        } else {
            self.read(entry)
        }
    }

    /// Reads keys in order until there are no more, or as many as the limit allows, or more bytes
    /// than `bytes_max`. A sort target without an order sorts what is read, which includes the key
    /// that tells of `more`.
    fn gather(
        &self,
        range: KeyRange<'_>,
        plan: &Plan,
        bytes_max: usize,
    ) -> Result<Gathered, MvccError> {
        let sorts = plan.target != SortTarget::Key;
        let read_max = plan.limit.saturating_add(usize::from(sorts));
        let mut kvs = Vec::with_capacity(read_max.min(RESERVED_MAX));
        let (mut bytes, mut end, mut failed) = (0, End::All, None);
        self.each_live(range, plan.at, |key, entry| {
            if kvs.len() == read_max {
                end = End::Limit;
                return ControlFlow::Break(());
            }
            match self.answer(plan, key, entry) {
                Ok(kv) => {
                    bytes += kv.key.len() + kv.value.len() + KV_NUMBERS_BYTES;
                    kvs.push(kv);
                }
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            if bytes > bytes_max {
                end = End::Bytes;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Gathered { kvs, end }),
        }
    }

    /// The answer of what was gathered.
    fn in_order(&self, range: KeyRange<'_>, plan: &Plan, gathered: Gathered) -> RangeResult {
        let Gathered { mut kvs, end } = gathered;
        let cut = end == End::Limit;
        let count = if cut {
            self.tree.count(range, plan.at)
        } else {
            kvs.len() as u64
        };
        if plan.target != SortTarget::Key {
            kvs.sort_by(|a, b| compare(plan.target, a, b));
        }
        plan.finish(kvs, cut, count)
    }

    /// Any explicit order, and any filter: all keys are looked at.
    fn sorted(&self, range: KeyRange<'_>, plan: &Plan) -> Result<RangeResult, MvccError> {
        let mut count = 0;
        let mut found: Vec<(Bytes, Entry)> = Vec::new();
        self.each_live(range, plan.at, |key, entry| {
            count += 1;
            if plan.filters.admit(entry) {
                let key = if plan.from_index {
                    key.to_bytes()
                } else {
                    Bytes::new()
                };
                found.push((key, *entry));
            }
            ControlFlow::Continue(())
        });
        let read = |(key, entry): (Bytes, Entry)| {
            if plan.from_index {
                Ok(from_index(key, &entry))
            } else {
                self.read(&entry)
            }
        };
        if plan.target == SortTarget::Value {
            let mut kvs = collect(found, read)?;
            plan.sort(&mut kvs, |a, b| a.value.cmp(&b.value));
            return Ok(plan.finish(kvs, false, count));
        }
        match plan.target {
            SortTarget::Version => plan.sort(&mut found, |a, b| a.1.version.cmp(&b.1.version)),
            SortTarget::Create => plan.sort(&mut found, |a, b| a.1.create.cmp(&b.1.create)),
            SortTarget::Mod => plan.sort(&mut found, |a, b| a.1.main.cmp(&b.1.main)),
            // Keys come in order.
            SortTarget::Key | SortTarget::Value => {
                if plan.is_descending() {
                    found.reverse();
                }
            }
        }
        let cut = found.len() > plan.limit;
        found.truncate(plan.limit);
        Ok(plan.finish(collect(found, read)?, cut, count))
    }
}

fn collect<T>(
    found: Vec<T>,
    read: impl Fn(T) -> Result<KeyValue, ReadError>,
) -> Result<Vec<KeyValue>, ReadError> {
    found.into_iter().map(read).collect()
}

fn from_index(key: Bytes, entry: &Entry) -> KeyValue {
    KeyValue {
        key,
        create_revision: entry.create,
        mod_revision: entry.main,
        version: entry.version,
        ..KeyValue::default()
    }
}

fn compare(target: SortTarget, a: &KeyValue, b: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    }
}
