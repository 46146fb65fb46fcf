//! Writing a log.
//!
//! One [`WalWriter::save`] makes one batch: the frames of all its entries and a hard-state record
//! at the end, in one write with one sync. A hard state in which only the commit index moved is
//! not worth a write of its own; it goes out with the next batch, snapshot record or segment head.
//! So there is never more than one batch on the disk that has not been synced, and behind it there
//! are zeros: that is what makes a torn end recognisable (see `tail`).
//!
//! A batch that does not fit into what is reserved of the segment begins the next one. So no batch
//! needs new room on the disk, but for one that is larger than a whole segment; the next segment
//! does, and whoever has it prepared in time ([`WalWriter::wants_next`]) can wait for room with
//! nothing half written.
//!
//! The caller must submit the operations in the order in which they were appended to its lists,
//! and must treat a failure as final.

use crate::error::WalError;
use crate::frame::{Encoder, Kind, frame_bytes_max};
use crate::log_map::{LogMap, Place};
use crate::name::{PREPARED_NAMES, SegmentName, segment_of};
use crate::payload::{
    Metadata, Position, encode_entry_head, encode_metadata, encode_position, encode_state,
};
use crate::read_back::Span;
use std::collections::VecDeque;
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::{Index, limits};
use tenet_proto::raftpb::{Entry, HardState};

/// Sizes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that are reserved for a segment. A batch that does not fit begins the next.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: limits::WAL_SEGMENT_BYTES,
        }
    }
}

/// A small record's bytes with its frame, at most; metadata and checksums are small.
const SMALL_FRAME_BYTES: u64 = 80;
/// A hard state's, whose three numbers take at most eleven bytes each.
const STATE_BYTES_MAX: u64 = 56;

/// Bytes that a batch with these entries takes at most.
#[must_use]
pub fn batch_bytes(entries: &[Entry]) -> u64 {
    let frames = entries
        .iter()
        .map(|entry| frame_bytes_max(encode_entry_head(entry).as_slice().len() + entry.data.len()));
    frames.sum::<u64>() + STATE_BYTES_MAX
}

/// Bytes that a snapshot record takes at most, with the hard state behind it.
#[must_use]
pub fn position_bytes(position: &Position) -> u64 {
    frame_bytes_max(encode_position(position).len()) + STATE_BYTES_MAX
}

/// A next segment in preparation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    path: FilePath,
    /// Bytes that are reserved for it.
    pub bytes: u64,
}

/// Appends to a log. See the module.
#[derive(Debug)]
pub struct WalWriter {
    dir: FilePath,
    metadata: Metadata,
    options: Options,
    /// All segments, oldest first; the last is the one that is written.
    segments: VecDeque<Segment>,
    /// Where the next frame goes in the last segment.
    offset: u64,
    /// Bytes that are reserved for the last segment.
    capacity: u64,
    crc: u32,
    state: HardState,
    /// Whether `state` has a commit index that is not on disk.
    state_behind: bool,
    /// The newest snapshot record.
    position: Index,
    map: LogMap,
    /// The next segment, if it is prepared.
    prepared: Option<Preparation>,
    /// Which name the next prepared segment gets.
    prepare_next: usize,
    appended_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    name: SegmentName,
    /// Its length once it is closed.
    len_bytes: u64,
    locked: bool,
}

/// What a writer goes on from.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) sizes: Vec<(SegmentName, u64)>,
    /// The first segment that is locked by `repair`.
    pub(crate) locked_from: usize,
    pub(crate) offset: u64,
    pub(crate) crc: u32,
    pub(crate) state: HardState,
    pub(crate) position: Index,
    pub(crate) map: LogMap,
}

/// Makes a new log in `dir`, by operations appended to `ops`: it is built in `<dir>.tmp` and
/// renamed when it is whole and durable. `dir` must not hold anything.
pub fn create(dir: &FilePath, metadata: Metadata, ops: &mut Vec<DiskOp>) -> WalWriter {
    create_with(dir, metadata, Options::default(), ops)
}

