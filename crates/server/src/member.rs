//! A running member behind the transports' [`Api`]: what is configured becomes what it is told,
//! what it counts becomes etcd's metrics.

use crate::api::{Api, Chunks, Versions};
use crate::config::ServerConfig;
use crate::metrics::Page;
use std::future::Future;
use tenet_base::{Index, MemberId};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb as pb;
use tenet_runtime::{Founder, Node, Options, RangeStream};

impl Chunks for RangeStream {
    fn next(&mut self) -> Option<Result<pb::RangeResponse, ApiError>> {
        Iterator::next(self)
    }
}

type Reply<T> = Result<T, ApiError>;

impl Api for Node {
    type Chunks = RangeStream;

    fn range(
        &self,
        request: pb::RangeRequest,
    ) -> impl Future<Output = Reply<pb::RangeResponse>> + Send {
        Node::range(self, request)
    }

    fn range_stream(
        &self,
        request: pb::RangeRequest,
    ) -> impl Future<Output = Reply<RangeStream>> + Send {
        Node::range_stream(self, request)
    }

    fn put(&self, request: pb::PutRequest) -> impl Future<Output = Reply<pb::PutResponse>> + Send {
        Node::put(self, request)
    }

    fn delete_range(
        &self,
        request: pb::DeleteRangeRequest,
    ) -> impl Future<Output = Reply<pb::DeleteRangeResponse>> + Send {
        Node::delete_range(self, request)
    }

    fn txn(&self, request: pb::TxnRequest) -> impl Future<Output = Reply<pb::TxnResponse>> + Send {
        Node::txn(self, request)
    }

    fn compact(
        &self,
        request: pb::CompactionRequest,
    ) -> impl Future<Output = Reply<pb::CompactionResponse>> + Send {
        Node::compact(self, request)
    }

    fn alarm(
        &self,
        request: pb::AlarmRequest,
    ) -> impl Future<Output = Reply<pb::AlarmResponse>> + Send {
        Node::alarm(self, request)
    }

    fn hash(&self) -> impl Future<Output = Reply<pb::HashResponse>> + Send {
        Node::hash(self)
    }

    fn hash_kv(
        &self,
        request: pb::HashKvRequest,
    ) -> impl Future<Output = Reply<pb::HashKvResponse>> + Send {
        Node::hash_kv(self, request)
    }

    fn member_list(
        &self,
        request: pb::MemberListRequest,
    ) -> impl Future<Output = Reply<pb::MemberListResponse>> + Send {
        Node::member_list(self, request)
    }

