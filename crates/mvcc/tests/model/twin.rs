//! The full history of every key, never pruned, with ranges by the letter of the rules.

use bytes::Bytes;
use std::collections::BTreeMap;
use tenet_mvcc::{MvccError, RangeResult};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::mvccpb::KeyValue;

/// A key at one revision; `None` where it was deleted.
type History = BTreeMap<(i64, u32), Option<KeyValue>>;

#[derive(Clone, Debug)]
pub(crate) struct Twin {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    keys: BTreeMap<Bytes, History>,
}

pub(crate) fn in_range(key: &[u8], from: &[u8], range_end: &[u8]) -> bool {
    match range_end {
        [] => key == from,
        [0] => key >= from,
        end => key >= from && key < end,
    }
}

impl Twin {
    pub(crate) fn new() -> Self {
        Twin {
            revision: 1,
            compacted: -1,
            keys: BTreeMap::new(),
        }
    }

    pub(crate) fn at(&self, key: &[u8], main: i64) -> Option<&KeyValue> {
        let history = self.keys.get(key)?;
        history.range(..=(main, u32::MAX)).next_back()?.1.as_ref()
    }

    pub(crate) fn newest(&self, key: &[u8]) -> Option<&KeyValue> {
        self.at(key, i64::MAX)
    }

    pub(crate) fn put(&mut self, main: i64, sub: u32, key: &Bytes, value: &Bytes, lease: i64) {
        let before = self.newest(key);
        let kv = KeyValue {
            key: key.clone(),
            create_revision: before.map_or(main, |kv| kv.create_revision),
            mod_revision: main,
            version: before.map_or(1, |kv| kv.version + 1),
            value: value.clone(),
            lease,
        };
        let history = self.keys.entry(key.clone()).or_default();
        history.insert((main, sub), Some(kv));
    }

    pub(crate) fn delete(&mut self, main: i64, sub: u32, key: &Bytes) {
        let history = self.keys.entry(key.clone()).or_default();
        history.insert((main, sub), None);
    }

    pub(crate) fn live(&self, from: &[u8], range_end: &[u8], main: i64) -> Vec<&KeyValue> {
        self.keys
            .keys()
            .filter(|key| in_range(key, from, range_end))
            .filter_map(|key| self.at(key, main))
            .collect()
    }

    /// `now` is the revision that the reader sees as current.
    pub(crate) fn range(&self, req: &RangeRequest, now: i64) -> Result<RangeResult, MvccError> {
        if req.revision > now {
            return Err(MvccError::FutureRevision);
        }
        let at = if req.revision <= 0 { now } else { req.revision };
        if at < self.compacted {
            return Err(MvccError::Compacted);
        }
        let live = self.live(&req.key, &req.range_end, at);
        let count = live.len() as i64;
        let mut kvs: Vec<KeyValue> = live.into_iter().cloned().collect();
        if req.count_only {
            kvs.clear();
        }
        let target = SortTarget::try_from(req.sort_target).expect("valid");
        let order = SortOrder::try_from(req.sort_order).expect("valid");
        let filtered = [
            req.min_mod_revision,
            req.max_mod_revision,
            req.min_create_revision,
            req.max_create_revision,
        ] != [0; 4];
        let limit = usize::try_from(req.limit).unwrap_or(0);
        if limit > 0 && !filtered && order == SortOrder::None {
            kvs.truncate(limit.saturating_add(1));
        }
        let within = |number: i64, min: i64, max: i64| {
            (min == 0 || number >= min) && (max == 0 || number <= max)
        };
        kvs.retain(|kv| within(kv.mod_revision, req.min_mod_revision, req.max_mod_revision));
        kvs.retain(|kv| {
            within(
                kv.create_revision,
                req.min_create_revision,
                req.max_create_revision,
            )
        });
        kvs.sort_by(|a, b| {
            let ascending = match target {
                SortTarget::Key => a.key.cmp(&b.key),
                SortTarget::Version => a.version.cmp(&b.version),
                SortTarget::Create => a.create_revision.cmp(&b.create_revision),
                SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
                SortTarget::Value => a.value.cmp(&b.value),
            };
            if order == SortOrder::Descend {
                ascending.reverse()
            } else {
                ascending
            }
        });
        let more = limit > 0 && kvs.len() > limit;
        if more {
            kvs.truncate(limit);
        }
        if req.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if target != SortTarget::Value {
                    kv.lease = 0;
                }
            }
        }
        Ok(RangeResult { kvs, more, count })
    }

    /// Every change from revision `from` on, oldest first; deletions without a key-value.
    pub(crate) fn changes(&self, from: i64) -> Vec<(i64, &Bytes, Option<&KeyValue>)> {
        let mut changes: Vec<_> = self
            .keys
            .iter()
            .flat_map(|(key, history)| history.iter().map(move |(rev, kv)| (*rev, key, kv)))
            .filter(|(rev, ..)| rev.0 >= from)
            .collect();
        changes.sort_by_key(|(rev, ..)| *rev);
        changes
            .into_iter()
            .map(|(rev, key, kv)| (rev.0, key, kv.as_ref()))
            .collect()
    }

    pub(crate) fn compact(&mut self, at: i64) -> Result<(), MvccError> {
        if at <= self.compacted {
            return Err(MvccError::Compacted);
        }
        if at > self.revision {
            return Err(MvccError::FutureRevision);
        }
        self.compacted = at;
        Ok(())
    }
}
