//! Reading a file.
//!
//! Nothing is trusted: every number is checked against the file before it is used, a page is read
//! once, and the way down is bounded. So the worst that hostile bytes can do is an error.

mod page;
mod walk;

use crate::error::BoltError;
use crate::format::{HEADER_BYTES, META_BYTES, Meta, PAGE_BYTES_MAX, PAGE_BYTES_MIN};
use bytes::Bytes;
use page::Page;
use std::fmt;
use tenet_base::limits::BOLT_ERRORS_MAX;
pub use walk::{Bucket, Content, Entry, Walk};

/// The bytes of a file.
pub trait Source {
    /// How many there are.
    fn len_bytes(&self) -> u64;

    /// Exactly `len` bytes from `offset`, which are within the file.
    ///
    /// # Errors
    /// If they cannot be had.
    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, SourceError>;
}

/// Why bytes could not be had, in the words of whoever keeps them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

impl Source for Bytes {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, SourceError> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        match range.filter(|range| range.end <= self.len()) {
            Some(range) => Ok(self.slice(range)),
            None => Err(SourceError("beyond the end".to_owned())),
        }
    }
}

/// An open file.
pub struct Db<S> {
    source: S,
    meta: Meta,
}

impl<S> fmt::Debug for Db<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("meta", &self.meta).finish()
    }
}

impl<S: Source> Db<S> {
    /// Finds the meta page that counts.
    ///
    /// # Errors
    /// If there is none, or the file is shorter than it says.
    pub fn open(source: S) -> Result<Self, BoltError> {
        let meta = newest_meta(&source)?;
        let len_bytes = source.len_bytes();
        let needed_bytes = meta.end.saturating_mul(u64::from(meta.page_bytes));
        if needed_bytes > len_bytes {
            return Err(BoltError::Truncated {
                len_bytes,
                needed_bytes,
            });
        }
        Ok(Db { source, meta })
    }

    /// The length that the pages in use take: bbolt's size of the database.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.meta.end * u64::from(self.meta.page_bytes)
    }

    /// The bucket that holds all others.
    #[must_use]
    pub fn root(&self) -> Bucket {
        Bucket::at_page(self.meta.root)
    }

    /// The entries of a bucket, in the order of their keys.
    #[must_use]
    pub fn walk(&self, bucket: &Bucket) -> Walk<'_, S> {
        Walk::new(self, bucket, walk::Seen::new(self.meta.end))
    }

    /// Looks at every page that can be reached, those of nested buckets too, and gives what is
    /// wrong, up to a limit.
    #[must_use]
    pub fn check(&self) -> Vec<BoltError> {
        let mut errors = Vec::new();
        if self.meta.freelist != u64::MAX
            && let Err(error) = self.check_freelist()
        {
            errors.push(error);
        }
        let mut walks = vec![self.walk(&self.root())];
        while let Some(walk) = walks.last_mut() {
            match walk.next() {
                None => {
                    let seen = walks.pop().map(Walk::into_seen);
                    if let (Some(above), Some(seen)) = (walks.last_mut(), seen) {
                        above.give_seen(seen);
                    }
                }
                Some(Err(error)) => {
                    errors.push(error);
                    if errors.len() >= BOLT_ERRORS_MAX {
                        break;
                    }
                }
                Some(Ok(entry)) => {
                    if let Content::Bucket(bucket) = &entry.content {
                        let seen = walk.take_seen();
                        if walks.len() >= tenet_base::limits::BOLT_DEPTH_MAX {
                            let reason = "buckets stand too deep inside each other";
                            errors.push(BoltError::damaged(entry.offset, reason));
                            break;
                        }
                        walks.push(Walk::new(self, bucket, seen));
                    }
                }
            }
        }
        errors
    }

    /// The list of free pages is not needed to read, only to write on; so only its place is looked
    /// at.
    fn check_freelist(&self) -> Result<(), BoltError> {
        let id = self.meta.freelist;
        let offset = id.saturating_mul(u64::from(self.meta.page_bytes));
        if !(2..self.meta.end).contains(&id) {
            let reason = format!("the list of free pages is said to be page {id}");
            return Err(BoltError::damaged(0, reason));
        }
        let header = self.read(offset, HEADER_BYTES)?;
        match crate::format::Header::read(&header) {
            Some(header) if header.flags == crate::format::FREELIST && header.id == id => Ok(()),
            _ => Err(BoltError::damaged(offset, "no list of free pages")),
        }
    }

    fn page(&self, id: u64) -> Result<Page, BoltError> {
        Page::read(self, id)
    }

    fn read(&self, offset: u64, len: usize) -> Result<Bytes, BoltError> {
        read(&self.source, offset, len)
    }
}

fn read(source: &impl Source, offset: u64, len: usize) -> Result<Bytes, BoltError> {
    let bytes = source
        .read_at(offset, len)
        .map_err(|error| BoltError::Source { offset, error })?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    let error = SourceError(format!("{} bytes came where {len} are due", bytes.len()));
    Err(BoltError::Source { offset, error })
}

/// The valid one of the later transaction. If the first page is damaged nothing says how long a
/// page is, so that all sizes are tried.
fn newest_meta(source: &impl Source) -> Result<Meta, BoltError> {
    let first = meta_at(source, 0)?.filter(|meta| is_page_size(meta.page_bytes));
    let second = match &first {
        Some(meta) => meta_at(source, u64::from(meta.page_bytes))?,
        None => {
            let sizes = (PAGE_BYTES_MIN.ilog2()..=PAGE_BYTES_MAX.ilog2()).map(|bits| 1 << bits);
            let mut found = None;
            for size in sizes {
                found = meta_at(source, u64::from(size))?.filter(|meta| meta.page_bytes == size);
                if found.is_some() {
                    break;
                }
            }
            found
        }
    };
    let second =
        second.filter(|meta| first.is_none_or(|first| first.page_bytes == meta.page_bytes));
    let both = [first, second].into_iter().flatten();
    both.max_by_key(|meta| meta.transaction)
        .ok_or(BoltError::NotADatabase)
}

fn meta_at(source: &impl Source, page: u64) -> Result<Option<Meta>, BoltError> {
    let len = HEADER_BYTES + META_BYTES;
    if source.len_bytes() < page + len as u64 {
        return Ok(None);
    }
    let bytes = read(source, page, len)?;
    Ok(Meta::read(&bytes[HEADER_BYTES..]))
}

fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&bytes)
}
