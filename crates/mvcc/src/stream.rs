//! A range given out in chunks (etcd's RangeStream).
//!
//! The stream holds no view between chunks, so a slow reader pins nothing: each chunk is read at
//! the pinned revision from the view that is newest then, or the stream ends as compacted. A chunk
//! is a [`LongRange`] as any other, so that it is not held either.

use crate::index::KeyRange;
use crate::plan::{self, Plan};
use crate::{LongRange, Measured, MvccError, View};
use bytes::Bytes;
use tenet_base::{Revision, limits};
use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use tenet_proto::prost::Message;

/// One message of a stream.
#[derive(Debug)]
pub struct RangeChunk {
    /// Its keys.
    pub range: LongRange,
    /// What only the last message carries; `None` in all others.
    pub end: Option<RangeEnd>,
}

/// The end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeEnd {
    /// The store's revision when the stream began, for the header.
    pub revision: Revision,
    /// Whether more keys matched than the limit.
    pub more: bool,
    /// Keys in the range, whatever the limit.
    pub count: i64,
}

/// A range in progress. Sorts and revision filters are the caller's to refuse.
#[derive(Debug)]
pub struct RangeStream {
    /// What the next chunk asks for; the limit is the chunk's.
    next: RangeRequest,
    /// Keys that may still be given out; below zero for all in one message.
    left: i64,
    /// Bytes of a message that chunks are steered to.
    target_bytes: usize,
    begun: Option<Begun>,
    /// The next chunk, while it is measured.
    chunk: Option<LongRange>,
    done: bool,
}

/// What the first chunk decides.
#[derive(Clone, Copy, Debug)]
struct Begun {
    revision: Revision,
    count: i64,
}

impl RangeStream {
    /// A stream for `req`. A chunk smaller than half of `target_bytes` (etcd takes
    /// `--max-request-bytes`) doubles the keys of the next, one larger than twice it halves them.
    #[must_use]
    pub fn new(mut req: RangeRequest, target_bytes: usize) -> Self {
        let left = if req.limit == 0 { i64::MAX } else { req.limit };
        // A negative limit is none, and then all comes in one message.
        req.limit = left.min(limits::RANGE_STREAM_FIRST_CHUNK_KEYS as i64);
        RangeStream {
            next: req,
            left,
            target_bytes,
            begun: None,
            chunk: None,
            done: false,
        }
    }

    /// Whether the last chunk was given, or an error.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Looks at about `entries_max` entries of the index of `view`, which must not be older than
    /// that of the last call, for the next chunk; gives it once it is measured.
    ///
    /// # Errors
    /// If the revision is compacted or in the future. Nothing follows an error.
    ///
    /// # Panics
    /// If the stream is done.
    pub fn step(
        &mut self,
        view: &View,
        entries_max: usize,
    ) -> Result<Option<RangeChunk>, MvccError> {
        assert!(!self.done, "a chunk was asked for behind the last");
        let stepped = self.measure(view, entries_max);
        self.done = match &stepped {
            Ok(chunk) => chunk.as_ref().is_some_and(|chunk| chunk.end.is_some()),
            Err(_) => true,
        };
        stepped
    }

    fn measure(
        &mut self,
        view: &View,
        entries_max: usize,
    ) -> Result<Option<RangeChunk>, MvccError> {
        // Asked again in each step: the view is another one.
        let at = plan::revision_of(&self.next, view.revision, view.compacted)?;
        let mut range = match self.chunk.take() {
            Some(range) => range,
            None => self.begin(view, at),
        };
        let Some(measured) = range.measure(view, entries_max).cloned() else {
            self.chunk = Some(range);
            return Ok(None);
        };
        let end = self.end_of(view, &measured);
        Ok(Some(RangeChunk { range, end }))
    }

    fn begin(&mut self, view: &View, at: i64) -> LongRange {
        self.next.revision = at;
        let count_only = self.next.count_only;
        let begun = self.begun.get_or_insert_with(|| Begun {
            revision: view.revision(),
            count: view.count(&self.next.key, &self.next.range_end, at),
        });
        if count_only {
            return LongRange::of_nothing(at, begun.count);
        }
        let plan = Plan::new(&self.next, at);
        LongRange::in_order(&self.next.key, &self.next.range_end, &plan, &[], false)
    }

    /// What the chunk carries if it is the last; else where the next one begins.
    fn end_of(&mut self, view: &View, measured: &Measured) -> Option<RangeEnd> {
        if self.left > 0 {
            self.left -= measured.keys as i64;
        }
        let next = measured.next_key.as_ref().filter(|_| self.left != 0);
        let Some(next) = next else {
            let begun = self.begun.expect("the first chunk has begun");
            return Some(RangeEnd {
                revision: begun.revision,
                more: measured.more,
                count: begun.count,
            });
        };
        self.next.key = next.clone();
        let around = RangeResponse {
            header: Some(ResponseHeader {
                revision: view.revision().0,
                ..ResponseHeader::default()
            }),
            // etcd reads one key more than the chunk holds, and counts as far as it reads.
            count: measured.keys as i64 + 1,
            more: true,
            kvs: Vec::new(),
        };
        self.next.limit = self.next_keys(around.encoded_len() as u64 + measured.bytes);
        None
    }

    /// Keys of the next chunk, after one of `bytes`.
    fn next_keys(&self, bytes: u64) -> i64 {
        let keys = self.next.limit;
        let target = self.target_bytes as u64;
        let keys = if bytes < target / 2 {
            keys.saturating_mul(2)
        } else if bytes > target.saturating_mul(2) {
            keys / 2
        } else {
            keys
        };
        keys.clamp(1, self.left)
    }
}

impl View {
    /// Keys of a range that are alive at `at`.
    fn count(&self, key: &Bytes, range_end: &Bytes, at: i64) -> i64 {
        self.tree.count(KeyRange::new(key, range_end), at) as i64
    }
}
