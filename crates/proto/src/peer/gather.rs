//! Puts parts of a known length together from pieces of any length.
//!
//! A part that lies inside of one piece is not copied.

use bytes::{Bytes, BytesMut};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// The beginning of a part that is not complete.
    partial: BytesMut,
    /// What has arrived behind it.
    input: Bytes,
}

impl Gather {
    /// Adds a piece. The one before must have been used up: [`Gather::take`] has said `None`.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.input.is_empty() {
            self.input = piece;
        } else {
            // A caller that adds pieces without asking for parts pays for it with a copy.
            let rest = std::mem::replace(&mut self.input, piece);
            let mut joined = BytesMut::with_capacity(rest.len() + self.input.len());
            joined.extend_from_slice(&rest);
            joined.extend_from_slice(&self.input);
            self.input = joined.freeze();
        }
    }

    /// The next `len` bytes, or `None` until they have all arrived; then it must be asked again
    /// with the same length.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.partial.is_empty() && self.input.len() >= len {
            return Some(self.input.split_to(len));
        }
        assert!(
            self.partial.len() <= len,
            "{} bytes were gathered for a part of {len}: the caller changed its mind",
            self.partial.len()
        );
        let missing = len - self.partial.len();
        let arrived = self.input.split_to(missing.min(self.input.len()));
        self.partial.extend_from_slice(&arrived);
        (self.partial.len() == len).then(|| std::mem::take(&mut self.partial).freeze())
    }

    /// The next 8 bytes as a number.
    pub(super) fn take_u64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_be_bytes(
            bytes[..].try_into().expect("8 bytes were asked for"),
        ))
    }

    /// What has arrived behind the last part, all of it.
    pub(super) fn rest(&mut self) -> Bytes {
        assert!(self.partial.is_empty(), "a part is being gathered");
        std::mem::take(&mut self.input)
    }

    /// Bytes that are held and not given out.
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.len() + self.input.len()
    }
}
