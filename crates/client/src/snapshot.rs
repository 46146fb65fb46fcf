//! Snapshots of the member that answers, message by message as they come.

use tenet_proto::etcdserverpb::{SnapshotRequest, SnapshotResponse};
use tokio::time::Instant;

use crate::call::{is_unsent, within};
use crate::services::maintenance_client::MaintenanceClient;
use crate::{Client, Error};

/// A snapshot that is coming in: the bytes of a file, the last message its SHA-256. What has come
/// in is not the whole before the server has ended the stream.
pub struct Snapshot {
    messages: tonic::Streaming<SnapshotResponse>,
    client: Client,
    deadline: Option<Instant>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Client {
    /// Asks for a snapshot. One that breaks off is not begun again: that is for the caller, who
    /// knows what to do with its first part.
    ///
    /// # Errors
    /// If the member refuses or cannot be reached before the deadline.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let deadline = self.deadline.instant();
        self.renew_token(deadline).await?;
        let opening = within(deadline, async {
            loop {
                let channel = self.channel("/etcdserverpb.Maintenance/Snapshot").await;
                let limit = channel.receive_bytes_max;
                let message = self.message(SnapshotRequest {}, deadline);
                let mut service = MaintenanceClient::new(channel).max_decoding_message_size(limit);
                match service.snapshot(message).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    // Gone before the request went out: another one is taken.
                    Err(error) if is_unsent(&error) => {}
                    Err(error) => return Err(self.status_of(&error)),
                }
            }
        });
        match opening.await {
            Some(Ok(messages)) => Ok(Snapshot {
                messages,
                client: self.clone(),
                deadline,
            }),
            Some(Err(status)) => Err(status.into_error()),
            None => Err(Error::Deadline),
        }
    }
}

impl Snapshot {
    /// The next message; `None` when the server has ended the stream without an error.
    ///
    /// # Errors
    /// If the stream broke off.
    pub async fn next(&mut self) -> Result<Option<SnapshotResponse>, Error> {
        match within(self.deadline, self.messages.message()).await {
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(self.client.status_of(&error).into_error()),
            None => Err(Error::Deadline),
        }
    }
}
