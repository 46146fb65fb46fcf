//! How an answer finds whoever asked.
//!
//! The actors know nothing of tasks or wake-ups: a request comes with something that can be
//! completed once, and is. The runtime completes a task, the simulator writes a history.

use bytes::Bytes;
use tenet_base::{Index, MemberId};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::Member;
use tenet_state::{Export, HashJob, Response};

/// What a request waits for.
#[derive(Debug)]
pub enum Outcome {
    /// A write was committed, applied here, and gave this.
    Applied(Response),
    /// What was waited for has happened: it is time to try again.
    Retry,
    /// The keys on a lease, ascending; `None` if there is no such lease.
    LeaseKeys(Option<Vec<Bytes>>),
    /// A linearizable read may run on the newest published view.
    ReadReady,
    /// A configuration change was done, and these are the members now.
    Members(Vec<Member>),
    /// How far the logs of all members match this leader's, its own among them.
    Matched(Vec<(MemberId, Index)>),
    /// No background work is left.
    Settled,
    /// What was asked for, ready to be worked out on a thread that may be busy for long.
    Hash(HashJob),
    /// The state as of now, to be made a snapshot of on such a thread.
    Export(Box<Export>),
}

/// Whoever waits for an [`Outcome`]. Completed at most once; dropped without completion only when
/// the member stops.
pub trait Waiter: Send {
    /// Delivers the answer. Must not block.
    fn complete(self, result: Result<Outcome, ApiError>);
}
