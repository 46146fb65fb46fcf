//! Work on the files, a piece at a time: a flush writes what is in memory only, a rewrite puts
//! neighbouring files together without what was released in them. Both end with a new manifest.
//!
//! A job works on immutable segments and may run on any thread; the store goes on meanwhile. It
//! gives out operations for the disk, one submission at a time, and must be told nothing but that
//! the last one was done.
//!
//! Order is what makes it safe: a file is whole and synced before the manifest names it, and an
//! older file goes only after the manifest that does not name it is durable. So a job can be given
//! up, with nothing changed, until the new manifest is in its place.

use crate::directory::Directory;
use crate::file::{self, FileId, FileKind, FileWriter, SegmentMeta, SideWriter};
use crate::manifest::{Cut, IndexFile, Manifest, SideFile};
use crate::segment::{Segment, Stored};
use crate::{Patience, ReadError};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use tenet_base::disk::{DiskError, DiskOp, DiskView, FilePath};

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Bytes for a file beside the segments.
pub type Chunks = Box<dyn Iterator<Item = Bytes> + Send>;

/// What a flush writes beside the records.
pub struct Sides {
    /// What the state will be once the flush is done.
    pub cut: Cut,
    /// The small tables at the cut.
    pub tables: Chunks,
    /// The index at the cut; without it the one before stays.
    pub index: Option<Chunks>,
}

impl fmt::Debug for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sides")
            .field("cut", &self.cut)
            .field("index", &self.index.is_some())
            .finish_non_exhaustive()
    }
}

/// Segments that become one file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// For each, one bit a record that is left out; may be empty.
    pub(crate) left_out: Vec<Vec<u64>>,
}

/// See the module.
#[derive(Debug)]
pub struct Job {
    dir: FilePath,
    /// Which segments of the store's list are replaced by what is written.
    replaced: Range<usize>,
    sources: VecDeque<Source>,
    writing: Option<Writing>,
    written: Vec<(SegmentMeta, Directory)>,
    sides: VecDeque<(FileKind, FileId, SideWriter)>,
    /// As it is to be; its segments are those before the job until the last step.
    manifest: Manifest,
    /// The files that the manifest named before.
    before: Vec<(FileKind, FileId)>,
    wrote_index: bool,
    /// The cut to come, unless it stays.
    cut: Option<Cut>,
    stage: Stage,
    /// The files that were begun.
    made: Vec<FilePath>,
    written_bytes: u64,
    read_bytes: u64,
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Files,
    /// The manifest is written under another name.
    Manifest,
    /// It is put in its place.
    Rename,
    /// That is made durable, and older files are removed.
    Ends,
}

#[derive(Debug)]
struct Writing {
    source: Source,
    file: FileWriter,
    segment: usize,
    at: usize,
}

/// What a job has done.
#[derive(Debug)]
pub struct Done {
    pub(crate) replaced: Range<usize>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) manifest: Manifest,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Whether the index was written.
    pub wrote_index: bool,
}

impl Done {
    /// Bytes of the files beside the segments.
    #[must_use]
    pub fn side_bytes(&self) -> u64 {
        self.manifest.side_bytes()
    }
}

impl Job {
    pub(crate) fn new(
        dir: FilePath,
        mut manifest: Manifest,
        replaced: Range<usize>,
        sources: Vec<Source>,
        sides: Option<Sides>,
    ) -> Job {
        let before = manifest.files().collect();
        let mut files = VecDeque::new();
        let mut add = |kind, manifest: &mut Manifest, chunks| {
            let id = manifest.take_id();
            let path = file::path(&dir, kind, id);
            files.push_back((kind, id, SideWriter::new(path, chunks)));
        };
        let mut cut = None;
        if let Some(sides) = sides {
            cut = Some(sides.cut);
            add(FileKind::Tables, &mut manifest, sides.tables);
            if let Some(index) = sides.index {
                add(FileKind::Index, &mut manifest, index);
            }
        }
        Job {
            dir,
            replaced,
            sources: sources.into(),
            writing: None,
            written: Vec::new(),
            sides: files,
            manifest,
            before,
            wrote_index: false,
            cut,
            stage: Stage::Files,
            made: Vec::new(),
            written_bytes: 0,
            read_bytes: 0,
        }
    }

    /// Has files of another store removed as well.
    pub(crate) fn removing(mut self, files: Vec<(FileKind, FileId)>) -> Job {
        self.before.extend(files);
        self
    }

    /// The next operations for the disk, to be done in order. `None` once all was done.
    ///
    /// # Errors
    /// If a record to be copied cannot be read: then nothing has changed.
    pub fn step(&mut self) -> Result<Option<Vec<DiskOp>>, ReadError> {
        let ops = self.work()?;
        for op in ops.iter().flatten() {
            match op {
                DiskOp::Write { data, .. } => self.written_bytes += data.len() as u64,
                DiskOp::Create { path, .. } => self.made.push(path.clone()),
                _ => {}
            }
        }
        Ok(ops)
    }

    /// Gives the job up after its last operation failed, or a record could not be read: what
    /// removes the files that it began. `None` if the new manifest may be in its place, so that it
    /// is too late.
    #[must_use]
    pub fn give_up(&self) -> Option<Vec<DiskOp>> {
        if self.stage == Stage::Ends {
            return None;
        }
        let made = self.made.iter().cloned();
        Some(made.map(|path| DiskOp::Remove { path }).collect())
    }

