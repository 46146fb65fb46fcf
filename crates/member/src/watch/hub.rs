//! Who watches what, and the way of a change to them.

use super::inbox::{Inbox, Item, WatchRef};
use super::session::WatchSession;
use super::slab::Slab;
use crate::identity::Identity;
use crate::progress::Progress;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use tenet_base::world::SplitMix64;
use tenet_base::{Revision, Rng as _, limits};
use tenet_mvcc::{Event, Interest, InterestIndex, View};
use tenet_state::StateViews;
use tenet_store::Patience;

/// What flags say about watches.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Responses of this size are cut into fragments for clients that take them.
    pub response_bytes_max: usize,
    /// How long a watch is silent before it is told how far it is
    /// (`--watch-progress-notify-interval`).
    pub progress_interval_ms: u64,
    /// Where the sessions' intervals get their spread from.
    pub seed: u64,
}

impl Default for WatchOptions {
    fn default() -> Self {
        WatchOptions {
            response_bytes_max: limits::REQUEST_BYTES_MAX + limits::GRPC_OVERHEAD_BYTES,
            progress_interval_ms: limits::WATCH_PROGRESS_INTERVAL_MS,
            seed: 0,
        }
    }
}

/// How many watches there are, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Open sessions.
    pub sessions: u64,
    /// Watches.
    pub watches: u64,
    /// Watches that read the history to catch up.
    pub lagging: u64,
    /// Changes that wait to be sent.
    pub waiting: u64,
    /// Events given out since the start.
    pub events: u64,
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) progress: Arc<Progress>,
    pub(super) views: StateViews,
    pub(super) options: WatchOptions,
    pub(super) hub: Mutex<Hub>,
    pub(super) events: AtomicU64,
    /// The time of the last tick.
    pub(super) now_ms: AtomicU64,
}

/// The way from the applier to the sessions. Cloning gives another handle to the same hub.
#[derive(Clone, Debug)]
pub struct WatchHub(pub(super) Arc<Shared>);

impl WatchHub {
    /// A hub without watches over what a member publishes.
    #[must_use]
    pub fn new(
        identity: Identity,
        progress: Arc<Progress>,
        views: StateViews,
        options: WatchOptions,
    ) -> Self {
        let routed = views.load().kv.revision().get();
        WatchHub(Arc::new(Shared {
            identity,
            progress,
            views,
            options,
            hub: Mutex::new(Hub::new(routed, options.seed)),
            events: AtomicU64::new(0),
            now_ms: AtomicU64::new(0),
        }))
    }

    /// A session for one client stream.
    #[must_use]
    pub fn open(&self) -> WatchSession {
        WatchSession::new(Arc::clone(&self.0))
    }

    /// Routes what `view`, the newest published one, shows beyond the last.
    pub(crate) fn route(&self, view: &Arc<View>) {
        let mut wakes = Vec::new();
        self.0.hub.lock().route(view, &mut wakes);
        wake(wakes);
    }

    /// The state has become that of a snapshot, published as `view`: what lies between was not
    /// routed, so every watch that may want some of it reads the history by itself.
    pub(crate) fn jump(&self, view: &View) {
        let mut wakes = Vec::new();
        self.0.hub.lock().jump(view.revision().0, &mut wakes);
        wake(wakes);
    }

    /// Time goes on: tells quiet watches how far they are, and takes back what nobody pulls. Due
    /// ten times a second or so.
    pub fn tick(&self, now_ms: u64) {
        let mut wakes = Vec::new();
        let interval_ms = self.0.options.progress_interval_ms;
        self.0.now_ms.store(now_ms, Ordering::Relaxed);
        self.0.hub.lock().tick(now_ms, interval_ms, &mut wakes);
        wake(wakes);
    }

    /// How many watches there are.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        let hub = self.0.hub.lock();
        WatchCounts {
            sessions: hub.sessions.len() as u64,
            watches: hub.watchers.len() as u64,
            lagging: hub.lagging,
            waiting: hub.sessions.iter().map(|s| s.inbox.waiting()).sum(),
            events: self.0.events.load(Ordering::Relaxed),
        }
    }
}

pub(super) fn wake(wakes: Vec<Waker>) {
    wakes.into_iter().for_each(Waker::wake);
}

