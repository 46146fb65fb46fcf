//! A connection to every endpoint, kept up by one task each; calls go round over those that are up.
//!
//! Invariant: a task dials again after every end of its connection, with growing waits while that
//! fails, and ends with the pool.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::uri::Authority;
use tenet_base::limits;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::connection::Connection;
use super::endpoint::Endpoint;
use crate::KeepAlive;

pub(crate) struct Pool {
    slots: Vec<Slot>,
    authority: Authority,
    keep_alive: Option<KeepAlive>,
    next: AtomicUsize,
    started: Once,
    tasks: Mutex<Vec<AbortHandle>>,
    /// Woken at every change of a slot.
    changed: Notify,
    /// What the latest attempt to connect failed with.
    failure: Mutex<Option<String>>,
}

struct Slot {
    endpoint: Endpoint,
    connection: Mutex<Option<Connection>>,
}

/// The panic of another thread cannot leave these plain values half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// A pool that connects when it is first asked for a connection. There is at least one
    /// endpoint.
    pub(crate) fn new(endpoints: Vec<Endpoint>, keep_alive: Option<KeepAlive>) -> Arc<Pool> {
        let authority = endpoints[0].authority.clone();
        let slots = endpoints
            .into_iter()
            .map(|endpoint| Slot {
                endpoint,
                connection: Mutex::new(None),
            })
            .collect();
        Arc::new(Pool {
            slots,
            authority,
            keep_alive,
            next: AtomicUsize::new(0),
            started: Once::new(),
            tasks: Mutex::default(),
            changed: Notify::new(),
            failure: Mutex::default(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The first endpoint without its scheme.
    pub(crate) fn target(&self) -> &str {
        &self.slots[0].endpoint.target
    }

    /// The latest failure to connect, if any.
    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// The next connection that is up; waits until there is one.
    pub(crate) async fn connection(self: &Arc<Self>) -> Connection {
        self.started.call_once(|| self.start());
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before looking, so that no change goes unseen.
            changed.as_mut().enable();
            if let Some(connection) = self.ready() {
                return connection;
            }
            changed.await;
        }
    }

    fn ready(&self) -> Option<Connection> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.slots.len()).find_map(|offset| {
            let slot = &self.slots[start.wrapping_add(offset) % self.slots.len()];
            let connection = lock(&slot.connection);
            connection
                .as_ref()
                .filter(|connection| connection.is_open())
                .cloned()
        })
    }

    fn start(self: &Arc<Self>) {
        let mut tasks = lock(&self.tasks);
        for at in 0..self.slots.len() {
            let task = tokio::spawn(keep_connected(Arc::downgrade(self), at));
            tasks.push(task.abort_handle());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for task in lock(&self.tasks).iter() {
            task.abort();
        }
    }
}

async fn keep_connected(pool: Weak<Pool>, at: usize) {
    let mut wait = ConnectWait::default();
    loop {
        let Some((endpoint, authority, keep_alive)) = pool.upgrade().map(|pool| {
            (
                pool.slots[at].endpoint.clone(),
                pool.authority.clone(),
                pool.keep_alive,
            )
        }) else {
            return;
        };
        let began = Instant::now();
        let result = Connection::open(&endpoint, &authority, keep_alive).await;
        match result {
            Ok((connection, driver)) => {
                let Some(live) = pool.upgrade() else { return };
                *lock(&live.slots[at].connection) = Some(connection);
                live.changed.notify_waiters();
                drop(live);
                driver.await;
                let Some(live) = pool.upgrade() else { return };
                *lock(&live.slots[at].connection) = None;
                // A server that drops every connection at once must not be dialled in a circle.
                if began.elapsed() >= wait.first() {
                    wait = ConnectWait::default();
                    continue;
                }
            }
            Err(failure) => {
                let Some(live) = pool.upgrade() else { return };
                *lock(&live.failure) = Some(failure);
                live.changed.notify_waiters();
            }
        }
        tokio::time::sleep(wait.next()).await;
    }
}

/// Waits between attempts to connect: each twice as long as the one before, up to a limit, and up
/// to a fifth shorter or longer so that many clients do not come at once.
#[derive(Default)]
struct ConnectWait {
    failures: u32,
}

impl ConnectWait {
    const FIRST: Duration = Duration::from_millis(100);

    fn first(&self) -> Duration {
        Self::FIRST
    }

    fn next(&mut self) -> Duration {
        let limit = Duration::from_millis(limits::CLIENT_CONNECT_WAIT_MS_MAX);
        let base = Self::FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(limit);
        self.failures += 1;
        spread(base, 0.2)
    }
}

/// A span up to `part` shorter or longer than `base`, by chance.
pub(crate) fn spread(base: Duration, part: f64) -> Duration {
    // Every RandomState has keys of its own: enough chance to spread clients.
    let chance = f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX);
    base.mul_f64(1.0 + part * (2.0 * chance - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        let mut wait = ConnectWait::default();
        let waits: Vec<Duration> = (0..20).map(|_| wait.next()).collect();
        assert!(waits[0] >= Duration::from_millis(80) && waits[0] <= Duration::from_millis(120));
        assert!(waits[3] >= Duration::from_millis(640));
        assert!(
            waits
                .iter()
                .all(|wait| *wait <= Duration::from_millis(6_000))
        );
        assert!(waits[19] >= Duration::from_millis(4_000));
    }
}
