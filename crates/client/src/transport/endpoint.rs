//! What an endpoint's text means, by the rules of etcd's client.

use std::path::PathBuf;

use crate::ConfigError;

/// Where a member listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `host:port`, not yet resolved and perhaps malformed: that is a failure of dialling.
    Tcp(String),
    Unix(PathBuf),
}

/// An endpoint, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// What the server is called in requests.
    pub(crate) authority: http::uri::Authority,
    /// The text without its scheme, for logs.
    pub(crate) target: String,
}

impl Endpoint {
    pub(crate) fn parse(text: &str) -> Result<Endpoint, ConfigError> {
        let (scheme, rest) = split_scheme(text);
        if matches!(scheme, "https" | "unixs") {
            return Err(ConfigError::Tls(text.to_owned()));
        }
        let address = match scheme {
            "unix" => Address::Unix(PathBuf::from(rest)),
            "http" => Address::Tcp(host(rest).to_owned()),
            _ => Address::Tcp(text.to_owned()),
        };
        let authority = match &address {
            Address::Tcp(address) => address.parse().ok(),
            Address::Unix(_) => None,
        };
        Ok(Endpoint {
            address,
            authority: authority.unwrap_or_else(|| http::uri::Authority::from_static("localhost")),
            target: target(text).to_owned(),
        })
    }
}

/// Scheme and what follows it. `unix:path`, `unix://path` and `unix:///path` name sockets, the last
/// one by an absolute path.
fn split_scheme(text: &str) -> (&str, &str) {
    for scheme in ["unix", "unixs"] {
        if let Some(rest) = text
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix(':'))
        {
            return (scheme, rest.strip_prefix("//").unwrap_or(rest));
        }
    }
    text.split_once("://").unwrap_or(("", text))
}

/// The host and port at the start of what follows `http://`.
fn host(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

fn target(text: &str) -> &str {
    match text.split_once("://") {
        Some((_, rest)) => rest,
        None => text
            .strip_prefix("unix:")
            .or_else(|| text.strip_prefix("unixs:"))
            .unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_say_how_to_dial() {
        for (text, address, target) in [
            (
                "127.0.0.1:2379",
                Address::Tcp("127.0.0.1:2379".into()),
                "127.0.0.1:2379",
            ),
            ("localhost", Address::Tcp("localhost".into()), "localhost"),
            ("http://h:1/path", Address::Tcp("h:1".into()), "h:1/path"),
            ("http://[::1]:1", Address::Tcp("[::1]:1".into()), "[::1]:1"),
            ("dns://x:1", Address::Tcp("dns://x:1".into()), "x:1"),
            ("unix:a.sock", Address::Unix("a.sock".into()), "a.sock"),
            (
                "unix://a.sock:0",
                Address::Unix("a.sock:0".into()),
                "a.sock:0",
            ),
            (
                "unix:///run/a.sock",
                Address::Unix("/run/a.sock".into()),
                "/run/a.sock",
            ),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.address, &endpoint.target[..]),
                (address, target),
                "{text}"
            );
        }
    }

    #[test]
    fn tls_is_refused_by_name() {
        for text in ["https://h:1", "unixs://a"] {
            assert_eq!(
                Endpoint::parse(text),
                Err(ConfigError::Tls(text.to_owned()))
            );
        }
    }
}
