//! Whether damage at the end of the last segment is a torn write or rot.
//!
//! What may be cut off is only what was never acknowledged: the last batch, if power failed
//! before its sync completed. The disk then holds, sector by sector, either the new bytes or the
//! zeros that were there before, since a batch is written over zeros and the next is written only
//! after its sync. So damage is taken for torn only if
//!
//! * something is missing at the first record that cannot be verified: a sector's part of it is
//!   zeros, or the rest of the file is; a record that is all there and does not verify has
//!   rotted, and
//! * nothing was written behind the batch: past its hard-state record there are only zeros. The
//!   search goes on over missing parts at every 8-byte offset. If entries that follow the damage
//!   continue the log without a gap, what is damaged between held a batch's end.
//!
//! What etcd's format cannot tell: whether whole sectors that are zero were never written or were
//! lost later, if they belong to the very last batch, or if they hold the hard states of batches
//! before it and only one hard state follows. Bytes of a torn entry's value that look like records
//! can only lead to a refusal.

use crate::frame::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FrameLen, Kind, parse_head, parse_leading_record, parse_record,
};
use crate::payload::Payload;

/// What is lost is lost by whole sectors.
const SECTOR_BYTES: u64 = 512;
/// The longest start of a record before its data: kind, checksum, tag and length.
const RECORD_HEAD_BYTES_MAX: usize = 19;
/// Zeros that callers leave after the last non-zero byte, so that a record that ends in zeros is
/// still seen whole.
pub(crate) const TRAILING_ZEROS: u64 = 64;

/// The end of the last segment, from the first record that cannot be verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail<'a> {
    /// The bytes from there to the last one that is not zero, and up to [`TRAILING_ZEROS`] more.
    pub(crate) bytes: &'a [u8],
    /// The offset of the first of them in the file.
    pub(crate) start: u64,
    /// Where the last non-zero byte ends.
    pub(crate) end: u64,
    /// The running checksum there.
    pub(crate) crc: u32,
    /// The lowest index that the next entry of the damaged batch can have.
    pub(crate) least_next: u64,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The batch was never acknowledged: it may go.
    Torn,
    /// Something that was acknowledged may be lost, for this reason.
    Rot(String),
}

fn rot(reason: &str) -> Verdict {
    Verdict::Rot(reason.to_owned())
}

/// How far the search is.
#[derive(Clone, Copy, Debug)]
struct Search {
    at: u64,
    /// Whether the batch's hard state has been passed.
    ended: bool,
    /// Whether it is not known where the next frame begins.
    lost: bool,
    /// Whether something of unknown kind has been passed since the last record.
    gap: bool,
    least_next: u64,
}

/// A frame whose bounds are known but whose record cannot be verified.
#[derive(Clone, Copy, Debug)]
struct Extent {
    end: u64,
    /// The record's kind, unless that part is missing.
    kind: Option<Kind>,
    /// Whether any part is missing.
    incomplete: bool,
}

/// A record that was found whole behind the damage.
#[derive(Clone, Copy, Debug)]
enum Found {
    Entry(u64),
    State,
    Other,
}

