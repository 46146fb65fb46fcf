//! Answering ranges by etcd's rules, from an index and the records it names.
//!
//! Whatever can be decided by the index is: counts, limits, filters, and all orders but that of
//! values; only the key-values that are answered are read.

use crate::index::{Entry, KeyRange, KeyRef, Tree};
use crate::record;
use crate::{KeyMeta, MvccError, RangeResult};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::ControlFlow;
use tenet_base::Revision;
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::mvccpb::KeyValue;
use tenet_store::{ReadError, Records};

/// Key-values for which room is made before it is known how many there are.
const RESERVED_MAX: usize = 1024;

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
        self.page(req, true)
    }

    /// Answers `req`. Unless `counted`, the count goes only as far as was read.
    pub(crate) fn page(&self, req: &RangeRequest, counted: bool) -> Result<RangeResult, MvccError> {
        if req.revision > self.revision {
            return Err(MvccError::FutureRevision);
        }
        let at = if req.revision <= 0 {
            self.revision
        } else {
            req.revision
        };
        if at < self.compacted {
            return Err(MvccError::Compacted);
        }
        let range = KeyRange::new(&req.key, &req.range_end);
        if req.count_only {
            return Ok(RangeResult {
                count: self.tree.count(range, at) as i64,
                ..RangeResult::default()
            });
        }
        let plan = Plan::new(req, at, counted);
        match plan.order {
            Order::Natural => self.in_order(range, &plan),
            Order::Explicit { .. } => self.sorted(range, &plan),
        }
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

    /// The natural order: the limit is applied while reading. A sort target without an order
    /// then sorts what was read, which includes the key that tells of `more`.
    fn in_order(&self, range: KeyRange<'_>, plan: &Plan) -> Result<RangeResult, MvccError> {
        let sorts = plan.target != SortTarget::Key;
        let read_max = plan.limit.saturating_add(usize::from(sorts));
        let mut kvs = Vec::with_capacity(read_max.min(RESERVED_MAX));
        let mut cut = false;
        let mut failed = None;
        self.each_live(range, plan.at, |key, entry| {
            if kvs.len() == read_max {
                cut = true;
                return ControlFlow::Break(());
            }
            match self.answer(plan, key, entry) {
                Ok(kv) => kvs.push(kv),
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        let count = if cut && plan.counted {
            self.tree.count(range, plan.at)
        } else {
            kvs.len() as u64
        };
        if sorts {
            kvs.sort_by(|a, b| compare(plan.target, a, b));
        }
        Ok(plan.finish(kvs, cut, count))
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// As the index has the keys, without filters.
    Natural,
    /// Sorted or filtered after all were looked at.
    Explicit { descending: bool },
}

/// A request, decided once.
#[derive(Debug)]
struct Plan {
    at: i64,
    /// Whether keys behind the limit are counted.
    counted: bool,
    /// `usize::MAX` for none.
    limit: usize,
    order: Order,
    target: SortTarget,
    filters: Filters,
    /// Keys only, and the order does not need the values: no record is read, and etcd then shows
    /// no lease either.
    from_index: bool,
    keys_only: bool,
}

impl Plan {
    fn new(req: &RangeRequest, at: i64, counted: bool) -> Self {
        let target = SortTarget::try_from(req.sort_target).unwrap_or(SortTarget::Key);
        let order = SortOrder::try_from(req.sort_order).unwrap_or(SortOrder::None);
        let filters = Filters {
            min_mod: req.min_mod_revision,
            max_mod: req.max_mod_revision,
            min_create: req.min_create_revision,
            max_create: req.max_create_revision,
        };
        let natural =
            order == SortOrder::None || (order == SortOrder::Ascend && target == SortTarget::Key);
        let order = if natural && filters == Filters::default() {
            Order::Natural
        } else {
            Order::Explicit {
                descending: order == SortOrder::Descend,
            }
        };
        Plan {
            at,
            counted,
            limit: match usize::try_from(req.limit) {
                Ok(limit) if limit > 0 => limit,
                _ => usize::MAX,
            },
            order,
            target,
            filters,
            from_index: req.keys_only && target != SortTarget::Value,
            keys_only: req.keys_only,
        }
    }

    fn is_descending(&self) -> bool {
        self.order == Order::Explicit { descending: true }
    }

    fn sort<T>(&self, items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
        if self.is_descending() {
            items.sort_by(|a, b| compare(b, a));
        } else {
            items.sort_by(compare);
        }
    }

    fn finish(&self, mut kvs: Vec<KeyValue>, cut: bool, count: u64) -> RangeResult {
        let more = cut || kvs.len() > self.limit;
        kvs.truncate(self.limit);
        if self.keys_only && !self.from_index {
            for kv in &mut kvs {
                kv.value = Bytes::new();
            }
        }
        RangeResult {
            kvs,
            more,
            count: count as i64,
        }
    }
}

/// Inclusive bounds; zero is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filters {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filters {
    fn admit(&self, entry: &Entry) -> bool {
        (self.min_mod == 0 || entry.main >= self.min_mod)
            && (self.max_mod == 0 || entry.main <= self.max_mod)
            && (self.min_create == 0 || entry.create >= self.min_create)
            && (self.max_create == 0 || entry.create <= self.max_create)
    }
}
