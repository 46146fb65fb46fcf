//! Many watches on one stream: what to ask the server next, and who gets what it says.
//!
//! A plain state machine: requests come out of [`Mux::next_request`], answers go into
//! [`Mux::receive`]. It knows neither sockets nor time.
//!
//! Invariants: each change that a watch asks for is handed out once, in revision order, whatever
//! streams break in between; a revision is handed out whole. A watch whose buffer is closed has
//! nothing on the stream. Ids on a stream are never used twice on it, so an answer for a watch that
//! is gone meets nobody. Creations are answered in the order in which they were sent, which is how
//! a refusal, which carries no id, finds its watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tenet_base::limits;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::watch_create_request::FilterType;
use tenet_proto::etcdserverpb::watch_request::RequestUnion;
use tenet_proto::etcdserverpb::{
    ResponseHeader, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use tenet_proto::mvccpb::Event;

use super::buffer::{Buffer, Room};
use super::{Update, WatchError, WatchOptions};
use crate::Error;

/// A watch of this client, over all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchKey(u64);

/// A watch on the present stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StreamId(i64);

/// What the server calls answers that are about no watch or about all of them.
const NO_ID: i64 = -1;

#[derive(Default)]
pub(super) struct Mux {
    watches: BTreeMap<WatchKey, Entry>,
    last_key: u64,
    last_id: i64,
    /// To be created, in the order of asking.
    waiting: VecDeque<WatchKey>,
    /// Sent and not answered, oldest first.
    creating: VecDeque<(StreamId, WatchKey)>,
    active: BTreeMap<StreamId, WatchKey>,
    to_cancel: VecDeque<StreamId>,
    progress_wanted: bool,
}

struct Entry {
    options: WatchOptions,
    buffer: Arc<Buffer>,
    state: State,
    /// The first revision that has not been handed out; 0 as long as it is the server's to say.
    next_revision: i64,
    /// The beginning of a revision whose rest is in later fragments.
    fragments: Vec<Event>,
    /// The server did not take the token once already.
    refused_token: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Creating,
    Active(StreamId),
    /// The buffer is closed.
    Parked,
}

/// What an answer calls for beside handing out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    /// The stream was opened with a token that is no good any more.
    RenewToken,
}

impl Mux {
    pub(super) fn add(&mut self, options: WatchOptions, buffer: Arc<Buffer>) -> WatchKey {
        self.last_key += 1;
        let key = WatchKey(self.last_key);
        let entry = Entry {
            next_revision: options.start_revision,
            options,
            buffer,
            state: State::Waiting,
            fragments: Vec::new(),
            refused_token: false,
        };
        self.watches.insert(key, entry);
        self.waiting.push_back(key);
        key
    }

    pub(super) fn remove(&mut self, key: WatchKey) {
        if let Some(entry) = self.watches.remove(&key) {
            self.leave_stream(key, entry.state);
        }
    }

    /// The buffer of a watch is open again.
    pub(super) fn resume(&mut self, key: WatchKey) {
        if let Some(entry) = self.watches.get_mut(&key)
            && entry.state == State::Parked
        {
            entry.state = State::Waiting;
            self.waiting.push_back(key);
        }
    }

