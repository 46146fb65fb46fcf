//! What all tasks of the transport use.

use crate::body::Budget;
use crate::call::Pool;
use crate::connect::Connector;
use crate::handler::{Dropped, Handler};
use crate::headers;
use crate::metrics::Metrics;
use crate::options::Options;
use http::HeaderMap;
use std::sync::Arc;
use tenet_base::MemberId;
use tenet_proto::raftpb::Message;
use tokio::runtime::Handle;

/// See the module.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) runtime: Handle,
    pub(crate) pool: Pool,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) partial: Budget,
    /// What each request about raft says of this member.
    pub(crate) own_headers: HeaderMap,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why a message goes no further. The texts are etcd's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undelivered {
    /// Its sender was removed from the cluster.
    #[error("cannot process message from removed member")]
    RemovedSender,
    /// It is for another member.
    #[error("cannot process message to mismatch member")]
    OtherReceiver,
    /// There is no room for it.
    #[error(transparent)]
    Dropped(#[from] Dropped),
}

impl Shared {
    pub(crate) fn new(options: Options, handler: Arc<dyn Handler>, runtime: Handle) -> Arc<Shared> {
        Arc::new(Shared {
            pool: Pool::new(Connector {
                dial_timeout: options.dial_timeout,
                tls: options.tls.clone(),
            }),
            own_headers: headers::own(&options),
            metrics: Arc::default(),
            partial: Budget::default(),
            options,
            handler,
            runtime,
        })
    }

    /// Whether a message may go on to the member.
    pub(crate) fn check(&self, message: &Message) -> Result<(), Undelivered> {
        if self.handler.is_removed(MemberId(message.from)) {
            return Err(Undelivered::RemovedSender);
        }
        if message.to != self.options.local.get() {
            return Err(Undelivered::OtherReceiver);
        }
        Ok(())
    }

    /// Hands a message to the member.
    pub(crate) fn deliver(&self, message: Message) -> Result<(), Undelivered> {
        self.check(&message)?;
        Ok(self.handler.receive(message)?)
    }
}
