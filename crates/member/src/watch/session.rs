//! One watch stream of a client: its requests in, its responses out.

use super::encode::{self, Events};
use super::hub::{Filter, Shared, Watcher, Wish};
use super::inbox::{Inbox, Item, WatchRef};
use super::lag::{self, Stretch};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use tenet_base::{Revision, limits};
use tenet_mvcc::{Interest, View};
use tenet_proto::etcdserverpb::watch_create_request::FilterType;
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tenet_store::{Patience, ReadError};

/// The id of responses that are about no watch.
const NO_WATCH: i64 = -1;

/// What is left after a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// Nothing; the waker is woken when there is something.
    All,
    /// Perhaps more: pull again, after others had their turn.
    Part,
    /// What is next would have to be waited for, which the caller did not want.
    Cold,
    /// The history cannot be read: the stream must end.
    Unreadable(Box<ReadError>),
}

impl Pulled {
    fn of(error: ReadError) -> Pulled {
        match error {
            ReadError::Cold => Pulled::Cold,
            error => Pulled::Unreadable(Box::new(error)),
        }
    }
}

/// A watch of this session.
#[derive(Debug)]
struct Watch {
    epoch: u64,
    /// Where the hub has it; nowhere once it was ended by a compaction. Its id stays taken, as in
    /// etcd, until the client cancels it.
    slot: Option<u32>,
    wish: Wish,
}

/// A watch that reads the history, and what it was given everything before.
#[derive(Clone, Copy, Debug)]
struct Lag {
    watch: WatchRef,
    cursor: i64,
}

/// The last event that went to one watch alone, encoded: the next watch often wants the same.
#[derive(Debug, Default)]
struct Memo {
    place: Option<(i64, u32)>,
    prev_kv: bool,
    events: Events,
}

/// See the module.
#[derive(Debug)]
pub struct WatchSession {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    number: u32,
    watches: BTreeMap<i64, Watch>,
    next_id: i64,
    answers: VecDeque<Bytes>,
    lags: VecDeque<Lag>,
    /// What was taken from the inbox and could not be said without waiting.
    held: Option<Item>,
    memo: Memo,
    events: Events,
}

