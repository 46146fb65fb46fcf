//! What one stream is about to send.
//!
//! Short messages are gathered into one piece of memory and leave as one frame. A long message
//! that other streams send too keeps its bytes shared: only what is its own is copied. Nothing is
//! added while something waits for the client, so a stream keeps at most what it was given in one
//! turn, and a quiet one keeps nothing.

use super::frames::{gzipped_bytes, put_prefix};
use super::inbound::PREFIX_BYTES;
use super::outbound::{Gone, Outbound};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use tenet_base::limits;

/// Shared parts up to this size are copied: a frame of their own would cost more.
const COPIED_BYTES_MAX: usize = 2 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    gzip: bool,
    gathered: BytesMut,
    /// What is on its way to the client, in order.
    parts: VecDeque<Bytes>,
    /// Messages and their bytes that were added and not counted yet.
    added: (u64, u64),
}

impl Outbox {
    pub(super) fn new(gzip: bool) -> Outbox {
        Outbox {
            gzip,
            ..Outbox::default()
        }
    }

    /// Whether more may be added in this turn. Whoever adds must ask before each message.
    pub(super) fn has_room(&self) -> bool {
        self.parts.is_empty() && self.gathered.len() < limits::STREAM_TURN_BYTES
    }

    /// Adds a message.
    pub(super) fn message(&mut self, message: &impl Message) {
        let len = message.encoded_len();
        self.parted(len, |out| message.encode_raw(out), &Bytes::new());
    }

    /// Adds a message that is already encoded, in two parts: `own_len` bytes that `own` writes,
    /// then `shared`, of which only a reference is kept if it is long.
    pub(super) fn parted(
        &mut self,
        own_len: usize,
        own: impl FnOnce(&mut BytesMut),
        shared: &Bytes,
    ) {
        let len = own_len + shared.len();
        self.added.0 += 1;
        self.added.1 += len as u64;
        if self.gzip {
            let mut plain = BytesMut::with_capacity(len);
            own(&mut plain);
            plain.put_slice(shared);
            self.gathered.put(gzipped_bytes(&plain));
            return;
        }
        let copied = shared.len() <= COPIED_BYTES_MAX;
        let here = PREFIX_BYTES + own_len + if copied { shared.len() } else { 0 };
        self.gathered.reserve(here);
        let start = self.gathered.len();
        put_prefix(&mut self.gathered, 0, len);
        own(&mut self.gathered);
        debug_assert_eq!(self.gathered.len() - start, PREFIX_BYTES + own_len);
        if copied {
            self.gathered.put_slice(shared);
        } else {
            self.parts.push_back(self.gathered.split().freeze());
            self.parts.push_back(shared.clone());
        }
    }

    /// Messages added since the last call, and their bytes.
    pub(super) fn take_added(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.added)
    }

    /// Sends; ready when nothing is left.
    pub(super) fn poll_send(
        &mut self,
        to: &mut Outbound,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        if !self.gathered.is_empty() {
            // All of it goes, so that a quiet stream holds no memory.
            self.parts
                .push_back(std::mem::take(&mut self.gathered).freeze());
        }
        while let Some(part) = self.parts.front_mut() {
            ready!(to.poll_part(cx, part))?;
            self.parts.pop_front();
        }
        if self.parts.capacity() > 0 {
            self.parts = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::LeaseKeepAliveRequest;

    fn whole(outbox: &Outbox) -> Vec<u8> {
        let mut out: Vec<u8> = outbox.parts.iter().flatten().copied().collect();
        out.extend_from_slice(&outbox.gathered);
        out
    }

    #[test]
    fn short_messages_are_gathered_up_to_the_turn_and_counted() {
        let mut outbox = Outbox::new(false);
        let message = LeaseKeepAliveRequest { id: 7 };
        outbox.message(&message);
        outbox.message(&message);
        let framed = [&[0, 0, 0, 0, 2][..], &message.encode_to_vec()].concat();
        assert_eq!(whole(&outbox), framed.repeat(2));
        assert_eq!(outbox.take_added(), (2, 4));
        assert_eq!(outbox.take_added(), (0, 0));
        while outbox.has_room() {
            outbox.message(&message);
        }
        assert!(outbox.gathered.len() >= limits::STREAM_TURN_BYTES);
    }

    #[test]
    fn long_shared_parts_are_not_copied_and_short_ones_are() {
        let long = Bytes::from(vec![7; COPIED_BYTES_MAX + 1]);
        let short = long.slice(..COPIED_BYTES_MAX);
        for shared in [&long, &short] {
            let mut outbox = Outbox::new(false);
            outbox.parted(3, |out| out.put_slice(b"own"), shared);
            let len = (shared.len() + 3) as u32;
            let expected = [&[0][..], &len.to_be_bytes(), b"own", &shared[..]].concat();
            assert_eq!(whole(&outbox), expected);
            let kept = outbox.parts.iter().any(|p| p.as_ptr() == shared.as_ptr());
            assert_eq!(kept, shared.len() > COPIED_BYTES_MAX);
            assert_eq!(outbox.has_room(), !kept, "one long message a turn");
        }
    }

    #[test]
    fn compressed_messages_unpack_to_both_parts() {
        let mut outbox = Outbox::new(true);
        outbox.parted(3, |out| out.put_slice(b"own"), &Bytes::from_static(b"rest"));
        let bytes = whole(&outbox);
        assert_eq!(bytes[0], 1);
        let mut plain = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&bytes[PREFIX_BYTES..]);
        std::io::Read::read_to_end(&mut reader, &mut plain).expect("valid gzip");
        assert_eq!(plain, b"ownrest");
    }
}
