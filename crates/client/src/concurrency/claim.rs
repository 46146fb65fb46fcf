//! A claim: the key by which a session stands in line for a name.
//!
//! Invariant: a claim that is dropped before it is kept or given up is deleted in the background as
//! far as that is possible, so that a caller who stops waiting does not stand in others' way until
//! its lease runs out.

use bytes::Bytes;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::response_op::Response;
use tenet_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp,
    ResponseHeader, TxnRequest, TxnResponse,
};
use tenet_proto::mvccpb::event::EventType;

use super::{ConcurrencyError, Session};
use crate::{Client, Error, KeyRange, Update, WatchOptions};

/// A place in line.
pub(super) struct Claim {
    client: Client,
    pub(super) key: Bytes,
    /// The revision at which the key was put.
    pub(super) revision: i64,
    pub(super) lease: i64,
    /// The answer by which the claim was made.
    pub(super) header: ResponseHeader,
    given_up: bool,
}

/// What was found when the claim was made.
pub(super) struct Found {
    /// The value under the claim's key if it was there before.
    pub(super) value: Option<Bytes>,
    pub(super) is_first: bool,
}

/// The keys under a name.
pub(super) fn range_of(name: &[u8]) -> KeyRange {
    KeyRange::prefix([name, b"/"].concat())
}

/// The oldest key in a range, whose owner is the holder.
pub(super) fn oldest(range: KeyRange) -> RangeRequest {
    RangeRequest {
        limit: 1,
        sort_order: SortOrder::Ascend.into(),
        sort_target: SortTarget::Create.into(),
        ..RangeRequest::from(range)
    }
}

fn request(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// The key of a lease under a name, with the sign of a negative lease as etcd's client has it.
fn key_of(name: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let id = format!("/{sign}{:x}", lease.unsigned_abs());
    [name, id.as_bytes()].concat().into()
}

/// Holds if a key exists and was put at this revision.
pub(super) fn created_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key,
        target_union: Some(TargetUnion::CreateRevision(revision)),
        ..Compare::default()
    }
}

impl Claim {
    /// Gets in line, or finds the place that the session has already.
    pub(super) async fn make(
        session: &Session,
        name: &[u8],
        value: Bytes,
    ) -> Result<(Claim, Found), ConcurrencyError> {
        let client = session.client.clone();
        let lease = session.lease();
        let key = key_of(name, lease);
        let put = PutRequest {
            key: key.clone(),
            value,
            lease,
            ..PutRequest::default()
        };
        let own = RangeRequest::from(KeyRange::key(key.clone()));
        let first = || request(Request::RequestRange(oldest(range_of(name))));
        let answer = client
            .txn(TxnRequest {
                compare: vec![created_at(key.clone(), 0)],
                success: vec![request(Request::RequestPut(put)), first()],
                failure: vec![request(Request::RequestRange(own)), first()],
            })
            .await?;
        let header = answer.header.unwrap_or_default();
        let before = range_at(&answer, 0).and_then(|range| range.kvs.first());
        let revision = match before {
            Some(kv) if !answer.succeeded => kv.create_revision,
            _ => header.revision,
        };
        let oldest = range_at(&answer, 1).and_then(|range| range.kvs.first());
        let found = Found {
            value: before.map(|kv| kv.value.clone()),
            is_first: oldest.is_none_or(|kv| kv.create_revision == revision),
        };
        let claim = Claim {
            client,
            key,
            revision,
            lease,
            header,
            given_up: false,
        };
        Ok((claim, found))
    }

    /// Waits until all older claims under the name are gone.
    pub(super) async fn wait_for_turn(
        &self,
        session: &Session,
        name: &[u8],
    ) -> Result<(), ConcurrencyError> {
        tokio::select! {
            turn = self.wait_for_older(name) => turn,
            _ = session.expired() => Err(ConcurrencyError::SessionExpired),
        }
    }

