//! The running member as the transports' [`Api`], and its metrics by etcd's names.

use crate::api::{
    Answer, Api, LongAnswer, Pulled, RangeAnswer, RangeChunks, SnapshotMessages, Versions,
    WatchStream,
};
use crate::metrics::Page;
use bytes::Bytes;
use std::future::Future;
use std::task::Waker;
use std::time::{SystemTime, UNIX_EPOCH};
use tenet_base::ids::{Index, MemberId, Revision, Term};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
use tenet_runtime::{Node, RangeStream, SnapshotStream, Watches};

impl Api for Node {
    type Long = Box<tenet_runtime::LongAnswer>;
    type Chunks = RangeStream;
    type Watches = Watches;
    type Snapshot = SnapshotStream;

    async fn range(&self, request: pb::RangeRequest) -> Result<pb::RangeResponse, ApiError> {
        Node::range(self, request).await
    }

    fn open_range(&self, request: pb::RangeRequest) -> impl Answer<RangeAnswer<Self::Long>> {
        Node::open_range(self, request)
    }

    async fn range_stream(&self, request: pb::RangeRequest) -> Result<RangeStream, ApiError> {
        Node::range_stream(self, request).await
    }

    async fn put(&self, request: pb::PutRequest) -> Result<pb::PutResponse, ApiError> {
        Node::put(self, request).await
    }

    async fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, ApiError> {
        Node::delete_range(self, request).await
    }

    async fn txn(&self, request: pb::TxnRequest) -> Result<pb::TxnResponse, ApiError> {
        Node::txn(self, request).await
    }

