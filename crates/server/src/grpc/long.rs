//! Range answers that are never held: length first, then the key-values as the client takes them.
//!
//! The bytes are those of encoding the whole message: fields stand in the order of their numbers,
//! with the key-values in the middle. A piece is asked for only once the client's window has room,
//! so a client that does not read costs a place in the answer and no bytes. After each piece the
//! other calls of the connection have their turn.
//!
//! An answer that cannot be finished ends with the status that says why, in the middle of the
//! message, so that no client takes what it has for all.

use super::call::{Call, fits};
use super::frames::{Gzipped, put_prefix};
use super::inbound::PREFIX_BYTES;
use super::outbound::Gone;
use super::status::Status;
use crate::api::LongAnswer;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tenet_base::limits::RANGE_PIECE_BYTES;
use tenet_proto::etcdserverpb::RangeResponse;
use tokio::time::{Sleep, sleep_until};

/// The number of `range_response` in `RangeStreamResponse`.
const RANGE_TAG: u32 = 1;

/// What the answer is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// A message of its own.
    Alone,
    /// The only field of a `RangeStreamResponse`.
    Streamed,
}

/// The bytes around the key-values of an answer.
struct Parts {
    /// Everything before them.
    head: BytesMut,
    /// Everything behind them.
    tail: Bytes,
    /// The length of the message.
    len: u64,
}

impl Parts {
    fn new(around: &RangeResponse, kvs_bytes: u64, wrapping: Wrapping) -> Parts {
        let header = RangeResponse {
            header: around.header,
            ..RangeResponse::default()
        };
        let behind = RangeResponse {
            header: None,
            kvs: Vec::new(),
            ..around.clone()
        };
        let range_len = (header.encoded_len() + behind.encoded_len()) as u64 + kvs_bytes;
        let mut head = BytesMut::new();
        let mut len = range_len;
        if wrapping == Wrapping::Streamed {
            encode_key(RANGE_TAG, WireType::LengthDelimited, &mut head);
            encode_varint(range_len, &mut head);
            len += (key_len(RANGE_TAG) + encoded_len_varint(range_len)) as u64;
        }
        header.encode_raw(&mut head);
        Parts {
            head,
            tail: behind.encode_to_vec().into(),
            len,
        }
    }
}

impl Call<'_> {
    /// Ends a unary call with a long answer.
    pub(super) async fn answer_long<L: LongAnswer>(&mut self, answer: L) {
        self.log_if_slow(|| Some((answer.around().count, answer.kvs_bytes() as i64)));
        match self.send_long(answer, Wrapping::Alone).await {
            Ok(()) => self.finish_unary(&Status::OK),
            Err(status) => self.finish_unary(&status),
        }
    }

    /// Sends a long answer. If it fails, its status is to end the call.
    pub(super) async fn send_long<L: LongAnswer>(
        &mut self,
        mut answer: L,
        wrapping: Wrapping,
    ) -> Result<(), Status> {
        let parts = Parts::new(answer.around(), answer.kvs_bytes(), wrapping);
        fits(parts.len, self.method)?;
        self.count_message(parts.len);
        let mut timer = self.deadline.map(|at| Box::pin(sleep_until(at)));
        if self.outbound.gzip() {
            return self.send_gzipped(answer, parts, &mut timer).await;
        }
        let mut head = BytesMut::with_capacity(PREFIX_BYTES + parts.head.len());
        put_prefix(&mut head, 0, parts.len as usize);
        head.put(parts.head);
        self.send_part(head.freeze(), &mut timer).await?;
        loop {
            self.wait_for_window(&mut timer).await?;
            let piece = next(self, &mut answer).await?;
            if piece.is_empty() {
                break;
            }
            self.send_part(piece, &mut timer).await?;
            // A fast client must not keep the connection's other calls waiting.
            tokio::task::yield_now().await;
        }
        self.send_part(parts.tail, &mut timer).await
    }

    /// As [`Call::send_long`], compressed: the length of that is known only at its end, so the
    /// compressed bytes are held.
    async fn send_gzipped<L: LongAnswer>(
        &mut self,
        mut answer: L,
        parts: Parts,
        timer: &mut Timer,
    ) -> Result<(), Status> {
        let mut message = Gzipped::new(&parts.head);
        loop {
            let piece = next(self, &mut answer).await?;
            if piece.is_empty() {
                break;
            }
            message.push(&piece);
            tokio::task::yield_now().await;
        }
        message.push(&parts.tail);
        let mut whole = message.finish();
        while !whole.is_empty() {
            let part = whole.split_to(whole.len().min(RANGE_PIECE_BYTES));
            self.send_part(part, timer).await?;
        }
        Ok(())
    }

    /// Waits until the client has room for something.
    async fn wait_for_window(&mut self, timer: &mut Timer) -> Result<(), Status> {
        let outbound = &mut self.outbound;
        poll_fn(|cx| {
            if let Poll::Ready(status) = poll_timer(timer, cx) {
                return Poll::Ready(Err(status));
            }
            outbound.poll_window(cx).map_err(canceled)
        })
        .await
    }

    /// Sends bytes that do not belong to the connection's own memory, as the client takes them.
    async fn send_part(&mut self, mut part: Bytes, timer: &mut Timer) -> Result<(), Status> {
        let outbound = &mut self.outbound;
        poll_fn(|cx| {
            if outbound.poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Status::CANCELED));
            }
            if let Poll::Ready(status) = poll_timer(timer, cx) {
                return Poll::Ready(Err(status));
            }
            outbound.poll_part(cx, &mut part).map_err(canceled)
        })
        .await
    }
}

type Timer = Option<Pin<Box<Sleep>>>;

fn poll_timer(timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Status> {
    match timer {
        Some(timer) => timer.as_mut().poll(cx).map(|()| Status::DEADLINE),
        None => Poll::Pending,
    }
}

fn canceled(_: Gone) -> Status {
    Status::CANCELED
}

async fn next<L: LongAnswer>(call: &mut Call<'_>, answer: &mut L) -> Result<Bytes, Status> {
    let piece = call.race(pin!(answer.next(RANGE_PIECE_BYTES))).await?;
    piece.map_err(Status::from)
}
