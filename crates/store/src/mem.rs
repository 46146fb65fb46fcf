//! The store in memory.
//!
//! A batch of appends becomes one small immutable segment; eight neighbours of a level are merged
//! into one of the next, and when [`limits::STORE_SEGMENT_BYTES`] have come together they are
//! sealed. So a record is copied a few times in its life, and a view is two lists: the sealed
//! segments, which change rarely, and the short tail behind them.
//!
//! Released records are counted by sealed segment, apart from the segments themselves.

use crate::segment::{SLOT_BYTES, Segment, SegmentBuilder};
use crate::{Record, Records, Rev, Store, StoreSize, StoreView};
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::limits::STORE_SEGMENT_BYTES;

/// Neighbouring segments of one level that are merged.
const MERGE_FANIN: usize = 8;
/// Most segments that are rewritten into one at a time, so that one step stays short.
const REWRITE_SEGMENTS_MAX: usize = 32;

/// A segment in a list, with its first revision at hand for searching.
#[derive(Clone, Debug)]
struct Placed {
    first: Rev,
    /// How often its records were merged; only of interest in the tail.
    level: u8,
    segment: Arc<Segment>,
}

impl Placed {
    fn new(segment: Segment, level: u8) -> Self {
        Placed {
            first: segment.first(),
            level,
            segment: Arc::new(segment),
        }
    }
}

/// What was released in one sealed segment.
#[derive(Debug, Default)]
struct Released {
    /// One bit a record; empty until the first.
    bits: Vec<u64>,
    records: usize,
    bytes: u64,
}

impl Released {
    fn contains(&self, at: usize) -> bool {
        self.bits
            .get(at / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// Returns whether it was new.
    fn insert(&mut self, at: usize, segment: &Segment) -> bool {
        if self.bits.is_empty() {
            self.bits.resize(segment.len().div_ceil(64), 0);
        }
        if self.contains(at) {
            return false;
        }
        self.bits[at / 64] |= 1 << (at % 64);
        self.records += 1;
        self.bytes += segment.record_bytes(at);
        true
    }
}

/// The writer's half of the store in memory.
#[derive(Debug, Default)]
pub struct MemStore {
    pending: SegmentBuilder,
    sealed: Arc<Vec<Placed>>,
    /// Beside `sealed`, one for one.
    released: Vec<Released>,
    tail: Arc<Vec<Placed>>,
    tail_bytes: usize,
    last: Option<Rev>,
    /// Bytes of `sealed` and `tail`.
    bytes: u64,
    released_bytes: u64,
    /// Where the search for segments worth rewriting goes on; `None` when there are none.
    rewrite_at: Option<usize>,
}

/// The readers' half of the store in memory.
#[derive(Clone, Debug)]
pub struct MemView {
    sealed: Arc<Vec<Placed>>,
    tail: Arc<Vec<Placed>>,
}

impl MemView {
    /// The number of the segment that holds `rev` if any does, counting the tail behind the
    /// sealed ones.
    fn segment_of(&self, rev: Rev) -> Option<usize> {
        segment_of(&self.sealed, &self.tail, rev)
    }

    fn segment(&self, number: usize) -> Option<&Placed> {
        match number.checked_sub(self.sealed.len()) {
            None => self.sealed.get(number),
            Some(in_tail) => self.tail.get(in_tail),
        }
    }
}

fn segment_of(sealed: &[Placed], tail: &[Placed], rev: Rev) -> Option<usize> {
    let (list, base) = match tail.first() {
        Some(first) if first.first <= rev => (tail, sealed.len()),
        _ => (sealed, 0),
    };
    let after = list.partition_point(|placed| placed.first <= rev);
    Some(base + after.checked_sub(1)?)
}

impl Records for MemView {
    fn get(&self, rev: Rev) -> Option<Bytes> {
        let segment = &self.segment(self.segment_of(rev)?)?.segment;
        Some(segment.data(segment.find(rev)?))
    }
}

impl StoreView for MemView {
    fn scan(&self, from: Rev) -> impl Iterator<Item = Record<'_>> {
        let first = self.segment_of(from).unwrap_or(0);
        let segments = self.sealed.iter().chain(self.tail.iter()).enumerate();
        segments.skip(first).flat_map(move |(number, placed)| {
            let segment = &placed.segment;
            let start = if number == first {
                segment.lower_bound(from)
            } else {
                0
            };
            (start..segment.len()).map(move |at| segment.record(number, at))
        })
    }

    fn find(&self, rev: Rev) -> Option<Record<'_>> {
        let number = self.segment_of(rev)?;
        let segment = &self.segment(number)?.segment;
        Some(segment.record(number, segment.find(rev)?))
    }
}

