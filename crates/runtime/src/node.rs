//! The node API: what the transports call.
//!
//! A write is checked and encoded on the calling task, left for the consensus thread, and awaited.
//! A read runs on the calling task, on one published view, after the consensus actor has said
//! that the view is new enough; a sole voter knows that without asking.

use crate::clock::SystemClock;
use crate::data_dir::{self, DirectoryLock, StartError};
use crate::disk::{RealDisk, Roots};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::reads::{ColdReads, ReadBudget, Watches};
use crate::snapshot::Turns;
use crate::store_thread::{StoreThread, run_keeper};
use crate::threads::{self, LeaseTime, Mail, Post};
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tenet_base::{Clock as _, MemberId, Revision, limits};
use tenet_member::{
    ApplyInput, Booted, Frontend, Input, Lessor, Limits, Outcome, Proposal, Receiver, Waiter,
    WatchCounts, WatchHub, WatchOptions, Write,
};
use tenet_mvcc::View;
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionRequest, CompactionResponse,
    DeleteRangeRequest, DeleteRangeResponse, HashKvRequest, HashKvResponse, HashResponse,
    MemberListRequest, MemberListResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader, StatusResponse, TxnRequest, TxnResponse, alarm_request,
};
use tenet_state::{CannotRead, Response, check_range, check_txn, is_read_only, is_serializable};
use tokio::sync::{Semaphore, oneshot};

/// The etcd release whose surface this is.
pub const ETCD_VERSION: &str = "3.7.1";
/// The cluster and storage version of that release.
pub const ETCD_CLUSTER_VERSION: &str = "3.7.0";

/// What a member without keys says that it takes: etcdctl divides by it.
const EMPTY_DB_BYTES: i64 = 4_096;

/// A task that waits for an answer.
#[derive(Debug)]
pub(crate) struct TaskWaiter(oneshot::Sender<Result<Outcome, ApiError>>);

impl TaskWaiter {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<Outcome, ApiError>>) {
        let (sender, receiver) = oneshot::channel();
        (TaskWaiter(sender), receiver)
    }
}

impl Waiter for TaskWaiter {
    fn complete(self, result: Result<Outcome, ApiError>) {
        // A client that went away is no error.
        let _ = self.0.send(result);
    }
}

/// A handle on a running member; cheap to clone.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    frontend: Frontend,
    watches: WatchHub,
    lessor: Arc<Lessor<TaskWaiter>>,
    clock: Arc<SystemClock>,
    post: Arc<Post>,
    metrics: Arc<Metrics>,
    cold_reads: ColdReads,
    read_budget: ReadBudget,
    sorts: Semaphore,
    quota_bytes_shown: i64,
    receiver: Receiver,
    strict_reconfiguration: bool,
    request_timeout: Duration,
    snapshot_turns: Turns,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: DirectoryLock,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("identity", &self.0.frontend.identity())
            .finish()
    }
}

/// The versions that a member reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The etcd release whose surface this is.
    pub server: &'static str,
    /// The cluster version, once decided.
    pub cluster: Option<String>,
    /// The storage version, once known.
    pub storage: Option<String>,
}

