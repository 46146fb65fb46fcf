//! Range answers that are read while they are sent.
//!
//! An answer is opened on the newest view: a short one is there at once; of a long one the length
//! is found first, then its key-values are read piece by piece as they are asked for. A piece is
//! read on the calling task if the system has it in memory, and in the pool of [`ColdReads`] if
//! not. The view is exchanged for newer ones as long as they show the same revision, so a slow
//! reader keeps old states from being dropped only once a compaction has passed it.
//!
//! [`ColdReads`]: super::ColdReads

use super::Share;
use super::budget::Reserved;
use crate::node::{Node, told};
use bytes::Bytes;
use std::sync::Arc;
use tenet_base::limits::RANGE_STEP_ENTRIES;
use tenet_mvcc::{LongRange, MvccError, Opened, RangeChunk, RangeEnd, View};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use tenet_state::{check_range, check_range_stream};
use tenet_store::Patience;

/// Bytes that are kept for each key of an answer in an order of its own.
const LISTED_BYTES: usize = 16;

/// The answer to a range.
#[derive(Debug)]
pub enum RangeAnswer<L = Box<LongAnswer>> {
    /// All of it.
    Whole(RangeResponse),
    /// One whose key-values are read while it is sent.
    Long(L),
}

/// A long answer: one message of which the key-values follow in pieces.
#[derive(Debug)]
pub struct LongAnswer {
    node: Node,
    view: Arc<View>,
    /// Away while a thread of the pool reads for it, and gone after an error.
    range: Option<Box<LongRange>>,
    around: RangeResponse,
    kvs_bytes: u64,
    share: Share,
    _list: Option<Reserved>,
}

impl LongAnswer {
    fn new(node: &Node, view: Arc<View>, range: Box<LongRange>, share: Share) -> LongAnswer {
        let measured = range.measured().expect("it is measured before it is sent");
        LongAnswer {
            around: RangeResponse {
                header: Some(node.header_at(view.revision())),
                kvs: Vec::new(),
                more: measured.more,
                count: measured.count,
            },
            kvs_bytes: measured.bytes,
            node: node.clone(),
            view,
            range: Some(range),
            share,
            _list: None,
        }
    }

    /// The answer without its key-values.
    #[must_use]
    pub fn around(&self) -> &RangeResponse {
        &self.around
    }

    /// Bytes of all key-values, as fields of the answer.
    #[must_use]
    pub fn kvs_bytes(&self) -> u64 {
        self.kvs_bytes
    }

    /// The next key-values, as fields of the answer: at most `bytes_max`, or one that is longer.
    /// Empty behind the last. May wait: for the medium, or until others hold less.
    ///
    /// # Errors
    /// If a value cannot be read, or the member stops. Nothing follows.
    pub async fn next(&mut self, bytes_max: usize) -> Result<Bytes, ApiError> {
        let mut range = self.range.take().ok_or(ApiError::Stopped)?;
        let newest = self.node.newest();
        if newest.shows(range.revision()) {
            self.view = newest;
        }
        let bytes = loop {
            match range.plan_piece(&self.view, bytes_max) {
                Some(bytes) => break bytes,
                None => tokio::task::yield_now().await,
            }
        };
        if bytes == 0 {
            self.range = Some(range);
            return Ok(Bytes::new());
        }
        let charge = self.share.take(bytes).await;
        let piece = match range.read_piece(&self.view, Patience::Never) {
            Err(error) if error.is_cold() => {
                let view = Arc::clone(&self.view);
                let read = move || (range.read_piece(&view, Patience::Wait), range);
                let (piece, back) = self.node.cold_reads().run(read).await?;
                range = back;
                piece
            }
            other => other,
        };
        let piece = piece.map_err(|error| told(error.into()))?;
        self.range = Some(range);
        Ok(charge.put_on(piece))
    }
}

