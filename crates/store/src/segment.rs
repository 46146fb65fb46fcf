//! A run of records, immutable once built.
//!
//! The directory holds 16 bytes a record. Main revisions are kept as the distance from the
//! segment's first, so a segment spans at most 2^32 of them; subs use 31 bits, the last one marks
//! a tombstone.

use crate::Rev;
use bytes::Bytes;
use tenet_base::crc;

/// Bytes of directory per record.
pub(crate) const SLOT_BYTES: usize = size_of::<Slot>();
/// The bit of [`Slot::sub`] that marks a tombstone.
const TOMBSTONE: u32 = 1 << 31;

/// A directory entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    main: u32,
    sub: u32,
    end: u32,
    crc: u32,
}

/// Where a view holds a record. Means nothing to another view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the segment.
    pub(crate) segment: u32,
    /// The number of the record in it.
    pub(crate) slot: u32,
}

/// A record as a scan sees it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its revision.
    pub rev: Rev,
    /// Whether it was appended as a tombstone.
    pub tombstone: bool,
    /// Its bytes.
    pub data: &'a [u8],
    /// The CRC-32C of its bytes when it was appended.
    pub crc: u32,
    /// Where the view holds it.
    pub place: Place,
}

impl Record<'_> {
    /// Checks the bytes against the checksum.
    ///
    /// # Panics
    /// If they differ: memory was damaged, and going on would spread it.
    pub fn verify(&self) {
        let found = crc::crc32c(self.data);
        assert!(
            found == self.crc,
            "record {} has checksum {found:08x}, not {:08x} as when it was written: \
             the memory of this process is damaged",
            self.rev,
            self.crc
        );
    }
}

/// The records of one span of revisions.
#[derive(Debug)]
pub(crate) struct Segment {
    first: Rev,
    /// Main revisions from the first to the last, both included. Beside `first`, so that a search
    /// does not have to look at the last slot.
    span: u64,
    data: Bytes,
    slots: Box<[Slot]>,
}

impl Segment {
    pub(crate) fn first(&self) -> Rev {
        self.first
    }

    pub(crate) fn last_main(&self) -> i64 {
        self.first.main + (self.span - 1) as i64
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// The bytes that this segment counts for: data and directory.
    pub(crate) fn bytes(&self) -> u64 {
        (self.data.len() + self.slots.len() * SLOT_BYTES) as u64
    }

    fn span(&self, at: usize) -> std::ops::Range<usize> {
        let start = if at == 0 { 0 } else { self.slots[at - 1].end };
        start as usize..self.slots[at].end as usize
    }

    /// The bytes that record `at` counts for.
    pub(crate) fn record_bytes(&self, at: usize) -> u64 {
        (self.span(at).len() + SLOT_BYTES) as u64
    }

    pub(crate) fn data(&self, at: usize) -> Bytes {
        self.data.slice(self.span(at))
    }

    pub(crate) fn record(&self, segment: usize, at: usize) -> Record<'_> {
        let slot = &self.slots[at];
        Record {
            rev: slot.rev(self.first.main),
            tombstone: slot.sub & TOMBSTONE != 0,
            data: &self.data[self.span(at)],
            crc: slot.crc,
            place: Place {
                segment: segment as u32,
                slot: at as u32,
            },
        }
    }

    /// The number of the record at `rev`.
    pub(crate) fn find(&self, rev: Rev) -> Option<usize> {
        let at = self.lower_bound(rev);
        let slot = self.slots.get(at)?;
        (slot.rev(self.first.main) == rev).then_some(at)
    }

