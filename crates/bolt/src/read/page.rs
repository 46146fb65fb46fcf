//! One page with its overflow, and the elements on it.

use super::{Db, Source};
use crate::error::BoltError;
use crate::format::{BRANCH, ELEMENT_BYTES, Fields, HEADER_BYTES, Header, IS_BUCKET, LEAF};
use bytes::Bytes;
use tenet_base::limits::BOLT_PAGE_BYTES_MAX;

/// A page of elements.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) is_branch: bool,
    /// Where it stands in the file.
    pub(crate) offset: u64,
    pub(crate) count: usize,
    bytes: Bytes,
}

/// An element of a branch.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) key: Bytes,
    pub(crate) page: u64,
    pub(crate) offset: u64,
}

/// An element of a leaf.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) is_bucket: bool,
    pub(crate) offset: u64,
    /// Where the value stands.
    pub(crate) value_offset: u64,
}

impl Page {
    pub(crate) fn read<S: Source>(db: &Db<S>, id: u64) -> Result<Page, BoltError> {
        let page_bytes = u64::from(db.meta.page_bytes);
        let end = db.meta.end;
        if !(2..end).contains(&id) {
            let reason = format!("page {id} is named, but pages go from 2 to {end}");
            return Err(BoltError::damaged(id.saturating_mul(page_bytes), reason));
        }
        let offset = id * page_bytes;
        let first = db.read(offset, page_bytes as usize)?;
        let header = Header::read(&first).expect("a page is longer than a header");
        if header.id != id {
            let reason = format!("page {id} says that it is page {}", header.id);
            return Err(BoltError::damaged(offset, reason));
        }
        if u64::from(header.overflow) >= end - id {
            let overflow = header.overflow;
            let reason = format!("page {id} takes {overflow} more pages, beyond the last");
            return Err(BoltError::damaged(offset, reason));
        }
        let len_bytes = (u64::from(header.overflow) + 1) * page_bytes;
        let Some(len) = usize::try_from(len_bytes)
            .ok()
            .filter(|len| *len <= BOLT_PAGE_BYTES_MAX)
        else {
            let reason =
                format!("page {id} takes {len_bytes} bytes, more than {BOLT_PAGE_BYTES_MAX}");
            return Err(BoltError::damaged(offset, reason));
        };
        let bytes = match header.overflow {
            0 => first,
            _ => db.read(offset, len)?,
        };
        Page::of(bytes, offset, header)
    }

    /// A page inside of a value.
    pub(crate) fn inline(bytes: Bytes, offset: u64) -> Result<Page, BoltError> {
        match Header::read(&bytes) {
            Some(header) if header.flags == LEAF => Page::of(bytes, offset, header),
            _ => Err(BoltError::damaged(offset, "no leaf inside of a bucket")),
        }
    }

    fn of(bytes: Bytes, offset: u64, header: Header) -> Result<Page, BoltError> {
        let is_branch = match header.flags {
            BRANCH => true,
            LEAF => false,
            flags => {
                let reason = format!("flags {flags:#06x}, neither those of a branch nor of a leaf");
                return Err(BoltError::damaged(offset, reason));
            }
        };
        let count = usize::from(header.count);
        if HEADER_BYTES + count * ELEMENT_BYTES > bytes.len() {
            let reason = format!("{count} elements do not fit into {} bytes", bytes.len());
            return Err(BoltError::damaged(offset, reason));
        }
        if is_branch && count == 0 {
            return Err(BoltError::damaged(offset, "a branch without children"));
        }
        Ok(Page {
            is_branch,
            offset,
            count,
            bytes,
        })
    }

    /// How many pages of `page_bytes` it takes.
    pub(crate) fn pages(&self, page_bytes: u32) -> u64 {
        self.bytes.len() as u64 / u64::from(page_bytes)
    }

    /// Where an element begins, and its four numbers.
    fn element(&self, at: usize) -> (usize, [u32; 4]) {
        let start = HEADER_BYTES + at * ELEMENT_BYTES;
        let mut fields = Fields(&self.bytes[start..start + ELEMENT_BYTES]);
        (
            start,
            [(); 4].map(|()| fields.u32().expect("a whole element")),
        )
    }

    pub(crate) fn child(&self, at: usize) -> Result<Child, BoltError> {
        let (start, [position, key_len, low, high]) = self.element(at);
        let key = self.part(start, u64::from(position), u64::from(key_len))?;
        Ok(Child {
            key,
            page: u64::from(high) << 32 | u64::from(low),
            offset: self.offset + start as u64,
        })
    }

    pub(crate) fn item(&self, at: usize) -> Result<Item, BoltError> {
        let (start, [flags, position, key_len, value_len]) = self.element(at);
        let offset = self.offset + start as u64;
        if flags & !IS_BUCKET != 0 {
            let reason = format!("an element with flags {flags:#x}, which this version lacks");
            return Err(BoltError::damaged(offset, reason));
        }
        let (key_len, value_len) = (u64::from(key_len), u64::from(value_len));
        let key = self.part(start, u64::from(position), key_len)?;
        let value = self.part(start, u64::from(position) + key_len, value_len)?;
        Ok(Item {
            key,
            value,
            is_bucket: flags & IS_BUCKET != 0,
            offset,
            value_offset: offset + u64::from(position) + key_len,
        })
    }

    /// `len` bytes, `position` bytes behind the element at `start`.
    fn part(&self, start: usize, position: u64, len: u64) -> Result<Bytes, BoltError> {
        let from = start as u64 + position;
        let data = (HEADER_BYTES + self.count * ELEMENT_BYTES) as u64;
        let to = from + len;
        // An empty part may point anywhere behind the elements, the end of the page included.
        if from < data || to > self.bytes.len() as u64 {
            let reason = format!(
                "{len} bytes, {from} bytes behind the start of a page of {} with data from {data}",
                self.bytes.len()
            );
            return Err(BoltError::damaged(self.offset + start as u64, reason));
        }
        Ok(self.bytes.slice(from as usize..to as usize))
    }
}
