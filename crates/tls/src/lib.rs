//! Certificates: reading them from files, making them, reading them again when the files change,
//! and deciding whose connection is taken.
//!
//! The rules are etcd's: a pair of certificate and key is looked at for every handshake, so that
//! replaced files take effect without a restart; authorities are read once; a list of revoked
//! certificates is read for every connection. One set of files makes both ends, since a member of a
//! cluster calls and is called.
//!
//! Invariants: what is configured is either in force or an error at the start; a file that turns
//! bad later fails the handshakes that need it and nothing else; bytes that a caller sends are
//! never trusted to be a certificate. Nothing here knows what runs over a connection.

mod alone;
mod certificate;
mod der;
mod ends;
mod error;
mod files;
mod pair;
mod roots;
mod san;
mod suites;
mod verify;

pub use alone::{SelfSigned, make_self_signed};
pub use ends::{ClientTls, ServerTls};
pub use error::TlsError;
pub use files::{Allowed, TlsFiles, TlsVersion};
pub use tokio_rustls::{client::TlsStream as ClientStream, server::TlsStream as ServerStream};
