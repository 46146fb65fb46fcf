//! The client itself: settings, the pool of connections, and the deadline of its calls.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::keep_alive::Keeper;
use crate::transport::{Endpoint, Pool};
use crate::watch::Hub;
use crate::{Config, ConfigError, Credentials};

/// A handle on one cluster. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadline: Deadline,
    /// What all keys begin with, unseen by the caller; empty for the whole key space.
    pub(crate) prefix: Bytes,
}

#[derive(Clone, Copy)]
pub(crate) enum Deadline {
    None,
    /// Counted from the start of each call.
    After(Duration),
    At(Instant),
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) pool: Arc<Pool>,
    pub(crate) token: RwLock<Option<tonic::metadata::AsciiMetadataValue>>,
    hub: Arc<Hub>,
    hub_with_leader: Arc<Hub>,
    pub(crate) keeper: Arc<Keeper>,
}

impl Shared {
    /// Where watches run that require a leader, or do not.
    pub(crate) fn hub(&self, require_leader: bool) -> Arc<Hub> {
        if require_leader {
            self.hub_with_leader.clone()
        } else {
            self.hub.clone()
        }
    }
}

impl Client {
    /// Makes a client. Nothing is connected before the first call.
    ///
    /// # Errors
    /// If there is no endpoint, an endpoint asks for TLS, or the limits contradict each other.
    pub fn new(config: Config) -> Result<Client, ConfigError> {
        if config.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoints);
        }
        let endpoints: Vec<Endpoint> = config
            .endpoints
            .iter()
            .map(|text| Endpoint::parse(text))
            .collect::<Result<_, _>>()?;
        let token = match &config.credentials {
            Some(Credentials::Token(token)) => token.parse().ok(),
            _ => None,
        };
        let pool = Pool::new(endpoints, config.keep_alive);
        let shared = Shared {
            config,
            pool,
            token: RwLock::new(token),
            hub: Hub::new(false),
            hub_with_leader: Hub::new(true),
            keeper: Keeper::new(),
        };
        Ok(Client {
            shared: Arc::new(shared),
            deadline: Deadline::None,
            prefix: Bytes::new(),
        })
    }

    /// A client with the same settings and one endpoint only, for calls that are about one member.
    /// It has a connection of its own.
    ///
    /// # Errors
    /// If the endpoint asks for TLS.
    pub fn at(&self, endpoint: impl Into<String>) -> Result<Client, ConfigError> {
        let mut config = self.shared.config.clone();
        config.endpoints = vec![endpoint.into()];
        let client = Client::new(config)?;
        Ok(Client {
            deadline: self.deadline,
            prefix: self.prefix.clone(),
            ..client
        })
    }

    /// A clone whose calls each end after `timeout`.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        self.with(Deadline::After(timeout))
    }

    /// A clone whose calls end at `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: std::time::Instant) -> Client {
        self.with(Deadline::At(deadline.into()))
    }

    pub(crate) fn with(&self, deadline: Deadline) -> Client {
        Client {
            deadline,
            ..self.clone()
        }
    }

    /// For tasks that outlive the call that began them.
    pub(crate) fn without_deadline(&self) -> Client {
        self.with(Deadline::None)
    }

    /// The endpoints it was made with.
    #[must_use]
    pub fn endpoints(&self) -> &[String] {
        &self.shared.config.endpoints
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

impl Deadline {
    /// The end of a call that begins now.
    pub(crate) fn instant(self) -> Option<Instant> {
        match self {
            Deadline::None => None,
            // A span too long to add is as good as none.
            Deadline::After(timeout) => Instant::now().checked_add(timeout),
            Deadline::At(instant) => Some(instant),
        }
    }
}