/// A watch as the hub sees it.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) watch: WatchRef,
    pub(super) session: u32,
    pub(super) inbox: Arc<Inbox>,
    pub(super) interest: Interest,
    pub(super) filter: Filter,
    /// Wants progress without asking.
    pub(super) notify: bool,
    /// Changes before this revision are not wanted, or were given.
    pub(super) min_revision: i64,
    /// The start revision that was asked for, or 0. As in etcd, nothing is said about progress
    /// before the store is there.
    pub(super) start_revision: i64,
    /// Reads the history by itself and is not routed to.
    pub(super) lagging: bool,
    /// Nothing was routed to it since it was last told how far it is.
    pub(super) quiet: bool,
    /// The part of the revision being routed that it wants.
    part: Option<(u32, u32)>,
}

impl Watcher {
    pub(super) fn new(session: u32, inbox: Arc<Inbox>, watch: WatchRef, of: &Wish) -> Self {
        Watcher {
            watch,
            session,
            inbox,
            interest: of.interest.clone(),
            filter: of.filter,
            notify: of.notify,
            min_revision: 0,
            start_revision: 0,
            lagging: false,
            quiet: true,
            part: None,
        }
    }

    /// Whether it has everything up to `routed`, so that it may be told so.
    fn is_current(&self, routed: i64) -> bool {
        !self.lagging && self.min_revision <= routed + 1 && self.start_revision <= routed
    }

    fn wants(&self, event: &Event) -> bool {
        !self.lagging && event.revision.0 >= self.min_revision && self.filter.passes(event)
    }
}

/// What a client asks of a watch, beside where it begins.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) interest: Interest,
    pub(super) filter: Filter,
    pub(super) notify: bool,
    pub(super) prev_kv: bool,
    pub(super) fragment: bool,
}

/// Kinds of changes that are not wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Filter {
    pub(super) no_put: bool,
    pub(super) no_delete: bool,
}

impl Filter {
    pub(super) fn passes(self, event: &Event) -> bool {
        !(if event.is_delete {
            self.no_delete
        } else {
            self.no_put
        })
    }
}

#[derive(Debug)]
pub(super) struct Session {
    inbox: Arc<Inbox>,
    watches: usize,
    /// Watches with `notify`.
    notify: usize,
    /// When quiet ones are to be told how far they are.
    notify_due_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Hub {
    /// All changes up to this revision have been routed.
    pub(super) routed: i64,
    index: InterestIndex<u32>,
    watchers: Slab<Watcher>,
    sessions: Slab<Session>,
    lagging: u64,
    next_epoch: u64,
    now_ms: u64,
    rng: SplitMix64,
    /// Watchers that want part of the revision being routed.
    touched: Vec<u32>,
}

impl Hub {
    fn new(routed: i64, seed: u64) -> Self {
        Hub {
            routed,
            index: InterestIndex::default(),
            watchers: Slab::default(),
            sessions: Slab::default(),
            lagging: 0,
            next_epoch: 0,
            now_ms: 0,
            rng: SplitMix64::new(seed),
            touched: Vec::new(),
        }
    }

    pub(super) fn add_session(&mut self, inbox: Arc<Inbox>) -> u32 {
        self.sessions.insert(Session {
            inbox,
            watches: 0,
            notify: 0,
            notify_due_ms: 0,
        })
    }

    pub(super) fn remove_session(&mut self, number: u32) {
        let left = self.sessions.remove(number).watches;
        assert!(left == 0, "a session ended with {left} watches in the hub");
    }

    /// A number that no watch had before.
    pub(super) fn new_epoch(&mut self) -> u64 {
        self.next_epoch += 1;
        self.next_epoch
    }

    /// Adds a watch that wants changes from `from` on: it lags if some of them are routed already.
    /// Returns where it is.
    pub(super) fn join(&mut self, mut watcher: Watcher, from: i64, interval_ms: u64) -> u32 {
        watcher.min_revision = from;
        watcher.lagging = from <= self.routed;
        self.lagging += u64::from(watcher.lagging);
        let session = self.sessions.get_mut(watcher.session);
        session.watches += 1;
        if watcher.notify {
            if session.notify == 0 {
                session.notify_due_ms = self.now_ms + spread(&mut self.rng, interval_ms);
            }
            session.notify += 1;
        }
        let interest = watcher.interest.clone();
        let slot = self.watchers.insert(watcher);
        self.index.add(&interest, slot);
        slot
    }

