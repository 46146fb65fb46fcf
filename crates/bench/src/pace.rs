//! When operations start: as fast as answers come, or at a fixed rate.
//!
//! At a fixed rate operation n is due at start + n / rate whatever the server does. A thread hands
//! out permits as operations fall due; a client that takes one late reports the latency since the
//! due time. So a stall of the server is seen by every operation that fell due meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Hands out the operations of one phase of a run, each exactly once.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    next: AtomicU64,
    /// No operation with this number or a higher one is handed out.
    limit: u64,
    deadline: Option<Instant>,
    open: Option<OpenLoop>,
}

#[derive(Debug)]
struct OpenLoop {
    per_second: f64,
    permits: Semaphore,
    clients: usize,
}

/// When a phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// After this many operations.
    Operations(u64),
    /// After this time; operations that were started by then are finished.
    Time(Duration),
}

/// One operation to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) operation: u64,
    /// From when its latency counts.
    pub(crate) due: Instant,
}

impl Pace {
    /// A phase that starts now. With a rate, someone must run [`Pace::drive`] meanwhile.
    pub(crate) fn start(extent: Extent, per_second: Option<f64>, clients: usize) -> Pace {
        let start = Instant::now();
        let (limit, deadline) = match (extent, per_second) {
            (Extent::Operations(limit), _) => (limit, None),
            (Extent::Time(time), None) => (u64::MAX, Some(start + time)),
            // The number is fixed beforehand: cutting by the clock would drop what is overdue.
            (Extent::Time(time), Some(rate)) => ((rate * time.as_secs_f64()).round() as u64, None),
        };
        Pace {
            start,
            next: AtomicU64::new(0),
            limit,
            deadline,
            open: per_second.map(|per_second| OpenLoop {
                per_second,
                permits: Semaphore::new(0),
                clients,
            }),
        }
    }

    /// The next operation, once it is due; `None` when the phase is over.
    pub(crate) async fn next(&self) -> Option<Ticket> {
        let Some(open) = &self.open else {
            let due = Instant::now();
            if self.deadline.is_some_and(|deadline| due >= deadline) {
                return None;
            }
            let operation = self.next.fetch_add(1, Ordering::Relaxed);
            return (operation < self.limit).then_some(Ticket { operation, due });
        };
        open.permits.acquire().await.ok()?.forget();
        let operation = self.next.fetch_add(1, Ordering::Relaxed);
        (operation < self.limit).then(|| Ticket {
            operation,
            due: self.start + due_after(operation, open.per_second),
        })
    }

    /// Releases operations as they fall due, then lets every client find the end. Returns at once
    /// when there is no rate.
    pub(crate) fn drive(&self) {
        let Some(open) = &self.open else { return };
        let mut released = 0;
        while released < self.limit {
            let elapsed = self.start.elapsed();
            let due = ((elapsed.as_secs_f64() * open.per_second) as u64 + 1).min(self.limit);
            if due > released {
                open.permits.add_permits((due - released) as usize);
                released = due;
            }
            thread::sleep(due_after(released, open.per_second).saturating_sub(elapsed));
        }
        open.permits.add_permits(open.clients);
    }

    /// When the phase started.
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    /// How far the phase is, between 0 and 1.
    pub(crate) fn progress(&self) -> f64 {
        match self.deadline {
            Some(deadline) => {
                self.start.elapsed().as_secs_f64() / (deadline - self.start).as_secs_f64()
            }
            None => self.handed_out() as f64 / self.limit.max(1) as f64,
        }
        .min(1.0)
    }

    /// Operations handed out so far.
    pub(crate) fn handed_out(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.limit)
    }
}

fn due_after(operation: u64, per_second: f64) -> Duration {
    Duration::from_secs_f64(operation as f64 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    #[test]
    fn a_closed_loop_hands_out_each_operation_once_and_then_ends() {
        let pace = Pace::start(Extent::Operations(3), None, 2);
        runtime().block_on(async {
            for expected in 0..3 {
                assert_eq!(pace.next().await.unwrap().operation, expected);
            }
            assert!(pace.next().await.is_none());
            assert!(pace.next().await.is_none());
        });
        assert_eq!(pace.handed_out(), 3);
    }

    #[test]
    fn a_client_that_was_held_up_still_gets_every_operation_with_its_due_time() {
        let pace = Arc::new(Pace::start(
            Extent::Time(Duration::from_millis(50)),
            Some(1_000.0),
            1,
        ));
        let driver = thread::spawn({
            let pace = Arc::clone(&pace);
            move || pace.drive()
        });
        // The stall: nothing is taken until all operations are overdue.
        driver.join().unwrap();
        runtime().block_on(async {
            for expected in 0..50 {
                let ticket = pace.next().await.unwrap();
                let due = ticket.due.duration_since(pace.started());
                assert_eq!(due, Duration::from_millis(expected));
                assert!(Instant::now() >= ticket.due);
            }
            assert!(pace.next().await.is_none());
        });
    }
}
