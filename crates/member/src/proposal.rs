//! A write on its way into the log.

use crate::progress::Permit;
use bytes::Bytes;
use tenet_proto::etcdserverpb::InternalRaftRequest;
use tenet_proto::raftpb::ConfChange;

/// A request in both forms: the bytes that go into the log, and the decoded request, which saves
/// the applier of the proposing member the decoding. They must be the same request; the applier
/// checks that in debug builds.
#[derive(Debug)]
pub struct Prepared {
    /// The encoded `InternalRaftRequest`.
    pub data: Bytes,
    /// The same, decoded.
    pub request: Box<InternalRaftRequest>,
    /// The place among the proposals in flight.
    pub permit: Permit,
}

/// A prepared request and who waits for it.
#[derive(Debug)]
pub struct Proposal<W> {
    /// What is proposed.
    pub prepared: Prepared,
    /// Who waits.
    pub waiter: W,
}

/// A change of the configuration, with an id of its own, and who waits for it.
#[derive(Debug)]
pub struct Change<W> {
    /// What is proposed.
    pub change: ConfChange,
    /// Who waits.
    pub waiter: W,
}

/// A proposal that sits in the log of this member and waits to be committed and applied.
#[derive(Debug)]
pub(crate) struct Local<W> {
    pub(crate) request: Box<InternalRaftRequest>,
    pub(crate) waiter: W,
    /// Held until the answer is given.
    pub(crate) permit: Permit,
}
