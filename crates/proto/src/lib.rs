//! The messages of etcd's wire and disk formats.
//!
//! Those of the client API and of log payloads are generated from the .proto files in this crate's
//! `proto` folder; byte fields are [`bytes::Bytes`], so decoding copies no value. Those of the
//! raft library are written by hand in [`raftpb`], because their presence rules are those of
//! another generation of protobuf. How members put them on the streams between them is in [`peer`].
//!
//! Invariant: encoding a message gives the bytes that etcd 3.7 gives for the same message where
//! bytes are compared (`mvccpb.KeyValue` is hashed), and bytes that etcd 3.5 to 3.7 accept
//! everywhere else. This crate knows nothing of what messages mean.

pub use prost;

pub mod error;
pub mod peer;
pub mod raftpb;

pub use error::{ApiError, Code};

/// Generated: stored key-values and events.
#[allow(missing_docs, clippy::all)]
pub mod mvccpb {
    include!(concat!(env!("OUT_DIR"), "/mvccpb.rs"));
}

/// Generated: stored users, roles and permissions.
#[allow(missing_docs, clippy::all)]
pub mod authpb {
    include!(concat!(env!("OUT_DIR"), "/authpb.rs"));
}

/// Generated: the client API and the payloads of the raft log.
#[allow(missing_docs, clippy::all)]
pub mod etcdserverpb {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

/// Generated: what members propose about the cluster itself.
#[allow(missing_docs, clippy::all)]
pub mod membershippb {
    include!(concat!(env!("OUT_DIR"), "/membershippb.rs"));
}

/// Generated: stored leases.
#[allow(missing_docs, clippy::all)]
pub mod leasepb {
    include!(concat!(env!("OUT_DIR"), "/leasepb.rs"));
}

/// Generated: the lock service.
#[allow(missing_docs, clippy::all)]
pub mod v3lockpb {
    include!(concat!(env!("OUT_DIR"), "/v3lockpb.rs"));
}

/// Generated: the election service.
#[allow(missing_docs, clippy::all)]
pub mod v3electionpb {
    include!(concat!(env!("OUT_DIR"), "/v3electionpb.rs"));
}

/// Generated: the standard health service.
#[allow(missing_docs, clippy::all)]
pub mod health {
    include!(concat!(env!("OUT_DIR"), "/grpc.health.v1.rs"));
}

#[cfg(test)]
mod tests {
    use super::etcdserverpb::{InternalRaftRequest, PutRequest, RequestHeader};
    use prost::Message as _;

    fn put_entry() -> InternalRaftRequest {
        InternalRaftRequest {
            header: Some(RequestHeader {
                id: 5,
                ..RequestHeader::default()
            }),
            put: Some(PutRequest {
                key: "a".into(),
                value: "1".into(),
                ..PutRequest::default()
            }),
            ..InternalRaftRequest::default()
        }
    }

    #[test]
    fn payload_of_a_put_has_etcds_bytes() {
        // Field 4 (put) before field 100 (header), as etcd writes them.
        let bytes = put_entry().encode_to_vec();
        assert_eq!(bytes, b"\x22\x06\x0a\x01a\x12\x011\xa2\x06\x02\x08\x05");
    }

    #[test]
    fn payload_is_small_enough_to_travel_through_queues() {
        assert!(
            size_of::<InternalRaftRequest>() <= 512,
            "{}",
            size_of::<InternalRaftRequest>()
        );
    }
}