    async fn compact(
        &self,
        request: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, ApiError> {
        Node::compact(self, request).await
    }

    async fn lease_grant(
        &self,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, ApiError> {
        Node::lease_grant(self, request).await
    }

    async fn lease_revoke(
        &self,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, ApiError> {
        Node::lease_revoke(self, request).await
    }

    async fn lease_time_to_live(
        &self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, ApiError> {
        Node::lease_time_to_live(self, request).await
    }

    async fn lease_leases(&self) -> Result<pb::LeaseLeasesResponse, ApiError> {
        Node::lease_leases(self).await
    }

    async fn lease_keep_alive(
        &self,
        request: pb::LeaseKeepAliveRequest,
    ) -> Result<pb::LeaseKeepAliveResponse, ApiError> {
        Node::lease_keep_alive(self, request).await
    }

    fn watch(&self) -> Watches {
        Node::watch(self)
    }

    async fn alarm(&self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, ApiError> {
        Node::alarm(self, request).await
    }

    async fn hash(&self) -> Result<pb::HashResponse, ApiError> {
        Node::hash(self).await
    }

    async fn hash_kv(&self, request: pb::HashKvRequest) -> Result<pb::HashKvResponse, ApiError> {
        Node::hash_kv(self, request).await
    }

    async fn member_list(
        &self,
        request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, ApiError> {
        Node::member_list(self, request).await
    }

    async fn member_add(
        &self,
        request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, ApiError> {
        check_urls(&request.peer_urls)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Node::member_add(self, request, now.unwrap_or_default().as_secs()).await
    }

    async fn member_remove(
        &self,
        request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, ApiError> {
        Node::member_remove(self, request).await
    }

    async fn member_update(
        &self,
        request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, ApiError> {
        check_urls(&request.peer_urls)?;
        Node::member_update(self, request).await
    }

    async fn member_promote(
        &self,
        request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, ApiError> {
        Node::member_promote(self, request).await
    }

    async fn move_leader(
        &self,
        request: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, ApiError> {
        if Node::leader(self) != Some(self.identity().member) {
            return Err(ApiError::NotLeader);
        }
        let to = MemberId(request.target_id);
        self.transfer_leadership(Some(to)).await?;
        Ok(pb::MoveLeaderResponse {
            header: Some(self.header()),
        })
    }

    async fn defragment(&self) -> Result<(), ApiError> {
        Node::defragment(self).await
    }

    async fn snapshot(&self) -> Result<SnapshotStream, ApiError> {
        Node::snapshot(self).await
    }

    fn status(&self) -> pb::StatusResponse {
        Node::status(self)
    }

    fn leader(&self) -> Option<MemberId> {
        Node::leader(self)
    }

    fn is_learner(&self) -> bool {
        Node::is_learner(self)
    }

    fn alarms(&self) -> Vec<pb::AlarmMember> {
        Node::alarms(self)
    }

    fn versions(&self) -> Versions {
        let versions = Node::versions(self);
        Versions {
            server: versions.server.to_owned(),
            cluster: versions.cluster,
            storage: versions.storage.unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    fn position(&self) -> (MemberId, Term, Index) {
        let progress = self.progress();
        (
            MemberId(self.header().member_id),
            progress.term(),
            progress.applied(),
        )
    }

    fn collect(&self, page: &mut Page) {
        collect(self, page);
    }

    fn ready(&self) -> impl Future<Output = ()> + Send {
        Node::ready(self)
    }

    fn stop(&self) -> impl Future<Output = ()> + Send {
        Node::stop(self)
    }
}

/// Peer URLs as etcd takes them: one at least, and each with scheme, host and port alone.
fn check_urls(urls: &[String]) -> Result<(), ApiError> {
    let sound = |url: &String| tenet_peer::PeerUrl::parse(url).is_ok();
    match !urls.is_empty() && urls.iter().all(sound) {
        true => Ok(()),
        false => Err(ApiError::MemberBadUrls),
    }
}

impl LongAnswer for tenet_runtime::LongAnswer {
    fn around(&self) -> &pb::RangeResponse {
        tenet_runtime::LongAnswer::around(self)
    }

    fn kvs_bytes(&self) -> u64 {
        tenet_runtime::LongAnswer::kvs_bytes(self)
    }

    async fn next(&mut self, bytes_max: usize) -> Result<Bytes, ApiError> {
        tenet_runtime::LongAnswer::next(self, bytes_max).await
    }
}

impl RangeChunks for RangeStream {
    type Long = Box<tenet_runtime::LongAnswer>;

    async fn next(&mut self) -> Option<Result<Self::Long, ApiError>> {
        let chunk = RangeStream::next(self).await?;
        Some(chunk.map(Box::new))
    }
}

impl SnapshotMessages for SnapshotStream {
    async fn next(&mut self) -> Option<Result<pb::SnapshotResponse, String>> {
        SnapshotStream::next(self).await
    }
}

impl WatchStream for Watches {
    fn takes_requests(&self) -> bool {
        Watches::takes_requests(self)
    }

    fn request(&mut self, request: pb::WatchRequest) {
        Watches::request(self, request);
    }

    fn pull(
        &mut self,
        waker: &Waker,
        budget_bytes: usize,
        out: &mut Vec<Bytes>,
    ) -> Result<Pulled, ApiError> {
        pulled(Watches::pull(self, waker, budget_bytes, out))
    }

    async fn pull_waiting(self, budget_bytes: usize) -> Result<(Self, Vec<Bytes>), ApiError> {
        let (watches, out, rest) = Watches::pull_waiting(self, budget_bytes).await?;
        pulled(rest)?;
        Ok((watches, out))
    }
}

fn pulled(rest: tenet_runtime::Pulled) -> Result<Pulled, ApiError> {
    match rest {
        tenet_runtime::Pulled::All => Ok(Pulled::All),
        tenet_runtime::Pulled::Part => Ok(Pulled::Part),
        tenet_runtime::Pulled::Cold => Ok(Pulled::Cold),
        tenet_runtime::Pulled::Unreadable(error) => {
            tracing::error!(%error, "a watch cannot read the history");
            Err(ApiError::Corrupt)
        }
    }
}

/// Writes the member's families. What etcd has and we do not count yet is left out.
fn collect(node: &Node, page: &mut Page) {
    let progress = node.progress();
    let status = node.status();
    let header = node.header();
    let is_leader = status.leader == header.member_id;
    let flag = |flag: bool| f64::from(u8::from(flag));
    page.gauge(
        "etcd_server_has_leader",
        "Whether a leader is known.",
        flag(status.leader != 0),
    );
    page.gauge(
        "etcd_server_is_leader",
        "Whether this member leads.",
        flag(is_leader),
    );
    page.gauge(
        "etcd_server_is_learner",
        "Whether it has no vote.",
        flag(status.is_learner),
    );
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "Changes of the known leader.",
        progress.leader_changes(),
    );
    for (name, help, value) in [
        (
            "etcd_server_proposals_committed_total",
            "Index up to which entries are committed.",
            status.raft_index as f64,
        ),
        (
            "etcd_server_proposals_applied_total",
            "Index up to which entries are applied.",
            status.raft_applied_index as f64,
        ),
        (
            "etcd_server_proposals_pending",
            "Writes that wait for their result.",
            progress.proposals_in_flight() as f64,
        ),
        (
            "etcd_server_quota_backend_bytes",
            "Bytes of storage at which writes are refused.",
            status.db_size_quota as f64,
        ),
        (
            "etcd_mvcc_db_total_size_in_bytes",
            "Bytes stored.",
            status.db_size as f64,
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "Bytes stored that are needed.",
            status.db_size_in_use as f64,
        ),
        (
            "etcd_debugging_mvcc_current_revision",
            "The newest revision.",
            header.revision as f64,
        ),
    ] {
        page.gauge(name, help, value);
    }
    collect_state(node, page, MemberId(header.member_id));
    collect_counts(node, page);
    collect_watches(node, page);
    collect_leases(node, page);
    collect_names(node, page, header.member_id);
}

fn collect_leases(node: &Node, page: &mut Page) {
    let counts = node.lease_counts();
    for (name, help, counter) in [
        (
            "etcd_debugging_lease_granted_total",
            "Leases granted.",
            &counts.granted,
        ),
        (
            "etcd_debugging_lease_revoked_total",
            "Leases revoked.",
            &counts.revoked,
        ),
        (
            "etcd_debugging_lease_renewed_total",
            "Renewals seen by the leader.",
            &counts.renewed,
        ),
        (
            "etcd_debugging_server_lease_expired_total",
            "Leases whose time was over.",
            &counts.expired,
        ),
    ] {
        page.counter(name, help, counter.get());
    }
    let name = "etcd_debugging_lease_ttl_total";
    page.histogram(name, "Granted times to live.", &[], &counts.ttl_s);
}

/// What is in the store and its small tables.
fn collect_state(node: &Node, page: &mut Page, local: MemberId) {
    let state = node.views().load();
    // Counting all keys costs no more than finding one.
    let everything = pb::RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        count_only: true,
        ..pb::RangeRequest::default()
    };
    if let Ok(counted) = state.kv.range(&everything) {
        let name = "etcd_debugging_mvcc_keys_total";
        page.gauge(name, "Keys that exist.", counted.count as f64);
    }
    let compacted = state.kv.compact_revision().map_or(-1, Revision::get);
    let name = "etcd_debugging_mvcc_compact_revision";
    page.gauge(
        name,
        "The last compacted revision, -1 for none.",
        compacted as f64,
    );
    let auth = state.cluster.auth_revision;
    page.gauge(
        "etcd_debugging_auth_revision",
        "Changes of users and roles.",
        auth as f64,
    );
    let local = local.to_string();
    let mut peers: Vec<_> = state
        .cluster
        .members
        .iter()
        .map(|m| m.id.to_string())
        .collect();
    peers.sort();
    let mut rows = page.gauges("etcd_network_known_peers", "Members of the cluster.");
    for peer in &peers {
        rows.row(&[("Local", &local), ("Remote", peer)], 1.0);
    }
}

fn collect_counts(node: &Node, page: &mut Page) {
    let metrics = node.metrics();
    for (name, help, counter) in [
        ("etcd_mvcc_put_total", "Puts applied.", &metrics.puts),
        (
            "etcd_mvcc_delete_total",
            "Deletes applied.",
            &metrics.deletes,
        ),
        (
            "etcd_mvcc_txn_total",
            "Transactions of several operations applied.",
            &metrics.txns,
        ),
        ("etcd_mvcc_range_total", "Ranges read.", &metrics.ranges),
        (
            "etcd_server_proposals_failed_total",
            "Writes that were refused or timed out.",
            &metrics.proposals_failed,
        ),
        (
            "etcd_server_slow_apply_total",
            "Stretches of applying that took long.",
            &metrics.slow_applies,
        ),
        (
            "etcd_server_read_indexes_failed_total",
            "Reads that could not be confirmed.",
            &metrics.read_indexes_failed,
        ),
        (
            "tenet_store_scrubbed_bytes_total",
            "Bytes of the store that were read back from the disk and checked.",
            &metrics.scrubbed_bytes,
        ),
        (
            "tenet_store_damages_found_total",
            "Places on the disk where that found something else than was written.",
            &metrics.damages_found,
        ),
    ] {
        page.counter(name, help, counter.get());
    }
    let name = "etcd_disk_wal_fsync_duration_seconds";
    let syncs = metrics.disk.wal_sync.histogram();
    page.histogram(name, "Time of a sync of the log.", &[], syncs);
    page.histogram(
        "etcd_disk_backend_snapshot_duration_seconds",
        "Time of a snapshot for a client.",
        &[],
        metrics.snapshots.histogram(),
    );
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the log.",
        metrics.disk.wal_bytes.get() as f64,
    );
}

fn collect_watches(node: &Node, page: &mut Page) {
    let counts = node.watch_counts();
    page.counter(
        "etcd_debugging_mvcc_events_total",
        "Events sent to watches.",
        counts.events,
    );
    for (name, help, count) in [
        (
            "etcd_debugging_mvcc_pending_events_total",
            "Changes that wait to be sent to a watch.",
            counts.waiting,
        ),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watches that read the history to catch up.",
            counts.lagging,
        ),
        (
            "etcd_debugging_mvcc_watch_stream_total",
            "Open watch streams.",
            counts.sessions,
        ),
        (
            "etcd_debugging_mvcc_watcher_total",
            "Watches.",
            counts.watches,
        ),
    ] {
        page.gauge(name, help, count as f64);
    }
}

fn collect_names(node: &Node, page: &mut Page, member: u64) {
    let versions = node.versions();
    page.gauges(
        "etcd_server_version",
        "The version that is reported, always 1.",
    )
    .row(&[("server_version", versions.server)], 1.0);
    let id = MemberId(member).to_string();
    page.gauges("etcd_server_id", "This member, always 1.")
        .row(&[("server_id", &id)], 1.0);
    if let Some(cluster) = versions.cluster {
        // Major and minor alone, as etcd shows it.
        let short = cluster
            .rsplit_once('.')
            .map_or(&*cluster, |(short, _)| short);
        page.gauges(
            "etcd_cluster_version",
            "The version of the cluster, always 1.",
        )
        .row(&[("cluster_version", short)], 1.0);
    }
}
