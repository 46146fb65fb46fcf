//! Leases: what is granted, and which keys hang on what.
//!
//! Invariants: a key is on at most one lease; the two maps name each other; the lease of a live
//! key equals the lease in its newest record, as long as that lease exists.
//! There is no clock here: expiry is decided outside and comes back as a revoke entry.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use tenet_base::{LeaseId, limits};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{LeaseCheckpointRequest, LeaseGrantRequest};

/// One lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// The granted time to live, raised to the member's minimum, in seconds.
    pub ttl_s: i64,
    /// What was left at the last checkpoint entry, in seconds; zero if none is known.
    pub remaining_s: i64,
    /// The keys on it, ascending.
    pub keys: BTreeSet<Bytes>,
}

/// All leases.
#[derive(Clone, Debug)]
pub(crate) struct Leases {
    min_ttl_s: i64,
    by_id: BTreeMap<LeaseId, Lease>,
    by_key: BTreeMap<Bytes, LeaseId>,
}

impl Leases {
    pub(crate) fn new(min_ttl_s: i64) -> Self {
        Leases {
            min_ttl_s,
            by_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
        }
    }

    /// Grants a lease and returns its time to live.
    pub(crate) fn grant(&mut self, request: &LeaseGrantRequest) -> Result<i64, ApiError> {
        let id = LeaseId(request.id);
        if id.is_zero() {
            return Err(ApiError::LeaseNotFound);
        }
        if request.ttl > limits::LEASE_TTL_SECONDS_MAX {
            return Err(ApiError::LeaseTtlTooLarge);
        }
        if self.by_id.contains_key(&id) {
            return Err(ApiError::LeaseExist);
        }
        Ok(self.restore(id, request.ttl, 0))
    }

    /// Puts a lease back without keys, as granting and restoring do; returns its time to live.
    pub(crate) fn restore(&mut self, id: LeaseId, ttl_s: i64, remaining_s: i64) -> i64 {
        let ttl_s = ttl_s.max(self.min_ttl_s);
        let lease = Lease {
            ttl_s,
            remaining_s,
            keys: BTreeSet::new(),
        };
        self.by_id.insert(id, lease);
        ttl_s
    }

    /// Notes how much of each lease is left. Leases that are gone are passed over.
    pub(crate) fn checkpoint(&mut self, request: &LeaseCheckpointRequest) {
        for checkpoint in &request.checkpoints {
            if let Some(lease) = self.by_id.get_mut(&LeaseId(checkpoint.id)) {
                lease.remaining_s = checkpoint.remaining_ttl;
            }
        }
    }

    /// Takes a lease and its bookkeeping away and returns the keys that must be deleted with it,
    /// ascending: all members must delete in the same order.
    pub(crate) fn revoke(&mut self, id: LeaseId) -> Result<BTreeSet<Bytes>, ApiError> {
        let lease = self.by_id.remove(&id).ok_or(ApiError::LeaseNotFound)?;
        for key in &lease.keys {
            self.by_key.remove(key);
        }
        Ok(lease.keys)
    }

    /// Hangs `key` on `to`, or on nothing, off whatever it was on.
    #[inline]
    pub(crate) fn move_key(&mut self, key: &[u8], to: LeaseId) {
        // The common case: nothing is leased, and this key is not going to be.
        if to.is_zero() && self.by_key.is_empty() {
            return;
        }
        self.move_leased_key(key, to);
    }

    fn move_leased_key(&mut self, key: &[u8], to: LeaseId) {
        let from = self.by_key.get(key).copied().unwrap_or_default();
        if from == to {
            return;
        }
        if let Some(old) = self.by_id.get_mut(&from) {
            old.keys.remove(key);
            self.by_key.remove(key);
        }
        // The lease was checked before writing, except for a put that keeps the lease of a record
        // whose lease is gone (a store that was restored from elsewhere): such a key hangs on none.
        if let Some(new) = self.by_id.get_mut(&to) {
            // A copy, since the request's bytes would keep its whole entry in memory.
            let key = Bytes::copy_from_slice(key);
            new.keys.insert(key.clone());
            self.by_key.insert(key, to);
        }
    }

