//! The pages of one bucket, from the bottom up and from left to right.

use crate::error::WriteError;
use crate::format::{
    BRANCH, ELEMENT_BYTES, HEADER_BYTES, Header, IS_BUCKET, KEY_BYTES_MAX, LEAF, PAGE_BYTES,
    VALUE_BYTES_MAX,
};
use bytes::Bytes;

/// Where pages go: counted only, or written too.
#[derive(Debug)]
pub(super) struct Out {
    next_page: u64,
    bytes: Option<Vec<u8>>,
}

impl Out {
    pub(super) fn counting(next_page: u64) -> Self {
        Out {
            next_page,
            bytes: None,
        }
    }

    pub(super) fn writing(next_page: u64, head: Vec<u8>) -> Self {
        Out {
            next_page,
            bytes: Some(head),
        }
    }

    pub(super) fn next_page(&self) -> u64 {
        self.next_page
    }

    pub(super) fn ready_bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, Vec::len)
    }

    /// The first `len` of the bytes that are ready.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        let Some(bytes) = &mut self.bytes else {
            return Bytes::new();
        };
        let mut rest = Vec::with_capacity(bytes.capacity());
        rest.extend_from_slice(&bytes[len..]);
        bytes.truncate(len);
        std::mem::replace(bytes, rest).into()
    }

    /// Puts a page with its overflow behind the last one and gives its number.
    fn page(&mut self, flags: u16, fill: &Fill) -> u64 {
        let id = self.next_page;
        let pages = fill.page_bytes().div_ceil(PAGE_BYTES);
        self.next_page += pages as u64;
        if let Some(out) = &mut self.bytes {
            let end = out.len() + pages * PAGE_BYTES;
            let header = Header {
                id,
                flags,
                count: u16::try_from(fill.count).expect("elements of a page of 4096 bytes"),
                overflow: u32::try_from(pages - 1).expect("a page holds less than 2^32 bytes"),
            };
            header.put(out);
            fill.put(out);
            out.resize(end, 0);
        }
        id
    }
}

/// A page that is being filled.
#[derive(Debug, Default)]
struct Fill {
    count: usize,
    /// Bytes of keys and values.
    data_bytes: usize,
    first_key: Vec<u8>,
    /// What is written, unless the page is only counted.
    elements: Vec<Element>,
    data: Vec<u8>,
}

/// An element but for its position, which depends on how many there will be.
#[derive(Clone, Copy, Debug)]
enum Element {
    Leaf { flags: u32, key: u32, value: u32 },
    Branch { key: u32, child: u64 },
}

impl Fill {
    fn page_bytes(&self) -> usize {
        HEADER_BYTES + self.count * ELEMENT_BYTES + self.data_bytes
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        self.page_bytes() + ELEMENT_BYTES + bytes <= PAGE_BYTES
    }

    fn count_in(&mut self, key: &[u8], bytes: usize) {
        if self.count == 0 {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        self.count += 1;
        self.data_bytes += bytes;
    }

    fn clear(&mut self) {
        self.count = 0;
        self.data_bytes = 0;
        self.elements.clear();
        self.data.clear();
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut position = self.count * ELEMENT_BYTES;
        for element in &self.elements {
            let place = u32::try_from(position).expect("a page holds less than 2^32 bytes");
            let len = match *element {
                Element::Leaf { flags, key, value } => {
                    for number in [flags, place, key, value] {
                        out.extend_from_slice(&number.to_le_bytes());
                    }
                    key as usize + value as usize
                }
                Element::Branch { key, child } => {
                    for number in [place, key] {
                        out.extend_from_slice(&number.to_le_bytes());
                    }
                    out.extend_from_slice(&child.to_le_bytes());
                    key as usize
                }
            };
            position += len;
            position -= ELEMENT_BYTES;
        }
        out.extend_from_slice(&self.data);
    }
}

/// A branch that is being filled. Its elements are kept in both passes: they are few.
#[derive(Debug, Default)]
struct Level {
    fill: Fill,
    /// Pages of this level that are complete.
    pages: u64,
    children: Vec<(Vec<u8>, u64)>,
}

impl Level {
    fn add(&mut self, key: Vec<u8>, child: u64) {
        self.fill.count_in(&key, key.len());
        self.children.push((key, child));
    }

