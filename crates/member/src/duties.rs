//! What a member proposes on its own account: its published attributes, the cluster version when
//! there is none and no other member, the alarms when the quota is reached, space runs out or the
//! store is damaged, and automatic compactions.
//!
//! None of it has a waiter. A proposal that is lost with its leader is made again when the next
//! term begins; the attributes, which are sent to the leader as a message that may be lost, also
//! when they have not come back for a while.

use crate::compactor::{Compactor, Retention};
use crate::identity::RequestIds;
use crate::messages::Input;
use crate::progress::Progress;
use std::sync::Arc;
use tenet_base::{MemberId, Revision};
use tenet_proto::etcdserverpb::alarm_request::AlarmAction;
use tenet_proto::etcdserverpb::{AlarmRequest, AlarmType, CompactionRequest, InternalRaftRequest};
use tenet_proto::membershippb::{
    Attributes, ClusterMemberAttrSetRequest, ClusterVersionSetRequest,
};
use tenet_proto::prost::Message as _;
use tenet_state::Applied;

/// With a leader known for so long the attributes are proposed.
const PUBLISH_WAIT_MS: u64 = 300;
/// After so long without coming back they are proposed again.
const PUBLISH_RETRY_MS: u64 = 7_000;

/// See the module.
#[derive(Debug)]
pub struct Duties {
    member: MemberId,
    attributes: Attributes,
    /// The cluster version to set when there is none, as `X.Y.0`.
    cluster_version: String,
    ids: Arc<RequestIds>,
    publication: Option<u64>,
    /// When the attributes are proposed again.
    publish_ms: Option<u64>,
    alarm_proposed: bool,
    compactor: Option<Compactor>,
}

impl Duties {
    /// The duties of `member`, which is to be published under `attributes`.
    pub fn new(
        member: MemberId,
        attributes: Attributes,
        cluster_version: &str,
        ids: Arc<RequestIds>,
        auto_compaction: Option<Retention>,
    ) -> Self {
        Duties {
            member,
            attributes,
            cluster_version: cluster_version.to_owned(),
            ids,
            publication: None,
            publish_ms: None,
            alarm_proposed: false,
            compactor: auto_compaction.map(Compactor::new),
        }
    }

    /// Time has come to `now_ms`, and the store to `revision`. Gives the revision of an automatic
    /// compaction that was proposed.
    pub(crate) fn time<W>(
        &mut self,
        now_ms: u64,
        revision: Revision,
        progress: &Progress,
        inputs: &mut Vec<Input<W>>,
    ) -> Option<Revision> {
        if !progress.is_published() && progress.leader().is_some() {
            let wait_ms = match self.publication {
                Some(_) => PUBLISH_RETRY_MS,
                // Usually the first entry of a term comes before that. It may be in a snapshot.
                None => PUBLISH_WAIT_MS,
            };
            let due_ms = *self.publish_ms.get_or_insert(now_ms + wait_ms);
            if now_ms >= due_ms {
                self.publish_ms = None;
                self.publish(inputs);
            }
        }
        let leads = progress.leader() == Some(self.member);
        let compactor = self.compactor.as_mut()?;
        let at = compactor.tick(now_ms, revision.get(), leads)?;
        let request = InternalRaftRequest {
            compaction: Some(Box::new(CompactionRequest {
                revision: at,
                physical: false,
            })),
            ..InternalRaftRequest::default()
        };
        inputs.push(self.propose(request).1);
        Some(Revision(at))
    }

    /// A leader has committed the first entry of its term.
    pub(crate) fn term_began<W>(
        &mut self,
        sets_cluster_version: bool,
        progress: &Progress,
        inputs: &mut Vec<Input<W>>,
    ) {
        self.alarm_proposed = false;
        if !progress.is_published() {
            self.publish(inputs);
        }
        if progress.leader() == Some(self.member) && sets_cluster_version {
            let ver = self.cluster_version.clone();
            let request = InternalRaftRequest {
                cluster_version_set: Some(Box::new(ClusterVersionSetRequest { ver })),
                ..InternalRaftRequest::default()
            };
            inputs.push(self.propose(request).1);
        }
    }

    fn publish<W>(&mut self, inputs: &mut Vec<Input<W>>) {
        let (id, input) = self.propose(InternalRaftRequest {
            cluster_member_attr_set: Some(Box::new(ClusterMemberAttrSetRequest {
                member_id: self.member.get(),
                member_attributes: Some(self.attributes.clone()),
            })),
            ..InternalRaftRequest::default()
        });
        self.publication = Some(id);
        inputs.push(input);
    }

    /// A request was applied.
    pub(crate) fn applied<W>(
        &mut self,
        request: &InternalRaftRequest,
        applied: &Applied,
        progress: &Progress,
        inputs: &mut Vec<Input<W>>,
    ) {
        let own = self.publication.is_some()
            && request.header.as_ref().map(|header| header.id) == self.publication;
        if own && request.cluster_member_attr_set.is_some() {
            progress.set_published();
        }
        if applied.wants_alarm {
            self.raise(AlarmType::Nospace, inputs);
        }
        if request.alarm.is_some() {
            self.alarm_proposed = false;
        }
    }

    /// Proposes an alarm of this member, one at a time: when it is applied, whoever still wants
    /// one asks again.
    pub(crate) fn raise<W>(&mut self, alarm: AlarmType, inputs: &mut Vec<Input<W>>) {
        if std::mem::replace(&mut self.alarm_proposed, true) {
            return;
        }
        let request = InternalRaftRequest {
            alarm: Some(Box::new(AlarmRequest {
                action: AlarmAction::Activate.into(),
                member_id: self.member.get(),
                alarm: alarm.into(),
            })),
            ..InternalRaftRequest::default()
        };
        inputs.push(self.propose(request).1);
    }

    fn propose<W>(&self, mut request: InternalRaftRequest) -> (u64, Input<W>) {
        let header = self.ids.header();
        let id = header.id;
        request.header = Some(header);
        (id, Input::ProposeOwn(request.encode_to_vec().into()))
    }
}
