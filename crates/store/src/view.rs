//! The readers' half: an immutable list of segments.

use crate::segment::{Block, Record, RecordInfo, Segment};
use crate::{Patience, ReadError, Records, Rev};
use bytes::Bytes;
use std::sync::Arc;

/// Bytes that a scan reads first of a file, and most that it reads at a time: few records are
/// often all that is wanted.
const READ_BYTES: (usize, usize) = (8 * 1024, 256 * 1024);

/// A segment in a list, with its first revision at hand for searching.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) first: Rev,
    /// How often its records were merged; only of interest in the tail.
    pub(crate) level: u8,
    pub(crate) segment: Arc<Segment>,
}

impl Placed {
    pub(crate) fn new(segment: Segment, level: u8) -> Self {
        Placed {
            first: segment.directory().first(),
            level,
            segment: Arc::new(segment),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) sealed: Arc<Vec<Placed>>,
    pub(crate) tail: Arc<Vec<Placed>>,
}

/// A view for a reader who must not wait.
#[derive(Clone, Copy, Debug)]
pub struct Hot<'a>(pub &'a View);

impl View {
    /// The number of the segment that holds `rev` if any does, counting the tail behind the sealed
    /// ones.
    fn segment_of(&self, rev: Rev) -> Option<usize> {
        let (list, base) = match self.tail.first() {
            Some(first) if first.first <= rev => (&self.tail, self.sealed.len()),
            _ => (&self.sealed, 0),
        };
        let after = list.partition_point(|placed| placed.first <= rev);
        Some(base + after.checked_sub(1)?)
    }

    fn segment(&self, number: usize) -> Option<&Arc<Segment>> {
        let placed = match number.checked_sub(self.sealed.len()) {
            None => self.sealed.get(number),
            Some(in_tail) => self.tail.get(in_tail),
        };
        placed.map(|placed| &placed.segment)
    }

    fn segments(&self) -> usize {
        self.sealed.len() + self.tail.len()
    }

    /// The segment and the number in it of the record at `rev`.
    pub(crate) fn place(&self, rev: Rev) -> Option<(usize, usize)> {
        let number = self.segment_of(rev)?;
        let at = self.segment(number)?.directory().find(rev)?;
        Some((number, at))
    }

    /// The bytes of the record at `rev`.
    ///
    /// # Errors
    /// If they cannot be read, or not with so little patience.
    pub fn read(&self, rev: Rev, patience: Patience) -> Result<Option<Bytes>, ReadError> {
        let Some((number, at)) = self.place(rev) else {
            return Ok(None);
        };
        let segment = self.segment(number).expect("just found");
        segment.data(at, patience).map(Some)
    }

    /// What is known of the record at `rev` without reading it.
    #[must_use]
    pub fn info(&self, rev: Rev) -> Option<RecordInfo> {
        let (number, at) = self.place(rev)?;
        Some(self.segment(number)?.info(number, at))
    }

    /// The record at `rev`.
    ///
    /// # Errors
    /// If it cannot be read, or not with so little patience.
    pub fn find(&self, rev: Rev, patience: Patience) -> Result<Option<Record>, ReadError> {
        let Some((number, at)) = self.place(rev) else {
            return Ok(None);
        };
        let segment = self.segment(number).expect("just found");
        let block = segment.block(at..at + 1, patience)?;
        segment.record_of(number, at, &block).map(Some)
    }

    /// All records from `from` on, oldest first. Some of them may have been released. Ends with
    /// the first error.
    #[must_use]
    pub fn scan(&self, from: Rev) -> Scan<'_> {
        self.scan_with(from, Patience::Wait)
    }

    /// As [`View::scan`], with as much patience.
    #[must_use]
    pub fn scan_with(&self, from: Rev, patience: Patience) -> Scan<'_> {
        let number = self.segment_of(from).unwrap_or(0);
        let at = self
            .segment(number)
            .map_or(0, |segment| segment.directory().lower_bound(from));
        Scan {
            view: self,
            number,
            at,
            block: None,
            read_bytes: READ_BYTES.0,
            patience,
        }
    }

    /// As [`View::scan`], without reading any record.
    pub fn scan_infos(&self, from: Rev) -> impl Iterator<Item = RecordInfo> + '_ {
        let first = self.segment_of(from).unwrap_or(0);
        (first..self.segments()).flat_map(move |number| {
            let segment = self.segment(number).expect("within the list");
            let directory = segment.directory();
            let start = if number == first {
                directory.lower_bound(from)
            } else {
                0
            };
            (start..directory.len()).map(move |at| segment.info(number, at))
        })
    }
}

impl Records for View {
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError> {
        self.read(rev, Patience::Wait)
    }

    fn len(&self, rev: Rev) -> Option<usize> {
        self.info(rev).map(|info| info.len)
    }
}

impl Records for Hot<'_> {
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError> {
        self.0.read(rev, Patience::Never)
    }

    fn len(&self, rev: Rev) -> Option<usize> {
        self.0.len(rev)
    }
}

/// A walk over the records of a view.
#[derive(Debug)]
pub struct Scan<'a> {
    view: &'a View,
    number: usize,
    at: usize,
    /// What was read of the segment.
    block: Option<Block>,
    read_bytes: usize,
    patience: Patience,
}

impl Iterator for Scan<'_> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let segment = self.view.segment(self.number)?;
            if self.at == segment.directory().len() {
                self.number += 1;
                self.at = 0;
                self.block = None;
                continue;
            }
            let at = self.at;
            let record = match &self.block {
                Some(block) if block.range.contains(&at) => {
                    segment.record_of(self.number, at, block)
                }
                _ => {
                    let run = segment.run_of(at, self.read_bytes);
                    self.read_bytes = (self.read_bytes * 4).min(READ_BYTES.1);
                    match segment.block(run, self.patience) {
                        Ok(block) => {
                            self.block = Some(block);
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match &record {
                Ok(_) => self.at += 1,
                // Nothing comes behind an error.
                Err(_) => self.number = usize::MAX,
            }
            return Some(record);
        }
    }
}