/// [`create`] with other than the usual sizes.
pub fn create_with(
    dir: &FilePath,
    metadata: Metadata,
    options: Options,
    ops: &mut Vec<DiskOp>,
) -> WalWriter {
    create_founded(dir, metadata, options, &HardState::default(), &[], ops)
}

/// [`create_with`], with a first batch: so a log that must begin with certain entries is either
/// not there or has them, wherever the power fails.
pub fn create_founded(
    dir: &FilePath,
    metadata: Metadata,
    options: Options,
    hard_state: &HardState,
    entries: &[Entry],
    ops: &mut Vec<DiskOp>,
) -> WalWriter {
    let name = SegmentName { seq: 0, index: 0 };
    let building = FilePath::new(&format!("{dir}.tmp"));
    let file = name.path(&building);
    let mut encoder = Encoder::new(0, 128);
    encoder.record(Kind::Crc, &[]);
    encoder.record(Kind::Metadata, &[encode_metadata(metadata).as_slice()]);
    encoder.record(Kind::Position, &[&encode_position(&Position::default())]);
    let (offset, crc) = (encoder.len(), encoder.crc());
    ops.extend([
        DiskOp::RemoveDir {
            path: building.clone(),
        },
        DiskOp::CreateDir {
            path: building.clone(),
        },
        DiskOp::Create {
            path: file.clone(),
            reserve_bytes: options.segment_bytes,
        },
        DiskOp::Write {
            path: file.clone(),
            offset: 0,
            data: encoder.finish(),
        },
    ]);
    let resume = Resume {
        sizes: vec![(name, options.segment_bytes)],
        locked_from: 0,
        offset,
        crc,
        state: HardState::default(),
        position: Index::ZERO,
        map: LogMap::after(0),
    };
    let mut writer = WalWriter::resume(building.clone(), metadata, options, resume);
    writer.appended_bytes = offset;
    if !writer.save(Some(hard_state), entries, ops) {
        ops.push(DiskOp::SyncData { path: file.clone() });
    }
    writer.dir = dir.clone();
    ops.extend([
        DiskOp::SyncDir {
            path: building.clone(),
        },
        DiskOp::Close { path: file },
        DiskOp::Rename {
            from: building,
            to: dir.clone(),
        },
        DiskOp::SyncDir { path: dir.parent() },
        DiskOp::Lock {
            path: name.path(dir),
        },
    ]);
    writer
}

impl WalWriter {
    pub(crate) fn resume(
        dir: FilePath,
        metadata: Metadata,
        options: Options,
        resume: Resume,
    ) -> WalWriter {
        let segments = resume
            .sizes
            .iter()
            .enumerate()
            .map(|(at, (name, len_bytes))| Segment {
                name: *name,
                len_bytes: *len_bytes,
                locked: at >= resume.locked_from,
            });
        WalWriter {
            dir,
            metadata,
            options,
            segments: segments.collect(),
            offset: resume.offset,
            capacity: resume.sizes.last().map_or(0, |(_, bytes)| *bytes),
            crc: resume.crc,
            state: resume.state,
            state_behind: false,
            position: resume.position,
            map: resume.map,
            prepared: None,
            prepare_next: 0,
            appended_bytes: 0,
        }
    }

    /// Appends a batch: `entries`, which follow the log or replace its uncommitted end, and the
    /// hard state, which ends the batch. Says whether the operations contain a sync; they do if
    /// there are entries, or if term or vote changed. Otherwise there are none at all: the new
    /// commit index is written later.
    ///
    /// # Panics
    /// If the batch contradicts the log, since what is written could never be read again.
    pub fn save(
        &mut self,
        hard_state: Option<&HardState>,
        entries: &[Entry],
        ops: &mut Vec<DiskOp>,
    ) -> bool {
        let state = *hard_state.unwrap_or(&self.state);
        self.check_state(&state);
        let must_sync =
            !entries.is_empty() || (state.term, state.vote) != (self.state.term, self.state.vote);
        if !must_sync {
            assert!(
                state.commit <= self.map.last(),
                "{} is committed in a log that ends at {}",
                state.commit,
                self.map.last()
            );
            self.state_behind |= state.commit != self.state.commit;
            self.state = state;
            return false;
        }
        let bytes = batch_bytes(entries);
        self.make_room(bytes, ops);
        let mut encoder = Encoder::new(self.crc, bytes as usize);
        for entry in entries {
            self.append_entry(entry, &mut encoder);
        }
        self.finish_batch(state, encoder, ops);
        true
    }

