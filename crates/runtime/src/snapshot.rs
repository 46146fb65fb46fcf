//! Snapshots for clients: the file that the member makes, in messages, with its SHA-256 behind it.
//!
//! The file is made on a thread of its own, which waits whenever the client is slower than it, and
//! ends when the client is gone, or takes nothing for long. How many there are at once is limited: each keeps the state that
//! it shows, and the pages that it is filling.

use crate::node::{ETCD_CLUSTER_VERSION, Node};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenet_base::limits::{
    SNAPSHOT_BLOB_BYTES, SNAPSHOT_STEPS_WAITING_MAX, SNAPSHOT_UNREAD_MS, SNAPSHOTS_MAX,
};
use tenet_member::{ApplyInput, Outcome, SnapshotFile};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::SnapshotResponse;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

/// What a client is told that has lost its turn.
const BROKEN_OFF: &str = "the snapshot was broken off: nothing of it was taken for long";

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
        let node = self.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let began = Instant::now();
            match SnapshotFile::plan(*export) {
                Ok(file) => {
                    let _ = announce.send(file.len_bytes());
                    if make(file, &sender, Duration::from_millis(SNAPSHOT_UNREAD_MS)) {
                        node.metrics().snapshots.record(began.elapsed());
                    }
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

/// Makes the file until it is whole, or nobody wants it or takes anything for `patience`. Says
/// whether all of it was taken.
fn make(file: SnapshotFile, to: &mpsc::Sender<Piece>, patience: Duration) -> bool {
    let runtime = Handle::current();
    let give = |piece: Piece| runtime.block_on(to.send_timeout(piece, patience)).is_ok();
    let mut sum = Sha256::new();
    for piece in file {
        match piece {
            Ok(bytes) => {
                sum.update(&bytes);
                if !give(Ok(bytes)) {
                    return false;
                }
            }
            Err(error) => {
                give(Err(error.to_string()));
                return false;
            }
        }
    }
    give(Ok(Bytes::copy_from_slice(&sum.finalize())))
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
                    return Some(Err(BROKEN_OFF.to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_base::{Index, MemberId, Term};
    use tenet_proto::etcdserverpb::{InternalRaftRequest, PutRequest};
    use tenet_state::{Config, State};

    fn file_of_some_mb() -> SnapshotFile {
        let mut state = State::new(Config {
            member: MemberId(1),
            min_lease_ttl_s: 2,
            quota_bytes: 0,
            learners_max: 1,
        });
        for index in 1..=4 {
            let request = InternalRaftRequest {
                id: index,
                put: Some(PutRequest {
                    key: format!("k{index}").into(),
                    value: vec![7; 1 << 20].into(),
                    ..PutRequest::default()
                }),
                ..InternalRaftRequest::default()
            };
            state.apply(Index(index), Term(1), &request).unwrap();
        }
        SnapshotFile::plan(state.export()).unwrap()
    }

    #[tokio::test]
    async fn whoever_takes_nothing_loses_the_turn_and_is_told() {
        let (sender, pieces) = mpsc::channel(SNAPSHOT_STEPS_WAITING_MAX);
        let file = file_of_some_mb();
        let left_bytes = file.len_bytes();
        let made = tokio::task::spawn_blocking(move || make(file, &sender, Duration::ZERO));
        assert!(!made.await.unwrap());
        let mut stream = SnapshotStream {
            pieces,
            piece: Bytes::new(),
            left_bytes,
            ended: false,
        };
        let mut last = None;
        while let Some(message) = stream.next().await {
            last = Some(message);
        }
        assert_eq!(last, Some(Err(BROKEN_OFF.to_owned())));
    }
}
