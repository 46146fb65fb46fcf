//! Ranges whose answer is too long to be held: first its length, then its key-values in pieces.
//!
//! Nothing of the answer is kept. In the order of keys a place in the index is enough; in another
//! order it is a list of the records, 16 bytes for each. The length comes from the index and the
//! directories of the store without reading a value. What is read is what the length was taken of,
//! since a record is immutable and the revision is fixed: any view that shows the revision gives
//! the same, so whoever holds a range may go on with a newer view for as long as it
//! [shows](View::shows) the revision, and must keep the last one that did.
//!
//! Invariants: the pieces together have exactly the announced length, or the range ends with an
//! error; a piece that could not be read without waiting is not lost, it is read on with patience.
//!
//! This module knows neither messages around the key-values nor who waits for them.

mod sort;

use crate::index::{Entry, KeyRange, KeyRef};
use crate::plan::Plan;
use crate::record::{self, Numbers};
use crate::{MvccError, RangeResult, View};
use bytes::Bytes;
use std::ops::ControlFlow;
use tenet_base::Revision;
use tenet_base::limits::{RANGE_PIECE_KEYS, RANGE_STEP_ENTRIES};
use tenet_proto::mvccpb::KeyValue;
use tenet_proto::prost::Message as _;
use tenet_store::{Patience, Rev, varint};

/// The tag of `kvs` in etcd's `RangeResponse`: field 2, bytes with their length.
const KVS: u8 = (2 << 3) | 2;

/// How a range is answered.
#[derive(Debug)]
pub enum Opened {
    /// At once.
    Whole(RangeResult),
    /// In pieces, in the order of keys, once it is [measured](LongRange::measure).
    Long(Box<LongRange>),
    /// Every key has to be looked at before the first is known: [`View::sort_range`] does it, on a
    /// thread that may be busy for long.
    Sorted,
}

/// What of a record is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All of it.
    Record,
    /// All but the value.
    WithoutValue,
    /// What the index knows, so no value and no lease.
    FromIndex,
}

impl Form {
    fn of(plan: &Plan) -> Form {
        match (plan.keys_only, plan.from_index) {
            (false, _) => Form::Record,
            (true, false) => Form::WithoutValue,
            (true, true) => Form::FromIndex,
        }
    }
}

/// A record and the bytes that are answered of it.
#[derive(Clone, Copy, Debug)]
struct Item {
    main: i64,
    sub: u32,
    len: u32,
}

impl Item {
    fn new(rev: Rev, len: usize) -> Item {
        Item {
            main: rev.main,
            sub: rev.sub,
            // A record is within 32 bits, as its segment is.
            len: len as u32,
        }
    }

    fn rev(&self) -> Rev {
        Rev::new(self.main, self.sub)
    }

    fn field_bytes(&self) -> usize {
        field_bytes(self.len as usize)
    }
}

