//! A range given out in chunks (etcd's RangeStream).
//!
//! The stream holds no view between chunks, so a slow reader pins nothing: each chunk is read at
//! the pinned revision from the view that is newest then, or ends the stream as compacted.

use crate::{MvccError, View};
use bytes::{BufMut, Bytes, BytesMut};
use tenet_base::{Revision, limits};
use tenet_proto::etcdserverpb::RangeRequest;
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
    req: RangeRequest,
    request_bytes_max: usize,
    chunk_keys: usize,
    begun: Option<Revision>,
    count: i64,
    left: i64,
    done: bool,
}

impl RangeStream {
    /// A stream for `req`; chunks aim at half to twice `request_bytes_max`.
    #[must_use]
    pub fn new(req: RangeRequest, request_bytes_max: usize) -> Self {
        RangeStream {
            left: req.limit.max(0),
            req,
            request_bytes_max,
            chunk_keys: limits::RANGE_STREAM_FIRST_CHUNK_KEYS,
            begun: None,
            count: 0,
            done: false,
        }
    }

    /// The next message, read from `view`, which must not be older than that of the last call.
    /// `None` after the last one and after an error.
    pub fn next(&mut self, view: &View) -> Option<Result<RangeChunk, MvccError>> {
        if self.done {
            return None;
        }
        let result = self.chunk(view);
        self.done = result.as_ref().map_or(true, |chunk| chunk.end.is_some());
        Some(result)
    }

    fn chunk(&mut self, view: &View) -> Result<RangeChunk, MvccError> {
        let limited = self.req.limit > 0;
        let wanted = self.chunk_keys as i64;
        let mut req = self.req.clone();
        req.limit = if limited {
            wanted.min(self.left)
        } else {
            wanted
        };
        let result = view.range(&req)?;
        let begun = *self.begun.get_or_insert_with(|| {
            if self.req.revision <= 0 {
                self.req.revision = view.revision().0;
            }
            self.count = result.count;
            view.revision()
        });
        self.left -= result.kvs.len() as i64;
        if req.count_only || !result.more || (limited && self.left == 0) {
            let end = RangeEnd {
                revision: begun,
                more: result.more,
                count: self.count,
            };
            return Ok(RangeChunk {
                kvs: result.kvs,
                end: Some(end),
            });
        }
        let bytes: usize = result.kvs.iter().map(Message::encoded_len).sum();
        if bytes < self.request_bytes_max / 2 {
            self.chunk_keys = self.chunk_keys.saturating_mul(2);
        } else if bytes > self.request_bytes_max.saturating_mul(2) {
            self.chunk_keys = (self.chunk_keys / 2).max(1);
        }
        if let Some(last) = result.kvs.last() {
            self.req.key = successor(&last.key);
        }
        Ok(RangeChunk {
            kvs: result.kvs,
            end: None,
        })
    }
}

/// The first key after `key`.
fn successor(key: &[u8]) -> Bytes {
    let mut next = BytesMut::with_capacity(key.len() + 1);
    next.put_slice(key);
    next.put_u8(0);
    next.freeze()
}
