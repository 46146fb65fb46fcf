//! Reading the history for a watch that is behind.

use super::encode::Events;
use super::hub::Wish;
use tenet_base::{Revision, limits};
use tenet_mvcc::{Event, View};

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
pub(super) fn read(wish: &Wish, cursor: i64, view: &View, events: &mut Events) -> Stretch {
    let compacted = view.compact_revision().map_or(-1, |at| at.0);
    if cursor < compacted {
        return Stretch::Compacted(compacted);
    }
    let from = Revision(cursor);
    let newest = view.revision().0;
    let mut taking = Taking {
        wish,
        view,
        events,
        revision: 0,
        revisions: 0,
        looked: 0,
    };
    // Few keys in a long time are found through the index.
    let budget = usize::try_from((newest - cursor) / 4).unwrap_or(0);
    let budget = budget.min(limits::WATCH_STEP_CHANGES);
    let found = match view.history(&wish.interest, from, budget) {
        Some(history) => taking.take(view.events_of(&history)),
        None => taking.take(view.events(from)),
    };
    Stretch::Until(found.unwrap_or(newest + 1))
}

struct Taking<'a> {
    wish: &'a Wish,
    view: &'a View,
    events: &'a mut Events,
    /// The revision that is being looked at.
    revision: i64,
    /// Revisions of which something was taken.
    revisions: usize,
    looked: usize,
}

impl Taking<'_> {
    /// Takes what is wanted, as much as fits; the first revision that does not.
    fn take<'e>(&mut self, found: impl Iterator<Item = Event<'e>>) -> Option<i64> {
        let mut taken_of = 0;
        for event in found {
            if event.revision.0 != self.revision {
                let full = self.revisions >= limits::WATCH_RESPONSE_REVISIONS_MAX
                    || self.events.bytes() >= limits::WATCH_RESPONSE_BYTES
                    || self.looked >= limits::WATCH_STEP_CHANGES;
                if full {
                    return Some(event.revision.0);
                }
                self.revision = event.revision.0;
            }
            self.looked += 1;
            if self.wish.interest.covers(event.key) && self.wish.filter.passes(&event) {
                push(self.wish, &event, self.view, self.events);
                self.revisions += usize::from(taken_of != event.revision.0);
                taken_of = event.revision.0;
            }
        }
        None
    }
}

/// Appends one event, with what was there before if that is wanted and not compacted.
pub(super) fn push(wish: &Wish, event: &Event<'_>, view: &View, events: &mut Events) {
    let prev = if wish.prev_kv && !event.is_create {
        view.before(event.key, event.revision).ok().flatten()
    } else {
        None
    };
    events.push(event, prev.as_deref());
}
