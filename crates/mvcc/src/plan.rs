//! A range request, decided once.

use crate::index::Entry;
use crate::{MvccError, RangeResult};
use bytes::Bytes;
use std::cmp::Ordering;
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::mvccpb::KeyValue;

/// The revision that a request reads, of a store at `newest` compacted at `compacted`.
///
/// # Errors
/// If it is compacted or in the future.
pub(crate) fn revision_of(
    req: &RangeRequest,
    newest: i64,
    compacted: i64,
) -> Result<i64, MvccError> {
    if req.revision > newest {
        return Err(MvccError::FutureRevision);
    }
    let at = if req.revision <= 0 {
        newest
    } else {
        req.revision
    };
    if at < compacted {
        return Err(MvccError::Compacted);
    }
    Ok(at)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the index has the keys, without filters.
    Natural,
    /// Sorted or filtered after all were looked at.
    Explicit { descending: bool },
}

/// A request, decided once.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) at: i64,
    /// `usize::MAX` for none.
    pub(crate) limit: usize,
    pub(crate) order: Order,
    pub(crate) target: SortTarget,
    pub(crate) filters: Filters,
    /// Keys only, and the order does not need the values: no record is read, and etcd then shows
    /// no lease either.
    pub(crate) from_index: bool,
    pub(crate) keys_only: bool,
}

impl Plan {
    pub(crate) fn new(req: &RangeRequest, at: i64) -> Self {
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

    /// Whether keys are answered in the order in which the index has them, as far as the limit.
    pub(crate) fn in_key_order(&self) -> bool {
        self.order == Order::Natural && self.target == SortTarget::Key
    }

    pub(crate) fn is_descending(&self) -> bool {
        self.order == Order::Explicit { descending: true }
    }

    pub(crate) fn sort<T>(&self, items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
        if self.is_descending() {
            items.sort_by(|a, b| compare(b, a));
        } else {
            items.sort_by(compare);
        }
    }

    pub(crate) fn finish(&self, mut kvs: Vec<KeyValue>, cut: bool, count: u64) -> RangeResult {
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
pub(crate) struct Filters {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filters {
    pub(crate) fn admit(&self, entry: &Entry) -> bool {
        (self.min_mod == 0 || entry.main >= self.min_mod)
            && (self.max_mod == 0 || entry.main <= self.max_mod)
            && (self.min_create == 0 || entry.create >= self.min_create)
            && (self.max_create == 0 || entry.create <= self.max_create)
    }
}
