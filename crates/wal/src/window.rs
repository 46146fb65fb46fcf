//! A file read through a window of bounded size.
//!
//! Invariant: never more is asked of the disk, and so never more allocated, than the larger of
//! the window and what the caller needs at once, and never more than the file holds.

use crate::error::WalError;
use bytes::Bytes;
use tenet_base::disk::{DiskError, DiskView, FilePath};

const WINDOW_BYTES: u64 = 256 * 1024;
static ZEROS: [u8; WINDOW_BYTES as usize] = [0; WINDOW_BYTES as usize];

/// Zeros to compare with and to write, without allocating them.
pub(crate) fn zeros(len: usize) -> Bytes {
    Bytes::from_static(&ZEROS[..len.min(ZEROS.len())])
}

/// One file, opened for reading.
pub(crate) struct Window<'a> {
    view: &'a dyn DiskView,
    path: FilePath,
    len: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a> Window<'a> {
    /// A window onto the file at `path`, which must exist.
    pub(crate) fn open(view: &'a dyn DiskView, path: FilePath) -> Result<Window<'a>, WalError> {
        let Some(len) = view.len(&path)? else {
            return Err(read_error(path, "the file is gone"));
        };
        Ok(Window {
            view,
            path,
            len,
            start: 0,
            bytes: Bytes::new(),
        })
    }

    /// The file.
    pub(crate) fn path(&self) -> &FilePath {
        &self.path
    }

    /// The file's length.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The `len` bytes at `offset`, which must lie in the file.
    pub(crate) fn get(&mut self, offset: u64, len: u64) -> Result<Bytes, WalError> {
        assert!(
            len <= self.len && offset <= self.len - len,
            "{len} bytes at {offset} do not lie in a file of {} bytes: check lengths first",
            self.len
        );
        let inside = offset.checked_sub(self.start).filter(|skip| {
            self.bytes.len() as u64 >= *skip && self.bytes.len() as u64 - skip >= len
        });
        let skip = match inside {
            Some(skip) => skip as usize,
            None => {
                let want = len.max(WINDOW_BYTES.min(self.len - offset)) as usize;
                self.bytes = self.view.read_at(&self.path, offset, want)?;
                self.start = offset;
                if (self.bytes.len() as u64) < len {
                    return Err(read_error(self.path.clone(), "the file became shorter"));
                }
                0
            }
        };
        Ok(self.bytes.slice(skip..skip + len as usize))
    }

    /// Where the last non-zero byte at or after `from` ends; `from` if all is zero.
    pub(crate) fn end_of_data(&mut self, from: u64) -> Result<u64, WalError> {
        let (mut at, mut end) = (from, from);
        while at < self.len {
            let len = WINDOW_BYTES.min(self.len - at);
            let bytes = self.get(at, len)?;
            if *bytes != ZEROS[..bytes.len()] {
                let last = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .expect("not all zeros");
                end = at + last as u64 + 1;
            }
            at += len;
        }
        Ok(end)
    }
}

fn read_error(path: FilePath, reason: &str) -> WalError {
    WalError::Disk(DiskError {
        operation: "read",
        path,
        reason: reason.to_owned(),
        no_space: false,
    })
}
