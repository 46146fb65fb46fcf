//! A member in memory: one map, no log, no disk. It answers like a member where the transports can
//! tell, and can be told to be slow, leaderless or alarmed.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tenet_base::ids::{Index, MemberId, Term};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
use tenet_proto::etcdserverpb::ResponseHeader;
use tenet_proto::mvccpb::KeyValue;
use tenet_server::api::{
    Answer, Api, LongAnswer, Pulled, RangeAnswer, RangeChunks, SnapshotMessages, Versions,
    WatchStream,
};
use tenet_server::metrics::Page;

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Inner>);

#[derive(Default)]
struct Inner {
    keys: Mutex<BTreeMap<Bytes, KeyValue>>,
    revision: AtomicI64,
    /// How long a put takes.
    put_delay: Mutex<Duration>,
    leaderless: AtomicBool,
    /// Times to live by lease.
    leases: Mutex<BTreeMap<i64, i64>>,
    alarms: Mutex<Vec<pb::AlarmMember>>,
    /// `usize::MAX` less how many key-values of a long answer can be read.
    unreadable: AtomicUsize,
}

/// Answers of more than one key above this are long.
const LONG_BYTES: usize = 64 * 1024;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[allow(dead_code)] // The example needs less than the tests.
impl Fake {
    /// Makes every further put take so long.
    pub(crate) fn delay_puts(&self, delay: Duration) {
        *lock(&self.0.put_delay) = delay;
    }

    /// Grants a lease without a request.
    pub(crate) fn grant(&self, id: i64, ttl: i64) {
        lock(&self.0.leases).insert(id, ttl);
    }

    /// Lets the member know a leader again.
    pub(crate) fn find_leader(&self) {
        self.0.leaderless.store(false, Ordering::SeqCst);
    }

    /// Lets the member know no leader.
    pub(crate) fn lose_leader(&self) {
        self.0.leaderless.store(true, Ordering::SeqCst);
    }

    /// Raises an alarm.
    pub(crate) fn raise(&self, alarm: pb::AlarmType) {
        lock(&self.0.alarms).push(pb::AlarmMember {
            member_id: 1,
            alarm: alarm.into(),
        });
    }

    /// Lets values of long answers be unreadable behind so many.
    pub(crate) fn damage_after(&self, readable: usize) {
        self.0
            .unreadable
            .store(usize::MAX - readable, Ordering::SeqCst);
    }

    fn readable(&self) -> usize {
        usize::MAX - self.0.unreadable.load(Ordering::SeqCst)
    }

    /// Stores a key without a request.
    pub(crate) fn set(&self, key: &str, value: Vec<u8>) {
        self.store(Bytes::copy_from_slice(key.as_bytes()), value.into());
    }

    fn store(&self, key: Bytes, value: Bytes) -> i64 {
        let revision = self.0.revision.fetch_add(1, Ordering::SeqCst) + 2;
        let mut keys = lock(&self.0.keys);
        let old = keys.get(&key);
        let kv = KeyValue {
            create_revision: old.map_or(revision, |old| old.create_revision),
            version: old.map_or(1, |old| old.version + 1),
            mod_revision: revision,
            key: key.clone(),
            value,
            lease: 0,
        };
        keys.insert(key, kv);
        revision
    }

    fn header(&self, revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: 2,
            member_id: 1,
            revision,
            raft_term: 3,
        })
    }

    fn find(&self, request: &pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        if request.key.is_empty() {
            return Err(ApiError::EmptyKey);
        }
        let keys = lock(&self.0.keys);
        let kvs: Vec<KeyValue> = if request.range_end.is_empty() {
            keys.get(&request.key).cloned().into_iter().collect()
        } else if request.range_end == "\0" {
            keys.range(request.key.clone()..)
                .map(|(_, kv)| kv.clone())
                .collect()
        } else {
            keys.range(request.key.clone()..request.range_end.clone())
                .map(|(_, kv)| kv.clone())
                .collect()
        };
        let count = kvs.len() as i64;
        let header = self.header(self.0.revision.load(Ordering::SeqCst) + 1);
        Ok(pb::RangeResponse {
            header,
            kvs,
            more: false,
            count,
        })
    }
}

/// A watch of nothing that answers each request with a response of its own, as many as were asked
/// for by the key: `3` gets three, of which the last is as long as the range's end.
#[derive(Default)]
pub(crate) struct FakeWatches {
    ready: Vec<Bytes>,
    created: i64,
    pulls: usize,
    woken: Option<Waker>,
}

/// Three messages, then a failure.
pub(crate) struct FakeSnapshot(u64);

impl SnapshotMessages for FakeSnapshot {
    async fn next(&mut self) -> Option<Result<pb::SnapshotResponse, String>> {
        self.0 += 1;
        Some(match self.0 {
            1..=3 => Ok(pb::SnapshotResponse {
                remaining_bytes: 3 - self.0,
                blob: Bytes::from(vec![self.0 as u8; 32 * 1024]),
                ..pb::SnapshotResponse::default()
            }),
            _ => Err("no more".to_owned()),
        })
    }
}