    /// The number of the first record at or after `rev`.
    ///
    /// Main revisions are nearly dense, so the place is guessed from the distance and the search
    /// gallops from there: mostly two looks instead of a dozen cache misses.
    pub(crate) fn lower_bound(&self, rev: Rev) -> usize {
        if rev <= self.first {
            return 0;
        }
        let n = self.slots.len();
        let Some(distance) = u32::try_from(rev.main - self.first.main)
            .ok()
            .filter(|&distance| u64::from(distance) < self.span)
        else {
            return n;
        };
        let guess = (u64::from(distance) * n as u64 / self.span) as usize;
        let before = |at: usize| self.slots[at].rev(self.first.main) < rev;
        let (mut low, mut high, mut step) = (guess, guess, 1);
        if before(guess) {
            // The answer is in (low, high].
            high = loop {
                let next = low + step;
                if next >= n {
                    break n;
                }
                if !before(next) {
                    break next;
                }
                low = next;
                step *= 2;
            };
            low += 1;
        } else {
            // The answer is in [low, high].
            low = loop {
                if high < step {
                    break 0;
                }
                let next = high - step;
                if before(next) {
                    break next + 1;
                }
                high = next;
                step *= 2;
            };
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Slot {
    fn rev(&self, first_main: i64) -> Rev {
        Rev::new(first_main + i64::from(self.main), self.sub & !TOMBSTONE)
    }
}

/// A segment in the making.
#[derive(Debug, Default)]
pub(crate) struct SegmentBuilder {
    first: Option<Rev>,
    data: Vec<u8>,
    slots: Vec<Slot>,
}

impl SegmentBuilder {
    pub(crate) fn with_capacity(records: usize, data_bytes: usize) -> Self {
        SegmentBuilder {
            first: None,
            data: Vec::with_capacity(data_bytes),
            slots: Vec::with_capacity(records),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn data_bytes(&self) -> usize {
        self.data.len()
    }

    /// Whether a record at `main` can still be addressed from the first one.
    pub(crate) fn reaches(&self, main: i64) -> bool {
        self.first
            .is_none_or(|first| u32::try_from(main - first.main).is_ok())
    }

    /// Adds a record whose bytes `encode` writes.
    pub(crate) fn push(&mut self, rev: Rev, tombstone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.data.len();
        encode(&mut self.data);
        let crc = crc::crc32c(&self.data[start..]);
        self.push_slot(rev, tombstone, crc);
    }

    /// Adds a record of another segment as it is.
    pub(crate) fn copy(&mut self, record: &Record<'_>) {
        record.verify();
        self.data.extend_from_slice(record.data);
        self.push_slot(record.rev, record.tombstone, record.crc);
    }

    fn push_slot(&mut self, rev: Rev, tombstone: bool, crc: u32) {
        let first = *self.first.get_or_insert(rev);
        let main = u32::try_from(rev.main - first.main);
        let end = u32::try_from(self.data.len());
        let (Ok(main), Ok(end)) = (main, end) else {
            panic!(
                "segment from {first} cannot hold record {rev} at byte {}: \
                 it should have been ended before",
                self.data.len()
            );
        };
        assert!(
            rev.sub < TOMBSTONE,
            "transaction {} has {} changes, more than a record can number",
            rev.main,
            rev.sub
        );
        self.slots.push(Slot {
            main,
            sub: rev.sub | if tombstone { TOMBSTONE } else { 0 },
            end,
            crc,
        });
    }

    /// The bytes of the record at `rev`.
    pub(crate) fn get(&self, rev: Rev) -> Option<&[u8]> {
        let first = self.first?;
        let at = self
            .slots
            .binary_search_by_key(&rev, |slot| slot.rev(first.main))
            .ok()?;
        let start = if at == 0 { 0 } else { self.slots[at - 1].end };
        Some(&self.data[start as usize..self.slots[at].end as usize])
    }

    fn span(&self) -> u64 {
        self.slots.last().map_or(0, |last| u64::from(last.main) + 1)
    }

    /// Copies out what was built, in exactly the room it needs, and starts anew with the same
    /// buffers.
    pub(crate) fn cut(&mut self) -> Option<Segment> {
        let segment = Segment {
            first: self.first.take()?,
            span: self.span(),
            data: Bytes::copy_from_slice(&self.data),
            slots: self.slots.as_slice().into(),
        };
        self.data.clear();
        self.slots.clear();
        Some(segment)
    }

    /// Turns what was built into a segment without copying.
    pub(crate) fn finish(self) -> Option<Segment> {
        Some(Segment {
            first: self.first?,
            span: self.span(),
            data: Bytes::from(self.data.into_boxed_slice()),
            slots: self.slots.into_boxed_slice(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_base::Rng;
    use tenet_base::world::SplitMix64;

    fn segment(revs: &[Rev]) -> Segment {
        let mut builder = SegmentBuilder::default();
        for &rev in revs {
            builder.push(rev, rev.sub == 1, |data| {
                data.extend_from_slice(rev.to_string().as_bytes());
            });
        }
        builder.finish().expect("records")
    }

    #[test]
    fn every_record_is_found_and_no_other() {
        let mut rng = SplitMix64::new(7);
        for round in 0..200 {
            let mut revs = Vec::new();
            let mut main = 2 + rng.below(1 << 40) as i64;
            // Rounds differ in how dense the revisions are and how skewed.
            let gap = [1, 2, 1_000_000][round % 3];
            for _ in 0..1 + rng.below(60) {
                let subs = if rng.below(10) == 0 {
                    rng.below(50) + 1
                } else {
                    1
                };
                revs.extend((0..subs as u32).map(|sub| Rev::new(main, sub)));
                main += 1 + rng.below(gap) as i64;
            }
            let segment = segment(&revs);
            for (at, &rev) in revs.iter().enumerate() {
                assert_eq!(segment.find(rev), Some(at));
                assert_eq!(&segment.data(at)[..], rev.to_string().as_bytes());
                let record = segment.record(5, at);
                record.verify();
                assert_eq!((record.rev, record.tombstone), (rev, rev.sub == 1));
            }
            for _ in 0..50 {
                let near = revs[rng.below(revs.len() as u64) as usize];
                let probe = Rev::new(near.main + rng.below(5) as i64 - 2, rng.below(3) as u32);
                let expected = revs.partition_point(|&rev| rev < probe);
                assert_eq!(segment.lower_bound(probe), expected);
                assert_eq!(segment.find(probe).is_some(), revs.contains(&probe));
            }
            assert_eq!(segment.lower_bound(Rev::MAX), revs.len());
            assert_eq!(segment.lower_bound(Rev::MIN), 0);
        }
    }

    #[test]
    #[should_panic(expected = "memory of this process is damaged")]
    fn a_record_with_a_flipped_bit_is_not_passed_on() {
        let segment = segment(&[Rev::new(2, 0)]);
        let mut record = segment.record(0, 0);
        record.data = b"3.0";
        record.verify();
    }

    #[test]
    fn a_cut_leaves_the_builder_empty() {
        let mut builder = SegmentBuilder::default();
        builder.push(Rev::new(5, 0), false, |data| data.push(1));
        assert_eq!(builder.cut().expect("one record").len(), 1);
        assert!(builder.is_empty() && builder.cut().is_none());
        assert!(builder.get(Rev::new(5, 0)).is_none());
    }
}
