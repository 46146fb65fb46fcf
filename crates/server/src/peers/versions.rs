//! The version of the cluster: the lowest of its members, as the leader sees it (etcd looks every
//! four seconds).

use super::Peers;
use std::sync::Arc;
use std::time::Duration;
use tenet_state::Version;

const INTERVAL: Duration = Duration::from_secs(4);
/// As long as the cluster has no version, since much waits for one.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// Looks after the version as long as the member runs.
pub(super) async fn look_after(peers: Arc<Peers>) {
    loop {
        let known = peers.node.views().load().cluster.cluster_version;
        let undecided = known.is_none_or(|version| version == Version::LOWEST);
        tokio::time::sleep(if undecided { FIRST_INTERVAL } else { INTERVAL }).await;
        let leads = peers.node.leader() == Some(peers.node.identity().member);
        let several = peers.node.views().load().cluster.members.len() > 1;
        if leads && several {
            decide(&peers).await;
        }
    }
}

async fn decide(peers: &Peers) {
    let view = peers.node.views().load();
    let known = view.cluster.cluster_version;
    let mut lowest = Some(Version::CLUSTER_MAX);
    for member in &view.cluster.members {
        if member.id == peers.node.identity().member {
            continue;
        }
        let versions = peers.client.versions(&peers.urls_of(member.id)).await;
        let version = versions.ok().and_then(|v| Version::of_cluster(&v.server));
        lowest = lowest.zip(version).map(|(a, b)| a.min(b));
    }
    let decided = match (known, lowest) {
        // Until all have answered, the lowest that any could have.
        (None, None) => Version::LOWEST,
        (None, Some(lowest)) => lowest,
        (Some(known), Some(lowest)) if lowest > known => lowest,
        _ => return,
    };
    tracing::info!(version = %decided, "setting the version of the cluster");
    peers.node.propose_cluster_version(&decided.to_string());
}
