//! The consensus core: etcd's raft as a pure function of its inputs.
//!
//! [`Raft`] is one member. It is told of ticks, messages, proposals and finished work, and says
//! what is to be sent, stored and applied. It does no I/O, reads no clock and starts no thread, so
//! the server, the simulator and the lab run the same code, and a run is decided by its inputs and
//! [`Config::seed`].
//!
//! # What the caller owes
//!
//! 1. **Take and do.** While [`has_output`](Raft::has_output), [`take_output`](Raft::take_output)
//!    and do all of it. Outputs may be taken while the work of earlier ones is under way.
//! 2. **Logs in order.** [`Append`]s are written in the order in which they come. In each, first the
//!    snapshot, which replaces the whole log, then the entries, which replace whatever is there from
//!    the first of them on, then the hard state. Several may be synced together.
//! 3. **Durable means durable.** When an append and all before it are on disk (synced, if any has
//!    [`must_sync`](Append::must_sync)) and the [`LogStore`] can read its entries, its
//!    [`responses`](Append::responses) are sent and its receipt is given to
//!    [`append_done`](Raft::append_done). Not before: an acknowledgement or a vote that a crash
//!    undoes can cost acknowledged data. After a failed write or sync: never.
//! 4. **Snapshots.** An append with a snapshot is done when the log is replaced and the state
//!    machine restored from it, both durably.
//! 5. **Apply in order.** [`committed`](Output::committed) entries are applied in order, after the
//!    snapshots that came before them, and reported with [`apply_done`](Raft::apply_done).
//! 6. **Configuration changes** among them are decoded and given to
//!    [`apply_conf_change`](Raft::apply_conf_change) before they are reported as applied; the
//!    configuration that it returns is stored with the state machine. If the state machine refuses
//!    one, it is not given, or given with its member ids zeroed; every member must refuse it alike.
//! 7. **Messages** may be lost, repeated, delayed and reordered, but not altered and not kept
//!    across a wiped disk; a proposal that is repeated is appended as often as it arrives. What cannot be delivered is reported with
//!    [`report_unreachable`](Raft::report_unreachable), the end of a snapshot's transmission with
//!    [`report_snapshot`](Raft::report_snapshot).
//! 8. **Start.** The store's hard state, its entries and [`Config::applied`] are what was durable.
//!    A new cluster's first members call [`bootstrap`](Raft::bootstrap); whoever joins later starts
//!    with an empty log.
//! 9. **One disk, one id.** A member that has lost its disk, or part of it, does not come back under
//!    its id: it could vote twice in a term, or help to forget what it acknowledged.
//! 10. **Compaction.** The store drops entries only up to what is applied, and can then give a
//!     snapshot that covers them. It is best taken when it is asked for: a member refuses one whose
//!     configuration does not name it, so a newcomer needs one from after it was added. The store
//!     always knows the term of the position before its first entry.
//! 11. **A disk that hangs** is reported with [`disk_stalled`](Raft::disk_stalled), after leadership
//!     has been offered to [`best_transferee`](Raft::best_transferee) in vain, and
//!     [`disk_recovered`](Raft::disk_recovered).
//! 12. **Ticks** come at an even pace. Safety does not depend on it, save for
//!     [`ReadOnly::LeaseBased`].
//!
//! # Where it differs from etcd's
//!
//! Members of both kinds work together; the messages and what they mean are etcd's. Here, however:
//!
//! - Requests for votes wait until the vote and the end of the log are durable
//!   (`testdata/vote_request_before_vote.txt` shows why).
//! - Sole voters, too, answer no read before the first commit of their term, and a leader that has
//!   been removed from a configuration of one asks that one.
//! - Leases count from a heartbeat that a quorum has echoed, not from the last check of quorum, and
//!   promises to a leader outlive a restart and a change of term.
//! - The configuration of a snapshot takes effect with the state machine, for changes before it may
//!   still be on their way there.
//! - What contradicts committed entries, or commits what is not here, is refused with an error.
//!
//! One limit is shared: if a leader applies its own removal and stops before the others know that it
//! is committed, they may need its vote, which its longer log withholds. So hand leadership over
//! before removing a leader.
//!
//! Errors are what others did wrong; panics are broken promises of the core or of its driver, and
//! the member must not go on.

#[cfg(all(feature = "instrumented", not(debug_assertions)))]
compile_error!("known bugs are not for releases: build without the feature `instrumented`");

pub mod adapter;
#[cfg_attr(
    not(feature = "instrumented"),
    expect(unreachable_pub, reason = "exported with the feature only")
)]
mod bugs;
pub mod confchange;
mod config;
pub mod describe;
mod election;
mod error;
mod follower;
mod leader;
mod log;
#[cfg_attr(
    not(feature = "instrumented"),
    expect(unreachable_pub, reason = "exported with the feature only")
)]
mod marks;
mod output;
mod propose;
pub mod quorum;
mod raft;
mod read_index;
mod size;
mod step;
mod store;
pub mod tracker;
mod transfer;

use tenet_base::MemberId;

#[cfg(feature = "instrumented")]
pub use bugs::KnownBug;
pub use config::{Config, ReadOnly};
pub use error::{
    BootstrapError, ConfChangeError, ConfChangeRefusal, ConfigError, LogError, ProposeError,
    StepError,
};
#[cfg(feature = "instrumented")]
pub use marks::{Mark, marks};
pub use output::{Append, AppendDone, Output, ReadState, SoftState};
pub use propose::{ConfChangeProposal, Proposed};
pub use raft::{Raft, Role, Status};
pub use size::entry_size;
pub use store::{LogStore, MemoryLog};

/// Stands for the log in the message form of storage work; no member has this id.
pub const APPEND_THREAD: MemberId = MemberId(u64::MAX);
/// Stands for the state machine in the message form of storage work; no member has this id.
pub const APPLY_THREAD: MemberId = MemberId(u64::MAX - 1);
