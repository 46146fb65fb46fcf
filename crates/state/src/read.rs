//! Reading a published view, on whatever thread asks.

use crate::kv::{api_error, header, range_response};
use crate::txn;
use tenet_mvcc::View;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    HashKvRequest, HashKvResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};

/// Answers a range. The request must have passed [`crate::check_range`].
///
/// # Errors
/// `Compacted`, `FutureRevision`, `Corrupt` if a value cannot be read.
pub fn read_range(view: &View, request: &RangeRequest) -> Result<RangeResponse, ApiError> {
    let result = view.range(request).map_err(api_error)?;
    Ok(range_response(view.revision().get(), result))
}

/// As [`read_range`], but never waits for the medium: `None` if it would have to.
///
/// # Errors
/// As [`read_range`].
pub fn read_range_cached(
    view: &View,
    request: &RangeRequest,
) -> Result<Option<RangeResponse>, ApiError> {
    match view.range_cached(request) {
        Ok(result) => Ok(Some(range_response(view.revision().get(), result))),
        Err(error) if error.is_cold() => Ok(None),
        Err(error) => Err(api_error(error)),
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
pub fn read_txn(view: &View, request: &TxnRequest) -> Result<TxnResponse, ApiError> {
    txn::read(view, request)
}

/// Answers HashKV. It reads what the revision shows, so it belongs on a thread that may be busy
/// for long.
///
/// # Errors
/// `Compacted`, `FutureRevision`.
pub fn read_hash_kv(view: &View, request: &HashKvRequest) -> Result<HashKvResponse, ApiError> {
    let hash = view.hash_kv(request.revision).map_err(api_error)?;
    Ok(HashKvResponse {
        header: header(view.revision().get()),
        hash: hash.hash,
        compact_revision: hash.compact_revision,
        hash_revision: hash.hash_revision,
    })
}
