//! What the init system and the kernel want of a process: word of readiness, signals, limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Tells systemd that we are ready, if it asked to be told.
pub(crate) fn notify_ready() -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let name = socket.to_string_lossy();
    let address = match name.strip_prefix('@') {
        Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
        None => SocketAddr::from_pathname(&*name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
    Ok(())
}

/// Lets the process use as many file descriptors as it may, as Go programs do: each connection
/// takes one.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it is, which is checked where it matters.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

/// The signals that end the process.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// One of them, by number and by etcd's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    number: i32,
    pub name: &'static str,
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => {
                Received { number: SignalKind::interrupt().as_raw_value(), name: "interrupt" }
            }
            _ = self.terminate.recv() => {
                Received { number: SignalKind::terminate().as_raw_value(), name: "terminated" }
            }
        }
    }
}

/// Ends the process as the signal would have, so that who waits for it sees the cause. The first
/// process of a container must not rely on that: signals without a handler do not reach it.
pub(crate) fn end_by(signal: Received) {
    if std::process::id() != 1 {
        // If it fails, the process ends with code 0, which is true enough.
        let _ = signal_hook::low_level::emulate_default_handler(signal.number);
    }
}
