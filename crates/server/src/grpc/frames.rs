//! The bytes of an answer, in pieces.
//!
//! A short answer is one piece. A range answer of many keys is encoded piece by piece as the
//! client's window opens: its length is known beforehand, and values are shared with the store
//! until then, so that a large answer to a slow client costs no second copy.

use super::inbound::PREFIX_BYTES;
use bytes::buf::Writer;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::io::Write;
use tenet_base::limits;
use tenet_proto::etcdserverpb::{DeleteRangeResponse, RangeResponse};
use tenet_proto::mvccpb::KeyValue;

/// An answer on its way to the client: one message with its prefix.
pub(super) enum Frames {
    /// Bytes that are ready.
    Whole(Bytes),
    /// The rest of a long range answer.
    Range(RangeFrames),
}

/// A message that can be answered.
pub(crate) trait Reply: Message + Sized {
    /// Its bytes, uncompressed; `len` is their number.
    fn frames(self, len: usize) -> Frames {
        Frames::Whole(framed(&self, len))
    }

    /// Keys that it brings, for the log of slow requests; `None` where etcd does not say.
    fn key_count(&self) -> Option<i64> {
        None
    }
}

impl Reply for RangeResponse {
    fn frames(self, len: usize) -> Frames {
        if len <= limits::RESPONSE_PIECE_BYTES {
            Frames::Whole(framed(&self, len))
        } else {
            Frames::Range(RangeFrames::new(self, len))
        }
    }

    fn key_count(&self) -> Option<i64> {
        Some(self.count)
    }
}

impl Reply for DeleteRangeResponse {
    fn key_count(&self) -> Option<i64> {
        Some(self.deleted)
    }
}

fn framed(message: &impl Message, len: usize) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + len);
    put_prefix(&mut out, 0, len);
    message.encode_raw(&mut out);
    out.freeze()
}

/// A compressed message, which is always whole.
pub(super) fn gzipped(message: &impl Message) -> Bytes {
    gzipped_bytes(&message.encode_to_vec())
}

/// As [`gzipped`], of an encoded message.
pub(super) fn gzipped_bytes(plain: &[u8]) -> Bytes {
    Gzipped::new(plain).finish()
}

/// A compressed message in the making.
pub(super) struct Gzipped(flate2::write::GzEncoder<Writer<BytesMut>>);

impl Gzipped {
    /// A message that begins with these bytes.
    pub(super) fn new(plain: &[u8]) -> Gzipped {
        let mut out = BytesMut::new();
        // The length comes when it is known.
        put_prefix(&mut out, 1, 0);
        let writer = flate2::write::GzEncoder::new(out.writer(), flate2::Compression::default());
        let mut message = Gzipped(writer);
        message.push(plain);
        message
    }

    /// Adds what follows.
    pub(super) fn push(&mut self, plain: &[u8]) {
        // Writing to memory does not fail.
        let _ = self.0.write_all(plain);
    }

    /// The message with its prefix.
    pub(super) fn finish(self) -> Bytes {
        let writer = self.0.finish();
        let mut out = writer.map(Writer::into_inner).unwrap_or_default();
        let mut prefix = BytesMut::new();
        put_prefix(&mut prefix, 1, out.len() - PREFIX_BYTES);
        out[..PREFIX_BYTES].copy_from_slice(&prefix);
        out.freeze()
    }
}

/// # Panics
/// If the message is longer than the prefix can say, which is also the longest that etcd sends.
pub(super) fn put_prefix(out: &mut BytesMut, flag: u8, len: usize) {
    let Ok(short) = u32::try_from(len) else {
        panic!(
            "an answer of {len} bytes is longer than the {} of a gRPC message",
            u32::MAX
        )
    };
    out.put_u8(flag);
    out.put_u32(short);
}

impl Frames {
    /// The next piece, at most a little more than [`limits::RESPONSE_PIECE_BYTES`] unless one
    /// key-value is longer.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        match self {
            Frames::Whole(bytes) if bytes.is_empty() => None,
            Frames::Whole(bytes) => {
                Some(bytes.split_to(bytes.len().min(limits::RESPONSE_PIECE_BYTES)))
            }
            Frames::Range(range) => range.next(),
        }
    }
}

