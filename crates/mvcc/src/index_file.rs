//! Writing the index as bytes, so that a start need not read every record.
//!
//! The stream is framed by [`tenet_store::chunk`] (checksummed, numbered chunks behind a magic
//! that names the version). Chunk kinds, in this order:
//!
//! ```text
//! 1 head     revision i64 | compact revision i64 (-1: never) | applied u64 | term u64
//! 2 entries  any number of: bytes shared with the key before v | length of the rest v | the rest
//!            | main v | sub * 2 + tombstone v | unless a tombstone: main - create v | version v
//! 3 end      number of entries u64
//! ```
//! Fixed numbers are little-endian, `v` is protobuf's varint. Shared bytes begin anew in each
//! chunk. Entries are in the order of keys and, within a key, from the newest revision to the
//! oldest. Each names a record of the store.
//!
//! Only what a finished compaction at the compact revision leaves is written, however far the
//! physical work has come.

use crate::View;
use crate::index::{Entry, KeyRef, Position};
use bytes::Bytes;
use std::ops::ControlFlow;
use tenet_base::limits::CHECKPOINT_CHUNK_BYTES;
use tenet_store::chunk::ChunkWriter;
use tenet_store::varint;

/// What an index begins with; the last byte is the version.
pub(crate) const MAGIC: [u8; 8] = *b"TENETIX\x01";
pub(crate) const KIND_HEAD: u8 = 1;
pub(crate) const KIND_ENTRIES: u8 = 2;
pub(crate) const KIND_END: u8 = 3;

/// Entries that are looked at in one step.
const STEP_ENTRIES: usize = 10_000;

/// An index in the making: an iterator over its bytes, in pieces of about
/// [`CHECKPOINT_CHUNK_BYTES`].
///
/// It works on an immutable view and may run on any thread. A piece can be empty, when a step was
/// spent on looking.
#[derive(Debug)]
pub struct IndexWriter {
    view: View,
    frames: ChunkWriter,
    stage: Stage,
    entries: u64,
}

#[derive(Debug)]
enum Stage {
    Head,
    /// Where it goes on, and whether the entry that the compaction keeps was seen of the key
    /// there.
    Entries(Position, bool),
    End,
    Done,
}

impl IndexWriter {
    pub(crate) fn new(view: View) -> Self {
        IndexWriter {
            view,
            frames: ChunkWriter::new(MAGIC),
            stage: Stage::Head,
            entries: 0,
        }
    }

    fn head(&mut self) -> Bytes {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.view.revision.to_le_bytes());
        payload.extend_from_slice(&self.view.compacted.to_le_bytes());
        payload.extend_from_slice(&self.view.applied.0.to_le_bytes());
        payload.extend_from_slice(&self.view.term.0.to_le_bytes());
        self.stage = Stage::Entries(Position::START, false);
        self.frames.frame(KIND_HEAD, &payload)
    }

    fn entries(&mut self, from: &Position, mut found: bool) -> Bytes {
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
            ControlFlow::Break(next) => Stage::Entries(next, found),
            ControlFlow::Continue(()) => Stage::End,
        };
        if payload.is_empty() {
            return Bytes::new();
        }
        self.frames.frame(KIND_ENTRIES, &payload)
    }

    fn end(&mut self) -> Bytes {
        self.stage = Stage::Done;
        self.frames.frame(KIND_END, &self.entries.to_le_bytes())
    }
}

impl Iterator for IndexWriter {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        Some(match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Head => self.head(),
            Stage::Entries(from, found) => self.entries(&from, found),
            Stage::End => self.end(),
            Stage::Done => return None,
        })
    }
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
