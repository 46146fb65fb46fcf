//! The headers of a request: what they ask for, and which of them grpc-go refuses.
//!
//! The checks stand in grpc-go's order, since a client that fails two of them sees the first.

use super::status::Status;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::time::Duration;
use tenet_proto::Code;

/// What the headers say.
#[derive(Debug)]
pub(super) struct Head {
    /// What the answer's content type is: the request's, parameters cut as grpc-go does.
    pub content_type: HeaderValue,
    /// How messages are compressed.
    pub encoding: Encoding,
    /// How long the client waits.
    pub timeout: Option<Duration>,
    /// Whether the client wants an error if this member knows no leader.
    pub needs_leader: bool,
    /// `client-api-version` as sent.
    pub client_version: Option<HeaderValue>,
}

/// How messages are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip, in both directions.
    Gzip,
    /// In a way that we do not know.
    Other(HeaderValue),
}

/// An answer that is given before the method is even looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub http: StatusCode,
    pub status: Status,
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

impl Head {
    /// Reads the headers of a request.
    pub(super) fn read(method: &Method, headers: &HeaderMap) -> Result<Head, Refusal> {
        // One walk over the few headers that there are costs less than looking each name up.
        let [mut given_type, mut given_encoding, mut given_timeout] = [None; 3];
        let [mut leader, mut client_version] = [None; 2];
        let mut hosts = 0;
        for (name, value) in headers {
            match name.as_str() {
                "content-type" => given_type = Some(value),
                "grpc-encoding" => given_encoding = Some(value),
                "grpc-timeout" => given_timeout = Some(value),
                "hasleader" => _ = leader.get_or_insert(value),
                "client-api-version" => _ = client_version.get_or_insert(value),
                "host" => hosts += 1,
                _ => {}
            }
        }
        if hosts > 1 {
            return Err(refuse(
                StatusCode::BAD_REQUEST,
                Code::Internal,
                format!(
                    "num values of :authority: 1, num values of host: {hosts}, both must only have \
                     1 value as per HTTP/2 spec"
                ),
            ));
        }
        let head = Head {
            content_type: content_type(given_type)?,
            encoding: encoding(given_encoding),
            timeout: timeout(given_timeout)?,
            needs_leader: leader.is_some_and(|value| value == "true"),
            client_version: client_version.cloned(),
        };
        if method != Method::POST {
            return Err(refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                Code::Internal,
                format!("Received a HEADERS frame with :method \"{method}\" which should be POST"),
            ));
        }
        if head.timeout == Some(Duration::ZERO) {
            return Err(Refusal {
                http: StatusCode::OK,
                status: Status::DEADLINE,
            });
        }
        Ok(head)
    }
}

