//! How many bytes a client may make a connection keep.
//!
//! A budget belongs to one connection, so that whoever exhausts it slows or loses only that
//! connection. Charges are returned when the charged bytes are dropped, wherever that happens.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes in use.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: AtomicUsize,
}

impl Budget {
    /// Bytes in use now.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A part of this budget, empty at first.
    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// A part of a budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// Takes `bytes` more; tells how much of the budget is in use then.
    pub(super) fn add(&mut self, bytes: usize) -> usize {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// `data`, charged to `budget` until the last of it is dropped: for what waits to be sent, that is
/// when it has been written to the socket or its stream is gone.
pub(super) fn charged(data: Bytes, budget: &Arc<Budget>) -> Bytes {
    let mut charge = budget.charge();
    charge.add(data.len());
    Bytes::from_owner(Charged {
        data,
        _charge: charge,
    })
}

struct Charged {
    data: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_charged_until_their_last_slice_is_dropped() {
        let budget = Arc::new(Budget::default());
        let data = charged(Bytes::from_static(b"0123456789"), &budget);
        let slice = data.slice(2..4);
        drop(data);
        assert_eq!(budget.used(), 10);
        assert_eq!(&slice[..], b"23");
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_charge_grows_and_is_given_back_whole() {
        let budget = Arc::new(Budget::default());
        let mut charge = budget.charge();
        charge.add(5);
        assert_eq!(charge.add(6), 11);
        drop(charge);
        assert_eq!(budget.used(), 0);
    }
}
