//! Who this member is, and the ids it gives to requests.

use std::sync::atomic::{AtomicU64, Ordering};
use tenet_base::{ClusterId, MemberId};
use tenet_proto::etcdserverpb::RequestHeader;

/// The two ids that every answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The member.
    pub member: MemberId,
}

/// Request ids in etcd's form: the low 16 bits of the member id, then 40 bits of the start time in
/// milliseconds, then 8 bits; each id adds one to the low 48 bits. So ids of different members
/// differ, and so do those of different runs of one member while it makes fewer than 256,000 a
/// second.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    suffix: AtomicU64,
}

impl RequestIds {
    const SUFFIX_MASK: u64 = (1 << 48) - 1;

    /// Ids for `member`, started at `unix_ms`.
    #[must_use]
    pub fn new(member: MemberId, unix_ms: u64) -> Self {
        RequestIds {
            prefix: (member.get() & 0xffff) << 48,
            suffix: AtomicU64::new((unix_ms & ((1 << 40) - 1)) << 8),
        }
    }

    /// An id that was not given before.
    pub fn next(&self) -> u64 {
        let suffix = self.suffix.fetch_add(1, Ordering::Relaxed) + 1;
        self.prefix | (suffix & Self::SUFFIX_MASK)
    }

    /// A request header with an id of its own.
    pub fn header(&self) -> RequestHeader {
        RequestHeader {
            id: self.next(),
            ..RequestHeader::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_etcds_in_form_and_never_repeat() {
        let ids = RequestIds::new(MemberId(0xabcd_1234), 0x1_0203_0405_0607);
        assert_eq!(ids.next(), 0x1234_0304_0506_0701);
        assert_eq!(ids.next(), 0x1234_0304_0506_0702);
    }

    #[test]
    fn overflowing_time_does_not_touch_the_member() {
        let ids = RequestIds::new(MemberId(1), (1 << 40) - 1);
        for _ in 0..300 {
            assert_eq!(ids.next() >> 48, 1);
        }
    }
}
