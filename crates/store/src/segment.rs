//! A run of records, immutable once built: its directory, and its bytes in memory or in a file.

use crate::directory::{Directory, DirectoryBuilder, SLOT_BYTES};
use crate::file;
use crate::{Patience, ReadError, Rev};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenet_base::crc;
use tenet_base::disk::{FilePath, FileReader};
use tenet_base::limits::STORE_DAMAGES_PER_FILE_MAX;

/// Where a view holds a record. Means nothing to another view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the segment.
    pub(crate) segment: u32,
    /// The number of the record in it.
    pub(crate) slot: u32,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its revision.
    pub rev: Rev,
    /// Whether it was appended as a tombstone.
    pub tombstone: bool,
    /// Its bytes.
    pub data: Bytes,
    /// The CRC-32C of its bytes when it was appended.
    pub crc: u32,
    /// Where the view holds it.
    pub place: Place,
}

impl Record {
    /// Checks the bytes against the checksum.
    ///
    /// # Panics
    /// If they differ: memory was damaged, and going on would spread it. (What is read from a
    /// file is checked when it is read.)
    pub fn verify(&self) {
        let found = crc::crc32c(&self.data);
        assert!(
            found == self.crc,
            "record {} has checksum {found:08x}, not {:08x} as when it was written: \
             the memory of this process is damaged",
            self.rev,
            self.crc
        );
    }
}

/// What is known of a record without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// Its revision.
    pub rev: Rev,
    /// Whether it was appended as a tombstone.
    pub tombstone: bool,
    /// How many bytes it has.
    pub len: usize,
    /// The CRC-32C of its bytes.
    pub crc: u32,
    /// Where the view holds it.
    pub place: Place,
}

/// A sealed file that holds the records of a segment.
#[derive(Debug)]
pub(crate) struct Stored {
    path: FilePath,
    reader: Arc<dyn FileReader>,
    lost: Lost,
}

/// The records of a file that were found damaged. They are not given out any more, by no view.
#[derive(Debug, Default)]
struct Lost {
    /// Whether there are any: asked at every read.
    any: AtomicBool,
    records: Mutex<BTreeSet<usize>>,
}

impl Lost {
    fn records(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contains(&self, at: usize) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let records = self.records();
        // Where so much is wrong nothing is trusted.
        records.len() >= STORE_DAMAGES_PER_FILE_MAX || records.contains(&at)
    }

    fn extend(&self, range: Range<usize>) {
        let mut records = self.records();
        let room = STORE_DAMAGES_PER_FILE_MAX.saturating_sub(records.len());
        records.extend(range.take(room));
        self.any.store(!records.is_empty(), Ordering::Release);
    }
}

#[derive(Debug)]
enum Data {
    Memory(Bytes),
    File(Stored),
}

/// The records of one span of revisions.
#[derive(Debug)]
pub(crate) struct Segment {
    directory: Directory,
    data: Data,
}

impl Segment {
    pub(crate) fn stored(directory: Directory, stored: Stored) -> Segment {
        Segment {
            directory,
            data: Data::File(stored),
        }
    }

    /// Says that records were found damaged; gives their revisions.
    pub(crate) fn lose(&self, range: Range<usize>) -> Vec<Rev> {
        if let Data::File(stored) = &self.data {
            stored.lost.extend(range.clone());
        }
        range.map(|at| self.directory.rev(at)).collect()
    }