impl Records for MemStore {
    fn get(&self, rev: Rev) -> Option<Bytes> {
        if let Some(data) = self.pending.get(rev) {
            return Some(Bytes::copy_from_slice(data));
        }
        let number = segment_of(&self.sealed, &self.tail, rev)?;
        let placed = match number.checked_sub(self.sealed.len()) {
            None => &self.sealed[number],
            Some(in_tail) => &self.tail[in_tail],
        };
        Some(placed.segment.data(placed.segment.find(rev)?))
    }
}

impl Store for MemStore {
    type View = MemView;

    fn append(&mut self, rev: Rev, tombstone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Some(last) = self.last {
            assert!(
                rev > last,
                "record {rev} appended behind {last}: the applier went back"
            );
        }
        if self.pending.data_bytes() >= STORE_SEGMENT_BYTES || !self.pending.reaches(rev.main) {
            self.end_batch();
        }
        self.last = Some(rev);
        self.pending.push(rev, tombstone, encode);
    }

    fn view(&mut self) -> MemView {
        self.end_batch();
        MemView {
            sealed: Arc::clone(&self.sealed),
            tail: Arc::clone(&self.tail),
        }
    }

    fn release(&mut self, rev: Rev) {
        let in_tail = |store: &Self| store.tail.first().is_some_and(|placed| placed.first <= rev);
        if in_tail(self) || !self.pending.is_empty() {
            self.end_batch();
            if in_tail(self) {
                self.seal_tail();
            }
        }
        let number = segment_of(&self.sealed, &[], rev);
        let found = number.and_then(|number| {
            let segment = &self.sealed[number].segment;
            Some((number, segment.find(rev)?))
        });
        let Some((number, at)) = found else {
            panic!("record {rev} released but not there: index and store disagree");
        };
        let segment = &self.sealed[number].segment;
        let released = &mut self.released[number];
        assert!(
            released.insert(at, segment),
            "record {rev} released twice: index and store disagree"
        );
        self.released_bytes += segment.record_bytes(at);
        self.rewrite_at = Some(self.rewrite_at.map_or(number, |at| at.min(number)));
    }

    fn maintain(&mut self, budget_records: usize) -> usize {
        let mut looked = 0;
        while looked < budget_records {
            let Some(at) = self.rewrite_at else { break };
            if at >= self.sealed.len() {
                self.rewrite_at = None;
                break;
            }
            let end = self.rewrite_end(at);
            // A look at a segment that stays costs next to nothing, but not nothing.
            looked += 1;
            if end > at {
                looked += self.rewrite(at, end);
                // What came out may fit together with its neighbours.
                self.rewrite_at = Some(at.saturating_sub(1));
            } else {
                self.rewrite_at = Some(at + 1);
            }
        }
        looked
    }

    fn size(&self) -> StoreSize {
        let pending = (self.pending.data_bytes() + self.pending.len() * SLOT_BYTES) as u64;
        let total_bytes = self.bytes + pending;
        StoreSize {
            total_bytes,
            live_bytes: total_bytes - self.released_bytes,
        }
    }
}

impl MemStore {
    /// Moves what is pending to the tail.
    fn end_batch(&mut self) {
        let Some(segment) = self.pending.cut() else {
            return;
        };
        self.bytes += segment.bytes();
        self.tail_bytes += segment.data_bytes();
        Arc::make_mut(&mut self.tail).push(Placed::new(segment, 0));
        if self.tail_bytes >= STORE_SEGMENT_BYTES {
            self.seal_tail();
        } else {
            self.merge_tail();
        }
    }

    /// Merges the newest segments while there are enough of one level.
    fn merge_tail(&mut self) {
        while let Some(start) = self.tail.len().checked_sub(MERGE_FANIN) {
            let level = self.tail[start].level;
            let group = &self.tail[start..];
            if group.iter().any(|placed| placed.level != level) || !joinable(group) {
                return;
            }
            let merged = Placed::new(merge(group, &[]).expect("records"), level + 1);
            let tail = Arc::make_mut(&mut self.tail);
            tail.truncate(start);
            tail.push(merged);
        }
    }

