//! Reading files back from the medium and checking them, in small steps.
//!
//! A pass goes over the manifest and all files that it names when the pass begins, oldest first:
//! of a segment every record against its checksum, and then its header, directory and footer; of
//! a file beside the segments all its bytes against the checksum in the manifest. A step reads a
//! bounded number of bytes, past what the system has in memory. A file that a job replaces during
//! the pass is left where it stood.
//!
//! What is wrong with records cannot be repaired here: they are not given out any more. What is in
//! memory as well, a directory, an index, the tables, the manifest, is written anew by the next
//! job.
//!
//! A step does not change files, and no job may be under way meanwhile.

use crate::file::{self, FileId, FileKind, SegmentMeta};
use crate::manifest::{Manifest, NO_FILE, SideFile};
use crate::segment::Segment;
use crate::{ReadError, Rev};
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::crc;
use tenet_base::disk::{DiskError, DiskView, FilePath, FileReader};
use tenet_base::limits::STORE_SCRUB_STEP_BYTES;

/// Where a pass is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// Files from this number on were made after it began.
    end: FileId,
    manifest_done: bool,
    /// The file that is being read, or was last.
    file: FileId,
    /// What of it is done; `None` if all is.
    within: Option<Within>,
}

/// How far a file is read.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    /// The next record of a segment.
    record: usize,
    /// The next byte of another file, and the checksum of those before.
    offset: u64,
    crc: u32,
}

/// A piece of a pass, to be run where files can be read.
#[derive(Debug)]
pub struct ScrubStep {
    dir: FilePath,
    pass: Pass,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Manifest(Box<Manifest>),
    Segment(Arc<Segment>, SegmentMeta, Within),
    Side(FilePath, SideFile, Within),
}

/// What a step found.
#[derive(Debug)]
pub struct Scrubbed {
    pub(crate) pass: Pass,
    /// Bytes that were read and checked.
    pub bytes: u64,
    /// What is wrong.
    pub damage: Option<Damage>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where, and what.
    pub error: ReadError,
    /// Records that cannot be read any more. If there are none, what is damaged is in memory too,
    /// and will be written anew.
    pub records: Vec<Rev>,
    pub(crate) part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Records,
    /// All of a segment but its records.
    Frame(FileId),
    /// The manifest, or a file beside the segments.
    Side,
}

impl Pass {
    pub(crate) fn begin(manifest: &Manifest) -> Pass {
        Pass {
            end: manifest.next_file,
            manifest_done: false,
            file: NO_FILE,
            within: None,
        }
    }

    /// The next step; `None` at the end.
    pub(crate) fn next(
        mut self,
        dir: &FilePath,
        manifest: &Manifest,
        segment: impl Fn(usize) -> Arc<Segment>,
    ) -> Option<ScrubStep> {
        let target = if self.manifest_done {
            let mut left: Vec<(FileId, FileKind)> = manifest
                .files()
                .map(|(kind, id)| (id, kind))
                .filter(|(id, _)| *id < self.end)
                .filter(|(id, _)| *id > self.file || (*id == self.file && self.within.is_some()))
                .collect();
            left.sort_unstable();
            let &(id, kind) = left.first()?;
            let within = self.within.filter(|_| id == self.file).unwrap_or_default();
            self.file = id;
            let side = |file| Target::Side(file::path(dir, kind, id), file, within);
            match kind {
                FileKind::Segment => {
                    let at = manifest.segments.iter().position(|meta| meta.id == id)?;
                    Target::Segment(segment(at), manifest.segments[at], within)
                }
                FileKind::Tables => side(manifest.tables),
                FileKind::Index => side(manifest.index.file),
            }
        } else {
            Target::Manifest(Box::new(manifest.clone()))
        };
        Some(ScrubStep {
            dir: dir.clone(),
            pass: self,
            target,
        })
    }
}

impl ScrubStep {
    /// Reads and checks.
    #[must_use]
    pub fn run(self, view: &dyn DiskView) -> Scrubbed {
        let ScrubStep {
            dir,
            mut pass,
            target,
        } = self;
        let (bytes, damage, within) = match target {
            Target::Manifest(manifest) => {
                pass.manifest_done = true;
                let (bytes, damage) = check_manifest(view, &dir, &manifest);
                (bytes, damage, None)
            }
            Target::Segment(segment, meta, within) => {
                let path = file::path(&dir, FileKind::Segment, meta.id);
                if within.record < segment.directory().len() {
                    check_records(view, &path, &segment, within)
                } else {
                    let (bytes, damage) = check_frame(view, &dir, &segment, &meta);
                    (bytes, damage, None)
                }
            }
            Target::Side(path, file, within) => check_side(view, &path, file, within),
        };
        pass.within = within;
        Scrubbed {
            pass,
            bytes,
            damage,
        }
    }
}