    /// Whether any of its records was found damaged.
    pub(crate) fn has_lost(&self) -> bool {
        match &self.data {
            Data::Memory(_) => false,
            Data::File(stored) => stored.lost.any.load(Ordering::Acquire),
        }
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The bytes that this segment counts for: data and directory.
    pub(crate) fn bytes(&self) -> u64 {
        (self.directory.data_bytes() + self.directory.len() * SLOT_BYTES) as u64
    }

    /// The bytes that record `at` counts for.
    pub(crate) fn record_bytes(&self, at: usize) -> u64 {
        (self.directory.span(at).len() + SLOT_BYTES) as u64
    }

    /// The bytes of record `at`.
    pub(crate) fn data(&self, at: usize, patience: Patience) -> Result<Bytes, ReadError> {
        match &self.data {
            Data::Memory(bytes) => Ok(bytes.slice(self.directory.span(at))),
            Data::File(stored) => {
                let span = self.directory.span(at);
                self.refuse_lost(stored, at)?;
                let bytes = stored.read(&span, patience)?;
                self.check(at, &bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The bytes of the records of a range, all at once, to be taken apart with
    /// [`Segment::record_of`].
    pub(crate) fn block(
        &self,
        range: Range<usize>,
        patience: Patience,
    ) -> Result<Block, ReadError> {
        let start = self.directory.span(range.start).start;
        let span = start..self.directory.span(range.end - 1).end;
        let bytes = match &self.data {
            Data::Memory(bytes) => bytes.slice(span),
            Data::File(stored) => stored.read(&span, patience)?,
        };
        Ok(Block {
            range,
            start,
            bytes,
        })
    }

    /// Record `at` out of a block that holds it.
    pub(crate) fn record_of(
        &self,
        segment: usize,
        at: usize,
        block: &Block,
    ) -> Result<Record, ReadError> {
        let span = self.directory.span(at);
        let data = block
            .bytes
            .slice(span.start - block.start..span.end - block.start);
        if let Data::File(stored) = &self.data {
            self.refuse_lost(stored, at)?;
            self.check(at, &data)?;
        }
        let RecordInfo {
            rev,
            tombstone,
            crc,
            place,
            ..
        } = self.info(segment, at);
        Ok(Record {
            rev,
            tombstone,
            data,
            crc,
            place,
        })
    }

    /// How many records from `at` on have about `bytes` together, at least one.
    pub(crate) fn run_of(&self, at: usize, bytes: usize) -> Range<usize> {
        if let Data::Memory(_) = &self.data {
            return at..self.directory.len();
        }
        let limit = self.directory.span(at).start + bytes;
        let mut end = at + 1;
        while end < self.directory.len() && self.directory.span(end).end <= limit {
            end += 1;
        }
        at..end
    }

    pub(crate) fn info(&self, segment: usize, at: usize) -> RecordInfo {
        RecordInfo {
            rev: self.directory.rev(at),
            tombstone: self.directory.is_tombstone(at),
            len: self.directory.span(at).len(),
            crc: self.directory.crc(at),
            place: Place {
                segment: segment as u32,
                slot: at as u32,
            },
        }
    }

    fn refuse_lost(&self, stored: &Stored, at: usize) -> Result<(), ReadError> {
        if !stored.lost.contains(at) {
            return Ok(());
        }
        let reason = format!("record {} was found damaged", self.directory.rev(at));
        let offset = file::HEADER_BYTES + self.directory.span(at).start as u64;
        Err(ReadError::damaged(&stored.path, offset, reason))
    }

    /// Compares the bytes of record `at`, as they were read from its file, with its checksum.
    pub(crate) fn check(&self, at: usize, bytes: &[u8]) -> Result<(), ReadError> {
        let (found, written) = (crc::crc32c(bytes), self.directory.crc(at));
        let Data::File(stored) = &self.data else {
            return Ok(());
        };
        if found == written {
            return Ok(());
        }
        let offset = file::HEADER_BYTES + self.directory.span(at).start as u64;
        let reason = format!(
            "record {} of {} bytes has checksum {found:08x}, not {written:08x} as when it was \
             written",
            self.directory.rev(at),
            bytes.len()
        );
        Err(ReadError::damaged(&stored.path, offset, reason))
    }
}

impl Stored {
    pub(crate) fn new(path: FilePath, reader: Arc<dyn FileReader>) -> Self {
        Stored {
            path,
            reader,
            lost: Lost::default(),
        }
    }

    fn read(&self, span: &Range<usize>, patience: Patience) -> Result<Bytes, ReadError> {
        if span.is_empty() {
            return Ok(Bytes::new());
        }
        let offset = file::HEADER_BYTES + span.start as u64;
        match patience {
            Patience::Wait => Ok(self.reader.read(offset, span.len())?),
            Patience::Never => {
                let cached = self.reader.read_cached(offset, span.len())?;
                cached.ok_or(ReadError::Cold)
            }
        }
    }
}

/// Bytes of neighbouring records.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) range: Range<usize>,
    start: usize,
    bytes: Bytes,
}

impl Block {
    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A segment in the making, in memory.
#[derive(Debug, Default)]
pub(crate) struct SegmentBuilder {
    directory: DirectoryBuilder,
    data: Vec<u8>,
}

impl SegmentBuilder {
    pub(crate) fn with_capacity(records: usize, data_bytes: usize) -> Self {
        SegmentBuilder {
            directory: DirectoryBuilder::with_capacity(records),
            data: Vec::with_capacity(data_bytes),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.directory.is_empty()
    }

    /// The bytes that what was built counts for.
    pub(crate) fn bytes(&self) -> u64 {
        (self.data.len() + self.directory.len() * SLOT_BYTES) as u64
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Whether a record at `main` can still be addressed from the first one.
    pub(crate) fn reaches(&self, main: i64) -> bool {
        self.directory.reaches(main)
    }

    /// Adds a record whose bytes `encode` writes.
    pub(crate) fn push(&mut self, rev: Rev, tombstone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.data.len();
        encode(&mut self.data);
        let crc = crc::crc32c(&self.data[start..]);
        self.directory.push(rev, tombstone, self.data.len(), crc);
    }

    /// Adds a record of another segment as it is.
    pub(crate) fn copy(&mut self, record: &Record) {
        record.verify();
        self.data.extend_from_slice(&record.data);
        let end = self.data.len();
        self.directory
            .push(record.rev, record.tombstone, end, record.crc);
    }

    /// The bytes of the record at `rev`.
    pub(crate) fn get(&self, rev: Rev) -> Option<&[u8]> {
        let at = self.directory.find(rev)?;
        Some(&self.data[self.directory.span(at)])
    }

    /// Copies out what was built, in exactly the room it needs, and starts anew with the same
    /// buffers.
    pub(crate) fn cut(&mut self) -> Option<Segment> {
        let segment = Segment {
            directory: self.directory.cut()?,
            data: Data::Memory(Bytes::copy_from_slice(&self.data)),
        };
        self.data.clear();
        Some(segment)
    }

    /// Turns what was built into a segment without copying the bytes.
    pub(crate) fn finish(mut self) -> Option<Segment> {
        Some(Segment {
            directory: self.directory.cut()?,
            data: Data::Memory(Bytes::from(self.data.into_boxed_slice())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "memory of this process is damaged")]
    fn a_record_with_a_flipped_bit_is_not_passed_on() {
        let mut builder = SegmentBuilder::default();
        builder.push(Rev::new(2, 0), false, |data| data.extend_from_slice(b"2.0"));
        let segment = builder.finish().expect("a record");
        let block = segment.block(0..1, Patience::Never).expect("in memory");
        let mut record = segment.record_of(0, 0, &block).expect("in memory");
        record.data = Bytes::from_static(b"3.0");
        record.verify();
    }

    #[test]
    fn a_cut_leaves_the_builder_empty() {
        let mut builder = SegmentBuilder::default();
        builder.push(Rev::new(5, 0), false, |data| data.push(1));
        assert_eq!(builder.get(Rev::new(5, 0)), Some(&[1][..]));
        assert_eq!(builder.cut().expect("one record").directory().len(), 1);
        assert!(builder.is_empty() && builder.cut().is_none());
        assert!(builder.get(Rev::new(5, 0)).is_none());
    }
}
