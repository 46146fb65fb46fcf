//! Writing the whole state as bytes.
//!
//! The stream is framed by [`tenet_store::chunk`] (checksummed, numbered chunks behind a magic
//! that names the version). Chunk kinds, in this order:
//!
//! ```text
//! 1 head     revision i64 | compact revision i64 (-1: never) | applied u64 | term u64
//! 2 records  any number of: main v (distance from the one before, the first from zero) | sub v |
//!            length * 2 + tombstone v | the record's bytes
//! 3 index    any number of: bytes shared with the key before v | length of the rest v | the rest
//!            | main v | sub * 2 + tombstone v | unless a tombstone: main - create v | version v
//! 4 end      number of records u64 | number of index entries u64
//! ```
//! Fixed numbers are little-endian, `v` is protobuf's varint. Distances and shared bytes begin
//! anew in each chunk. Records are in revision order, the index in that of key and, within a key,
//! from the newest revision to the oldest. Each record has one index entry.
//!
//! Only what a finished compaction at the compact revision leaves is written, however far the
//! physical work has come. Hashes of past compactions are not part of the state.

use crate::View;
use crate::hash::{Shown, ShownMarks};
use crate::index::{Entry, KeyRef, Position};
use bytes::Bytes;
use std::ops::ControlFlow;
use tenet_base::limits::CHECKPOINT_CHUNK_BYTES;
use tenet_store::chunk::ChunkWriter;
use tenet_store::{Record, Rev, StoreView, varint};

/// What a checkpoint begins with; the last byte is the version.
pub(crate) const MAGIC: [u8; 8] = *b"TENETKV\x01";
pub(crate) const KIND_HEAD: u8 = 1;
pub(crate) const KIND_RECORDS: u8 = 2;
pub(crate) const KIND_INDEX: u8 = 3;
pub(crate) const KIND_END: u8 = 4;

/// Entries that are looked at in one step.
const STEP_ENTRIES: usize = 10_000;

/// A checkpoint in the making: an iterator over its bytes, in pieces of about
/// [`CHECKPOINT_CHUNK_BYTES`].
///
/// It works on an immutable view and may run on any thread. A piece can be empty, when a step was
/// spent on looking at the index.
#[derive(Debug)]
pub struct CheckpointWriter {
    view: View,
    frames: ChunkWriter,
    stage: Stage,
    kept: ShownMarks,
    records: u64,
    entries: u64,
}

#[derive(Debug)]
enum Stage {
    Head,
    Marks,
    Records(Rev),
    /// Where the index goes on, and whether the entry that the compaction keeps was seen of the
    /// key there.
    Index(Position, bool),
    End,
    Done,
}

impl CheckpointWriter {
    pub(crate) fn new(view: View) -> Self {
        CheckpointWriter {
            kept: ShownMarks::new(Shown::Kept, view.compacted, view.compacted),
            view,
            frames: ChunkWriter::new(MAGIC),
            stage: Stage::Head,
            records: 0,
            entries: 0,
        }
    }