    fn defragment(&self) -> impl Future<Output = Reply<()>> + Send {
        Node::defragment(self)
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

    fn position(&self) -> (MemberId, Index) {
        (self.identity().member, self.progress().applied())
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

/// What a member is told, from what is configured. The first members are asked for only where
/// there is no data yet, as on a restart the flags about the cluster are not looked at.
///
/// # Errors
/// If this member cannot be part of a new cluster: the lines to be logged before the end.
pub(crate) fn options(config: &ServerConfig) -> Result<Options, Vec<tenet_cli::log::Entry>> {
    let data_dir = config.data_dir.clone();
    let fresh = !tenet_runtime::has_log(&data_dir, config.wal_dir.as_deref());
    let mut initial_cluster = Vec::new();
    if fresh {
        for (name, urls) in config.bootstrap()?.members {
            let peer_urls = urls.iter().map(ToString::to_string).collect();
            initial_cluster.push(Founder { name, peer_urls });
        }
    }
    Ok(Options {
        name: config.name.clone(),
        data_dir,
        wal_dir: config.wal_dir.clone(),
        advertise_client_urls: config
            .advertise_client_urls
            .iter()
            .map(ToString::to_string)
            .collect(),
        initial_cluster,
        initial_cluster_token: config.initial_cluster_token.clone(),
        snapshot_count: config.snapshot_count,
        snapshot_catchup_entries: config.snapshot_catchup_entries,
        keep_segments: config.max_wals.unwrap_or(usize::MAX),
        heartbeat_ms: config.heartbeat_ms,
        election_ms: config.election_timeout_ms,
        initial_election_tick_advance: config.initial_election_tick_advance,
        pre_vote: config.pre_vote,
        quota_bytes: config.quota_backend_bytes,
        request_bytes_max: config.max_request_bytes,
        txn_ops_max: config.max_txn_ops,
        learners_max: tenet_base::limits::LEARNERS_MAX,
        slow_apply: config.warning_apply,
        unsafe_no_fsync: config.unsafe_no_fsync,
    })
}

fn collect(node: &Node, page: &mut Page) {
    collect_server(node, page);
    collect_store(node, page);
    collect_disk(node, page);
}

fn collect_server(node: &Node, page: &mut Page) {
    let (progress, metrics) = (node.progress(), node.metrics());
    let own = node.identity().member;
    let flag = |set: bool| if set { 1.0 } else { 0.0 };
    let leader = progress.leader();
    let number = |n: u64| n as f64;
    page.gauge(
        "etcd_server_has_leader",
        "Whether this member knows a leader.",
        flag(leader.is_some()),
    );
    page.gauge(
        "etcd_server_is_leader",
        "Whether this member leads.",
        flag(leader == Some(own)),
    );
    page.gauge(
        "etcd_server_is_learner",
        "Whether this member is a learner.",
        flag(progress.is_learner()),
    );
    page.counter(
        "etcd_server_leader_changes_seen_total",
        "How often another leader was seen.",
        progress.leader_changes(),
    );
    page.gauge(
        "etcd_server_proposals_committed_total",
        "Index of the last committed entry.",
        number(progress.committed().get()),
    );
    page.gauge(
        "etcd_server_proposals_applied_total",
        "Index of the last applied entry.",
        number(progress.applied().get()),
    );
    page.gauge(
        "etcd_server_proposals_pending",
        "Proposals that wait for their answer.",
        progress.proposals_in_flight() as f64,
    );
    page.counter(
        "etcd_server_proposals_failed_total",
        "Proposals that were refused or timed out.",
        metrics.proposals_failed.get(),
    );
    page.counter(
        "etcd_server_read_indexes_failed_total",
        "Linearizable reads that found no leader in time.",
        metrics.read_indexes_failed.get(),
    );
    page.counter(
        "etcd_server_slow_apply_total",
        "Stretches of entries that took longer to apply than --warning-apply-duration.",
        metrics.slow_applies.get(),
    );
    page.gauge(
        "etcd_server_quota_backend_bytes",
        "The storage quota; negative for none.",
        node.status().db_size_quota as f64,
    );
    let versions = Node::versions(node);
    page.gauges("etcd_server_version", "The version of etcd whose surface is served.")
        .row(&[("server_version", versions.server)], 1.0);
    page.gauges("etcd_server_id", "This member.")
        .row(&[("server_id", &own.to_string())], 1.0);
    if let Some(cluster) = versions.cluster {
        let minor = cluster.rsplit_once('.').map_or(cluster.as_str(), |(minor, _)| minor);
        page.gauges("etcd_cluster_version", "The version that the cluster agreed on.")
            .row(&[("cluster_version", minor)], 1.0);
    }
}

fn collect_store(node: &Node, page: &mut Page) {
    let metrics = node.metrics();
    let view = node.views().load();
    let size = view.kv.size();
    page.gauge(
        "etcd_mvcc_db_total_size_in_bytes",
        "Bytes that the store takes.",
        size.db_bytes as f64,
    );
    page.gauge(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Bytes of the store that are reachable at some revision.",
        size.db_in_use_bytes as f64,
    );
    page.counter("etcd_mvcc_range_total", "Ranges.", metrics.ranges.get());
    page.counter("etcd_mvcc_put_total", "Puts.", metrics.puts.get());
    page.counter("etcd_mvcc_delete_total", "Deletions of ranges.", metrics.deletes.get());
    page.counter("etcd_mvcc_txn_total", "Transactions that wrote.", metrics.txns.get());
    page.gauge(
        "etcd_debugging_mvcc_current_revision",
        "The current revision.",
        view.kv.revision().get() as f64,
    );
    page.gauge(
        "etcd_debugging_mvcc_compact_revision",
        "The compact revision; -1 before the first compaction.",
        view.kv.compact_revision().map_or(-1.0, |revision| revision.get() as f64),
    );
    page.gauge(
        "etcd_debugging_mvcc_keys_total",
        "Live keys.",
        live_keys(&view.kv) as f64,
    );
    page.gauge(
        "etcd_debugging_auth_revision",
        "The revision of users, roles and permissions.",
        view.cluster.auth_revision as f64,
    );
}

/// The count of everything, which the index keeps: no key is visited.
fn live_keys(view: &tenet_mvcc::View) -> i64 {
    let everything = pb::RangeRequest {
        key: bytes::Bytes::from_static(b"\0"),
        range_end: bytes::Bytes::from_static(b"\0"),
        count_only: true,
        ..pb::RangeRequest::default()
    };
    view.range(&everything).map_or(0, |result| result.count)
}

fn collect_disk(node: &Node, page: &mut Page) {
    let disk = &node.metrics().disk;
    page.histogram(
        "etcd_disk_wal_fsync_duration_seconds",
        "Time of each sync of the log.",
        &[],
        disk.wal_sync.histogram(),
    );
    page.gauge(
        "etcd_disk_wal_write_bytes_total",
        "Bytes written to the log.",
        disk.wal_bytes.get() as f64,
    );
}
