//! Opening a log: to go on writing it ([`open`]) or only to read it ([`read`]).

use crate::error::WalError;
use crate::log_map::Place;
use crate::name::{self, SegmentName};
use crate::payload::{Metadata, Position};
use crate::replay::{Replay, Sum};
use crate::scan::{End, scan};
use crate::tail::Verdict;
use crate::window::zeros;
use crate::writer::{Options, Resume, WalWriter};
use std::fmt;
use tenet_base::disk::{DiskOp, DiskView, FilePath};
use tenet_base::{Index, Term};
use tenet_proto::raftpb::{Entry, HardState};

/// A log that can be written again.
#[derive(Debug)]
pub struct Opened {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The valid snapshot records that were met, oldest first: those that the last hard state has
    /// committed.
    pub positions: Vec<Position>,
    /// Where `entries` begin: the floor, with the configuration of a snapshot record there.
    pub start: Position,
    /// The last hard state. Its term is at least that of the last entry.
    pub hard_state: HardState,
    /// The entries after `start`.
    pub entries: Vec<Entry>,
    /// Goes on where the log ends.
    pub writer: WalWriter,
    /// To be done before anything that was read is relied on, and before the first append: takes
    /// the locks, zeroes what was cut, and syncs, since an earlier process may have written what
    /// was read here and ended before its sync.
    pub repair: Vec<DiskOp>,
    /// What was cut off the end of the log.
    pub cut: Option<Cut>,
    /// The same in sentences for the log of the process.
    pub report: Vec<String>,
}

/// A torn end of the log, which nobody was told was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last segment.
    pub file: FilePath,
    /// Where it was cut.
    pub offset: u64,
    /// Bytes from there to the last that is not zero.
    pub len_bytes: u64,
    /// The last index that remains.
    pub last_index: Index,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: cut off {} bytes at offset {}, a batch that was being written when the machine \
             stopped and that nobody was told was written; the log now ends at index {}",
            self.file, self.len_bytes, self.offset, self.last_index
        )
    }
}

/// Whether `dir` holds a log.
///
/// # Errors
/// If the directory cannot be read.
pub fn exists(view: &dyn DiskView, dir: &FilePath) -> Result<bool, WalError> {
    Ok(!name::list(view, dir)?.segments.is_empty())
}

/// Opens the log in `dir` for a store that has applied `floor`, `None` being an empty store.
///
/// The log must reach the floor with the same term, and nothing at or below it is ever cut. A torn
/// end is cut by [`Opened::repair`]; any other damage is an error.
///
/// # Errors
/// If the log is damaged, does not fit the store, or cannot be read.
pub fn open(
    view: &dyn DiskView,
    dir: &FilePath,
    floor: Option<(Index, Term)>,
) -> Result<Opened, WalError> {
    open_with(view, dir, floor, Options::default())
}

