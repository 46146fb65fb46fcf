//! The client itself: settings, the pool of connections, and the deadline of its calls.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::transport::{Endpoint, Pool};
use crate::{Config, ConfigError, Credentials};

/// A handle on one cluster. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadline: Deadline,
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
        };
        Ok(Client {
            shared: Arc::new(shared),
            deadline: Deadline::None,
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
            ..client
        })
    }

    /// A clone whose calls each end after `timeout`.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        Client {
            shared: self.shared.clone(),
            deadline: Deadline::After(timeout),
        }
    }

    /// A clone whose calls end at `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: std::time::Instant) -> Client {
        Client {
            shared: self.shared.clone(),
            deadline: Deadline::At(deadline.into()),
        }
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
