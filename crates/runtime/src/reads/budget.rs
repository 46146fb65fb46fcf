//! How much of long answers may be in memory, of all clients together.
//!
//! Each reader has a [`Share`]. A piece is charged from before it is read until its last byte is
//! dropped, which is when it was written to the socket or its stream is gone. When the budget is
//! used up readers wait; but a reader that has nothing on its way may always take one piece, so
//! nobody waits for somebody who does not read, and a slow reader gets on at its own pace. What is
//! held is therefore at most the budget and one piece for each long read.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenet_base::limits::READ_BYTES_MAX;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Charges are counted in units of so many bytes.
const UNIT_BYTES: usize = 1024;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct ReadBudget(Arc<Semaphore>);

impl ReadBudget {
    pub(crate) fn new() -> ReadBudget {
        ReadBudget::of(READ_BYTES_MAX)
    }

    fn of(bytes: usize) -> ReadBudget {
        ReadBudget(Arc::new(Semaphore::new(bytes / UNIT_BYTES)))
    }

    /// The share of one more reader.
    pub(crate) fn share(&self) -> Share {
        Share {
            budget: Arc::clone(&self.0),
            own: Arc::default(),
        }
    }

    /// Waits until there is room for `bytes`, half of the budget at most.
    pub(crate) async fn reserve(&self, bytes: usize) -> Option<Reserved> {
        let units = units(bytes).min((READ_BYTES_MAX / UNIT_BYTES / 2) as u32);
        let permit = Arc::clone(&self.0).acquire_many_owned(units).await;
        permit.ok().map(Reserved)
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Room that is kept until it is dropped.
#[derive(Debug)]
pub(crate) struct Reserved(OwnedSemaphorePermit);

impl Reserved {
    /// Gives back all but `bytes`, if it is more.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let spare = self.0.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.0.split(spare));
    }
}

/// What one reader has on its way.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    budget: Arc<Semaphore>,
    own: Arc<Own>,
}

#[derive(Debug, Default)]
struct Own {
    pieces: AtomicUsize,
    /// Told when the last piece is gone.
    none_left: Notify,
}

impl Share {
    /// Waits until a piece of `bytes` may be read.
    pub(crate) async fn take(&self, bytes: usize) -> Charge {
        let units = units(bytes);
        loop {
            let budget = Arc::clone(&self.budget);
            if self.own.pieces.load(Ordering::Acquire) == 0 {
                // With room or without.
                return self.charge(budget.try_acquire_many_owned(units).ok());
            }
            tokio::select! {
                biased;
                permit = budget.acquire_many_owned(units) => return self.charge(permit.ok()),
                () = self.own.none_left.notified() => {}
            }
        }
    }

    fn charge(&self, permit: Option<OwnedSemaphorePermit>) -> Charge {
        self.own.pieces.fetch_add(1, Ordering::Relaxed);
        Charge {
            own: Arc::clone(&self.own),
            _permit: permit,
        }
    }
}

/// The right to hold one piece.
#[derive(Debug)]
pub(crate) struct Charge {
    own: Arc<Own>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// `data`, charged until the last of it is dropped.
    pub(crate) fn put_on(self, data: Bytes) -> Bytes {
        Bytes::from_owner(Charged {
            data,
            _charge: self,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.own.pieces.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.own.none_left.notify_one();
        }
    }
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
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn now<T>(work: impl Future<Output = T>) -> Option<T> {
        match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_reader_gets_one_piece_however_full_the_budget_is_and_more_only_with_room() {
        let budget = ReadBudget::of(10 * UNIT_BYTES);
        let (stalled, slow) = (budget.share(), budget.share());
        let held: Vec<Charge> = (0..10)
            .map(|_| now(stalled.take(UNIT_BYTES)).expect("there is room"))
            .collect();
        assert!(now(stalled.take(1)).is_none(), "the budget is used up");
        for _ in 0..3 {
            let piece = now(slow.take(100 * UNIT_BYTES)).expect("its first piece");
            let bytes = piece.put_on(Bytes::from_static(b"piece"));
            assert!(now(slow.take(1)).is_none(), "one at a time");
            let part = bytes.slice(1..2);
            drop(bytes);
            assert!(now(slow.take(1)).is_none(), "a part of it is left");
            drop(part);
        }
        drop(held);
        let both = (now(slow.take(1)), now(slow.take(1)));
        assert!(both.0.is_some() && both.1.is_some(), "there is room again");
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_the_last_own_piece_is_gone_or_there_is_room() {
        let budget = ReadBudget::of(UNIT_BYTES);
        let (other, own) = (budget.share(), budget.share());
        let full = other.take(UNIT_BYTES).await;
        let piece = own.take(UNIT_BYTES).await;
        let waiting = tokio::spawn({
            let own = own.clone();
            async move { own.take(UNIT_BYTES).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(piece);
        let piece = waiting.await.expect("no panic");
        let waiting = tokio::spawn(async move { own.take(UNIT_BYTES).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(full);
        let second = waiting.await.expect("no panic");
        drop((piece, second));
        assert_eq!(budget.0.available_permits(), 1);
    }

    #[test]
    fn what_is_reserved_can_be_given_back_in_part() {
        let budget = ReadBudget::of(10 * UNIT_BYTES);
        let mut reserved = now(budget.reserve(8 * UNIT_BYTES))
            .flatten()
            .expect("there is room");
        assert!(now(budget.reserve(3 * UNIT_BYTES)).is_none());
        reserved.shrink_to(5 * UNIT_BYTES);
        reserved.shrink_to(6 * UNIT_BYTES);
        assert_eq!(budget.0.available_permits(), 5);
        drop(reserved);
        assert_eq!(budget.0.available_permits(), 10);
    }
}
