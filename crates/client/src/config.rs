//! What a client is made of: endpoints, limits, credentials, and who is told of failed attempts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tenet_base::limits;

use crate::{Peer, Status};

/// The settings of a [`Client`](crate::Client). [`Config::new`] gives etcd's defaults.
#[derive(Clone)]
pub struct Config {
    /// Where the members listen: `host:port`, `http://host:port`, `unix:path`, `unix://path`.
    pub endpoints: Vec<String>,
    /// Pings on connections with calls under way; none if not given.
    pub keep_alive: Option<KeepAlive>,
    /// Largest request in bytes.
    pub send_bytes_max: usize,
    /// Largest answer in bytes.
    pub receive_bytes_max: usize,
    /// Attempts at one call.
    pub attempts_max: u32,
    /// Who calls, where the cluster asks.
    pub credentials: Option<Credentials>,
    /// Told of every failed attempt at a unary call.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Config {
    /// The defaults, with these endpoints.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Config {
        Config {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            keep_alive: None,
            send_bytes_max: limits::CLIENT_SEND_BYTES_MAX,
            receive_bytes_max: limits::CLIENT_RECEIVE_BYTES_MAX,
            attempts_max: limits::CLIENT_ATTEMPTS_MAX,
            credentials: None,
            observer: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("endpoints", &self.endpoints)
            .field("keep_alive", &self.keep_alive)
            .field("send_bytes_max", &self.send_bytes_max)
            .field("receive_bytes_max", &self.receive_bytes_max)
            .field("attempts_max", &self.attempts_max)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// When to ping the server, and how long to wait for its answer before the connection is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before a ping. Servers refuse pings that come too often; less than 10 s is taken as
    /// 10 s.
    pub interval: Duration,
    /// Wait for the answer to a ping.
    pub timeout: Duration,
}

/// How the client says who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password, for which the server gives a token.
    Password {
        /// Name of the user.
        user: String,
        /// Password of the user.
        password: String,
    },
    /// A token that was issued elsewhere.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credentials::Password { user, .. } => write!(f, "Password({user:?})"),
            Credentials::Token(_) => f.write_str("Token"),
        }
    }
}

/// Why a client could not be made from its settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No endpoint at all.
    #[error("etcdclient: no available endpoints")]
    NoEndpoints,
    /// An endpoint that asks for TLS.
    #[error(
        "endpoint {0} asks for TLS, which this client does not have yet; use http:// or unix://"
    )]
    Tls(String),
    /// The limits contradict each other.
    #[error(
        "gRPC message recv limit ({receive} bytes) must be greater than send limit ({send} bytes)"
    )]
    Limits {
        /// Largest answer in bytes.
        receive: usize,
        /// Largest request in bytes.
        send: usize,
    },
}

/// Sees what goes wrong below a call, for logs.
pub trait Observer: Send + Sync {
    /// An attempt at a unary call has failed. It may be repeated.
    fn attempt_failed(&self, attempt: &FailedAttempt<'_>);
}

/// One failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// First endpoint of the client, without its scheme.
    pub target: &'a str,
    /// Full name of the method: `/etcdserverpb.KV/Range`.
    pub method: &'a str,
    /// Counts from 0.
    pub attempt: u32,
    /// The connection that carried it; none if there was none.
    pub peer: Option<&'a Peer>,
    /// What came of it.
    pub status: &'a Status,
}