    pub(super) fn leave(&mut self, slot: u32) {
        let watcher = self.watchers.remove(slot);
        self.lagging -= u64::from(watcher.lagging);
        self.index.remove(&watcher.interest, slot);
        let session = self.sessions.get_mut(watcher.session);
        session.watches -= 1;
        session.notify -= usize::from(watcher.notify);
    }

    /// A lagging watch has been given everything before `cursor`. Whether it is routed to from
    /// now on; otherwise it must read on.
    pub(super) fn rejoin(&mut self, slot: u32, cursor: i64, view: &Arc<View>) -> bool {
        let behind = self.routed + 1 - cursor;
        let readable = view.compact_revision().is_none_or(|at| at.0 <= cursor);
        if behind > limits::WATCH_GAP_REVISIONS_MAX || (behind > 0 && !readable) {
            return false;
        }
        let missing = if behind > 0 {
            self.missing(cursor, view)
        } else {
            Some(Vec::new())
        };
        // Whoever cannot read what it lacks stays behind, and is told why when it reads again.
        let Some(missing) = missing else {
            return false;
        };
        self.lagging -= 1;
        let watcher = self.watchers.get_mut(slot);
        watcher.lagging = false;
        watcher.min_revision = cursor;
        self.route_missing(slot, &missing, view);
        true
    }

    /// What was routed from revision `from` on; `None` if it cannot be read.
    fn missing(&self, from: i64, view: &View) -> Option<Vec<Event>> {
        let routed = self.routed;
        let within = |event: &Event| event.revision.0 <= routed;
        view.events(Revision(from), Patience::Wait)
            .take_while(|event| event.as_ref().map_or(true, within))
            .collect::<Result<_, _>>()
            .ok()
    }

    /// Routes to one watch what it lacks of what others got.
    fn route_missing(&mut self, slot: u32, missing: &[Event], view: &Arc<View>) {
        // Its session is at work and will see for itself.
        let mut wakes = Vec::new();
        let mut revision = 0;
        for event in missing {
            if event.revision.0 != revision {
                self.flush(revision, view, &mut wakes);
                revision = event.revision.0;
            }
            if self.watchers.get(slot).interest.covers(&event.key) {
                note(&mut self.watchers, &mut self.touched, slot, event);
            }
        }
        self.flush(revision, view, &mut wakes);
    }

    fn route(&mut self, view: &Arc<View>, wakes: &mut Vec<Waker>) {
        let last = view.revision().0;
        if self.watchers.len() > 0 {
            let mut revision = 0;
            for event in view.events(Revision(self.routed + 1), Patience::Wait) {
                let event = event.expect("what was just published is in memory");
                if event.revision.0 != revision {
                    self.flush(revision, view, wakes);
                    revision = event.revision.0;
                }
                let (watchers, touched) = (&mut self.watchers, &mut self.touched);
                self.index
                    .each(&event.key, |slot| note(watchers, touched, slot, &event));
            }
            self.flush(revision, view, wakes);
        }
        self.routed = self.routed.max(last);
    }

    fn jump(&mut self, newest: i64, wakes: &mut Vec<Waker>) {
        let (routed, now_ms) = (self.routed, self.now_ms);
        if newest <= routed {
            return;
        }
        for watcher in self.watchers.iter_mut() {
            if watcher.lagging || watcher.min_revision > newest {
                continue;
            }
            watcher.lagging = true;
            self.lagging += 1;
            let watch = watcher.watch;
            let revision = watcher.min_revision.max(routed + 1);
            watcher
                .inbox
                .push(Item::Behind { watch, revision }, now_ms, wakes);
        }
        self.routed = newest;
    }

