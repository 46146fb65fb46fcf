//! A session: a lease that is kept alive, on which locks and offices rest.

use std::time::Duration;

use tenet_proto::etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest};
use tokio::time::Instant;

use crate::{Client, Error, LeaseEnd, LeaseKeepAlive};

/// A lease that is kept alive as long as this exists. Dropped, the lease runs out after its time;
/// [closed](Session::close), it ends at once.
#[derive(Debug)]
pub struct Session {
    pub(super) client: Client,
    keep_alive: LeaseKeepAlive,
}

impl Session {
    /// Makes a lease of so many seconds, and keeps it alive.
    ///
    /// # Errors
    /// If the lease cannot be made.
    pub async fn new(client: &Client, ttl_seconds: i64) -> Result<Session, Error> {
        let asked = Instant::now();
        let request = LeaseGrantRequest {
            ttl: ttl_seconds,
            id: 0,
        };
        let granted = client.lease_grant(request).await?;
        let ttl = Duration::from_secs(granted.ttl.max(1).unsigned_abs());
        let deadline = asked.checked_add(ttl);
        let keep_alive = match deadline {
            Some(deadline) => client.keep_alive_until(granted.id, deadline),
            None => client.keep_alive(granted.id),
        };
        Ok(Session {
            client: client.clone(),
            keep_alive,
        })
    }

    /// Rests on a lease that exists.
    #[must_use]
    pub fn with_lease(client: &Client, lease: i64) -> Session {
        Session {
            client: client.clone(),
            keep_alive: client.keep_alive(lease),
        }
    }

    /// The lease.
    #[must_use]
    pub fn lease(&self) -> i64 {
        self.keep_alive.lease()
    }

    /// Whether the lease has not run out, as far as can be told here.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.keep_alive.is_alive()
    }

    /// Waits until the lease is lost.
    pub async fn expired(&self) -> LeaseEnd {
        self.keep_alive.ended().await
    }

    /// Ends the lease, and so gives up everything that is held by the session.
    ///
    /// # Errors
    /// If the call fails; the lease runs out then.
    pub async fn close(self) -> Result<(), Error> {
        let id = self.lease();
        let client = self.client.clone();
        // Not renewed any more, whatever comes of the call.
        drop(self);
        client.lease_revoke(LeaseRevokeRequest { id }).await?;
        Ok(())
    }
}