    /// Puts the first `count` children onto a page and gives its first key and number.
    fn page(&mut self, count: usize, out: &mut Out) -> (Vec<u8>, u64) {
        let rest = self.children.split_off(count);
        let children = std::mem::take(&mut self.children);
        self.fill.clear();
        for (key, child) in &children {
            self.fill.count_in(key, key.len());
            self.fill.elements.push(Element::Branch {
                key: key.len() as u32,
                child: *child,
            });
            self.fill.data.extend_from_slice(key);
        }
        let id = out.page(BRANCH, &self.fill);
        let first = std::mem::take(&mut self.fill.first_key);
        self.pages += 1;
        self.fill.clear();
        for (key, child) in rest {
            self.add(key, child);
        }
        (first, id)
    }
}

/// The tree of one bucket.
#[derive(Debug, Default)]
pub(super) struct Tree {
    leaf: Fill,
    last_key: Vec<u8>,
    /// Branches, those above the leaves first.
    levels: Vec<Level>,
}

impl Tree {
    /// Adds an entry, whose value is needed only when it is written.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        value_len: usize,
        value: Option<&[u8]>,
        is_bucket: bool,
        out: &mut Out,
    ) -> Result<(), WriteError> {
        self.judge(key, value_len)?;
        let bytes = key.len() + value_len;
        if self.leaf.count > 0 && !self.leaf.has_room_for(bytes) {
            self.end_leaf(out);
        }
        self.leaf.count_in(key, bytes);
        if let Some(value) = value.filter(|_| out.bytes.is_some()) {
            self.leaf.elements.push(Element::Leaf {
                flags: if is_bucket { IS_BUCKET } else { 0 },
                key: key.len() as u32,
                value: value_len as u32,
            });
            self.leaf.data.extend_from_slice(key);
            self.leaf.data.extend_from_slice(value);
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    fn judge(&self, key: &[u8], value_len: usize) -> Result<(), WriteError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(WriteError::Length {
                what: "key",
                len_bytes: key.len(),
                allowed: "1 to 32768",
            });
        }
        if value_len > VALUE_BYTES_MAX {
            return Err(WriteError::Length {
                what: "value",
                len_bytes: value_len,
                allowed: "up to 2147483646",
            });
        }
        if key <= &self.last_key[..] {
            return Err(WriteError::Order {
                key: key.escape_ascii().to_string(),
                before: self.last_key.escape_ascii().to_string(),
            });
        }
        Ok(())
    }

    fn end_leaf(&mut self, out: &mut Out) -> u64 {
        let id = out.page(LEAF, &self.leaf);
        let first = std::mem::take(&mut self.leaf.first_key);
        self.leaf.clear();
        self.add_child(0, first, id, out);
        id
    }

    /// A page is full when the next child does not fit. Its last child then goes with the next one,
    /// so that a page never has one child alone.
    fn add_child(&mut self, level: usize, key: Vec<u8>, child: u64, out: &mut Out) {
        if self.levels.len() == level {
            self.levels.push(Level::default());
        }
        let branch = &mut self.levels[level];
        let full = !branch.fill.has_room_for(key.len());
        let ended =
            (full && branch.fill.count > 2).then(|| branch.page(branch.fill.count - 1, out));
        branch.add(key, child);
        if let Some((first, id)) = ended {
            self.add_child(level + 1, first, id, out);
        }
    }

    /// Puts what is left onto pages and gives the root.
    pub(super) fn finish(mut self, out: &mut Out) -> u64 {
        if self.leaf.count > 0 || self.levels.is_empty() {
            self.end_leaf(out);
        }
        let mut level = 0;
        loop {
            let branch = &mut self.levels[level];
            if branch.pages == 0 && branch.fill.count == 1 {
                return branch.children[0].1;
            }
            let (first, id) = branch.page(branch.fill.count, out);
            level += 1;
            self.add_child(level, first, id, out);
        }
    }
}
