//! Keys and values.

use tenet_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, TxnRequest, TxnResponse,
};
use tokio::time::Instant;

use crate::call::{call, is_unsent, within};
use crate::services::kv_client::KvClient;
use crate::{Client, Error};

#[allow(clippy::missing_errors_doc)]
impl Client {
    /// Reads a range of keys.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let request = self.range_request_inward(request)?;
        let name = "/etcdserverpb.KV/Range";
        let answer = call!(self, name, Read, KvClient::range, request)?;
        Ok(self.range_outward(answer))
    }

    /// Puts one key.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Error> {
        let request = self.put_inward(request)?;
        let name = "/etcdserverpb.KV/Put";
        let answer = call!(self, name, Write, KvClient::put, request)?;
        Ok(self.put_outward(answer))
    }

    /// Deletes a range of keys.
    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Error> {
        let request = self.delete_inward(request)?;
        let name = "/etcdserverpb.KV/DeleteRange";
        let answer = call!(self, name, Write, KvClient::delete_range, request)?;
        Ok(self.delete_outward(answer))
    }

    /// Runs a transaction.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        let request = self.txn_inward(request)?;
        let name = "/etcdserverpb.KV/Txn";
        let answer = call!(self, name, Write, KvClient::txn, request)?;
        Ok(self.txn_outward(answer))
    }

    /// Drops the history before a revision.
    pub async fn compact(&self, request: CompactionRequest) -> Result<CompactionResponse, Error> {
        call!(
            self,
            "/etcdserverpb.KV/Compact",
            Write,
            KvClient::compact,
            request
        )
    }

    /// Reads a range of keys in parts, all of one revision, for ranges that are large. A failure
    /// is not repeated.
    pub async fn range_stream(&self, request: RangeRequest) -> Result<RangeStream, Error> {
        let request = self.range_request_inward(request)?;
        let deadline = self.deadline.instant();
        // A stream cannot be repeated with a new token once it has begun, so it begins with one.
        self.renew_token(deadline).await?;
        let opening = within(deadline, async {
            loop {
                let channel = self.channel("/etcdserverpb.KV/RangeStream").await;
                self.check_size(&request)?;
                let limit = channel.receive_bytes_max;
                let message = self.message(request.clone(), deadline);
                let mut service = KvClient::new(channel).max_decoding_message_size(limit);
                match service.range_stream(message).await {
                    Ok(answer) => return Ok(answer.into_inner()),
                    // Gone before the request went out: another one is taken.
                    Err(error) if is_unsent(&error) => {}
                    Err(error) => return Err(self.status_of(&error)),
                }
            }
        });
        match opening.await {
            Some(Ok(parts)) => Ok(RangeStream {
                parts,
                client: self.clone(),
                deadline,
            }),
            Some(Err(status)) => Err(status.into_error()),
            None => Err(Error::Deadline),
        }
    }
}

/// The parts of a range that is read with [`Client::range_stream`].
pub struct RangeStream {
    parts: tonic::Streaming<RangeStreamResponse>,
    client: Client,
    deadline: Option<Instant>,
}

impl RangeStream {
    /// The next part; none after the last. Keys come in order; header, count and `more` come with
    /// the last part.
    #[allow(clippy::missing_errors_doc)]
    pub async fn next(&mut self) -> Result<Option<RangeResponse>, Error> {
        match within(self.deadline, self.parts.message()).await {
            Some(Ok(Some(part))) => {
                let part = part.range_response.unwrap_or_default();
                Ok(Some(self.client.range_outward(part)))
            }
            Some(Ok(None)) => Ok(None),
            Some(Err(error)) => Err(self.client.status_of(&error).into_error()),
            None => Err(Error::Deadline),
        }
    }

    /// The rest as one answer.
    #[allow(clippy::missing_errors_doc)]
    pub async fn collect(mut self) -> Result<RangeResponse, Error> {
        let mut whole = RangeResponse::default();
        while let Some(mut part) = self.next().await? {
            whole.kvs.append(&mut part.kvs);
            whole.header = part.header.or(whole.header);
            whole.more |= part.more;
            whole.count = if part.count == 0 {
                whole.count
            } else {
                part.count
            };
        }
        Ok(whole)
    }
}

impl std::fmt::Debug for RangeStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeStream").finish_non_exhaustive()
    }
}
