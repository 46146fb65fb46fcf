//! Framing of long byte streams: chunks with a kind, a number, a length and a checksum.
//!
//! ```text
//! stream  magic (8 bytes, names format and version), then chunks
//! chunk   kind u8 | number u32 | length u32 | crc u32 | payload (length bytes)
//! ```
//! Numbers are little-endian. Chunks are numbered from zero, so that a missing, doubled or moved
//! one is seen. The checksum is CRC-32C over kind, number, length and payload. The reader holds
//! at most one chunk, and only bytes that have come in.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tenet_base::{crc, limits};

const HEADER_BYTES: usize = 13;

/// Why a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged at byte {offset}: {reason}")]
pub struct ChunkError {
    /// The offset from the start of the stream.
    pub offset: u64,
    /// What is wrong there.
    pub reason: String,
}

impl ChunkError {
    /// An error at `offset`.
    pub fn new(offset: u64, reason: impl Into<String>) -> Self {
        ChunkError {
            offset,
            reason: reason.into(),
        }
    }
}

/// Frames payloads.
#[derive(Debug)]
pub struct ChunkWriter {
    magic: Option<[u8; 8]>,
    number: u32,
}

impl ChunkWriter {
    /// A writer for a stream that begins with `magic`.
    #[must_use]
    pub const fn new(magic: [u8; 8]) -> Self {
        ChunkWriter {
            magic: Some(magic),
            number: 0,
        }
    }

    /// The bytes of the next chunk, behind the magic if it is the first.
    ///
    /// # Panics
    /// If the payload is longer than the reader accepts.
    pub fn frame(&mut self, kind: u8, payload: &[u8]) -> Bytes {
        assert!(
            payload.len() <= limits::CHECKPOINT_CHUNK_BYTES_MAX,
            "chunk of {} bytes, more than {}",
            payload.len(),
            limits::CHECKPOINT_CHUNK_BYTES_MAX
        );
        let mut out = BytesMut::with_capacity(8 + HEADER_BYTES + payload.len());
        if let Some(magic) = self.magic.take() {
            out.put_slice(&magic);
        }
        let mut head = [0; 9];
        head[0] = kind;
        head[1..5].copy_from_slice(&self.number.to_le_bytes());
        head[5..9].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        out.put_slice(&head);
        out.put_u32_le(crc::extend(crc::crc32c(&head), payload));
        out.put_slice(payload);
        self.number += 1;
        out.freeze()
    }
}

/// A chunk of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What the payload is.
    pub kind: u8,
    /// The payload.
    pub payload: Bytes,
    /// Where the payload begins in the stream.
    pub offset: u64,
}

/// Takes a stream apart again, in pieces of any size.
#[derive(Debug)]
pub struct ChunkReader {
    magic: [u8; 8],
    begun: bool,
    buffer: BytesMut,
    /// Where `buffer` begins in the stream.
    offset: u64,
    number: u32,
}

impl ChunkReader {
    /// A reader for a stream that must begin with `magic`.
    #[must_use]
    pub fn new(magic: [u8; 8]) -> Self {
        ChunkReader {
            magic,
            begun: false,
            buffer: BytesMut::new(),
            offset: 0,
            number: 0,
        }
    }

    /// Adds bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where the next chunk begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether there are bytes of an unfinished chunk.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn advance(&mut self, len: usize) {
        self.buffer.advance(len);
        self.offset += len as u64;
    }

    /// The next whole chunk, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the bytes are not what the writer wrote.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ChunkError> {
        if !self.begun {
            let seen = self.buffer.len().min(8);
            if self.buffer[..seen] != self.magic[..seen] {
                let reason = format!(
                    "begins with {:02x?}, not with {:02x?}: another format or version",
                    &self.buffer[..seen],
                    self.magic
                );
                return Err(ChunkError::new(0, reason));
            }
            if seen < 8 {
                return Ok(None);
            }
            self.advance(8);
            self.begun = true;
        }
        let Some(head) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let number_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (kind, number, len, sum) = (head[0], number_at(1), number_at(5) as usize, number_at(9));
        if len > limits::CHECKPOINT_CHUNK_BYTES_MAX {
            let reason = format!("chunk {} claims {len} bytes", self.number);
            return Err(ChunkError::new(self.offset, reason));
        }
        let whole = HEADER_BYTES + len;
        if self.buffer.len() < whole {
            return Ok(None);
        }
        let found = crc::extend(crc::crc32c(&head[..9]), &self.buffer[HEADER_BYTES..whole]);
        if found != sum {
            let reason = format!(
                "chunk {} of {len} bytes has checksum {found:08x}, not {sum:08x} as it says",
                self.number
            );
            return Err(ChunkError::new(self.offset, reason));
        }
        if number != self.number {
            let reason = format!("chunk {number} stands where {} should", self.number);
            return Err(ChunkError::new(self.offset, reason));
        }
        self.number += 1;
        let offset = self.offset + HEADER_BYTES as u64;
        self.offset += whole as u64;
        let mut chunk = self.buffer.split_to(whole);
        chunk.advance(HEADER_BYTES);
        Ok(Some(Chunk {
            kind,
            payload: chunk.freeze(),
            offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: [u8; 8] = *b"TESTING\x01";

    fn stream() -> Vec<u8> {
        let mut writer = ChunkWriter::new(MAGIC);
        let mut out = writer.frame(1, b"first").to_vec();
        out.extend_from_slice(&writer.frame(2, b""));
        out.extend_from_slice(&writer.frame(3, &[7; 100]));
        out
    }

    fn read(stream: &[u8], piece: usize) -> Result<(Vec<Chunk>, bool), ChunkError> {
        let mut reader = ChunkReader::new(MAGIC);
        let mut chunks = Vec::new();
        for bytes in stream.chunks(piece) {
            reader.push(bytes);
            while let Some(chunk) = reader.next_chunk()? {
                chunks.push(chunk);
            }
        }
        Ok((chunks, reader.has_rest()))
    }

    #[test]
    fn chunks_come_back_however_the_stream_is_cut() {
        let stream = stream();
        for piece in [1, 3, 13, 1_000] {
            let (chunks, rest) = read(&stream, piece).expect("intact");
            assert!(!rest);
            let kinds: Vec<u8> = chunks.iter().map(|chunk| chunk.kind).collect();
            assert_eq!(kinds, [1, 2, 3]);
            assert_eq!(&chunks[0].payload[..], b"first");
            for chunk in &chunks {
                let at = chunk.offset as usize;
                assert_eq!(chunk.payload, stream[at..at + chunk.payload.len()]);
            }
        }
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_goes_unseen() {
        let stream = stream();
        for at in 0..stream.len() {
            let mut damaged = stream.clone();
            damaged[at] ^= 0x10;
            // A longer length may make the last chunk look cut off instead.
            let seen = match read(&damaged, 64) {
                Err(error) => error.offset <= at as u64,
                Ok((_, rest)) => rest,
            };
            assert!(seen, "flip at {at}");
            let (chunks, rest) = read(&stream[..at], 64).expect("cut is not damage yet");
            assert!(rest || chunks.len() < 3, "cut at {at}");
        }
    }

    #[test]
    fn chunks_in_another_order_are_refused() {
        let mut writer = ChunkWriter::new(MAGIC);
        let a = writer.frame(1, b"a").to_vec();
        let b = writer.frame(1, b"b");
        let c = writer.frame(1, b"c");
        let moved = [&a[..], &c[..], &b[..]].concat();
        let error = read(&moved, 64).expect_err("moved");
        assert_eq!(error.offset, a.len() as u64);
    }
}
