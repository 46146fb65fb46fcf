//! Versions and cipher suites, by Go's names.
//!
//! Suites without forward secrecy or with the old block modes do not exist in the library. Who
//! names one is told, since leaving it out in silence would look like a working setting.

use crate::error::TlsError;
use crate::files::{TlsFiles, TlsVersion};
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};
use std::sync::Arc;

/// Suites of TLS 1.3, which Go accepts as names and which have no effect there.
const OF_TLS13: &[&str] = &[
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// Names that Go knows beside those that we offer.
const WEAK: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// The ciphers that are offered.
pub(crate) fn provider(files: &TlsFiles) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut provider = ring::default_provider();
    if !files.suites.is_empty() {
        if files.version_min == TlsVersion::Tls13 {
            return Err(TlsError::SuitesOfTls13);
        }
        let mut wanted = Vec::new();
        for name in &files.suites {
            wanted.extend(suite(name)?);
        }
        // As in Go, the order is the library's, and TLS 1.3 keeps its own.
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some() || wanted.contains(suite));
    }
    Ok(Arc::new(provider))
}

/// A suite of TLS 1.2; nothing for a name of TLS 1.3.
fn suite(name: &str) -> Result<Option<SupportedCipherSuite>, TlsError> {
    if OF_TLS13.contains(&name) {
        return Ok(None);
    }
    let full = match name.strip_suffix("_CHACHA20_POLY1305") {
        Some(_) => format!("{name}_SHA256"),
        None => name.to_owned(),
    };
    let found = ring::ALL_CIPHER_SUITES
        .iter()
        .find(|suite| suite.tls13().is_none() && format!("{:?}", suite.suite()) == full);
    match found {
        Some(suite) => Ok(Some(*suite)),
        None if WEAK.contains(&name) => Err(TlsError::WeakSuite(name.to_owned())),
        None => Err(TlsError::UnknownSuite(name.to_owned())),
    }
}

/// The versions that are offered.
pub(crate) fn versions(
    files: &TlsFiles,
) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    let all = [(TlsVersion::Tls12, &TLS12), (TlsVersion::Tls13, &TLS13)];
    let offered: Vec<_> = all
        .into_iter()
        .filter(|(version, _)| (files.version_min..=files.version_max).contains(version))
        .map(|(_, version)| version)
        .collect();
    if offered.is_empty() {
        return Err(TlsError::NoVersion);
    }
    Ok(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(suites: &[&str], version_min: TlsVersion) -> Result<Vec<String>, String> {
        let mut files = TlsFiles::new("c".into(), "k".into());
        files.suites = suites.iter().map(|&name| name.to_owned()).collect();
        files.version_min = version_min;
        let provider = provider(&files).map_err(|error| error.to_string())?;
        let names = provider.cipher_suites.iter();
        Ok(names
            .filter(|suite| suite.tls13().is_none())
            .map(|suite| format!("{:?}", suite.suite()))
            .collect())
    }

    #[test]
    fn suites_are_chosen_by_gos_names_and_aliases() {
        assert_eq!(with(&[], TlsVersion::Tls12).unwrap().len(), 6);
        let chosen = with(
            &[
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
                "TLS_AES_128_GCM_SHA256",
            ],
            TlsVersion::Tls12,
        );
        assert_eq!(
            chosen.unwrap(),
            ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]
        );
    }

    #[test]
    fn suites_that_cannot_be_are_refused() {
        let refused = |name, min| with(&[name], min).unwrap_err();
        assert_eq!(
            refused("BAD", TlsVersion::Tls12),
            "unexpected TLS cipher suite \"BAD\""
        );
        assert!(
            refused("TLS_RSA_WITH_AES_128_CBC_SHA", TlsVersion::Tls12).contains("is not offered")
        );
        assert_eq!(
            refused("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TlsVersion::Tls13),
            "cipher suites cannot be configured when only TLS1.3 is enabled"
        );
    }

    #[test]
    fn versions_without_one_in_between_are_refused() {
        let mut files = TlsFiles::new("c".into(), "k".into());
        assert_eq!(versions(&files).unwrap().len(), 2);
        files.version_min = TlsVersion::Tls13;
        assert_eq!(versions(&files).unwrap().len(), 1);
        files.version_max = TlsVersion::Tls12;
        assert!(versions(&files).is_err());
    }
}
