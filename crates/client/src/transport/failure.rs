//! Failures of the transport, sorted by the one question that matters: can the server have acted?

use std::error::Error as StdError;
use std::fmt;

use tenet_proto::Code;

use crate::Status;

/// Why a request has no answer, or an answer has no end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Whether the server may have acted on the request.
    pub(crate) reached: bool,
    pub(crate) status: Status,
}

impl Failure {
    /// The connection was gone before the request went out.
    pub(crate) fn unsent() -> Failure {
        let status = Status::new(Code::Unavailable, "the connection is closing");
        Failure {
            reached: false,
            status,
        }
    }

    /// Sorts an error of the HTTP layer that came instead of an answer.
    pub(crate) fn of_request(error: &hyper::Error) -> Failure {
        Failure {
            reached: !surely_not_processed(error),
            status: status(error),
        }
    }

    /// An error in the middle of an answer: the server has acted.
    pub(crate) fn of_answer(error: &hyper::Error) -> Failure {
        Failure {
            reached: true,
            status: status(error),
        }
    }

    /// The failure below an error of the gRPC layer, if there is one.
    pub(crate) fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Failure> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(failure) = error.downcast_ref() {
                return Some(failure);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)
    }
}

impl StdError for Failure {}

fn h2(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}

/// HTTP/2 promises it in two cases: a stream that was refused, and a stream beyond the last one
/// that a GOAWAY names. (Streams up to that one end with the connection's own error instead.)
fn surely_not_processed(error: &hyper::Error) -> bool {
    let Some(error) = h2(error) else { return false };
    error.is_remote() && (error.reason() == Some(h2::Reason::REFUSED_STREAM) || error.is_go_away())
}

fn status(error: &hyper::Error) -> Status {
    if error.is_timeout() {
        return Status::new(
            Code::Unavailable,
            "keepalive ping failed to receive ACK within timeout",
        );
    }
    let Some(h2) = h2(error) else {
        return Status::new(
            Code::Unavailable,
            format!("error reading from server: {error}"),
        );
    };
    if let Some(io) = h2.get_io() {
        let text = match io.kind() {
            std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            _ => io.to_string(),
        };
        return Status::new(
            Code::Unavailable,
            format!("error reading from server: {text}"),
        );
    }
    let reason = h2.reason().unwrap_or(h2::Reason::INTERNAL_ERROR);
    if h2.is_reset() && h2.is_remote() {
        let code = match reason {
            h2::Reason::REFUSED_STREAM => Code::Unavailable,
            h2::Reason::CANCEL => Code::Canceled,
            h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        };
        return Status::new(code, format!("stream terminated by RST_STREAM: {reason}"));
    }
    Status::new(
        Code::Unavailable,
        format!("the connection is closing: {h2}"),
    )
}
