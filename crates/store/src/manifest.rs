//! The manifest: which files make up the store, and the cut at which they are complete.
//!
//! It is one small file, `MANIFEST`, written anew under another name for each change, synced, and
//! renamed. So a change is there whole or not at all, whatever it adds and takes away.
//!
//! ```text
//! magic (8 bytes, names format and version) | cluster id u64 | member id u64 | next file id u64
//! cut: applied index u64 | term u64 | revision i64 | compact revision i64 (-1: never)
//! tables: file id u64 | length u64 | crc of its bytes u32
//! index: file id u64 | length u64 | crc of its bytes u32 | revision i64 up to which it goes
//! number of segments u64, then for each: file id u64 | length u64 | records u64 | footer's crc u32
//! CRC-32C of all before u32
//! ```
//! Numbers are little-endian. Segments stand in revision order.

use crate::file::{self, FileId, FileKind, SegmentMeta};
use crate::{OpenError, ReadError};
use bytes::{BufMut as _, Bytes, BytesMut};
use tenet_base::disk::{DiskOp, DiskView, FilePath};
use tenet_base::{ClusterId, Index, MemberId, Revision, Term, crc, limits};

const MAGIC: [u8; 8] = *b"TENETMF\x02";
const NAME: &str = "MANIFEST";
const TEMPORARY: &str = "MANIFEST.tmp";
const SEGMENT_BYTES: usize = 28;
/// Stands for no file.
pub(crate) const NO_FILE: FileId = FileId(0);

/// The state that the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The last entry whose effects are in them.
    pub applied: Index,
    /// Its term.
    pub term: Term,
    /// The revision after it.
    pub revision: Revision,
    /// The compact revision after it; `None` if never compacted.
    pub compacted: Option<Revision>,
}

/// A file of opaque bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SideFile {
    /// Its number.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32C of its bytes.
    pub crc: u32,
}

/// The index as of an earlier cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexFile {
    /// The file.
    pub file: SideFile,
    /// Records above this revision are not in it.
    pub revision: Revision,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose store it is.
    pub cluster: ClusterId,
    /// Whose store it is.
    pub member: MemberId,
    /// The number of the next file.
    pub next_file: FileId,
    /// The cut.
    pub cut: Cut,
    /// The cut came as a snapshot of the leader, and the log may not know of it yet: it need not
    /// reach the cut.
    pub received: bool,
    /// The small tables at the cut.
    pub tables: SideFile,
    /// The index.
    pub index: IndexFile,
    /// The segments, in revision order.
    pub segments: Vec<SegmentMeta>,
}

impl Manifest {
    /// The manifest of a store without files, before its first flush.
    pub(crate) fn empty(cluster: ClusterId, member: MemberId) -> Manifest {
        let none = SideFile {
            id: NO_FILE,
            bytes: 0,
            crc: 0,
        };
        Manifest {
            cluster,
            member,
            next_file: FileId(NO_FILE.0 + 1),
            cut: Cut {
                applied: Index::ZERO,
                term: Term::ZERO,
                revision: Revision(1),
                compacted: None,
            },
            received: false,
            tables: none,
            index: IndexFile {
                file: none,
                revision: Revision(1),
            },
            segments: Vec::new(),
        }
    }

    /// Takes the number for a new file.
    pub(crate) fn take_id(&mut self) -> FileId {
        let id = self.next_file;
        self.next_file = FileId(id.0 + 1);
        id
    }

    fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256 + self.segments.len() * SEGMENT_BYTES);
        out.put_slice(&MAGIC);
        out.put_u64_le(self.cluster.get());
        out.put_u64_le(self.member.get());
        out.put_u64_le(self.next_file.0);
        out.put_u64_le(self.cut.applied.get());
        out.put_u64_le(self.cut.term.get());
        out.put_i64_le(self.cut.revision.get());
        out.put_i64_le(self.cut.compacted.map_or(-1, Revision::get));
        out.put_u64_le(self.received.into());
        for side in [self.tables, self.index.file] {
            out.put_u64_le(side.id.0);
            out.put_u64_le(side.bytes);
            out.put_u32_le(side.crc);
        }
        out.put_i64_le(self.index.revision.get());
        out.put_u64_le(self.segments.len() as u64);
        for segment in &self.segments {
            out.put_u64_le(segment.id.0);
            out.put_u64_le(segment.bytes);
            out.put_u64_le(segment.records);
            out.put_u32_le(segment.footer_crc);
        }
        let sum = crc::crc32c(&out);
        out.put_u32_le(sum);
        out.freeze()
    }

    /// Its length in its file.
    pub(crate) fn encoded_bytes(&self) -> u64 {
        self.encode().len() as u64
    }

    /// The path of a store's manifest.
    pub(crate) fn path(dir: &FilePath) -> FilePath {
        dir.join(NAME)
    }

    /// What writes this manifest beside the one before. All files that it names must have been
    /// synced; their names are made durable first.
    pub(crate) fn write(&self, dir: &FilePath) -> Vec<DiskOp> {
        let temporary = dir.join(TEMPORARY);
        vec![
            DiskOp::SyncDir { path: dir.clone() },
            DiskOp::Create {
                path: temporary.clone(),
                reserve_bytes: 0,
            },
            DiskOp::Write {
                path: temporary.clone(),
                offset: 0,
                data: self.encode(),
            },
            DiskOp::SyncData {
                path: temporary.clone(),
            },
            DiskOp::Close { path: temporary },
        ]
    }

    /// What puts a manifest that was written in the place of the one before. It is durable once
    /// the directory is synced.
    pub(crate) fn put_in_place(dir: &FilePath) -> DiskOp {
        DiskOp::Rename {
            from: dir.join(TEMPORARY),
            to: dir.join(NAME),
        }
    }

    /// Bytes of the files beside the segments.
    #[must_use]
    pub fn side_bytes(&self) -> u64 {
        self.tables.bytes + self.index.file.bytes
    }

    /// The files that it names.
    pub(crate) fn files(&self) -> impl Iterator<Item = (FileKind, FileId)> + '_ {
        let segments = self.segments.iter();
        let segments = segments.map(|segment| (FileKind::Segment, segment.id));
        let sides = [
            (FileKind::Tables, self.tables.id),
            (FileKind::Index, self.index.file.id),
        ];
        segments.chain(sides).filter(|(_, id)| *id != NO_FILE)
    }

    /// Reads the manifest of a store. `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read or is not what was written.
    pub fn read(view: &dyn DiskView, dir: &FilePath) -> Result<Option<Manifest>, OpenError> {
        let path = dir.join(NAME);
        let Some(len) = view.len(&path).map_err(ReadError::from)? else {
            return Ok(None);
        };
        if len > limits::STORE_MANIFEST_BYTES_MAX {
            let reason = format!("it has {len} bytes, more than any manifest");
            return Err(ReadError::damaged(&path, 0, reason).into());
        }
        let bytes = view
            .read_at(&path, 0, len as usize)
            .map_err(ReadError::from)?;
        if bytes.len() >= 8 && bytes[..7] == MAGIC[..7] && bytes[7] != MAGIC[7] {
            let (version, known) = (bytes[7], MAGIC[7]);
            return Err(if version > known {
                OpenError::Newer {
                    path,
                    version,
                    known,
                }
            } else {
                OpenError::Older {
                    path,
                    version,
                    known,
                }
            });
        }
        match decode(&bytes) {
            Some(manifest) => Ok(Some(manifest)),
            None => {
                let reason = "it is not what was written: its checksum or form is wrong";
                Err(ReadError::damaged(&path, 0, reason).into())
            }
        }
    }
}

