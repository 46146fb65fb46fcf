//! The bytes of the format, version 2. Numbers are little-endian.
//!
//! ```text
//! page     id u64 | flags u16 | count u16 | overflow u32, then elements, then keys and values
//! meta     magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64
//!          | freelist u64 | end of pages u64 | transaction u64 | FNV-1a of these 56 bytes u64
//! branch   position u32 | key bytes u32 | child u64
//! leaf     flags u32 | position u32 | key bytes u32 | value bytes u32
//! bucket   root u64 | sequence u64, as a leaf's value; root 0: a whole leaf page follows
//! ```
//! A position counts from the beginning of its own element. A page with overflow takes that many
//! further pages behind it. Pages 0 and 1 are meta pages; the valid one of the later transaction
//! counts.

use bytes::Bytes;

/// The size of pages in the files that are written.
pub const PAGE_BYTES: usize = 4096;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const ELEMENT_BYTES: usize = 16;
/// A bucket as the value of a leaf, without a page inside it.
pub(crate) const BUCKET_BYTES: usize = 16;
pub(crate) const META_BYTES: usize = 64;

pub(crate) const BRANCH: u16 = 0x01;
pub(crate) const LEAF: u16 = 0x02;
pub(crate) const META: u16 = 0x04;
pub(crate) const FREELIST: u16 = 0x10;
/// The flag of a leaf's element whose value is a bucket.
pub(crate) const IS_BUCKET: u32 = 1;

/// The longest key and value.
pub(crate) const KEY_BYTES_MAX: usize = 32_768;
pub(crate) const VALUE_BYTES_MAX: usize = (1 << 31) - 2;

/// Page sizes that a reader takes for real.
pub(crate) const PAGE_BYTES_MIN: u32 = 1024;
pub(crate) const PAGE_BYTES_MAX: u32 = 16 * 1024 * 1024;

const MAGIC: u32 = 0xed0c_daed;
const VERSION: u32 = 2;

/// What the first bytes of a page say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) flags: u16,
    pub(crate) count: u16,
    pub(crate) overflow: u32,
}

impl Header {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.overflow.to_le_bytes());
    }

    /// `None` if there are too few bytes.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Header {
            id: fields.u64()?,
            flags: fields.u16()?,
            count: fields.u16()?,
            overflow: fields.u32()?,
        })
    }
}

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_bytes: u32,
    pub(crate) root: u64,
    pub(crate) sequence: u64,
    pub(crate) freelist: u64,
    /// The first page that was never used.
    pub(crate) end: u64,
    pub(crate) transaction: u64,
}

impl Meta {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for number in [MAGIC, VERSION, self.page_bytes, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [
            self.root,
            self.sequence,
            self.freelist,
            self.end,
            self.transaction,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = fnv1a(&out[start..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// `None` if it is not a meta page of this version, or its checksum is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let summed = bytes.get(..META_BYTES - 8)?;
        let mut fields = Fields(bytes);
        if fields.u32()? != MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let page_bytes = fields.u32()?;
        fields.u32()?;
        let meta = Meta {
            page_bytes,
            root: fields.u64()?,
            sequence: fields.u64()?,
            freelist: fields.u64()?,
            end: fields.u64()?,
            transaction: fields.u64()?,
        };
        (fields.u64()? == fnv1a(summed)).then_some(meta)
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Numbers one after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// The bytes of a bucket's value: where its pages begin.
pub(crate) fn bucket_value(root: u64) -> Bytes {
    let mut value = [0; BUCKET_BYTES];
    value[..8].copy_from_slice(&root.to_le_bytes());
    Bytes::copy_from_slice(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meta_page_of_a_known_file_is_understood() {
        let bytes: [u8; 64] = [
            0xed, 0xda, 0x0c, 0xed, 2, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0, 0,
            0, 0, 0, 0x16, 0, 0, 0, 0, 0, 0, 0, 0xb3, 0x0f, 0xd4, 0xb5, 0x51, 0xea, 0x18, 0x8a,
        ];
        let meta = Meta::read(&bytes).unwrap();
        assert_eq!((meta.root, meta.end, meta.transaction), (3, 5, 22));
        let mut again = Vec::new();
        meta.put(&mut again);
        assert_eq!(again, bytes);
        for at in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[at] ^= 1;
            assert_eq!(Meta::read(&damaged), None, "byte {at}");
        }
    }
}
