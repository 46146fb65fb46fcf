//! What one watch has received and its caller has not read: bounded in bytes.
//!
//! Invariant: an update beyond the limit is still taken, since it has been received, and closes the
//! buffer: nothing more is offered before the reader has made room and said so.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tenet_base::limits;
use tenet_proto::mvccpb::{Event, KeyValue};
use tokio::sync::Notify;

use super::{Update, WatchError};

#[derive(Default)]
pub(super) struct Buffer {
    state: Mutex<State>,
    /// One reader waits at most, so a permit is never lost.
    changed: Notify,
}

#[derive(Default)]
struct State {
    created: bool,
    updates: VecDeque<(Update, usize)>,
    len_bytes: usize,
    closed: bool,
    end: Option<WatchError>,
}

/// Whether more may be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    No,
}

pub(super) struct Taken {
    pub(super) update: Option<Result<Update, WatchError>>,
    /// The buffer was closed, and this reading has opened it again.
    pub(super) has_room_again: bool,
}

impl Buffer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has the watch.
    pub(super) fn set_created(&self) {
        self.state().created = true;
        self.changed.notify_one();
    }

    pub(super) fn push(&self, update: Update) -> Room {
        let mut state = self.state();
        // The newest bookmark is the only one that matters.
        if matches!(update, Update::Progress { .. })
            && let Some((Update::Progress { .. }, len)) = state.updates.back()
        {
            let len = *len;
            state.updates.pop_back();
            state.len_bytes -= len;
        }
        let len = len_bytes(&update);
        state.len_bytes += len;
        state.updates.push_back((update, len));
        state.closed |= state.len_bytes > limits::CLIENT_WATCH_BUFFER_BYTES_MAX;
        let room = if state.closed { Room::No } else { Room::Yes };
        drop(state);
        self.changed.notify_one();
        room
    }

    /// No update comes after these.
    pub(super) fn end(&self, error: WatchError) {
        self.state().end.get_or_insert(error);
        self.changed.notify_one();
    }

    pub(super) fn take(&self) -> Taken {
        let mut state = self.state();
        let update = match state.updates.pop_front() {
            Some((update, len)) => {
                state.len_bytes -= len;
                Some(Ok(update))
            }
            None => state.end.clone().map(Err),
        };
        let has_room_again =
            state.closed && state.len_bytes <= limits::CLIENT_WATCH_BUFFER_BYTES_MAX / 2;
        state.closed &= !has_room_again;
        Taken {
            update,
            has_room_again,
        }
    }

    /// Waits until the server has the watch, or has refused it.
    pub(super) async fn created(&self) -> Result<(), WatchError> {
        loop {
            {
                let state = self.state();
                if state.created {
                    return Ok(());
                }
                if let Some(error) = &state.end {
                    return Err(error.clone());
                }
            }
            self.changed.notified().await;
        }
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn len_bytes(update: &Update) -> usize {
    let key_value =
        |kv: &Option<KeyValue>| kv.as_ref().map_or(0, |kv| kv.key.len() + kv.value.len());
    size_of::<Update>()
        + match update {
            Update::Events { events, .. } => events
                .iter()
                .map(|event| size_of::<Event>() + key_value(&event.kv) + key_value(&event.prev_kv))
                .sum(),
            Update::Progress { .. } | Update::Compacted { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::ResponseHeader;

    fn events(len_bytes: usize) -> Update {
        let kv = KeyValue {
            value: vec![0; len_bytes].into(),
            ..KeyValue::default()
        };
        let event = Event {
            kv: Some(kv),
            ..Event::default()
        };
        Update::Events {
            header: ResponseHeader::default(),
            events: vec![event],
        }
    }

    #[test]
    fn a_full_buffer_has_room_again_once_half_of_it_is_read() {
        let buffer = Buffer::default();
        let piece = limits::CLIENT_WATCH_BUFFER_BYTES_MAX / 8;
        let mut pushed = 1;
        while buffer.push(events(piece)) == Room::Yes {
            pushed += 1;
        }
        assert_eq!(pushed, 8, "the limit and the overhead of the last one");
        let mut reads = 0;
        loop {
            reads += 1;
            let taken = buffer.take();
            assert!(matches!(taken.update, Some(Ok(_))));
            if taken.has_room_again {
                break;
            }
        }
        assert_eq!(reads, 5, "three are left, which is less than half");
        assert!(!buffer.take().has_room_again, "it is said once");
    }

    #[test]
    fn only_the_newest_of_bookmarks_in_a_row_is_kept() {
        let buffer = Buffer::default();
        let progress = |revision| Update::Progress {
            header: ResponseHeader {
                revision,
                ..ResponseHeader::default()
            },
        };
        buffer.push(progress(1));
        buffer.push(progress(2));
        buffer.push(events(1));
        buffer.push(progress(3));
        assert_eq!(buffer.take().update, Some(Ok(progress(2))));
        assert_eq!(buffer.take().update, Some(Ok(events(1))));
        assert_eq!(buffer.take().update, Some(Ok(progress(3))));
        assert_eq!(buffer.take().update, None);
        assert_eq!(buffer.state().len_bytes, 0);
    }

    #[test]
    fn an_end_comes_after_what_was_received_and_stays() {
        let buffer = Buffer::default();
        let error = WatchError::Canceled {
            reason: String::new(),
        };
        buffer.push(events(1));
        buffer.end(error.clone());
        assert_eq!(buffer.take().update, Some(Ok(events(1))));
        for _ in 0..2 {
            assert_eq!(buffer.take().update, Some(Err(error.clone())));
        }
    }
}