impl Node {
    /// Reads keys; what is long is read while it is sent.
    ///
    /// # Errors
    /// As etcd's Range.
    pub async fn open_range(&self, request: RangeRequest) -> Result<RangeAnswer, ApiError> {
        check_range(&request)?;
        if !request.serializable {
            self.read_barrier().await?;
        }
        self.metrics().ranges.add(1);
        let view = self.newest();
        let opened = match view.open_range(&request, Patience::Never) {
            // What is rare is boxed, so that the common reads stay small.
            Err(error) if error.is_cold() => Box::pin(self.open_cold(&view, &request)).await?,
            other => other,
        };
        match opened.map_err(|error| told(error.into()))? {
            Opened::Whole(result) => Ok(RangeAnswer::Whole(RangeResponse {
                header: Some(self.header_at(view.revision())),
                kvs: result.kvs,
                more: result.more,
                count: result.count,
            })),
            Opened::Long(mut range) => {
                while range.measure(&view, RANGE_STEP_ENTRIES).is_none() {
                    tokio::task::yield_now().await;
                }
                let share = self.read_budget().share();
                let answer = LongAnswer::new(self, view, range, share);
                Ok(RangeAnswer::Long(Box::new(answer)))
            }
            Opened::Sorted => Box::pin(self.sort(view, request)).await,
        }
    }

    async fn open_cold(
        &self,
        view: &Arc<View>,
        request: &RangeRequest,
    ) -> Result<Result<Opened, MvccError>, ApiError> {
        let (view, request) = (Arc::clone(view), request.clone());
        let read = move || view.open_range(&request, Patience::Wait);
        self.cold_reads().run(read).await
    }

    /// A long range in an order of its own: sorting may take long and much memory, so it waits for
    /// its turn and for room.
    async fn sort(&self, view: Arc<View>, request: RangeRequest) -> Result<RangeAnswer, ApiError> {
        let turn = self.sorts().acquire().await;
        let _turn = turn.map_err(|_| ApiError::Stopped)?;
        let bytes = view.sort_bytes(&request);
        let reserved = self.read_budget().reserve(bytes).await;
        let mut reserved = reserved.ok_or(ApiError::Stopped)?;
        let of = Arc::clone(&view);
        let sorted = self
            .cold_reads()
            .run(move || of.sort_range(&request))
            .await?;
        let range = Box::new(sorted.map_err(|error| told(error.into()))?);
        let keys = range.measured().map_or(0, |measured| measured.keys);
        reserved.shrink_to(keys as usize * LISTED_BYTES);
        let share = self.read_budget().share();
        let mut answer = LongAnswer::new(self, view, range, share);
        answer._list = Some(reserved);
        Ok(RangeAnswer::Long(Box::new(answer)))
    }

    /// Reads keys in chunks, all of one revision.
    ///
    /// # Errors
    /// As etcd's RangeStream, for what is known before the first chunk.
    pub async fn range_stream(&self, request: RangeRequest) -> Result<RangeStream, ApiError> {
        check_range_stream(&request)?;
        if !request.serializable {
            self.read_barrier().await?;
        }
        self.metrics().ranges.add(1);
        let chunk_bytes = self.request_bytes_max();
        Ok(RangeStream {
            node: self.clone(),
            chunks: tenet_mvcc::RangeStream::new(request, chunk_bytes),
            share: self.read_budget().share(),
        })
    }
}

/// Chunks of a RangeStream, asked for one by one.
#[derive(Debug)]
pub struct RangeStream {
    node: Node,
    chunks: tenet_mvcc::RangeStream,
    share: Share,
}

impl RangeStream {
    /// The next chunk, whose key-values must be fetched before the one after it is asked for.
    /// `None` behind the last and behind an error.
    pub async fn next(&mut self) -> Option<Result<LongAnswer, ApiError>> {
        while !self.chunks.is_done() {
            let view = self.node.newest();
            match self.chunks.step(&view, RANGE_STEP_ENTRIES) {
                Ok(Some(chunk)) => return Some(Ok(self.answer(view, chunk))),
                Ok(None) => tokio::task::yield_now().await,
                Err(error) => return Some(Err(told(error.into()))),
            }
        }
        None
    }

    fn answer(&self, view: Arc<View>, chunk: RangeChunk) -> LongAnswer {
        let RangeChunk { range, end } = chunk;
        let mut answer = LongAnswer::new(&self.node, view, Box::new(range), self.share.clone());
        answer.around = end.map_or_else(RangeResponse::default, |end| self.last(end));
        answer
    }

    fn last(&self, end: RangeEnd) -> RangeResponse {
        RangeResponse {
            header: Some(ResponseHeader {
                revision: end.revision.get(),
                ..self.node.header()
            }),
            kvs: Vec::new(),
            more: end.more,
            count: end.count,
        }
    }
}
