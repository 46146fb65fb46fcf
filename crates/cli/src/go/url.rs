//! URLs as Go's `net/url` reads and prints them, and `host:port` as Go's `net` splits it.
//!
//! The printed form matters: it is hashed into member ids and compared between members. So an
//! escape is kept or normalised exactly where Go does it.

use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::quote;

/// A URL, taken apart and decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case; empty if there is none.
    pub scheme: String,
    /// What follows the scheme of a URL without a slash, undecoded.
    opaque: String,
    /// Name and password before the `@`, decoded.
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    /// Host and port as one text, decoded; an IPv6 address stands in brackets.
    pub host: String,
    /// Decoded, hence bytes.
    path: Vec<u8>,
    /// The path as it was given, where Go's own encoding would differ.
    raw_path: Option<String>,
    /// Scheme directly followed by a path, without `//`.
    omit_host: bool,
    /// With its question mark.
    query: String,
    fragment: Vec<u8>,
    raw_fragment: Option<String>,
}

/// Why a text is not a URL, in Go's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("parse {}: {reason}", quote(.text))]
pub struct UrlError {
    text: String,
    reason: String,
}

/// Why a text is not `host:port`, in Go's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HostPortError {
    /// The text is not empty.
    #[error("address {0}: {1}")]
    Address(String, &'static str),
    /// The text is empty.
    #[error("missing port in address")]
    Empty,
}

/// The parts of a URL that escape different characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Fragment,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// If Go's parser refuses it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (main, fragment) = text.split_once('#').unwrap_or((text, ""));
        let error = |text: &str, reason| UrlError {
            text: text.to_owned(),
            reason,
        };
        let mut url = Self::parse_main(main).map_err(|reason| error(main, reason))?;
        let decoded = unescape(fragment, Part::Fragment).map_err(|reason| error(text, reason))?;
        url.raw_fragment =
            (escape(&decoded, Part::Fragment) != fragment).then(|| fragment.to_owned());
        url.fragment = decoded;
        Ok(url)
    }

    fn parse_main(text: &str) -> Result<Self, String> {
        if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        if text == "*" {
            url.path = b"*".to_vec();
            return Ok(url);
        }
        let (scheme, rest) = split_scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (mut rest, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        url.query = query.to_owned();
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_owned();
                return Ok(url);
            }
            if rest
                .split('/')
                .next()
                .is_some_and(|segment| segment.contains(':'))
            {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        match rest.strip_prefix("//") {
            Some(after) if !url.scheme.is_empty() || !after.starts_with('/') => {
                let (authority, path) = after.split_at(after.find('/').unwrap_or(after.len()));
                url.set_authority(authority)?;
                rest = path;
            }
            _ => url.omit_host = !url.scheme.is_empty(),
        }
        url.path = unescape(rest, Part::Path)?;
        url.raw_path = (escape(&url.path, Part::Path) != rest).then(|| rest.to_owned());
        Ok(url)
    }

    fn set_authority(&mut self, authority: &str) -> Result<(), String> {
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        self.host = parse_host(&self.scheme, host)?;
        let Some(user) = user else { return Ok(()) };
        if !user
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b))
        {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(unescape(password, Part::User)?)),
            None => (user, None),
        };
        self.user = Some((unescape(name, Part::User)?, password));
        Ok(())
    }

    /// Whether the scheme is `unix` or `unixs`.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        matches!(self.scheme.as_str(), "unix" | "unixs")
    }

    /// Whether the scheme asks for TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "unixs")
    }

    /// Whether there is a path.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// The file of a unix socket: host and path, joined as they are.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        use std::os::unix::ffi::OsStringExt;
        let bytes = [self.host.as_bytes(), &self.path].concat();
        std::ffi::OsString::from_vec(bytes).into()
    }

    /// Host and port. Brackets of an IPv6 address are gone.
    ///
    /// # Errors
    /// If there is no port, or too many colons.
    pub fn host_port(&self) -> Result<(&str, &str), HostPortError> {
        split_host_port(&self.host)
    }
}

