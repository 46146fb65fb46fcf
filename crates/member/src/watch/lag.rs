//! Reading the history for a watch that is behind.

use super::encode::Events;
use super::hub::Wish;
use tenet_base::{Revision, limits};
use tenet_mvcc::{Event, MvccError, View};
use tenet_store::{Patience, ReadError};

/// What one step of catching up came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// What is wanted before this revision is among the events.
    Until(i64),
    /// The revision to go on from is compacted; the compact revision.
    Compacted(i64),
}

/// Appends to `events` what a watch wants of the history from `cursor` on: up to the newest
/// revision, or as much as fits into one response or one step.
///
/// # Errors
/// If it cannot be read, or not with so little patience.
pub(super) fn read(
    wish: &Wish,
    cursor: i64,
    view: &View,
    patience: Patience,
    events: &mut Events,
) -> Result<Stretch, ReadError> {
    let compacted = view.compact_revision().map_or(-1, |at| at.0);
    if cursor < compacted {
        return Ok(Stretch::Compacted(compacted));
    }
    let from = Revision(cursor);
    let newest = view.revision().0;
    let mut taking = Taking {
        wish,
        view,
        patience,
        events,
        revision: 0,
        revisions: 0,
        looked: 0,
    };
    // Few keys in a long time are found through the index.
    let budget = usize::try_from((newest - cursor) / 4).unwrap_or(0);
    let budget = budget.min(limits::WATCH_STEP_CHANGES);
    let found = match view.history(&wish.interest, from, budget) {
        Some(history) => taking.take(view.events_of(&history, patience))?,
        None => taking.take(view.events(from, patience))?,
    };
    Ok(Stretch::Until(found.unwrap_or(newest + 1)))
}

struct Taking<'a> {
    wish: &'a Wish,
    view: &'a View,
    patience: Patience,
    events: &'a mut Events,
    /// The revision that is being looked at.
    revision: i64,
    /// Revisions of which something was taken.
    revisions: usize,
    looked: usize,
}

impl Taking<'_> {
    /// Takes what is wanted, as much as fits; the first revision that does not.
    fn take(
        &mut self,
        found: impl Iterator<Item = Result<Event, ReadError>>,
    ) -> Result<Option<i64>, ReadError> {
        let mut taken_of = 0;
        for event in found {
            let event = event?;
            if event.revision.0 != self.revision {
                let full = self.revisions >= limits::WATCH_RESPONSE_REVISIONS_MAX
                    || self.events.bytes() >= limits::WATCH_RESPONSE_BYTES
                    || self.looked >= limits::WATCH_STEP_CHANGES;
                if full {
                    return Ok(Some(event.revision.0));
                }
                self.revision = event.revision.0;
            }
            self.looked += 1;
            if self.wish.interest.covers(&event.key) && self.wish.filter.passes(&event) {
                push(self.wish, &event, self.view, self.patience, self.events)?;
                self.revisions += usize::from(taken_of != event.revision.0);
                taken_of = event.revision.0;
            }
        }
        Ok(None)
    }
}

/// Appends one event, with what was there before if that is wanted and not compacted.
///
/// # Errors
/// If that cannot be read, or not with so little patience.
pub(super) fn push(
    wish: &Wish,
    event: &Event,
    view: &View,
    patience: Patience,
    events: &mut Events,
) -> Result<(), ReadError> {
    let prev = if wish.prev_kv && !event.is_create {
        match view.before(&event.key, event.revision, patience) {
            Ok(prev) => prev,
            Err(MvccError::Read(error)) => return Err(*error),
            Err(MvccError::Compacted | MvccError::FutureRevision) => None,
        }
    } else {
        None
    };
    events.push(event, prev.as_deref());
    Ok(())
}
