//! How a command fails: an exit code of etcdctl's and a text for standard error.

use std::io;

use tenet_client::Error;
use tenet_proto::ApiError;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Error,
    BadConnection,
    InvalidInput,
    BadFeature,
    Interrupted,
    Io,
    BadArgs,
    /// What a shell reports of a program that was ended by a closed pipe.
    ClosedPipe,
    /// That of a program that was run.
    Child(u8),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Error => 1,
            Exit::BadConnection => 2,
            Exit::InvalidInput => 3,
            Exit::BadFeature => 4,
            Exit::Interrupted => 5,
            Exit::Io => 6,
            Exit::BadArgs => 128,
            Exit::ClosedPipe => 141,
            Exit::Child(code) => code,
        }
    }
}

/// The end of a command that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Printed after `Error: `; nothing if all has been said.
    pub(crate) text: Option<String>,
    /// Whether the use of the command is shown after it.
    pub(crate) usage: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure {
            exit,
            text: Some(text.into()),
            usage: false,
        }
    }

    /// A command line that cannot be meant.
    pub(crate) fn misused(text: impl Into<String>) -> Failure {
        Failure {
            usage: true,
            ..Failure::new(Exit::Error, text)
        }
    }

    pub(crate) fn silent(exit: Exit) -> Failure {
        Failure {
            exit,
            text: None,
            usage: false,
        }
    }

    /// The answer could not be written. Whoever closed the pipe knows.
    pub(crate) fn of_output(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::silent(Exit::ClosedPipe),
            _ => Failure::new(Exit::Io, format!("cannot write the answer: {error}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(Exit::Error, error_text(&error))
    }
}

/// A failed call in the words of etcd's client, which knows most but not all of the API's errors by
/// their text.
pub(crate) fn error_text(error: &Error) -> String {
    match error {
        Error::Api(api) if is_status_to_etcd(*api) => {
            format!("rpc error: code = {:?} desc = {api}", api.code())
        }
        error => error.to_string(),
    }
}

fn is_status_to_etcd(error: ApiError) -> bool {
    matches!(
        error,
        ApiError::InvalidClientApiVersion
            | ApiError::WatchCanceled
            | ApiError::PermissionNotGiven
            | ApiError::TimeoutWaitAppliedIndex
            | ApiError::Canceled
            | ApiError::DeadlineExceeded
            | ApiError::RangeStreamSortOrder
            | ApiError::RangeStreamFilters
            | ApiError::LeaderTransferTimeout
            | ApiError::UnknownMethod
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_as_etcds_client_tells_them() {
        assert_eq!(
            error_text(&Error::Api(ApiError::Compacted)),
            "etcdserver: mvcc: required revision has been compacted"
        );
        assert_eq!(
            error_text(&Error::Api(ApiError::PermissionNotGiven)),
            "rpc error: code = InvalidArgument desc = etcdserver: permission not given"
        );
        assert_eq!(error_text(&Error::Deadline), "context deadline exceeded");
    }
}
