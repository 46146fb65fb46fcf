//! The file of a segment.
//!
//! ```text
//! header     magic (8 bytes, names format and version) | file id u64 | zeros (12) | crc u32
//! data       the records' bytes, one after the other, in revision order
//! directory  for each record: main v (distance from the one before, the first from zero) |
//!            sub * 2 + tombstone v | length v | CRC-32C of its bytes u32
//! footer     file id u64 | directory's offset u64 | its length u64 | number of records u64 |
//!            crc of the directory u32 | crc of the footer before it u32 | magic (8 bytes)
//! ```
//! Fixed numbers are little-endian, `v` is protobuf's varint, checksums are CRC-32C. So every
//! byte is under a checksum: a record's under its own, which the directory holds. A file is
//! written once, from its start to its end, and never changed.

use crate::directory::{Directory, DirectoryBuilder};
use crate::segment::Record;
use crate::{ReadError, Rev, varint};
use bytes::{BufMut as _, Bytes, BytesMut};
use std::fmt;
use tenet_base::crc;
use tenet_base::disk::{DiskOp, DiskView, FilePath};

/// The number of a file of the store; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a file of the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Records.
    Segment,
    /// The small tables at a cut.
    Tables,
    /// The index at a cut.
    Index,
}

impl FileKind {
    const ALL: [FileKind; 3] = [FileKind::Segment, FileKind::Tables, FileKind::Index];

    fn ending(self) -> &'static str {
        match self {
            FileKind::Segment => "segment",
            FileKind::Tables => "tables",
            FileKind::Index => "index",
        }
    }
}

/// The path of a file of the store.
#[must_use]
pub fn path(dir: &FilePath, kind: FileKind, id: FileId) -> FilePath {
    dir.join(&format!("{id}.{}", kind.ending()))
}

/// What a name says, if it is one of the store's.
pub(crate) fn parse_name(name: &str) -> Option<(FileKind, FileId)> {
    let (digits, ending) = name.split_once('.')?;
    let kind = FileKind::ALL
        .into_iter()
        .find(|kind| kind.ending() == ending)?;
    let id = FileId(u64::from_str_radix(digits, 16).ok()?);
    (id.to_string() == digits).then_some((kind, id))
}

pub(crate) const HEADER_BYTES: u64 = 32;
const FOOTER_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"TENETSG\x01";
/// Bytes that are gathered for one write.
const PIECE_BYTES: usize = 256 * 1024;

/// What the manifest keeps of a segment's file, to tell it from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Its number.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
    /// How many records it has.
    pub records: u64,
    /// The checksum of its footer.
    pub footer_crc: u32,
}

/// A file in the making.
#[derive(Debug)]
pub(crate) struct FileWriter {
    id: FileId,
    path: FilePath,
    /// Where the next piece goes.
    offset: u64,
    piece: BytesMut,
    /// The directory as it is kept and as it is written.
    directory: DirectoryBuilder,
    encoded: Vec<u8>,
    before: i64,
}

impl FileWriter {
    pub(crate) fn new(dir: &FilePath, id: FileId) -> FileWriter {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES * 5 / 4);
        piece.put_slice(&header(id));
        FileWriter {
            id,
            path: path(dir, FileKind::Segment, id),
            offset: 0,
            piece,
            directory: DirectoryBuilder::default(),
            encoded: Vec::new(),
            before: 0,
        }
    }

    /// The operation that the file begins with.
    pub(crate) fn create(&self) -> DiskOp {
        DiskOp::Create {
            path: self.path.clone(),
            reserve_bytes: 0,
        }
    }

    pub(crate) fn path(&self) -> &FilePath {
        &self.path
    }

    pub(crate) fn push(&mut self, record: &Record) {
        self.piece.put_slice(&record.data);
        let end = self.directory.end() + record.data.len();
        self.directory
            .push(record.rev, record.tombstone, end, record.crc);
        let distance = (record.rev.main - self.before) as u64;
        varint::put(&mut self.encoded, distance);
        let sub = u64::from(record.rev.sub) << 1 | u64::from(record.tombstone);
        varint::put(&mut self.encoded, sub);
        varint::put(&mut self.encoded, record.data.len() as u64);
        self.encoded.put_u32_le(record.crc);
        self.before = record.rev.main;
    }

    /// Whether enough has come together for a write.
    pub(crate) fn is_full(&self) -> bool {
        self.piece.len() >= PIECE_BYTES
    }

    /// Writes what has come together.
    pub(crate) fn write(&mut self) -> DiskOp {
        let data = self.piece.split().freeze();
        let offset = self.offset;
        self.offset += data.len() as u64;
        DiskOp::Write {
            path: self.path.clone(),
            offset,
            data,
        }
    }

    /// Ends the file: what is still to be written and synced, and what was made. `None` if it has
    /// no records.
    pub(crate) fn finish(mut self) -> Option<(Vec<DiskOp>, SegmentMeta, Directory)> {
        let directory = self.directory.cut()?;
        let directory_offset = self.offset + self.piece.len() as u64;
        self.piece.put_slice(&self.encoded);
        let footer = footer(
            self.id,
            directory_offset,
            self.encoded.len() as u64,
            directory.len() as u64,
            crc::crc32c(&self.encoded),
        );
        let meta = SegmentMeta {
            id: self.id,
            bytes: directory_offset + (self.encoded.len() + FOOTER_BYTES) as u64,
            records: directory.len() as u64,
            footer_crc: crc::crc32c(&footer[..36]),
        };
        self.piece.put_slice(&footer);
        let write = self.write();
        let path = self.path;
        let ops = vec![
            write,
            DiskOp::SyncData { path: path.clone() },
            DiskOp::Close { path },
        ];
        Some((ops, meta, directory))
    }
}

