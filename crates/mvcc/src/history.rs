//! The full history of every key in an ordered map.

use crate::{KeyMeta, KvHash, MvccError, RangeResult, Size};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use tenet_base::{Index, Revision, Term, crc};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message;

/// One change of a write transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The transaction's revision.
    pub revision: Revision,
    /// The change's number within the revision, from zero.
    pub sub: u32,
    /// Whether the key was deleted.
    pub tombstone: bool,
}

/// Why a checkpoint cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint damaged at byte {offset}: {reason}")]
pub struct CheckpointError {
    /// Where the damage was seen, in bytes from the start.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) tombstone: bool,
    pub(crate) kv: KeyValue,
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    pub(crate) applied: Index,
    pub(crate) term: Term,
    /// Versions by (main, sub), oldest first.
    pub(crate) keys: BTreeMap<Bytes, BTreeMap<(i64, u32), Version>>,
    pub(crate) hashes: Vec<KvHash>,
}

pub(crate) fn in_range(key: &[u8], from: &[u8], to: &[u8]) -> bool {
    match to {
        [] => key == from,
        [0] => key >= from,
        _ => key >= from && key < to,
    }
}

impl History {
    pub(crate) fn new() -> Self {
        History {
            revision: 1,
            compacted: -1,
            applied: Index::ZERO,
            term: Term::ZERO,
            keys: BTreeMap::new(),
            hashes: Vec::new(),
        }
    }

    pub(crate) fn at(&self, key: &[u8], main: i64) -> Option<&KeyValue> {
        let (_, newest) = self.keys.get(key)?.range(..=(main, u32::MAX)).next_back()?;
        (!newest.tombstone).then_some(&newest.kv)
    }

    pub(crate) fn meta(&self, key: &[u8]) -> Option<KeyMeta> {
        self.at(key, i64::MAX).map(|kv| KeyMeta {
            create_revision: Revision(kv.create_revision),
            mod_revision: Revision(kv.mod_revision),
            version: kv.version,
        })
    }