    pub(crate) fn contains(&self, id: LeaseId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(crate) fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.by_id.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.by_id.iter().map(|(id, lease)| (*id, lease))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::etcdserverpb::LeaseCheckpoint;

    fn grant(leases: &mut Leases, id: i64, ttl: i64) -> Result<i64, ApiError> {
        leases.grant(&LeaseGrantRequest { ttl, id })
    }

    fn keys(leases: &Leases, id: i64) -> Vec<&[u8]> {
        let lease = leases.get(LeaseId(id)).unwrap();
        lease.keys.iter().map(|key| &key[..]).collect()
    }

    #[test]
    fn grant_raises_short_times_and_refuses_what_etcd_refuses() {
        let mut leases = Leases::new(2);
        assert_eq!(grant(&mut leases, 1, 60), Ok(60));
        assert_eq!(grant(&mut leases, 2, -5), Ok(2));
        assert_eq!(grant(&mut leases, -3, 0), Ok(2));
        assert_eq!(grant(&mut leases, 4, 9_000_000_000), Ok(9_000_000_000));
        assert_eq!(
            grant(&mut leases, 5, 9_000_000_001),
            Err(ApiError::LeaseTtlTooLarge)
        );
        assert_eq!(grant(&mut leases, 1, 60), Err(ApiError::LeaseExist));
        // The ceiling is looked at before the id.
        assert_eq!(
            grant(&mut leases, 1, 9_000_000_001),
            Err(ApiError::LeaseTtlTooLarge)
        );
        assert_eq!(grant(&mut leases, 0, 60), Err(ApiError::LeaseNotFound));
        assert_eq!(leases.len(), 4);
    }

    #[test]
    fn key_is_on_one_lease_at_a_time() {
        let mut leases = Leases::new(2);
        grant(&mut leases, 1, 60).unwrap();
        grant(&mut leases, 2, 60).unwrap();
        leases.move_key(b"a", LeaseId(1));
        leases.move_key(b"b", LeaseId(1));
        leases.move_key(b"a", LeaseId(2));
        assert_eq!(keys(&leases, 1), [b"b"]);
        assert_eq!(keys(&leases, 2), [b"a"]);
        leases.move_key(b"a", LeaseId::ZERO);
        leases.move_key(b"never leased", LeaseId::ZERO);
        assert!(keys(&leases, 2).is_empty());
    }

    #[test]
    fn revoke_gives_keys_in_ascending_order_and_forgets_them() {
        let mut leases = Leases::new(2);
        grant(&mut leases, 1, 60).unwrap();
        for key in [b"c", b"a", b"b"] {
            leases.move_key(key, LeaseId(1));
        }
        let keys: Vec<_> = leases.revoke(LeaseId(1)).unwrap().into_iter().collect();
        assert_eq!(keys, [&b"a"[..], b"b", b"c"]);
        assert_eq!(leases.revoke(LeaseId(1)), Err(ApiError::LeaseNotFound));
        assert!(leases.by_key.is_empty());
    }

    #[test]
    fn key_of_a_missing_lease_hangs_on_nothing() {
        let mut leases = Leases::new(2);
        grant(&mut leases, 1, 60).unwrap();
        leases.move_key(b"a", LeaseId(1));
        leases.move_key(b"a", LeaseId(9));
        assert!(keys(&leases, 1).is_empty() && leases.by_key.is_empty());
    }

    #[test]
    fn checkpoint_sets_what_is_left_and_passes_over_unknown_leases() {
        let mut leases = Leases::new(2);
        grant(&mut leases, 1, 600).unwrap();
        let left = |id, remaining_ttl| LeaseCheckpoint { id, remaining_ttl };
        leases.checkpoint(&LeaseCheckpointRequest {
            checkpoints: vec![left(9, 1), left(1, 250)],
        });
        assert_eq!(leases.get(LeaseId(1)).unwrap().remaining_s, 250);
        assert_eq!(leases.len(), 1);
    }
}
