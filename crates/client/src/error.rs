//! What a call can fail with.

use std::fmt;

use tenet_proto::{ApiError, Code};

/// The end of a call that has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused with one of the API's errors.
    #[error("{0}")]
    Api(ApiError),
    /// The server, or the way to it, failed with a status that is not one of the API's errors.
    #[error("{0}")]
    Status(Status),
    /// The deadline passed. The call may or may not have been processed.
    #[error("context deadline exceeded")]
    Deadline,
}

impl Error {
    /// The status code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Error::Api(error) => error.code(),
            Error::Status(status) => status.code,
            Error::Deadline => Code::DeadlineExceeded,
        }
    }

    /// Whether the call surely had no effect. When it is false for a write, the write may have
    /// happened, may yet happen, or may never happen.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Error::Api(error) => refuses_before_proposing(*error),
            Error::Status(status) => matches!(
                status.code,
                Code::InvalidArgument
                    | Code::Unimplemented
                    | Code::PermissionDenied
                    | Code::Unauthenticated
            ),
            Error::Deadline => false,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        status.into_error()
    }
}

impl Error {
    /// As a status, whatever it was made from.
    pub(crate) fn into_status(self) -> Status {
        match self {
            Error::Api(error) => Status::new(error.code(), error.text()),
            Error::Status(status) => status,
            Error::Deadline => Status::new(Code::DeadlineExceeded, "context deadline exceeded"),
        }
    }
}

/// Errors that say that a request was given up while it may be in the log have an open outcome.
fn refuses_before_proposing(error: ApiError) -> bool {
    !matches!(
        error,
        ApiError::Timeout
            | ApiError::TimeoutDueToLeaderFail
            | ApiError::TimeoutDueToConnectionLost
            | ApiError::TimeoutWaitAppliedIndex
            | ApiError::LeaderTransferTimeout
            | ApiError::LeaderChanged
            | ApiError::Stopped
            | ApiError::Canceled
            | ApiError::DeadlineExceeded
            | ApiError::NoLeader
    )
}

/// A code and a text. Displayed in the words of gRPC: `rpc error: code = … desc = …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The text.
    pub message: String,
}

impl Status {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Status {
        Status {
            code,
            message: message.into(),
        }
    }

    /// The API's error with this text. The text decides, not the code: some errors leave a server
    /// with another code than their own.
    pub(crate) fn api_error(&self) -> Option<ApiError> {
        ApiError::from_text(&self.message)
    }

    pub(crate) fn into_error(self) -> Error {
        self.api_error().map_or(Error::Status(self), Error::Api)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rpc error: code = {:?} desc = {}",
            self.code, self.message
        )
    }
}

impl std::error::Error for Status {}

/// The code with this number; numbers that gRPC does not define count as unknown.
pub(crate) fn code_of(code: tonic::Code) -> Code {
    use tonic::Code as T;
    match code {
        T::Ok => Code::Ok,
        T::Cancelled => Code::Canceled,
        T::Unknown => Code::Unknown,
        T::InvalidArgument => Code::InvalidArgument,
        T::DeadlineExceeded => Code::DeadlineExceeded,
        T::NotFound => Code::NotFound,
        T::AlreadyExists => Code::AlreadyExists,
        T::PermissionDenied => Code::PermissionDenied,
        T::ResourceExhausted => Code::ResourceExhausted,
        T::FailedPrecondition => Code::FailedPrecondition,
        T::Aborted => Code::Aborted,
        T::OutOfRange => Code::OutOfRange,
        T::Unimplemented => Code::Unimplemented,
        T::Internal => Code::Internal,
        T::Unavailable => Code::Unavailable,
        T::DataLoss => Code::DataLoss,
        T::Unauthenticated => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_api_is_known_by_its_text() {
        let status = Status::new(Code::Unknown, "etcdserver: too many requests");
        assert_eq!(
            status.into_error(),
            Error::Api(ApiError::RequestTooManyRequests)
        );
        let status = Status::new(Code::Unknown, "something else");
        assert_eq!(
            status.into_error().to_string(),
            "rpc error: code = Unknown desc = something else"
        );
    }

    #[test]
    fn an_open_outcome_is_not_definite() {
        assert!(Error::Api(ApiError::Compacted).is_definite());
        assert!(!Error::Api(ApiError::Timeout).is_definite());
        assert!(!Error::Deadline.is_definite());
        let lost = Status::new(Code::Unavailable, "error reading from server: EOF");
        assert!(!lost.into_error().is_definite());
    }
}
