//! How many bytes a client may make a connection keep.
//!
//! A budget belongs to one connection, so that whoever exhausts it slows or loses only that
//! connection. Charges are returned when the charged bytes are dropped, wherever that happens.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tenet_base::limits;

/// Bytes in use.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// Who waits for room.
#[derive(Debug, Default)]
struct Waiting {
    /// How often all of them were woken.
    rounds: u64,
    wakers: Vec<Waker>,
}

/// The round in which somebody began to wait, plus one: so that each waits once.
#[derive(Debug, Default)]
pub(super) struct WaitsSince(u64);

/// At so many bytes streams wait before they send more: below what stops new calls, so that
/// streams never keep them out for long.
const ROOM_BYTES: usize = limits::CONNECTION_UNSENT_BYTES_MAX / 2;

impl Budget {
    /// Bytes in use now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Ready while there is room for more; wakes the task once there is again.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>, since: &mut WaitsSince) -> Poll<()> {
        if self.used() < ROOM_BYTES {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        if since.0 != waiting.rounds + 1 {
            since.0 = waiting.rounds + 1;
            waiting.wakers.push(cx.waker().clone());
        }
        drop(waiting);
        // What was given back meanwhile may have been the last.
        if self.used() < ROOM_BYTES {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn give_back(&self, bytes: usize) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        if before >= ROOM_BYTES && before - bytes < ROOM_BYTES {
            let wakers = {
                let mut waiting = self.waiting.lock();
                waiting.rounds += 1;
                std::mem::take(&mut waiting.wakers)
            };
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// A part of this budget, empty at first.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Takes `bytes` more; tells how much of the budget is in use then.
    pub(super) fn add(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Gives back all but `bytes`, if it is more.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// `data`, charged to `budget` until the last of it is dropped: for what waits to be sent, that is
/// when it has been written to the socket or its stream is gone.
pub(super) fn charged(data: Bytes, budget: &Arc<Budget>) -> Bytes {
    let mut charge = budget.charge();
    charge.add(data.len());
    Bytes::from_owner(Charged {
        data,
        _charge: charge,
    })
}

struct Charged {
    data: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_charged_until_their_last_slice_is_dropped() {
        let budget = Arc::new(Budget::default());
        let data = charged(Bytes::from_static(b"0123456789"), &budget);
        let slice = data.slice(2..4);
        drop(data);
        assert_eq!(budget.used(), 10);
        assert_eq!(&slice[..], b"23");
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_charge_grows_and_is_given_back_whole() {
        let budget = Arc::new(Budget::default());
        let mut charge = budget.charge();
        charge.add(5);
        assert_eq!(charge.add(6), 11);
        charge.shrink_to(20);
        assert_eq!(budget.used(), 11);
        charge.shrink_to(4);
        assert_eq!(budget.used(), 4);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_waits_for_room_is_woken_when_it_comes_back() {
        let woken = futures_util::task::noop_waker();
        let mut cx = Context::from_waker(&woken);
        let budget = Arc::new(Budget::default());
        let mut since = WaitsSince::default();
        assert!(budget.poll_room(&mut cx, &mut since).is_ready());
        let mut charge = budget.charge();
        for _ in 0..2 {
            charge.add(ROOM_BYTES);
            for _ in 0..3 {
                assert!(budget.poll_room(&mut cx, &mut since).is_pending());
                assert_eq!(budget.waiting.lock().wakers.len(), 1, "each once");
            }
            charge.shrink_to(0);
            assert!(budget.waiting.lock().wakers.is_empty(), "all were woken");
            assert!(budget.poll_room(&mut cx, &mut since).is_ready());
        }
    }
}
