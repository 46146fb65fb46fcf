//! A certificate and its key, read again whenever the files have changed.
//!
//! Whether they have is asked of the file system for each handshake, which costs two look-ups. A
//! pair that turns bad fails the handshakes until it is good again, as in etcd: going on with the
//! old one would hide the mistake until the next restart.

use crate::error::TlsError;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    read: Mutex<Read>,
}

/// What was read, and of which files.
#[derive(Clone, Debug)]
struct Read {
    stamps: [Stamp; 2],
    key: Arc<CertifiedKey>,
}

/// What tells one state of a file from another.
type Stamp = (u64, u64, i64, i64, u64);

impl Pair {
    /// Reads a pair for the first time.
    pub(crate) fn open(
        certificate: &Path,
        key: &Path,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Pair, TlsError> {
        let read = read(certificate, key, provider)?;
        Ok(Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider: provider.clone(),
            read: Mutex::new(read),
        })
    }

    /// The pair as it is in the files now.
    pub(crate) fn current(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let stamps = [stamp(&self.certificate)?, stamp(&self.key)?];
        // Nothing panics while the lock is held, so what it guards is whole in any case.
        let mut known = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if known.stamps != stamps {
            *known = read(&self.certificate, &self.key, &self.provider)?;
            tracing::info!(
                "cert-file" = %self.certificate.display(),
                "key-file" = %self.key.display(),
                "read the changed certificate"
            );
        }
        Ok(known.key.clone())
    }

    /// The pair for a handshake, or nothing and a line in the log. `whose` is etcd's word.
    fn for_handshake(&self, whose: &str) -> Option<Arc<CertifiedKey>> {
        match self.current() {
            Ok(key) => Some(key),
            Err(error) => {
                let gone = matches!(
                    &error,
                    TlsError::File { error, .. } if error.kind() == std::io::ErrorKind::NotFound
                );
                tracing::warn!(
                    "cert-file" = %self.certificate.display(),
                    "key-file" = %self.key.display(),
                    %error,
                    "{}",
                    if gone {
                        format!("failed to find {whose} cert files")
                    } else {
                        format!("failed to create {whose} certificate")
                    }
                );
                None
            }
        }
    }
}

impl ResolvesServerCert for Pair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_handshake("peer")
    }
}

impl ResolvesClientCert for Pair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.for_handshake("client")
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn stamp(path: &Path) -> Result<Stamp, TlsError> {
    let meta = std::fs::metadata(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        error,
    })?;
    Ok((
        meta.dev(),
        meta.ino(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.len(),
    ))
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Read, TlsError> {
    // The stamps come first: a change between them and the reading is then seen the next time.
    let stamps = [stamp(certificate)?, stamp(key)?];
    let chain = certificates(certificate)?;
    if chain.is_empty() {
        return Err(TlsError::Contents {
            path: certificate.to_owned(),
            reason: "it holds no certificate in PEM form".into(),
        });
    }
    let text = contents(key)?;
    let secret = PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::Contents {
        path: key.to_owned(),
        reason: "it holds no private key in PEM form".into(),
    })?;
    let key = CertifiedKey::from_der(chain, secret, provider).map_err(|error| {
        let reason = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("it is not the key of {}", certificate.display())
            }
            error => {
                format!("{error}; keys may be RSA, ECDSA on the curves P-256 and P-384, or Ed25519")
            }
        };
        TlsError::Contents {
            path: key.to_owned(),
            reason,
        }
    })?;
    Ok(Read {
        stamps,
        key: Arc::new(key),
    })
}

/// All certificates of a file.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = contents(path)?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Contents {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

/// What a file holds.
pub(crate) fn contents(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::File {
        path: path.to_owned(),
        error,
    };
    let len = std::fs::metadata(path).map_err(failed)?.len();
    if len > tenet_base::limits::TLS_FILE_BYTES_MAX {
        return Err(TlsError::Contents {
            path: path.to_owned(),
            reason: format!("{len} bytes are too many for certificates"),
        });
    }
    std::fs::read(path).map_err(failed)
}
