//! The transports over a member that does nothing: what a call costs before any work is done.
//!
//! `cargo run --release -p tenet-server --example empty_server -- 127.0.0.1:2379 [batch]`, then load
//! it with `tenet bench`. With `batch`, puts are answered together every 150 us by another thread,
//! as a member's applier does; without, at once.

#[path = "../tests/all/fake.rs"]
mod fake;

use fake::{Fake, FakeChunks, FakeLong, FakeWatches};
use std::future::Future;
use std::sync::Arc;
use std::thread::Thread;
use std::time::Duration;
use tenet_base::ids::{Index, MemberId, Term};
use tenet_cli::go::Url;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
use tenet_server::api::{Api, RangeAnswer, Versions};
use tenet_server::config::access::AccessRules;
use tenet_server::listen::{Listener, SocketOptions};
use tenet_server::metrics::Page;
use tenet_server::serve::{Role, ServeOptions, Serving};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Waiting = std::sync::Mutex<Vec<oneshot::Sender<i64>>>;

/// Answers what waits, all together.
struct Batcher {
    waiting: Waiting,
    thread: Thread,
}

/// A member that keeps nothing.
#[derive(Clone)]
struct Empty {
    fake: Fake,
    batcher: Option<Arc<Batcher>>,
}

fn batcher() -> Arc<Batcher> {
    let (send, receive) = std::sync::mpsc::channel::<Arc<Batcher>>();
    let answering = std::thread::spawn(move || {
        let Ok(batcher) = receive.recv() else { return };
        for revision in 2.. {
            let batch = batcher
                .waiting
                .lock()
                .map(|mut batch| std::mem::take(&mut *batch));
            match batch {
                Ok(batch) if batch.is_empty() => std::thread::park(),
                Ok(batch) => {
                    std::thread::sleep(Duration::from_micros(150));
                    for waiting in batch {
                        let _ = waiting.send(revision);
                    }
                }
                Err(_) => return,
            }
        }
    });
    let thread = answering.thread().clone();
    let batcher = Arc::new(Batcher {
        waiting: Waiting::default(),
        thread,
    });
    let _ = send.send(batcher.clone());
    batcher
}

impl Empty {
    async fn revision(&self) -> i64 {
        let Some(batcher) = &self.batcher else {
            return 2;
        };
        let (answer, answered) = oneshot::channel();
        let first = batcher.waiting.lock().is_ok_and(|mut waiting| {
            waiting.push(answer);
            waiting.len() == 1
        });
        if first {
            batcher.thread.unpark();
        }
        answered.await.unwrap_or(0)
    }

    fn header(revision: i64) -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader {
            cluster_id: 0x1234_5678_9abc_def0,
            member_id: 0x0fed_cba9_8765_4321,
            revision,
            raft_term: 2,
        })
    }
}

impl Api for Empty {
    type Long = Box<FakeLong>;
    type Chunks = FakeChunks;
    type Watches = FakeWatches;
    type Snapshot = fake::FakeSnapshot;

    async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, ApiError> {
        std::hint::black_box(request);
        Ok(pb::PutResponse {
            header: Self::header(self.revision().await),
            prev_kv: None,
        })
    }

    async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        std::hint::black_box(request);
        Ok(pb::RangeResponse {
            header: Self::header(2),
            ..Default::default()
        })
    }

    async fn open_range(
        &self,
        request: pb::RangeRequest,
    ) -> Result<RangeAnswer<Box<FakeLong>>, ApiError> {
        self.range(request).await.map(RangeAnswer::Whole)
    }

    async fn range_stream(&self, request: pb::RangeRequest) -> Result<FakeChunks, ApiError> {
        self.fake.range_stream(request).await
    }

    async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        self.fake.delete_range(request).await
    }

    async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        self.fake.txn(request).await
    }

    async fn compact(
        &self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, ApiError> {
        self.fake.compact(request).await
    }

    async fn lease_grant(
        &self,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, ApiError> {
        self.fake.lease_grant(request).await
    }

    async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, ApiError> {
        self.fake.lease_revoke(request).await
    }

    async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, ApiError> {
        self.fake.lease_time_to_live(request).await
    }

    async fn lease_leases(&self) -> Result<pb::LeaseLeasesResponse, ApiError> {
        self.fake.lease_leases().await
    }

    async fn lease_keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Result<pb::LeaseKeepAliveResponse, ApiError> {
        self.fake.lease_keep_alive(request).await
    }

    fn watch(&self) -> FakeWatches {
        FakeWatches::default()
    }

    async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, ApiError> {
        self.fake.alarm(request).await
    }

    async fn hash(&self) -> Result<pb::HashResponse, ApiError> {
        self.fake.hash().await
    }

    async fn hash_kv(&self, request: pb::HashKvRequest) -> Result<pb::HashKvResponse, ApiError> {
        self.fake.hash_kv(request).await
    }

    async fn member_list(
        &self,
        request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, ApiError> {
        self.fake.member_list(request).await
    }

    async fn member_add(
        &self,
        request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, ApiError> {
        self.fake.member_add(request).await
    }

    async fn member_remove(
        &self,
        request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, ApiError> {
        self.fake.member_remove(request).await
    }

    async fn member_update(
        &self,
        request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, ApiError> {
        self.fake.member_update(request).await
    }

    async fn member_promote(
        &self,
        request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, ApiError> {
        self.fake.member_promote(request).await
    }

    async fn move_leader(
        &self,
        request: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, ApiError> {
        self.fake.move_leader(request).await
    }

    async fn defragment(&self) -> Result<(), ApiError> {
        Ok(())
    }

    async fn snapshot(&self) -> Result<fake::FakeSnapshot, ApiError> {
        self.fake.snapshot().await
    }

    fn status(&self) -> pb::StatusResponse {
        self.fake.status()
    }

    fn leader(&self) -> Option<MemberId> {
        self.fake.leader()
    }

    fn is_learner(&self) -> bool {
        false
    }

    fn alarms(&self) -> Vec<pb::AlarmMember> {
        Vec::new()
    }

    fn versions(&self) -> Versions {
        self.fake.versions()
    }

    fn position(&self) -> (MemberId, Term, Index) {
        self.fake.position()
    }

    fn collect(&self, page: &mut Page) {
        self.fake.collect(page);
    }

    fn ready(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    fn stop(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:2379".into());
    let url = Url::parse(&format!("http://{address}")).map_err(|error| error.to_string())?;
    let socket = SocketOptions {
        reuse_port: false,
        unacknowledged_max: Duration::from_secs(20),
    };
    let listener = Listener::bind(&url, socket)?;
    let batcher = (args.next().as_deref() == Some("batch")).then(batcher);
    let serving = Serving::new(
        Empty {
            fake: Fake::default(),
            batcher,
        },
        ServeOptions {
            message_bytes_max: 2 * 1024 * 1024,
            streams_max: u32::MAX,
            ping_interval_min: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(7200),
            keepalive_timeout: Duration::from_secs(20),
            slow_request: Duration::from_secs(60),
            extensive_metrics: false,
            connections_max: usize::MAX,
            access: AccessRules::new([], []),
            other_metrics: tenet_server::metrics::OtherMetrics::default(),
            election_timeout: Duration::from_secs(1),
        },
    );
    serving.listen(listener, Role::Client);
    std::future::pending::<()>().await;
    Ok(())
}
