//! A disk in memory that does everything at once and never fails, for tests and tools that need
//! files without a medium. (Faults and power losses are the simulator's.)

use crate::disk::Completion;
use crate::disk::{Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Token};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: BTreeMap<FilePath, Arc<Vec<u8>>>,
    dirs: BTreeSet<FilePath>,
    completions: Vec<Completion>,
    written_bytes: u64,
    cold: Arc<AtomicBool>,
}

/// A file as it was when it was opened.
#[derive(Debug)]
struct Opened {
    path: FilePath,
    bytes: Arc<Vec<u8>>,
    cold: Arc<AtomicBool>,
}

impl MemoryDisk {
    /// Whether readers of open files that do not want to wait get nothing, as from a medium whose
    /// files are not in memory. For files that are open too.
    pub fn set_cold(&self, cold: bool) {
        self.cold.store(cold, Ordering::Relaxed);
    }

    /// Does operations now.
    ///
    /// # Errors
    /// If one names a file that is not there.
    pub fn run(&mut self, ops: Vec<DiskOp>) -> Result<(), DiskError> {
        ops.into_iter().try_for_each(|op| self.perform(op))
    }

    /// Puts a file there.
    pub fn put(&mut self, path: &FilePath, bytes: Vec<u8>) {
        self.files.insert(path.clone(), Arc::new(bytes));
    }

    /// The completions of all submissions since the last call.
    pub fn take_completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.files.keys()
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// The contents of a file, to be damaged.
    ///
    /// # Errors
    /// If it is not there.
    pub fn contents(&mut self, path: &FilePath) -> Result<&mut Vec<u8>, DiskError> {
        let file = self.files.get_mut(path);
        file.map(Arc::make_mut).ok_or_else(|| missing("open", path))
    }

    fn perform(&mut self, op: DiskOp) -> Result<(), DiskError> {
        match op {
            DiskOp::CreateDir { path } => {
                self.dirs.insert(path);
            }
            DiskOp::Create {
                path,
                reserve_bytes,
            } => {
                let zeros = vec![0; reserve_bytes as usize];
                self.files.insert(path, Arc::new(zeros));
            }
            DiskOp::Write { path, offset, data } => {
                self.written_bytes += data.len() as u64;
                let file = self.contents(&path)?;
                let end = offset as usize + data.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset as usize..end].copy_from_slice(&data);
            }
            DiskOp::SetLen { path, len } => self.contents(&path)?.resize(len as usize, 0),
            DiskOp::SyncData { path } => drop(self.contents(&path)?),
            DiskOp::Rename { from, to } => {
                let file = self.files.remove(&from);
                let file = file.ok_or_else(|| missing("rename", &from))?;
                self.files.insert(to, file);
            }
            DiskOp::Remove { path } => {
                self.files.remove(&path);
            }
            DiskOp::RemoveDir { path } => {
                let below = format!("{path}/");
                self.files
                    .retain(|file, _| !file.as_str().starts_with(&below));
                self.dirs.remove(&path);
            }
            DiskOp::SyncDir { .. } | DiskOp::Lock { .. } | DiskOp::Close { .. } => {}
        }
        Ok(())
    }

    fn file(&self, operation: &'static str, path: &FilePath) -> Result<&Arc<Vec<u8>>, DiskError> {
        self.files.get(path).ok_or_else(|| missing(operation, path))
    }
}

fn missing(operation: &'static str, path: &FilePath) -> DiskError {
    DiskError {
        operation,
        path: path.clone(),
        reason: "no such file or directory".to_owned(),
        no_space: false,
    }
}

impl Disk for MemoryDisk {
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>) {
        let result = self.run(ops);
        self.completions.push(Completion { token, result });
    }
}

impl DiskView for MemoryDisk {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        let files = self.files.keys().filter(|file| file.parent() == *dir);
        let names: Vec<String> = files.map(|file| file.name().to_owned()).collect();
        Ok((self.dirs.contains(dir) || !names.is_empty()).then_some(names))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        Ok(self.files.get(path).map(|file| file.len() as u64))
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let file = self.file("read", path)?;
        let from = file.len().min(offset as usize);
        let to = file.len().min(from.saturating_add(len));
        Ok(Bytes::copy_from_slice(&file[from..to]))
    }

    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        Ok(Arc::new(Opened {
            path: path.clone(),
            bytes: Arc::clone(self.file("open", path)?),
            cold: Arc::clone(&self.cold),
        }))
    }
}

impl FileReader for Opened {
    fn read(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let bytes = self
            .bytes
            .get(offset as usize..)
            .and_then(|rest| rest.get(..len));
        let bytes = bytes.map(Bytes::copy_from_slice);
        bytes.ok_or_else(|| DiskError::short_read(&self.path, offset, len))
    }

    fn read_cached(&self, offset: u64, len: usize) -> Result<Option<Bytes>, DiskError> {
        if self.cold.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.read(offset, len).map(Some)
    }
}