fn decode(bytes: &[u8]) -> Option<Manifest> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    if crc::crc32c(body) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = Rest(body.strip_prefix(&MAGIC)?);
    let cluster = ClusterId(rest.u64()?);
    let member = MemberId(rest.u64()?);
    let next_file = FileId(rest.u64()?);
    let cut = Cut {
        applied: Index(rest.u64()?),
        term: Term(rest.u64()?),
        revision: Revision(rest.u64()? as i64),
        compacted: Some(Revision(rest.u64()? as i64)).filter(|at| at.get() >= 0),
    };
    let received = match rest.u64()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let tables = rest.side()?;
    let index = IndexFile {
        file: rest.side()?,
        revision: Revision(rest.u64()? as i64),
    };
    let count = rest.u64()?;
    let rest = rest.0;
    let mut segments = Vec::new();
    for entry in rest.chunks(SEGMENT_BYTES) {
        let at = |from: usize| {
            Some(u64::from_le_bytes(
                entry.get(from..from + 8)?.try_into().ok()?,
            ))
        };
        segments.push(SegmentMeta {
            id: FileId(at(0)?),
            bytes: at(8)?,
            records: at(16)?,
            footer_crc: u32::from_le_bytes(entry.get(24..28)?.try_into().ok()?),
        });
    }
    let manifest = Manifest {
        cluster,
        member,
        next_file,
        cut,
        received,
        tables,
        index,
        segments,
    };
    let numbered = manifest.files().all(|(_, id)| id < next_file);
    let sane = count == manifest.segments.len() as u64 && cut.revision.get() >= 1 && numbered;
    sane.then_some(manifest)
}

/// What of a manifest is still to be decoded.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn u64(&mut self) -> Option<u64> {
        let (first, after) = self.0.split_first_chunk::<8>()?;
        self.0 = after;
        Some(u64::from_le_bytes(*first))
    }

    fn u32(&mut self) -> Option<u32> {
        let (first, after) = self.0.split_first_chunk::<4>()?;
        self.0 = after;
        Some(u32::from_le_bytes(*first))
    }

    fn side(&mut self) -> Option<SideFile> {
        Some(SideFile {
            id: FileId(self.u64()?),
            bytes: self.u64()?,
            crc: self.u32()?,
        })
    }
}

/// Files of the store's kinds in its directory that the manifest does not name: what a flush left
/// that did not come to its end.
pub(crate) fn strays(
    view: &dyn DiskView,
    dir: &FilePath,
    manifest: Option<&Manifest>,
) -> Result<Vec<FilePath>, ReadError> {
    let names = view.list(dir)?.unwrap_or_default();
    let named =
        |kind, id| manifest.is_some_and(|manifest| manifest.files().any(|file| file == (kind, id)));
    let stray = |name: &String| match file::parse_name(name) {
        Some((kind, id)) => !named(kind, id),
        None => name == TEMPORARY,
    };
    Ok(names
        .iter()
        .filter(|name| stray(name))
        .map(|name| dir.join(name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let side = |id| SideFile {
            id: FileId(id),
            bytes: 100 + id,
            crc: 7,
        };
        let segment = |id| SegmentMeta {
            id: FileId(id),
            bytes: 1_000,
            records: 7,
            footer_crc: 0xdead_beef,
        };
        Manifest {
            cluster: ClusterId(1),
            member: MemberId(2),
            next_file: FileId(9),
            cut: Cut {
                applied: Index(10),
                term: Term(3),
                revision: Revision(8),
                compacted: None,
            },
            received: true,
            tables: side(7),
            index: IndexFile {
                file: side(8),
                revision: Revision(5),
            },
            segments: vec![segment(3), segment(6)],
        }
    }

    #[test]
    fn a_manifest_comes_back() {
        let mut manifest = manifest();
        assert_eq!(decode(&manifest.encode()), Some(manifest.clone()));
        manifest.cut.compacted = Some(Revision(4));
        manifest.segments.clear();
        assert_eq!(decode(&manifest.encode()), Some(manifest));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_goes_unseen() {
        let bytes = manifest().encode();
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged), None, "bit {bit} of byte {at}");
            }
        }
    }
}