/// The bytes of a key-value of `len` bytes as a field of the answer.
fn field_bytes(len: usize) -> usize {
    1 + varint_bytes(len as u64) + len
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// What is not given out yet.
#[derive(Debug)]
enum Rest {
    Keys(Cursor),
    List(std::vec::IntoIter<Item>),
}

/// A place in the order of keys.
#[derive(Clone, Debug)]
struct Cursor {
    /// Where to go on; `None` at the end.
    from: Option<Bytes>,
    range_end: Bytes,
    /// How many keys may still be given.
    left: usize,
}

/// What a walk from a cursor came to.
#[derive(Debug, PartialEq, Eq)]
enum Walked {
    /// There are no more keys.
    All,
    /// There are, but as many were given as may be.
    Limit,
    /// The visitor wanted no more; the cursor is at the key that it did not take.
    Stopped,
}

impl Cursor {
    /// Gives `take` each live key until it takes one no more. A walk that has looked at
    /// `entries_max` entries stops too, whatever they were.
    fn walk(
        &mut self,
        view: &View,
        at: i64,
        entries_max: usize,
        mut take: impl FnMut(KeyRef<'_>, &Entry) -> bool,
    ) -> Walked {
        let Some(from) = self.from.take() else {
            return Walked::All;
        };
        let (mut looked, mut left) = (0, self.left);
        let range = KeyRange::new(&from, &self.range_end);
        let ended = view.tree.visit(range, at, |key, entry| {
            if !entry.tombstone && left == 0 {
                return ControlFlow::Break((Walked::Limit, key.to_bytes()));
            }
            if looked == entries_max || !(entry.tombstone || take(key, entry)) {
                return ControlFlow::Break((Walked::Stopped, key.to_bytes()));
            }
            looked += 1;
            left -= usize::from(!entry.tombstone);
            ControlFlow::Continue(())
        });
        self.left = left;
        match ended {
            ControlFlow::Continue(()) => Walked::All,
            ControlFlow::Break((walked, next)) => {
                self.from = Some(next);
                walked
            }
        }
    }
}

/// A walk that finds how long an answer is.
#[derive(Debug)]
struct Measuring {
    cursor: Cursor,
    counted: bool,
    keys: u64,
    bytes: u64,
}

/// What is known of an answer before its first key-value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Bytes of all key-values, as fields of `RangeResponse`.
    pub bytes: u64,
    /// How many key-values that is.
    pub keys: u64,
    /// The first key behind the limit.
    pub next_key: Option<Bytes>,
    /// Whether more keys matched than the limit.
    pub more: bool,
    /// Keys in the range, whatever the limit.
    pub count: i64,
}

#[derive(Debug)]
enum Length {
    Measuring(Measuring),
    Known(Measured),
}

/// The next piece, while it is put together.
#[derive(Debug, Default)]
struct Piece {
    /// What is still to be read.
    items: std::collections::VecDeque<Item>,
    out: Vec<u8>,
    /// How long it will be.
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct LongRange {
    at: i64,
    form: Form,
    /// The range, for its count.
    key: Bytes,
    range_end: Bytes,
    length: Length,
    rest: Rest,
    piece: Piece,
    /// Bytes of the pieces so far.
    given: u64,
}

impl LongRange {
    /// A range in the order of keys that begins with `first`, which are read already, and goes on
    /// behind them. Unless `counted`, the count goes only as far as the limit.
    pub(crate) fn in_order(
        key: &Bytes,
        range_end: &Bytes,
        plan: &Plan,
        first: &[KeyValue],
        counted: bool,
    ) -> LongRange {
        let mut cursor = Cursor {
            from: Some(key.clone()),
            range_end: range_end.clone(),
            left: plan.limit,
        };
        let mut piece = Piece::default();
        for kv in first {
            put_kv(&mut piece.out, kv);
        }
        piece.bytes = piece.out.len();
        if let Some(last) = first.last() {
            cursor.from = Some(successor(&last.key));
            cursor.left -= first.len();
        }
        LongRange {
            at: plan.at,
            form: Form::of(plan),
            key: key.clone(),
            range_end: range_end.clone(),
            length: Length::Measuring(Measuring {
                cursor: cursor.clone(),
                counted,
                keys: first.len() as u64,
                bytes: piece.bytes as u64,
            }),
            rest: Rest::Keys(cursor),
            piece,
            given: 0,
        }
    }

    /// An answer without key-values.
    pub(crate) fn of_nothing(at: i64, count: i64) -> LongRange {
        LongRange {
            at,
            form: Form::Record,
            key: Bytes::new(),
            range_end: Bytes::new(),
            length: Length::Known(Measured {
                bytes: 0,
                keys: 0,
                next_key: None,
                more: false,
                count,
            }),
            rest: Rest::List(Vec::new().into_iter()),
            piece: Piece::default(),
            given: 0,
        }
    }

    /// The revision that is read.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.at)
    }

    /// Looks at about `entries_max` entries of the index more; what is known once all were looked
    /// at.
    pub fn measure(&mut self, view: &View, entries_max: usize) -> Option<&Measured> {
        debug_assert!(view.shows(self.revision()) && entries_max > 0);
        if let Length::Measuring(measuring) = &mut self.length {
            let Measuring {
                cursor,
                counted,
                keys,
                bytes,
            } = measuring;
            let form = self.form;
            let walked = cursor.walk(view, self.at, entries_max, |key, entry| {
                *keys += 1;
                *bytes += field_bytes(len_of(view, form, key, entry)) as u64;
                true
            });
            if walked == Walked::Stopped {
                return None;
            }
            let cut = walked == Walked::Limit;
            let measured = Measured {
                bytes: *bytes,
                keys: *keys,
                next_key: cursor.from.clone(),
                more: cut,
                count: if cut && *counted {
                    let range = KeyRange::new(&self.key, &self.range_end);
                    view.tree.count(range, self.at) as i64
                } else {
                    *keys as i64
                },
            };
            self.length = Length::Known(measured);
        }
        self.measured()
    }

    /// What is known, once it is.
    #[must_use]
    pub fn measured(&self) -> Option<&Measured> {
        match &self.length {
            Length::Known(measured) => Some(measured),
            Length::Measuring(_) => None,
        }
    }

    /// Decides what the next piece is, if that is not decided yet: at most `bytes_max`, or one
    /// key-value if that is longer. Its exact length, zero at the end; `None` if there was much
    /// to look at that is not part of the answer, and more is left.
    ///
    /// # Panics
    /// If the answer ends with another length than was announced.
    pub fn plan_piece(&mut self, view: &View, bytes_max: usize) -> Option<usize> {
        debug_assert!(view.shows(self.revision()));
        if self.piece.bytes > 0 {
            return Some(self.piece.bytes);
        }
        let ended = match &mut self.rest {
            Rest::Keys(cursor) => {
                plan_keys(&mut self.piece, cursor, view, self.at, self.form, bytes_max)
            }
            Rest::List(list) => plan_list(&mut self.piece, list, bytes_max),
        };
        let bytes = self.piece.bytes;
        if bytes > 0 || !ended {
            return (bytes > 0).then_some(bytes);
        }
        if let Length::Known(measured) = &self.length {
            assert!(
                self.given == measured.bytes,
                "an answer of {} bytes at revision {} ended after {}: index and store changed \
                 under a reader",
                measured.bytes,
                self.at,
                self.given
            );
        }
        Some(0)
    }

    /// Reads the piece that was planned.
    ///
    /// # Errors
    /// If a value cannot be read. If it [is cold](MvccError::is_cold), the same can be asked again
    /// with patience; after any other error nothing more can be had.
    ///
    /// # Panics
    /// If a record has another length than the directory said.
    pub fn read_piece(&mut self, view: &View, patience: Patience) -> Result<Bytes, MvccError> {
        let piece = &mut self.piece;
        piece.out.reserve_exact(piece.bytes - piece.out.len());
        while let Some(item) = piece.items.front() {
            let data = record_at(view, item.rev(), patience)?;
            put_record(&mut piece.out, self.form, item, &data);
            piece.items.pop_front();
        }
        let piece = std::mem::take(piece);
        assert!(
            piece.out.len() == piece.bytes,
            "a piece of {} bytes came to {}: index and store disagree",
            piece.bytes,
            piece.out.len()
        );
        self.given += piece.bytes as u64;
        Ok(Bytes::from(piece.out))
    }
}

impl View {
    /// Whether `revision` can be read from this view.
    #[must_use]
    pub fn shows(&self, revision: Revision) -> bool {
        self.compacted <= revision.0 && revision.0 <= self.revision
    }
}

/// Takes keys from the cursor on for a piece; whether there are no more.
fn plan_keys(
    piece: &mut Piece,
    cursor: &mut Cursor,
    view: &View,
    at: i64,
    form: Form,
    bytes_max: usize,
) -> bool {
    if cursor.left == 0 {
        return true;
    }
    let mut keys = 0;
    let walked = cursor.walk(view, at, RANGE_STEP_ENTRIES, |key, entry| {
        let len = len_of(view, form, key, entry);
        let full = piece.bytes > 0 && piece.bytes + field_bytes(len) > bytes_max;
        if full || keys == RANGE_PIECE_KEYS {
            return false;
        }
        keys += 1;
        piece.bytes += field_bytes(len);
        if form == Form::FromIndex {
            put_from_index(&mut piece.out, key, entry);
        } else {
            piece.items.push_back(Item::new(entry.rev(), len));
        }
        true
    });
    walked != Walked::Stopped
}

/// Takes the next of a list for a piece; whether there are no more.
fn plan_list(piece: &mut Piece, list: &mut std::vec::IntoIter<Item>, bytes_max: usize) -> bool {
    while let Some(item) = list.as_slice().first() {
        let full = piece.bytes > 0 && piece.bytes + item.field_bytes() > bytes_max;
        if full || piece.items.len() == RANGE_PIECE_KEYS {
            return false;
        }
        piece.bytes += item.field_bytes();
        piece.items.push_back(*item);
        list.next();
    }
    true
}

/// How long the answer for a key is, without its value being read.
fn len_of(view: &View, form: Form, key: KeyRef<'_>, entry: &Entry) -> usize {
    if form == Form::FromIndex {
        return index_len(key.len(), &numbers_of(entry));
    }
    let rev = entry.rev();
    match view.store.info(rev) {
        Some(info) => info.len,
        None => panic!("the index names record {rev}, which the store does not have"),
    }
}

fn record_at(view: &View, rev: Rev, patience: Patience) -> Result<Bytes, MvccError> {
    match view.store.read(rev, patience)? {
        Some(data) => Ok(data),
        None => panic!("the index names record {rev}, which the store does not have"),
    }
}

fn numbers_of(entry: &Entry) -> Numbers {
    Numbers {
        create: entry.create,
        modified: entry.main,
        version: entry.version,
        lease: 0,
    }
}

/// The length of a record without value and lease.
fn index_len(key_bytes: usize, numbers: &Numbers) -> usize {
    let number = |value: i64| match value {
        0 => 0,
        value => 1 + varint_bytes(value as u64),
    };
    let key = match key_bytes {
        0 => 0,
        len => field_bytes(len),
    };
    key + number(numbers.create) + number(numbers.modified) + number(numbers.version)
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.push(KVS);
    varint::put(out, len as u64);
}

fn put_from_index(out: &mut Vec<u8>, key: KeyRef<'_>, entry: &Entry) {
    let numbers = numbers_of(entry);
    put_len(out, index_len(key.len(), &numbers));
    record::encode(out, &key.to_bytes(), &[], &numbers);
}

fn put_kv(out: &mut Vec<u8>, kv: &KeyValue) {
    put_len(out, kv.encoded_len());
    kv.encode_raw(out);
}

/// Appends what is answered of a record.
fn put_record(out: &mut Vec<u8>, form: Form, item: &Item, data: &Bytes) {
    put_len(out, item.len as usize);
    if form == Form::Record {
        out.extend_from_slice(data);
        return;
    }
    let (key, numbers) = without_value(form, item.rev(), data);
    record::encode(out, key, &[], &numbers);
}

/// What is answered of a record whose value is not.
fn without_value(form: Form, rev: Rev, data: &[u8]) -> (&[u8], Numbers) {
    let Some(parts) = record::parse(data) else {
        panic!("record {rev} is not a key-value: the memory of this process is damaged");
    };
    let mut numbers = parts.numbers;
    if form == Form::FromIndex {
        numbers.lease = 0;
    }
    (parts.key, numbers)
}

/// The first key after `key`.
pub(crate) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}
