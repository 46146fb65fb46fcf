//! What the transport is told at the start.

use crate::url::PeerUrl;
use std::time::Duration;
use tenet_base::{ClusterId, MemberId};
use tenet_tls::ClientTls;

/// See the module.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member.
    pub local: MemberId,
    /// Its cluster; requests of others are refused.
    pub cluster: ClusterId,
    /// Where other members reach this one.
    pub urls: Vec<PeerUrl>,
    /// The version of etcd whose protocol is spoken.
    pub server_version: &'static str,
    /// The lowest version of a cluster that such a member can be in.
    pub cluster_version_min: &'static str,
    /// Time for a connection to be made; etcd takes a second and an election timeout.
    pub dial_timeout: Duration,
    /// Certificates, for members that are called over TLS.
    pub tls: Option<ClientTls>,
}