    /// Bytes that were read and written so far, for whoever holds it back.
    #[must_use]
    pub fn moved_bytes(&self) -> u64 {
        self.read_bytes + self.written_bytes
    }

    fn work(&mut self) -> Result<Option<Vec<DiskOp>>, ReadError> {
        if let Some(writing) = self.writing.take() {
            return self.copy(writing).map(Some);
        }
        if let Some(source) = self.sources.pop_front() {
            let file = FileWriter::new(&self.dir, self.manifest.take_id());
            let ops = vec![file.create()];
            self.writing = Some(Writing {
                source,
                file,
                segment: 0,
                at: 0,
            });
            return Ok(Some(ops));
        }
        if let Some((kind, id, mut side)) = self.sides.pop_front() {
            let ops = match side.next() {
                Some(ops) => {
                    self.sides.push_front((kind, id, side));
                    ops
                }
                None => {
                    let ops = side.seal();
                    let (bytes, crc) = (side.offset, side.crc);
                    self.sealed(kind, SideFile { id, bytes, crc });
                    ops
                }
            };
            return Ok(Some(ops));
        }
        let (next, ops) = match self.stage {
            Stage::Files => (Stage::Manifest, self.write_manifest()),
            Stage::Manifest => (Stage::Rename, vec![Manifest::put_in_place(&self.dir)]),
            Stage::Rename => (Stage::Ends, self.clear()),
            Stage::Ends => return Ok(None),
        };
        self.stage = next;
        Ok(Some(ops))
    }

    /// Copies records until there is something to write.
    fn copy(&mut self, mut writing: Writing) -> Result<Vec<DiskOp>, ReadError> {
        while let Some(segment) = writing.source.segments.get(writing.segment) {
            if writing.at == segment.directory().len() {
                writing.segment += 1;
                writing.at = 0;
                continue;
            }
            if writing.file.is_full() {
                let ops = vec![writing.file.write()];
                self.writing = Some(writing);
                return Ok(ops);
            }
            let run = segment.run_of(writing.at, READ_BYTES);
            // From memory all could come at once; what is written at a time is bounded all the same.
            let run = run.start..run.end.min(run.start + 1_000);
            let left_out = writing.source.left_out.get(writing.segment);
            let gone = |at: usize| left_out.is_some_and(|bits| bit(bits, at));
            if run.clone().any(|at| !gone(at)) {
                // What cannot be read is remembered, or it would be tried again and again.
                let block = segment.block(run.clone(), Patience::Wait);
                let block = block.inspect_err(|_| drop(segment.lose(run.clone())))?;
                self.read_bytes += block.len_bytes();
                for at in run.clone().filter(|&at| !gone(at)) {
                    let record = segment.record_of(writing.segment, at, &block);
                    let record = record.inspect_err(|_| drop(segment.lose(at..at + 1)))?;
                    record.verify();
                    writing.file.push(&record);
                }
            }
            writing.at = run.end;
        }
        let path = writing.file.path().clone();
        Ok(match writing.file.finish() {
            Some((ops, meta, directory)) => {
                self.written.push((meta, directory));
                ops
            }
            // Nothing is left: a file without records is not kept.
            None => vec![
                DiskOp::Close { path: path.clone() },
                DiskOp::Remove { path },
            ],
        })
    }

    fn sealed(&mut self, kind: FileKind, file: SideFile) {
        match (kind, self.cut) {
            (FileKind::Index, Some(cut)) => {
                self.wrote_index = true;
                self.manifest.index = IndexFile {
                    file,
                    revision: cut.revision,
                };
            }
            _ => self.manifest.tables = file,
        }
    }

    fn write_manifest(&mut self) -> Vec<DiskOp> {
        let metas = self.written.iter().map(|(meta, _)| *meta);
        let stored = self.manifest.segments.len();
        let range = self.replaced.start.min(stored)..self.replaced.end.min(stored);
        self.manifest.segments.splice(range, metas);
        if let Some(cut) = self.cut {
            self.manifest.cut = cut;
        }
        self.manifest.write(&self.dir)
    }

    /// Makes the manifest's name durable, and then removes what it does not name any more. What is
    /// removed while it is being read stays readable: see `DiskView::open`.
    fn clear(&self) -> Vec<DiskOp> {
        let mut ops = vec![DiskOp::SyncDir {
            path: self.dir.clone(),
        }];
        let after: Vec<_> = self.manifest.files().collect();
        let gone = self.before.iter().filter(|file| !after.contains(file));
        ops.extend(gone.map(|(kind, id)| DiskOp::Remove {
            path: file::path(&self.dir, *kind, *id),
        }));
        ops
    }

    /// Ends a job whose operations were all done.
    ///
    /// # Errors
    /// If a file that was just written cannot be opened.
    pub fn finish(self, view: &dyn DiskView) -> Result<Done, DiskError> {
        assert!(
            self.stage == Stage::Ends,
            "a job was ended before its last step"
        );
        let mut segments = Vec::with_capacity(self.written.len());
        for (meta, directory) in self.written {
            let path = file::path(&self.dir, FileKind::Segment, meta.id);
            let reader = view.open(&path)?;
            segments.push(Segment::stored(directory, Stored::new(path, reader)));
        }
        Ok(Done {
            replaced: self.replaced,
            segments,
            manifest: self.manifest,
            written_bytes: self.written_bytes,
            wrote_index: self.wrote_index,
        })
    }
}

/// Whether a bit is set in a set that may be shorter.
pub(crate) fn bit(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64)
        .is_some_and(|word| word & (1 << (at % 64)) != 0)
}
