//! Serves the listeners for members: who may connect, and which request is whose.
//!
//! Connections are HTTP/1.1, one request after the other; the answer to the request for a stream
//! lasts as long as the stream.

mod answer;
mod questions;
mod raft;

use crate::stall::Stall;
use crate::transport::Transport;
use answer::Answered;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits::{PEER_CONNECTIONS_MAX, PEER_SILENCE_MS, PEER_SNAPSHOTS_RECEIVED_MAX};
use tenet_tls::{ServerTls, TlsError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;

/// See the module. Copies are the same server.
#[derive(Clone, Debug)]
pub struct PeerServer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Transport,
    tls: Option<ServerTls>,
    connections: Semaphore,
    snapshots: Semaphore,
}

impl PeerServer {
    pub(crate) fn new(transport: Transport, tls: Option<ServerTls>) -> PeerServer {
        PeerServer(Arc::new(Inner {
            transport,
            tls,
            connections: Semaphore::new(PEER_CONNECTIONS_MAX),
            snapshots: Semaphore::new(PEER_SNAPSHOTS_RECEIVED_MAX),
        }))
    }

    /// Serves one connection to its end, or until the transport stops. `remote` is what log lines
    /// say of the caller; `address` is checked against its certificate.
    pub async fn serve<S>(&self, socket: S, remote: &str, address: Option<IpAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(_permit) = self.0.connections.try_acquire() else {
            tracing::warn!(
                "remote-addr" = remote,
                "rejected connection on peer endpoint: there are {PEER_CONNECTIONS_MAX} already"
            );
            return;
        };
        let mut stopping = self.0.transport.stopping();
        tokio::select! {
            () = self.secured(socket, remote, address) => {}
            // Only an end comes here.
            _ = stopping.changed() => {}
        }
    }

    async fn secured<S>(&self, socket: S, remote: &str, address: Option<IpAddr>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(tls) = &self.0.tls else {
            return self.http(socket, remote).await;
        };
        match tls.accept(socket, address).await {
            Ok(socket) => self.http(socket, remote).await,
            Err(error) => {
                let gone = matches!(
                    &error,
                    TlsError::Handshake(error)
                        if error.kind() == std::io::ErrorKind::UnexpectedEof
                );
                // A probe of the port is no reason for a warning.
                if gone {
                    tracing::debug!("remote-addr" = remote, %error, "rejected connection on peer endpoint");
                } else {
                    tracing::warn!("remote-addr" = remote, %error, "rejected connection on peer endpoint");
                }
            }
        }
    }

    async fn http<S>(&self, socket: S, remote: &str)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let patience = Duration::from_millis(PEER_SILENCE_MS);
        let service =
            service_fn(|request| async { Ok::<_, Infallible>(self.route(request, remote).await) });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(Stall::new(socket, patience)), service)
            .await;
        if let Err(error) = served {
            // Members come and go; what is no HTTP is worth a line.
            if error.is_parse() {
                tracing::warn!("remote-addr" = remote, %error, "rejected request on peer endpoint");
            } else {
                tracing::debug!("remote-addr" = remote, %error, "connection on peer endpoint ended");
            }
        }
    }

    async fn route(&self, request: Request<Incoming>, remote: &str) -> Answered {
        let path = request.uri().path();
        match path {
            "/raft" => self.post(request, remote).await,
            "/raft/snapshot" => self.snapshot(request, remote).await,
            "/raft/probing" => self.probing(),
            "/members" => self.members(&request),
            "/members/hashkv" => self.hash_kv(request).await,
            "/leases" => self.keep_alive(request).await,
            "/leases/internal" => self.time_to_live(request).await,
            "/downgrade/enabled" => self.downgrade_enabled(&request).await,
            "/version" => self.version(&request),
            _ if path.starts_with("/raft/stream/") => self.stream(&request),
            _ if path.starts_with("/members/promote/") => self.promote(&request).await,
            _ => answer::not_found(),
        }
    }
}