    async fn wait_for_older(&self, name: &[u8]) -> Result<(), ConcurrencyError> {
        loop {
            let newest_older = RangeRequest {
                limit: 1,
                sort_order: SortOrder::Descend.into(),
                sort_target: SortTarget::Create.into(),
                max_create_revision: self.revision - 1,
                ..RangeRequest::from(range_of(name))
            };
            let answer = self.client.range(newest_older).await?;
            let Some(older) = answer.kvs.into_iter().next() else {
                return Ok(());
            };
            let revision = answer.header.map_or(0, |header| header.revision);
            wait_for_deletion(&self.client, older.key, revision + 1).await?;
        }
    }

    /// Deletes the key, if it is still the one that was put.
    pub(super) async fn give_up(mut self) -> Result<ResponseHeader, Error> {
        self.given_up = true;
        let answer = self.client.txn(self.deletion()).await?;
        Ok(answer.header.unwrap_or_default())
    }

    /// Reads the key, if it is still the one that was put.
    pub(super) async fn read(&self) -> Result<Option<RangeResponse>, Error> {
        let own = RangeRequest::from(KeyRange::key(self.key.clone()));
        let answer = self.client.range(own).await?;
        let is_own = |kv: &tenet_proto::mvccpb::KeyValue| kv.create_revision == self.revision;
        Ok(answer.kvs.first().is_some_and(is_own).then_some(answer))
    }

    /// Puts another value under the key, if it is still the one that was put.
    pub(super) async fn change(&self, value: Bytes) -> Result<ResponseHeader, ConcurrencyError> {
        let put = PutRequest {
            key: self.key.clone(),
            value,
            lease: self.lease,
            ..PutRequest::default()
        };
        let answer = self
            .client
            .txn(TxnRequest {
                compare: vec![self.guard()],
                success: vec![request(Request::RequestPut(put))],
                failure: vec![],
            })
            .await?;
        if answer.succeeded {
            Ok(answer.header.unwrap_or_default())
        } else {
            Err(ConcurrencyError::Lost)
        }
    }

    pub(super) fn guard(&self) -> Compare {
        created_at(self.key.clone(), self.revision)
    }

    fn deletion(&self) -> TxnRequest {
        let delete = DeleteRangeRequest::from(KeyRange::key(self.key.clone()));
        TxnRequest {
            compare: vec![self.guard()],
            success: vec![request(Request::RequestDeleteRange(delete))],
            failure: vec![],
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.given_up {
            return;
        }
        // Without a runtime there is nobody to do it: the lease runs out then.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (client, deletion) = (self.client.without_deadline(), self.deletion());
            runtime.spawn(async move { client.txn(deletion).await });
        }
    }
}

fn range_at(answer: &TxnResponse, at: usize) -> Option<&RangeResponse> {
    match answer.responses.get(at)?.response.as_ref()? {
        Response::ResponseRange(range) => Some(range),
        _ => None,
    }
}

/// Waits until a key that was there before `revision` is deleted. When the deletion has been
/// compacted away, it has happened.
async fn wait_for_deletion(
    client: &Client,
    key: Bytes,
    revision: i64,
) -> Result<(), ConcurrencyError> {
    let options = WatchOptions::new(KeyRange::key(key))
        .from_revision(revision)
        .no_puts();
    let mut watch = client.without_deadline().watch(options).await?;
    loop {
        match watch.next().await? {
            // The caller looks again in any case.
            Update::Compacted { .. } => return Ok(()),
            Update::Events { events, .. } => {
                let is_deletion =
                    |event: &tenet_proto::mvccpb::Event| event.r#type() == EventType::Delete;
                if events.iter().any(is_deletion) {
                    return Ok(());
                }
            }
            Update::Progress { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_etcds_client() {
        assert_eq!(key_of(b"n", 0x1d23), "n/1d23");
        assert_eq!(key_of(b"n/m", 1), "n/m/1");
        assert_eq!(key_of(b"n", -5), "n/-5");
    }
}
