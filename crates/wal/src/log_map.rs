//! Where each entry of the log lies and which term it has.
//!
//! Kept by the reader while it goes through the segments and by the writer afterwards, so that
//! overwritten entries are never taken for valid ones, and older entries can be read back.
//!
//! Invariants: indexes `base + 1 ..= last` are known without gaps; runs are in the order of their
//! indexes, which is the order of their places.

use crate::name::SegmentName;
use std::collections::VecDeque;

/// A run that begins further back than this gets no more entries, so that reading one entry back
/// does not mean reading much.
const RUN_BYTES_MAX: u64 = 64 * 1024;

/// Where a record begins, and the running checksum before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: SegmentName,
    pub(crate) offset: u64,
    pub(crate) crc: u32,
}

/// Entries that follow each other in one segment, other records between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The first entry's index.
    pub(crate) first: u64,
    /// The last valid entry's index.
    pub(crate) last: u64,
    /// Where the first entry's record begins.
    pub(crate) place: Place,
    /// Whether later entries of the run were overwritten, so that it cannot grow.
    cut: bool,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogMap {
    base: u64,
    base_term: Option<u64>,
    last: u64,
    /// (first index, term) of each stretch of entries of one term.
    terms: VecDeque<(u64, u64)>,
    runs: VecDeque<Run>,
}

impl LogMap {
    /// A log that begins after `base`, whose term is known only for the empty log.
    pub(crate) fn after(base: u64) -> LogMap {
        let base_term = (base == 0).then_some(0);
        LogMap {
            base,
            base_term,
            last: base,
            ..LogMap::default()
        }
    }

    /// The index before the first entry that is known.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The last index.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The term at `index`, if it is known.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.base {
            return self.base_term;
        }
        if index < self.base || index > self.last {
            return None;
        }
        let stretch = self.terms.partition_point(|(first, _)| *first <= index);
        Some(self.terms[stretch - 1].1)
    }

    /// The term of the last entry, if it is known.
    pub(crate) fn last_term(&self) -> Option<u64> {
        self.term(self.last)
    }

    /// Adds the entry `index`, which replaces all from there on.
    pub(crate) fn append(&mut self, index: u64, term: u64, place: Place) {
        assert!(
            index > 0 && index <= self.last + 1,
            "entry {index} does not follow the log's last, {}: entries would be missing",
            self.last
        );
        self.truncate_after(index - 1);
        self.last = index;
        if self.terms.back().is_none_or(|(_, newest)| *newest != term) {
            self.terms.push_back((index, term));
        }
        match self.runs.back_mut() {
            Some(run) if run.accepts(place) => run.last = index,
            _ => self.runs.push_back(Run {
                first: index,
                last: index,
                place,
                cut: false,
            }),
        }
    }

    /// Forgets all entries: the log goes on after a snapshot at `index`.
    pub(crate) fn reset(&mut self, index: u64, term: u64) {
        *self = LogMap {
            base: index,
            base_term: Some(term),
            last: index,
            ..LogMap::default()
        };
    }

    /// Forgets what lies in segments before number `seq`.
    pub(crate) fn forget_before(&mut self, seq: u64) {
        let gone = self.runs.partition_point(|run| run.place.segment.seq < seq);
        if gone == 0 {
            return;
        }
        let base = self.runs[gone - 1].last;
        self.base_term = self.term(base);
        self.base = base;
        self.runs.drain(..gone);
        let stretch = self.terms.partition_point(|(first, _)| *first <= base + 1);
        self.terms.drain(..stretch.saturating_sub(1));
        if self.last == base {
            self.terms.clear();
        }
    }

    /// The runs that hold the entries `lo..hi`, which must all be known.
    pub(crate) fn runs(&self, lo: u64, hi: u64) -> Vec<Run> {
        let from = self.runs.partition_point(|run| run.last < lo);
        let to = self.runs.partition_point(|run| run.first < hi);
        self.runs.range(from..to.max(from)).copied().collect()
    }

    fn truncate_after(&mut self, last: u64) {
        if last >= self.last {
            return;
        }
        self.last = last;
        if last < self.base {
            *self = LogMap::after(last);
            return;
        }
        while self.terms.back().is_some_and(|(first, _)| *first > last) {
            self.terms.pop_back();
        }
        while self.runs.back().is_some_and(|run| run.first > last) {
            self.runs.pop_back();
        }
        if let Some(run) = self.runs.back_mut().filter(|run| run.last > last) {
            run.last = last;
            run.cut = true;
        }
    }
}

impl Run {
    fn accepts(&self, place: Place) -> bool {
        !self.cut
            && self.place.segment == place.segment
            && place.offset - self.place.offset < RUN_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tenet_base::Rng as _;
    use tenet_base::world::SplitMix64;

    fn place(seq: u64, offset: u64) -> Place {
        Place {
            segment: SegmentName { seq, index: 0 },
            offset,
            crc: 0,
        }
    }

    /// Against a plain map from index to (term, place), over random appends, overwrites, resets
    /// and releases.
    #[test]
    fn equals_a_plain_map() {
        let mut rng = SplitMix64::new(11);
        for _ in 0..200 {
            let mut map = LogMap::after(0);
            let mut twin: BTreeMap<u64, (u64, Place)> = BTreeMap::new();
            let (mut seq, mut offset, mut term) = (0, 0, 1);
            for _ in 0..60 {
                match rng.below(12) {
                    0 => (seq, offset) = (seq + 1, 0),
                    1 => term += 1,
                    2 => {
                        map.reset(map.last() + 3, term);
                        twin.clear();
                    }
                    3 => {
                        map.forget_before(seq);
                        let kept = map.base();
                        twin.retain(|index, _| *index > kept);
                        assert!(twin.values().all(|(_, at)| at.segment.seq >= seq));
                    }
                    _ => {
                        let held = map.last() - map.base();
                        let back = if rng.below(5) == 0 {
                            rng.below(held.min(4) + 1)
                        } else {
                            0
                        };
                        let index = map.last() + 1 - back;
                        let at = place(seq, offset);
                        map.append(index, term, at);
                        twin.split_off(&index);
                        twin.insert(index, (term, at));
                        offset += 8 * (1 + rng.below(3_000));
                    }
                }
                check(&map, &twin);
            }
        }
    }

    fn check(map: &LogMap, twin: &BTreeMap<u64, (u64, Place)>) {
        assert_eq!(map.last() - map.base(), twin.len() as u64);
        for (index, (term, at)) in twin {
            assert_eq!(map.term(*index), Some(*term));
            let runs = map.runs(*index, index + 1);
            assert_eq!(runs.len(), 1);
            let run = runs[0];
            assert!(run.first <= *index && *index <= run.last);
            assert_eq!(run.place.segment, at.segment);
            assert!(at.offset - run.place.offset < RUN_BYTES_MAX);
            if run.first == *index {
                assert_eq!(run.place, *at);
            }
        }
        assert_eq!(map.term(map.last() + 1), None);
    }

    #[test]
    fn overwriting_before_the_known_part_forgets_it() {
        let mut map = LogMap::after(150);
        map.append(151, 2, place(1, 0));
        map.append(120, 3, place(1, 64));
        assert_eq!((map.base(), map.last()), (119, 120));
        assert_eq!((map.term(119), map.term(120)), (None, Some(3)));
    }
}
