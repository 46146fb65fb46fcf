//! What flags say about TLS.

use crate::error::TlsError;
use std::path::PathBuf;

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Which certificates are accepted among those that an authority vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    #[default]
    Any,
    /// Those with one of these common names.
    CommonNames(Vec<String>),
    /// Those for one of these host names.
    Hosts(Vec<String>),
}

impl Allowed {
    /// From the two flags, of which one may be given.
    ///
    /// # Errors
    /// If both are.
    pub fn from_lists(names: Vec<String>, hosts: Vec<String>) -> Result<Allowed, TlsError> {
        match (names.is_empty(), hosts.is_empty()) {
            (true, true) => Ok(Allowed::Any),
            (false, true) => Ok(Allowed::CommonNames(names)),
            (true, false) => Ok(Allowed::Hosts(hosts)),
            (false, false) => Err(TlsError::TwoRules { names, hosts }),
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate that is shown, with those that lead to its authority behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Another pair for calling others: certificate and key.
    pub client_pair: Option<(PathBuf, PathBuf)>,
    /// Authorities for the other end's certificates; the system's, if there is none.
    pub trusted_ca: Option<PathBuf>,
    /// Whether callers must show a certificate; they must as well if there are authorities.
    pub client_cert_auth: bool,
    /// Which certificates are accepted.
    pub allowed: Allowed,
    /// Revoked certificates of callers.
    pub revoked: Option<PathBuf>,
    /// Whether a caller's certificate must be for the address that it calls from.
    pub check_caller_address: bool,
    /// Whether certificates of those that we call are taken unseen: they made them themselves.
    pub trust_anyone_called: bool,
    /// The name that certificates of those that we call must be for, instead of the one we call.
    pub server_name: Option<String>,
    /// The lowest version.
    pub version_min: TlsVersion,
    /// The highest version.
    pub version_max: TlsVersion,
    /// Names of cipher suites of TLS 1.2, as Go has them; all, if there is none.
    pub suites: Vec<String>,
    /// Protocols that are offered to callers inside of TLS, the best first.
    pub protocols: &'static [&'static str],
}

impl TlsFiles {
    /// A pair, with what holds if no flag says otherwise.
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> TlsFiles {
        TlsFiles {
            certificate,
            key,
            client_pair: None,
            trusted_ca: None,
            client_cert_auth: false,
            allowed: Allowed::Any,
            revoked: None,
            check_caller_address: false,
            trust_anyone_called: false,
            server_name: None,
            version_min: TlsVersion::Tls12,
            version_max: TlsVersion::Tls13,
            suites: Vec::new(),
            protocols: &[],
        }
    }

    /// From the paths that flags give, of which some may be missing; `None` if there are none.
    ///
    /// # Errors
    /// If half of a pair is missing, in etcd's words.
    pub fn from_flags(
        certificate: &str,
        key: &str,
        client_certificate: &str,
        client_key: &str,
    ) -> Result<Option<TlsFiles>, TlsError> {
        if certificate.is_empty() && key.is_empty() {
            return Ok(None);
        }
        if certificate.is_empty() || key.is_empty() {
            return Err(TlsError::HalfPair {
                key: key.to_owned(),
                certificate: certificate.to_owned(),
            });
        }
        if client_certificate.is_empty() != client_key.is_empty() {
            return Err(TlsError::HalfClientPair {
                key: client_key.to_owned(),
                certificate: client_certificate.to_owned(),
            });
        }
        let mut files = TlsFiles::new(certificate.into(), key.into());
        files.client_pair = (!client_key.is_empty())
            .then(|| (PathBuf::from(client_certificate), PathBuf::from(client_key)));
        Ok(Some(files))
    }

    /// Whether callers must show a certificate.
    pub(crate) fn asks_callers(&self) -> bool {
        self.client_cert_auth || self.trusted_ca.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_refused_in_etcds_words() {
        let refused = |a, b, c, d| TlsFiles::from_flags(a, b, c, d).unwrap_err().to_string();
        assert_eq!(
            refused("x", "", "", ""),
            "KeyFile and CertFile must both be present[key: , cert: x]"
        );
        assert_eq!(
            refused("x", "y", "z", ""),
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: , cert: z]"
        );
        assert!(TlsFiles::from_flags("", "", "z", "").unwrap().is_none());
        let files = TlsFiles::from_flags("x", "y", "z", "w").unwrap().unwrap();
        assert_eq!(files.client_pair, Some(("z".into(), "w".into())));
    }

    #[test]
    fn two_rules_are_refused_in_etcds_words() {
        let error = Allowed::from_lists(vec!["a".into()], vec!["b".into()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"AllowedCNs and AllowedHostnames are mutually exclusive (cns=["a"], hostnames=["b"])"#
        );
    }
}
