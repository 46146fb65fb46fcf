//! The writer's half.
//!
//! A batch of appends becomes one small immutable segment; eight neighbours of a level are merged
//! into one of the next, and when [`limits::STORE_SEGMENT_BYTES`] have come together they are
//! sealed. A flush writes all sealed segments that are in memory into one file, and from then on
//! they are read from it. So the list of sealed segments begins with files and ends with what is
//! in memory only, and a view is two lists: the sealed segments, which change rarely, and the
//! short tail behind them.
//!
//! Released records are counted by sealed segment, apart from the segments themselves. Files that
//! hold many are rewritten, once an index is durable that does not name what was released: until
//! then a restart would need the records, if only to see that later ones replace them.
//!
//! One job is under way at a time.

use crate::file::{FileId, FileKind};
use crate::job::{Done, Job, Sides, Source, bit};
use crate::manifest::Manifest;
use crate::marks::Marks;
use crate::scrub::{Part, Pass, ScrubStep, Scrubbed};
use crate::segment::{Segment, SegmentBuilder};
use crate::view::{Placed, View};
use crate::{Patience, ReadError, Records, Rev, StoreSize};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use tenet_base::disk::FilePath;
use tenet_base::limits::STORE_SEGMENT_BYTES;
use tenet_base::{ClusterId, MemberId};

/// Neighbouring segments of one level that are merged.
const MERGE_FANIN: usize = 8;
/// Bytes that a rewritten file aims at where there is room.
const FILE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes that are read for one rewrite at most.
const REWRITE_BYTES_MAX: u64 = 4 * FILE_BYTES;
/// Files below this are small: some neighbouring ones are put together.
const SMALL_FILE_BYTES: u64 = FILE_BYTES / 4;
/// Small neighbours that are put together.
const SMALL_FILES: usize = 8;
/// One part in so many has to be released for files to be rewritten; and in a hurry.
const SHARE: u64 = 8;
const HURRY_SHARE: u64 = 64;

/// What was released in one sealed segment.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// One bit a record; empty until the first.
    bits: Vec<u64>,
    records: usize,
    bytes: u64,
}

impl Released {
    fn contains(&self, at: usize) -> bool {
        bit(&self.bits, at)
    }

