//! A range given out in chunks (etcd's RangeStream).
//!
//! The stream holds no view between chunks, so a slow reader pins nothing: each chunk is read at
//! the pinned revision from the view that is newest then, or the stream ends as compacted.

use crate::{MvccError, View};
use bytes::Bytes;
use tenet_base::{Revision, limits};
use tenet_proto::etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message;

/// One message of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeChunk {
    /// The next keys in order.
    pub kvs: Vec<KeyValue>,
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
    /// Keys that may still be given out.
    left: i64,
    /// Bytes of a message that chunks are steered to.
    target_bytes: usize,
    begun: Option<Begun>,
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
            done: false,
        }
    }

    /// The next message, read from `view`, which must not be older than that of the last call.
    /// `None` after the last one and after an error.
    pub fn next(&mut self, view: &View) -> Option<Result<RangeChunk, MvccError>> {
        if self.done {
            return None;
        }
        let chunk = self.chunk(view);
        self.done = chunk.as_ref().map_or(true, |chunk| chunk.end.is_some());
        Some(chunk)
    }

    fn chunk(&mut self, view: &View) -> Result<RangeChunk, MvccError> {
        let found = match self.begun {
            None => view.range(&self.next)?,
            Some(_) => view.range_uncounted(&self.next)?,
        };
        let begun = *self.begun.get_or_insert(Begun {
            revision: view.revision(),
            count: found.count,
        });
        if self.next.revision <= 0 {
            self.next.revision = begun.revision.0;
        }
        if self.left > 0 {
            self.left -= found.kvs.len() as i64;
        }
        let last = found.kvs.last().filter(|_| found.more && self.left != 0);
        let Some(last) = last else {
            return Ok(RangeChunk {
                end: Some(RangeEnd {
                    revision: begun.revision,
                    more: found.more,
                    count: begun.count,
                }),
                kvs: found.kvs,
            });
        };
        self.next.key = successor(&last.key);
        let mut message = RangeResponse {
            header: Some(ResponseHeader {
                revision: view.revision().0,
                ..ResponseHeader::default()
            }),
            // etcd reads one key more than the chunk holds, and counts as far as it reads.
            count: found.kvs.len() as i64 + 1,
            more: true,
            kvs: found.kvs,
        };
        self.next.limit = self.next_keys(message.encoded_len());
        Ok(RangeChunk {
            kvs: std::mem::take(&mut message.kvs),
            end: None,
        })
    }

    /// Keys of the next chunk, after one of `bytes`.
    fn next_keys(&self, bytes: usize) -> i64 {
        let keys = self.next.limit;
        let keys = if bytes < self.target_bytes / 2 {
            keys.saturating_mul(2)
        } else if bytes > self.target_bytes.saturating_mul(2) {
            keys / 2
        } else {
            keys
        };
        keys.clamp(1, self.left)
    }
}

/// The first key after `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}
