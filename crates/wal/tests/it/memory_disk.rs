//! A disk in memory on which everything succeeds and nothing is lost.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenet_base::disk::{DiskError, DiskOp, DiskView, FilePath, FileReader};

#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk {
    pub(crate) files: BTreeMap<FilePath, Vec<u8>>,
    pub(crate) locked: BTreeSet<FilePath>,
    dirs: BTreeSet<FilePath>,
}

impl MemoryDisk {
    pub(crate) fn run(&mut self, ops: &[DiskOp]) {
        ops.iter().for_each(|op| self.perform(op));
    }

    fn perform(&mut self, op: &DiskOp) {
        match op {
            DiskOp::CreateDir { path } => {
                self.dirs.insert(path.clone());
            }
            DiskOp::Create {
                path,
                reserve_bytes,
            } => {
                assert!(
                    self.dirs.contains(&path.parent()),
                    "no directory for {path}"
                );
                self.files
                    .insert(path.clone(), vec![0; *reserve_bytes as usize]);
            }
            DiskOp::Write { path, offset, data } => {
                let file = self.files.get_mut(path).expect("written files exist");
                let end = *offset as usize + data.len();
                file.resize(file.len().max(end), 0);
                file[*offset as usize..end].copy_from_slice(data);
            }
            DiskOp::SetLen { path, len } => {
                self.files
                    .get_mut(path)
                    .expect("the file exists")
                    .resize(*len as usize, 0);
            }
            DiskOp::SyncData { path } => assert!(self.files.contains_key(path), "{path}"),
            DiskOp::SyncDir { path } => {
                let root = path.as_str().is_empty();
                assert!(root || self.dirs.contains(path), "no directory {path}");
            }
            DiskOp::Rename { from, to } => self.rename(from, to),
            DiskOp::Remove { path } => {
                self.files.remove(path);
                self.locked.remove(path);
            }
            DiskOp::RemoveDir { path } => {
                let below = format!("{path}/");
                self.dirs.remove(path);
                self.files
                    .retain(|file, _| !file.as_str().starts_with(&below));
            }
            DiskOp::Lock { path } => {
                assert!(self.files.contains_key(path), "no file {path}");
                assert!(self.locked.insert(path.clone()), "{path} is locked twice");
            }
            DiskOp::Close { path } => {
                self.locked.remove(path);
            }
        }
    }

    fn rename(&mut self, from: &FilePath, to: &FilePath) {
        if let Some(file) = self.files.remove(from) {
            self.files.insert(to.clone(), file);
            return;
        }
        assert!(
            self.dirs.remove(from) && self.dirs.insert(to.clone()),
            "{from} to {to}"
        );
        let below = format!("{from}/");
        let moved: Vec<_> = self
            .files
            .keys()
            .filter(|file| file.as_str().starts_with(&below))
            .cloned()
            .collect();
        for file in moved {
            let bytes = self.files.remove(&file).unwrap();
            self.files.insert(to.join(file.name()), bytes);
        }
    }

    /// Ends the process: locks go, bytes stay.
    pub(crate) fn end_process(&mut self) {
        self.locked.clear();
    }

    /// Puts a segment there.
    pub(crate) fn put(&mut self, path: &FilePath, bytes: Vec<u8>) {
        self.dirs.extend([path.parent(), path.parent().parent()]);
        self.files.insert(path.clone(), bytes);
    }
}

impl DiskView for MemoryDisk {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        let names = self.files.keys().filter(|file| file.parent() == *dir);
        let names = names.map(|file| file.name().to_owned()).collect();
        Ok(self.dirs.contains(dir).then_some(names))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        Ok(self.files.get(path).map(|file| file.len() as u64))
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let file = self.files.get(path).ok_or_else(|| DiskError {
            operation: "read",
            path: path.clone(),
            reason: "no such file".to_owned(),
            no_space: false,
        })?;
        let from = file.len().min(offset as usize);
        let to = file.len().min(from.saturating_add(len));
        Ok(Bytes::copy_from_slice(&file[from..to]))
    }

    fn open(&self, _: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        unreachable!("the log is read by name")
    }
}
