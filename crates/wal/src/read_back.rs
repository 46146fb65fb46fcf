//! Reading older entries back from the segments, for followers that are behind what the consensus
//! core keeps in memory.

use crate::error::WalError;
use crate::frame::parse_record;
use crate::log_map::Run;
use crate::payload::Payload;
use crate::scan::frame_at;
use crate::window::Window;
use tenet_base::Index;
use tenet_base::disk::{DiskView, FilePath};
use tenet_proto::raftpb::{Entry, entry_bytes};

/// Where some entries of the log lie. Stays good until the entries are overwritten or their
/// segments released, and so for committed entries until the next release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    dir: FilePath,
    lo: Index,
    hi: Index,
    runs: Vec<Run>,
}

impl Span {
    pub(crate) fn new(dir: FilePath, lo: Index, hi: Index, runs: Vec<Run>) -> Span {
        Span { dir, lo, hi, runs }
    }
}

/// Reads the entries of `span`, in order, up to `max_bytes` of their encoded length, but at least
/// one.
///
/// # Errors
/// If a record cannot be verified, or the segment is no longer there.
pub fn entries(view: &dyn DiskView, span: &Span, max_bytes: u64) -> Result<Vec<Entry>, WalError> {
    let mut found = Found {
        next: span.lo.get(),
        hi: span.hi.get(),
        bytes: 0,
        max_bytes,
        entries: Vec::new(),
    };
    for run in &span.runs {
        if found.read_run(view, &span.dir, run)? {
            break;
        }
    }
    Ok(found.entries)
}

struct Found {
    next: u64,
    hi: u64,
    bytes: u64,
    max_bytes: u64,
    entries: Vec<Entry>,
}

impl Found {
    /// Takes what is wanted of one run; says whether that was all.
    fn read_run(
        &mut self,
        view: &dyn DiskView,
        dir: &FilePath,
        run: &Run,
    ) -> Result<bool, WalError> {
        let mut window = Window::open(view, run.place.segment.path(dir))?;
        let (mut offset, mut crc) = (run.place.offset, run.place.crc);
        while self.next <= run.last && self.next < self.hi {
            let frame = frame_at(&mut window, offset)?;
            let record = frame.as_ref().and_then(|(bytes, _)| parse_record(bytes));
            let record = record.filter(|record| record.follows(crc));
            let (Some((_, len)), Some(record)) = (&frame, record) else {
                return Err(damaged(
                    &window,
                    offset,
                    "a record that was valid no longer is",
                ));
            };
            match Payload::decode(&record) {
                Some(Payload::Entry(entry)) if entry.index == self.next => {
                    let entry = entry.to_entry();
                    self.bytes += entry_bytes(&entry);
                    if self.bytes > self.max_bytes && !self.entries.is_empty() {
                        return Ok(true);
                    }
                    self.entries.push(entry);
                    self.next += 1;
                }
                Some(_) => {}
                None => {
                    return Err(damaged(
                        &window,
                        offset,
                        "a record is not what it is marked as",
                    ));
                }
            }
            offset += len.frame();
            crc = record.crc;
        }
        Ok(self.next >= self.hi)
    }
}

fn damaged(window: &Window<'_>, offset: u64, reason: &str) -> WalError {
    WalError::Damaged {
        file: window.path().clone(),
        offset,
        reason: reason.to_owned(),
    }
}
