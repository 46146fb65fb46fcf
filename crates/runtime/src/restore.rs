//! Writing the data directory of a member that begins with a snapshot.
//!
//! It is there as a whole or not at all: everything is made under another name, made durable, and
//! renamed at the end. A log that has its own place gets its name before: a log without the rest is
//! refused by every start, and the rest without its log would look like a directory of nobody.

use crate::disk::{RealDisk, Roots};
use crate::metrics::DiskMetrics;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenet_base::disk::DiskError;
use tenet_member::{GivenUp, KeepError, Kept, NewCluster, NewDirectory};
use tenet_state::State;

/// The name under which a directory comes into being.
const UNFINISHED: &str = "restore.tmp";
const MEMBER: &str = "member";

/// Why a directory could not be written. What was made of it is removed again.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RestoreError {
    #[error("data-dir {0:?} not empty or could not be read")]
    DataDirInUse(PathBuf),
    #[error("wal-dir {0:?} exists")]
    WalDirExists(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Store(#[from] KeepError),
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
}

/// Where a restored member is to live.
#[derive(Clone, Debug)]
pub struct RestoreTarget {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Where its log goes, if not below the data directory.
    pub wal_dir: Option<PathBuf>,
}

impl RestoreTarget {
    /// Whether nothing stands in the way. To be asked before the work begins.
    ///
    /// # Errors
    /// With etcdutl's texts.
    pub fn check(&self) -> Result<(), RestoreError> {
        let in_use = || RestoreError::DataDirInUse(self.data_dir.clone());
        match fs::read_dir(&self.data_dir) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(in_use());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Err(in_use()),
        }
        match &self.wal_dir {
            Some(dir) if dir.symlink_metadata().is_ok() => {
                Err(RestoreError::WalDirExists(dir.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Writes the directory.
    ///
    /// # Errors
    /// If something stands in the way or the disk fails; then nothing is left of it.
    pub fn write(&self, cluster: &NewCluster, state: &mut State) -> Result<(), RestoreError> {
        self.check()?;
        let was_there = self.data_dir.exists();
        let written = self.write_unfinished(cluster, state);
        if written.is_err() {
            // The first error is what the caller needs to know.
            let _ = fs::remove_dir_all(self.data_dir.join(UNFINISHED));
            if !was_there {
                let _ = fs::remove_dir(&self.data_dir);
            }
            if let Some(wal_dir) = &self.wal_dir {
                let _ = fs::remove_dir_all(wal_dir);
                let mut building = wal_dir.clone().into_os_string();
                building.push(".tmp");
                let _ = fs::remove_dir_all(building);
            }
        }
        written
    }

    fn write_unfinished(
        &self,
        cluster: &NewCluster,
        state: &mut State,
    ) -> Result<(), RestoreError> {
        let unfinished = self.data_dir.join(UNFINISHED);
        make_private(&unfinished)?;
        if let Some(parent) = self.wal_dir.as_deref().and_then(Path::parent) {
            make_private(parent)?;
        }
        let roots = Roots {
            data_dir: unfinished.clone(),
            wal_dir: self.wal_dir.clone(),
        };
        let mut disk = RealDisk::new(roots, Arc::new(DiskMetrics::default()), true);
        let directory = cluster.directory(state, tenet_wal::Options::default());
        write_files(directory, &mut disk)?;
        drop(disk);
        let (from, to) = (unfinished.join(MEMBER), self.data_dir.join(MEMBER));
        fs::rename(&from, &to).map_err(at(&to))?;
        sync_dir(&self.data_dir)?;
        fs::remove_dir(&unfinished).map_err(at(&unfinished))?;
        let parent = self.data_dir.parent().filter(|p| !p.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))
    }
}

fn write_files(directory: NewDirectory, disk: &mut RealDisk) -> Result<(), RestoreError> {
    let NewDirectory {
        prepare,
        mut keeper,
        flush,
        log,
    } = directory;
    disk.run(prepare)?;
    keeper.start(flush, disk)?;
    loop {
        for completion in disk.take_completions() {
            match keeper.completed(completion, disk)? {
                None | Some(Kept::Scrubbed(_)) => {}
                Some(Kept::Done { .. }) => return Ok(disk.run(log)?),
                Some(Kept::GivenUp(why)) => return Err(why.into()),
            }
        }
    }
}

fn make_private(path: &Path) -> Result<(), RestoreError> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(at(path))
}

fn sync_dir(path: &Path) -> Result<(), RestoreError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |error| RestoreError::Io { path, error }
}