/// The rest of a long range answer. Fields are written in the order of their numbers, so the
/// pieces together are what encoding the whole message would give.
pub(super) struct RangeFrames {
    head: Option<Bytes>,
    kvs: std::vec::IntoIter<KeyValue>,
    tail: Option<Bytes>,
}

/// The number of `kvs` in `RangeResponse`.
const KVS_TAG: u32 = 2;

impl RangeFrames {
    fn new(mut answer: RangeResponse, len: usize) -> RangeFrames {
        let kvs = std::mem::take(&mut answer.kvs);
        let tail = RangeResponse {
            header: None,
            kvs: Vec::new(),
            ..answer
        };
        let head = RangeResponse {
            header: answer.header,
            ..RangeResponse::default()
        };
        let mut first = BytesMut::with_capacity(PREFIX_BYTES + head.encoded_len());
        put_prefix(&mut first, 0, len);
        head.encode_raw(&mut first);
        RangeFrames {
            head: Some(first.freeze()),
            kvs: kvs.into_iter(),
            tail: Some(tail.encode_to_vec().into()),
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        if let Some(head) = self.head.take() {
            return Some(head);
        }
        let mut piece = BytesMut::new();
        for kv in self.kvs.by_ref() {
            let len = kv.encoded_len();
            piece.reserve(key_len(KVS_TAG) + encoded_len_varint(len as u64) + len);
            encode_key(KVS_TAG, WireType::LengthDelimited, &mut piece);
            encode_varint(len as u64, &mut piece);
            kv.encode_raw(&mut piece);
            if piece.len() >= limits::RESPONSE_PIECE_BYTES {
                break;
            }
        }
        if piece.is_empty() {
            return self.tail.take().filter(|tail| !tail.is_empty());
        }
        Some(piece.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::ResponseHeader;

    fn answer(keys: usize, value_bytes: usize) -> RangeResponse {
        let kv = |i: usize| KeyValue {
            key: format!("key-{i}").into(),
            value: vec![i as u8; value_bytes].into(),
            create_revision: i as i64,
            mod_revision: 7,
            version: 1,
            lease: 0,
        };
        RangeResponse {
            header: Some(ResponseHeader {
                revision: 9,
                ..ResponseHeader::default()
            }),
            kvs: (0..keys).map(kv).collect(),
            more: true,
            count: 1_000_000,
        }
    }

    fn joined(mut frames: Frames) -> (usize, Vec<u8>) {
        let mut out = Vec::new();
        let mut pieces = 0;
        while let Some(piece) = frames.next() {
            assert!(!piece.is_empty());
            pieces += 1;
            out.extend_from_slice(&piece);
        }
        (pieces, out)
    }

    #[test]
    fn long_range_answers_come_in_pieces_that_join_to_the_message() {
        for (keys, value_bytes) in [(0, 0), (1, 10), (3_000, 100), (2, 200_000)] {
            let answer = answer(keys, value_bytes);
            let (pieces, bytes) = joined(answer.clone().frames(answer.encoded_len()));
            assert_eq!(
                pieces > 1,
                bytes.len() > limits::RESPONSE_PIECE_BYTES,
                "{keys} keys"
            );
            assert_eq!(bytes[0], 0);
            assert_eq!(bytes[1..5], u32::to_be_bytes(bytes.len() as u32 - 5));
            assert_eq!(bytes[5..], answer.encode_to_vec());
        }
        let last = RangeResponse {
            more: false,
            count: 0,
            ..answer(3_000, 100)
        };
        let (_, bytes) = joined(last.clone().frames(last.encoded_len()));
        assert_eq!(
            bytes[5..],
            last.encode_to_vec(),
            "without anything after the keys"
        );
    }

    #[test]
    fn gzipped_answers_unpack_to_the_message() {
        let answer = answer(10, 100);
        let bytes = gzipped(&answer);
        assert_eq!(bytes[0], 1);
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&bytes[5..]), &mut plain)
            .expect("valid gzip");
        assert_eq!(plain, answer.encode_to_vec());
    }
}
