//! Names of segment files: `<sequence>-<index>.wal`, both as 16 hexadecimal digits.
//!
//! The index is that of the first entry that the segment was expected to hold when it was begun:
//! the last index written before it, plus one. So whatever of the log is still valid at or after
//! that index lies in this segment or a later one. Sequence numbers have no gaps; indexes usually
//! grow, but not when a new leader overwrote entries.

use std::fmt;
use tenet_base::disk::{DiskView, FilePath};

use crate::error::WalError;

/// A segment, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) seq: u64,
    /// The index in the name.
    pub(crate) index: u64,
}

impl SegmentName {
    fn parse(name: &str) -> Option<SegmentName> {
        let (seq, index) = name.strip_suffix(".wal")?.split_once('-')?;
        let number = |digits: &str| {
            let plain = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then(|| u64::from_str_radix(digits, 16).ok())?
        };
        Some(SegmentName {
            seq: number(seq)?,
            index: number(index)?,
        })
    }

    /// Its path in the log's directory.
    pub(crate) fn path(self, dir: &FilePath) -> FilePath {
        dir.join(&self.to_string())
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.seq, self.index)
    }
}

/// What a log's directory holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The segments in the order of their sequence numbers.
    pub(crate) segments: Vec<SegmentName>,
    /// Segments in preparation that an earlier process left.
    pub(crate) prepared: Vec<FilePath>,
}

/// Lists `dir`. Names that are not a segment's are left alone, as etcd does.
pub(crate) fn list(view: &dyn DiskView, dir: &FilePath) -> Result<Listing, WalError> {
    let mut listing = Listing::default();
    for name in view.list(dir)?.unwrap_or_default() {
        if let Some(segment) = SegmentName::parse(&name) {
            listing.segments.push(segment);
        } else if PREPARED_NAMES.contains(&&*name) {
            listing.prepared.push(dir.join(&name));
        }
    }
    listing.segments.sort();
    Ok(listing)
}

/// The names of segments in preparation; two, so that the next can be prepared while the last is
/// still being renamed.
pub(crate) const PREPARED_NAMES: [&str; 2] = ["0.tmp", "1.tmp"];

/// The segment that a log which begins after `index` must be read from: of those whose name says
/// that what is valid at `index` lies in them or later, the last.
pub(crate) fn segment_of(segments: &[SegmentName], index: u64) -> Option<usize> {
    segments.iter().rposition(|segment| segment.index <= index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        let name = SegmentName {
            seq: 0x1f,
            index: u64::MAX,
        };
        assert_eq!(name.to_string(), "000000000000001f-ffffffffffffffff.wal");
        assert_eq!(SegmentName::parse(&name.to_string()), Some(name));
        for other in [
            "0.tmp",
            "000000000000001f-ffffffffffffffff.wal.broken",
            "1f-ff.wal",
            "+00000000000001f-ffffffffffffffff.wal",
            "000000000000001f_ffffffffffffffff.wal",
        ] {
            assert_eq!(SegmentName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_last_segment_that_can_hold_an_index_is_chosen() {
        // Entries up to 150 were written, then a new leader overwrote from 120 on.
        let names = [0, 151, 140, 300];
        let segments: Vec<_> = (0..)
            .zip(names)
            .map(|(seq, index)| SegmentName { seq, index })
            .collect();
        for (index, chosen) in [
            (0, 0),
            (130, 0),
            (145, 2),
            (151, 2),
            (299, 2),
            (300, 3),
            (999, 3),
        ] {
            assert_eq!(segment_of(&segments, index), Some(chosen), "{index}");
        }
        assert_eq!(segment_of(&segments[1..], 100), None);
    }
}
