//! Locks.

use bytes::Bytes;
use tenet_proto::etcdserverpb::{Compare, RangeResponse, ResponseHeader};

use super::claim::Claim;
use super::{ConcurrencyError, Session};

/// A lock that is held. Dropping it unlocks in the background, as far as that is possible;
/// [`Lock::unlock`] says whether it was done.
pub struct Lock {
    claim: Claim,
    header: ResponseHeader,
}

impl Session {
    /// Waits for the lock of this name. Locking twice with one session is holding it once.
    ///
    /// May be given up while it waits: the place in line is given up too.
    ///
    /// # Errors
    /// If the session expires, or a call fails.
    pub async fn lock(&self, name: impl AsRef<[u8]>) -> Result<Lock, ConcurrencyError> {
        let name = name.as_ref();
        let (claim, found) = Claim::make(self, name, Bytes::new()).await?;
        let mut header = claim.header;
        if !found.is_first {
            claim.wait_for_turn(self, name).await?;
            // Older keys being gone says nothing of the own one: the lease may have run out.
            let own = claim.read().await?;
            header = own
                .ok_or(ConcurrencyError::SessionExpired)?
                .header
                .unwrap_or_default();
        }
        Ok(Lock { claim, header })
    }

    /// Takes the lock of this name if nobody holds it.
    ///
    /// # Errors
    /// [`ConcurrencyError::Held`] if somebody does, or if a call fails.
    pub async fn try_lock(&self, name: impl AsRef<[u8]>) -> Result<Lock, ConcurrencyError> {
        let (claim, found) = Claim::make(self, name.as_ref(), Bytes::new()).await?;
        if !found.is_first {
            claim.give_up().await?;
            return Err(ConcurrencyError::Held);
        }
        let header = claim.header;
        Ok(Lock { claim, header })
    }
}

impl Lock {
    /// The key whose existence is the lock.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        &self.claim.key
    }

    /// The revision at which the key was put: the fencing token. It grows from holder to holder.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.claim.revision
    }

    /// The answer by which the lock was found to be held.
    #[must_use]
    pub fn header(&self) -> &ResponseHeader {
        &self.header
    }

    /// Holds in a transaction as long as the lock is held.
    #[must_use]
    pub fn guard(&self) -> Compare {
        self.claim.guard()
    }

    /// Reads the key; none if the lock is lost.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn read(&self) -> Result<Option<RangeResponse>, crate::Error> {
        self.claim.read().await
    }

    /// Gives the lock back.
    ///
    /// # Errors
    /// If the call fails. The lock is given back when its lease ends.
    pub async fn unlock(self) -> Result<(), crate::Error> {
        self.claim.give_up().await.map(|_| ())
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock")
            .field("key", self.key())
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