/// [`open`] with other than the usual sizes.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    view: &dyn DiskView,
    dir: &FilePath,
    floor: Option<(Index, Term)>,
    options: Options,
) -> Result<Opened, WalError> {
    let listing = list_segments(view, dir)?;
    let (index, term) = floor.unwrap_or_default();
    let from = choose(dir, &listing.segments, index)?;
    let segments = &listing.segments[from..];
    check_sequence(dir, segments)?;

    let mut replay = Replay::new(base_of(segments[0]), Some(index.get()));
    let mut end = scan(view, dir, segments, &mut replay)?;
    let sum = replay.finish();
    if let Some(Verdict::Rot(reason)) = &end.damage {
        let file = end.segment.path(dir);
        return Err(WalError::Damaged {
            file,
            offset: end.offset,
            reason: reason.clone(),
        });
    }
    let abandoned = sum.abandoned.filter(|place| place.segment == end.segment);
    if let Some(Place { offset, crc, .. }) = abandoned {
        (end.offset, end.crc) = (offset, crc);
    }
    let cut = (end.data_end > end.offset).then(|| Cut {
        file: end.segment.path(dir),
        offset: end.offset,
        len_bytes: end.data_end - end.offset,
        last_index: Index(sum.map.last()),
    });
    check_floor(dir, index, term, &sum, cut.as_ref())?;

    let mut repair = Vec::new();
    push_locks(dir, segments, &mut repair);
    push_cut(dir, &end, &mut repair);
    push_syncs(dir, &end, &mut repair);
    repair.extend(
        listing
            .prepared
            .iter()
            .map(|path| DiskOp::Remove { path: path.clone() }),
    );

    let metadata = sum
        .metadata
        .expect("a segment's head was read, which holds it");
    let conf_state = sum
        .positions
        .iter()
        .rev()
        .find(|position| position.index == index)
        .and_then(|position| position.conf_state.clone());
    let resume = Resume {
        sizes: sizes(view, dir, &listing.segments)?,
        locked_from: from,
        offset: end.offset,
        crc: end.crc,
        state: sum.state,
        position: sum
            .positions
            .last()
            .map_or(Index::ZERO, |position| position.index),
        map: sum.map,
    };
    Ok(Opened {
        metadata,
        positions: sum.positions,
        start: Position {
            index,
            term,
            conf_state,
        },
        hard_state: sum.state,
        entries: sum.entries,
        writer: WalWriter::resume(dir.clone(), metadata, options, resume),
        repair,
        report: cut.iter().map(ToString::to_string).collect(),
        cut,
    })
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At the oldest segment that is there.
    Oldest,
    /// At the newest valid snapshot record, where etcd begins.
    Newest,
    /// At this valid snapshot record.
    At(Index, Term),
}

/// A log as it is, damage at its end included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The valid snapshot records, oldest first.
    pub positions: Vec<Position>,
    /// Where `entries` begin.
    pub start: Position,
    /// The last hard state.
    pub hard_state: HardState,
    /// The entries after `start`.
    pub entries: Vec<Entry>,
    /// What follows the last record that could be verified, if anything does.
    pub damage: Option<Damage>,
}

/// An end of a log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The last segment.
    pub file: FilePath,
    /// Where it begins.
    pub offset: u64,
    /// What is wrong, or `None` if it was torn by a loss of power.
    pub rot: Option<String>,
}

/// Reads the log in `dir` without changing it: for tools, and for directories of others.
///
/// # Errors
/// If the log is damaged elsewhere than at its end, has no snapshot record to begin at, or cannot
/// be read.
pub fn read(view: &dyn DiskView, dir: &FilePath, from: From) -> Result<Log, WalError> {
    let segments = list_segments(view, dir)?.segments;
    check_sequence(dir, &segments)?;
    let oldest = base_of(segments[0]);
    let start = match from {
        From::Oldest => Position {
            index: Index(oldest),
            ..Position::default()
        },
        From::Newest | From::At(..) => find_position(view, dir, &segments, from)?,
    };
    let chosen = choose(dir, &segments, start.index)?;
    let segments = &segments[chosen..];
    let mut replay = Replay::new(base_of(segments[0]), Some(start.index.get()));
    let end = scan(view, dir, segments, &mut replay)?;
    let sum = replay.finish();
    let reaches = sum.after == start.index.get() && sum.map.last() >= sum.after;
    if !reaches && from != From::Oldest {
        return Err(WalError::BeginsAfter {
            dir: dir.clone(),
            applied: start.index,
            begins_after: Index(sum.after),
        });
    }
    Ok(Log {
        metadata: sum
            .metadata
            .expect("a segment's head was read, which holds it"),
        positions: sum.positions,
        start: Position {
            index: Index(sum.after),
            ..start
        },
        hard_state: sum.state,
        entries: sum.entries,
        damage: end.damage.map(|damage| Damage {
            file: end.segment.path(dir),
            offset: end.offset,
            rot: match damage {
                Verdict::Torn => None,
                Verdict::Rot(reason) => Some(reason),
            },
        }),
    })
}

/// Which snapshot records are valid is known only at the end, so this is a pass of its own.
fn find_position(
    view: &dyn DiskView,
    dir: &FilePath,
    segments: &[SegmentName],
    from: From,
) -> Result<Position, WalError> {
    let mut replay = Replay::new(base_of(segments[0]), None);
    scan(view, dir, segments, &mut replay)?;
    let mut positions = replay.finish().positions;
    match from {
        From::At(index, term) => positions
            .into_iter()
            .rev()
            .find(|position| (position.index, position.term) == (index, term))
            .ok_or_else(|| WalError::PositionNotFound {
                dir: dir.clone(),
                index,
                term,
            }),
        From::Newest | From::Oldest => positions
            .pop()
            .ok_or_else(|| WalError::NoPosition { dir: dir.clone() }),
    }
}