/// Brings a member up and starts its threads.
///
/// # Errors
/// See [`StartError`]; nothing is left half-made.
pub fn start(options: &Options) -> Result<Node, StartError> {
    let roots = Roots {
        data_dir: options.data_dir.clone(),
        wal_dir: options.wal_dir.clone(),
    };
    data_dir::prepare(&roots)?;
    let mut lock = DirectoryLock::take(&roots)?;
    let metrics = Arc::new(Metrics::default());
    let new_disk = || {
        RealDisk::new(
            roots.clone(),
            Arc::clone(&metrics.disk),
            !options.unsafe_no_fsync,
        )
    };

    let mut disk = new_disk();
    let booted = tenet_member::boot::<TaskWaiter>(&disk, &member_options(options))?;
    for sentence in &booted.report {
        tracing::warn!("{sentence}");
    }
    let Booted {
        prepare,
        consensus,
        log_writer,
        applier,
        keeper,
        frontend,
        watches,
        lessor,
        receiver,
        ..
    } = booted;
    let clock = Arc::new(SystemClock::new());
    disk.run(prepare)?;
    lock.take_database(&roots)?;

    let post = Arc::new(Post::new());
    let mut threads = Vec::new();
    let mut spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        let handle = thread::Builder::new().name(name.to_owned()).spawn(body);
        handle
            .map(|handle| threads.push(handle))
            .map_err(StartError::Thread)
    };
    let tick = Duration::from_millis(options.heartbeat_ms);
    let to = Arc::clone(&post);
    let time = LeaseTime {
        lessor: Arc::clone(&lessor),
        clock: Arc::clone(&clock),
    };
    spawn(
        "consensus",
        Box::new(move || threads::run_consensus(consensus, &to, tick, &time)),
    )?;
    let to = Arc::clone(&post);
    spawn(
        "log",
        Box::new(move || threads::run_log_writer(log_writer, disk, &to)),
    )?;
    let (to, counts) = (Arc::clone(&post), Arc::clone(&metrics));
    let slow_apply = options.slow_apply;
    spawn(
        "applier",
        Box::new(move || {
            threads::run_applier(applier, &to, &counts, slow_apply);
        }),
    )?;
    let (to, counts, disk) = (Arc::clone(&post), Arc::clone(&metrics), new_disk());
    let progress = Arc::clone(frontend.progress());
    let catchup_entries = options.snapshot_catchup_entries;
    let keep = move || {
        run_keeper(StoreThread {
            keeper,
            disk,
            post: &to,
            progress: &progress,
            metrics: &counts,
            catchup_entries,
            next_look: Instant::now(),
            blind: false,
            short: false,
        });
    };
    spawn("store", Box::new(keep))?;
    Ok(Node(Arc::new(Inner {
        frontend,
        watches,
        lessor,
        clock,
        post,
        metrics,
        cold_reads: ColdReads::new(),
        read_budget: ReadBudget::new(),
        sorts: Semaphore::new(limits::RANGE_SORTS_MAX),
        quota_bytes_shown: match options.quota_bytes {
            0 => limits::QUOTA_BYTES_DEFAULT,
            given => given,
        },
        receiver,
        strict_reconfiguration: options.strict_reconfiguration,
        request_timeout: Duration::from_millis(
            limits::REQUEST_TIMEOUT_BASE_MS + 2 * options.election_ms,
        ),
        snapshot_turns: Turns::new(),
        threads: Mutex::new(threads),
        _lock: lock,
    })))
}

fn member_options(options: &Options) -> tenet_member::Options {
    let clock = SystemClock::new();
    let unix_ms = clock.unix_ms();
    tenet_member::Options {
        name: options.name.clone(),
        client_urls: options.advertise_client_urls.clone(),
        initial_cluster: options.initial_cluster.clone(),
        initial_cluster_token: options.initial_cluster_token.clone(),
        joins: options.joins,
        election_ticks: (options.election_ms / options.heartbeat_ms) as u32,
        tick_ms: options.heartbeat_ms,
        initial_tick_advance: options.initial_election_tick_advance,
        pre_vote: options.pre_vote,
        snapshot_count: options.snapshot_count,
        auto_compaction: options.auto_compaction,
        snapshot_catchup_entries: options.snapshot_catchup_entries,
        keep_segments: options.keep_segments,
        lease_checkpoints: options.lease_checkpoints,
        fast_lease_keep_alive: options.fast_lease_keep_alive,
        wal: tenet_wal::Options::default(),
        limits: Limits {
            request_bytes_max: options.request_bytes_max,
            txn_ops_max: options.txn_ops_max,
            quota_bytes: options.quota_bytes,
        },
        watch: WatchOptions {
            response_bytes_max: options.request_bytes_max + limits::GRPC_OVERHEAD_BYTES,
            progress_interval_ms: options.watch_progress_interval_ms,
            seed: unix_ms,
        },
        learners_max: options.learners_max,
        cluster_version: ETCD_CLUSTER_VERSION.to_owned(),
        unix_ms,
        // Members that start in the same millisecond differ by their ids, which enter too.
        seed: unix_ms,
    }
}