    /// Returns whether it was new.
    fn insert(&mut self, at: usize, segment: &Segment) -> bool {
        if self.bits.is_empty() {
            self.bits.resize(segment.directory().len().div_ceil(64), 0);
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

/// What is known of a job that is under way.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// Releases that no durable index names once it is done.
    droppable: u64,
    /// Records that its index has and no index before it.
    behind_index: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Store {
    dir: FilePath,
    manifest: Manifest,
    pending: SegmentBuilder,
    /// All that is not pending. The first `stored` of its sealed segments are files.
    list: View,
    stored: usize,
    /// Beside the sealed segments, one for one.
    released: Vec<Released>,
    tail_bytes: usize,
    last: Option<Rev>,
    /// Bytes of `list`.
    bytes: u64,
    released_bytes: u64,
    /// The same of the files alone: whether to rewrite some is asked after each batch.
    files: StoreSize,
    /// Records released so far, and how many of them the durable index does not name.
    releases: u64,
    droppable: u64,
    job: Option<Begun>,
    appended_since_index: u64,
    /// The files of a store that the first flush of this one takes the place of.
    superseded: Option<Vec<(FileKind, FileId)>>,
    hurry: bool,
    /// Bytes that a rewritten file aims at.
    file_bytes: u64,
    /// The pass of the scrub that is under way.
    pass: Option<Pass>,
    /// Segments whose header, directory or footer was found damaged.
    damaged_frames: BTreeSet<FileId>,
    /// The manifest or a file beside the segments was found damaged.
    damaged_sides: bool,
}

impl Records for Store {
    fn get(&self, rev: Rev) -> Result<Option<Bytes>, ReadError> {
        if let Some(data) = self.pending.get(rev) {
            return Ok(Some(Bytes::copy_from_slice(data)));
        }
        self.list.get(rev)
    }

    fn len(&self, rev: Rev) -> Option<usize> {
        let pending = self.pending.get(rev).map(<[u8]>::len);
        pending.or_else(|| self.list.len(rev))
    }
}

impl Default for Store {
    /// An empty store of nobody, for tests.
    fn default() -> Self {
        Store::new(FilePath::new("store"), ClusterId(0), MemberId(0))
    }
}

impl Store {
    /// An empty store of a member, whose files go into `dir`.
    #[must_use]
    pub fn new(dir: FilePath, cluster: ClusterId, member: MemberId) -> Store {
        Self::of(dir, Manifest::empty(cluster, member), Vec::new())
    }

    /// A store of files.
    pub(crate) fn of(dir: FilePath, manifest: Manifest, segments: Vec<Segment>) -> Store {
        let bytes = segments.iter().map(Segment::bytes).sum();
        let last = segments.last().map(|segment| {
            let directory = segment.directory();
            directory.rev(directory.len() - 1)
        });
        let released = segments.iter().map(|_| Released::default()).collect();
        let sealed: Vec<Placed> = segments.into_iter().map(|s| Placed::new(s, 0)).collect();
        Store {
            dir,
            manifest,
            pending: SegmentBuilder::default(),
            stored: sealed.len(),
            list: View {
                sealed: Arc::new(sealed),
                tail: Arc::default(),
            },
            released,
            tail_bytes: 0,
            last,
            bytes,
            released_bytes: 0,
            files: StoreSize {
                total_bytes: bytes,
                live_bytes: bytes,
            },
            releases: 0,
            droppable: 0,
            job: None,
            appended_since_index: 0,
            superseded: None,
            hurry: false,
            file_bytes: FILE_BYTES,
            pass: None,
            damaged_frames: BTreeSet::new(),
            damaged_sides: false,
        }
    }

    /// Appends a record, whose bytes `encode` writes behind what the buffer already holds.
    ///
    /// # Panics
    /// If `rev` is not above all that were appended before: the order is what recovery, hashes
    /// and watchers rest on.
    pub fn append(&mut self, rev: Rev, tombstone: bool, encode: impl FnOnce(&mut Vec<u8>)) {
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
        self.appended_since_index += 1;
        self.pending.push(rev, tombstone, encode);
    }

    /// Ends the batch of appends so far and gives a view that shows it.
    pub fn view(&mut self) -> View {
        self.end_batch();
        self.list.clone()
    }

    /// Says that no reader of later views will ask for this record; its room may be taken back.
    ///
    /// # Panics
    /// If there is no such record or it was released before: the index and the store disagree.
    pub fn release(&mut self, rev: Rev) {
        let in_tail = |store: &Self| {
            let first = store.list.tail.first();
            first.is_some_and(|placed| placed.first <= rev)
        };
        if in_tail(self) || !self.pending.is_empty() {
            self.end_batch();
            if in_tail(self) {
                self.seal_tail();
            }
        }
        let Some((number, at)) = self.list.place(rev) else {
            panic!("record {rev} released but not there: index and store disagree");
        };
        assert!(
            self.mark_released(number, at),
            "record {rev} released twice: index and store disagree"
        );
    }

    fn mark_released(&mut self, number: usize, at: usize) -> bool {
        let segment = &self.list.sealed[number].segment;
        let new = self.released[number].insert(at, segment);
        if new {
            let bytes = segment.record_bytes(at);
            self.released_bytes += bytes;
            self.releases += 1;
            if number < self.stored {
                self.files.live_bytes -= bytes;
            }
        }
        new
    }

    /// Tells the store, after a recovery, which of its records are `live`, a set of places of the
    /// last view, and how many of them the durable index does not have yet. All others are
    /// released: no durable index names them, so their room may go at once.
    pub fn recovered(&mut self, live: &Marks, behind_index: u64) {
        for number in 0..self.list.sealed.len() {
            for at in 0..self.list.sealed[number].segment.directory().len() {
                let place = self.list.sealed[number].segment.info(number, at).place;
                if !live.contains(place) {
                    self.mark_released(number, at);
                }
            }
        }
        self.droppable = self.releases;
        self.appended_since_index = behind_index;
    }

    /// How much room is taken, and how much of it by records that are not released.
    #[must_use]
    pub fn size(&self) -> StoreSize {
        let total_bytes = self.bytes + self.pending.bytes();
        StoreSize {
            total_bytes,
            live_bytes: total_bytes - self.released_bytes,
        }
    }

    /// Whether there is a durable cut.
    #[must_use]
    pub fn has_durable(&self) -> bool {
        self.manifest.index.file.id > FileId(0)
    }

    /// Records that the last index begun does not have.
    #[must_use]
    pub fn appended_since_index(&self) -> u64 {
        self.appended_since_index
    }

    /// Makes the first flush of this store, which has no files, take the place of another's files:
    /// those of the same directory go when these are durable, at once. The other store must not
    /// begin another job; its views go on.
    ///
    /// # Panics
    /// If this store has files, or the other has a job under way.
    pub fn supersede(&mut self, other: &Store) {
        assert!(
            !self.has_durable() && self.dir == other.dir && other.job.is_none(),
            "a store of {} cannot take the place of one of {}",
            self.dir,
            other.dir
        );
        self.manifest.next_file = other.manifest.next_file;
        self.superseded = Some(other.manifest.files().collect());
    }

    /// Whether a job is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Begins to make everything that was appended so far durable.
    ///
    /// # Panics
    /// If a job is under way, or this is the first flush and has no index.
    pub fn flush(&mut self, sides: Sides) -> Job {
        assert!(self.job.is_none(), "two jobs on the files at once");
        assert!(
            sides.index.is_some() || self.has_durable(),
            "the first flush must write the index"
        );
        self.end_batch();
        self.seal_tail();
        self.job = Some(if sides.index.is_some() {
            Begun {
                droppable: self.releases,
                behind_index: std::mem::take(&mut self.appended_since_index),
            }
        } else {
            Begun {
                droppable: self.droppable,
                behind_index: 0,
            }
        });
        let unflushed = self.stored..self.list.sealed.len();
        let mut at = unflushed.start;
        let sources = runs(&self.list.sealed[unflushed.clone()]).map(|run| {
            let released = &self.released[at..at + run.len()];
            at += run.len();
            // What the index that is written too does not name is not needed any more.
            let left_out = released.iter().map(|released| released.bits.clone());
            Source {
                segments: segments_of(run),
                left_out: left_out.filter(|_| sides.index.is_some()).collect(),
            }
        });
        let sources = sources.collect();
        let mut manifest = self.manifest.clone();
        manifest.received = self.superseded.is_some();
        let gone = self.superseded.take().unwrap_or_default();
        Job::new(self.dir.clone(), manifest, unflushed, sources, Some(sides)).removing(gone)
    }

    /// Whether rewriting would give back much, so that an index should be made durable first if
    /// that has to be.
    #[must_use]
    pub fn wants_index(&self) -> bool {
        self.droppable < self.releases && self.rewrite_range().is_some()
    }

    /// Whether so much was released that is not given back yet that there is more to do: files
    /// will be rewritten, or, in a hurry, have to be written first.
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        self.wasteful().is_some() || self.wants_flush()
    }

    /// Makes rewriting worth while for less, until it is told otherwise: somebody asked for the
    /// room.
    pub fn set_hurry(&mut self, hurry: bool) {
        self.hurry = hurry;
    }

    /// There is this much free space for files: rewrites take half of it at most, but for one that
    /// has a single large file to do with.
    pub fn set_free_bytes(&mut self, bytes: u64) {
        self.file_bytes = FILE_BYTES.min(bytes / 2);
    }

    /// Whether, in a hurry, what is in memory only holds so much that was released that it is
    /// worth a flush: only files are rewritten.
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        let in_files = self.files.total_bytes - self.files.live_bytes;
        self.hurry && (self.released_bytes - in_files) * HURRY_SHARE >= self.bytes.max(1)
    }

    /// The room that the files take.
    #[must_use]
    pub fn file_size(&self) -> StoreSize {
        self.files
    }

    /// Begins to rewrite the files that hold the most that was released. `None` if there is
    /// nothing to gain, or the durable index may still name some of it.
    pub fn rewrite(&mut self) -> Option<Job> {
        if self.job.is_some() {
            return None;
        }
        if let Some(number) = self.damaged_frame() {
            return Some(self.begin_rewrite(number..number + 1, Vec::new()));
        }
        if self.droppable < self.releases {
            return None;
        }
        let range = self.rewrite_range()?;
        let released = self.released[range.clone()].iter();
        let left_out = released.map(|released| released.bits.clone()).collect();
        Some(self.begin_rewrite(range, left_out))
    }

    /// A file that is to be written anew because all of it but its records is damaged.
    fn damaged_frame(&self) -> Option<usize> {
        if self.damaged_frames.is_empty() {
            return None;
        }
        let metas = self.manifest.segments.iter();
        let mut damaged = metas.map(|meta| self.damaged_frames.contains(&meta.id));
        damaged
            .position(|damaged| damaged)
            .filter(|number| !self.list.sealed[*number].segment.has_lost())
    }

    /// `left_out` may be empty.
    fn begin_rewrite(&mut self, range: Range<usize>, left_out: Vec<Vec<u64>>) -> Job {
        let segments = segments_of(&self.list.sealed[range.clone()]);
        self.job = Some(Begun {
            droppable: self.droppable,
            behind_index: 0,
        });
        let source = Source { segments, left_out };
        let manifest = self.manifest.clone();
        Job::new(self.dir.clone(), manifest, range, vec![source], None)
    }

    /// The next piece of the scrub; `None` if a job is under way, or a pass has come to its end:
    /// the call after begins the next. While a piece is out, a job is under way.
    pub fn scrub(&mut self) -> Option<ScrubStep> {
        if self.job.is_some() || !self.has_durable() {
            return None;
        }
        let pass = self.pass.take();
        let pass = pass.unwrap_or_else(|| Pass::begin(&self.manifest));
        let segment = |at: usize| Arc::clone(&self.list.sealed[at].segment);
        let step = pass.next(&self.dir, &self.manifest, segment)?;
        self.job = Some(Begun {
            droppable: self.droppable,
            behind_index: 0,
        });
        Some(step)
    }

    /// Takes over what a piece of the scrub found. Says whether records are lost that somebody
    /// could still ask for.
    ///
    /// # Panics
    /// If none is out.
    pub fn scrubbed(&mut self, found: &Scrubbed) -> bool {
        self.end_job();
        self.pass = Some(found.pass);
        let Some(damage) = &found.damage else {
            return false;
        };
        match damage.part {
            Part::Records => {}
            Part::Frame(id) => drop(self.damaged_frames.insert(id)),
            Part::Side => self.damaged_sides = true,
        }
        damage.records.iter().any(|rev| !self.is_released(*rev))
    }

    fn is_released(&self, rev: Rev) -> bool {
        self.list
            .place(rev)
            .and_then(|(number, at)| Some(self.released.get(number)?.contains(at)))
            .unwrap_or(true)
    }

    /// Whether the manifest and the files beside the segments are to be written anew, since what
    /// is on the medium is damaged.
    #[must_use]
    pub fn wants_new_sides(&self) -> bool {
        self.damaged_sides
    }

    /// Takes over what a job has written. A view from before goes on reading what it read.
    ///
    /// # Panics
    /// If what was written is not what was there: going on would lose records.
    pub fn finished(&mut self, done: Done) {
        self.droppable = self.end_job().droppable;
        let Done {
            replaced,
            segments,
            manifest,
            wrote_index,
            ..
        } = done;
        let mut new: Vec<Released> = segments.iter().map(|_| Released::default()).collect();
        self.carry_over(&replaced, &segments, &mut new);
        let was_stored = replaced.start.max(self.stored.min(replaced.end)) - replaced.start;
        self.stored = self.stored - was_stored + segments.len();
        let before: u64 = self.list.sealed[replaced.clone()]
            .iter()
            .map(|placed| placed.segment.bytes())
            .sum();
        let after: u64 = segments.iter().map(Segment::bytes).sum();
        self.bytes = self.bytes - before + after;
        let placed = segments.into_iter().map(|segment| Placed::new(segment, 0));
        Arc::make_mut(&mut self.list.sealed).splice(replaced.clone(), placed);
        self.released.splice(replaced, new);
        self.files = self.count_files();
        self.damaged_sides &= !wrote_index;
        self.manifest = manifest;
        let named = &self.manifest.segments;
        self.damaged_frames
            .retain(|id| named.iter().any(|meta| meta.id == *id));
        assert!(
            self.manifest.segments.len() == self.stored,
            "the manifest names {} segments, the store has {} in files",
            self.manifest.segments.len(),
            self.stored
        );
    }

    /// A job was given up: everything is as it was before.
    ///
    /// # Panics
    /// If none is under way.
    pub fn given_up(&mut self) {
        self.appended_since_index += self.end_job().behind_index;
    }

    fn end_job(&mut self) -> Begun {
        self.job.take().expect("a job ended that was not begun")
    }

    /// Finds every old record in the new files or among those that were released, and carries
    /// over what was released since the job began.
    fn carry_over(&mut self, old: &Range<usize>, new: &[Segment], released: &mut [Released]) {
        let (mut file, mut at) = (0, 0);
        for number in old.clone() {
            let segment = &self.list.sealed[number].segment;
            for slot in 0..segment.directory().len() {
                let rev = segment.directory().rev(slot);
                let gone = self.released[number].contains(slot);
                if new.get(file).is_some_and(|n| at == n.directory().len()) {
                    file += 1;
                    at = 0;
                }
                let kept = new.get(file).filter(|n| n.directory().rev(at) == rev);
                let Some(kept) = kept else {
                    assert!(
                        gone,
                        "record {rev} is not in the file that was written for it"
                    );
                    self.released_bytes -= segment.record_bytes(slot);
                    continue;
                };
                if gone {
                    released[file].insert(at, kept);
                }
                at += 1;
            }
        }
        let all = file == new.len() || (file + 1 == new.len() && at == new[file].directory().len());
        assert!(all, "a file holds records that nobody wrote");
    }

    /// The run of neighbouring files that is most worth rewriting.
    fn rewrite_range(&self) -> Option<Range<usize>> {
        self.wasteful().or_else(|| self.small())
    }

    pub(crate) fn count_files(&self) -> StoreSize {
        let mut files = StoreSize::default();
        for at in 0..self.stored {
            let bytes = self.list.sealed[at].segment.bytes();
            files.total_bytes += bytes;
            files.live_bytes += bytes - self.released[at].bytes;
        }
        files
    }

    /// Files with the most that was released, once that is an eighth of all, or less in a hurry.
    fn wasteful(&self) -> Option<Range<usize>> {
        let bytes = self.files.total_bytes;
        let gone = bytes - self.files.live_bytes;
        let worth_share = if self.hurry { HURRY_SHARE } else { SHARE };
        if gone == 0 || gone * worth_share < bytes {
            return None;
        }
        let share = |at: &usize| {
            let bytes = self.list.sealed[*at].segment.bytes().max(1);
            (self.released[*at].bytes as u128 * 1_000_000 / u128::from(bytes)) as u64
        };
        let readable = |at: &usize| !self.list.sealed[*at].segment.has_lost();
        let worst = (0..self.stored).filter(readable).max_by_key(share)?;
        // A little less than what the worst of them has at least.
        let least = 800_000 / worth_share;
        let worth = |at: usize| share(&at) >= least && readable(&at);
        Some(self.grow(worst, worth))
    }

    /// The newest small files, once there are enough of them side by side.
    fn small(&self) -> Option<Range<usize>> {
        let live = |at: usize| self.list.sealed[at].segment.bytes() - self.released[at].bytes;
        let mut start = self.stored;
        let readable = |at: usize| !self.list.sealed[at].segment.has_lost();
        while start > 0 && live(start - 1) < SMALL_FILE_BYTES && readable(start - 1) {
            start -= 1;
        }
        let enough = self.stored - start >= SMALL_FILES;
        let range = enough.then(|| self.grow(start, |_| true))?;
        (range.len() >= SMALL_FILES / 2).then_some(range)
    }

    /// A run of files from `at` on as long as it is worth it and one can hold what is left.
    fn grow(&self, at: usize, worth: impl Fn(usize) -> bool) -> Range<usize> {
        let (mut read, mut kept) = (0, 0);
        let mut range = at..at;
        while range.end < self.stored && worth(range.end) {
            let segment = &self.list.sealed[range.end].segment;
            read += segment.bytes();
            kept += segment.bytes() - self.released[range.end].bytes;
            let fits = range.is_empty()
                || (read <= REWRITE_BYTES_MAX
                    && kept <= self.file_bytes
                    && joinable(&self.list.sealed[range.start..=range.end]));
            if !fits {
                break;
            }
            range.end += 1;
        }
        range
    }

    /// Moves what is pending to the tail.
    fn end_batch(&mut self) {
        let Some(segment) = self.pending.cut() else {
            return;
        };
        self.bytes += segment.bytes();
        self.tail_bytes += segment.directory().data_bytes();
        Arc::make_mut(&mut self.list.tail).push(Placed::new(segment, 0));
        if self.tail_bytes >= STORE_SEGMENT_BYTES {
            self.seal_tail();
        } else {
            self.merge_tail();
        }
    }

    /// Merges the newest segments while there are enough of one level.
    fn merge_tail(&mut self) {
        while let Some(start) = self.list.tail.len().checked_sub(MERGE_FANIN) {
            let level = self.list.tail[start].level;
            let group = &self.list.tail[start..];
            if group.iter().any(|placed| placed.level != level) || !joinable(group) {
                return;
            }
            let merged = Placed::new(merge(group), level + 1);
            let tail = Arc::make_mut(&mut self.list.tail);
            tail.truncate(start);
            tail.push(merged);
        }
    }

    /// Makes sealed segments of the whole tail.
    fn seal_tail(&mut self) {
        let tail = std::mem::take(&mut self.list.tail);
        for run in runs(&tail) {
            let placed = match run {
                [one] => one.clone(),
                group => Placed::new(merge(group), 0),
            };
            Arc::make_mut(&mut self.list.sealed).push(placed);
            self.released.push(Released::default());
        }
        self.tail_bytes = 0;
    }
}

fn segments_of(group: &[Placed]) -> Vec<Arc<Segment>> {
    let segments = group.iter().map(|placed| Arc::clone(&placed.segment));
    segments.collect()
}

/// Neighbours that one segment can hold, as many at a time as it can.
fn runs(mut rest: &[Placed]) -> impl Iterator<Item = &[Placed]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut len = 1;
        while len < rest.len() && joinable(&rest[..=len]) {
            len += 1;
        }
        let (run, after) = rest.split_at(len);
        rest = after;
        Some(run)
    })
}

/// Whether one segment can hold the group: by its bytes and by the span of its revisions.
fn joinable(group: &[Placed]) -> bool {
    let directories = group.iter().map(|placed| placed.segment.directory());
    let bytes: usize = directories.map(|directory| directory.data_bytes()).sum();
    let (first, last) = (&group[0], &group[group.len() - 1]);
    let span = last.segment.directory().last_main() - first.first.main;
    u32::try_from(bytes).is_ok() && u32::try_from(span).is_ok()
}

/// One segment in memory with the records of a group that is in memory.
fn merge(group: &[Placed]) -> Segment {
    let directories = || group.iter().map(|placed| placed.segment.directory());
    let records = directories().map(|directory| directory.len()).sum();
    let data_bytes = directories().map(|directory| directory.data_bytes()).sum();
    let mut builder = SegmentBuilder::with_capacity(records, data_bytes);
    for Placed { segment, .. } in group {
        let len = segment.directory().len();
        let block = segment.block(0..len, Patience::Never);
        let block = block.expect("it is in memory");
        for at in 0..len {
            let record = segment.record_of(0, at, &block).expect("it is in memory");
            builder.copy(&record);
        }
    }
    builder.finish().expect("segments have records")
}