impl WatchSession {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let inbox = Arc::new(Inbox::default());
        let number = shared.hub.lock().add_session(Arc::clone(&inbox));
        WatchSession {
            shared,
            inbox,
            number,
            watches: BTreeMap::new(),
            next_id: 0,
            answers: VecDeque::new(),
            lags: VecDeque::new(),
            held: None,
            memo: Memo::default(),
            events: Events::default(),
        }
    }

    /// Whether the next request may be taken. If not, pull first: a client that asks and does not
    /// read must wait.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.answers.len() < limits::WATCH_ANSWERS_WAITING_MAX
    }

    /// Takes a request of the client. Pull afterwards.
    pub fn request(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(create),
            Some(RequestUnion::CancelRequest(cancel)) => self.cancel(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => {
                let slots = self.watches.values().filter_map(|watch| watch.slot);
                self.shared.hub.lock().progress_of_all(slots);
            }
            None => {}
        }
    }

    /// Appends encoded `WatchResponse`s to `out`, up to about `budget_bytes` of them. With patience
    /// it may wait for the medium.
    pub fn pull(
        &mut self,
        waker: &Waker,
        budget_bytes: usize,
        patience: Patience,
        out: &mut Vec<Bytes>,
    ) -> Pulled {
        let mut room = Room {
            left: budget_bytes,
            seen: out.len(),
        };
        let now_ms = self.shared.now_ms.load(Ordering::Relaxed);
        loop {
            out.extend(self.answers.drain(..));
            while room.is_left(out) {
                let held = self.held.take();
                let Some(item) = held.or_else(|| self.inbox.pop(now_ms)) else {
                    break;
                };
                if let Err(error) = self.say(&item, patience, out) {
                    self.held = Some(item);
                    return Pulled::of(error);
                }
            }
            if let Some(lag) = self.lags.pop_front() {
                return match self.catch_up(lag, patience, out) {
                    Ok(()) => Pulled::Part,
                    Err(error) => {
                        self.lags.push_front(lag);
                        Pulled::of(error)
                    }
                };
            }
            if !room.is_left(out) {
                return Pulled::Part;
            }
            if self.answers.is_empty() && self.inbox.rest(waker) {
                return Pulled::All;
            }
        }
    }

    fn head(&self, revision: i64, watch_id: i64) -> WatchResponse {
        let term = self.shared.progress.term().get();
        WatchResponse {
            header: Some(encode::header(self.shared.identity, term, revision)),
            watch_id,
            ..WatchResponse::default()
        }
    }

    fn answer(&mut self, response: &WatchResponse) {
        self.answers.push_back(encode::response(response));
    }

    fn refuse(&mut self, revision: i64, reason: &str) {
        let response = WatchResponse {
            created: true,
            canceled: true,
            cancel_reason: reason.to_owned(),
            ..self.head(revision, NO_WATCH)
        };
        self.answer(&response);
    }

    fn create(&mut self, request: WatchCreateRequest) {
        let shared = Arc::clone(&self.shared);
        let mut hub = shared.hub.lock();
        // Loaded under the lock, so that nothing can be routed between this revision and the
        // place where the watch begins.
        let revision = shared.views.load().kv.revision().get();
        let start = request.start_revision;
        let (wish, id) = match self.check(&request) {
            Ok(found) => found,
            Err(reason) => return self.refuse(revision, reason),
        };
        let watch = WatchRef {
            id,
            epoch: hub.new_epoch(),
        };
        let from = if start > 0 { start } else { revision + 1 };
        let mut watcher = Watcher::new(self.number, Arc::clone(&self.inbox), watch, &wish);
        watcher.start_revision = start;
        let slot = hub.join(watcher, from, shared.options.progress_interval_ms);
        if from <= hub.routed {
            self.lags.push_back(Lag {
                watch,
                cursor: from,
            });
        }
        drop(hub);
        let watch = Watch {
            epoch: watch.epoch,
            slot: Some(slot),
            wish,
        };
        self.watches.insert(id, watch);
        let created = WatchResponse {
            created: true,
            ..self.head(revision, id)
        };
        self.answer(&created);
    }

    /// What is asked for and the watch's id, or why it is refused.
    fn check(&mut self, request: &WatchCreateRequest) -> Result<(Wish, i64), &'static str> {
        if request.start_revision < 0 {
            return Err("etcdserver: mvcc: required revision has been compacted");
        }
        let interest =
            interest(&request.key, &request.range_end).ok_or("mvcc: watcher range is empty")?;
        if self.watches.len() >= limits::WATCHES_PER_STREAM_MAX {
            return Err("etcdserver: too many requests");
        }
        let id = match request.watch_id {
            0 => self.free_id(),
            id if self.watches.contains_key(&id) => {
                return Err("mvcc: duplicate watch ID provided on the WatchStream");
            }
            id => id,
        };
        let has = |filter| request.filters.contains(&i32::from(filter));
        let wish = Wish {
            interest,
            filter: Filter {
                no_put: has(FilterType::Noput),
                no_delete: has(FilterType::Nodelete),
            },
            notify: request.progress_notify,
            prev_kv: request.prev_kv,
            fragment: request.fragment,
        };
        Ok((wish, id))
    }

    fn free_id(&mut self) -> i64 {
        while self.watches.contains_key(&self.next_id) {
            self.next_id += 1;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn cancel(&mut self, id: i64) {
        let Some(watch) = self.watches.remove(&id) else {
            return;
        };
        if let Some(slot) = watch.slot {
            self.shared.hub.lock().leave(slot);
        }
        self.lags.retain(|lag| lag.watch.epoch != watch.epoch);
        let revision = self.shared.views.load().kv.revision().get();
        let canceled = WatchResponse {
            canceled: true,
            ..self.head(revision, id)
        };
        self.answer(&canceled);
    }

    /// The watch that something was meant for, unless it was cancelled.
    fn watch(&self, watch: WatchRef) -> Option<&Watch> {
        let found = self.watches.get(&watch.id);
        found.filter(|found| found.epoch == watch.epoch)
    }

    fn say(
        &mut self,
        item: &Item,
        patience: Patience,
        out: &mut Vec<Bytes>,
    ) -> Result<(), ReadError> {
        match *item {
            Item::Changes {
                watch,
                revision,
                first,
                last,
                ref view,
            } => return self.say_changes(watch, revision, (first, last), (view, patience), out),
            Item::Behind { watch, revision } => {
                if self.watch(watch).is_some() {
                    self.lags.push_back(Lag {
                        watch,
                        cursor: revision,
                    });
                }
            }
            Item::Progress { watch, revision } => {
                // Since it was noted, a watch may have come that is not as far.
                let holds = match watch {
                    Some(watch) => self.watch(watch).is_some(),
                    None => self.lags.is_empty(),
                };
                if holds {
                    let id = watch.map_or(NO_WATCH, |watch| watch.id);
                    out.push(encode::response(&self.head(revision, id)));
                }
            }
            Item::NotifyDue => {
                let mut hub = self.shared.hub.lock();
                for slot in self.watches.values().filter_map(|watch| watch.slot) {
                    hub.notify(slot);
                }
            }
        }
        Ok(())
    }

    fn say_changes(
        &mut self,
        watch: WatchRef,
        revision: i64,
        (first, last): (u32, u32),
        (view, patience): (&View, Patience),
        out: &mut Vec<Bytes>,
    ) -> Result<(), ReadError> {
        let head = self.head(revision, watch.id);
        let found = self.watches.get(&watch.id);
        let Some(found) = found.filter(|found| found.epoch == watch.epoch) else {
            return Ok(());
        };
        let wish = &found.wish;
        let alone = first == last;
        let events = if alone {
            &mut self.memo.events
        } else {
            &mut self.events
        };
        let place = (revision, first);
        let known = self.memo.place == Some(place) && self.memo.prev_kv == wish.prev_kv;
        if !(alone && known) {
            events.clear();
            if alone {
                self.memo.place = None;
            }
            for event in view.changes(Revision(revision), first, last, patience) {
                let event = event?;
                if alone || (wish.interest.covers(&event.key) && wish.filter.passes(&event)) {
                    lag::push(wish, &event, view, patience, events)?;
                }
            }
        }
        if alone {
            self.memo.place = Some(place);
            self.memo.prev_kv = wish.prev_kv;
        }
        send(&self.shared, &head, events, wish.fragment, out);
        Ok(())
    }

    fn catch_up(
        &mut self,
        mut lag: Lag,
        patience: Patience,
        out: &mut Vec<Bytes>,
    ) -> Result<(), ReadError> {
        let Some(slot) = self.watch(lag.watch).and_then(|watch| watch.slot) else {
            return Ok(());
        };
        let view = self.shared.views.load();
        self.events.clear();
        let wish = &self.watches[&lag.watch.id].wish;
        let stretch = lag::read(wish, lag.cursor, &view.kv, patience, &mut self.events)?;
        let next = match stretch {
            Stretch::Compacted(at) => {
                self.end_compacted(lag.watch.id, at);
                return Ok(());
            }
            Stretch::Until(next) => next,
        };
        let revision = view.kv.revision().get();
        if !self.events.is_empty() {
            let head = self.head(revision, lag.watch.id);
            send(&self.shared, &head, &self.events, wish.fragment, out);
        }
        lag.cursor = lag.cursor.max(next);
        let at_head = next > revision;
        if !(at_head && self.rejoin(slot, lag.cursor)) {
            self.lags.push_back(lag);
        }
        Ok(())
    }

    fn rejoin(&self, slot: u32, cursor: i64) -> bool {
        let mut hub = self.shared.hub.lock();
        let view = self.shared.views.load();
        hub.rejoin(slot, cursor, &view.kv)
    }

    fn end_compacted(&mut self, id: i64, compact_revision: i64) {
        let watch = self.watches.get_mut(&id).expect("looked up above");
        let slot = watch.slot.take().expect("it was not ended before");
        self.shared.hub.lock().leave(slot);
        let canceled = WatchResponse {
            canceled: true,
            compact_revision,
            ..self.head(0, id)
        };
        self.answer(&canceled);
    }
}

impl Drop for WatchSession {
    fn drop(&mut self) {
        let mut hub = self.shared.hub.lock();
        for slot in self.watches.values().filter_map(|watch| watch.slot) {
            hub.leave(slot);
        }
        hub.remove_session(self.number);
    }
}

/// How much of a budget is left.
struct Room {
    left: usize,
    /// Messages that were counted.
    seen: usize,
}

impl Room {
    fn is_left(&mut self, out: &[Bytes]) -> bool {
        for message in &out[self.seen..] {
            self.left = self.left.saturating_sub(message.len());
        }
        self.seen = out.len();
        self.left > 0
    }
}

fn send(
    shared: &Shared,
    head: &WatchResponse,
    events: &Events,
    fragment: bool,
    out: &mut Vec<Bytes>,
) {
    let count = events.len() as u64;
    shared.events.fetch_add(count, Ordering::Relaxed);
    let cut_at = fragment.then_some(shared.options.response_bytes_max);
    encode::push_responses(head, events, cut_at, out);
}

/// The keys that a request names, by etcd's rules; `None` if there can be none.
fn interest(key: &Bytes, range_end: &Bytes) -> Option<Interest> {
    // Copies, since a slice would keep the whole message that it came in.
    let key = match &key[..] {
        [] => Bytes::from_static(&[0]),
        key => Bytes::copy_from_slice(key),
    };
    match &range_end[..] {
        [] => Some(Interest::Key(key)),
        [0] => Some(Interest::Range(key, None)),
        end => (&key[..] < end).then(|| Interest::Range(key, Some(Bytes::copy_from_slice(end)))),
    }
}