impl Node {
    /// Reads keys.
    ///
    /// # Errors
    /// As etcd's Range.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ApiError> {
        check_range(&request)?;
        if !request.serializable {
            self.read_barrier().await?;
        }
        self.0.metrics.ranges.add(1);
        match self.0.frontend.range_cached(&request).map_err(told)? {
            Some(response) => Ok(response),
            None => self.range_cold(request).await,
        }
    }

    /// A range whose values have to come from the medium, on a thread that may wait.
    async fn range_cold(&self, request: RangeRequest) -> Result<RangeResponse, ApiError> {
        let node = self.clone();
        let read = move || node.0.frontend.range(&request);
        self.0.cold_reads.run(read).await?.map_err(told)
    }

    /// Opens a session for one stream of watches.
    #[must_use]
    pub fn watch(&self) -> Watches {
        Watches::new(self.0.watches.open(), self.0.cold_reads.clone())
    }

    /// How many watches there are.
    #[must_use]
    pub fn watch_counts(&self) -> WatchCounts {
        self.0.watches.counts()
    }

    /// Puts a key.
    ///
    /// # Errors
    /// As etcd's Put.
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, ApiError> {
        match self.write(Write::Put(request)).await? {
            Response::Put(response) => {
                self.0.metrics.puts.add(1);
                Ok(response)
            }
            other => unexpected(&other),
        }
    }

    /// Deletes keys.
    ///
    /// # Errors
    /// As etcd's DeleteRange.
    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, ApiError> {
        match self.write(Write::DeleteRange(request)).await? {
            Response::DeleteRange(response) => {
                self.0.metrics.deletes.add(1);
                Ok(response)
            }
            other => unexpected(&other),
        }
    }

    /// Runs a transaction; one that only reads is not proposed.
    ///
    /// # Errors
    /// As etcd's Txn.
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, ApiError> {
        if is_read_only(&request) {
            check_txn(&request, self.0.frontend.limits().txn_ops_max)?;
            if !is_serializable(&request) {
                self.read_barrier().await?;
            }
            return self.read_txn(request).await;
        }
        match self.write(Write::Txn(request)).await? {
            Response::Txn(response) => {
                self.0.metrics.txns.add(1);
                Ok(response)
            }
            other => unexpected(&other),
        }
    }

    /// A transaction of reads: here if all it reads is in memory, else on a thread that may wait.
    async fn read_txn(&self, request: TxnRequest) -> Result<TxnResponse, ApiError> {
        let frontend = &self.0.frontend;
        if let Some(response) = frontend.read_txn_cached(&request).map_err(told)? {
            return Ok(response);
        }
        let node = self.clone();
        let read = move || node.0.frontend.read_txn(&request);
        self.0.cold_reads.run(read).await?.map_err(told)
    }

    /// Compacts; a physical compaction is awaited until the space is given back here.
    ///
    /// # Errors
    /// As etcd's Compact.
    pub async fn compact(
        &self,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, ApiError> {
        match self.write(Write::Compact(request)).await? {
            Response::Compaction(response) => Ok(response),
            other => unexpected(&other),
        }
    }

    /// Lists, raises or disarms alarms.
    ///
    /// # Errors
    /// As etcd's Alarm.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<AlarmResponse, ApiError> {
        match self.write(Write::Alarm(request)).await? {
            Response::Alarm(response) => Ok(response),
            other => unexpected(&other),
        }
    }

    /// Waits until background work is done: space of compacted revisions is given back as it goes.
    ///
    /// # Errors
    /// If the member stops meanwhile.
    pub async fn defragment(&self) -> Result<(), ApiError> {
        self.ask_applier(ApplyInput::Settle).await.map(|_| ())
    }

    /// The state of this member.
    pub fn status(&self) -> StatusResponse {
        let frontend = &self.0.frontend;
        let progress = frontend.progress();
        let view = frontend.views().load();
        let size = view.kv.size();
        let leader = progress.leader();
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push(ApiError::NoLeader.text().to_owned());
        }
        errors.extend(view.cluster.alarms.iter().map(alarm_text));
        StatusResponse {
            header: Some(frontend.header()),
            version: ETCD_VERSION.to_owned(),
            db_size: (size.db_bytes as i64).max(EMPTY_DB_BYTES),
            leader: leader.map_or(0, MemberId::get),
            raft_index: progress.committed().get(),
            raft_term: progress.term().get(),
            raft_applied_index: progress.applied().get(),
            errors,
            db_size_in_use: (size.db_in_use_bytes as i64).max(EMPTY_DB_BYTES),
            is_learner: progress.is_learner(),
            storage_version: ETCD_CLUSTER_VERSION.to_owned(),
            db_size_quota: self.0.quota_bytes_shown,
            downgrade_info: Some(view.cluster.downgrade.clone()),
        }
    }

    /// The hash of the key-values up to a revision.
    ///
    /// # Errors
    /// A compacted or future revision.
    pub async fn hash_kv(&self, request: HashKvRequest) -> Result<HashKvResponse, ApiError> {
        let node = self.clone();
        let hashed = tokio::task::spawn_blocking(move || node.0.frontend.hash_kv(&request));
        hashed.await.map_err(|_| ApiError::Stopped)?.map_err(told)
    }

    /// The hash of everything.
    ///
    /// # Errors
    /// If the member stops meanwhile.
    pub async fn hash(&self) -> Result<HashResponse, ApiError> {
        let (sender, receiver) = oneshot::channel();
        self.0
            .post
            .applier
            .push(Mail::Message(ApplyInput::Hash(TaskWaiter(sender))));
        let Ok(Ok(Outcome::Hash(job))) = receiver.await else {
            return Err(ApiError::Stopped);
        };
        let header = Some(self.0.frontend.header());
        let hash = tokio::task::spawn_blocking(move || job.run());
        Ok(HashResponse {
            header,
            hash: hash.await.map_err(|_| ApiError::Stopped)?,
        })
    }

    /// The members of the cluster.
    ///
    /// # Errors
    /// If a linearizable list is asked for and cannot be had.
    pub async fn member_list(
        &self,
        request: MemberListRequest,
    ) -> Result<MemberListResponse, ApiError> {
        if request.linearizable {
            self.read_barrier().await?;
        }
        let frontend = &self.0.frontend;
        let header = ResponseHeader {
            revision: 0,
            ..frontend.header()
        };
        Ok(MemberListResponse {
            header: Some(header),
            members: frontend
                .views()
                .load()
                .cluster
                .members
                .iter()
                .map(Into::into)
                .collect(),
        })
    }

    /// A header with this member's ids, the term and the newest revision.
    pub fn header(&self) -> ResponseHeader {
        self.0.frontend.header()
    }

    /// Who leads, if anybody is known to.
    pub fn leader(&self) -> Option<MemberId> {
        self.0.frontend.progress().leader()
    }

    /// Whether this member is a learner.
    pub fn is_learner(&self) -> bool {
        self.0.frontend.progress().is_learner()
    }

    /// The alarms that are raised.
    pub fn alarms(&self) -> Vec<AlarmMember> {
        self.0.frontend.views().load().cluster.alarms.clone()
    }

    /// The versions that this member reports.
    pub fn versions(&self) -> Versions {
        let cluster = self.0.frontend.views().load().cluster.cluster_version;
        Versions {
            server: ETCD_VERSION,
            cluster: cluster.map(|version| version.to_string()),
            storage: Some(ETCD_CLUSTER_VERSION.to_owned()),
        }
    }

    /// Who this member is.
    pub fn identity(&self) -> tenet_member::Identity {
        self.0.frontend.identity()
    }

    /// What this member counts.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The numbers of the running member.
    pub fn progress(&self) -> &tenet_member::Progress {
        self.0.frontend.progress()
    }

    pub(crate) fn receiver(&self) -> &Receiver {
        &self.0.receiver
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.0.frontend.next_id()
    }

    /// Whether a change of members is refused that could cost the cluster its quorum.
    pub(crate) fn strict_reconfiguration(&self) -> bool {
        self.0.strict_reconfiguration
    }

    /// How long a request may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// The newest published keys.
    pub(crate) fn newest(&self) -> Arc<View> {
        Arc::clone(&self.0.frontend.views().load().kv)
    }

    /// A header with a revision.
    pub(crate) fn header_at(&self, revision: Revision) -> ResponseHeader {
        self.0.frontend.header_at(revision)
    }

    pub(crate) fn cold_reads(&self) -> &ColdReads {
        &self.0.cold_reads
    }

    pub(crate) fn read_budget(&self) -> &ReadBudget {
        &self.0.read_budget
    }

    pub(crate) fn sorts(&self) -> &Semaphore {
        &self.0.sorts
    }

    pub(crate) fn request_bytes_max(&self) -> usize {
        self.0.frontend.limits().request_bytes_max
    }

    pub(crate) fn snapshot_turns(&self) -> &Turns {
        &self.0.snapshot_turns
    }

    pub(crate) fn lessor(&self) -> &Lessor<TaskWaiter> {
        &self.0.lessor
    }

    /// The time by which leases are counted.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.clock.monotonic_ms()
    }

    pub(crate) fn post(&self) -> &Post {
        &self.0.post
    }

    /// The published state, for metrics.
    pub fn views(&self) -> &tenet_state::StateViews {
        self.0.frontend.views()
    }

    /// Resolves when the member has published itself and serves; or when it cannot write for lack
    /// of space, and serves what it can.
    pub async fn ready(&self) {
        let progress = self.0.frontend.progress();
        let is_ready = || progress.is_published() || progress.log_is_waiting();
        while !is_ready() && !self.0.post.is_stopping() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stops the member: who waits is answered, the threads end.
    pub async fn stop(&self) {
        self.0.post.stop();
        let threads = std::mem::take(&mut *self.0.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A thread that panicked has said so; there is nothing to add.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }

    /// Waits until the newest published view holds everything that was acknowledged before.
    pub(crate) async fn read_barrier(&self) -> Result<(), ApiError> {
        if self.0.frontend.progress().reads_alone() {
            return Ok(());
        }
        match self.ask(Input::Read).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.0.metrics.read_indexes_failed.add(1);
                Err(error)
            }
        }
    }

    pub(crate) async fn write(&self, write: Write) -> Result<Response, ApiError> {
        let prepared = match self.0.frontend.prepare(write) {
            Ok(prepared) => prepared,
            Err(error) => {
                if error == ApiError::NoSpace {
                    self.raise_space_alarm();
                }
                return Err(error);
            }
        };
        let outcome = self
            .ask(|waiter| Input::Propose(Proposal { prepared, waiter }))
            .await;
        match outcome {
            Ok(Outcome::Applied(mut response)) => {
                self.0.frontend.complete(&mut response);
                Ok(response)
            }
            Ok(other) => unreachable!("a write was answered with {other:?}"),
            Err(error) => {
                self.0.metrics.proposals_failed.add(1);
                Err(error)
            }
        }
    }

    pub(crate) async fn ask(
        &self,
        make: impl FnOnce(TaskWaiter) -> Input<TaskWaiter>,
    ) -> Result<Outcome, ApiError> {
        if self.0.post.is_stopping() {
            return Err(ApiError::Stopped);
        }
        let (sender, receiver) = oneshot::channel();
        self.0.post.request(make(TaskWaiter(sender)));
        receiver.await.unwrap_or(Err(ApiError::Stopped))
    }

    pub(crate) async fn ask_applier(
        &self,
        make: impl FnOnce(TaskWaiter) -> ApplyInput<TaskWaiter>,
    ) -> Result<Outcome, ApiError> {
        let (sender, receiver) = oneshot::channel();
        self.0
            .post
            .applier
            .push(Mail::Message(make(TaskWaiter(sender))));
        receiver.await.unwrap_or(Err(ApiError::Stopped))
    }

    /// The quota is reached: the whole cluster is to know. Nobody waits for it.
    fn raise_space_alarm(&self) {
        let frontend = &self.0.frontend;
        if frontend.has_space_alarm() {
            return;
        }
        let alarm = AlarmRequest {
            action: alarm_request::AlarmAction::Activate.into(),
            member_id: frontend.identity().member.get(),
            alarm: AlarmType::Nospace.into(),
        };
        if let Ok(prepared) = frontend.prepare(Write::Alarm(alarm)) {
            let waiter = TaskWaiter(oneshot::channel().0);
            self.0
                .post
                .request(Input::Propose(Proposal { prepared, waiter }));
        }
    }
}

/// What a client is told of a read that failed. What the store says is for the operator.
pub(crate) fn told(error: CannotRead) -> ApiError {
    if let CannotRead::Store(error) = &error {
        tracing::error!(%error, "a value cannot be read");
    }
    error.into()
}

pub(crate) fn unexpected<T>(response: &Response) -> Result<T, ApiError> {
    unreachable!(
        "the state machine answered one request with the response of another: {response:?}"
    )
}

/// The text form of protobuf, as etcd shows alarms in Status.
fn alarm_text(alarm: &AlarmMember) -> String {
    format!(
        "memberID:{} alarm:{}",
        alarm.member_id,
        alarm.alarm().as_str_name()
    )
}
