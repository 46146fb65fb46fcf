//! Keeping leases alive: one task and one stream for all leases of a client.
//!
//! Each lease is renewed when a third of its time has passed since the last renewal was sent, until
//! its [`LeaseKeepAlive`]s are dropped, the server says that it is gone, or its time has passed without
//! an answer. The time counts from the sending of a renewal, so a lease that is
//! [alive](LeaseKeepAlive::is_alive) here has not run out at the server, as far as the two clocks run
//! equally fast and the server keeps its promise through changes of the leader.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenet_base::limits;
use tenet_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::duplex::{Duplex, ReopenWait, may_come_back};
use crate::ledger::Ledger;
use crate::services::lease_client::LeaseClient;
use crate::{Client, Error, Status};

/// Keeps a lease alive for as long as it exists. Dropping it lets the lease run out.
///
/// ```no_run
/// # async fn example(client: tenet_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use tenet_client::proto::{LeaseGrantRequest, PutRequest};
///
/// let lease = client.lease_grant(LeaseGrantRequest { ttl: 10, id: 0 }).await?.id;
/// let mut keep_alive = client.keep_alive(lease);
/// client.put(PutRequest { key: "here".into(), lease, ..Default::default() }).await?;
/// // … and much later:
/// let end = keep_alive.ended().await;
/// println!("the lease is lost: {end}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LeaseKeepAlive {
    lease: i64,
    answers: mpsc::Receiver<LeaseKeepAliveResponse>,
    listener: Arc<Listener>,
    keeper: Arc<Keeper>,
}

/// Why a lease is not kept alive any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseEnd {
    /// The server does not know it: it has run out or was revoked.
    #[error("the lease has run out or was revoked")]
    Gone,
    /// No renewal was answered in time, so it may have run out.
    #[error("no renewal of the lease was answered in time")]
    Late,
    /// Renewals fail in a way that will not pass.
    #[error("{0}")]
    Failed(Error),
}

/// One who wants a lease kept alive.
#[derive(Debug)]
pub(crate) struct Listener {
    sender: mpsc::Sender<LeaseKeepAliveResponse>,
    end: Mutex<Option<LeaseEnd>>,
    alive: AtomicBool,
    ended: Notify,
}

impl Listener {
    #[cfg(test)]
    pub(crate) fn for_test() -> (Arc<Listener>, mpsc::Receiver<LeaseKeepAliveResponse>) {
        let (sender, answers) = mpsc::channel(1);
        let listener = Listener::new(sender);
        (Arc::new(listener), answers)
    }

    fn new(sender: mpsc::Sender<LeaseKeepAliveResponse>) -> Listener {
        Listener {
            sender,
            end: Mutex::default(),
            alive: AtomicBool::new(true),
            ended: Notify::new(),
        }
    }

    pub(crate) fn answer(&self, answer: LeaseKeepAliveResponse) {
        // Nobody needs an old answer: what does not fit is dropped.
        let _ = self.sender.try_send(answer);
    }

    pub(crate) fn end(&self, end: LeaseEnd) {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(end);
        self.alive.store(false, Ordering::Release);
        self.ended.notify_waiters();
    }

    pub(crate) fn ended_with(&self) -> Option<LeaseEnd> {
        self.end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn ended(&self) -> LeaseEnd {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Registered before looking, so that no end goes unseen.
            ended.as_mut().enable();
            if let Some(end) = self.ended_with() {
                return end;
            }
            ended.await;
        }
    }
}

impl Client {
    /// Keeps a lease alive, from now on and in the background.
    #[must_use]
    pub fn keep_alive(&self, lease: i64) -> LeaseKeepAlive {
        let limit = Duration::from_millis(limits::CLIENT_KEEP_ALIVE_FIRST_MS);
        self.keep_alive_until(lease, Instant::now() + limit)
    }

    /// The same for a lease that is known not to run out before `deadline`.
    pub(crate) fn keep_alive_until(&self, lease: i64, deadline: Instant) -> LeaseKeepAlive {
        let (sender, answers) = mpsc::channel(limits::CLIENT_KEEP_ALIVE_ANSWERS_MAX);
        let listener = Arc::new(Listener::new(sender));
        let keeper = self.shared.keeper.clone();
        keeper.add(self, lease, listener.clone(), deadline);
        LeaseKeepAlive {
            lease,
            answers,
            listener,
            keeper,
        }
    }
}

