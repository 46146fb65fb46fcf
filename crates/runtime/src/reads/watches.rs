//! The watches of one client stream, of which the history may have to be waited for.

use super::ColdReads;
use bytes::Bytes;
use std::task::Waker;
use tenet_member::{Pulled, WatchSession};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::WatchRequest;
use tenet_store::Patience;

/// See the module.
#[derive(Debug)]
pub struct Watches {
    session: WatchSession,
    pool: ColdReads,
}

impl Watches {
    pub(crate) fn new(session: WatchSession, pool: ColdReads) -> Watches {
        Watches { session, pool }
    }

    /// Whether the next request may be taken. If not, pull first.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.session.takes_requests()
    }

    /// Takes a request of the client. Pull afterwards.
    pub fn request(&mut self, request: WatchRequest) {
        self.session.request(request);
    }

    /// Appends encoded `WatchResponse`s to `out`, up to about `budget_bytes` of them. Does not
    /// wait.
    pub fn pull(&mut self, waker: &Waker, budget_bytes: usize, out: &mut Vec<Bytes>) -> Pulled {
        self.session.pull(waker, budget_bytes, Patience::Never, out)
    }

    /// The same in the pool, where it may wait. Nobody is woken for what comes behind it.
    ///
    /// # Errors
    /// If the member stops meanwhile.
    pub async fn pull_waiting(
        self,
        budget_bytes: usize,
    ) -> Result<(Watches, Vec<Bytes>, Pulled), ApiError> {
        let Watches { mut session, pool } = self;
        let read = move || {
            let mut out = Vec::new();
            let waker = Waker::noop();
            let pulled = session.pull(waker, budget_bytes, Patience::Wait, &mut out);
            (session, out, pulled)
        };
        let (session, out, pulled) = pool.run(read).await?;
        Ok((Watches { session, pool }, out, pulled))
    }
}
