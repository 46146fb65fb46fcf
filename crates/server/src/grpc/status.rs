//! How a call ends: code and text, and their form in trailers.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use tenet_proto::{ApiError, Code};

pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub code: Code,
    pub text: Cow<'static, str>,
}

impl Status {
    pub(super) const OK: Status = Status {
        code: Code::Ok,
        text: Cow::Borrowed(""),
    };
    /// What the server of a client that went away records; nobody receives it.
    pub(super) const CANCELED: Status = Status {
        code: Code::Canceled,
        text: Cow::Borrowed("context canceled"),
    };
    pub(super) const DEADLINE: Status = Status {
        code: Code::DeadlineExceeded,
        text: Cow::Borrowed("context deadline exceeded"),
    };

    pub(super) fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Status {
        Status {
            code,
            text: text.into(),
        }
    }

    /// Adds `grpc-status` and `grpc-message` (always both, as grpc-go does).
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(
            GRPC_STATUS,
            HeaderValue::from_static(code_number(self.code)),
        );
        headers.insert(GRPC_MESSAGE, percent_encoded(&self.text));
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Status {
        Status::new(error.code(), error.text())
    }
}

fn code_number(code: Code) -> &'static str {
    const NUMBERS: [&str; 17] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
    ];
    NUMBERS[code as usize]
}

/// The codes' names in Go, by number, which labels of metrics use.
const NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The name of the code with this number.
pub(crate) fn code_name(number: usize) -> &'static str {
    NAMES[number]
}

/// The text with everything but printable ASCII (and the percent sign itself) escaped.
fn percent_encoded(text: &str) -> HeaderValue {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'%';
    if text.bytes().all(plain)
        && let Ok(value) = HeaderValue::from_str(text)
    {
        return value;
    }
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = BytesMut::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if plain(byte) {
            out.extend_from_slice(&[byte]);
        } else {
            let pair = [
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ];
            out.extend_from_slice(&pair);
        }
    }
    HeaderValue::from_maybe_shared(out.freeze()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_percent_encoded_as_grpc_asks() {
        assert_eq!(percent_encoded("key \"a\""), "key \"a\"");
        assert_eq!(percent_encoded("100%"), "100%25");
        assert_eq!(percent_encoded("a\u{a0}b\n"), "a%C2%A0b%0A");
    }

    #[test]
    fn both_trailers_are_always_there() {
        let mut headers = HeaderMap::new();
        Status::OK.write(&mut headers);
        assert_eq!(
            (&headers[GRPC_STATUS], &headers[GRPC_MESSAGE]),
            (
                &HeaderValue::from_static("0"),
                &HeaderValue::from_static("")
            )
        );
        Status::from(ApiError::Compacted).write(&mut headers);
        assert_eq!(headers[GRPC_STATUS], "11");
    }
}