fn refuse(http: StatusCode, code: Code, text: String) -> Refusal {
    Refusal {
        http,
        status: Status::new(code, text),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// `application/grpc`, alone or followed by `+subtype` or `;subtype`, in lower case.
fn content_type(value: Option<&HeaderValue>) -> Result<HeaderValue, Refusal> {
    let given = value.map_or(&b""[..], HeaderValue::as_bytes);
    match given.strip_prefix(b"application/grpc") {
        Some(b"") => return Ok(GRPC),
        Some([b'+' | b';', subtype @ ..]) => {
            let full = [b"application/grpc+", subtype].concat();
            return Ok(HeaderValue::from_bytes(&full).unwrap_or(GRPC));
        }
        _ => {}
    }
    Err(refuse(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::InvalidArgument,
        format!(
            "invalid gRPC request content-type {:?}",
            value.map_or_else(String::new, text)
        ),
    ))
}

fn encoding(value: Option<&HeaderValue>) -> Encoding {
    match value.map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Encoding::Identity,
        Some(b"gzip") => Encoding::Gzip,
        Some(_) => value.cloned().map_or(Encoding::Identity, Encoding::Other),
    }
}

/// At most eight digits and a unit.
fn timeout(value: Option<&HeaderValue>) -> Result<Option<Duration>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let malformed = |reason: String| {
        let text = format!("malformed grpc-timeout: {reason}");
        Err(refuse(StatusCode::BAD_REQUEST, Code::Internal, text))
    };
    let bytes = value.as_bytes();
    let (digits, unit) = match bytes {
        [] | [_] => {
            return malformed(format!(
                "transport: timeout string is too short: {:?}",
                text(value)
            ));
        }
        _ if bytes.len() > 9 => {
            return malformed(format!(
                "transport: timeout string is too long: {:?}",
                text(value)
            ));
        }
        [digits @ .., unit] => (digits, *unit),
    };
    let number = if digits.iter().all(u8::is_ascii_digit) {
        digits
            .iter()
            .fold(0, |n, digit| n * 10 + u64::from(digit - b'0'))
    } else {
        u64::MAX
    };
    let duration: fn(u64) -> Duration = match unit {
        b'H' => |n| Duration::from_secs(n * 3600),
        b'M' => |n| Duration::from_secs(n * 60),
        b'S' => Duration::from_secs,
        b'm' => Duration::from_millis,
        b'u' => Duration::from_micros,
        b'n' => Duration::from_nanos,
        _ => {
            let text = text(value);
            return malformed(format!(
                "transport: timeout unit is not recognized: {text:?}"
            ));
        }
    };
    if number == u64::MAX {
        let digits = String::from_utf8_lossy(digits);
        return malformed(format!(
            "strconv.ParseUint: parsing {digits:?}: invalid syntax"
        ));
    }
    Ok(Some(duration(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Head, Refusal> {
        let map = headers
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        Head::read(&Method::POST, &map)
    }

    #[test]
    fn content_types_are_grpc_gos() {
        for (given, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc+proto"),
            ("application/grpc;foo", "application/grpc+foo"),
        ] {
            assert_eq!(
                read(&[("content-type", given)]).expect(given).content_type,
                answered
            );
        }
        for given in [
            "application/grpc-web",
            "Application/GRPC",
            "application/json",
            "",
        ] {
            let refusal = read(&[("content-type", given)]).expect_err(given);
            assert_eq!(refusal.http, 415);
            let text = format!("invalid gRPC request content-type \"{given}\"");
            assert_eq!(refusal.status, Status::new(Code::InvalidArgument, text));
        }
    }

    #[test]
    fn timeouts_are_read_or_refused_as_grpc_go_does() {
        let timeout = |value| {
            read(&[
                ("content-type", "application/grpc"),
                ("grpc-timeout", value),
            ])
            .map(|head| head.timeout)
            .map_err(|refusal| (refusal.http.as_u16(), refusal.status.text.into_owned()))
        };
        assert_eq!(timeout("150m"), Ok(Some(Duration::from_millis(150))));
        assert_eq!(
            timeout("99999999H"),
            Ok(Some(Duration::from_secs(99_999_999 * 3600)))
        );
        for (value, reason) in [
            ("abc", "transport: timeout unit is not recognized: \"abc\""),
            ("10x", "transport: timeout unit is not recognized: \"10x\""),
            (
                "123456789S",
                "transport: timeout string is too long: \"123456789S\"",
            ),
            ("S", "transport: timeout string is too short: \"S\""),
            ("-1S", "strconv.ParseUint: parsing \"-1\": invalid syntax"),
            ("+1S", "strconv.ParseUint: parsing \"+1\": invalid syntax"),
        ] {
            assert_eq!(
                timeout(value),
                Err((400, format!("malformed grpc-timeout: {reason}")))
            );
        }
        assert_eq!(
            timeout("0S"),
            Err((200, "context deadline exceeded".into()))
        );
    }

    #[test]
    fn a_request_with_two_hosts_is_refused() {
        let mut map = HeaderMap::new();
        map.append("content-type", GRPC);
        map.append("host", HeaderValue::from_static("a"));
        assert!(Head::read(&Method::POST, &map).is_ok());
        map.append("host", HeaderValue::from_static("b"));
        let refusal = Head::read(&Method::POST, &map).expect_err("two hosts");
        assert_eq!(refusal.http, 400);
        assert!(refusal.status.text.contains("num values of host: 2"));
    }

    #[test]
    fn metadata_is_found() {
        let head = read(&[
            ("content-type", "application/grpc"),
            ("grpc-encoding", "gzip"),
            ("hasleader", "true"),
            ("client-api-version", "3.7"),
        ])
        .expect("valid headers");
        assert_eq!(head.encoding, Encoding::Gzip);
        assert!(head.needs_leader);
        assert_eq!(head.client_version, Some(HeaderValue::from_static("3.7")));
    }
}
