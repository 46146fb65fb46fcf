//! TCP and unix sockets behind one type, with the texts of their failures as Go's `net` has them.
//!
//! A socket knows whether the peer has sent anything: a peer that accepts a connection and stays
//! silent, or hangs up at once, is not a server that can be trusted with a request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::connection::Peer;
use super::endpoint::Address;

pub(crate) struct Socket {
    stream: Stream,
    heard: Arc<Heard>,
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Whether the peer has sent its first byte.
#[derive(Default)]
pub(crate) struct Heard {
    yes: AtomicBool,
    changed: Notify,
}

impl Heard {
    pub(crate) async fn wait(&self) {
        while !self.yes.load(Ordering::Acquire) {
            // The driver is the only one that notifies, once: a permit is kept for a late waiter.
            self.changed.notified().await;
        }
    }

    fn set(&self) {
        if !self.yes.swap(true, Ordering::AcqRel) {
            self.changed.notify_one();
        }
    }
}

impl Socket {
    /// Connects. The error is a text for people.
    pub(crate) async fn connect(address: &Address) -> Result<(Socket, Peer, Arc<Heard>), String> {
        let (stream, peer) = match address {
            Address::Tcp(address) => tcp(address).await?,
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| {
                    format!(
                        "dial unix {}: connect: {}",
                        path.display(),
                        system_text(&error)
                    )
                })?;
                let remote = stream.peer_addr().ok();
                let remote = remote.and_then(|address| address.as_pathname().map(Into::into));
                let remote: std::path::PathBuf = remote.unwrap_or_else(|| path.clone());
                let peer = Peer {
                    remote: remote.display().to_string(),
                    local: "@".to_owned(),
                };
                (Stream::Unix(stream), peer)
            }
        };
        let heard = Arc::new(Heard::default());
        Ok((
            Socket {
                stream,
                heard: heard.clone(),
            },
            peer,
            heard,
        ))
    }
}

async fn tcp(address: &str) -> Result<(Stream, Peer), String> {
    let (host, port) = split_host_port(address).map_err(|error| format!("dial tcp: {error}"))?;
    let port: u16 = match port {
        "" => 0,
        port => port
            .parse()
            .map_err(|_| format!("dial tcp: lookup tcp/{port}: unknown port"))?,
    };
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| format!("dial tcp: lookup {host}: no such host"))?
        .collect();
    let mut failure = format!("dial tcp: lookup {host}: no such host");
    for address in found {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and wait for answers: nothing gains from delaying them.
                let _ = stream.set_nodelay(true);
                let text = |address: io::Result<SocketAddr>| {
                    address
                        .map(|address| address.to_string())
                        .unwrap_or_default()
                };
                let peer = Peer {
                    remote: text(stream.peer_addr()),
                    local: text(stream.local_addr()),
                };
                return Ok((Stream::Tcp(stream), peer));
            }
            Err(error) => {
                failure = format!("dial tcp {address}: connect: {}", system_text(&error));
            }
        }
    }
    Err(failure)
}

/// The system's text for an error number, which Go writes in lower case and without the number.
fn system_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// Splits `host:port` and `[host]:port`.
fn split_host_port(address: &str) -> Result<(&str, &str), String> {
    let error = |reason| format!("address {address}: {reason}");
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| error("missing port in address"))?;
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(host) => Ok((host, port)),
        None if address.ends_with(']') => Err(error("missing port in address")),
        None if host.contains(':') => Err(error("too many colons in address")),
        None => Ok((host, port)),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if buffer.filled().len() > before {
            self.heard.set();
        }
        result
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_split_or_explained() {
        assert_eq!(split_host_port("h:1"), Ok(("h", "1")));
        assert_eq!(split_host_port("[::1]:1"), Ok(("::1", "1")));
        for (address, reason) in [
            ("h", "address h: missing port in address"),
            ("[::1]", "address [::1]: missing port in address"),
            ("::1", "address ::1: too many colons in address"),
            ("dns://x:1", "address dns://x:1: too many colons in address"),
        ] {
            assert_eq!(split_host_port(address), Err(reason.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_in_gos_words() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Socket::connect(&Address::Tcp(address.clone()))
            .await
            .err()
            .unwrap();
        assert_eq!(
            error,
            format!("dial tcp {address}: connect: connection refused")
        );
        let error = Socket::connect(&Address::Unix("/nonexistent/s".into()))
            .await
            .err()
            .unwrap();
        assert_eq!(
            error,
            "dial unix /nonexistent/s: connect: no such file or directory"
        );
    }
}