/// Splits `host:port`, `[host]:port`; the port may be empty or a name.
///
/// # Errors
/// If there is no port, or the host holds a colon without brackets.
pub fn split_host_port(address: &str) -> Result<(&str, &str), HostPortError> {
    if address.is_empty() {
        return Err(HostPortError::Empty);
    }
    let error = |reason| HostPortError::Address(address.to_owned(), reason);
    let (before, port) = address
        .rsplit_once(':')
        .ok_or_else(|| error("missing port in address"))?;
    let (host, unbracketed) = if let Some(inner) = address.strip_prefix('[') {
        let end = inner
            .find(']')
            .ok_or_else(|| error("missing ']' in address"))?;
        match &inner[end + 1..] {
            "" => return Err(error("missing port in address")),
            after if after.len() == port.len() + 1 => {}
            after if after.starts_with(':') => return Err(error("too many colons in address")),
            _ => return Err(error("missing port in address")),
        }
        (&inner[..end], &before[before.len()..])
    } else {
        if before.contains(':') {
            return Err(error("too many colons in address"));
        }
        (before, before)
    };
    if unbracketed.contains('[') || host.contains('[') || port.contains('[') {
        return Err(error("unexpected '[' in address"));
    }
    if unbracketed.contains(']') || port.contains(']') {
        return Err(error("unexpected ']' in address"));
    }
    Ok((host, port))
}

/// The scheme, if the text begins with one, and what follows its colon.
fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    match end {
        Some(0) if text.starts_with(':') => Err("missing protocol scheme".to_owned()),
        Some(end)
            if text[end..].starts_with(':')
                && text.starts_with(|c: char| c.is_ascii_alphabetic()) =>
        {
            Ok((&text[..end], &text[end + 1..]))
        }
        _ => Ok(("", text)),
    }
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    match host.rfind('[') {
        Some(0) => return parse_bracketed_host(host),
        Some(_) => return Err("invalid IP-literal".to_owned()),
        None => {}
    }
    // Only http and https insist that nothing but the port follows a colon.
    let strict = matches!(scheme, "http" | "https");
    let colon = if strict {
        host.find(':')
    } else {
        host.rfind(':')
    };
    check_port(&host[colon.unwrap_or(host.len())..])?;
    unescape_text(host, Part::Host)
}

fn parse_bracketed_host(host: &str) -> Result<String, String> {
    let close = host.rfind(']').ok_or("missing ']' in host")?;
    let port = &host[close + 1..];
    check_port(port)?;
    let name = &host[1..close];
    let zone = name.find("%25").unwrap_or(name.len());
    let address = unescape_text(&name[..zone], Part::Host)?;
    let zone = unescape_text(&name[zone..], Part::Zone)?;
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => Err("invalid IP-literal".to_owned()),
        Ok(IpAddr::V6(_)) if zone != "%" => Ok(format!("[{address}{zone}]{port}")),
        _ => Err(format!(
            "invalid host: ParseAddr({}): unable to parse IP",
            quote(&format!("{address}{zone}"))
        )),
    }
}

fn check_port(port: &str) -> Result<(), String> {
    let valid = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    if valid {
        Ok(())
    } else {
        Err(format!("invalid port {} after host", quote(port)))
    }
}

fn unescape_text(text: &str, part: Part) -> Result<String, String> {
    let bytes = unescape(text, part)?;
    String::from_utf8(bytes).map_err(|_| format!("invalid URL escape {}: not UTF-8", quote(text)))
}

fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte != b'%' {
            if matches!(part, Part::Host | Part::Zone) && byte < 0x80 && must_escape(byte, part) {
                return Err(format!(
                    "invalid character {} in host name",
                    quote(&char::from(byte).to_string())
                ));
            }
            decoded.push(byte);
            at += 1;
            continue;
        }
        let escape: String = text[at..].chars().take(3).collect();
        let value = text
            .get(at + 1..at + 3)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let value = value.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        // In a host an escape stands for a byte outside ASCII only; a zone may hold more.
        let allowed = |value: u8| match part {
            Part::Host => value >= 0x80 || value == b'%',
            Part::Zone => value == b'%' || value == b' ' || !must_escape(value, Part::Host),
            Part::Path | Part::User | Part::Fragment => true,
        };
        match value {
            Some(value) if allowed(value) => decoded.push(value),
            _ => return Err(format!("invalid URL escape {}", quote(&escape))),
        }
        at += 3;
    }
    Ok(decoded)
}

