//! The data directory as the operating system sees it: present, private, writable, ours alone.

use crate::disk::Roots;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tenet_base::disk::{DiskError, FilePath};
use tenet_member::BootError;

/// Why a member could not be started.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum StartError {
    #[error("cannot access data directory: {path}: {error}")]
    Access { path: PathBuf, error: io::Error },
    #[error("cannot write to {what} directory: {path}: {error}")]
    Write {
        what: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error(
        "the data directory {path} is in use by another process{}: stop it, or choose another \
         --data-dir",
        holder.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse { path: PathBuf, holder: Option<u32> },
    #[error(transparent)]
    Boot(#[from] BootError),
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Whether a member has run in a data directory: then the flags about a new cluster are not looked
/// at.
#[must_use]
pub fn has_log(data_dir: &Path, wal_dir: Option<&Path>) -> bool {
    let dir = wal_dir.map_or_else(|| data_dir.join("member/wal"), Path::to_owned);
    let Ok(names) = fs::read_dir(dir) else {
        return false;
    };
    names
        .flatten()
        .any(|entry| entry.file_name().as_encoded_bytes().ends_with(b".wal"))
}

/// Makes the directory if it is not there, and proves that it can be written.
///
/// # Errors
/// With etcd's texts.
pub(crate) fn prepare(roots: &Roots) -> Result<(), StartError> {
    make_private(&roots.data_dir).map_err(|error| StartError::Access {
        path: roots.data_dir.clone(),
        error,
    })?;
    touch(&roots.data_dir).map_err(|error| StartError::Write {
        what: "data",
        path: roots.data_dir.clone(),
        error,
    })?;
    if let Some(wal_dir) = &roots.wal_dir {
        let parent = wal_dir.parent().filter(|p| !p.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let made = make_private(parent).and_then(|()| touch(parent));
        made.map_err(|error| StartError::Write {
            what: "WAL",
            path: wal_dir.clone(),
            error,
        })?;
    }
    Ok(())
}

fn make_private(path: &Path) -> io::Result<()> {
    if let Ok(metadata) = fs::metadata(path) {
        if !metadata.is_dir() {
            return Err(io::Error::other("not a directory"));
        }
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                directory = %path.display(),
                mode = format!("{mode:o}"),
                "check file permission: others can look into this directory; \"chmod 700\" it"
            );
        }
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn touch(dir: &Path) -> io::Result<()> {
    let probe = dir.join(".touch");
    match File::create(&probe) {
        Ok(_) => fs::remove_file(&probe),
        // Nothing has to be written for what is there to be read.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(directory = %dir.display(), "there is no space left on the disk");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The locks of a running member, held until dropped: on the directory itself, so that no two
/// members start in it at once, and on the place of etcd's database as bbolt takes it, so that
/// etcd and etcdutl stop.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _directory: Flock<File>,
    database: Option<Flock<File>>,
}

impl DirectoryLock {
    /// Takes the locks on what is there. The directory must exist.
    ///
    /// # Errors
    /// If another process holds one.
    pub(crate) fn take(roots: &Roots) -> Result<Self, StartError> {
        let directory = File::open(&roots.data_dir);
        let directory = exclusively(roots, &roots.data_dir, directory)?;
        let mut lock = DirectoryLock {
            _directory: directory,
            database: None,
        };
        if database_of(roots).exists() {
            lock.take_database(roots)?;
        }
        Ok(lock)
    }

    /// Takes the lock on the place of etcd's database, once it is there.
    ///
    /// # Errors
    /// If another process holds it.
    pub(crate) fn take_database(&mut self, roots: &Roots) -> Result<(), StartError> {
        if self.database.is_none() {
            let path = database_of(roots);
            let file = OpenOptions::new().read(true).write(true).open(&path);
            self.database = Some(exclusively(roots, &path, file)?);
        }
        Ok(())
    }
}

fn database_of(roots: &Roots) -> PathBuf {
    roots.locate(&FilePath::new("member/snap/db"))
}

fn exclusively(
    roots: &Roots,
    path: &Path,
    file: io::Result<File>,
) -> Result<Flock<File>, StartError> {
    let file = file.map_err(|error| StartError::Access {
        path: path.to_owned(),
        error,
    })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| StartError::InUse {
        path: roots.data_dir.clone(),
        holder: holder_of(path),
    })
}

/// The process that holds a lock on a file, by the kernel's list; for the message only.
fn holder_of(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = fs::metadata(path).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    parse_holder(&locks, inode)
}

/// Lines are "1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF".
fn parse_holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, pid) = (words.next()?, words.nth(2)?);
        let place = words.next()?;
        let found = kind == "FLOCK" && place.rsplit(':').next()?.parse() == Ok(inode);
        if found { pid.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holder_is_read_from_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fd:00:99 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 1234 fd:00:4711 0 EOF\n";
        assert_eq!(parse_holder(locks, 4711), Some(1234));
        assert_eq!(parse_holder(locks, 99), None);
    }

    #[test]
    fn a_directory_has_one_member_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots {
            data_dir: dir.path().to_owned(),
            wal_dir: None,
        };
        let held = DirectoryLock::take(&roots).unwrap();
        let refused = DirectoryLock::take(&roots).unwrap_err().to_string();
        let own = format!("in use by another process (pid {})", std::process::id());
        assert!(refused.contains(&own), "{refused}");
        drop(held);
        DirectoryLock::take(&roots).unwrap();
    }

    #[test]
    fn a_database_that_etcd_holds_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots {
            data_dir: dir.path().to_owned(),
            wal_dir: None,
        };
        fs::create_dir_all(dir.path().join("member/snap")).unwrap();
        fs::write(database_of(&roots), "x").unwrap();
        let etcd = File::open(database_of(&roots)).unwrap();
        let _held = Flock::lock(etcd, FlockArg::LockExclusiveNonblock).unwrap();
        assert!(matches!(
            DirectoryLock::take(&roots),
            Err(StartError::InUse { .. })
        ));
    }

    #[test]
    fn an_unwritable_place_is_named_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let roots = Roots {
            data_dir: file.join("data"),
            wal_dir: None,
        };
        let text = prepare(&roots).unwrap_err().to_string();
        assert!(text.starts_with("cannot access data directory: "), "{text}");
    }
}
