//! Since when a member has been within reach. The log lines are etcd's.

use crate::metrics::PeerCounts;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use tenet_base::MemberId;

/// See the module.
#[derive(Debug)]
pub(crate) struct Status {
    id: MemberId,
    since: Mutex<Option<Instant>>,
    counts: Arc<PeerCounts>,
}

impl Status {
    pub(crate) fn new(id: MemberId, counts: Arc<PeerCounts>) -> Status {
        Status {
            id,
            since: Mutex::new(None),
            counts,
        }
    }

    /// A connection was made, or used.
    pub(crate) fn activate(&self) {
        let mut since = self.since.lock();
        if since.is_none() {
            *since = Some(Instant::now());
            self.counts.active.set(1);
            tracing::info!("peer-id" = %self.id, "peer became active");
        }
    }

    /// Something could not be done: `action` on `source`.
    pub(crate) fn deactivate(&self, source: &str, action: &str, reason: &str) {
        let mut since = self.since.lock();
        let was = since.take().is_some();
        self.counts.active.set(0);
        let error = format!("failed to {action} {} on {source} ({reason})", self.id);
        if was {
            self.counts.disconnected.add(1);
            tracing::warn!(
                "peer-id" = %self.id,
                error,
                "peer became inactive (message send to peer failed)"
            );
        } else {
            tracing::debug!("peer-id" = %self.id, error, "peer deactivated again");
        }
    }

    /// Since when it has been within reach, if it is.
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.since.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_since_the_first_success_and_until_the_first_failure() {
        let counts = Arc::new(PeerCounts::default());
        let status = Status::new(MemberId(1), counts.clone());
        assert_eq!(status.since(), None);
        status.deactivate("stream Message", "dial", "refused");
        assert_eq!(counts.disconnected.get(), 0);
        status.activate();
        let since = status.since();
        assert!(since.is_some());
        status.activate();
        assert_eq!((status.since(), counts.active.get()), (since, 1));
        status.deactivate("stream Message", "read", "broken");
        assert_eq!(status.since(), None);
        assert_eq!((counts.active.get(), counts.disconnected.get()), (0, 1));
    }
}
