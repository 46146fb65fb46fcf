//! Writing a fresh file.
//!
//! Pages stand in this order: two meta pages, an empty list of free pages, then bucket by bucket
//! leaves and branches, each branch right behind the last page below it, and at the end the bucket
//! of buckets. So a page is complete before the next begins, and what must be kept is one page a
//! level. Every page is filled as far as it goes; a branch has two children at least.
//!
//! The root stands in the meta page, the first bytes of the file, but is known only at the end:
//! hence two passes over the same stream. Both run the same code, and the second is checked against
//! the first, page for page.

mod tree;

use crate::error::WriteError;
use crate::format::{self, FREELIST, HEADER_BYTES, Header, META, Meta, PAGE_BYTES};
use bytes::Bytes;
use tree::{Out, Tree};

/// The list of free pages.
const FREELIST_PAGE: u64 = 2;
/// The first page of a bucket.
const FIRST_PAGE: u64 = 3;
/// The number of the transaction that has written the file. The other meta page has the one before.
const TRANSACTION: u64 = 2;

/// How long a file is and where its root stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pages: u64,
    root: u64,
}

impl Plan {
    /// The length of the file.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }
}

/// What both passes have in common.
#[derive(Debug)]
struct Layout {
    out: Out,
    bucket: Option<(Vec<u8>, Tree)>,
    buckets: Vec<(Vec<u8>, u64)>,
}

impl Layout {
    fn new(out: Out) -> Self {
        Layout {
            out,
            bucket: None,
            buckets: Vec::new(),
        }
    }

    fn begin(&mut self, name: &[u8]) {
        self.end_bucket();
        self.bucket = Some((name.to_vec(), Tree::default()));
    }

    fn end_bucket(&mut self) {
        if let Some((name, tree)) = self.bucket.take() {
            let root = tree.finish(&mut self.out);
            self.buckets.push((name, root));
        }
    }

    fn tree(&mut self) -> Result<(&mut Tree, &mut Out), WriteError> {
        match &mut self.bucket {
            Some((_, tree)) => Ok((tree, &mut self.out)),
            None => Err(WriteError::NoBucket),
        }
    }

    /// Writes the bucket of buckets and gives its page.
    fn finish(&mut self) -> Result<u64, WriteError> {
        self.end_bucket();
        let mut tree = Tree::default();
        for (name, root) in std::mem::take(&mut self.buckets) {
            let value = format::bucket_value(root);
            tree.add(&name, value.len(), Some(&value), true, &mut self.out)?;
        }
        Ok(tree.finish(&mut self.out))
    }
}

/// The first pass.
#[derive(Debug)]
pub struct Planner(Layout);

impl Default for Planner {
    fn default() -> Self {
        Self::new()
    }
}

impl Planner {
    /// A plan for an empty file.
    #[must_use]
    pub fn new() -> Self {
        Planner(Layout::new(Out::counting(FIRST_PAGE)))
    }

    /// Begins a bucket, whose name must be above those before.
    pub fn bucket(&mut self, name: &[u8]) {
        self.0.begin(name);
    }

    /// The next entry of the bucket.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn entry(&mut self, key: &[u8], value_len: usize) -> Result<(), WriteError> {
        let (tree, out) = self.0.tree()?;
        tree.add(key, value_len, None, false, out)
    }

    /// The plan of what was told.
    ///
    /// # Errors
    /// If the names of the buckets are not in order.
    pub fn finish(mut self) -> Result<Plan, WriteError> {
        let root = self.0.finish()?;
        Ok(Plan {
            pages: self.0.out.next_page(),
            root,
        })
    }
}

/// The second pass.
#[derive(Debug)]
pub struct Writer {
    layout: Layout,
    plan: Plan,
}

impl Writer {
    /// A writer of the planned file.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut head = Vec::with_capacity(FIRST_PAGE as usize * PAGE_BYTES);
        for page in 0..2 {
            let flags = META;
            put_page(&mut head, page, flags, |out| {
                let meta = Meta {
                    page_bytes: PAGE_BYTES as u32,
                    root: plan.root,
                    sequence: 0,
                    freelist: FREELIST_PAGE,
                    end: plan.pages,
                    transaction: TRANSACTION - page,
                };
                meta.put(out);
            });
        }
        put_page(&mut head, FREELIST_PAGE, FREELIST, |_| {});
        Writer {
            layout: Layout::new(Out::writing(FIRST_PAGE, head)),
            plan,
        }
    }

    /// As [`Planner::bucket`].
    ///
    /// # Errors
    /// If the last bucket was not what was planned.
    pub fn bucket(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.layout.begin(name);
        self.keep_to_plan()
    }

    /// As [`Planner::entry`].
    ///
    /// # Errors
    /// As there, and if it is not what was planned.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), WriteError> {
        let (tree, out) = self.layout.tree()?;
        tree.add(key, value.len(), Some(value), false, out)?;
        self.keep_to_plan()
    }

    /// How many bytes can be taken.
    #[must_use]
    pub fn ready_bytes(&self) -> usize {
        self.layout.out.ready_bytes()
    }

    /// The bytes of the file that follow those taken before, as far as they are complete and make
    /// up whole units.
    #[must_use]
    pub fn take(&mut self, unit_bytes: usize) -> Bytes {
        let ready = self.ready_bytes();
        self.layout.out.take(ready - ready % unit_bytes)
    }

    /// The rest of the file.
    ///
    /// # Errors
    /// If the file is not the one that was planned.
    pub fn finish(mut self) -> Result<Bytes, WriteError> {
        let root = self.layout.finish()?;
        self.keep_to_plan()?;
        let pages = self.layout.out.next_page();
        if pages != self.plan.pages || root != self.plan.root {
            return Err(self.unplanned());
        }
        let rest = self.ready_bytes();
        Ok(self.layout.out.take(rest))
    }

    fn keep_to_plan(&self) -> Result<(), WriteError> {
        match self.layout.out.next_page() <= self.plan.pages {
            true => Ok(()),
            false => Err(self.unplanned()),
        }
    }

    fn unplanned(&self) -> WriteError {
        WriteError::Unplanned {
            pages: self.layout.out.next_page(),
            planned: self.plan.pages,
        }
    }
}

/// Appends one whole page.
fn put_page(out: &mut Vec<u8>, id: u64, flags: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let end = out.len() + PAGE_BYTES;
    let header = Header {
        id,
        flags,
        count: 0,
        overflow: 0,
    };
    header.put(out);
    debug_assert_eq!(out.len() + PAGE_BYTES - HEADER_BYTES, end);
    body(out);
    out.resize(end, 0);
}
