//! Bringing the index back from its file (its format stands in [`crate::index_file`]) and from the
//! records behind it.
//!
//! Verified are checksums and numbering of chunks, the order of entries, that the store has a
//! record for each, and of every record behind the index that it continues what its key had. The
//! records that the index names are not read: a start would take as long as reading everything.

use crate::Mvcc;
use crate::import::is_mark;
use crate::index::{Builder, Entry, Tree};
use crate::index_file::{KIND_END, KIND_ENTRIES, KIND_HEAD, MAGIC};
use crate::record;
use std::cmp::Ordering;
use tenet_base::disk::{DiskView, FilePath};
use tenet_store::chunk::{Chunk, ChunkReader};
use tenet_store::{Cut, Marks, Opened, ReadError, Record, Rev, View, varint};

/// How much of the file is read at a time.
const READ_BYTES: usize = 1024 * 1024;

impl Mvcc {
    /// The store at its cut, published.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged, or does not fit the others.
    pub fn recover(disk: &dyn DiskView, opened: Opened) -> Result<Mvcc, ReadError> {
        let Opened {
            mut store,
            manifest,
            index: path,
            ..
        } = opened;
        let view = store.view();
        let mut reading = Reading::new(&path, &view);
        reading.read(disk)?;
        let Reading {
            head,
            builder,
            mut live,
            ..
        } = reading;
        let cut = manifest.cut;
        let compacted = cut.compacted.map_or(-1, |at| at.get());
        if head.revision != manifest.index.revision.get()
            || head.revision > cut.revision.get()
            || head.compacted > compacted
        {
            let reason = format!(
                "it is of revision {} compacted at {}, the manifest says {} for a store at {} \
                 compacted at {compacted}",
                head.revision, head.compacted, manifest.index.revision, cut.revision
            );
            return Err(damaged(&path, 0, reason));
        }
        let mut tree = builder.finish();
        let behind = Rev::new(head.revision + 1, 0);
        let mut behind_index = 0;
        for found in view.scan(behind) {
            let found = found?;
            follow(&mut tree, &found, &cut).map_err(|reason| damaged(&path, 0, reason))?;
            live.insert(found.place);
            behind_index += 1;
        }
        store.recovered(&live, behind_index);
        let mut mvcc = Mvcc::from_parts(tree, store, cut.revision.get(), compacted);
        if compacted > head.compacted {
            mvcc.maintenance.resume(compacted);
        }
        mvcc.publish(cut.applied, cut.term);
        Ok(mvcc)
    }
}

