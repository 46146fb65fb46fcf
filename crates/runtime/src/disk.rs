//! The real disk: does the operations of a submission in order, on the calling thread.
//!
//! Each actor that writes has a thread of its own and a [`RealDisk`] of its own, so a submission
//! is done right where it is made and its completion is fetched afterwards. Files stay open until
//! they are closed, renamed or removed.
//!
//! Paths are relative to the data directory; the log may live elsewhere (`--wal-dir`), so paths
//! below `member/wal` are mapped there.

use crate::metrics::DiskMetrics;
use bytes::{Bytes, BytesMut};
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use rustix::io::{Errno, ReadWriteFlags};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tenet_base::disk::{
    Completion, Disk, DiskError, DiskOp, DiskView, FilePath, FileReader, Room, Token,
};

/// The part of a data directory that can live elsewhere.
const WAL_DIR: &str = "member/wal";
const MEMBER_DIR: &str = "member";

/// Where the files of a member are.
#[derive(Clone, Debug)]
pub(crate) struct Roots {
    pub(crate) data_dir: PathBuf,
    pub(crate) wal_dir: Option<PathBuf>,
}

impl Roots {
    /// The real path of a file.
    pub(crate) fn locate(&self, path: &FilePath) -> PathBuf {
        let text = path.as_str();
        if let (Some(wal_dir), Some(rest)) = (&self.wal_dir, text.strip_prefix(WAL_DIR)) {
            // `rest` is empty, "/name", or ".tmp" with what follows.
            let mut full = wal_dir.clone().into_os_string();
            full.push(rest);
            return PathBuf::from(full);
        }
        self.data_dir.join(text)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RealDisk {
    roots: Roots,
    open: BTreeMap<FilePath, File>,
    completions: Vec<Completion>,
    metrics: Arc<DiskMetrics>,
    sync: bool,
}

impl RealDisk {
    /// A disk over `roots`. Without `sync` nothing is made durable (`--unsafe-no-fsync`).
    pub(crate) fn new(roots: Roots, metrics: Arc<DiskMetrics>, sync: bool) -> Self {
        RealDisk {
            roots,
            open: BTreeMap::new(),
            completions: Vec::new(),
            metrics,
            sync,
        }
    }

    /// The completions of all submissions so far.
    pub(crate) fn take_completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    /// Does operations now, for start-up.
    pub(crate) fn run(&mut self, ops: Vec<DiskOp>) -> Result<(), DiskError> {
        ops.into_iter().try_for_each(|op| self.execute(op))
    }

    fn execute(&mut self, op: DiskOp) -> Result<(), DiskError> {
        let (operation, path) = describe(&op);
        self.perform(op)
            .map_err(|error| disk_error(operation, path, &error))
    }

    fn perform(&mut self, op: DiskOp) -> io::Result<()> {
        match op {
            DiskOp::CreateDir { path } => create_dir(&self.roots.locate(&path)),
            DiskOp::Create {
                path,
                reserve_bytes,
            } => self.create(path, reserve_bytes),
            DiskOp::Write { path, offset, data } => {
                if path.as_str().starts_with(WAL_DIR) {
                    self.metrics.wal_bytes.add(data.len() as u64);
                }
                self.file(&path)?.write_all_at(&data, offset)
            }
            DiskOp::SetLen { path, len } => self.file(&path)?.set_len(len),
            DiskOp::SyncData { path } => self.sync_data(&path),
            DiskOp::SyncDir { path } => self.sync_dir(&path),
            DiskOp::Rename { from, to } => self.rename(&from, to),
            DiskOp::Remove { path } => {
                self.open.remove(&path);
                ignore_missing(fs::remove_file(self.roots.locate(&path)))
            }
            DiskOp::RemoveDir { path } => {
                ignore_missing(fs::remove_dir_all(self.roots.locate(&path)))
            }
            DiskOp::Lock { path } => lock(self.file(&path)?),
            DiskOp::Close { path } => {
                self.open.remove(&path);
                Ok(())
            }
        }
    }

    fn create(&mut self, path: FilePath, reserve_bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let full = self.roots.locate(&path);
        let file = options.open(&full)?;
        if reserve_bytes > 0
            && let Err(error) = reserve(&file, reserve_bytes)
        {
            // A part may have been reserved, of the last that there was.
            self.open.remove(&path);
            ignore_missing(fs::remove_file(full))?;
            return Err(error);
        }
        self.open.insert(path, file);
        Ok(())
    }

    fn file(&mut self, path: &FilePath) -> io::Result<&File> {
        if !self.open.contains_key(path) {
            let full = self.roots.locate(path);
            let file = OpenOptions::new().read(true).write(true).open(full)?;
            self.open.insert(path.clone(), file);
        }
        Ok(&self.open[path])
    }

    fn sync_data(&mut self, path: &FilePath) -> io::Result<()> {
        if !self.sync {
            return Ok(());
        }
        let begin = Instant::now();
        self.file(path)?.sync_data()?;
        if path.as_str().starts_with(WAL_DIR) {
            self.metrics.wal_sync.record(begin.elapsed());
        }
        Ok(())
    }

    fn sync_dir(&mut self, path: &FilePath) -> io::Result<()> {
        if !self.sync {
            return Ok(());
        }
        File::open(self.roots.locate(path))?.sync_all()?;
        // The names of a log that lives elsewhere stand in that directory's parent.
        if let (MEMBER_DIR, Some(wal_dir)) = (path.as_str(), &self.roots.wal_dir) {
            File::open(parent(wal_dir))?.sync_all()?;
        }
        Ok(())
    }

    fn rename(&mut self, from: &FilePath, to: FilePath) -> io::Result<()> {
        fs::rename(self.roots.locate(from), self.roots.locate(&to))?;
        // An open file keeps its lock under its new name; those below a renamed directory too.
        let below = format!("{from}/");
        let moved: Vec<FilePath> = self
            .open
            .keys()
            .filter(|path| *path == from || path.as_str().starts_with(&below))
            .cloned()
            .collect();
        for path in moved {
            let file = self.open.remove(&path).expect("just listed");
            let rest = &path.as_str()[from.as_str().len()..];
            self.open
                .insert(FilePath::new(&format!("{to}{rest}")), file);
        }
        Ok(())
    }
}

impl Disk for RealDisk {
    fn submit(&mut self, token: Token, ops: Vec<DiskOp>) {
        let result = self.run(ops);
        self.completions.push(Completion { token, result });
    }
}

impl DiskView for RealDisk {
    fn list(&self, dir: &FilePath) -> Result<Option<Vec<String>>, DiskError> {
        list(&self.roots.locate(dir)).map_err(|error| disk_error("list", dir.clone(), &error))
    }

    fn len(&self, path: &FilePath) -> Result<Option<u64>, DiskError> {
        match fs::metadata(self.roots.locate(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(disk_error("look at", path.clone(), &error)),
        }
    }

    fn read_at(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let read = || -> io::Result<Bytes> {
            let file = File::open(self.roots.locate(path))?;
            // Never allocate what the file does not hold.
            let rest = file.metadata()?.len().saturating_sub(offset);
            let mut buffer = BytesMut::zeroed(len.min(rest as usize));
            let mut filled = 0;
            while filled < buffer.len() {
                match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            buffer.truncate(filled);
            Ok(buffer.freeze())
        };
        read().map_err(|error| disk_error("read", path.clone(), &error))
    }

    fn open(&self, path: &FilePath) -> Result<Arc<dyn FileReader>, DiskError> {
        let file = File::open(self.roots.locate(path));
        let file = file.map_err(|error| disk_error("open", path.clone(), &error))?;
        Ok(Arc::new(OpenFile {
            path: path.clone(),
            file,
        }))
    }

    fn read_medium(&self, path: &FilePath, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        match read_past_cache(&self.roots.locate(path), offset, len) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => self.read_at(path, offset, len),
            Err(error) => Err(disk_error("read", path.clone(), &error)),
        }
    }

    fn room(&self, path: &FilePath) -> Result<Room, DiskError> {
        let full = self.roots.locate(path);
        // What is not there yet will live where its directory is.
        let there = full.ancestors().find(|place| place.exists());
        let found = rustix::fs::statvfs(there.unwrap_or(Path::new("/")));
        let found = found
            .map_err(|error| disk_error("ask for the room of", path.clone(), &error.into()))?;
        Ok(Room {
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
            capacity_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }
}

/// What direct reads must be aligned to.
const DIRECT_BYTES: usize = 4096;

/// Reads past the system's memory. `None` if this file system cannot.
fn read_past_cache(path: &Path, offset: u64, len: usize) -> io::Result<Option<Bytes>> {
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_DIRECT)
        .open(path);
    let file = match direct {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
        Err(error) => return Err(error),
    };
    let rest = file.metadata()?.len().saturating_sub(offset);
    let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
    let skip = (offset % DIRECT_BYTES as u64) as usize;
    let span = (skip + len).next_multiple_of(DIRECT_BYTES);
    let mut buffer = BytesMut::zeroed(span + DIRECT_BYTES);
    let aligned = buffer.as_ptr().align_offset(DIRECT_BYTES);
    let (begin, mut filled) = (offset - skip as u64, 0);
    while filled < skip + len {
        let target = &mut buffer[aligned + filled..aligned + span];
        match file.read_at(target, begin + filled as u64) {
            Ok(0) => break,
            Ok(read) if read % DIRECT_BYTES == 0 || filled + read >= skip + len => filled += read,
            // Not a whole block in the middle of a file: not what a direct read gives.
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let bytes = buffer.freeze();
    let end = filled.min(skip + len).max(skip);
    Ok(Some(bytes.slice(aligned + skip..aligned + end)))
}

/// A file that is read.
#[derive(Debug)]
struct OpenFile {
    path: FilePath,
    file: File,
}

impl FileReader for OpenFile {
    fn read(&self, offset: u64, len: usize) -> Result<Bytes, DiskError> {
        let mut buffer = BytesMut::zeroed(len);
        let read = self.file.read_exact_at(&mut buffer, offset);
        read.map_err(|error| disk_error("read", self.path.clone(), &error))?;
        Ok(buffer.freeze())
    }

    fn read_cached(&self, offset: u64, len: usize) -> Result<Option<Bytes>, DiskError> {
        let mut buffer = BytesMut::zeroed(len);
        let slices = &mut [IoSliceMut::new(&mut buffer)];
        match rustix::io::preadv2(&self.file, slices, offset, ReadWriteFlags::NOWAIT) {
            Ok(read) if read == len => Ok(Some(buffer.freeze())),
            // A part is there, or the read would have to wait.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            // A file system that cannot tell: then waiting is the only way.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.read(offset, len).map(Some),
            Err(error) => Err(disk_error("read", self.path.clone(), &error.into())),
        }
    }
}

fn describe(op: &DiskOp) -> (&'static str, FilePath) {
    let (operation, path) = match op {
        DiskOp::CreateDir { path } => ("create directory", path),
        DiskOp::Create { path, .. } => ("create", path),
        DiskOp::Write { path, .. } => ("write", path),
        DiskOp::SetLen { path, .. } => ("set length of", path),
        DiskOp::SyncData { path } => ("sync", path),
        DiskOp::SyncDir { path } => ("sync directory", path),
        DiskOp::Rename { from, .. } => ("rename", from),
        DiskOp::Remove { path } => ("remove", path),
        DiskOp::RemoveDir { path } => ("remove directory", path),
        DiskOp::Lock { path } => ("lock", path),
        DiskOp::Close { path } => ("close", path),
    };
    (operation, path.clone())
}

fn disk_error(operation: &'static str, path: FilePath, error: &io::Error) -> DiskError {
    let no_space = matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    );
    DiskError {
        operation,
        path,
        reason: error.to_string(),
        no_space,
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn create_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn list(path: &Path) -> io::Result<Option<Vec<String>>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(Some(names))
}

/// Reserves space so that a later sync need not allocate. A file system that cannot reserve is
/// given the length alone.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes as i64) {
        Ok(()) => Ok(()),
        Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => file.set_len(bytes),
        Err(error) => Err(error.into()),
    }
}

/// etcd's lock on a log segment: an open-file-description write lock over the whole file.
fn lock(file: &File) -> io::Result<()> {
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: nix::libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole)) {
        Ok(_) => Ok(()),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => {
            Err(io::Error::other("the file is locked by another process"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(dir: &Path) -> RealDisk {
        let roots = Roots {
            data_dir: dir.to_owned(),
            wal_dir: None,
        };
        RealDisk::new(roots, Arc::default(), true)
    }

    #[test]
    fn operations_are_done_in_order_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = disk(dir.path());
        let (a, b) = (FilePath::new("d/a"), FilePath::new("d/b"));
        disk.submit(
            Token(1),
            vec![
                DiskOp::CreateDir { path: a.parent() },
                DiskOp::Create {
                    path: a.clone(),
                    reserve_bytes: 8,
                },
                DiskOp::Write {
                    path: a.clone(),
                    offset: 2,
                    data: Bytes::from_static(b"xy"),
                },
                DiskOp::SyncData { path: a.clone() },
                DiskOp::Rename {
                    from: a.clone(),
                    to: b.clone(),
                },
                DiskOp::SyncDir { path: a.parent() },
            ],
        );
        assert_eq!(
            disk.take_completions(),
            vec![Completion {
                token: Token(1),
                result: Ok(())
            }]
        );
        assert_eq!(disk.list(&a.parent()).unwrap(), Some(vec!["b".to_owned()]));
        assert_eq!(
            disk.read_at(&b, 1, 100).unwrap(),
            Bytes::from_static(b"\0xy\0\0\0\0")
        );
        assert_eq!(
            (disk.len(&a).unwrap(), disk.len(&b).unwrap()),
            (None, Some(8))
        );
    }

    #[test]
    fn a_failure_stops_the_submission_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = disk(dir.path());
        let path = FilePath::new("missing");
        disk.submit(
            Token(2),
            vec![
                DiskOp::SetLen {
                    path: path.clone(),
                    len: 1,
                },
                DiskOp::Create {
                    path: FilePath::new("never"),
                    reserve_bytes: 0,
                },
            ],
        );
        let error = disk.take_completions().remove(0).result.unwrap_err();
        assert!(
            error.to_string().starts_with("set length of missing: "),
            "{error}"
        );
        assert_eq!(disk.len(&FilePath::new("never")).unwrap(), None);
    }

    #[test]
    fn a_locked_file_is_refused_to_a_second_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = FilePath::new("segment");
        let mut first = disk(dir.path());
        let create = DiskOp::Create {
            path: path.clone(),
            reserve_bytes: 0,
        };
        first
            .run(vec![create, DiskOp::Lock { path: path.clone() }])
            .unwrap();
        let mut second = disk(dir.path());
        assert!(
            second
                .run(vec![DiskOp::Lock { path: path.clone() }])
                .is_err()
        );
        first
            .run(vec![DiskOp::Close { path: path.clone() }])
            .unwrap();
        second.run(vec![DiskOp::Lock { path }]).unwrap();
    }

    #[test]
    fn what_is_read_past_the_cache_is_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = disk(dir.path());
        let path = FilePath::new("file");
        let data: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        let ops = vec![
            DiskOp::Create {
                path: path.clone(),
                reserve_bytes: 0,
            },
            DiskOp::Write {
                path: path.clone(),
                offset: 0,
                data: data.clone().into(),
            },
            DiskOp::SyncData { path: path.clone() },
        ];
        disk.run(ops).unwrap();
        for (offset, len) in [
            (0, 1),
            (0, 4_096),
            (1, 4_096),
            (4_095, 3),
            (100_000, 150_000),
            (299_000, 5_000),
            (300_000, 5),
            (400_000, 5),
        ] {
            let expected = &data[data.len().min(offset)..data.len().min(offset + len)];
            let found = disk.read_medium(&path, offset as u64, len).unwrap();
            assert!(found == expected, "{len} bytes from {offset}");
        }
        assert!(disk.read_medium(&FilePath::new("none"), 0, 1).is_err());
    }

    #[test]
    fn a_file_for_which_there_is_no_room_is_not_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = disk(dir.path());
        let path = FilePath::new("file");
        let room = disk.room(&path).unwrap();
        assert!(room.free_bytes > 0 && room.free_bytes <= room.capacity_bytes);
        let create = DiskOp::Create {
            path: path.clone(),
            reserve_bytes: room.capacity_bytes * 2,
        };
        let error = disk.run(vec![create]).unwrap_err();
        assert!(error.no_space, "{error}");
        assert_eq!(disk.len(&path).unwrap(), None);
    }

    #[test]
    fn a_log_that_lives_elsewhere_is_found_there() {
        let roots = Roots {
            data_dir: "/data".into(),
            wal_dir: Some(PathBuf::from("/fast/log")),
        };
        let at = |path: &str| {
            roots
                .locate(&FilePath::new(path))
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(at("member/wal/0.wal"), "/fast/log/0.wal");
        assert_eq!(at("member/wal.tmp/0.wal"), "/fast/log.tmp/0.wal");
        assert_eq!(at("member/store/x"), "/data/member/store/x");
    }
}
