//! The whole state as a stream of bytes, and back.
//!
//! Format, numbers big-endian:
//! * `TENETST1`, eight bytes;
//! * one frame per entry of a small table: length of what follows the two numbers (u32), its
//!   CRC-32C (u32), then bucket (u8), length of the key (u32), key, value;
//! * one frame that ends them: bucket 0 and the number of frames before it (u64);
//! * the checkpoint of the keys, to the end.
//!
//! Entries are those of etcd's buckets (see the tables), leases before the keys on them, and are
//! of the same applied entry as the keys.

use crate::state::{Config, State};
use crate::tables::{APPLIED, Bucket, TERM, Tables, compaction_entries};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::sync::Arc;
use tenet_base::{crc, limits};
use tenet_mvcc::{CheckpointError, CheckpointWriter, Mvcc, View};

const MAGIC: &[u8; 8] = b"TENETST1";
const END: u8 = 0;
/// Entries are put together into chunks of at least this.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why a checkpoint cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not a checkpoint, or of another format.
    #[error("checkpoint does not begin with {}: it is not one, or another version of this program wrote it", MAGIC.escape_ascii())]
    NotACheckpoint,
    /// A byte is wrong or missing in the small tables.
    #[error("checkpoint damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where the damage was seen, in bytes from the start.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// A byte is wrong or missing in the keys.
    #[error("keys of the checkpoint, from byte {offset} on: {error}")]
    Keys {
        /// Where the keys begin, in bytes from the start.
        offset: u64,
        /// What is wrong with them.
        error: CheckpointError,
    },
    /// Keys and small tables are not of the same moment.
    #[error("checkpoint holds tables of entry {tables} and keys of entry {keys}")]
    Mixed {
        /// The entry that the tables stand for.
        tables: u64,
        /// The entry that the keys stand for.
        keys: u64,
    },
}

/// A checkpoint as chunks of bytes. Holds an immutable view: applying goes on meanwhile.
#[derive(Debug)]
pub struct Checkpoint {
    tables: std::vec::IntoIter<Bytes>,
    keys: CheckpointWriter,
}

impl Iterator for Checkpoint {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.tables.next().or_else(|| self.keys.next())
    }
}

/// The hash over everything, to be finished on a thread that may be busy for long.
#[derive(Debug)]
pub struct HashJob {
    before_keys: u32,
    keys: Arc<View>,
    after_keys: u32,
    after_keys_len: usize,
}

impl HashJob {
    /// Reads all keys and gives the hash.
    #[must_use]
    pub fn run(&self) -> u32 {
        let crc = self.keys.hash_all(self.before_keys);
        crc::combine(crc, self.after_keys, self.after_keys_len)
    }
}

impl State {
    /// Publishes and begins a checkpoint of what was published.
    pub fn checkpoint(&mut self) -> Checkpoint {
        self.publish();
        Checkpoint {
            tables: chunks(&self.tables).into_iter(),
            keys: self.mvcc.checkpoint(),
        }
    }

    /// Restores a checkpoint, whose bytes may be cut into `chunks` anywhere.
    ///
    /// # Errors
    /// If a byte is wrong or missing.
    pub fn restore<C: AsRef<[u8]>>(
        config: Config,
        chunks: impl IntoIterator<Item = C>,
    ) -> Result<State, RestoreError> {
        let mut source = Source {
            chunks: chunks.into_iter(),
            buffer: BytesMut::new(),
            offset: 0,
        };
        let tables = read_tables(&config, &mut source)?;
        let offset = source.offset;
        let mvcc =
            Mvcc::restore(source.rest()).map_err(|error| RestoreError::Keys { offset, error })?;
        let keys = mvcc.views().load().applied();
        if keys != tables.applied {
            return Err(RestoreError::Mixed {
                tables: tables.applied.get(),
                keys: keys.get(),
            });
        }
        Ok(State::of(config, mvcc, tables))
    }

    /// Publishes and begins the hash that etcd's Maintenance.Hash gives: over every bucket but
    /// what differs between members by nature.
    pub fn hash_job(&mut self) -> HashJob {
        self.publish();
        let hashed = |buckets: &[Bucket]| {
            let bytes: Vec<u8> = buckets.iter().flat_map(|b| self.hashed_bytes(*b)).collect();
            (crc::crc32c(&bytes), bytes.len())
        };
        let (before_keys, _) = hashed(&Bucket::BEFORE_KEYS);
        let (after_keys, after_keys_len) = hashed(&Bucket::AFTER_KEYS);
        HashJob {
            before_keys,
            keys: self.mvcc.views().load(),
            after_keys,
            after_keys_len,
        }
    }

    fn hashed_bytes(&self, bucket: Bucket) -> Vec<u8> {
        let mut bytes = bucket.name().as_bytes().to_vec();
        let mut entries = self.tables.entries(bucket);
        if bucket == Bucket::Meta {
            entries.retain(|(key, _)| key != APPLIED && key != TERM);
            entries.extend(compaction_entries(self.mvcc.compact_revision()));
        }
        for (key, value) in entries {
            bytes.extend(key);
            bytes.extend(value);
        }
        bytes
    }
}

