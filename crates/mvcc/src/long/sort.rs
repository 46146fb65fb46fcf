//! Long ranges in another order than that of keys.
//!
//! The list of records is what stands for the answer, so memory grows with the number of keys and
//! not with their values. Even an order by value does not hold the values: it compares their first
//! bytes, then reads on only where these are equal.

use super::{Form, Item, Length, LongRange, Measured, Piece, Rest};
use super::{len_of, record_at, without_value};
use crate::index::{Entry, KeyRange};
use crate::plan::{self, Order, Plan};
use crate::record;
use crate::{MvccError, View};
use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};
use tenet_base::limits::{RANGE_SORT_BYTES, RANGE_SORT_ENTRY_BYTES};
use tenet_proto::etcdserverpb::RangeRequest;
use tenet_proto::etcdserverpb::range_request::SortTarget;
use tenet_store::Patience;

/// Bytes of each value that are compared at a time, at least and at most.
const BLOCK_BYTES: (usize, usize) = (16, 64 * 1024);

/// What a walk over the whole range found.
struct Found {
    /// Each with what it is ordered by.
    items: Vec<(i64, Item)>,
    /// Whether the limit cut the walk short.
    cut: bool,
    count: u64,
}

impl View {
    /// What [`View::sort_range`] needs for a request, in bytes, about.
    #[must_use]
    pub fn sort_bytes(&self, req: &RangeRequest) -> usize {
        match plan::revision_of(req, self.revision, self.compacted) {
            Ok(at) => {
                let range = KeyRange::new(&req.key, &req.range_end);
                self.tree.count(range, at) as usize * RANGE_SORT_ENTRY_BYTES
            }
            Err(_) => 0,
        }
    }

    /// Answers a range in pieces, in any order. Takes long for many keys; reads values, and waits
    /// for them, only to order by them.
    ///
    /// # Errors
    /// If the revision is compacted or in the future, or a value cannot be read.
    pub fn sort_range(&self, req: &RangeRequest) -> Result<LongRange, MvccError> {
        let at = plan::revision_of(req, self.revision, self.compacted)?;
        let range = KeyRange::new(&req.key, &req.range_end);
        let plan = Plan::new(req, at);
        let form = Form::of(&plan);
        let Found {
            mut items,
            cut,
            count,
        } = find(self, range, &plan, form);
        match plan.target {
            // Keys come in order.
            SortTarget::Key if plan.is_descending() => items.reverse(),
            SortTarget::Key => {}
            SortTarget::Value => by_value(self, &plan, &mut items)?,
            _ => plan.sort(&mut items, |a, b| a.0.cmp(&b.0)),
        }
        let more = cut || items.len() > plan.limit;
        items.truncate(plan.limit);
        let mut bytes = 0;
        for (_, item) in &mut items {
            if form == Form::WithoutValue {
                let data = record_at(self, item.rev(), Patience::Wait)?;
                let (key, numbers) = without_value(form, item.rev(), &data);
                let mut record = Vec::new();
                record::encode(&mut record, key, &[], &numbers);
                *item = Item::new(item.rev(), record.len());
            }
            bytes += item.field_bytes() as u64;
        }
        let list: Vec<Item> = items.into_iter().map(|(_, item)| item).collect();
        Ok(LongRange {
            at,
            form,
            key: req.key.clone(),
            range_end: req.range_end.clone(),
            length: Length::Known(Measured {
                bytes,
                keys: list.len() as u64,
                next_key: None,
                more,
                count: count as i64,
            }),
            rest: Rest::List(list.into_iter()),
            piece: Piece::default(),
            given: 0,
        })
    }
}

