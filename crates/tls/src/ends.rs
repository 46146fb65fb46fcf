//! The two ends of a connection.

use crate::certificate::{Facts, revoked_serials};
use crate::error::TlsError;
use crate::files::TlsFiles;
use crate::pair::{Pair, contents};
use crate::{ClientStream, ServerStream, san, suites, verify};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits::TLS_HANDSHAKE_SECONDS;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Takes connections.
#[derive(Clone)]
pub struct ServerTls {
    acceptor: TlsAcceptor,
    revoked: Option<PathBuf>,
    check_caller_address: bool,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// From files, which are read now.
    ///
    /// # Errors
    /// If one of them cannot be used, or what is asked for does not exist.
    pub fn new(files: &TlsFiles) -> Result<ServerTls, TlsError> {
        let provider = suites::provider(files)?;
        let pair = Pair::open(&files.certificate, &files.key, &provider)?;
        let callers = verify::of_callers(files, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&suites::versions(files)?)
            .map_err(|error| TlsError::Setup(error.to_string()))?
            .with_client_cert_verifier(callers)
            .with_cert_resolver(Arc::new(pair));
        config.alpn_protocols = files
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(ServerTls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            revoked: files.revoked.clone(),
            check_caller_address: files.check_caller_address,
        })
    }

    /// Shakes hands with a caller, whose address is given if it has one, and judges it.
    ///
    /// # Errors
    /// Why the connection is refused.
    pub async fn accept<S>(
        &self,
        socket: S,
        caller: Option<IpAddr>,
    ) -> Result<ServerStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = in_time(self.acceptor.accept(socket)).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some(own) = shown.first() else {
            return Ok(stream);
        };
        if let Some(caller) = caller.filter(|_| self.check_caller_address) {
            san::check(&facts(own)?, caller).await?;
        }
        if let Some(list) = &self.revoked {
            check_revoked(list, shown)?;
        }
        Ok(stream)
    }
}

/// Makes connections.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    name: Option<String>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

impl ClientTls {
    /// From files, which are read now.
    ///
    /// # Errors
    /// If one of them cannot be used, or what is asked for does not exist.
    pub fn new(files: &TlsFiles) -> Result<ClientTls, TlsError> {
        let provider = suites::provider(files)?;
        let (certificate, key) = match &files.client_pair {
            Some((certificate, key)) => (certificate, key),
            None => (&files.certificate, &files.key),
        };
        let pair = Pair::open(certificate, key, &provider)?;
        let called = verify::of_called(files, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&suites::versions(files)?)
            .map_err(|error| TlsError::Setup(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(called)
            .with_client_cert_resolver(Arc::new(pair));
        Ok(ClientTls {
            connector: TlsConnector::from(Arc::new(config)),
            name: files.server_name.clone(),
        })
    }

    /// Shakes hands with the host that was called.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn connect<S>(&self, socket: S, host: &str) -> Result<ClientStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = self.name.as_deref().unwrap_or(host);
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        in_time(self.connector.connect(name, socket)).await
    }
}

async fn in_time<T>(handshake: impl Future<Output = std::io::Result<T>>) -> Result<T, TlsError> {
    match timeout(Duration::from_secs(TLS_HANDSHAKE_SECONDS), handshake).await {
        Ok(done) => done.map_err(TlsError::Handshake),
        Err(_) => Err(TlsError::Slow(TLS_HANDSHAKE_SECONDS)),
    }
}

/// What a certificate says that the library has accepted.
fn facts(certificate: &CertificateDer<'_>) -> Result<Facts, TlsError> {
    Facts::read(certificate)
        .ok_or_else(|| TlsError::Setup("the caller's certificate cannot be read".into()))
}

/// Looks all certificates up that a caller has shown. As in etcd only numbers count, and the list
/// is read each time.
fn check_revoked(list: &Path, shown: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let serials = revoked_serials(&contents(list)?).ok_or_else(|| TlsError::Contents {
        path: list.to_owned(),
        reason: "it is no list of revoked certificates in DER form".into(),
    })?;
    for certificate in shown {
        let serial = facts(certificate)?.serial;
        if serials.contains(&serial) {
            let digits = serial.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(TlsError::Revoked(digits));
        }
    }
    Ok(())
}
