//! Snapshots on their way: files that come in, and pieces that go out.
//!
//! A file that comes in lives until its state was made, or the sender gave up; what a process that
//! ended has left of one is removed at the next start.

use bytes::Bytes;
use futures_core::Stream;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tenet_peer::Database;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

const PREFIX: &str = "received-";

/// Removes what an earlier process has left.
pub(super) fn clean(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // What stays is only in the way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{number}"))
}

/// A file that is removed with this.
pub(super) struct Incoming(PathBuf);

impl Incoming {
    pub(super) fn new(path: PathBuf) -> Self {
        Incoming(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes all that comes.
    pub(super) async fn take(&self, mut database: Database) -> io::Result<()> {
        let file = tokio::fs::File::create(&self.0).await?;
        let mut file = tokio::io::BufWriter::with_capacity(256 * 1024, file);
        while let Some(piece) = database.next().await.map_err(io::Error::other)? {
            file.write_all(&piece).await?;
        }
        file.flush().await
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The pieces of a snapshot as a stream.
pub(super) struct Pieces(pub(super) mpsc::Receiver<Result<Bytes, String>>);

impl Stream for Pieces {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}
