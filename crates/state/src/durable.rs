//! What of the state is durable: the keys in the files of the store, and the small tables in one
//! file beside them, of the same applied entry.
//!
//! Format of the tables, numbers big-endian:
//! * `TENETST1`, eight bytes;
//! * one frame per entry: length of what follows the two numbers (u32), its CRC-32C (u32), then
//!   bucket (u8), length of the key (u32), key, value;
//! * one frame that ends them: bucket 0 and the number of frames before it (u64).
//!
//! Entries are those of etcd's buckets (see the tables), leases before the keys on them. They are
//! written whole at each cut: a cut is made only once the log has grown by twice their size.

use crate::state::{Config, State};
use crate::tables::{APPLIED, Bucket, TERM, Tables, compaction_entries};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use std::sync::Arc;
use tenet_base::disk::{DiskError, DiskView, FilePath};
use tenet_base::{crc, limits};
use tenet_mvcc::{Mvcc, View};
use tenet_store::{Done, Job, Opened, ReadError, ScrubStep, Scrubbed};

const MAGIC: &[u8; 8] = b"TENETST1";
const END: u8 = 0;
/// Entries are put together into chunks of at least this.
const CHUNK_BYTES: usize = 64 * 1024;

/// Why a state cannot be recovered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// A file of the keys cannot be read, or is damaged.
    #[error(transparent)]
    Keys(#[from] ReadError),
    /// The tables cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Not the tables, or of another format.
    #[error("{path} does not begin with {}: another version of this program wrote it", MAGIC.escape_ascii())]
    NotTables {
        /// The file.
        path: FilePath,
    },
    /// A byte is wrong or missing in the tables.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The file.
        path: FilePath,
        /// Where the damage was seen, in bytes from the start.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// Keys and small tables are not of the same moment.
    #[error("{path} holds tables of entry {tables}, but the keys are of entry {keys}")]
    Mixed {
        /// The file of the tables.
        path: FilePath,
        /// The entry that the tables stand for.
        tables: u64,
        /// The entry that the keys stand for.
        keys: u64,
    },
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
    /// Publishes, and begins to make what was published durable.
    ///
    /// # Panics
    /// If a job on the files is under way.
    pub fn flush(&mut self, with_index: bool) -> Job {
        self.publish();
        let tables = chunks(&self.tables);
        self.tables_bytes = tables.iter().map(|chunk| chunk.len() as u64).sum();
        self.mvcc.flush(Box::new(tables.into_iter()), with_index)
    }

    /// Makes the first flush of this state, which came as a snapshot, take the place of the files of
    /// `other`, which must not begin another job.
    ///
    /// # Panics
    /// If this state is durable already, or the other has a job under way.
    pub fn supersede(&mut self, other: &State) {
        self.mvcc.supersede(&other.mvcc);
    }

    /// Begins to give back room that compactions have set free, if there is much and it may be.
    pub fn rewrite(&mut self) -> Option<Job> {
        self.mvcc.rewrite()
    }

    /// Takes over what a job has done and publishes it.
    pub fn finished(&mut self, done: Done) {
        self.mvcc.finished(done);
        self.publish();
    }

    /// A job was given up: everything is as it was before.
    pub fn given_up(&mut self) {
        self.mvcc.given_up();
    }

    /// The next piece of the scrub of all files; `None` at the end of a pass, or if a job is under
    /// way.
    pub fn scrub(&mut self) -> Option<ScrubStep> {
        self.mvcc.scrub()
    }

    /// Takes over what a piece of the scrub found. Says whether values are lost that somebody
    /// could ask for.
    pub fn scrubbed(&mut self, found: &Scrubbed) -> bool {
        self.mvcc.scrubbed(found)
    }

    /// Somebody asked for room to be given back, or nobody does any more.
    pub fn set_hurry(&mut self, hurry: bool) {
        self.mvcc.set_hurry(hurry);
    }

    /// There is this much free space for files.
    pub fn set_free_bytes(&mut self, bytes: u64) {
        self.mvcc.set_free_bytes(bytes);
    }

    /// Bytes of the small tables when they were last written.
    #[must_use]
    pub fn tables_bytes(&self) -> u64 {
        self.tables_bytes
    }

    /// The state at the cut of a store.
    ///
    /// # Errors
    /// If a byte is wrong or missing in any of its files.
    pub fn recover(
        config: Config,
        disk: &dyn DiskView,
        opened: Opened,
    ) -> Result<State, RecoverError> {
        let path = opened.tables.clone();
        let mut source = Source {
            path: &path,
            // The length is the manifest's, and was compared when the store was opened.
            bytes: disk.read_at(&path, 0, opened.manifest.tables.bytes as usize)?,
            offset: 0,
        };
        let tables = read_tables(&config, &mut source)?;
        let cut = opened.manifest.cut;
        if (tables.applied, tables.term) != (cut.applied, cut.term) {
            return Err(RecoverError::Mixed {
                path,
                tables: tables.applied.get(),
                keys: cut.applied.get(),
            });
        }
        let mvcc = Mvcc::recover(disk, opened)?;
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

fn read_tables(config: &Config, source: &mut Source<'_>) -> Result<Tables, RecoverError> {
    if source.take(MAGIC.len())? != MAGIC[..] {
        let path = source.path.clone();
        return Err(RecoverError::NotTables { path });
    }
    let mut tables = Tables::new(config);
    let mut frames: u64 = 0;
    loop {
        let offset = source.offset;
        let frame = read_frame(source)?;
        let damaged = |reason: String| source.damaged(offset, reason);
        if frame.bucket == END {
            if *frame.value != frames.to_be_bytes() || !source.bytes.is_empty() {
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

fn read_frame(source: &mut Source<'_>) -> Result<Frame, RecoverError> {
    let offset = source.offset;
    let mut head = source.take(8)?;
    let (len, sum) = (head.get_u32() as usize, head.get_u32());
    // What an entry holds came in one record of the log.
    if !(5..=limits::WAL_RECORD_BYTES_MAX as usize).contains(&len) {
        return Err(source.damaged(offset, "the length of an entry is out of bounds"));
    }
    let mut body = source.take(len)?;
    if crc::crc32c(&body) != sum {
        return Err(source.damaged(offset, "the checksum of an entry does not match"));
    }
    let (bucket, key_len) = (body.get_u8(), body.get_u32() as usize);
    if key_len > body.len() {
        return Err(source.damaged(offset, "the key of an entry is longer than the entry"));
    }
    let key = body.split_to(key_len);
    Ok(Frame {
        bucket,
        key,
        value: body,
    })
}

/// The bytes of the tables that are still to be read.
struct Source<'a> {
    path: &'a FilePath,
    bytes: Bytes,
    offset: u64,
}

impl Source<'_> {
    fn take(&mut self, len: usize) -> Result<Bytes, RecoverError> {
        if self.bytes.len() < len {
            let end = self.offset + self.bytes.len() as u64;
            return Err(self.damaged(end, "it ends here, in the middle of an entry"));
        }
        self.offset += len as u64;
        Ok(self.bytes.split_to(len))
    }

    fn damaged(&self, offset: u64, reason: impl Into<String>) -> RecoverError {
        RecoverError::Damaged {
            path: self.path.clone(),
            offset,
            reason: reason.into(),
        }
    }
}
