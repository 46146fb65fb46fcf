//! What waits for a session to pull it. Filled under the hub's lock, emptied by the session.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use tenet_mvcc::View;

/// A watch of a session: the client's id, and a number that is never given twice, so that what
/// was meant for a cancelled watch does not reach a new one of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchRef {
    pub(super) id: i64,
    pub(super) epoch: u64,
}

/// Something for a session to say, in the order in which it must be said.
#[derive(Debug)]
pub(super) enum Item {
    /// The watch wants some of the changes number `first` to `last` of a revision.
    Changes {
        watch: WatchRef,
        revision: i64,
        first: u32,
        last: u32,
        /// Holds the changes, whatever is compacted meanwhile.
        view: Arc<View>,
    },
    /// The watch was given everything before this revision, and must read on by itself from it.
    Behind { watch: WatchRef, revision: i64 },
    /// The watch, or without one all of the session, was given everything up to this revision.
    Progress {
        watch: Option<WatchRef>,
        revision: i64,
    },
    /// It is time to tell quiet watches how far they are.
    NotifyDue,
}

#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) items: VecDeque<Item>,
    /// How many of `items` are changes.
    pub(super) changes: usize,
    /// When `items` was last empty or taken from.
    pub(super) moved_ms: u64,
    /// Whom to tell of the next item.
    pub(super) waker: Option<Waker>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Contents>);

impl Inbox {
    /// Adds an item. Whoever must be woken for it is added to `wakes`, to be woken once no lock
    /// is held.
    pub(super) fn push(&self, item: Item, now_ms: u64, wakes: &mut Vec<Waker>) {
        let mut contents = self.0.lock();
        if contents.items.is_empty() {
            contents.moved_ms = now_ms;
        }
        contents.changes += usize::from(matches!(item, Item::Changes { .. }));
        contents.items.push_back(item);
        wakes.extend(contents.waker.take());
    }

    /// As [`Inbox::push`] for changes, unless `changes_max` of them wait already.
    pub(super) fn push_changes(
        &self,
        item: Item,
        changes_max: usize,
        now_ms: u64,
        wakes: &mut Vec<Waker>,
    ) -> bool {
        let mut contents = self.0.lock();
        if contents.changes >= changes_max {
            return false;
        }
        if contents.items.is_empty() {
            contents.moved_ms = now_ms;
        }
        contents.changes += 1;
        contents.items.push_back(item);
        wakes.extend(contents.waker.take());
        true
    }

    /// The next item.
    pub(super) fn pop(&self, now_ms: u64) -> Option<Item> {
        let mut contents = self.0.lock();
        let item = contents.items.pop_front()?;
        contents.changes -= usize::from(matches!(item, Item::Changes { .. }));
        contents.moved_ms = now_ms;
        Some(item)
    }

    /// Whether nothing is left; then `waker` is woken by the next item.
    pub(super) fn rest(&self, waker: &Waker) -> bool {
        let mut contents = self.0.lock();
        if contents.items.is_empty() {
            contents.waker = Some(waker.clone());
            true
        } else {
            false
        }
    }

    /// How many changes wait.
    pub(super) fn waiting(&self) -> u64 {
        self.0.lock().changes as u64
    }

    /// Everything, if nothing was taken out since then and there is anything to take back.
    pub(super) fn take_back(&self, since_ms: u64) -> Option<VecDeque<Item>> {
        let mut contents = self.0.lock();
        if contents.changes == 0 || contents.moved_ms > since_ms {
            return None;
        }
        contents.changes = 0;
        Some(std::mem::take(&mut contents.items))
    }
}