impl Tail<'_> {
    /// Judges the damage.
    pub(crate) fn judge(&self) -> Verdict {
        let mut search = Search {
            at: self.start,
            ended: false,
            lost: false,
            gap: false,
            least_next: self.least_next,
        };
        match self.field(self.start) {
            0 => {
                if let Some(verdict) = self.judge_missing_length(&mut search) {
                    return verdict;
                }
            }
            field => match FrameLen::parse(field) {
                Some(len) => match self.extent(self.start, len) {
                    None => return rot("its record does not fit its length"),
                    Some(extent) if !extent.incomplete => {
                        return rot("the record is all there, but its checksum does not match");
                    }
                    Some(extent) => search.pass(extent),
                },
                // Less than a frame's length was written, and nothing behind it.
                None if self.end <= self.start + FRAME_HEADER_BYTES => return Verdict::Torn,
                None => return rot("the length of the record is not one that is ever written"),
            },
        }
        self.search(search)
    }

    /// A zeroed length field: missing together with the rest of its sector, or not written at all.
    fn judge_missing_length(&self, search: &mut Search) -> Option<Verdict> {
        let body_at = self.start + FRAME_HEADER_BYTES;
        let alone_in_sector = body_at.is_multiple_of(SECTOR_BYTES);
        let body = self.from(body_at);
        let intact = parse_leading_record(body).filter(|(record, _)| record.follows(self.crc));
        if !alone_in_sector && (intact.is_some() || parse_head(body).is_some()) {
            return Some(rot(
                "the length of the record was zeroed, but not the record behind it",
            ));
        }
        if intact.is_none() {
            search.skip();
        }
        None
    }

    /// Goes over what lies behind the damage.
    fn search(&self, mut search: Search) -> Verdict {
        while search.at < self.end {
            if search.ended {
                return rot("more was written behind the batch that is damaged here");
            }
            if let Some((found, end)) = self.record_at(search.at, search.lost) {
                if let Found::Entry(index) = found {
                    if index < search.least_next || (search.gap && index == search.least_next) {
                        return rot("entries of a later batch follow the damage");
                    }
                    search.least_next = index + 1;
                }
                search.ended = matches!(found, Found::State);
                (search.lost, search.gap) = (false, false);
                search.at = end;
                continue;
            }
            let len = FrameLen::parse(self.field(search.at)).filter(|_| !search.lost);
            match len.and_then(|len| self.extent(search.at, len)) {
                Some(extent) => search.pass(extent),
                None => search.skip(),
            }
        }
        Verdict::Torn
    }

    /// The record of the frame at `at` if it is whole, by shape and kind, and where the frame
    /// ends. At a frame's known place, the length field may be missing as the end of a sector.
    fn record_at(&self, at: u64, lost: bool) -> Option<(Found, u64)> {
        let body_at = at + FRAME_HEADER_BYTES;
        let body = self.from(body_at);
        let (record, len) = match self.field(at) {
            0 if !lost && body_at.is_multiple_of(SECTOR_BYTES) => {
                let (record, len) = parse_leading_record(body)?;
                (record, FrameLen::of(len as u64))
            }
            field => {
                let len = FrameLen::parse(field)?;
                (
                    parse_record(body.get(..usize::try_from(len.record).ok()?)?)?,
                    len,
                )
            }
        };
        let found = match Payload::decode(&record)? {
            Payload::Entry(entry) if entry.index == 0 || entry.term == 0 => return None,
            Payload::Entry(entry) => Found::Entry(entry.index),
            Payload::State(_) => Found::State,
            Payload::Metadata(_) | Payload::Crc | Payload::Position(_) => Found::Other,
        };
        Some((found, at + len.frame()))
    }

    /// The frame of length `len` at `at`; `None` if what is there of its record contradicts it.
    fn extent(&self, at: u64, len: FrameLen) -> Option<Extent> {
        let body_at = at + FRAME_HEADER_BYTES;
        let record_end = body_at + len.record;
        let known = self.known_start(body_at, record_end);
        let mut kind = None;
        if !known.is_empty() {
            // The first eight bytes of a record share a sector.
            let short = known.len() < RECORD_HEAD_BYTES_MAX.min(len.record as usize);
            match parse_head(known) {
                Some((head, data_at)) => {
                    let natural = head.data_len.map(|data_len| (data_at + data_len) as u64);
                    if natural.is_some_and(|natural| natural != len.record)
                        || (natural.is_none() && !short)
                    {
                        return None;
                    }
                    kind = Some(head.kind);
                }
                None if short && self.end < record_end && known.len() < 8 => {}
                None => return None,
            }
        }
        let incomplete = self.end < record_end || self.misses_a_sector(body_at, record_end);
        Some(Extent {
            end: at + len.frame(),
            kind,
            incomplete,
        })
    }

    /// The bytes of `from..to` before the first sector's part that is missing.
    fn known_start(&self, from: u64, to: u64) -> &[u8] {
        let to = to.min(self.end);
        let mut known_end = from;
        while known_end < to {
            let sector_end = (known_end / SECTOR_BYTES + 1) * SECTOR_BYTES;
            let part_end = sector_end.min(to);
            if self.is_zero(known_end, part_end) {
                break;
            }
            known_end = part_end;
        }
        &self.from(from)[..(known_end - from.min(known_end)) as usize]
    }

    /// Whether any sector's part of `from..to` is all zeros.
    fn misses_a_sector(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let part_end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(to);
            if self.is_zero(at, part_end) {
                return true;
            }
            at = part_end;
        }
        false
    }

    fn is_zero(&self, from: u64, to: u64) -> bool {
        let bytes = self.from(from);
        bytes
            .iter()
            .take((to - from) as usize)
            .all(|byte| *byte == 0)
    }

    /// The bytes from `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let skip = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }

    /// The length field at `offset`; bytes beyond the end of the data are zero.
    fn field(&self, offset: u64) -> u64 {
        let mut field = [0; 8];
        let bytes = self.from(offset);
        let len = bytes.len().min(8);
        field[..len].copy_from_slice(&bytes[..len]);
        u64::from_le_bytes(field)
    }
}

impl Search {
    /// Moves past a frame that cannot be verified.
    fn pass(&mut self, extent: Extent) {
        self.at = extent.end;
        match extent.kind {
            Some(Kind::State) => self.ended = true,
            Some(Kind::Entry) => self.least_next += 1,
            Some(_) => {}
            None => self.gap = true,
        }
    }

    /// Moves on by one place where a frame can begin.
    fn skip(&mut self) {
        self.at += FRAME_ALIGN;
        (self.lost, self.gap) = (true, true);
    }
}