fn header(id: FileId) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&id.0.to_le_bytes());
    let sum = crc::crc32c(&header[..28]);
    header[28..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn footer(
    id: FileId,
    directory_offset: u64,
    directory_len: u64,
    records: u64,
    directory_crc: u32,
) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    for (at, number) in [id.0, directory_offset, directory_len, records]
        .into_iter()
        .enumerate()
    {
        footer[8 * at..8 * at + 8].copy_from_slice(&number.to_le_bytes());
    }
    footer[32..36].copy_from_slice(&directory_crc.to_le_bytes());
    let sum = crc::crc32c(&footer[..36]);
    footer[36..40].copy_from_slice(&sum.to_le_bytes());
    footer[40..].copy_from_slice(&MAGIC);
    footer
}

/// Reads the directory of a file that must be the one that `meta` tells of.
pub(crate) fn read_directory(
    view: &dyn DiskView,
    dir: &FilePath,
    meta: &SegmentMeta,
) -> Result<Directory, ReadError> {
    let path = path(dir, FileKind::Segment, meta.id);
    let damaged = |offset: u64, reason: &str| ReadError::damaged(&path, offset, reason);
    let len = view.len(&path)?;
    let Some(len) = len else {
        return Err(damaged(0, "the file is gone, but the manifest names it"));
    };
    if len != meta.bytes || len < HEADER_BYTES + FOOTER_BYTES as u64 {
        let reason = format!("the file has {len} bytes, the manifest says {}", meta.bytes);
        return Err(damaged(len.min(meta.bytes), &reason));
    }
    if view.read_at(&path, 0, HEADER_BYTES as usize)? != header(meta.id)[..] {
        return Err(damaged(0, "its header is not that of this file"));
    }
    let at = len - FOOTER_BYTES as u64;
    let found = view.read_at(&path, at, FOOTER_BYTES)?;
    let number = |from: usize| {
        let bytes = found
            .get(from..from + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let (offset, directory_len, records) = (number(8), number(16), number(24));
    let sum = (number(32) & u64::from(u32::MAX)) as u32;
    let expected = footer(meta.id, offset, directory_len, records, sum);
    let footer_crc = crc::crc32c(&expected[..36]);
    if found != expected[..] || footer_crc != meta.footer_crc || records != meta.records {
        return Err(damaged(at, "its footer is not the one that was written"));
    }
    if offset < HEADER_BYTES || offset.checked_add(directory_len) != Some(at) {
        return Err(damaged(at, "its directory is not where the footer says"));
    }
    let encoded = view.read_at(&path, offset, directory_len as usize)?;
    if crc::crc32c(&encoded) != sum {
        return Err(damaged(
            offset,
            "the checksum of its directory does not match",
        ));
    }
    let data_bytes = offset - HEADER_BYTES;
    decode_directory(&encoded, records, data_bytes)
        .ok_or_else(|| damaged(offset, "its directory cannot be decoded"))
}

fn decode_directory(mut encoded: &[u8], records: u64, data_bytes: u64) -> Option<Directory> {
    // Seven bytes are the least that a record takes: no more room is made than was read.
    let records = usize::try_from(records).ok()?;
    if records > encoded.len() / 7 {
        return None;
    }
    let mut builder = DirectoryBuilder::with_capacity(records);
    let (mut main, mut last) = (0i64, None);
    let mut end = 0u64;
    for _ in 0..records {
        main = main.checked_add(i64::try_from(varint::take(&mut encoded)?).ok()?)?;
        let sub = varint::take(&mut encoded)?;
        end = end.checked_add(varint::take(&mut encoded)?)?;
        let (crc, rest) = encoded.split_first_chunk::<4>()?;
        encoded = rest;
        let rev = Rev::new(main, u32::try_from(sub >> 1).ok()?);
        let fits = rev.sub < 1 << 31 && end <= data_bytes && end <= u64::from(u32::MAX);
        if !fits || last.is_some_and(|last| rev <= last) || !builder.reaches(main) {
            return None;
        }
        builder.push(rev, sub & 1 != 0, end as usize, u32::from_le_bytes(*crc));
        last = Some(rev);
    }
    let whole = encoded.is_empty() && end == data_bytes;
    builder.cut().filter(|_| whole)
}

/// A file of opaque bytes in the making.
pub(crate) struct SideWriter {
    pub(crate) path: FilePath,
    pub(crate) offset: u64,
    /// The checksum of what was given out.
    pub(crate) crc: u32,
    created: bool,
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
}

impl fmt::Debug for SideWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SideWriter")
            .field("path", &self.path)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl SideWriter {
    pub(crate) fn new(path: FilePath, chunks: Box<dyn Iterator<Item = Bytes> + Send>) -> Self {
        SideWriter {
            path,
            offset: 0,
            crc: 0,
            created: false,
            chunks,
        }
    }

    /// The next write, or `None` at the end. Chunks that are empty only stand for time spent.
    pub(crate) fn next(&mut self) -> Option<Vec<DiskOp>> {
        let data = self.chunks.next()?;
        let mut ops = Vec::new();
        if !std::mem::replace(&mut self.created, true) {
            ops.push(DiskOp::Create {
                path: self.path.clone(),
                reserve_bytes: 0,
            });
        }
        let offset = self.offset;
        self.offset += data.len() as u64;
        self.crc = crc::extend(self.crc, &data);
        ops.push(DiskOp::Write {
            path: self.path.clone(),
            offset,
            data,
        });
        Some(ops)
    }

    pub(crate) fn seal(&self) -> Vec<DiskOp> {
        let path = self.path.clone();
        vec![
            DiskOp::SyncData { path: path.clone() },
            DiskOp::Close { path },
        ]
    }
}
