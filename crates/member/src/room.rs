//! Who has asked the leader for something, as a message, and waits for the entry that it becomes.
//!
//! The entry is known by the id of the request; ids are never used twice, not even by other members
//! or other runs of this one. A message may be lost, so everybody here has a deadline, on the clock
//! that the applier is told.
//!
//! Invariant: whoever comes in is handed out once: with the entry or at the deadline.

use crate::messages::Asked;
use crate::progress::Permit;
use std::collections::{BTreeMap, VecDeque};

/// Somebody who waits.
#[derive(Debug)]
pub(crate) struct Guest<W> {
    pub(crate) waiter: W,
    pub(crate) permit: Option<Permit>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Room<W> {
    guests: BTreeMap<u64, Guest<W>>,
    /// Deadlines and ids in the order of coming; who has left is skipped.
    order: VecDeque<(u64, u64)>,
    patience_ms: u64,
    now_ms: u64,
}

impl<W> Room<W> {
    /// A room in which everybody waits for `patience_ms`.
    pub(crate) fn new(patience_ms: u64) -> Self {
        Room {
            guests: BTreeMap::new(),
            order: VecDeque::new(),
            patience_ms,
            now_ms: 0,
        }
    }

    pub(crate) fn enter(&mut self, asked: Asked<W>) {
        let Asked { id, waiter, permit } = asked;
        let guest = Guest { waiter, permit };
        let twin = self.guests.insert(id, guest);
        assert!(twin.is_none(), "two requests have the id {id:x}");
        self.order.push_back((self.now_ms + self.patience_ms, id));
    }

    /// Whoever waits for the entry with this id.
    pub(crate) fn leave(&mut self, id: u64) -> Option<Guest<W>> {
        if self.guests.is_empty() {
            return None;
        }
        let guest = self.guests.remove(&id);
        // Entries come about in the order in which they were asked for, so this stays short.
        while self
            .order
            .front()
            .is_some_and(|(_, id)| !self.guests.contains_key(id))
        {
            self.order.pop_front();
        }
        guest
    }

    /// Time has come to `now_ms`: gives those who waited too long.
    pub(crate) fn time(&mut self, now_ms: u64) -> Vec<Guest<W>> {
        self.now_ms = now_ms;
        let late = self
            .order
            .iter()
            .take_while(|(deadline_ms, _)| *deadline_ms <= now_ms);
        let count = late.count();
        self.order
            .drain(..count)
            .filter_map(|(_, id)| self.guests.remove(&id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: u64) -> Asked<&'static str> {
        Asked {
            id,
            waiter: "somebody",
            permit: None,
        }
    }

    #[test]
    fn everybody_leaves_once_with_the_entry_or_at_the_deadline() {
        let mut room = Room::new(100);
        assert!(room.time(1_000).is_empty());
        (1..=3).for_each(|id| room.enter(asked(id)));
        assert!(room.leave(2).is_some());
        assert!(room.leave(2).is_none(), "an entry answers once");
        assert!(room.time(1_099).is_empty());
        room.enter(asked(4));
        assert_eq!(room.time(1_100).len(), 2, "1 and 3 have waited long enough");
        assert_eq!(room.order.len(), 1);
        assert_eq!(room.time(9_999).len(), 1);
    }

    #[test]
    fn deadlines_of_those_who_left_are_forgotten() {
        let mut room = Room::new(100);
        for id in 0..1_000 {
            room.enter(asked(id));
            assert!(room.leave(id).is_some());
        }
        assert!(room.order.is_empty());
    }
}