    pub(crate) fn live(&self, from: &[u8], to: &[u8], main: i64) -> Vec<&KeyValue> {
        self.keys
            .keys()
            .filter(|key| in_range(key, from, to))
            .filter_map(|key| self.at(key, main))
            .collect()
    }

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
        let mut result = RangeResult {
            count,
            ..RangeResult::default()
        };
        if req.count_only {
            return Ok(result);
        }
        let target = SortTarget::try_from(req.sort_target).unwrap_or(SortTarget::Key);
        let order = SortOrder::try_from(req.sort_order).unwrap_or(SortOrder::None);
        let mut kvs: Vec<KeyValue> = live.into_iter().cloned().collect();
        let filtered = req.min_mod_revision != 0
            || req.max_mod_revision != 0
            || req.min_create_revision != 0
            || req.max_create_revision != 0;
        if req.limit > 0 && !filtered && order == SortOrder::None {
            kvs.truncate(
                usize::try_from(req.limit)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1),
            );
        }
        kvs.retain(|kv| {
            (req.min_mod_revision == 0 || kv.mod_revision >= req.min_mod_revision)
                && (req.max_mod_revision == 0 || kv.mod_revision <= req.max_mod_revision)
                && (req.min_create_revision == 0 || kv.create_revision >= req.min_create_revision)
                && (req.max_create_revision == 0 || kv.create_revision <= req.max_create_revision)
        });
        match target {
            SortTarget::Key => {}
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        }
        if order == SortOrder::Descend {
            kvs.reverse();
        }
        let limit = usize::try_from(req.limit).unwrap_or(0);
        if limit > 0 && kvs.len() > limit {
            kvs.truncate(limit);
            result.more = true;
        }
        if req.keys_only {
            for kv in &mut kvs {
                kv.value = Bytes::new();
                if target != SortTarget::Value {
                    kv.lease = 0;
                }
            }
        }
        result.kvs = kvs;
        Ok(result)
    }

    /// The newest version of each key at or below `main`, with tombstones below it left out and
    /// one exactly at it left in if `tombstone_at`.
    fn kept(&self, main: i64, tombstone_at: bool) -> Vec<(i64, u32)> {
        self.keys
            .values()
            .filter_map(|versions| versions.range(..=(main, u32::MAX)).next_back())
            .filter(|(at, version)| !version.tombstone || (tombstone_at && at.0 == main))
            .map(|(at, _)| *at)
            .collect()
    }

    fn entry(at: (i64, u32), version: &Version) -> (BytesMut, Vec<u8>) {
        let mut key = BytesMut::new();
        key.put_i64(at.0);
        key.put_u8(b'_');
        key.put_i64(i64::from(at.1));
        if version.tombstone {
            key.put_u8(b't');
        }
        (key, version.kv.encode_to_vec())
    }

    pub(crate) fn hash_all(&self, crc: u32) -> u32 {
        let mut all: BTreeMap<(i64, u32), &Version> = BTreeMap::new();
        for versions in self.keys.values() {
            all.extend(versions.iter().map(|(at, version)| (*at, version)));
        }
        all.into_iter()
            .fold(crc::extend(crc, b"key"), |crc, (at, version)| {
                let (key, value) = Self::entry(at, version);
                crc::extend(crc::extend(crc, &key), &value)
            })
    }

    fn hash(&self, compacted: i64, main: i64, keep: &[(i64, u32)]) -> KvHash {
        let mut all: BTreeMap<(i64, u32), &Version> = BTreeMap::new();
        for versions in self.keys.values() {
            all.extend(versions.iter().map(|(at, version)| (*at, version)));
        }
        let physical = self.kept(compacted, true);
        let mut hash = crc::crc32c(b"key");
        for ((at_main, sub), version) in all {
            if at_main > main {
                continue;
            }
            let at = (at_main, sub);
            if at_main <= compacted
                && (!physical.contains(&at) || (!keep.is_empty() && !keep.contains(&at)))
            {
                continue;
            }
            if at_main == compacted && version.tombstone {
                continue;
            }
            let (key, value) = Self::entry(at, version);
            hash = crc::extend(crc::extend(hash, &key), &value);
        }
        KvHash {
            hash,
            compact_revision: compacted,
            hash_revision: main,
        }
    }

    pub(crate) fn hash_kv(&self, revision: i64) -> Result<KvHash, MvccError> {
        if let Some(hash) = self
            .hashes
            .iter()
            .find(|hash| hash.hash_revision == revision)
        {
            return Ok(*hash);
        }
        if revision > 0 && revision < self.compacted {
            return Err(MvccError::Compacted);
        }
        if revision > self.revision {
            return Err(MvccError::FutureRevision);
        }
        let main = if revision == 0 {
            self.revision
        } else {
            revision
        };
        Ok(self.hash(self.compacted, main, &self.kept(main, false)))
    }

    pub(crate) fn compact(&mut self, at: i64) -> Result<(), MvccError> {
        if at <= self.compacted {
            return Err(MvccError::Compacted);
        }
        if at > self.revision {
            return Err(MvccError::FutureRevision);
        }
        let kept = self.kept(at, true);
        let hash = self.hash(self.compacted, at, &kept);
        self.hashes.push(hash);
        if self.hashes.len() > tenet_base::limits::COMPACTION_HASHES_MAX {
            self.hashes.remove(0);
        }
        self.compacted = at;
        for versions in self.keys.values_mut() {
            versions.retain(|place, _| place.0 > at || kept.contains(place));
        }
        self.keys.retain(|_, versions| !versions.is_empty());
        Ok(())
    }

    pub(crate) fn size(&self) -> Size {
        let bytes = self
            .keys
            .values()
            .flat_map(BTreeMap::values)
            .map(|version| version.kv.encoded_len() as u64)
            .sum();
        Size {
            db_bytes: bytes,
            db_in_use_bytes: bytes,
        }
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i64(self.revision);
        out.put_i64(self.compacted);
        out.put_u64(self.applied.0);
        out.put_u64(self.term.0);
        for versions in self.keys.values() {
            for ((main, sub), version) in versions {
                out.put_i64(*main);
                out.put_u32(*sub);
                out.put_u8(u8::from(version.tombstone));
                let record = version.kv.encode_to_vec();
                out.put_u32(record.len() as u32);
                out.put_slice(&record);
            }
        }
        let sum = crc::crc32c(&out);
        out.put_u32(sum);
        out.freeze()
    }

    fn decode(data: &[u8]) -> Option<History> {
        fn take<'a>(data: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
            let (head, tail) = data.split_at_checked(len)?;
            *data = tail;
            Some(head)
        }
        fn int(data: &mut &[u8]) -> Option<i64> {
            Some(i64::from_be_bytes(take(data, 8)?.try_into().ok()?))
        }
        let (mut data, sum) = data.split_last_chunk::<4>()?;
        if crc::crc32c(data) != u32::from_be_bytes(*sum) {
            return None;
        }
        let mut history = History::new();
        history.revision = int(&mut data)?;
        history.compacted = int(&mut data)?;
        history.applied = Index(int(&mut data)? as u64);
        history.term = Term(int(&mut data)? as u64);
        while !data.is_empty() {
            let main = int(&mut data)?;
            let sub = u32::from_be_bytes(take(&mut data, 4)?.try_into().ok()?);
            let tombstone = take(&mut data, 1)?[0] != 0;
            let len = u32::from_be_bytes(take(&mut data, 4)?.try_into().ok()?) as usize;
            let kv = KeyValue::decode(take(&mut data, len)?).ok()?;
            let versions = history.keys.entry(kv.key.clone()).or_default();
            versions.insert((main, sub), Version { tombstone, kv });
        }
        Some(history)
    }

    pub(crate) fn restore(data: &[u8]) -> Result<History, CheckpointError> {
        History::decode(data).ok_or_else(|| CheckpointError {
            offset: 0,
            reason: "checksum or structure is wrong".to_string(),
        })
    }
}

/// A checkpoint as chunks of bytes.
#[derive(Debug)]
pub struct CheckpointWriter(Option<std::sync::Arc<History>>);

impl CheckpointWriter {
    pub(crate) fn new(history: std::sync::Arc<History>) -> Self {
        CheckpointWriter(Some(history))
    }
}

impl Iterator for CheckpointWriter {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.0.take().map(|history| history.encode())
    }
}
