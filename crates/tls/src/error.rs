//! What can be wrong with certificates and with who shows them.

use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Half of a pair was given.
    #[error("KeyFile and CertFile must both be present[key: {key}, cert: {certificate}]")]
    HalfPair {
        /// The key's file, or nothing.
        key: String,
        /// The certificate's file, or nothing.
        certificate: String,
    },
    /// Half of the pair for calling others was given.
    #[error(
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: {key}, cert: \
         {certificate}]"
    )]
    HalfClientPair {
        /// The key's file, or nothing.
        key: String,
        /// The certificate's file, or nothing.
        certificate: String,
    },
    /// Two rules that exclude each other.
    #[error(
        "AllowedCNs and AllowedHostnames are mutually exclusive (cns={names:?}, \
         hostnames={hosts:?})"
    )]
    TwoRules {
        /// The common names.
        names: Vec<String>,
        /// The host names.
        hosts: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {reason}", path = path.display())]
    Contents {
        /// Which.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A cipher suite that nobody knows.
    #[error("unexpected TLS cipher suite {0:?}")]
    UnknownSuite(String),
    /// A cipher suite that etcd has and this build does not.
    #[error(
        "the TLS cipher suite {0} is not offered: it has no forward secrecy or no authenticated \
         encryption; leave it out"
    )]
    WeakSuite(String),
    /// No suite is left.
    #[error("cipher suites cannot be configured when only TLS1.3 is enabled")]
    SuitesOfTls13,
    /// No version is left.
    #[error("the lowest TLS version is above the highest")]
    NoVersion,
    /// Certificates were asked for that last no time.
    #[error("selfSignedCertValidity is invalid,it should be greater than 0")]
    NoValidity,
    /// The library refuses a configuration.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// The handshake failed.
    #[error("TLS handshake: {0}")]
    Handshake(std::io::Error),
    /// The handshake took too long.
    #[error("TLS handshake: not finished after {0} s")]
    Slow(u64),
    /// A name that no certificate can be for.
    #[error("{0:?} is neither a host name nor an address")]
    Name(String),
    /// The caller's certificate is for another place than the one it calls from.
    #[error("tls: {address:?} does not match any of DNSNames {names:?}")]
    ElsewhereNames {
        /// Where the caller is.
        address: String,
        /// Where it should be.
        names: Vec<String>,
    },
    /// The caller's certificate is for other addresses than its own.
    #[error("x509: certificate is valid for {valid}, not {address}")]
    ElsewhereAddresses {
        /// Where the caller is.
        address: String,
        /// Where it should be.
        valid: String,
    },
    /// The caller's certificate was revoked.
    #[error("transport: certificate serial {0} revoked")]
    Revoked(String),
}