    /// Makes sealed segments of the whole tail.
    fn seal_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let mut rest = &tail[..];
        while !rest.is_empty() {
            let together = (1..=rest.len())
                .rev()
                .find(|&len| joinable(&rest[..len]))
                .unwrap_or(1);
            let placed = match &rest[..together] {
                [one] => one.clone(),
                group => Placed::new(merge(group, &[]).expect("records"), 0),
            };
            Arc::make_mut(&mut self.sealed).push(placed);
            self.released.push(Released::default());
            rest = &rest[together..];
        }
        self.tail_bytes = 0;
    }

    fn live_bytes(&self, number: usize) -> u64 {
        self.sealed[number].segment.bytes() - self.released[number].bytes
    }

    /// The end of the run of segments from `at` that is worth rewriting into one; `at` if it is
    /// not: the run gives back a quarter of its room, or joins small segments.
    fn rewrite_end(&self, at: usize) -> usize {
        let first = &self.sealed[at];
        let (mut live, mut total, mut end) = (0, 0, at);
        while let Some(next) = self.sealed.get(end) {
            let sum = live + self.live_bytes(end);
            let reaches = u32::try_from(next.segment.last_main() - first.first.main).is_ok();
            let full = sum > STORE_SEGMENT_BYTES as u64 || end - at == REWRITE_SEGMENTS_MAX;
            if end > at && (full || !reaches) {
                break;
            }
            live = sum;
            total += next.segment.bytes();
            end += 1;
        }
        let worth = end > at + 1 || (total - live) * 4 >= total;
        if worth { end } else { at }
    }

    /// Puts one segment with what is live in `at..end` in their place. Returns how many records
    /// were there.
    fn rewrite(&mut self, at: usize, end: usize) -> usize {
        let run = &self.sealed[at..end];
        let released = &self.released[at..end];
        let records = run.iter().map(|placed| placed.segment.len()).sum();
        let before: u64 = run.iter().map(|placed| placed.segment.bytes()).sum();
        let given_back: u64 = released.iter().map(|released| released.bytes).sum();
        let merged = merge(run, released);
        let after = merged.as_ref().map_or(0, Segment::bytes);
        assert!(
            before == after + given_back,
            "rewriting {records} records of {before} bytes kept {after} and gave back \
             {given_back}: the count of released records is wrong"
        );
        self.bytes = self.bytes - before + after;
        self.released_bytes -= given_back;
        let new = merged.map(|segment| Placed::new(segment, 0));
        let kept = usize::from(new.is_some());
        Arc::make_mut(&mut self.sealed).splice(at..end, new);
        self.released.splice(
            at..end,
            std::iter::repeat_with(Released::default).take(kept),
        );
        records
    }
}

/// Whether one segment can hold the group: by its bytes and by the span of its revisions.
fn joinable(group: &[Placed]) -> bool {
    let bytes: usize = group.iter().map(|placed| placed.segment.data_bytes()).sum();
    let (first, last) = (&group[0], &group[group.len() - 1]);
    let span = last.segment.last_main() - first.first.main;
    u32::try_from(bytes).is_ok() && u32::try_from(span).is_ok()
}

