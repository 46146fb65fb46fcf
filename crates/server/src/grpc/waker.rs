//! A waker that is silent while its task is being polled.
//!
//! A connection and its calls live in one task and wake each other all the time. Each such wake-up
//! would put the running task back on its queue (and often wake another worker thread, to find
//! nothing to do). Here a wake-up that arrives during a poll is only noted, and the poll goes
//! round once more; one that arrives outside goes to the runtime. None is lost: the poll ends only
//! by an atomic step from "polling" to "idle" that fails if a wake-up was noted.

use futures_util::task::AtomicWaker;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

const IDLE: u8 = 0;
const POLLING: u8 = 1;
const NOTED: u8 = 2;

/// See the module. One per task.
#[derive(Debug, Default)]
pub(super) struct LocalWaker {
    state: AtomicU8,
    task: AtomicWaker,
}

impl LocalWaker {
    /// Begins a poll (or another round of it) on behalf of the task behind `task`.
    pub(super) fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(POLLING, Ordering::SeqCst);
    }

    /// Ends the poll unless a wake-up was noted since it began; then another round is due.
    pub(super) fn try_end(&self) -> bool {
        self.state
            .compare_exchange(POLLING, IDLE, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Ends the poll in any case; the caller has work left and has woken its task.
    pub(super) fn end(&self) {
        self.state.store(IDLE, Ordering::SeqCst);
    }
}

impl Wake for LocalWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self
            .state
            .compare_exchange(POLLING, NOTED, Ordering::SeqCst, Ordering::SeqCst);
        if noted == Err(IDLE) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn wakes_during_a_poll_ask_for_another_round_and_later_ones_reach_the_task() {
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let local = Arc::new(LocalWaker::default());
        let inner = Waker::from(local.clone());

        local.begin(&task);
        inner.wake_by_ref();
        inner.wake_by_ref();
        assert!(!local.try_end(), "a wake-up was noted");
        local.begin(&task);
        assert!(local.try_end());
        assert_eq!(
            count.0.load(Ordering::SeqCst),
            0,
            "none of it reached the runtime"
        );

        inner.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn no_wake_is_lost_between_threads() {
        // Each round either ends quietly or sees the wake-up; the waking thread's last wake-up
        // must be seen one way or the other.
        let count = Arc::new(Count::default());
        let task = Waker::from(count.clone());
        let local = Arc::new(LocalWaker::default());
        let inner = Waker::from(local.clone());
        for _ in 0..2_000 {
            let before = count.0.load(Ordering::SeqCst);
            local.begin(&task);
            let other = inner.clone();
            let waking = std::thread::spawn(move || other.wake());
            let quiet = local.try_end();
            waking.join().expect("the waking thread does not panic");
            if quiet {
                let woken = count.0.load(Ordering::SeqCst) - before;
                assert_eq!(woken, 1, "ended quietly, so the task was woken");
            }
        }
    }
}
