//! Going through the segments of a log, record by record.
//!
//! Invariant: what is handed to [`Replay`] is verified by the checksum chain from the head of the
//! first segment that is read to the last record of the last.

use crate::error::WalError;
use crate::frame::{FRAME_HEADER_BYTES, FrameLen, Kind, Record, parse_record};
use crate::log_map::Place;
use crate::name::SegmentName;
use crate::payload::Payload;
use crate::replay::Replay;
use crate::tail::{TRAILING_ZEROS, Tail, Verdict};
use crate::window::Window;
use bytes::Bytes;
use tenet_base::disk::{DiskView, FilePath};
use tenet_base::limits;

/// What stands at the head of a segment. It is synced before the segment has its name, so it cannot
/// be torn.
fn head_of(segment: SegmentName) -> &'static [Kind] {
    match segment.seq {
        0 => &[Kind::Crc, Kind::Metadata, Kind::Position],
        _ => &[Kind::Crc, Kind::Metadata],
    }
}

/// Where a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The last segment.
    pub(crate) segment: SegmentName,
    /// Where the last verified record ends.
    pub(crate) offset: u64,
    /// The running checksum there.
    pub(crate) crc: u32,
    /// Where the last byte that is not zero ends.
    pub(crate) data_end: u64,
    /// What is wrong with what follows, if something is.
    pub(crate) damage: Option<Verdict>,
}

/// Reads `segments` in order into `replay`.
pub(crate) fn scan(
    view: &dyn DiskView,
    dir: &FilePath,
    segments: &[SegmentName],
    replay: &mut Replay,
) -> Result<End, WalError> {
    let mut crc = None;
    let (last, closed) = segments
        .split_last()
        .expect("callers choose at least one segment");
    for segment in closed {
        let mut reader = Reader::open(view, dir, *segment, crc)?;
        reader.run(replay)?;
        let at = reader.offset;
        if reader.window.end_of_data(at)? > at {
            return Err(reader.damaged(at, "it cannot be read, in a segment that was closed"));
        }
        crc = Some(reader.crc);
    }
    let mut reader = Reader::open(view, dir, *last, crc)?;
    reader.run(replay)?;
    reader.end(replay)
}

/// The bytes of one record, verified to lie in the file and to have a length that is written.
pub(crate) fn frame_at(
    window: &mut Window<'_>,
    offset: u64,
) -> Result<Option<(Bytes, FrameLen)>, WalError> {
    let Some(rest) = window.len().checked_sub(offset + FRAME_HEADER_BYTES) else {
        return Ok(None);
    };
    let field = window.get(offset, FRAME_HEADER_BYTES)?;
    let field = u64::from_le_bytes((*field).try_into().expect("eight bytes were read"));
    match FrameLen::parse(field) {
        Some(len) if len.record <= rest => Ok(Some((
            window.get(offset + FRAME_HEADER_BYTES, len.record)?,
            len,
        ))),
        _ => Ok(None),
    }
}

struct Reader<'a> {
    window: Window<'a>,
    segment: SegmentName,
    /// The checksum at the end of the segment before, unless this is the first that is read.
    before: Option<u32>,
    offset: u64,
    crc: u32,
    records: usize,
}

impl<'a> Reader<'a> {
    fn open(
        view: &'a dyn DiskView,
        dir: &FilePath,
        segment: SegmentName,
        before: Option<u32>,
    ) -> Result<Reader<'a>, WalError> {
        let window = Window::open(view, segment.path(dir))?;
        Ok(Reader {
            window,
            segment,
            before,
            offset: 0,
            crc: 0,
            records: 0,
        })
    }

    /// Reads up to the first record that cannot be verified.
    fn run(&mut self, replay: &mut Replay) -> Result<(), WalError> {
        while let Some((bytes, len)) = frame_at(&mut self.window, self.offset)? {
            let Some(record) = parse_record(&bytes) else {
                break;
            };
            match self.records {
                0 => self.begin_chain(&record)?,
                _ if !record.follows(self.crc) => break,
                _ => {}
            }
            self.take(&record, replay)
                .map_err(|reason| self.damaged(self.offset, &reason))?;
            self.crc = record.crc;
            // The file may end with the record, its padding cut off: the next frame begins behind.
            self.offset += len.frame();
            self.records += 1;
        }
        if self.records < head_of(self.segment).len() {
            return Err(self.damaged(self.offset, "the head of the segment cannot be read"));
        }
        Ok(())
    }

    fn begin_chain(&mut self, record: &Record<'_>) -> Result<(), WalError> {
        if record.kind != Kind::Crc {
            return Err(self.damaged(0, "it does not begin with a checksum"));
        }
        let expected = self.before.or((self.segment.seq == 0).then_some(0));
        if expected.is_some_and(|expected| expected != record.crc) {
            return Err(self.damaged(
                0,
                "its checksum does not continue that of the segment before, whose end is missing \
                 or whose place it took",
            ));
        }
        Ok(())
    }

    fn take(&mut self, record: &Record<'_>, replay: &mut Replay) -> Result<(), String> {
        let in_place = match head_of(self.segment).get(self.records) {
            Some(kind) => record.kind == *kind,
            None => !matches!(record.kind, Kind::Crc | Kind::Metadata),
        };
        if !in_place {
            return Err(format!(
                "a record of kind {:?} is out of place",
                record.kind
            ));
        }
        let payload = Payload::decode(record)
            .ok_or_else(|| format!("a record is marked as {:?} and is none", record.kind))?;
        replay.apply(
            payload,
            Place {
                segment: self.segment,
                offset: self.offset,
                crc: self.crc,
            },
        )
    }

    /// Looks at what follows the last verified record of the last segment.
    fn end(mut self, replay: &Replay) -> Result<End, WalError> {
        let data_end = self.window.end_of_data(self.offset)?;
        let damage = if data_end == self.offset {
            None
        } else {
            Some(self.judge(data_end, replay.least_next())?)
        };
        Ok(End {
            segment: self.segment,
            offset: self.offset,
            crc: self.crc,
            data_end,
            damage,
        })
    }

    fn judge(&mut self, end: u64, least_next: u64) -> Result<Verdict, WalError> {
        if end - self.offset > limits::WAL_TAIL_BYTES_MAX {
            return Ok(Verdict::Rot(format!(
                "{} bytes cannot be read, more than one batch can be",
                end - self.offset
            )));
        }
        let len = (end + TRAILING_ZEROS).min(self.window.len()) - self.offset;
        let bytes = self.window.get(self.offset, len)?;
        let tail = Tail {
            bytes: &bytes,
            start: self.offset,
            end,
            crc: self.crc,
            least_next,
        };
        Ok(tail.judge())
    }

    fn damaged(&self, offset: u64, reason: &str) -> WalError {
        WalError::Damaged {
            file: self.window.path().clone(),
            offset,
            reason: reason.to_owned(),
        }
    }
}
