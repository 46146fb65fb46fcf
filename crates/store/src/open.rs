//! Opening a store from its files.

use crate::file;
use crate::manifest::{Manifest, strays};
use crate::segment::{Segment, Stored};
use crate::segments::Store;
use crate::{FileKind, ReadError};
use tenet_base::disk::{DiskView, FilePath};

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A later release wrote it.
    #[error(
        "{path} is of format version {version}, this release knows {known}: start the newer \
         release that wrote it"
    )]
    Newer {
        /// The manifest.
        path: FilePath,
        /// Its version.
        version: u8,
        /// The newest that is known here.
        known: u8,
    },
    /// A build before the first release wrote it.
    #[error(
        "{path} is of format version {version}, which only builds before the first release wrote; \
         this one knows {known}: take a snapshot with the build that wrote it, and restore that"
    )]
    Older {
        /// The manifest.
        path: FilePath,
        /// Its version.
        version: u8,
        /// What is known here.
        known: u8,
    },
}

impl OpenError {
    /// As the failure of a read.
    pub(crate) fn into_read_error(self) -> ReadError {
        match self {
            OpenError::Read(error) => error,
            OpenError::Newer { ref path, .. } | OpenError::Older { ref path, .. } => {
                ReadError::damaged(path, 0, self.to_string())
            }
        }
    }
}

/// A store that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The records. None is released: see [`Store::recovered`].
    pub store: Store,
    /// What the files are.
    pub manifest: Manifest,
    /// The small tables.
    pub tables: FilePath,
    /// The index.
    pub index: FilePath,
}

/// What is in the directory of a store.
#[derive(Debug)]
pub struct Found {
    /// The store, if there is one.
    pub store: Option<Opened>,
    /// Files that belong to nothing and are to be removed.
    pub strays: Vec<FilePath>,
}

/// Opens the store in `dir`. Reads the manifest and every segment's directory, no records.
///
/// # Errors
/// If a file is missing, damaged or of a newer format. Nothing was changed.
pub fn open(view: &dyn DiskView, dir: &FilePath) -> Result<Found, OpenError> {
    let manifest = Manifest::read(view, dir)?;
    let strays = strays(view, dir, manifest.as_ref())?;
    let store = match manifest {
        None => None,
        Some(manifest) => Some(open_files(view, dir, manifest)?),
    };
    Ok(Found { store, strays })
}

fn open_files(
    view: &dyn DiskView,
    dir: &FilePath,
    manifest: Manifest,
) -> Result<Opened, OpenError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(manifest.segments.len());
    for meta in &manifest.segments {
        let directory = file::read_directory(view, dir, meta)?;
        let path = file::path(dir, FileKind::Segment, meta.id);
        if let Some(before) = segments.last() {
            let before = before.directory();
            let last = before.rev(before.len() - 1);
            if directory.first() <= last {
                let reason = format!(
                    "it begins with record {}, the segment before it ends with {last}",
                    directory.first()
                );
                return Err(ReadError::damaged(&path, 0, reason).into());
            }
        }
        let reader = view.open(&path).map_err(ReadError::from)?;
        segments.push(Segment::stored(directory, Stored::new(path, reader)));
    }
    let sides = [
        (FileKind::Tables, manifest.tables),
        (FileKind::Index, manifest.index.file),
    ];
    let [tables, index] = sides.map(|(kind, side)| (file::path(dir, kind, side.id), side.bytes));
    for (path, bytes) in [&tables, &index] {
        let len = view.len(path).map_err(ReadError::from)?;
        if len != Some(*bytes) {
            let reason = match len {
                None => "the file is gone, but the manifest names it".to_owned(),
                Some(len) => format!("the file has {len} bytes, the manifest says {bytes}"),
            };
            return Err(ReadError::damaged(path, 0, reason).into());
        }
    }
    Ok(Opened {
        store: Store::of(dir.clone(), manifest.clone(), segments),
        tables: tables.0,
        index: index.0,
        manifest,
    })
}
