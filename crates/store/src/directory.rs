//! The directory of a segment: which records it has and where each ends.
//!
//! It holds 16 bytes a record. Main revisions are kept as the distance from the segment's first,
//! so a segment spans at most 2^32 of them; subs use 31 bits, the last one marks a tombstone.

use crate::Rev;
use std::ops::Range;

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

/// See the module.
#[derive(Debug)]
pub(crate) struct Directory {
    first: Rev,
    /// Main revisions from the first to the last, both included. Beside `first`, so that a search
    /// does not have to look at the last slot.
    span: u64,
    slots: Box<[Slot]>,
}

impl Directory {
    pub(crate) fn first(&self) -> Rev {
        self.first
    }

    pub(crate) fn last_main(&self) -> i64 {
        self.first.main + (self.span - 1) as i64
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of all records.
    pub(crate) fn data_bytes(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.end as usize)
    }

    /// Where the bytes of record `at` are among those of all.
    pub(crate) fn span(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { self.slots[at - 1].end };
        start as usize..self.slots[at].end as usize
    }

    pub(crate) fn rev(&self, at: usize) -> Rev {
        self.slots[at].rev(self.first.main)
    }

    pub(crate) fn is_tombstone(&self, at: usize) -> bool {
        self.slots[at].sub & TOMBSTONE != 0
    }

    /// The CRC-32C of record `at`.
    pub(crate) fn crc(&self, at: usize) -> u32 {
        self.slots[at].crc
    }

    /// The number of the record at `rev`.
    pub(crate) fn find(&self, rev: Rev) -> Option<usize> {
        let at = self.lower_bound(rev);
        (at < self.len() && self.rev(at) == rev).then_some(at)
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
        let before = |at: usize| self.rev(at) < rev;
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

/// A directory in the making.
#[derive(Debug, Default)]
pub(crate) struct DirectoryBuilder {
    first: Option<Rev>,
    slots: Vec<Slot>,
}

impl DirectoryBuilder {
    pub(crate) fn with_capacity(records: usize) -> Self {
        DirectoryBuilder {
            first: None,
            slots: Vec::with_capacity(records),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether a record at `main` can still be addressed from the first one.
    pub(crate) fn reaches(&self, main: i64) -> bool {
        self.first
            .is_none_or(|first| u32::try_from(main - first.main).is_ok())
    }

    /// Bytes of all records so far.
    pub(crate) fn end(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.end as usize)
    }

    /// Adds a record whose bytes go up to `end` among those of all.
    ///
    /// # Panics
    /// If the segment should have been ended before.
    pub(crate) fn push(&mut self, rev: Rev, tombstone: bool, end: usize, crc: u32) {
        let first = *self.first.get_or_insert(rev);
        let main = u32::try_from(rev.main - first.main);
        let (Ok(main), Ok(end)) = (main, u32::try_from(end)) else {
            panic!(
                "segment from {first} cannot hold record {rev} at byte {end}: it should have been \
                 ended before"
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

    /// The number of the record at `rev`.
    pub(crate) fn find(&self, rev: Rev) -> Option<usize> {
        let first = self.first?;
        let found = self
            .slots
            .binary_search_by_key(&rev, |slot| slot.rev(first.main));
        found.ok()
    }

    /// Where the bytes of record `at` are among those of all.
    pub(crate) fn span(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { self.slots[at - 1].end };
        start as usize..self.slots[at].end as usize
    }

    /// Takes out what was built, in exactly the room it needs, and starts anew with the same
    /// buffer. `None` if nothing was.
    pub(crate) fn cut(&mut self) -> Option<Directory> {
        let directory = Directory {
            first: self.first.take()?,
            span: self.slots.last().map_or(0, |last| u64::from(last.main) + 1),
            slots: self.slots.as_slice().into(),
        };
        self.slots.clear();
        Some(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_base::Rng;
    use tenet_base::world::SplitMix64;

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
            let mut builder = DirectoryBuilder::default();
            for (at, rev) in revs.iter().enumerate() {
                builder.push(*rev, rev.sub == 1, 3 * at + 3, at as u32);
            }
            let directory = builder.cut().expect("records");
            assert!(builder.is_empty() && builder.cut().is_none());
            for (at, &rev) in revs.iter().enumerate() {
                assert_eq!(directory.find(rev), Some(at));
                assert_eq!(directory.rev(at), rev);
                assert_eq!(directory.span(at), 3 * at..3 * at + 3);
                assert_eq!(directory.is_tombstone(at), rev.sub == 1);
                assert_eq!(directory.crc(at), at as u32);
            }
            for _ in 0..50 {
                let near = revs[rng.below(revs.len() as u64) as usize];
                let probe = Rev::new(near.main + rng.below(5) as i64 - 2, rng.below(3) as u32);
                let expected = revs.partition_point(|&rev| rev < probe);
                assert_eq!(directory.lower_bound(probe), expected);
                assert_eq!(directory.find(probe).is_some(), revs.contains(&probe));
            }
            assert_eq!(directory.lower_bound(Rev::MAX), revs.len());
            assert_eq!(directory.lower_bound(Rev::MIN), 0);
        }
    }
}