    /// Appends a snapshot record, synced: the state machine is durable elsewhere at `position`. If
    /// that is ahead of the log, the log goes on after it. What is committed there is taken for
    /// committed here.
    ///
    /// # Panics
    /// If the position contradicts the log.
    pub fn save_position(&mut self, position: &Position, ops: &mut Vec<DiskOp>) {
        let (index, term) = (position.index.get(), position.term.get());
        assert!(
            position.index >= self.position && index > 0 && position.conf_state.is_some(),
            "a snapshot at index {index}, with a configuration, cannot follow one at index {}",
            self.position
        );
        self.make_room(position_bytes(position), ops);
        let known = self.map.term(index);
        let contradicts = known.is_some_and(|known| known != term);
        assert!(
            index > self.state.commit || !contradicts,
            "the snapshot at index {index} has term {term}, the committed entry there {known:?}: \
             the state machine does not belong to this log"
        );
        if contradicts || index > self.map.last() {
            self.map.reset(index, term);
        }
        self.position = position.index;
        let state = HardState {
            commit: self.state.commit.max(index),
            ..self.state
        };
        let mut encoder = Encoder::new(self.crc, position_bytes(position) as usize);
        encoder.record(Kind::Position, &[&encode_position(position)]);
        self.finish_batch(state, encoder, ops);
    }

    /// Writes, and syncs, a commit index that is not on disk yet: before a clean stop. Nothing
    /// depends on it, so it does not take new room.
    pub fn flush(&mut self, ops: &mut Vec<DiskOp>) {
        if self.state_behind && !self.must_cut(STATE_BYTES_MAX) {
            let encoder = Encoder::new(self.crc, STATE_BYTES_MAX as usize);
            self.finish_batch(self.state, encoder, ops);
        }
    }