    fn head(&mut self) -> Bytes {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.view.revision.to_le_bytes());
        payload.extend_from_slice(&self.view.compacted.to_le_bytes());
        payload.extend_from_slice(&self.view.applied.0.to_le_bytes());
        payload.extend_from_slice(&self.view.term.0.to_le_bytes());
        self.stage = if self.view.compacted < 0 {
            Stage::Records(Rev::MIN)
        } else {
            Stage::Marks
        };
        self.frames.frame(KIND_HEAD, &payload)
    }

    fn marks(&mut self) -> Bytes {
        let mut budget = STEP_ENTRIES;
        if self
            .kept
            .step(&self.view.tree, &self.view.store, &mut budget)
        {
            self.stage = Stage::Records(Rev::MIN);
        }
        Bytes::new()
    }

    fn records(&mut self, from: Rev) -> Bytes {
        let mut payload = Vec::with_capacity(CHECKPOINT_CHUNK_BYTES * 5 / 4);
        let mut before = 0;
        let mut next = None;
        let marks = self.kept.marks();
        for record in self.view.store.scan(from) {
            if payload.len() >= CHECKPOINT_CHUNK_BYTES {
                next = Some(record.rev);
                break;
            }
            if record.rev.main > self.view.compacted || marks.contains(record.place) {
                put_record(&mut payload, before, &record);
                before = record.rev.main;
                self.records += 1;
            }
        }
        self.stage = match next {
            Some(next) => Stage::Records(next),
            None => Stage::Index(Position::START, false),
        };
        self.framed(KIND_RECORDS, &payload)
    }

    fn index(&mut self, from: &Position, mut found: bool) -> Bytes {
        let mut payload = Vec::with_capacity(CHECKPOINT_CHUNK_BYTES * 5 / 4);
        let compacted = self.view.compacted;
        let mut written: Vec<u8> = Vec::new();
        let (mut looked, mut entries) = (0, 0);
        let end = self.view.tree.visit_entries(from, |key, entry, head| {
            if payload.len() >= CHECKPOINT_CHUNK_BYTES || looked == STEP_ENTRIES {
                return ControlFlow::Break(Position::of(key, entry));
            }
            looked += 1;
            found &= !head;
            let newest = entry.main > compacted || !std::mem::replace(&mut found, true);
            if newest && (entry.main >= compacted || !entry.tombstone) {
                put_entry(&mut payload, &mut written, key, entry);
                entries += 1;
            }
            ControlFlow::Continue(())
        });
        self.entries += entries;
        self.stage = match end {
            ControlFlow::Break(next) => Stage::Index(next, found),
            ControlFlow::Continue(()) => Stage::End,
        };
        self.framed(KIND_INDEX, &payload)
    }

    fn framed(&mut self, kind: u8, payload: &[u8]) -> Bytes {
        if payload.is_empty() {
            return Bytes::new();
        }
        self.frames.frame(kind, payload)
    }

    fn end(&mut self) -> Bytes {
        assert!(
            self.records == self.entries,
            "a checkpoint of {} records has {} index entries: index and store disagree",
            self.records,
            self.entries
        );
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.records.to_le_bytes());
        payload.extend_from_slice(&self.entries.to_le_bytes());
        self.stage = Stage::Done;
        self.frames.frame(KIND_END, &payload)
    }
}

impl Iterator for CheckpointWriter {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        Some(match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Head => self.head(),
            Stage::Marks => {
                self.stage = Stage::Marks;
                self.marks()
            }
            Stage::Records(from) => self.records(from),
            Stage::Index(from, found) => self.index(&from, found),
            Stage::End => self.end(),
            Stage::Done => return None,
        })
    }
}

/// Appends a record, whose bytes are checked first: a checkpoint must not make damage of memory
/// durable.
fn put_record(payload: &mut Vec<u8>, before: i64, record: &Record<'_>) {
    record.verify();
    varint::put(payload, (record.rev.main - before) as u64);
    varint::put(payload, u64::from(record.rev.sub));
    varint::put(
        payload,
        (record.data.len() as u64) << 1 | u64::from(record.tombstone),
    );
    payload.extend_from_slice(record.data);
}

/// Appends an index entry. `written` is the key of the one before, and then of this one.
fn put_entry(payload: &mut Vec<u8>, written: &mut Vec<u8>, key: KeyRef<'_>, entry: &Entry) {
    let shared = key.common_len(&KeyRef::of(written));
    varint::put(payload, shared as u64);
    varint::put(payload, (key.len() - shared) as u64);
    key.copy_part(shared..key.len(), payload);
    varint::put(payload, entry.main as u64);
    varint::put(
        payload,
        u64::from(entry.sub) << 1 | u64::from(entry.tombstone),
    );
    if !entry.tombstone {
        varint::put(payload, (entry.main - entry.create) as u64);
        varint::put(payload, entry.version as u64);
    }
    written.truncate(shared);
    key.copy_part(shared..key.len(), written);
}
