//! The readers' half of the state.

use crate::tables::Tables;
use crate::{Member, Version};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tenet_base::MemberId;
use tenet_mvcc::View;
use tenet_proto::etcdserverpb::{AlarmMember, DowngradeInfo};
use tenet_proto::raftpb::ConfState;

/// Where readers get the newest published [`StateView`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StateViews(pub(crate) Arc<ArcSwap<StateView>>);

impl StateViews {
    /// The newest published state. Waits for nobody.
    #[must_use]
    pub fn load(&self) -> Arc<StateView> {
        self.0.load_full()
    }
}

/// An immutable state, as of one applied entry: keys and small tables of the same moment.
#[derive(Clone, Debug)]
pub struct StateView {
    /// The keys; also says which entry this is.
    pub kv: Arc<View>,
    /// The small tables, as far as readers ask for them.
    pub cluster: Arc<ClusterView>,
}

/// What readers see of the small tables.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    /// The members, by id.
    pub members: Vec<Member>,
    /// The ids of members that were removed, ascending; they may not come back.
    pub removed: Vec<MemberId>,
    /// The raft configuration.
    pub conf_state: ConfState,
    /// The alarms, by kind and member.
    pub alarms: Vec<AlarmMember>,
    /// The version that the cluster agreed on, if it did yet.
    pub cluster_version: Option<Version>,
    /// Whether the cluster is on its way to a lower version, and to which.
    pub downgrade: DowngradeInfo,
    /// How often users, roles and permissions have changed, plus one.
    pub auth_revision: u64,
    /// How many leases there are.
    pub leases: usize,
}

impl ClusterView {
    pub(crate) fn of(tables: &Tables) -> Self {
        ClusterView {
            members: tables.members.iter().cloned().collect(),
            removed: tables.members.removed().collect(),
            conf_state: tables.conf_state.clone(),
            alarms: tables.alarms.all(),
            cluster_version: tables.cluster_version,
            downgrade: tables.downgrade.clone().unwrap_or_default(),
            auth_revision: tables.auth.revision(),
            leases: tables.leases.len(),
        }
    }
}