/// What a check came to: bytes read, damage, and where it goes on.
type Checked = (u64, Option<Damage>, Option<Within>);

fn check_manifest(view: &dyn DiskView, dir: &FilePath, known: &Manifest) -> (u64, Option<Damage>) {
    let read = Manifest::read(&Medium(view), dir);
    let damage = match read {
        Ok(Some(found)) if found == *known => None,
        Ok(_) => {
            let reason = "it is not the one that was written last";
            Some(ReadError::damaged(&Manifest::path(dir), 0, reason))
        }
        Err(error) => Some(error.into_read_error()),
    };
    let damage = damage.map(|error| repairable(error, Part::Side));
    (known.encoded_bytes(), damage)
}

fn repairable(error: ReadError, part: Part) -> Damage {
    Damage {
        error,
        records: Vec::new(),
        part,
    }
}

fn check_records(
    view: &dyn DiskView,
    path: &FilePath,
    segment: &Segment,
    mut within: Within,
) -> Checked {
    let run = segment.run_of(within.record, STORE_SCRUB_STEP_BYTES);
    within.record = run.end;
    let directory = segment.directory();
    let start = directory.span(run.start).start;
    let len = directory.span(run.end - 1).end - start;
    let offset = file::HEADER_BYTES + start as u64;
    let bytes = match view.read_medium(path, offset, len) {
        Ok(bytes) if bytes.len() == len => bytes,
        Ok(_) => {
            let error = DiskError::short_read(path, offset, len);
            let lost = segment.lose(run);
            return (0, Some(lost_records(error.into(), lost)), Some(within));
        }
        Err(error) => {
            let lost = segment.lose(run);
            return (0, Some(lost_records(error.into(), lost)), Some(within));
        }
    };
    let mut damage: Option<Damage> = None;
    for at in run {
        let span = directory.span(at);
        let Err(error) = segment.check(at, &bytes[span.start - start..span.end - start]) else {
            continue;
        };
        let lost = segment.lose(at..at + 1);
        damage
            .get_or_insert_with(|| lost_records(error, Vec::new()))
            .records
            .extend(lost);
    }
    (len as u64, damage, Some(within))
}

fn lost_records(error: ReadError, records: Vec<Rev>) -> Damage {
    Damage {
        error,
        records,
        part: Part::Records,
    }
}

fn check_frame(
    view: &dyn DiskView,
    dir: &FilePath,
    segment: &Segment,
    meta: &SegmentMeta,
) -> (u64, Option<Damage>) {
    let read = file::read_directory(&Medium(view), dir, meta);
    let bytes = meta.bytes - segment.directory().data_bytes() as u64;
    let damage = read
        .err()
        .map(|error| repairable(error, Part::Frame(meta.id)));
    (bytes, damage)
}

fn check_side(view: &dyn DiskView, path: &FilePath, file: SideFile, mut within: Within) -> Checked {
    let left = file.bytes - within.offset;
    let len = left.min(STORE_SCRUB_STEP_BYTES as u64) as usize;
    let bytes = match view.read_medium(path, within.offset, len) {
        Ok(bytes) if bytes.len() == len => bytes,
        Ok(_) => {
            let error = DiskError::short_read(path, within.offset, len);
            return (0, Some(repairable(error.into(), Part::Side)), None);
        }
        Err(error) => return (0, Some(repairable(error.into(), Part::Side)), None),
    };
    within.crc = crc::extend(within.crc, &bytes);
    within.offset += len as u64;
    if within.offset < file.bytes {
        return (len as u64, None, Some(within));
    }
    let damage = (within.crc != file.crc).then(|| {
        let reason = format!(
            "its {} bytes have checksum {:08x}, not {:08x} as when it was written",
            file.bytes, within.crc, file.crc
        );
        repairable(ReadError::damaged(path, 0, reason), Part::Side)
    });
    (len as u64, damage, None)
}

/// A view that reads from the medium.
struct Medium<'a>(&'a dyn DiskView);

impl DiskView for Medium<'_> {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        self.0.list(dir)
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        self.0.len(path)
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        self.0.read_medium(path, offset, len)
    }

    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        self.0.open(path)
    }
}
