//! Makes connections to other members.

use crate::body::RequestBody;
use crate::call::CallError;
use crate::stall::Stall;
use crate::url::{PeerUrl, Place};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tenet_tls::ClientTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// Time between probes of a silent connection.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// A connection, which sends one request after the other. It ends with this: whoever reads an answer
/// keeps it, and what is still being sent when it goes is broken off.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: http1::SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) dial_timeout: Duration,
    pub(crate) tls: Option<ClientTls>,
}

trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

impl Connector {
    /// Connects. What is written must be taken within `patience`.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) async fn open(
        &self,
        url: &PeerUrl,
        patience: Duration,
    ) -> Result<Connection, CallError> {
        let socket = match timeout(self.dial_timeout, self.socket(url)).await {
            Ok(socket) => socket?,
            Err(_) => {
                return Err(CallError::Slow {
                    what: "connecting",
                    after: self.dial_timeout,
                });
            }
        };
        let socket = TokioIo::new(Stall::new(socket, patience));
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .handshake(socket)
            .await
            .map_err(CallError::http)?;
        // What goes wrong is told to whoever waits for an answer.
        let task = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            task: task.abort_handle(),
        })
    }

    async fn socket(&self, url: &PeerUrl) -> Result<Box<dyn Socket>, CallError> {
        match url.place() {
            Place::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await;
                let stream = stream.and_then(prepared).map_err(CallError::Connect)?;
                self.secured(stream, url, host).await
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path)
                    .await
                    .map_err(CallError::Connect)?;
                self.secured(stream, url, "localhost").await
            }
        }
    }

    async fn secured(
        &self,
        stream: impl Socket + 'static,
        url: &PeerUrl,
        host: &str,
    ) -> Result<Box<dyn Socket>, CallError> {
        if !url.is_secure() {
            return Ok(Box::new(stream));
        }
        let tls = self.tls.as_ref().ok_or(CallError::NoTls)?;
        Ok(Box::new(tls.connect(stream, host).await?))
    }
}

/// Messages are written whole, so nothing is gained by holding them back; a host that has vanished
/// is noticed.
fn prepared(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new()
        .with_time(PROBE_INTERVAL)
        .with_interval(PROBE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    Ok(stream)
}