impl WatchStream for FakeWatches {
    fn takes_requests(&self) -> bool {
        self.ready.len() < 64
    }

    fn request(&mut self, request: pb::WatchRequest) {
        use pb::watch_request::RequestUnion;
        let Some(RequestUnion::CreateRequest(create)) = request.request_union else {
            return;
        };
        let count: usize = String::from_utf8_lossy(&create.key).parse().unwrap_or(1);
        for number in 0..count {
            let response = pb::WatchResponse {
                watch_id: self.created,
                created: number == 0,
                cancel_reason: if number + 1 == count {
                    String::from_utf8_lossy(&create.range_end).into_owned()
                } else {
                    String::new()
                },
                ..pb::WatchResponse::default()
            };
            self.ready
                .push(prost::Message::encode_to_vec(&response).into());
        }
        self.created += 1;
        if let Some(waker) = self.woken.take() {
            waker.wake();
        }
    }

    fn pull(
        &mut self,
        waker: &Waker,
        _budget_bytes: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<Pulled, ApiError> {
        if self.ready.is_empty() {
            self.woken = Some(waker.clone());
            return Ok(Pulled::All);
        }
        // Every third has to be waited for.
        self.pulls += 1;
        if self.pulls.is_multiple_of(3) {
            return Ok(Pulled::Cold);
        }
        out.push(self.ready.remove(0));
        Ok(Pulled::Part)
    }

    async fn pull_waiting(mut self, _budget_bytes: usize) -> Result<(Self, Vec<Bytes>), ApiError> {
        tokio::time::sleep(Duration::from_micros(50)).await;
        let out = vec![self.ready.remove(0)];
        Ok((self, out))
    }
}

/// A long answer, one key-value a piece. Each but the first yields once, as if it had waited.
pub(crate) struct FakeLong {
    around: pb::RangeResponse,
    kvs_bytes: u64,
    kvs: std::vec::IntoIter<KeyValue>,
    /// Pieces after which a value cannot be read.
    readable: usize,
}

impl FakeLong {
    fn new(mut whole: pb::RangeResponse, readable: usize) -> FakeLong {
        let kvs = std::mem::take(&mut whole.kvs);
        FakeLong {
            kvs_bytes: kvs.iter().map(|kv| as_field(kv).len() as u64).sum(),
            around: whole,
            kvs: kvs.into_iter(),
            readable,
        }
    }
}

/// A key-value as a field of an answer.
fn as_field(kv: &KeyValue) -> Bytes {
    let alone = pb::RangeResponse {
        kvs: vec![kv.clone()],
        ..Default::default()
    };
    prost::Message::encode_to_vec(&alone).into()
}

impl LongAnswer for FakeLong {
    fn around(&self) -> &pb::RangeResponse {
        &self.around
    }

    fn kvs_bytes(&self) -> u64 {
        self.kvs_bytes
    }

    async fn next(&mut self, _bytes_max: usize) -> Result<Bytes, ApiError> {
        let Some(kv) = self.kvs.next() else {
            return Ok(Bytes::new());
        };
        if self.readable == 0 {
            return Err(ApiError::Corrupt);
        }
        self.readable -= 1;
        tokio::task::yield_now().await;
        Ok(as_field(&kv))
    }
}

/// One key-value a chunk.
pub(crate) struct FakeChunks {
    kvs: std::vec::IntoIter<KeyValue>,
    last: Option<pb::RangeResponse>,
    readable: usize,
}

impl RangeChunks for FakeChunks {
    type Long = Box<FakeLong>;

    async fn next(&mut self) -> Option<Result<Box<FakeLong>, ApiError>> {
        let answer = match self.kvs.next() {
            Some(kv) => pb::RangeResponse {
                kvs: vec![kv],
                ..Default::default()
            },
            None => self.last.take()?,
        };
        let readable = usize::from(self.readable > 0);
        self.readable = self.readable.saturating_sub(1);
        Some(Ok(Box::new(FakeLong::new(answer, readable))))
    }
}

impl Api for Fake {
    type Long = Box<FakeLong>;
    type Chunks = FakeChunks;
    type Watches = FakeWatches;
    type Snapshot = FakeSnapshot;

    async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        if !request.serializable && self.leader().is_none() {
            return Err(ApiError::Timeout);
        }
        self.find(&request)
    }

    async fn range_stream(&self, request: pb::RangeRequest) -> Result<FakeChunks, ApiError> {
        let mut whole = self.find(&request)?;
        let kvs = std::mem::take(&mut whole.kvs).into_iter();
        Ok(FakeChunks {
            kvs,
            last: Some(whole),
            readable: self.readable(),
        })
    }

    async fn open_range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<RangeAnswer<Box<FakeLong>>, ApiError> {
        if !request.serializable && self.leader().is_none() {
            return Err(ApiError::Timeout);
        }
        let one = request.range_end.is_empty();
        let whole = self.find(&request)?;
        Ok(
            if one || prost::Message::encoded_len(&whole) <= LONG_BYTES {
                RangeAnswer::Whole(whole)
            } else {
                RangeAnswer::Long(Box::new(FakeLong::new(whole, self.readable())))
            },
        )
    }

