//! Snapshots for clients: the file that the member makes, in messages, with its SHA-256 behind it.
//!
//! The file is made on a thread of its own, which waits whenever the client is slower than it, and
//! ends when the client is gone. How many there are at once is limited: each keeps the state that
//! it shows, and the pages that it is filling.

use crate::node::{ETCD_CLUSTER_VERSION, Node};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use tenet_base::limits::{SNAPSHOT_BLOB_BYTES, SNAPSHOT_STEPS_WAITING_MAX, SNAPSHOTS_MAX};
use tenet_member::{ApplyInput, Outcome, SnapshotFile};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::SnapshotResponse;
use tokio::sync::{Semaphore, mpsc};

/// A piece of the file, or why there is none.
type Piece = Result<Bytes, String>;

/// The right to send snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(crate) fn new() -> Self {
        Turns(Arc::new(Semaphore::new(SNAPSHOTS_MAX)))
    }
}

/// The messages of a snapshot, as etcd sends them: the file in blobs, then its SHA-256 alone.
#[derive(Debug)]
pub struct SnapshotStream {
    pieces: mpsc::Receiver<Piece>,
    /// What of the last piece was not sent yet.
    piece: Bytes,
    /// Bytes of the file that are not sent yet.
    left_bytes: u64,
    ended: bool,
}

impl Node {
    /// Begins a snapshot of what this member has applied.
    ///
    /// # Errors
    /// If the member stops meanwhile.
    pub async fn snapshot(&self) -> Result<SnapshotStream, ApiError> {
        let turn = Arc::clone(&self.snapshot_turns().0).acquire_owned().await;
        let turn = turn.map_err(|_| ApiError::Stopped)?;
        let export = match self.ask_applier(ApplyInput::Export).await? {
            Outcome::Export(export) => export,
            other => unreachable!("a snapshot was answered with {other:?}"),
        };
        let (sender, pieces) = mpsc::channel(SNAPSHOT_STEPS_WAITING_MAX);
        let (announce, announced) = tokio::sync::oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            match SnapshotFile::plan(*export) {
                Ok(file) => {
                    let _ = announce.send(file.len_bytes());
                    make(file, &sender);
                }
                Err(error) => {
                    let _ = announce.send(0);
                    let _ = sender.blocking_send(Err(error.to_string()));
                }
            }
        });
        Ok(SnapshotStream {
            pieces,
            piece: Bytes::new(),
            left_bytes: announced.await.map_err(|_| ApiError::Stopped)?,
            ended: false,
        })
    }
}

/// Makes the file until it is whole or nobody wants it.
fn make(file: SnapshotFile, to: &mpsc::Sender<Piece>) {
    let mut sum = Sha256::new();
    for piece in file {
        let piece = piece.map_err(|error| error.to_string());
        if let Ok(bytes) = &piece {
            sum.update(bytes);
        }
        let failed = piece.is_err();
        if to.blocking_send(piece).is_err() || failed {
            return;
        }
    }
    let sum = Bytes::copy_from_slice(&sum.finalize());
    let _ = to.blocking_send(Ok(sum));
}

impl SnapshotStream {
    /// The next message; `None` behind the last.
    ///
    /// # Errors
    /// With a text, if the rest cannot be made.
    pub async fn next(&mut self) -> Option<Result<SnapshotResponse, String>> {
        if self.ended {
            return None;
        }
        if self.piece.is_empty() {
            match self.pieces.recv().await {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error));
                }
                None => {
                    self.ended = true;
                    return Some(Err("the snapshot broke off".to_owned()));
                }
            }
        }
        let blob_bytes = self.piece.len().min(SNAPSHOT_BLOB_BYTES);
        // The checksum follows when nothing of the file is left.
        self.ended = self.left_bytes == 0;
        self.left_bytes = self.left_bytes.saturating_sub(blob_bytes as u64);
        Some(Ok(SnapshotResponse {
            header: None,
            remaining_bytes: self.left_bytes,
            blob: self.piece.split_to(blob_bytes),
            version: ETCD_CLUSTER_VERSION.to_owned(),
        }))
    }
}
