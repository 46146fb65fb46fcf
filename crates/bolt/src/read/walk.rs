//! Going through a bucket, entry by entry.

use super::page::{Item, Page};
use super::{Db, Source};
use crate::error::BoltError;
use crate::format::{BUCKET_BYTES, Fields};
use bytes::Bytes;
use std::fmt;
use tenet_base::limits::BOLT_DEPTH_MAX;

/// A bucket: where its entries are.
#[derive(Clone, Debug)]
pub struct Bucket(Place);

#[derive(Clone, Debug)]
enum Place {
    Page(u64),
    Inline(Page),
}

impl Bucket {
    pub(crate) fn at_page(page: u64) -> Self {
        Bucket(Place::Page(page))
    }

    fn from_item(item: &Item) -> Result<Self, BoltError> {
        let mut fields = Fields(&item.value);
        // The other number is for bbolt's callers, and etcd does not use it.
        let (Some(root), Some(_)) = (fields.u64(), fields.u64()) else {
            let len = item.value.len();
            let reason = format!("a bucket of {len} bytes, where {BUCKET_BYTES} are the least");
            return Err(BoltError::damaged(item.value_offset, reason));
        };
        if root > 0 {
            return Ok(Bucket::at_page(root));
        }
        let offset = item.value_offset + BUCKET_BYTES as u64;
        let page = Page::inline(item.value.slice(BUCKET_BYTES..), offset)?;
        Ok(Bucket(Place::Inline(page)))
    }
}

/// What stands under a key.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes.
    Value(Bytes),
    /// A bucket of its own.
    Bucket(Bucket),
}

/// A key and what stands under it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// What stands there.
    pub content: Content,
    /// Where its element stands in the file.
    pub offset: u64,
}

/// Pages that were come by. One bit a page of the file.
pub(crate) struct Seen(Vec<u64>);

impl Seen {
    pub(crate) fn new(end: u64) -> Self {
        // The end was checked against the length of the file.
        Seen(vec![0; usize::try_from(end.div_ceil(64)).unwrap_or(0)])
    }

    /// Returns whether it was new.
    fn insert(&mut self, page: u64) -> bool {
        let Some(word) = self.0.get_mut((page / 64) as usize) else {
            return false;
        };
        let bit = 1 << (page % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// The entries of a bucket. Behind an error it goes on with what follows the damaged page, so that
/// a check can find more; a reader stops at the first.
pub struct Walk<'a, S> {
    db: &'a Db<S>,
    /// The way from the root of the bucket to where we are.
    path: Vec<Step>,
    root: Option<Place>,
    seen: Seen,
    /// The last key.
    last: Option<Bytes>,
}

struct Step {
    page: Page,
    next: usize,
    bounds: Bounds,
}

/// What the keys on a page must keep to: not below the first, below the second.
#[derive(Clone, Default)]
struct Bounds {
    from: Option<Bytes>,
    below: Option<Bytes>,
}

impl Bounds {
    fn hold(&self, key: &Bytes) -> bool {
        self.from.as_ref().is_none_or(|from| key >= from)
            && self.below.as_ref().is_none_or(|below| key < below)
    }
}

impl<S> fmt::Debug for Walk<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("depth", &self.path.len())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Source> Walk<'a, S> {
    pub(crate) fn new(db: &'a Db<S>, bucket: &Bucket, seen: Seen) -> Self {
        Walk {
            db,
            path: Vec::new(),
            root: Some(bucket.0.clone()),
            seen,
            last: None,
        }
    }

    pub(crate) fn into_seen(self) -> Seen {
        self.seen
    }

    /// Lends the pages that were come by to a walk through a nested bucket.
    pub(crate) fn take_seen(&mut self) -> Seen {
        std::mem::replace(&mut self.seen, Seen(Vec::new()))
    }

    pub(crate) fn give_seen(&mut self, seen: Seen) {
        self.seen = seen;
    }

    fn enter(&mut self, id: u64, bounds: Bounds) -> Result<(), BoltError> {
        if self.path.len() >= BOLT_DEPTH_MAX {
            let page_bytes = u64::from(self.db.meta.page_bytes);
            let reason = format!("page {id} is more than {BOLT_DEPTH_MAX} pages below its root");
            return Err(BoltError::damaged(id.saturating_mul(page_bytes), reason));
        }
        let page = self.db.page(id)?;
        for id in id..id + page.pages(self.db.meta.page_bytes) {
            if !self.seen.insert(id) {
                let reason = format!("page {id} is reached a second time");
                return Err(BoltError::damaged(page.offset, reason));
            }
        }
        self.path.push(Step {
            page,
            next: 0,
            bounds,
        });
        Ok(())
    }

    fn start(&mut self, root: Place) -> Result<(), BoltError> {
        match root {
            Place::Page(id) => self.enter(id, Bounds::default()),
            Place::Inline(page) => {
                self.path.push(Step {
                    page,
                    next: 0,
                    bounds: Bounds::default(),
                });
                Ok(())
            }
        }
    }

    /// Goes to the next element; `None` if the page that we are on has no more.
    fn step(&mut self) -> Result<Option<Entry>, BoltError> {
        let Some(step) = self.path.last_mut() else {
            return Ok(None);
        };
        if step.next == step.page.count {
            self.path.pop();
            return Ok(None);
        }
        let at = step.next;
        step.next += 1;
        if step.page.is_branch {
            let child = step.page.child(at)?;
            let bounds = Bounds {
                from: Some(child.key.clone()),
                below: match at + 1 < step.page.count {
                    true => Some(step.page.child(at + 1)?.key),
                    false => step.bounds.below.clone(),
                },
            };
            let behind = self.last.as_ref().is_some_and(|last| child.key <= *last);
            if behind || !bounds.hold(&child.key) || !step.bounds.hold(&child.key) {
                let reason = format!("key {} of a branch out of order", escaped(&child.key));
                return Err(BoltError::damaged(child.offset, reason));
            }
            self.enter(child.page, bounds)?;
            return Ok(None);
        }
        let item = step.page.item(at)?;
        let behind = self.last.as_ref().is_some_and(|last| item.key <= *last);
        if behind || !step.bounds.hold(&item.key) || item.key.is_empty() {
            let reason = format!("key {} out of order", escaped(&item.key));
            return Err(BoltError::damaged(item.offset, reason));
        }
        self.last = Some(item.key.clone());
        let content = match item.is_bucket {
            true => Content::Bucket(Bucket::from_item(&item)?),
            false => Content::Value(item.value),
        };
        Ok(Some(Entry {
            key: item.key,
            content,
            offset: item.offset,
        }))
    }
}

impl<S: Source> Iterator for Walk<'_, S> {
    type Item = Result<Entry, BoltError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take()
            && let Err(error) = self.start(root)
        {
            return Some(Err(error));
        }
        while !self.path.is_empty() {
            if let Some(found) = self.step().transpose() {
                return Some(found);
            }
        }
        None
    }
}

/// A key for a message: escaped, and not at whatever length.
fn escaped(key: &[u8]) -> String {
    const SHOWN: usize = 64;
    let more = if key.len() > SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", key[..key.len().min(SHOWN)].escape_ascii())
}
