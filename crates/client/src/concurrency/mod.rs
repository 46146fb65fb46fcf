//! Locks and elections, made of keys, leases and watches: etcd's own protocol, so that they work
//! together with those of its Go client and of `etcdctl lock` and `etcdctl elect`.
//!
//! Whoever wants a lock or an office named `name` puts the key `name/<lease in hexadecimal>`, once,
//! with its lease. The oldest key holds it; everyone else waits until all older keys are gone. A
//! holder that dies loses its lease and with it the key.
//!
//! **Fencing.** A lock that rests on time alone cannot keep two holders apart: a process that
//! sleeps, or a network that delays, may act on a lock that is no longer its own. What can be
//! checked is the revision at which the key was put ([`Lock::revision`], [`Leadership::revision`]).
//! It grows from holder to holder, and the comparison from [`Lock::guard`] and
//! [`Leadership::guard`] makes a transaction fail once the key is gone:
//!
//! ```no_run
//! # async fn example(client: tenet_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use tenet_client::proto::{PutRequest, RequestOp, TxnRequest, request_op::Request};
//! use tenet_client::Session;
//!
//! let session = Session::new(&client, 10).await?;
//! let lock = session.lock("jobs").await?;
//! let put = PutRequest { key: "job".into(), value: "mine".into(), ..Default::default() };
//! let written = client
//!     .txn(TxnRequest {
//!         compare: vec![lock.guard()],
//!         success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
//!         failure: vec![],
//!     })
//!     .await?;
//! if !written.succeeded {
//!     println!("the lock was lost meanwhile, and nothing was written");
//! }
//! lock.unlock().await?;
//! session.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Stores other than this one can do the same by refusing a revision lower than one they have seen.

mod claim;
mod election;
mod lock;
mod services;
mod session;

pub use election::{Leader, Leadership, Observer as ElectionObserver};
pub use lock::Lock;
pub use services::{ElectionService, LeaderStream, LockService};
pub use session::Session;

use crate::{Error, WatchError};

/// Why there is no lock or office.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConcurrencyError {
    /// Someone else holds it.
    #[error("held by another session")]
    Held,
    /// The session's lease has run out, so everything held by it is lost.
    #[error("the session has expired")]
    SessionExpired,
    /// It was held and is not any more.
    #[error("not held any more")]
    Lost,
    /// A call failed.
    #[error("{0}")]
    Call(#[from] Error),
    /// A watch failed.
    #[error("{0}")]
    Watch(#[from] WatchError),
}
