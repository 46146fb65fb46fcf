//! Whom we believe when they vouch for a certificate: the authorities of a file, or those that the
//! system keeps.

use crate::error::TlsError;
use crate::pair::certificates;
use rustls::RootCertStore;
use std::path::Path;
use std::sync::Arc;

/// Where systems keep their authorities; the first that is there counts.
const OF_THE_SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of a file, or the system's.
pub(crate) fn authorities(file: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| TlsError::Contents {
                    path: path.to_owned(),
                    reason: error.to_string(),
                })?;
            }
            if roots.is_empty() {
                return Err(TlsError::Contents {
                    path: path.to_owned(),
                    reason: "it holds no certificate in PEM form".into(),
                });
            }
        }
        None => {
            let found = OF_THE_SYSTEM
                .iter()
                .find_map(|path| certificates(Path::new(path)).ok());
            // Some of a system's many authorities may be of kinds that nothing here supports.
            roots.add_parsable_certificates(found.unwrap_or_default());
        }
    }
    Ok(Arc::new(roots))
}