/// Adds a record behind the index to it.
fn follow(tree: &mut Tree, found: &Record, cut: &Cut) -> Result<(), String> {
    let rev = found.rev;
    let Some(parts) = record::parse(&found.data) else {
        return Err(format!("record {rev} is not a key-value"));
    };
    if rev.main > cut.revision.get() {
        return Err(format!(
            "record {rev} lies above revision {} of the cut",
            cut.revision
        ));
    }
    if found.tombstone {
        if tree.head(parts.key).is_none() {
            return Err(format!("record {rev} deletes a key that is not there"));
        }
        tree.delete(parts.key, rev);
        return Ok(());
    }
    if is_mark(&parts) {
        tree.set(parts.key, rev, Entry::new(rev, 0, 0, false));
        return Ok(());
    }
    let entry = tree.put(parts.key, rev);
    let numbers = parts.numbers;
    if (numbers.create, numbers.modified, numbers.version)
        != (entry.create, rev.main, entry.version)
    {
        return Err(format!(
            "record {rev} is version {} of a key created at {}, but the index before it says {} \
             and {}",
            numbers.version, numbers.create, entry.version, entry.create
        ));
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
struct Head {
    revision: i64,
    compacted: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Entries,
    Done,
}

/// An index coming in.
struct Reading<'a> {
    path: &'a FilePath,
    view: &'a View,
    chunks: ChunkReader,
    stage: Stage,
    head: Head,
    builder: Builder,
    /// The records that it names.
    live: Marks,
    last_key: Vec<u8>,
    last_rev: Rev,
    entries: u64,
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

    fn number(&mut self) -> Option<u64> {
        varint::take(&mut self.rest)
    }

    fn fixed(&mut self) -> Option<u64> {
        let bytes = self.bytes(8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn bytes(&mut self, len: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(bytes)
    }
}

fn damaged(path: &FilePath, offset: u64, reason: impl Into<String>) -> ReadError {
    ReadError::Damaged {
        path: path.clone(),
        offset,
        reason: reason.into(),
    }
}

impl<'a> Reading<'a> {
    fn new(path: &'a FilePath, view: &'a View) -> Self {
        Reading {
            path,
            view,
            chunks: ChunkReader::new(MAGIC),
            stage: Stage::Head,
            head: Head {
                revision: 0,
                compacted: 0,
            },
            builder: Builder::default(),
            live: Marks::default(),
            last_key: Vec::new(),
            last_rev: Rev::MAX,
            entries: 0,
        }
    }

    fn read(&mut self, disk: &dyn DiskView) -> Result<(), ReadError> {
        let mut offset = 0;
        loop {
            let piece = disk.read_at(self.path, offset, READ_BYTES)?;
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            self.chunks.push(&piece);
            while let Some(chunk) = self.next_chunk()? {
                self.chunk(&chunk)?;
            }
        }
        if self.stage == Stage::Done && !self.chunks.has_rest() {
            return Ok(());
        }
        let reason = "the end is missing: it was not written whole";
        Err(damaged(self.path, self.chunks.offset(), reason))
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        let chunk = self.chunks.next_chunk();
        chunk.map_err(|error| damaged(self.path, error.offset, error.reason))
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), ReadError> {
        let mut cursor = Cursor::new(chunk);
        let read = match (self.stage, chunk.kind) {
            (Stage::Head, KIND_HEAD) => self.head(&mut cursor),
            (Stage::Entries, KIND_ENTRIES) => self.entries(&mut cursor),
            (Stage::Entries, KIND_END) => self.end(&mut cursor),
            (_, kind) => Err(format!("a chunk of kind {kind} does not belong here")),
        };
        let rest = cursor.rest.len();
        let read = match read {
            Ok(()) if rest > 0 => Err(format!("{rest} bytes too many in the chunk")),
            read => read,
        };
        read.map_err(|reason| damaged(self.path, cursor.offset(), reason))
    }

    fn head(&mut self, cursor: &mut Cursor<'_>) -> Result<(), String> {
        let mut number = || cursor.fixed().ok_or("the head is too short");
        self.head = Head {
            revision: number()? as i64,
            compacted: number()? as i64,
        };
        let (_applied, _term) = (number()?, number()?);
        let Head {
            revision,
            compacted,
        } = self.head;
        if revision < 1 || compacted < -1 || compacted > revision {
            return Err(format!(
                "revision {revision} cannot be compacted at {compacted}"
            ));
        }
        self.stage = Stage::Entries;
        Ok(())
    }

    fn entries(&mut self, cursor: &mut Cursor<'_>) -> Result<(), String> {
        let mut key = Vec::new();
        while !cursor.rest.is_empty() {
            let entry = take_entry(cursor, &mut key).ok_or("an entry cannot be decoded")?;
            self.entry(&key, entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, key: &[u8], entry: Entry) -> Result<(), String> {
        let rev = entry.rev();
        let ordered = match self.last_key.as_slice().cmp(key) {
            Ordering::Less => true,
            Ordering::Equal => rev < self.last_rev,
            Ordering::Greater => false,
        };
        if !ordered {
            return Err(format!("entry {rev} is out of order"));
        }
        if rev.main > self.head.revision {
            return Err(format!(
                "entry {rev} lies above revision {}",
                self.head.revision
            ));
        }
        let Some(info) = self.view.info(rev) else {
            return Err(format!(
                "entry {rev} names a record that the store does not have"
            ));
        };
        if info.tombstone != entry.tombstone || !self.live.insert(info.place) {
            return Err(format!("entry {rev} is not what its record says"));
        }
        self.builder.push(key, entry);
        if self.last_key != key {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.last_rev = rev;
        self.entries += 1;
        Ok(())
    }

    fn end(&mut self, cursor: &mut Cursor<'_>) -> Result<(), String> {
        let entries = cursor.fixed().ok_or("the end is too short")?;
        if entries != self.entries {
            return Err(format!(
                "{entries} entries are announced, {} are there",
                self.entries
            ));
        }
        self.stage = Stage::Done;
        Ok(())
    }
}

/// The next entry; `key` is that of the one before, and then its own.
fn take_entry(cursor: &mut Cursor<'_>, key: &mut Vec<u8>) -> Option<Entry> {
    let shared = cursor.number()?;
    let rest = cursor.number()?;
    let rest = cursor.bytes(rest)?;
    if shared > key.len() as u64 {
        return None;
    }
    key.truncate(shared as usize);
    key.extend_from_slice(rest);
    let main = i64::try_from(cursor.number()?).ok()?;
    let sub = cursor.number()?;
    let tombstone = sub & 1 != 0;
    let (age, version) = if tombstone {
        (main, 0)
    } else {
        let age = i64::try_from(cursor.number()?).ok()?;
        (age, i64::try_from(cursor.number()?).ok()?)
    };
    let create = main.checked_sub(age)?;
    // What a restore with a raised revision leaves has neither.
    let is_mark = key.is_empty() && create == 0 && version == 0;
    let sane = main > 1 && (tombstone || is_mark || (create > 1 && version > 0));
    let rev = Rev::new(main, u32::try_from(sub >> 1).ok()?);
    sane.then_some(Entry::new(rev, create, version, tombstone))
}