fn list_segments(view: &dyn DiskView, dir: &FilePath) -> Result<name::Listing, WalError> {
    let listing = name::list(view, dir)?;
    if listing.segments.is_empty() {
        return Err(WalError::NoSegments { dir: dir.clone() });
    }
    Ok(listing)
}

/// The last index before the entries that a segment was begun for.
fn base_of(segment: SegmentName) -> u64 {
    segment.index.saturating_sub(1)
}

fn choose(dir: &FilePath, segments: &[SegmentName], start: Index) -> Result<usize, WalError> {
    name::segment_of(segments, start.get()).ok_or_else(|| WalError::BeginsAfter {
        dir: dir.clone(),
        applied: start,
        begins_after: Index(base_of(segments[0])),
    })
}

fn check_sequence(dir: &FilePath, segments: &[SegmentName]) -> Result<(), WalError> {
    for pair in segments.windows(2) {
        let next = pair[0].seq.saturating_add(1);
        if pair[1].seq != next {
            return Err(WalError::SegmentMissing {
                dir: dir.clone(),
                seq: next,
            });
        }
    }
    Ok(())
}

/// The log must hold what the store has applied, with the same term, and go on without a hole.
fn check_floor(
    dir: &FilePath,
    index: Index,
    term: Term,
    sum: &Sum,
    cut: Option<&Cut>,
) -> Result<(), WalError> {
    if sum.after != index.get() {
        let begins_after = Index(sum.after);
        return Err(WalError::BeginsAfter {
            dir: dir.clone(),
            applied: index,
            begins_after,
        });
    }
    let last = Index(sum.map.last());
    if last < index {
        let cut = match cut {
            Some(cut) => format!("{} was damaged at offset {}", cut.file, cut.offset),
            None => "its last file or its last bytes are missing".to_owned(),
        };
        return Err(WalError::EndsBefore {
            dir: dir.clone(),
            applied: index,
            last,
            cut,
        });
    }
    match sum.map.term(index.get()).map(Term) {
        Some(in_log) if in_log == term => Ok(()),
        Some(in_log) => Err(WalError::TermMismatch {
            index,
            in_log,
            in_store: term,
        }),
        None => Err(WalError::BeginsAfter {
            dir: dir.clone(),
            applied: index,
            begins_after: Index(sum.map.base()),
        }),
    }
}

fn push_locks(dir: &FilePath, segments: &[SegmentName], ops: &mut Vec<DiskOp>) {
    ops.extend(segments.iter().map(|segment| DiskOp::Lock {
        path: segment.path(dir),
    }));
}

/// Overwrites what was cut with zeros: later batches rely on finding zeros where nothing was
/// written, and the reserved space stays reserved.
fn push_cut(dir: &FilePath, end: &End, ops: &mut Vec<DiskOp>) {
    let mut offset = end.offset;
    while offset < end.data_end {
        let len = usize::try_from(end.data_end - offset).unwrap_or(usize::MAX);
        let data = zeros(len);
        let path = end.segment.path(dir);
        offset += data.len() as u64;
        ops.push(DiskOp::Write {
            path,
            offset: offset - data.len() as u64,
            data,
        });
    }
}

fn push_syncs(dir: &FilePath, end: &End, ops: &mut Vec<DiskOp>) {
    ops.push(DiskOp::SyncData {
        path: end.segment.path(dir),
    });
    ops.push(DiskOp::SyncDir { path: dir.clone() });
    ops.push(DiskOp::SyncDir { path: dir.parent() });
}

fn sizes(
    view: &dyn DiskView,
    dir: &FilePath,
    segments: &[SegmentName],
) -> Result<Vec<(SegmentName, u64)>, WalError> {
    let size = |segment: &SegmentName| Ok((*segment, view.len(&segment.path(dir))?.unwrap_or(0)));
    segments.iter().map(size).collect()
}