fn escape(bytes: &[u8], part: Part) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if must_escape(byte, part) {
            write!(text, "%{byte:02X}").expect("a String takes every write");
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

fn must_escape(byte: u8, part: Part) -> bool {
    let also: &[u8] = match part {
        Part::Path => b"$&+,/:;=@",
        Part::Host | Part::Zone => b"!\"$&'()*+,:;<=>[]",
        Part::User => b"$&+,;=",
        Part::Fragment => b"!$&()*+,/:;=?@",
    };
    !(byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || also.contains(&byte))
}

/// Whether a text as given may stand where Go's own encoding would differ.
fn is_valid_encoding(text: &str, part: Part) -> bool {
    text.bytes()
        .all(|b| b"!$&'()*+,;=:@[]%".contains(&b) || !must_escape(b, part))
}

fn encoded(decoded: &[u8], raw: Option<&String>, part: Part) -> String {
    match raw {
        Some(raw) if is_valid_encoding(raw, part) => raw.clone(),
        _ if part == Part::Path && decoded == b"*" => "*".to_owned(),
        _ => escape(decoded, part),
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let has_authority = !self.host.is_empty() || self.user.is_some();
            let slashes = has_authority
                || !self.scheme.is_empty() && !self.path.is_empty() && !self.omit_host;
            if slashes {
                f.write_str("//")?;
            }
            if let Some((name, password)) = &self.user {
                f.write_str(&escape(name, Part::User))?;
                if let Some(password) = password {
                    write!(f, ":{}", escape(password, Part::User))?;
                }
                f.write_char('@')?;
            }
            f.write_str(&escape(self.host.as_bytes(), Part::Host))?;
            f.write_str(&encoded(&self.path, self.raw_path.as_ref(), Part::Path))?;
        } else {
            f.write_str(&self.opaque)?;
        }
        f.write_str(&self.query)?;
        if !self.fragment.is_empty() {
            write!(
                f,
                "#{}",
                encoded(&self.fragment, self.raw_fragment.as_ref(), Part::Fragment)
            )?;
        }
        Ok(())
    }
}

/// Whether a host may be bound: an address, or `localhost`.
#[must_use]
pub fn is_bindable_host(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts with what Go 1.26 makes of them.
    const RECORDED: &str = include_str!("testdata/urls.txt");

    fn unquote(text: &str) -> String {
        serde_json::from_str(&text.replace("\\x01", "\\u0001").replace("\\x7f", "\\u007f"))
            .expect("a quoted text")
    }

    #[test]
    fn recorded_texts_give_what_go_gives() {
        let mut cases = 0;
        for line in RECORDED
            .split('\n')
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let columns: Vec<_> = line.split('\t').collect();
            let text = unquote(columns[0]);
            match Url::parse(&text) {
                Err(error) => assert_eq!(error.to_string(), columns[1], "{text}"),
                Ok(url) => {
                    let host_port = match url.host_port() {
                        Ok((host, port)) => format!("{host} {port}"),
                        Err(error) => format!("!{error}"),
                    };
                    let path =
                        String::from_utf8(url.path.clone()).expect("paths of the table are UTF-8");
                    let ours = [&url.to_string(), &url.scheme, &url.host, &path, &host_port]
                        .map(String::clone);
                    assert_eq!(ours.to_vec(), columns[1..], "{text}");
                }
            }
            cases += 1;
        }
        assert!(cases > 90, "only {cases} cases were read");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_equal(text in "(http|unix|x):(//)?[a-z@:%0-9./?#\\[\\]]{0,12}") {
            if let Ok(url) = Url::parse(&text) {
                let printed = url.to_string();
                let again = Url::parse(&printed).map(|again| again.to_string());
                prop_assert_eq!(again, Ok(printed));
            }
        }

        #[test]
        fn no_text_panics(text in ".*", marks in "[a:/@%?#\\[\\]\u{fc}. ]*") {
            let _ = Url::parse(&text);
            let _ = Url::parse(&marks);
            let _ = split_host_port(&marks);
        }
    }
}