/// The records that may be answered, in the order of keys.
fn find(view: &View, range: KeyRange<'_>, plan: &Plan, form: Form) -> Found {
    // An order by something else than keys that is not asked for by name sorts what the limit
    // lets through, and one more.
    let read_max = match plan.order {
        Order::Natural => plan.limit.saturating_add(1),
        Order::Explicit { .. } => usize::MAX,
    };
    let mut found = Found {
        items: Vec::new(),
        cut: false,
        count: 0,
    };
    // A visitor that breaks has what it wants.
    let _ = view.tree.visit(range, plan.at, |key, entry| {
        if entry.tombstone {
            return ControlFlow::Continue(());
        }
        if found.items.len() == read_max {
            found.cut = true;
            return ControlFlow::Break(());
        }
        found.count += 1;
        if plan.filters.admit(entry) {
            let len = len_of(view, form, key, entry);
            let item = Item::new(entry.rev(), len);
            found.items.push((ordered_by(plan.target, entry), item));
        }
        ControlFlow::Continue(())
    });
    if found.cut {
        found.count = view.tree.count(range, plan.at);
    }
    found
}

fn ordered_by(target: SortTarget, entry: &Entry) -> i64 {
    match target {
        SortTarget::Version => entry.version,
        SortTarget::Create => entry.create,
        SortTarget::Mod => entry.main,
        SortTarget::Key | SortTarget::Value => 0,
    }
}

/// Sorts by value; equal values stay in the order of their keys.
fn by_value(view: &View, plan: &Plan, items: &mut [(i64, Item)]) -> Result<(), MvccError> {
    // Runs of records whose values are equal up to a place.
    let mut runs: Vec<(Range<usize>, usize)> = vec![(0..items.len(), 0)];
    while let Some((run, skip)) = runs.pop() {
        let start = run.start;
        let blocks = sort_run(view, plan, &mut items[run], skip)?;
        let mut from = 0;
        while from < blocks.order.len() {
            let same = blocks.run_from(from);
            // A block that is not full is the end of its value.
            if same.len() > 1 && blocks.get(from).len() == blocks.block_bytes {
                let run = start + same.start..start + same.end;
                runs.push((run, skip + blocks.block_bytes));
            }
            from = same.end;
        }
    }
    Ok(())
}

/// Some bytes of each value of a run.
struct Blocks {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    block_bytes: usize,
    /// The numbers of the values, sorted.
    order: Vec<u32>,
}

impl Blocks {
    fn number(&self, number: usize) -> &[u8] {
        let start = match number {
            0 => 0,
            number => self.ends[number - 1],
        };
        &self.bytes[start..self.ends[number]]
    }

    /// The block that sorts to a place.
    fn get(&self, at: usize) -> &[u8] {
        self.number(self.order[at] as usize)
    }

    /// The places from `from` on with equal blocks.
    fn run_from(&self, from: usize) -> Range<usize> {
        let mut end = from + 1;
        while end < self.order.len() && self.get(end) == self.get(from) {
            end += 1;
        }
        from..end
    }
}

/// Sorts a run by one block of each value, `skip` bytes behind its start.
fn sort_run(
    view: &View,
    plan: &Plan,
    run: &mut [(i64, Item)],
    skip: usize,
) -> Result<Blocks, MvccError> {
    let share = RANGE_SORT_BYTES / run.len().max(1);
    let mut blocks = Blocks {
        bytes: Vec::new(),
        ends: Vec::with_capacity(run.len()),
        block_bytes: share.clamp(BLOCK_BYTES.0, BLOCK_BYTES.1),
        order: (0..run.len() as u32).collect(),
    };
    for (_, item) in &*run {
        let data = record_at(view, item.rev(), Patience::Wait)?;
        let Some(parts) = record::parse(&data) else {
            panic!(
                "record {} is not a key-value: the memory of this process is damaged",
                item.rev()
            );
        };
        let rest = parts.value.get(skip..).unwrap_or_default();
        let block = &rest[..rest.len().min(blocks.block_bytes)];
        blocks.bytes.extend_from_slice(block);
        blocks.ends.push(blocks.bytes.len());
    }
    let mut order = std::mem::take(&mut blocks.order);
    let compare = |a: &u32, b: &u32| -> Ordering {
        blocks.number(*a as usize).cmp(blocks.number(*b as usize))
    };
    plan.sort(&mut order, compare);
    let sorted: Vec<(i64, Item)> = order.iter().map(|&at| run[at as usize]).collect();
    run.copy_from_slice(&sorted);
    blocks.order = order;
    Ok(blocks)
}
