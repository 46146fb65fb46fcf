//! Reading a checkpoint back (its format stands in [`crate::checkpoint`]).
//!
//! Everything is verified: checksums and numbering of chunks, the order of records and of the
//! index, each index entry against the record it names, and that every record has exactly one.

use crate::Mvcc;
use crate::checkpoint::{KIND_END, KIND_HEAD, KIND_INDEX, KIND_RECORDS, MAGIC};
use crate::import::is_mark;
use crate::index::{Builder, Entry};
use crate::record;
use std::cmp::Ordering;
use tenet_base::{Index, Term};
use tenet_store::chunk::{Chunk, ChunkError, ChunkReader};
use tenet_store::{MemStore, MemView, Rev, Store, StoreView, varint};

/// Why a checkpoint cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checkpoint damaged at byte {offset}: {reason}")]
pub struct CheckpointError {
    /// Where the damage was seen, in bytes from the start.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

impl From<ChunkError> for CheckpointError {
    fn from(error: ChunkError) -> Self {
        CheckpointError {
            offset: error.offset,
            reason: error.reason,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Head {
    revision: i64,
    compacted: i64,
    applied: Index,
    term: Term,
}

#[derive(Debug)]
enum Stage {
    Head,
    Records,
    Index(MemView),
    Done,
}

/// A checkpoint coming in.
#[derive(Debug)]
pub struct Restore {
    chunks: ChunkReader,
    stage: Stage,
    head: Head,
    store: MemStore,
    last: Rev,
    records: u64,
    index: Builder,
    /// The last entry of the index.
    last_key: Vec<u8>,
    last_rev: Rev,
    entries: u64,
}

impl Default for Restore {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in a chunk, for reading and for errors.
struct Cursor<'a> {
    rest: &'a [u8],
    end: u64,
}

impl<'a> Cursor<'a> {
    fn new(chunk: &'a Chunk) -> Self {
        Cursor {
            rest: &chunk.payload,
            end: chunk.offset + chunk.payload.len() as u64,
        }
    }

    fn offset(&self) -> u64 {
        self.end - self.rest.len() as u64
    }

    fn number(&mut self, what: &str) -> Result<u64, CheckpointError> {
        let offset = self.offset();
        varint::take(&mut self.rest).ok_or_else(|| damaged(offset, format!("{what} is no number")))
    }

    fn fixed(&mut self, what: &str) -> Result<[u8; 8], CheckpointError> {
        let bytes = self.bytes(8, what)?;
        Ok(bytes.try_into().expect("eight bytes were asked for"))
    }

    fn bytes(&mut self, len: u64, what: &str) -> Result<&'a [u8], CheckpointError> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let Some((bytes, rest)) = split else {
            let reason = format!("{what} of {len} bytes, but {} are left", self.rest.len());
            return Err(damaged(self.offset(), reason));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn finish(&self) -> Result<(), CheckpointError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let reason = format!("{} bytes too many in the chunk", self.rest.len());
        Err(damaged(self.offset(), reason))
    }
}

fn damaged(offset: u64, reason: impl Into<String>) -> CheckpointError {
    CheckpointError {
        offset,
        reason: reason.into(),
    }
}

impl Restore {
    /// Waits for the first byte.
    #[must_use]
    pub fn new() -> Self {
        Restore {
            chunks: ChunkReader::new(MAGIC),
            stage: Stage::Head,
            head: Head {
                revision: 0,
                compacted: 0,
                applied: Index::ZERO,
                term: Term::ZERO,
            },
            store: MemStore::default(),
            last: Rev::MIN,
            records: 0,
            index: Builder::default(),
            last_key: Vec::new(),
            last_rev: Rev::MAX,
            entries: 0,
        }
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// If they are not what a checkpoint has there.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        self.chunks.push(bytes);
        while let Some(chunk) = self.chunks.next_chunk()? {
            self.chunk(&chunk)?;
        }
        Ok(())
    }

    /// Ends the checkpoint and gives the store, with the checkpoint's view published.
    ///
    /// # Errors
    /// If something is missing.
    pub fn finish(self) -> Result<Mvcc, CheckpointError> {
        if !matches!(self.stage, Stage::Done) || self.chunks.has_rest() {
            let reason = "the end is missing: it was not written whole";
            return Err(damaged(self.chunks.offset(), reason));
        }
        let Head {
            revision,
            compacted,
            applied,
            term,
        } = self.head;
        let mut mvcc = Mvcc::from_parts(self.index.finish(), self.store, revision, compacted);
        mvcc.publish(applied, term);
        Ok(mvcc)
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), CheckpointError> {
        let mut cursor = Cursor::new(chunk);
        match (&self.stage, chunk.kind) {
            (Stage::Head, KIND_HEAD) => self.head(&mut cursor)?,
            (Stage::Records, KIND_RECORDS) => {
                let mut before = 0;
                while !cursor.rest.is_empty() {
                    before = self.record(&mut cursor, before)?;
                }
            }
            (Stage::Records | Stage::Index(_), KIND_INDEX) => {
                let view = match std::mem::replace(&mut self.stage, Stage::Done) {
                    Stage::Index(view) => view,
                    _ => self.store.view(),
                };
                let mut key = Vec::new();
                while !cursor.rest.is_empty() {
                    self.entry(&mut cursor, &mut key, &view)?;
                }
                self.stage = Stage::Index(view);
            }
            (Stage::Records | Stage::Index(_), KIND_END) => self.end(&mut cursor)?,
            (_, kind) => {
                let reason = format!("a chunk of kind {kind} does not belong here");
                return Err(damaged(chunk.offset, reason));
            }
        }
        cursor.finish()
    }

    fn head(&mut self, cursor: &mut Cursor<'_>) -> Result<(), CheckpointError> {
        let offset = cursor.offset();
        self.head = Head {
            revision: i64::from_le_bytes(cursor.fixed("the revision")?),
            compacted: i64::from_le_bytes(cursor.fixed("the compact revision")?),
            applied: Index(u64::from_le_bytes(cursor.fixed("the applied index")?)),
            term: Term(u64::from_le_bytes(cursor.fixed("the term")?)),
        };
        let Head {
            revision,
            compacted,
            ..
        } = self.head;
        if revision < 1 || compacted < -1 || compacted > revision {
            let reason = format!("revision {revision} cannot be compacted at {compacted}");
            return Err(damaged(offset, reason));
        }
        self.stage = Stage::Records;
        Ok(())
    }

    /// Takes in a record and returns its main revision.
    fn record(&mut self, cursor: &mut Cursor<'_>, before: i64) -> Result<i64, CheckpointError> {
        let offset = cursor.offset();
        let distance = cursor.number("a revision")?;
        let sub = cursor.number("a sub-revision")?;
        let len = cursor.number("a length")?;
        let data = cursor.bytes(len >> 1, "a record")?;
        let main = i64::try_from(distance)
            .ok()
            .and_then(|distance| before.checked_add(distance));
        let rev = match (main, u32::try_from(sub)) {
            (Some(main), Ok(sub)) if sub < 1 << 31 => Rev::new(main, sub),
            _ => return Err(damaged(offset, "a revision out of range")),
        };
        if rev <= self.last || rev.main > self.head.revision {
            let reason = format!(
                "record {rev} behind record {} at revision {}",
                self.last, self.head.revision
            );
            return Err(damaged(offset, reason));
        }
        self.last = rev;
        self.records += 1;
        self.store
            .append(rev, len & 1 != 0, |out| out.extend_from_slice(data));
        Ok(rev.main)
    }

    fn entry(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: &mut Vec<u8>,
        view: &MemView,
    ) -> Result<(), CheckpointError> {
        let offset = cursor.offset();
        let shared = cursor.number("a shared length")?;
        let rest = cursor.number("a key's length")?;
        let rest = cursor.bytes(rest, "a key")?;
        if shared > key.len() as u64 {
            let reason = format!("{shared} bytes shared with a key of {}", key.len());
            return Err(damaged(offset, reason));
        }
        key.truncate(shared as usize);
        key.extend_from_slice(rest);
        let main = cursor.number("a revision")?;
        let sub = cursor.number("a sub-revision")?;
        let tombstone = sub & 1 != 0;
        let (age, version) = if tombstone {
            (main, 0)
        } else {
            (
                cursor.number("a create revision")?,
                cursor.number("a version")?,
            )
        };
        let entry = entry_of(main, sub >> 1, age, version, tombstone)
            .ok_or_else(|| damaged(offset, "a revision out of range"))?;
        self.check_entry(key, &entry, view)
            .map_err(|reason| damaged(offset, reason))?;
        self.index.push(key, entry);
        self.last_key.clone_from(key);
        self.last_rev = entry.rev();
        self.entries += 1;
        Ok(())
    }

    fn check_entry(&self, key: &[u8], entry: &Entry, view: &MemView) -> Result<(), String> {
        let rev = entry.rev();
        let ordered = match self.last_key.as_slice().cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => rev < self.last_rev,
            Ordering::Greater => false,
        };
        if !ordered {
            return Err(format!("index entry {rev} is out of order"));
        }
        let Some(record) = view.find(rev) else {
            return Err(format!("index entry {rev} has no record"));
        };
        let matches = record::parse(record.data).is_some_and(|parts| {
            if entry.version == 0 && !entry.tombstone {
                return key.is_empty() && is_mark(&parts);
            }
            let numbers = parts.numbers;
            let mod_revision = if entry.tombstone { 0 } else { entry.main };
            parts.key == key
                && numbers.create == entry.create
                && numbers.modified == mod_revision
                && numbers.version == entry.version
                && (!entry.tombstone || (numbers.lease == 0 && parts.value.is_empty()))
        });
        if !matches || record.tombstone != entry.tombstone {
            return Err(format!("index entry {rev} is not what its record says"));
        }
        Ok(())
    }

    fn end(&mut self, cursor: &mut Cursor<'_>) -> Result<(), CheckpointError> {
        let offset = cursor.offset();
        let records = u64::from_le_bytes(cursor.fixed("the number of records")?);
        let entries = u64::from_le_bytes(cursor.fixed("the number of entries")?);
        // Entries differ in (key, revision) and name a record of that key and revision, so equal
        // numbers mean that every record has its entry.
        if (records, entries) != (self.records, self.entries) || records != entries {
            let reason = format!(
                "{records} records and {entries} index entries are announced, {} and {} are there",
                self.records, self.entries
            );
            return Err(damaged(offset, reason));
        }
        self.stage = Stage::Done;
        Ok(())
    }
}

fn entry_of(main: u64, sub: u64, age: u64, version: u64, tombstone: bool) -> Option<Entry> {
    let main = i64::try_from(main).ok()?;
    let create = main.checked_sub(i64::try_from(age).ok()?)?;
    let version = i64::try_from(version).ok()?;
    let is_mark = create == 0 && version == 0;
    let sane = main > 1 && (tombstone || is_mark || (create > 1 && version > 0));
    let rev = Rev::new(main, u32::try_from(sub).ok()?);
    sane.then_some(Entry::new(rev, create, version, tombstone))
}
