//! Listening sockets: TCP and unix, from etcd's listen URLs.

use crate::metrics::descriptors;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tenet_base::limits;
use tenet_cli::go::{Url, error_words};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;
/// Time between probes of a silent TCP connection.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// How sockets are opened (`--socket-reuse-port`, `--socket-reuse-address`), and when a client that
/// acknowledges nothing is given up.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Other processes may listen on the same port.
    pub reuse_port: bool,
    /// Unacknowledged data may wait so long; zero for the system's own limit.
    pub unacknowledged_max: Duration,
}

/// Why a URL cannot be listened on. The texts are Go's, with who is in the way where it can be seen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not one.
    #[error("listen tcp: {host}: {reason}")]
    Address {
        /// What was given.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("listen {network} {address}: bind: {reason}")]
    Bind {
        /// `tcp` or `unix`.
        network: &'static str,
        /// Where.
        address: String,
        /// In the system's words.
        reason: String,
        /// The process that has the address, if that is the reason and it can be seen.
        owner: Option<String>,
    },
}

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    options: SocketOptions,
    /// The address, as log lines have it; a port that the system chose is filled in.
    pub address: String,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens on a URL.
    ///
    /// # Errors
    /// If the address does not resolve or is taken.
    pub fn bind(url: &Url, options: SocketOptions) -> Result<Listener, ListenError> {
        if url.is_unix() {
            bind_unix(url, options)
        } else {
            bind_tcp(url, options)
        }
    }

    /// Whether it is a unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Unix(..))
    }

    /// The next connection and the client's address.
    pub(crate) async fn accept(&self) -> io::Result<(Connection, String)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                self.prepare(&stream)?;
                Ok((Connection::Tcp(stream), remote.to_string()))
            }
            Kind::Unix(listener, path) => {
                let (stream, _) = listener.accept().await?;
                Ok((Connection::Unix(stream), path.display().to_string()))
            }
        }
    }

    /// Answers are written whole, so nothing is gained by holding them back; clients that have
    /// vanished are noticed.
    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        let probes = TcpKeepalive::new()
            .with_time(PROBE_INTERVAL)
            .with_interval(PROBE_INTERVAL);
        socket.set_tcp_keepalive(&probes)?;
        if !self.options.unacknowledged_max.is_zero() {
            socket.set_tcp_user_timeout(Some(self.options.unacknowledged_max))?;
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Kind::Unix(_, path) = &self.kind {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_unix(url: &Url, options: SocketOptions) -> Result<Listener, ListenError> {
    let path = url.socket_path();
    let address = path.display().to_string();
    // Left behind by a process that was killed.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).map_err(|error| ListenError::Bind {
        network: "unix",
        address: address.clone(),
        reason: error_words(&error),
        owner: None,
    })?;
    Ok(Listener {
        kind: Kind::Unix(listener, path),
        options,
        address,
    })
}

fn bind_tcp(url: &Url, options: SocketOptions) -> Result<Listener, ListenError> {
    let at = resolve(url)?;
    let failed = |error: io::Error| ListenError::Bind {
        network: "tcp",
        address: url.host.clone(),
        reason: error_words(&error),
        owner: (error.kind() == io::ErrorKind::AddrInUse)
            .then(|| port_owner(at.port()))
            .flatten(),
    };
    let listener = listening_socket(at, options)
        .and_then(|socket| TcpListener::from_std(socket.into()))
        .map_err(failed)?;
    let address = match listener.local_addr() {
        Ok(local) if at.port() == 0 => local.to_string(),
        _ => url.host.clone(),
    };
    Ok(Listener {
        kind: Kind::Tcp(listener),
        options,
        address,
    })
}

/// The address of a URL's host; IPv4 is preferred, no host is all addresses.
fn resolve(url: &Url) -> Result<SocketAddr, ListenError> {
    let wrong = |reason: String| ListenError::Address {
        host: url.host.clone(),
        reason,
    };
    let (host, port) = url.host_port().map_err(|error| wrong(error.to_string()))?;
    let port: u16 = port
        .parse()
        .map_err(|_| wrong(format!("invalid port \"{port}\"")))?;
    if host.is_empty() {
        return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?
        .collect();
    let first = found
        .iter()
        .find(|address| address.is_ipv4())
        .or(found.first());
    first.copied().ok_or_else(|| wrong("no address".into()))
}

fn listening_socket(at: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
    let unspecified = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let open = |at: SocketAddr| -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
        if unspecified && at.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    match open(at) {
        // A system without IPv6.
        Err(error) if unspecified && error.kind() == io::ErrorKind::Unsupported => open(
            SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), at.port()),
        ),
        other => other,
    }
}

/// The process that listens on a TCP port, as `name (pid 123)`, if `/proc` shows it to us.
fn port_owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| {
            let table = std::fs::read_to_string(table).ok()?;
            listening_inode(&table, port).map(str::to_owned)
        })?;
    let target = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let name = process.file_name();
        let Some(pid) = name
            .to_str()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        // Other users' processes do not show their files.
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target.as_str())
        };
        if files.flatten().any(holds) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

/// The inode of the socket that listens on `port`, from the kernel's table.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.len() > 9 && fields[1].ends_with(&suffix) && fields[3] == LISTEN).then(|| fields[9])
    })
}

/// How many connections a client listener may hold: file descriptors less a reserve.
///
/// # Errors
/// If the limit leaves none, in etcd's words.
pub fn connections_max() -> Result<usize, String> {
    let Some((_, limit)) = descriptors() else {
        return Ok(usize::MAX);
    };
    if limit <= limits::DESCRIPTORS_RESERVED {
        return Err(format!(
            "file descriptor limit[{limit}] of etcd process is too low, and should be set higher \
             than {} to ensure internal usage",
            limits::DESCRIPTORS_RESERVED
        ));
    }
    Ok(usize::try_from(limit - limits::DESCRIPTORS_RESERVED).unwrap_or(usize::MAX))
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Connection::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Connection::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Connection::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Connection::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Connection::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Connection::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Connection::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SocketOptions = SocketOptions {
        reuse_port: false,
        unacknowledged_max: Duration::ZERO,
    };

    fn url(text: &str) -> Url {
        Url::parse(text).expect(text)
    }

    #[tokio::test]
    async fn a_taken_port_names_its_owner() {
        let first = Listener::bind(&url("http://127.0.0.1:0"), OPTIONS).expect("a free port");
        assert!(
            !first.address.ends_with(":0"),
            "the chosen port is shown: {}",
            first.address
        );
        let again = url(&format!("http://{}", first.address));
        let error = Listener::bind(&again, OPTIONS).expect_err("it is taken");
        assert_eq!(
            error.to_string(),
            format!("listen tcp {}: bind: address already in use", first.address)
        );
        let ListenError::Bind {
            owner: Some(owner), ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert!(
            owner.contains(&format!("(pid {})", std::process::id())),
            "{owner}"
        );
    }

    #[tokio::test]
    async fn a_unix_socket_replaces_a_stale_one_and_is_removed_at_the_end() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("sock");
        std::fs::write(&path, "").expect("a stale file");
        let listener =
            Listener::bind(&url(&format!("unix://{}", path.display())), OPTIONS).expect("bound");
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:094B 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
             1: 0100007F:094B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_inode(table, 2379), Some("222"));
        assert_eq!(listening_inode(table, 2380), None);
    }
}
