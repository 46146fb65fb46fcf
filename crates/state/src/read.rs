//! Reading a published view, on whatever thread asks.

use crate::kv::{header, range_response};
use crate::txn::{self, Patient};
use tenet_mvcc::{MvccError, View};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use tenet_store::{Patience, ReadError};

/// Why a read has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRead {
    /// The request asks for what there is not.
    #[error("{0}")]
    Refused(ApiError),
    /// The store cannot give a value, which an operator has to hear of.
    #[error(transparent)]
    Store(Box<ReadError>),
}

impl From<ApiError> for CannotRead {
    fn from(error: ApiError) -> Self {
        CannotRead::Refused(error)
    }
}

impl From<MvccError> for CannotRead {
    fn from(error: MvccError) -> Self {
        CannotRead::Refused(match error {
            MvccError::Compacted => ApiError::Compacted,
            MvccError::FutureRevision => ApiError::FutureRevision,
            MvccError::Read(error) => return CannotRead::Store(error),
        })
    }
}

/// What a client is told.
impl From<CannotRead> for ApiError {
    fn from(error: CannotRead) -> Self {
        match error {
            CannotRead::Refused(error) => error,
            CannotRead::Store(_) => ApiError::Corrupt,
        }
    }
}

/// Answers a range. The request must have passed [`crate::check_range`].
///
/// # Errors
/// `Compacted`, `FutureRevision`, or what the store says.
pub fn read_range(view: &View, request: &RangeRequest) -> Result<RangeResponse, CannotRead> {
    let result = view.range(request)?;
    Ok(range_response(view.revision().get(), result))
}

/// As [`read_range`], but never waits for the medium: `None` if it would have to.
///
/// # Errors
/// As [`read_range`].
pub fn read_range_cached(
    view: &View,
    request: &RangeRequest,
) -> Result<Option<RangeResponse>, CannotRead> {
    match view.range_cached(request) {
        Ok(result) => Ok(Some(range_response(view.revision().get(), result))),
        Err(error) if error.is_cold() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Answers a transaction that is [read-only](crate::is_read_only) and has passed
/// [`crate::check_txn`].
///
/// # Errors
/// `Compacted`, `FutureRevision` of one of its ranges.
///
/// # Panics
/// If the path that the transaction takes holds anything but ranges.
pub fn read_txn(view: &View, request: &TxnRequest) -> Result<TxnResponse, CannotRead> {
    txn::read(&Patient(view, Patience::Wait), request)
}

/// As [`read_txn`], but never waits for the medium: `None` if it would have to.
///
/// # Errors
/// As [`read_txn`].
///
/// # Panics
/// As [`read_txn`].
pub fn read_txn_cached(
    view: &View,
    request: &TxnRequest,
) -> Result<Option<TxnResponse>, CannotRead> {
    match txn::read(&Patient(view, Patience::Never), request) {
        Ok(response) => Ok(Some(response)),
        Err(CannotRead::Store(error)) if *error == ReadError::Cold => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers HashKV. It reads what the revision shows, so it belongs on a thread that may be busy
/// for long.
///
/// # Errors
/// `Compacted`, `FutureRevision`.
pub fn read_hash_kv(view: &View, request: &HashKvRequest) -> Result<HashKvResponse, CannotRead> {
    let hash = view.hash_kv(request.revision)?;
    Ok(HashKvResponse {
        header: header(view.revision().get()),
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        hash_revision: hash.hash_revision,
    })
}