/// One segment with the records of `run` that are not in `released` (which may be shorter).
fn merge(run: &[Placed], released: &[Released]) -> Option<Segment> {
    let kept = |number: usize, at: usize| {
        !released
            .get(number)
            .is_some_and(|released| released.contains(at))
    };
    let mut records = 0;
    let mut bytes = 0;
    for (number, placed) in run.iter().enumerate() {
        let gone = released.get(number);
        records += placed.segment.len() - gone.map_or(0, |gone| gone.records);
        bytes += placed.segment.bytes() - gone.map_or(0, |gone| gone.bytes);
    }
    let data_bytes = bytes as usize - records * SLOT_BYTES;
    let mut builder = SegmentBuilder::with_capacity(records, data_bytes);
    for (number, placed) in run.iter().enumerate() {
        let segment = &placed.segment;
        if released
            .get(number)
            .is_some_and(|gone| gone.records == segment.len())
        {
            continue;
        }
        for at in (0..segment.len()).filter(|&at| kept(number, at)) {
            builder.copy(&segment.record(number, at));
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tenet_base::Rng;
    use tenet_base::world::SplitMix64;

    fn contents(view: &MemView) -> BTreeMap<Rev, Vec<u8>> {
        view.scan(Rev::MIN)
            .map(|record| {
                record.verify();
                (record.rev, record.data.to_vec())
            })
            .collect()
    }

    /// A store and what was appended and not released.
    fn run(seed: u64, records: u64, release_one_in: u64) -> (MemStore, BTreeMap<Rev, Vec<u8>>) {
        let mut rng = SplitMix64::new(seed);
        let mut store = MemStore::default();
        let mut model = BTreeMap::new();
        for main in 2..2 + records as i64 {
            for sub in 0..1 + rng.below(3) as u32 {
                let rev = Rev::new(main, sub);
                let data = vec![main as u8; rng.below(900) as usize];
                store.append(rev, false, |out| out.extend_from_slice(&data));
                model.insert(rev, data);
            }
            if rng.below(5) == 0 {
                store.view();
            }
        }
        let gone: Vec<Rev> = model
            .keys()
            .copied()
            .filter(|_| rng.below(release_one_in) == 0)
            .collect();
        for rev in gone {
            store.release(rev);
            model.remove(&rev);
        }
        (store, model)
    }

    #[test]
    fn what_is_live_survives_rewriting_and_what_is_released_gives_room_back() {
        for (seed, one_in) in [(1, 1), (2, 2), (3, 3), (4, 50), (5, u64::MAX)] {
            let (mut store, model) = run(seed, 4_000, one_in);
            let before = store.view();
            let shown = contents(&before);
            while store.maintain(500) > 0 {}
            assert_eq!(contents(&before), shown, "a view changed");
            let view = store.view();
            let after = contents(&view);
            for (rev, data) in &model {
                assert_eq!(after.get(rev), Some(data), "record {rev}");
                assert_eq!(view.get(*rev).as_deref(), Some(&data[..]));
                assert_eq!(store.get(*rev).as_deref(), Some(&data[..]));
                let found = view.find(*rev).expect("there");
                assert_eq!((found.rev, found.data), (*rev, &data[..]));
            }
            let size = store.size();
            let live: usize = model.values().map(|data| data.len() + SLOT_BYTES).sum();
            assert_eq!(size.live_bytes, live as u64);
            assert!(
                size.total_bytes * 3 <= size.live_bytes * 4 + 3,
                "a quarter or more is garbage: {size:?}"
            );
            let segments = view.sealed.len();
            assert!(
                segments <= 2 + 2 * live / STORE_SEGMENT_BYTES,
                "{segments} segments for {live} bytes"
            );
        }
    }

    #[test]
    fn scans_begin_anywhere() {
        let (mut store, _) = run(9, 3_000, 4);
        while store.maintain(500) > 0 {}
        store.append(Rev::new(9_000, 0), true, |out| out.push(7));
        let view = store.view();
        let all: Vec<Rev> = view.scan(Rev::MIN).map(|record| record.rev).collect();
        assert!(all.is_sorted());
        let mut rng = SplitMix64::new(3);
        for _ in 0..300 {
            let from = Rev::new(rng.below(3_100) as i64, rng.below(3) as u32);
            let expected = &all[all.partition_point(|&rev| rev < from)..];
            let found: Vec<Rev> = view.scan(from).map(|record| record.rev).collect();
            assert_eq!(found, expected, "from {from}");
        }
        assert_eq!(view.scan(Rev::MAX).count(), 0);
        assert!(view.scan(Rev::new(9_000, 0)).all(|record| record.tombstone));
    }

    #[test]
    fn pending_records_are_read_back_before_a_view_shows_them() {
        let mut store = MemStore::default();
        let old = store.view();
        store.append(Rev::new(2, 0), false, |out| out.push(1));
        assert_eq!(store.get(Rev::new(2, 0)).as_deref(), Some(&[1][..]));
        assert_eq!(old.get(Rev::new(2, 0)), None);
        assert_eq!(store.view().get(Rev::new(2, 0)).as_deref(), Some(&[1][..]));
        assert_eq!(store.get(Rev::new(2, 1)), None);
    }

    #[test]
    fn the_tail_stays_short_and_segments_span_any_gap() {
        let mut store = MemStore::default();
        for main in 2..5_000 {
            store.append(Rev::new(main, 0), false, |out| {
                out.extend_from_slice(&[0; 100])
            });
            let view = store.view();
            assert!(
                view.tail.len() <= 4 * MERGE_FANIN,
                "{} in the tail",
                view.tail.len()
            );
        }
        for main in [1 << 33, 1 << 34, (1 << 34) + 1, i64::MAX] {
            store.append(Rev::new(main, 0), false, |out| out.push(1));
            store.append(Rev::new(main, 1), false, |out| out.push(2));
        }
        for main in [4_999, 1 << 34, i64::MAX] {
            store.release(Rev::new(main, 0));
        }
        while store.maintain(10) > 0 {}
        let view = store.view();
        assert_eq!(view.get(Rev::new(1 << 34, 0)), None);
        for main in [1 << 33, 1 << 34, (1 << 34) + 1, i64::MAX] {
            assert_eq!(view.get(Rev::new(main, 1)).as_deref(), Some(&[2][..]));
        }
    }

    #[test]
    #[should_panic(expected = "the applier went back")]
    fn records_cannot_be_appended_backwards() {
        let mut store = MemStore::default();
        store.append(Rev::new(3, 0), false, |_| {});
        store.append(Rev::new(2, 9), false, |_| {});
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_record_cannot_be_released_twice() {
        let mut store = MemStore::default();
        store.append(Rev::new(3, 0), false, |_| {});
        store.release(Rev::new(3, 0));
        store.release(Rev::new(3, 0));
    }
}