    /// Hands a revision to all who want part of it.
    fn flush(&mut self, revision: i64, view: &Arc<View>, wakes: &mut Vec<Waker>) {
        for slot in self.touched.drain(..) {
            let watcher = self.watchers.get_mut(slot);
            let (first, last) = watcher.part.take().expect("touched");
            watcher.quiet = false;
            let item = Item::Changes {
                watch: watcher.watch,
                revision,
                first,
                last,
                view: Arc::clone(view),
            };
            let watches = self.sessions.get(watcher.session).watches;
            let max = limits::WATCH_CHANGES_WAITING_MAX + 2 * watches;
            if !watcher.inbox.push_changes(item, max, self.now_ms, wakes) {
                watcher.lagging = true;
                self.lagging += 1;
                let watch = watcher.watch;
                let item = Item::Behind { watch, revision };
                watcher.inbox.push(item, self.now_ms, wakes);
            }
        }
    }

    fn tick(&mut self, now_ms: u64, interval_ms: u64, wakes: &mut Vec<Waker>) {
        self.now_ms = now_ms;
        let unread_since = now_ms.checked_sub(limits::WATCH_UNREAD_MS);
        let mut taken = Vec::new();
        for session in self.sessions.iter_mut() {
            if session.notify > 0 && session.notify_due_ms <= now_ms {
                session.notify_due_ms = now_ms + spread(&mut self.rng, interval_ms);
                session.inbox.push(Item::NotifyDue, self.now_ms, wakes);
            }
            let items = unread_since.and_then(|since| session.inbox.take_back(since));
            taken.extend(items.into_iter().flatten());
        }
        if !taken.is_empty() {
            self.set_back(taken, wakes);
        }
    }

    /// Makes cursors of places that nobody pulled.
    fn set_back(&mut self, items: Vec<Item>, wakes: &mut Vec<Waker>) {
        let mut behind: BTreeMap<u64, (WatchRef, i64)> = BTreeMap::new();
        for item in items {
            // Progress is dropped: it would be told too early now.
            if let Item::Changes {
                watch, revision, ..
            }
            | Item::Behind { watch, revision } = item
            {
                behind.entry(watch.epoch).or_insert((watch, revision));
            }
        }
        let now_ms = self.now_ms;
        for watcher in self.watchers.iter_mut() {
            if let Some((watch, revision)) = behind.remove(&watcher.watch.epoch) {
                self.lagging += u64::from(!watcher.lagging);
                watcher.lagging = true;
                let item = Item::Behind { watch, revision };
                watcher.inbox.push(item, now_ms, wakes);
            }
        }
    }

    /// Puts progress behind all that was routed to the session, if all its watches are up to
    /// date.
    pub(super) fn progress_of_all(&mut self, slots: impl Iterator<Item = u32>) {
        let routed = self.routed;
        let mut inbox = None;
        for slot in slots {
            let watcher = self.watchers.get_mut(slot);
            if !watcher.is_current(routed) {
                return;
            }
            inbox = Some(Arc::clone(&watcher.inbox));
        }
        if let Some(inbox) = inbox {
            let progress = Item::Progress {
                watch: None,
                revision: routed,
            };
            inbox.push(progress, self.now_ms, &mut Vec::new());
        }
    }

    /// Puts progress behind all that was routed to a watch, if it asked to be told, is up to date
    /// and was told nothing since the last time.
    pub(super) fn notify(&mut self, slot: u32) {
        let (routed, now_ms) = (self.routed, self.now_ms);
        let watcher = self.watchers.get_mut(slot);
        if !watcher.notify {
            return;
        }
        if watcher.quiet && watcher.is_current(routed) {
            let progress = Item::Progress {
                watch: Some(watcher.watch),
                revision: routed,
            };
            watcher.inbox.push(progress, now_ms, &mut Vec::new());
        }
        watcher.quiet = true;
    }
}

/// Notes that a watcher wants an event of the revision being routed, if it does.
fn note(watchers: &mut Slab<Watcher>, touched: &mut Vec<u32>, slot: u32, event: &Event) {
    let watcher = watchers.get_mut(slot);
    if !watcher.wants(event) {
        return;
    }
    match &mut watcher.part {
        Some((_, last)) => *last = event.sub,
        None => {
            watcher.part = Some((event.sub, event.sub));
            touched.push(slot);
        }
    }
}

/// An interval and up to a tenth more, so that sessions do not all speak at once.
fn spread(rng: &mut SplitMix64, interval_ms: u64) -> u64 {
    interval_ms + rng.below(interval_ms / 10 + 1)
}