    pub(super) fn request_progress(&mut self) {
        // Without watches there is nobody to tell.
        self.progress_wanted |= !self.watches.is_empty();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    /// The next request for the stream.
    pub(super) fn next_request(&mut self) -> Option<WatchRequest> {
        let request = if let Some(id) = self.to_cancel.pop_front() {
            RequestUnion::CancelRequest(WatchCancelRequest { watch_id: id.0 })
        } else if self.creating.len() < limits::CLIENT_WATCH_CREATES_MAX
            && let Some(request) = self.next_creation()
        {
            RequestUnion::CreateRequest(request)
        } else if self.progress_wanted && self.waiting.is_empty() {
            self.progress_wanted = false;
            RequestUnion::ProgressRequest(WatchProgressRequest {})
        } else {
            return None;
        };
        Some(WatchRequest {
            request_union: Some(request),
        })
    }

    pub(super) fn has_request(&self) -> bool {
        let creates = self.creating.len() < limits::CLIENT_WATCH_CREATES_MAX;
        !self.to_cancel.is_empty()
            || (creates && !self.waiting.is_empty())
            || (self.progress_wanted && self.waiting.is_empty())
    }

    fn next_creation(&mut self) -> Option<WatchCreateRequest> {
        // A watch that was removed while it waited is passed over.
        let key = loop {
            let key = self.waiting.pop_front()?;
            if self.watches.contains_key(&key) {
                break key;
            }
        };
        self.last_id += 1;
        let id = StreamId(self.last_id);
        let entry = self.watches.get_mut(&key)?;
        entry.state = State::Creating;
        self.creating.push_back((id, key));
        let mut filters = Vec::new();
        if entry.options.no_puts {
            filters.push(FilterType::Noput.into());
        }
        if entry.options.no_deletes {
            filters.push(FilterType::Nodelete.into());
        }
        Some(WatchCreateRequest {
            key: entry.options.range.key.clone(),
            range_end: entry.options.range.end.clone(),
            start_revision: entry.next_revision,
            progress_notify: entry.options.progress_notify,
            filters,
            prev_kv: entry.options.prev_kv,
            watch_id: id.0,
            fragment: entry.options.fragments,
        })
    }

    /// Takes an answer of the server.
    pub(super) fn receive(&mut self, response: WatchResponse) -> Reaction {
        if response.created {
            return self.receive_created(&response);
        }
        if response.watch_id == NO_ID {
            self.receive_progress_for_all(&response);
            return Reaction::Nothing;
        }
        let id = StreamId(response.watch_id);
        let Some(&key) = self.active.get(&id) else {
            return Reaction::Nothing;
        };
        if response.canceled {
            self.active.remove(&id);
            self.receive_canceled(key, response);
        } else if response.events.is_empty() && !response.fragment {
            self.receive_progress(key, header_of(&response));
        } else {
            self.receive_events(key, response);
        }
        Reaction::Nothing
    }

    fn receive_created(&mut self, response: &WatchResponse) -> Reaction {
        let Some((id, key)) = self.creating.pop_front() else {
            return Reaction::Nothing;
        };
        let Some(entry) = self.watches.get_mut(&key) else {
            // Removed meanwhile.
            if !response.canceled {
                self.to_cancel.push_back(id);
            }
            return Reaction::Nothing;
        };
        if response.canceled {
            if is_about_token(&response.cancel_reason) && !entry.refused_token {
                entry.refused_token = true;
                return Reaction::RenewToken;
            }
            let reason = response.cancel_reason.clone();
            self.end(key, WatchError::Refused { reason });
            return Reaction::Nothing;
        }
        entry.refused_token = false;
        entry.state = State::Active(id);
        if entry.next_revision == 0 {
            // Changes of this very revision may have come after the watch, so they are not left
            // out when the stream breaks before one is seen.
            entry.next_revision = header_of(response).revision;
        }
        entry.buffer.set_created();
        self.active.insert(id, key);
        Reaction::Nothing
    }

    fn receive_canceled(&mut self, key: WatchKey, response: WatchResponse) {
        let Some(entry) = self.watches.get_mut(&key) else {
            return;
        };
        let compact_revision = response.compact_revision;
        let header = header_of(&response);
        if compact_revision == 0 {
            let reason = response.cancel_reason;
            return self.end(key, WatchError::Canceled { reason });
        }
        if entry.options.end_when_compacted {
            let error = WatchError::Compacted {
                header,
                compact_revision,
            };
            return self.end(key, error);
        }
        entry.fragments.clear();
        entry.next_revision = compact_revision;
        // Nothing of it is left on the stream.
        entry.state = State::Parked;
        let update = Update::Compacted {
            header,
            compact_revision,
        };
        if entry.buffer.push(update) == Room::Yes {
            self.resume(key);
        }
    }

    fn receive_progress_for_all(&mut self, response: &WatchResponse) {
        if response.canceled || !response.events.is_empty() {
            return;
        }
        let header = header_of(response);
        let active: Vec<WatchKey> = self.active.values().copied().collect();
        for key in active {
            self.receive_progress(key, header);
        }
    }

    fn receive_progress(&mut self, key: WatchKey, header: ResponseHeader) {
        let Some(entry) = self.watches.get_mut(&key) else {
            return;
        };
        entry.next_revision = entry.next_revision.max(header.revision + 1);
        if entry.buffer.push(Update::Progress { header }) == Room::No {
            self.park(key);
        }
    }

    fn receive_events(&mut self, key: WatchKey, response: WatchResponse) {
        let Some(entry) = self.watches.get_mut(&key) else {
            return;
        };
        let header = header_of(&response);
        let mut events = std::mem::take(&mut entry.fragments);
        events.extend(response.events);
        if response.fragment {
            // The last revision may go on in the next fragment; those before it are whole.
            let last = events.last().map_or(0, revision_of);
            let whole = events.partition_point(|event| revision_of(event) < last);
            entry.fragments = events.split_off(whole);
        }
        let Some(last) = events.last() else { return };
        entry.next_revision = revision_of(last) + 1;
        if entry.buffer.push(Update::Events { header, events }) == Room::No {
            self.park(key);
        }
    }

    fn park(&mut self, key: WatchKey) {
        if let Some(entry) = self.watches.get_mut(&key) {
            entry.fragments.clear();
            let state = std::mem::replace(&mut entry.state, State::Parked);
            self.leave_stream(key, state);
        }
    }

    fn end(&mut self, key: WatchKey, error: WatchError) {
        if let Some(entry) = self.watches.remove(&key) {
            entry.buffer.end(error);
            self.leave_stream(key, entry.state);
        }
    }

    fn leave_stream(&mut self, key: WatchKey, state: State) {
        match state {
            State::Active(id) => {
                // One that the server has canceled is no longer among the active.
                if self.active.remove(&id).is_some() {
                    self.to_cancel.push_back(id);
                }
            }
            State::Waiting => self.waiting.retain(|waiting| *waiting != key),
            // Its answer finds nobody, and is dealt with then.
            State::Creating | State::Parked => {}
        }
    }

    /// The stream is gone: whatever was on it waits for the next one.
    pub(super) fn disconnect(&mut self) {
        self.creating.clear();
        self.active.clear();
        self.to_cancel.clear();
        self.waiting.clear();
        self.last_id = 0;
        for (key, entry) in &mut self.watches {
            entry.fragments.clear();
            if entry.state != State::Parked {
                entry.state = State::Waiting;
                self.waiting.push_back(*key);
            }
        }
    }

    /// The server has no leader.
    pub(super) fn lose_leader(&mut self) {
        let ending = self
            .watches
            .iter()
            .filter(|(_, entry)| entry.options.end_without_leader)
            .map(|(key, _)| *key);
        let ending: Vec<WatchKey> = ending.collect();
        for key in ending {
            self.end(key, WatchError::Call(Error::Api(ApiError::NoLeader)));
        }
    }

    /// Nothing will come any more.
    pub(super) fn fail(&mut self, error: &Error) {
        for entry in std::mem::take(&mut self.watches).into_values() {
            entry.buffer.end(WatchError::Call(error.clone()));
        }
        self.disconnect();
    }
}

fn header_of(response: &WatchResponse) -> ResponseHeader {
    response.header.unwrap_or_default()
}

fn revision_of(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

/// The server refused the caller, not the watch. The reason is a whole status in text form.
fn is_about_token(reason: &str) -> bool {
    let text = reason.split(" desc = ").last().unwrap_or(reason);
    matches!(
        ApiError::from_text(text),
        Some(ApiError::InvalidAuthToken | ApiError::AuthOldRevision | ApiError::UserEmpty)
    )
}

#[cfg(test)]
#[path = "mux_tests.rs"]
mod tests;