impl LeaseKeepAlive {
    /// The lease.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// The next answer to a renewal; none after the lease is lost. Of answers that nobody reads a
    /// few are kept, and later ones dropped.
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        if let Ok(answer) = self.answers.try_recv() {
            return Some(answer);
        }
        tokio::select! {
            biased;
            answer = self.answers.recv() => answer,
            _ = self.listener.ended() => self.answers.try_recv().ok(),
        }
    }

    /// Whether the lease has not run out, as far as can be told here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.listener.alive.load(Ordering::Acquire)
    }

    /// Waits until the lease is lost.
    pub async fn ended(&self) -> LeaseEnd {
        self.listener.ended().await
    }
}

impl Drop for LeaseKeepAlive {
    fn drop(&mut self) {
        self.keeper.remove(self.lease, &self.listener);
    }
}

/// The task's side.
#[derive(Default)]
pub(crate) struct Keeper {
    state: Mutex<State>,
    /// Each wakes one of the two halves of the task.
    deadlines_changed: Notify,
    renewals_changed: Notify,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    running: bool,
}

type Stream = Duplex<LeaseKeepAliveRequest, LeaseKeepAliveResponse>;

/// Opens a stream of renewals.
pub(crate) fn open(client: &Client, require_leader: bool) -> Stream {
    let method = "/etcdserverpb.Lease/LeaseKeepAlive";
    Duplex::open(
        client,
        method,
        require_leader,
        |channel, requests| async move { LeaseClient::new(channel).lease_keep_alive(requests).await },
    )
}

impl Keeper {
    pub(crate) fn new() -> Arc<Keeper> {
        Arc::new(Keeper::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(
        self: &Arc<Self>,
        client: &Client,
        lease: i64,
        listener: Arc<Listener>,
        deadline: Instant,
    ) {
        let mut state = self.state();
        state.ledger.add(lease, listener, Instant::now(), deadline);
        if !std::mem::replace(&mut state.running, true) {
            tokio::spawn(self.clone().run(client.without_deadline()));
        }
        drop(state);
        self.deadlines_changed.notify_one();
        self.renewals_changed.notify_one();
    }

    fn remove(&self, lease: i64, listener: &Arc<Listener>) {
        self.state().ledger.remove(lease, listener);
        self.deadlines_changed.notify_one();
    }

    async fn run(self: Arc<Self>, client: Client) {
        let mut wait = ReopenWait::default();
        loop {
            let failed = tokio::select! {
                // Leases run out while no server can be reached, too.
                () = self.until_empty() => None,
                status = self.stream(&client, &mut wait) => Some(status),
            };
            {
                let mut state = self.state();
                if let Some(status) = &failed
                    && !may_come_back(status)
                {
                    let error = Error::from(status.clone());
                    state.ledger.end_all(&LeaseEnd::Failed(error));
                }
                state.ledger.disconnect(Instant::now());
                if state.ledger.is_empty() {
                    state.running = false;
                    return;
                }
            }
            let pause = wait.next();
            tokio::select! {
                () = self.until_empty() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Ends leases whose time has passed, until none is left.
    async fn until_empty(&self) {
        loop {
            let next = {
                let mut state = self.state();
                state.ledger.end_late(Instant::now());
                if state.ledger.is_empty() {
                    return;
                }
                state.ledger.next_deadline()
            };
            // Answers move deadlines later only, so the earliest one known is soon enough.
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.deadlines_changed.notified() => {}
            }
        }
    }

    /// Renews over one stream, and tells how it ended.
    async fn stream(&self, client: &Client, wait: &mut ReopenWait) -> Status {
        if let Err(error) = client.renew_token(None).await {
            return error.into_status();
        }
        let mut stream = open(client, true);
        loop {
            let now = Instant::now();
            let (due, next) = {
                let state = self.state();
                (state.ledger.is_due(now), state.ledger.next_renewal())
            };
            let permit = stream.room_if(due);
            tokio::select! {
                permit = permit => {
                    if let Some(id) = self.state().ledger.take_due(Instant::now()) {
                        permit.send(LeaseKeepAliveRequest { id });
                    }
                }
                answer = stream.answer() => match answer {
                    Ok(answer) => {
                        wait.reset();
                        let mut state = self.state();
                        state.ledger.receive(answer);
                        if state.ledger.is_empty() {
                            self.deadlines_changed.notify_one();
                        }
                    }
                    Err(status) => return status,
                },
                () = sleep_until(next), if !due => {}
                () = self.renewals_changed.notified() => {}
            }
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
