//! etcd's `.snap` files: a raft snapshot behind a checksum.
//!
//! ```text
//! proto2 message {1: crc uint32, 2: data}, data being a raftpb.Snapshot and crc its CRC-32C
//! ```
//!
//! The name holds term and index, so that names sort by age. What the snapshot carries is opaque
//! here.

use crate::frame::{put_varint, read_varint};
use bytes::{BufMut, Bytes, BytesMut};
use tenet_base::disk::{DiskOp, FilePath};
use tenet_base::{Index, Term, crc};
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::Snapshot;

const TAG_CRC: u8 = 0x08;
const TAG_DATA: u8 = 0x12;

/// Why a `.snap` file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapError {
    /// The bytes are not a checksum and a snapshot, or are none at all.
    #[error("the snapshot file is cut short or is no snapshot file: use an older one")]
    Malformed,
    /// The checksum is of other bytes.
    #[error(
        "the snapshot file is damaged (checksum {stored:08x}, of its bytes {computed:08x}): use an older one"
    )]
    Checksum {
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the data.
        computed: u32,
    },
}

/// The contents of the file for `snapshot`.
#[must_use]
pub fn encode(snapshot: &Snapshot) -> Bytes {
    let data = snapshot.encode_to_vec();
    let mut file = BytesMut::with_capacity(data.len() + 16);
    file.put_u8(TAG_CRC);
    put_varint(&mut file, u64::from(crc::crc32c(&data)));
    file.put_u8(TAG_DATA);
    put_varint(&mut file, data.len() as u64);
    file.put_slice(&data);
    file.freeze()
}

/// Reads the contents of a file.
///
/// # Errors
/// If they are damaged.
pub fn decode(file: &[u8]) -> Result<Snapshot, SnapError> {
    let (stored, data) = split(file).ok_or(SnapError::Malformed)?;
    let computed = crc::crc32c(data);
    if stored != computed {
        return Err(SnapError::Checksum { stored, computed });
    }
    Snapshot::decode(data).map_err(|_| SnapError::Malformed)
}

/// The checksum and the data. Both must be there: etcd takes a checksum of zero for an empty file.
fn split(file: &[u8]) -> Option<(u32, &[u8])> {
    let mut at = 1;
    let stored = (*file.first()? == TAG_CRC).then(|| read_varint(file, &mut at))??;
    let stored = u32::try_from(stored).ok().filter(|stored| *stored != 0)?;
    (*file.get(at)? == TAG_DATA).then_some(())?;
    at += 1;
    let len = usize::try_from(read_varint(file, &mut at)?).ok()?;
    let data = file.get(at..)?;
    (data.len() == len && len > 0).then_some((stored, data))
}

/// The name of the file for a snapshot at `index` and `term`.
#[must_use]
pub fn file_name(term: Term, index: Index) -> String {
    format!("{:016x}-{:016x}.snap", term.get(), index.get())
}

/// The operations that make the file for `snapshot` in `dir`, durable when they are done. Returns
/// its path.
pub fn save(dir: &FilePath, snapshot: &Snapshot, ops: &mut Vec<DiskOp>) -> FilePath {
    let path = dir.join(&file_name(Term(snapshot.term()), Index(snapshot.index())));
    ops.extend([
        DiskOp::Create {
            path: path.clone(),
            reserve_bytes: 0,
        },
        DiskOp::Write {
            path: path.clone(),
            offset: 0,
            data: encode(snapshot),
        },
        DiskOp::SyncData { path: path.clone() },
        DiskOp::Close { path: path.clone() },
        DiskOp::SyncDir { path: dir.clone() },
    ]);
    path
}
