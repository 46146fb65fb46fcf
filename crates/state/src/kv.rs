//! Puts and deletes inside one write transaction, with the leases of the keys that they touch.

use crate::lease::Leases;
use crate::read::CannotRead;
use tenet_base::LeaseId;
use tenet_mvcc::{Mvcc, MvccError, RangeResult, WriteTxn};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader,
};
use tenet_proto::mvccpb::KeyValue;

/// The effects of one entry on keys and leases, all at one revision. Must be ended.
pub(crate) struct Writer<'a> {
    txn: WriteTxn<'a>,
    leases: &'a mut Leases,
    /// Whether somebody waits for the answer. If not, nothing is read that only an answer needs.
    answering: bool,
}

impl<'a> Writer<'a> {
    /// Runs `work` as one transaction. What `work` refuses, it must refuse before it writes.
    pub(crate) fn run<T>(
        mvcc: &'a mut Mvcc,
        leases: &'a mut Leases,
        answering: bool,
        work: impl FnOnce(&mut Self) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut writer = Writer {
            txn: mvcc.begin(),
            leases,
            answering,
        };
        let result = work(&mut writer);
        assert!(
            result.is_ok() || !writer.txn.changed(),
            "an entry was refused after {} changes at revision {}: a bug, since every check comes \
             before the first write",
            writer.txn.changes().len(),
            writer.txn.revision()
        );
        writer.txn.end();
        result
    }

    /// The state before and during the transaction.
    pub(crate) fn txn(&self) -> &WriteTxn<'a> {
        &self.txn
    }

    pub(crate) fn leases(&self) -> &Leases {
        self.leases
    }

    /// What an answer shows now.
    pub(crate) fn header(&self) -> Option<ResponseHeader> {
        header(self.txn.revision().get())
    }

    /// Writes a key. Its lease must have been found to exist.
    ///
    /// # Errors
    /// `KeyNotFound` if the request keeps the value or lease of a key that is not there; nothing
    /// has been written then.
    pub(crate) fn put(&mut self, request: &PutRequest) -> Result<PutResponse, ApiError> {
        let keeps = request.ignore_value || request.ignore_lease;
        let wants = request.prev_kv && self.answering;
        let previous = if keeps {
            self.txn.get(&request.key)
        } else if wants {
            self.txn.get_for_answer(&request.key)
        } else {
            None
        };
        let kept = match &previous {
            None if keeps => return Err(ApiError::KeyNotFound),
            None => None,
            Some(previous) => Some(previous),
        };
        let value = kept
            .filter(|_| request.ignore_value)
            .map_or(&request.value, |kv| &kv.value);
        let lease = kept
            .filter(|_| request.ignore_lease)
            .map_or(request.lease, |kv| kv.lease);
        self.txn.put(&request.key, value, LeaseId(lease));
        self.leases.move_key(&request.key, LeaseId(lease));
        Ok(PutResponse {
            header: self.header(),
            prev_kv: previous.filter(|_| request.prev_kv),
        })
    }

    /// Deletes a key or a range of keys, in ascending order.
    pub(crate) fn delete_range(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let prev_kvs = if request.prev_kv && self.answering {
            self.previous(request)
        } else {
            Vec::new()
        };
        let deleted = if request.range_end.is_empty() {
            i64::from(self.delete(&request.key))
        } else {
            let keys = self.txn.keys(&request.key, &request.range_end);
            keys.iter().map(|key| i64::from(self.delete(key))).sum()
        };
        DeleteRangeResponse {
            header: self.header(),
            deleted,
            prev_kvs,
        }
    }

    /// Deletes one key and takes it off its lease; whether it was there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        let deleted = self.txn.delete(key);
        if deleted {
            self.leases.move_key(key, LeaseId::ZERO);
        }
        deleted
    }

    /// Deletes one key that is on no lease, or no longer: its lease is being revoked.
    pub(crate) fn delete_unleased(&mut self, key: &[u8]) {
        self.txn.delete(key);
    }

    /// Runs a range that was checked. Without anybody to answer, only its header is made.
    pub(crate) fn range(&self, request: &RangeRequest) -> RangeResponse {
        if !self.answering {
            return range_response(self.txn.revision().get(), RangeResult::default());
        }
        let result = self.txn.range_for_answer(request);
        range_response(self.txn.revision().get(), checked(result, request))
    }

    fn previous(&self, request: &DeleteRangeRequest) -> Vec<KeyValue> {
        if request.range_end.is_empty() {
            return self.txn.get_for_answer(&request.key).into_iter().collect();
        }
        let range = RangeRequest {
            key: request.key.clone(),
            range_end: request.range_end.clone(),
            ..RangeRequest::default()
        };
        checked(self.txn.range_for_answer(&range), &range).kvs
    }
}

/// The result of a range whose revision was checked: the writer is alone, so nothing can have
/// been compacted since. What cannot be read is as if it was not there, until the entry is done and
/// its answer is made an error.
fn checked(result: Result<RangeResult, MvccError>, request: &RangeRequest) -> RangeResult {
    match result {
        Ok(result) => result,
        Err(MvccError::Read(_)) => RangeResult::default(),
        Err(error) => panic!(
            "range at revision {} failed inside a write transaction after its revision was \
             checked: {error}; the index and the store disagree",
            request.revision
        ),
    }
}

pub(crate) fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader {
        revision,
        ..ResponseHeader::default()
    })
}

pub(crate) fn range_response(revision: i64, result: RangeResult) -> RangeResponse {
    RangeResponse {
        header: header(revision),
        kvs: result.kvs,
        more: result.more,
        count: result.count,
    }
}

/// The error that etcd's API has for one of the store's.
pub(crate) fn api_error(error: MvccError) -> ApiError {
    CannotRead::from(error).into()
}