    /// Whether `bytes` more can be written without room on the disk that is not reserved yet.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.prepared.is_some() || !self.must_cut(bytes)
    }

    /// Whether it is time to prepare the next segment.
    #[must_use]
    pub fn wants_next(&self) -> bool {
        self.prepared.is_none() && self.offset >= self.capacity / 2
    }

    /// Whether the next segment is prepared.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.prepared.is_some()
    }

    /// Whether the next segment could be begun now, if it were prepared: the last has an entry.
    #[must_use]
    pub fn can_begin_next(&self) -> bool {
        self.map.last() + 1 > self.current().index
    }

    /// Begins the next segment although the last is not full, if the next is prepared: so that the
    /// last can be released.
    pub fn begin_next(&mut self, ops: &mut Vec<DiskOp>) {
        if self.can_begin_next()
            && let Some(next) = self.prepared.take()
        {
            self.cut(next, ops);
        }
    }

    /// Begins to prepare the next segment, with room for `bytes` if that is more than the usual
    /// size divided by `part`. Counts once it was done: see [`WalWriter::prepared`].
    pub fn prepare(&mut self, bytes: u64, part: u64) -> (Preparation, DiskOp) {
        let path = self.dir.join(PREPARED_NAMES[self.prepare_next]);
        let head = 3 * SMALL_FRAME_BYTES;
        let preparation = Preparation {
            path: path.clone(),
            bytes: (self.options.segment_bytes / part).max(bytes + head),
        };
        let create = DiskOp::Create {
            path,
            reserve_bytes: preparation.bytes,
        };
        (preparation, create)
    }

    /// The operation that [`WalWriter::prepare`] gave was done.
    pub fn prepared(&mut self, preparation: Preparation) {
        self.prepare_next = (self.prepare_next + 1) % PREPARED_NAMES.len();
        self.prepared = Some(preparation);
    }

    /// Lets go of the segments that are not needed to read the log from `index` on, and removes
    /// them, oldest first, but keeps `keep` segments in any case.
    ///
    /// # Panics
    /// If no snapshot record covers `index`.
    pub fn release(&mut self, index: Index, keep: usize, ops: &mut Vec<DiskOp>) {
        assert!(
            index <= self.position,
            "the log would be released up to {index}, but the newest snapshot record is at {}: \
             what lies between would be lost",
            self.position
        );
        let names: Vec<SegmentName> = self.segments.iter().map(|segment| segment.name).collect();
        let releasable = segment_of(&names, index.get()).unwrap_or(0);
        for segment in self
            .segments
            .range_mut(..releasable)
            .filter(|segment| segment.locked)
        {
            segment.locked = false;
            ops.push(DiskOp::Close {
                path: segment.name.path(&self.dir),
            });
        }
        let removable = releasable.min(self.segments.len().saturating_sub(keep));
        for segment in self.segments.drain(..removable) {
            ops.push(DiskOp::Remove {
                path: segment.name.path(&self.dir),
            });
            // One by one, so that what is left after a loss of power has no gap: etcd reads all
            // segments that are there and insists on the chain of checksums.
            ops.push(DiskOp::SyncDir {
                path: self.dir.clone(),
            });
        }
        self.map.forget_before(self.segments[0].name.seq);
    }

    /// Finds the entries `lo..hi`, to be read with [`crate::entries`] by whoever may wait. Only
    /// what is durable may be asked for.
    ///
    /// # Errors
    /// If the log does not hold them all.
    pub fn locate(&self, lo: Index, hi: Index) -> Result<Span, WalError> {
        if lo <= Index(self.map.base()) || hi.get() > self.map.last() + 1 || lo > hi {
            let (first, last) = (self.first_index(), self.last_index());
            return Err(WalError::NotHeld {
                lo,
                hi,
                first,
                last,
            });
        }
        let runs = self.map.runs(lo.get(), hi.get());
        Ok(Span::new(self.dir.clone(), lo, hi, runs))
    }

    /// The first index that can be read back.
    pub fn first_index(&self) -> Index {
        Index(self.map.base() + 1)
    }

    /// The last index: of the last entry, or of a snapshot record ahead of it.
    pub fn last_index(&self) -> Index {
        Index(self.map.last())
    }

    /// The newest hard state, on disk or waiting for the next batch.
    pub fn hard_state(&self) -> HardState {
        self.state
    }

    /// Bytes appended by this writer so far.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    /// Bytes of all segments that are there, without what is only reserved.
    pub fn size_bytes(&self) -> u64 {
        let closed = self.segments.len() - 1;
        let closed = self
            .segments
            .range(..closed)
            .map(|segment| segment.len_bytes)
            .sum::<u64>();
        closed + self.offset
    }

    fn append_entry(&mut self, entry: &Entry, encoder: &mut Encoder) {
        assert!(
            entry.index > self.state.commit,
            "entry {} would replace one that is committed (commit {})",
            entry.index,
            self.state.commit
        );
        assert!(
            entry.term > 0 && entry.term <= limits::TERM_MAX && entry.index <= limits::INDEX_MAX,
            "entry {} has term {}: no cluster gets that far (limits {} and {})",
            entry.index,
            entry.term,
            limits::INDEX_MAX,
            limits::TERM_MAX
        );
        let before = self.map.term(entry.index - 1).unwrap_or(0);
        assert!(
            entry.term >= before,
            "entry {} has term {}, the one before it {before}",
            entry.index,
            entry.term
        );
        let segment = self.current();
        let offset = self.offset + encoder.len();
        self.map.append(
            entry.index,
            entry.term,
            Place {
                segment,
                offset,
                crc: encoder.crc(),
            },
        );
        encoder.record(
            Kind::Entry,
            &[encode_entry_head(entry).as_slice(), &entry.data],
        );
    }

    fn check_state(&self, state: &HardState) {
        let known = &self.state;
        assert!(
            state.term >= known.term && state.commit >= known.commit,
            "the hard state falls back from term {} and commit {} to {} and {}",
            known.term,
            known.commit,
            state.term,
            state.commit
        );
        assert!(
            state.term > known.term || known.vote == 0 || state.vote == known.vote,
            "the vote in term {} changes from {:x} to {:x}",
            state.term,
            known.vote,
            state.vote
        );
        assert!(
            state.term <= limits::TERM_MAX && (state.term > 0 || state.vote == 0),
            "term {} with a vote for {:x}: no cluster gets there (limit {})",
            state.term,
            state.vote,
            limits::TERM_MAX
        );
    }

    /// Ends the batch in `encoder` with its hard state and writes it.
    fn finish_batch(&mut self, state: HardState, mut encoder: Encoder, ops: &mut Vec<DiskOp>) {
        let last = self.map.last();
        assert!(
            state.commit <= last,
            "{} is committed in a log that ends at {last}",
            state.commit
        );
        let term = self.map.last_term().unwrap_or(0);
        assert!(
            state.term >= term,
            "the last entry has term {term}, the state {}",
            state.term
        );
        encoder.record(Kind::State, &[encode_state(&state).as_slice()]);
        (self.state, self.state_behind) = (state, false);
        let path = self.current().path(&self.dir);
        self.write(path.clone(), encoder, ops);
        ops.push(DiskOp::SyncData { path });
    }

    /// Whether a batch of this size begins the next segment. Names of segments grow with the
    /// index, so one without an entry of its own goes on beyond what is reserved.
    fn must_cut(&self, bytes: u64) -> bool {
        self.offset + bytes > self.capacity && self.can_begin_next()
    }

    fn make_room(&mut self, bytes: u64, ops: &mut Vec<DiskOp>) {
        if !self.must_cut(bytes) {
            return;
        }
        let next = match self.prepared.take() {
            Some(prepared) => prepared,
            None => {
                let (preparation, create) = self.prepare(bytes, 1);
                ops.push(create);
                self.prepared(preparation.clone());
                self.prepared = None;
                preparation
            }
        };
        self.cut(next, ops);
    }

    fn write(&mut self, path: FilePath, encoder: Encoder, ops: &mut Vec<DiskOp>) {
        let (offset, len) = (self.offset, encoder.len());
        self.crc = encoder.crc();
        self.offset += len;
        self.appended_bytes += len;
        ops.push(DiskOp::Write {
            path,
            offset,
            data: encoder.finish(),
        });
    }

    /// Closes the segment at its real length and begins the next, which gets its name only once
    /// its head is durable. All that is in the closed one was synced before, and zeros at its end
    /// are read over, so its length need not be durable.
    fn cut(&mut self, next: Preparation, ops: &mut Vec<DiskOp>) {
        let old = self.segments.back_mut().expect("a log has a segment");
        old.len_bytes = self.offset;
        let (seq, path) = (old.name.seq + 1, old.name.path(&self.dir));
        ops.push(DiskOp::SetLen {
            path,
            len: self.offset,
        });

        let Preparation {
            path: prepared,
            bytes: capacity,
        } = next;
        // The head says it.
        self.state_behind = false;
        let mut encoder = Encoder::new(self.crc, 3 * SMALL_FRAME_BYTES as usize);
        encoder.record(Kind::Crc, &[]);
        encoder.record(Kind::Metadata, &[encode_metadata(self.metadata).as_slice()]);
        encoder.record(Kind::State, &[encode_state(&self.state).as_slice()]);
        let name = SegmentName {
            seq,
            index: self.map.last() + 1,
        };
        self.segments.push_back(Segment {
            name,
            len_bytes: 0,
            locked: true,
        });
        (self.offset, self.capacity) = (0, capacity);
        self.write(prepared.clone(), encoder, ops);
        let path = name.path(&self.dir);
        ops.extend([
            DiskOp::SyncData {
                path: prepared.clone(),
            },
            DiskOp::Close {
                path: prepared.clone(),
            },
            DiskOp::Rename {
                from: prepared,
                to: path.clone(),
            },
            DiskOp::SyncDir {
                path: self.dir.clone(),
            },
            DiskOp::Lock { path },
        ]);
    }

    fn current(&self) -> SegmentName {
        self.segments.back().expect("a log has a segment").name
    }
}
