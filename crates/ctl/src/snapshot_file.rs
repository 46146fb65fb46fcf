//! Snapshot files: a bbolt database, and behind it, in those that were taken of a running member,
//! the SHA-256 of all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tenet_bolt::{Source, SourceError};
use tenet_cli::go::error_words;

/// The length of the checksum.
pub(crate) const SUM_BYTES: usize = 32;
/// A database is a multiple of this, so that a checksum behind it shows in the length.
const SECTOR_BYTES: u64 = 512;
/// How much is read at a time to be summed.
const READ_BYTES: usize = 1024 * 1024;

/// Whether a file of this length ends with a checksum.
pub(crate) fn has_sum(len_bytes: u64) -> bool {
    len_bytes % SECTOR_BYTES == SUM_BYTES as u64
}

/// Bytes as Go prints a slice of them.
pub(crate) fn digits(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(u8::to_string).collect();
    format!("[{}]", digits.join(" "))
}

/// An error of a file in Go's words.
pub(crate) fn go_error(operation: &str, path: &str, error: &io::Error) -> String {
    format!("{operation} {path}: {}", error_words(error))
}

/// An open snapshot file.
#[derive(Debug)]
pub(crate) struct SnapshotFile {
    file: File,
    len_bytes: u64,
}

impl SnapshotFile {
    pub(crate) fn open(path: &str) -> Result<SnapshotFile, String> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len_bytes, file) = opened.map_err(|error| go_error("open", path, &error))?;
        Ok(SnapshotFile { file, len_bytes })
    }

    /// Proves that the file is what its checksum says.
    ///
    /// # Errors
    /// With etcdutl's texts.
    pub(crate) fn verify(&self) -> Result<(), String> {
        if !has_sum(self.len_bytes) {
            return Err("snapshot missing hash but --skip-hash-check=false".to_owned());
        }
        let end = self.database_bytes();
        let mut sum = Sha256::new();
        let mut at = 0;
        while at < end {
            let len = (end - at).min(READ_BYTES as u64) as usize;
            sum.update(self.bytes(at, len).map_err(|error| error.to_string())?);
            at += len as u64;
        }
        let found = sum.finalize();
        let expected = self
            .bytes(end, SUM_BYTES)
            .map_err(|error| error.to_string())?;
        match found[..] == expected[..] {
            true => Ok(()),
            false => Err(format!(
                "expected sha256 {}, got {}",
                digits(&expected),
                digits(&found)
            )),
        }
    }

    /// The length without the checksum.
    fn database_bytes(&self) -> u64 {
        match has_sum(self.len_bytes) {
            true => self.len_bytes - SUM_BYTES as u64,
            false => self.len_bytes,
        }
    }

    fn bytes(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut bytes = BytesMut::zeroed(len);
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes.freeze())
    }
}

impl Source for SnapshotFile {
    fn len_bytes(&self) -> u64 {
        self.database_bytes()
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, SourceError> {
        self.bytes(offset, len)
            .map_err(|error| SourceError(error_words(&error)))
    }
}