fn chunks(tables: &Tables) -> Vec<Bytes> {
    let all = Bucket::BEFORE_KEYS
        .into_iter()
        .chain(Bucket::AFTER_KEYS)
        .chain([Bucket::LeasedKeys]);
    let mut chunks = Vec::new();
    let mut chunk = BytesMut::from(&MAGIC[..]);
    let mut frames: u64 = 0;
    for bucket in all {
        for (key, value) in tables.entries(bucket) {
            put_frame(&mut chunk, bucket as u8, &key, &value);
            frames += 1;
            if chunk.len() >= CHUNK_BYTES {
                chunks.push(chunk.split().freeze());
            }
        }
    }
    put_frame(&mut chunk, END, &[], &frames.to_be_bytes());
    chunks.push(chunk.freeze());
    chunks
}

fn put_frame(out: &mut BytesMut, bucket: u8, key: &[u8], value: &[u8]) {
    let start = out.len();
    let key_len = u32::try_from(key.len()).expect("keys are limited");
    let len = u32::try_from(5 + key.len() + value.len()).expect("entries are limited");
    out.put_u32(len);
    out.put_u32(0);
    out.put_u8(bucket);
    out.put_u32(key_len);
    out.put_slice(key);
    out.put_slice(value);
    let sum = crc::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&sum.to_be_bytes());
}

fn read_tables<C: AsRef<[u8]>>(
    config: &Config,
    source: &mut Source<impl Iterator<Item = C>>,
) -> Result<Tables, RestoreError> {
    if source.take(MAGIC.len())? != MAGIC[..] {
        return Err(RestoreError::NotACheckpoint);
    }
    let mut tables = Tables::new(config);
    let mut frames: u64 = 0;
    loop {
        let offset = source.offset;
        let damaged = |reason: String| RestoreError::Damaged { offset, reason };
        let frame = read_frame(source)?;
        if frame.bucket == END {
            if *frame.value != frames.to_be_bytes() {
                return Err(damaged(format!(
                    "{frames} entries were read, another number is due"
                )));
            }
            return Ok(tables);
        }
        let bucket = Bucket::from_number(frame.bucket)
            .ok_or_else(|| damaged(format!("there is no table {}", frame.bucket)))?;
        let restored = tables.restore(bucket, &frame.key, &frame.value);
        restored.map_err(damaged)?;
        frames += 1;
    }
}

struct Frame {
    bucket: u8,
    key: Bytes,
    value: Bytes,
}

fn read_frame<C: AsRef<[u8]>>(
    source: &mut Source<impl Iterator<Item = C>>,
) -> Result<Frame, RestoreError> {
    let offset = source.offset;
    let damaged = |reason: &str| RestoreError::Damaged {
        offset,
        reason: reason.to_owned(),
    };
    let mut head = source.take(8)?;
    let (len, sum) = (head.get_u32() as usize, head.get_u32());
    // What an entry holds came in one record of the log.
    if !(5..=limits::WAL_RECORD_BYTES_MAX as usize).contains(&len) {
        return Err(damaged("the length of an entry is out of bounds"));
    }
    let mut body = source.take(len)?;
    if crc::crc32c(&body) != sum {
        return Err(damaged("the checksum of an entry does not match"));
    }
    let (bucket, key_len) = (body.get_u8(), body.get_u32() as usize);
    if key_len > body.len() {
        return Err(damaged("the key of an entry is longer than the entry"));
    }
    let key = body.split_to(key_len);
    Ok(Frame {
        bucket,
        key,
        value: body,
    })
}

/// Bytes out of chunks.
struct Source<I> {
    chunks: I,
    buffer: BytesMut,
    offset: u64,
}

impl<C: AsRef<[u8]>, I: Iterator<Item = C>> Source<I> {
    /// The next `len` bytes. Never holds more than these and one chunk.
    fn take(&mut self, len: usize) -> Result<Bytes, RestoreError> {
        while self.buffer.len() < len {
            let Some(chunk) = self.chunks.next() else {
                return Err(RestoreError::Damaged {
                    offset: self.offset + self.buffer.len() as u64,
                    reason: "it ends here, in the middle of a table".to_owned(),
                });
            };
            self.buffer.extend_from_slice(chunk.as_ref());
        }
        self.offset += len as u64;
        Ok(self.buffer.split_to(len).freeze())
    }

    /// What is left.
    fn rest(self) -> impl Iterator<Item = Rest<C>> {
        let buffered = Rest::Buffered(self.buffer.freeze());
        std::iter::once(buffered).chain(self.chunks.map(Rest::Chunk))
    }
}

enum Rest<C> {
    Buffered(Bytes),
    Chunk(C),
}

impl<C: AsRef<[u8]>> AsRef<[u8]> for Rest<C> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Rest::Buffered(bytes) => bytes,
            Rest::Chunk(chunk) => chunk.as_ref(),
        }
    }
}
