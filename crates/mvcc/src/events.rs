//! Changes in the order in which they happened, as watchers want them.
//!
//! The store is itself the history: a record per change, in revision order. So an event is a look
//! at a record, and nobody keeps events beside it.
//!
//! What lies below the compact revision is not there by right, even where it still is: the caller
//! asks for nothing below it.
//!
//! Whoever has no patience gets [`ReadError::Cold`] for what would have to be waited for.

use crate::index::{Position, Tree};
use crate::interest::Interest;
use crate::view::View;
use crate::{record, request::MvccError};
use bytes::Bytes;
use std::ops::ControlFlow;
use tenet_base::Revision;
use tenet_store::{Patience, ReadError, Record, Rev};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision of the transaction that made it.
    pub revision: Revision,
    /// Its number in the transaction, from zero.
    pub sub: u32,
    /// Whether the key was deleted.
    pub is_delete: bool,
    /// Whether a put gave the key a new life, so that there is nothing before it.
    pub is_create: bool,
    /// The key.
    pub key: Bytes,
    /// The key-value that was put, as an encoded `mvccpb.KeyValue`. Of a deletion it holds the key
    /// only.
    pub record: Bytes,
}

impl Event {
    fn of(found: Record) -> Event {
        let Some(parts) = record::parse(&found.data) else {
            panic!(
                "record {} is not a key-value: the memory of this process is damaged",
                found.rev
            );
        };
        Event {
            revision: Revision(found.rev.main),
            sub: found.rev.sub,
            is_delete: found.tombstone,
            is_create: !found.tombstone && parts.numbers.create == found.rev.main,
            key: record::share(&found.data, parts.key),
            record: found.data,
        }
    }
}

/// Places of the changes of some keys, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Vec<Rev>);

impl View {
    /// All changes from revision `from` on, oldest first. Ends with the first error.
    pub fn events(
        &self,
        from: Revision,
        patience: Patience,
    ) -> impl Iterator<Item = Result<Event, ReadError>> + '_ {
        let records = self.store.scan_with(Rev::new(from.0, 0), patience);
        records.map(|found| found.map(Event::of))
    }

    /// The changes number `first` to `last` of the transaction at `revision`.
    pub fn changes(
        &self,
        revision: Revision,
        first: u32,
        last: u32,
        patience: Patience,
    ) -> impl Iterator<Item = Result<Event, ReadError>> + '_ {
        let records = self.store.scan_with(Rev::new(revision.0, first), patience);
        let end = Rev::new(revision.0, last);
        records
            .take_while(move |found| found.as_ref().map_or(true, |found| found.rev <= end))
            .map(|found| found.map(Event::of))
    }

    /// The changes of a history, which must be this view's.
    ///
    /// # Panics
    /// If a change is not there: index and store disagree.
    pub fn events_of<'a>(
        &'a self,
        history: &'a History,
        patience: Patience,
    ) -> impl Iterator<Item = Result<Event, ReadError>> + 'a {
        let find = move |rev: &Rev| match self.store.find(*rev, patience)? {
            Some(found) => Ok(Event::of(found)),
            None => panic!("the index names record {rev}, which the store does not have"),
        };
        history.0.iter().map(find)
    }

    /// The changes of `keys` from revision `from` on, found by looking at no more than
    /// `budget_entries` of the index; `None` if that does not suffice. Better than
    /// [`View::events`] for few keys in a long time.
    #[must_use]
    pub fn history(
        &self,
        keys: &Interest,
        from: Revision,
        budget_entries: usize,
    ) -> Option<History> {
        let mut revs = history(&self.tree, keys, from.0, budget_entries)?;
        revs.sort_unstable();
        Some(History(revs))
    }

    /// The key-value that `key` had just before `revision`, as an encoded `mvccpb.KeyValue`;
    /// `None` if it had none.
    ///
    /// # Errors
    /// If that is compacted, or cannot be read.
    pub fn before(
        &self,
        key: &[u8],
        revision: Revision,
        patience: Patience,
    ) -> Result<Option<Bytes>, MvccError> {
        let at = revision.0 - 1;
        if at < self.compacted {
            return Err(MvccError::Compacted);
        }
        let entry = self.tree.find(key, at).filter(|entry| !entry.tombstone);
        let Some(rev) = entry.map(|entry| entry.rev()) else {
            return Ok(None);
        };
        match self.store.read(rev, patience)? {
            Some(record) => Ok(Some(record)),
            None => panic!("the index names record {rev}, which the store does not have"),
        }
    }
}

fn history(tree: &Tree, keys: &Interest, from: i64, budget_entries: usize) -> Option<Vec<Rev>> {
    let (start, end) = match keys {
        Interest::Key(key) => (key, None),
        Interest::Range(start, end) => (start, end.as_ref()),
    };
    let mut revs = Vec::new();
    let mut looked = 0;
    let walk = tree.visit_entries(&Position::at_key(start), |key, entry, _| {
        let inside = match keys {
            Interest::Key(wanted) => key.cmp_bytes(wanted).is_eq(),
            Interest::Range(..) => end.is_none_or(|end| key.cmp_bytes(end).is_lt()),
        };
        if !inside {
            return ControlFlow::Break(true);
        }
        looked += 1;
        if looked > budget_entries {
            return ControlFlow::Break(false);
        }
        if entry.main >= from {
            revs.push(entry.rev());
        } else if matches!(keys, Interest::Key(_)) {
            // A key's entries come newest first.
            return ControlFlow::Break(true);
        }
        ControlFlow::Continue(())
    });
    let whole = walk.break_value().unwrap_or(true);
    whole.then_some(revs)
}
