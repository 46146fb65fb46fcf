//! A queue from many senders to one thread, which takes everything that waits at once.
//!
//! A sender wakes the thread only if it sleeps. A sender that knows the thread will wake anyway
//! can leave its message without waking ([`Mailbox::push_quietly`]): so requests gather while the
//! disk works instead of waking the consensus thread one by one.

use parking_lot::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

/// See the module.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    queue: Mutex<Vec<T>>,
    receiver: OnceLock<Thread>,
    sleeping: AtomicBool,
}

impl<T> Mailbox<T> {
    pub(crate) fn new() -> Self {
        Mailbox {
            queue: Mutex::new(Vec::new()),
            receiver: OnceLock::new(),
            sleeping: AtomicBool::new(false),
        }
    }

    /// Leaves a message and wakes the receiver if it sleeps.
    pub(crate) fn push(&self, message: T) {
        self.queue.lock().push(message);
        self.wake();
    }

    /// Leaves messages and wakes the receiver if it sleeps.
    pub(crate) fn push_all(&self, messages: impl IntoIterator<Item = T>) {
        self.queue.lock().extend(messages);
        self.wake();
    }

    /// Leaves a message; the receiver is woken only if `will_wake` says, after the message was
    /// left, that nothing else is going to wake it.
    pub(crate) fn push_quietly(&self, message: T, will_wake: impl FnOnce() -> bool) {
        self.queue.lock().push(message);
        // Asked after the push: a receiver that is about to sleep takes the lock once more after
        // it has said that nothing will wake it, so either it sees the message or we see that.
        if !will_wake() {
            self.wake();
        }
    }

    fn wake(&self) {
        let asleep =
            || self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst);
        if let Some(thread) = self.receiver.get().filter(|_| asleep()) {
            thread.unpark();
        }
    }

    /// Moves everything that waits into `into`, sleeping until there is something or `deadline`
    /// has passed. Must always be called from the same thread.
    pub(crate) fn receive(&self, into: &mut Vec<T>, deadline: Option<Instant>) {
        self.receiver.get_or_init(thread::current);
        loop {
            if self.try_take(into) {
                return;
            }
            self.sleeping.store(true, Ordering::SeqCst);
            if self.try_take(into) {
                self.sleeping.store(false, Ordering::SeqCst);
                return;
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        self.sleeping.store(false, Ordering::SeqCst);
                        return;
                    }
                    thread::park_timeout(deadline - now);
                }
            }
            self.sleeping.store(false, Ordering::SeqCst);
        }
    }

    fn try_take(&self, into: &mut Vec<T>) -> bool {
        let mut queue = self.queue.lock();
        if queue.is_empty() {
            return false;
        }
        if into.is_empty() {
            std::mem::swap(&mut *queue, into);
        } else {
            into.append(&mut queue);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn nothing_is_lost_between_many_senders_and_a_sleeper() {
        let mailbox = Arc::new(Mailbox::new());
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || {
                    for n in 0..10_000u64 {
                        mailbox.push((sender, n));
                    }
                })
            })
            .collect();
        let mut next = [0u64; 4];
        let mut batch = Vec::new();
        while next.iter().sum::<u64>() < 40_000 {
            mailbox.receive(&mut batch, None);
            for (sender, n) in batch.drain(..) {
                assert_eq!(next[sender], n, "messages of one sender stay in order");
                next[sender] += 1;
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    }

    #[test]
    fn a_deadline_ends_the_wait() {
        let mailbox: Mailbox<()> = Mailbox::new();
        let mut batch = Vec::new();
        mailbox.receive(&mut batch, Some(Instant::now() + Duration::from_millis(1)));
        assert!(batch.is_empty());
    }
}
