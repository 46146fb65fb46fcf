//! What an operation asks the server: the message of operation number n.

use bytes::Bytes;
use tenet_proto::etcdserverpb::{PutRequest, RangeRequest};

use crate::key::{Keys, Values};
use crate::wire;

/// The operations of a run. Operation n always asks the same, so a run can be repeated.
#[derive(Clone, Debug)]
pub(crate) enum Workload {
    /// Writes one key.
    Put { keys: Keys, values: Values },
    /// Reads `limit` keys from one key on; with 1, that key alone.
    Range {
        keys: Keys,
        serializable: bool,
        limit: u32,
    },
}

impl Workload {
    /// The path of the method that is called.
    pub(crate) fn path(&self) -> &'static str {
        match self {
            Workload::Put { .. } => "/etcdserverpb.KV/Put",
            Workload::Range { .. } => "/etcdserverpb.KV/Range",
        }
    }

    /// The framed message of operation `operation`.
    pub(crate) fn request(&self, operation: u64) -> Bytes {
        match self {
            Workload::Put { keys, values } => wire::frame(&PutRequest {
                key: keys.key(keys.number(operation)),
                value: values.value(operation),
                ..Default::default()
            }),
            Workload::Range {
                keys,
                serializable,
                limit,
            } => wire::frame(&RangeRequest {
                key: keys.key(keys.number(operation)),
                range_end: if *limit > 1 { keys.end() } else { Bytes::new() },
                limit: if *limit > 1 { i64::from(*limit) } else { 0 },
                serializable: *serializable,
                ..Default::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Order;
    use tenet_proto::prost::Message;

    #[test]
    fn a_range_of_one_key_has_no_end_and_no_limit() {
        let keys = Keys::new("p", 5, 10, Order::Sequential, 0).unwrap();
        let request = |limit| {
            let workload = Workload::Range {
                keys: keys.clone(),
                serializable: true,
                limit,
            };
            RangeRequest::decode(workload.request(3).slice(5..)).unwrap()
        };
        let one = request(1);
        assert_eq!((one.key.as_ref(), one.limit), (&b"p0003"[..], 0));
        assert!(one.range_end.is_empty() && one.serializable);
        let page = request(500);
        assert_eq!((page.range_end.as_ref(), page.limit), (&b"q"[..], 500));
    }
}
