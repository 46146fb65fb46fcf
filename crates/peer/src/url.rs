//! Where a member can be reached: `http` and `https` with host and port, `unix` and `unixs` with the
//! path of a socket.

use std::fmt;
use std::path::PathBuf;

/// Why a text is no address of a member, in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not one of the four schemes.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// Host or port are missing or wrong.
    #[error("URL address does not have the form \"host:port\": {0}")]
    Address(String),
    /// Something behind the port.
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerUrl {
    text: String,
    secure: bool,
    place: Place,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl PeerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// If it cannot be one.
    pub fn parse(text: &str) -> Result<PeerUrl, UrlError> {
        let wrong_scheme = || UrlError::Scheme(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong_scheme)?;
        let place = match scheme {
            "http" | "https" => tcp(text, rest)?,
            "unix" | "unixs" if rest.is_empty() => return Err(UrlError::Address(text.to_owned())),
            "unix" | "unixs" => Place::Unix(rest.into()),
            _ => return Err(wrong_scheme()),
        };
        Ok(PeerUrl {
            text: text.to_owned(),
            secure: matches!(scheme, "https" | "unixs"),
            place,
        })
    }

    /// Reads a list of addresses, separated by commas.
    ///
    /// # Errors
    /// If one of them cannot be one.
    pub fn parse_list(text: &str) -> Result<Vec<PeerUrl>, UrlError> {
        text.split(',').map(PeerUrl::parse).collect()
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// What is connected to.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The `Host` of a request.
    pub(crate) fn authority(&self) -> &str {
        match self.place {
            Place::Tcp { .. } => self.text.split_once("://").map_or("", |(_, rest)| rest),
            Place::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn tcp(text: &str, rest: &str) -> Result<Place, UrlError> {
    if rest.contains(['/', '?', '#']) {
        return Err(UrlError::Path(text.to_owned()));
    }
    let wrong = || UrlError::Address(text.to_owned());
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(inner) => inner,
        None if host.contains([':', '[', ']', '@']) => return Err(wrong()),
        None => host,
    };
    // What is in a header later must be fit for one.
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let port = port.parse().map_err(|_| wrong())?;
    Ok(Place::Tcp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let url = PeerUrl::parse("https://a.example:2380").unwrap();
        assert!(url.is_secure());
        assert_eq!(
            (url.authority(), url.to_string().as_str()),
            ("a.example:2380", "https://a.example:2380")
        );
        let six = PeerUrl::parse("http://[::1]:2380").unwrap();
        assert_eq!(
            six.place(),
            &Place::Tcp {
                host: "::1".into(),
                port: 2380
            }
        );
        assert_eq!(six.authority(), "[::1]:2380");
        let unix = PeerUrl::parse("unix:///run/peer.sock").unwrap();
        assert_eq!(unix.place(), &Place::Unix("/run/peer.sock".into()));
        assert_eq!(
            PeerUrl::parse_list("http://a:1,http://b:2").unwrap().len(),
            2
        );
    }

    #[test]
    fn what_cannot_be_one_is_refused_in_etcds_words() {
        let refused = |text: &str| PeerUrl::parse(text).unwrap_err().to_string();
        assert_eq!(
            refused("ftp://a:1"),
            "URL scheme must be http, https, unix, or unixs: ftp://a:1"
        );
        assert_eq!(
            refused("http://a"),
            "URL address does not have the form \"host:port\": http://a"
        );
        assert_eq!(
            refused("http://a:1/path"),
            "URL must not contain a path: http://a:1/path"
        );
        for bad in [
            "",
            "http://",
            "http://:1",
            "http://a:x",
            "http://a:99999",
            "http://u@h:1",
            "unix://",
            "http://a b:1",
        ] {
            assert!(PeerUrl::parse(bad).is_err(), "{bad:?}");
        }
    }
}