    fn put(&self, request: pb::PutRequest) -> impl Answer<pb::PutResponse> {
        let delay = *lock(&self.0.put_delay);
        async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            if request.key.is_empty() {
                return Err(ApiError::EmptyKey);
            }
            let revision = self.store(request.key, request.value);
            Ok(pb::PutResponse {
                header: self.header(revision),
                prev_kv: None,
            })
        }
    }

    async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        let gone = lock(&self.0.keys).remove(&request.key);
        let deleted = gone.is_some().into();
        Ok(pb::DeleteRangeResponse {
            header: self.header(1),
            deleted,
            prev_kvs: Vec::new(),
        })
    }

    async fn txn(&self, _request: pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        Ok(pb::TxnResponse {
            header: self.header(1),
            succeeded: true,
            responses: Vec::new(),
        })
    }

    async fn compact(
        &self,
        _request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, ApiError> {
        Err(ApiError::FutureRevision)
    }

    async fn lease_grant(
        &self,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, ApiError> {
        self.grant(request.id, request.ttl);
        Ok(pb::LeaseGrantResponse {
            header: self.header(1),
            id: request.id,
            ttl: request.ttl,
            error: String::new(),
        })
    }

    async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, ApiError> {
        let gone = lock(&self.0.leases).remove(&request.id);
        gone.ok_or(ApiError::LeaseNotFound)?;
        Ok(pb::LeaseRevokeResponse {
            header: self.header(1),
        })
    }

    async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, ApiError> {
        Ok(pb::LeaseTimeToLiveResponse {
            header: self.header(1),
            id: request.id,
            ttl: lock(&self.0.leases).get(&request.id).copied().unwrap_or(-1),
            ..Default::default()
        })
    }

    async fn lease_leases(&self) -> Result<pb::LeaseLeasesResponse, ApiError> {
        let leases = lock(&self.0.leases);
        Ok(pb::LeaseLeasesResponse {
            header: self.header(1),
            leases: leases.keys().map(|&id| pb::LeaseStatus { id }).collect(),
        })
    }

    async fn lease_keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Result<pb::LeaseKeepAliveResponse, ApiError> {
        if self.leader().is_none() {
            return Err(ApiError::Timeout);
        }
        Ok(pb::LeaseKeepAliveResponse {
            header: self.header(1),
            id: request.id,
            ttl: lock(&self.0.leases).get(&request.id).copied().unwrap_or(0),
        })
    }

    fn watch(&self) -> FakeWatches {
        FakeWatches::default()
    }

    async fn alarm(&self, _request: pb::AlarmRequest) -> Result<pb::AlarmResponse, ApiError> {
        Ok(pb::AlarmResponse {
            header: self.header(1),
            alarms: self.alarms(),
        })
    }

    async fn hash(&self) -> Result<pb::HashResponse, ApiError> {
        Ok(pb::HashResponse {
            header: self.header(1),
            hash: 7,
        })
    }

    async fn hash_kv(&self, _request: pb::HashKvRequest) -> Result<pb::HashKvResponse, ApiError> {
        Err(ApiError::Compacted)
    }

    async fn member_list(
        &self,
        _request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, ApiError> {
        Ok(pb::MemberListResponse {
            header: self.header(0),
            members: Vec::new(),
        })
    }

    async fn member_add(
        &self,
        _request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, ApiError> {
        Err(ApiError::Unhealthy)
    }

    async fn member_remove(
        &self,
        _request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, ApiError> {
        Err(ApiError::Unhealthy)
    }

    async fn member_update(
        &self,
        _request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, ApiError> {
        Err(ApiError::Unhealthy)
    }

    async fn member_promote(
        &self,
        _request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, ApiError> {
        Err(ApiError::Unhealthy)
    }

    async fn move_leader(
        &self,
        _request: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, ApiError> {
        Err(ApiError::NotLeader)
    }

    async fn defragment(&self) -> Result<(), ApiError> {
        Ok(())
    }

    async fn snapshot(&self) -> Result<FakeSnapshot, ApiError> {
        Ok(FakeSnapshot(0))
    }

    fn status(&self) -> pb::StatusResponse {
        pb::StatusResponse {
            header: self.header(1),
            version: "3.7.1".into(),
            ..Default::default()
        }
    }

    fn leader(&self) -> Option<MemberId> {
        (!self.0.leaderless.load(Ordering::SeqCst)).then_some(MemberId(1))
    }

    fn is_learner(&self) -> bool {
        false
    }

    fn alarms(&self) -> Vec<pb::AlarmMember> {
        lock(&self.0.alarms).clone()
    }

    fn versions(&self) -> Versions {
        Versions {
            server: "3.7.1".into(),
            cluster: Some("3.7.0".into()),
            storage: "3.7.0".into(),
        }
    }

    fn position(&self) -> (MemberId, Term, Index) {
        (
            MemberId(1),
            Term(3),
            Index(self.0.revision.load(Ordering::SeqCst) as u64),
        )
    }

    fn collect(&self, page: &mut Page) {
        page.gauge("etcd_server_has_leader", "Whether a leader is known.", 1.0);
    }

    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    fn stop(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
