//! A member among others: what it is told by them, what it tells them, and changes of who they are.
//!
//! Whoever carries messages is an [`Outlet`], given after the start; until then nothing goes out,
//! which is as if it got lost. Messages that come in wait for the consensus thread up to a bound;
//! beyond it they count as lost, too.

use crate::node::Node;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::{LeaseId, MemberId, limits};
use tenet_bolt::{Source, SourceError};
use tenet_member::{ApplyInput, Change, Input, Outcome, SnapshotFile, Surroundings, TakeInError};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{
    InternalRaftRequest, LeaseTimeToLiveResponse, Member as PbMember, MemberAddRequest,
    MemberAddResponse, MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest,
    MemberRemoveResponse, MemberUpdateRequest, MemberUpdateResponse, RequestHeader, ResponseHeader,
};
use tenet_proto::membershippb::ClusterVersionSetRequest;
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::{ConfChange, ConfChangeType, Message, Snapshot, SnapshotMetadata};
use tenet_state::{Member, added_member_id, promotion_json};
use tokio::sync::mpsc;

/// An answer that takes its time.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why another member has not done what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// It has refused, for good.
    Refused(ApiError),
    /// It does not lead, or is not within reach: another may, or it may later.
    Unavailable(String),
}

/// What carries messages to other members. Nothing here may wait, but for the answers.
pub trait Outlet: Send + Sync {
    /// Sends messages, each to whom it names.
    fn send(&self, messages: Vec<Message>);
    /// Sends a snapshot of what is applied by then; how that ends is told.
    fn send_snapshot(&self, message: Message);
    /// The members are others than before: see the published view.
    fn members_changed(&self);
    /// This member was removed: it must stop soon.
    fn removed(&self);
    /// For how long a member has been within reach, if it is.
    fn connected_for(&self, id: MemberId) -> Option<Duration>;
    /// Has the leader renew a lease; its time to live in seconds.
    fn renew(&self, leader: MemberId, lease: LeaseId) -> Later<Result<i64, Elsewhere>>;
    /// Asks the leader what is left of a lease.
    fn time_to_live(
        &self,
        leader: MemberId,
        lease: LeaseId,
        keys: bool,
    ) -> Later<Result<LeaseTimeToLiveResponse, Elsewhere>>;
    /// Has the leader promote a learner.
    fn promote(
        &self,
        leader: MemberId,
        learner: MemberId,
    ) -> Later<Result<Vec<PbMember>, Elsewhere>>;
}

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SnapshotTrouble {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    File(#[from] TakeInError),
    #[error("the member stops")]
    Stopped,
}

/// The state of this member, to be sent as a snapshot.
#[derive(Debug)]
pub struct OutgoingSnapshot {
    /// Of which entry it is, and with which configuration.
    pub metadata: SnapshotMetadata,
    /// The file, in pieces, or why it could not be made to its end.
    pub pieces: mpsc::Receiver<Result<Bytes, String>>,
}

/// A file that a snapshot has come in.
struct SnapshotOnDisk {
    file: File,
    len_bytes: u64,
}

impl Source for SnapshotOnDisk {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, SourceError> {
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| SourceError(error.to_string()))?;
        Ok(bytes.into())
    }
}

impl Node {
    /// Begins to talk to other members.
    ///
    /// # Panics
    /// If it does already.
    pub fn connect(&self, outlet: Arc<dyn Outlet>) {
        let is_first = self.post().connect(outlet);
        assert!(is_first, "a member talks through one outlet");
        self.post().outlet(|outlet| outlet.members_changed());
    }

    /// Takes a message of another member; says whether there was room for it.
    pub fn receive(&self, message: Message) -> bool {
        self.post().receive(message)
    }

    /// Messages to another member were lost.
    pub fn unreachable(&self, id: MemberId) {
        self.post().consensus.push(Input::Unreachable(id));
    }

    /// How sending a snapshot has ended.
    pub fn snapshot_sent(&self, to: MemberId, ok: bool) {
        self.post().consensus.push(Input::SnapshotSent { to, ok });
    }

    /// Other members are within reach, so most of the wait for the first election can be spared.
    pub fn hurry_first_election(&self, ticks: u32) {
        self.post().consensus.push(Input::Advance(ticks));
    }

    /// Takes a snapshot that has come as a file.
    ///
    /// # Errors
    /// If the file is refused; nothing of it was used.
    pub async fn receive_snapshot(
        &self,
        message: Message,
        path: &Path,
    ) -> Result<(), SnapshotTrouble> {
        let file = File::open(path)?;
        let len_bytes = file.metadata()?.len();
        let source = SnapshotOnDisk { file, len_bytes };
        let snapshot = message.snapshot.as_deref().cloned().unwrap_or_default();
        let receiver = self.receiver().clone();
        let read = tokio::task::spawn_blocking(move || receiver.state(source, &snapshot));
        let state = read.await.map_err(|_| SnapshotTrouble::Stopped)??;
        let message = Box::new(message);
        self.post()
            .consensus
            .push(Input::Snapshot { message, state });
        Ok(())
    }

    /// What this member has applied by now, as a snapshot for another member.
    ///
    /// # Errors
    /// If the member stops.
    pub async fn outgoing_snapshot(&self) -> Result<OutgoingSnapshot, ApiError> {
        let export = match self.ask_applier(ApplyInput::Export).await? {
            Outcome::Export(export) => export,
            other => unreachable!("a snapshot was answered with {other:?}"),
        };
        let metadata = SnapshotMetadata {
            conf_state: Some(export.conf_state.clone()),
            index: export.applied.0.get(),
            term: export.applied.1.get(),
        };
        let (sender, pieces) = mpsc::channel(limits::SNAPSHOT_STEPS_WAITING_MAX);
        tokio::task::spawn_blocking(move || {
            let file = match SnapshotFile::plan(*export) {
                Ok(file) => file,
                Err(error) => return drop(sender.blocking_send(Err(error.to_string()))),
            };
            for piece in file {
                let piece = piece.map_err(|error| error.to_string());
                // Whoever has gone needs no more of it.
                if sender.blocking_send(piece).is_err() {
                    return;
                }
            }
        });
        Ok(OutgoingSnapshot { metadata, pieces })
    }

    /// Gives a message that announces a snapshot the place of the state that goes with it.
    pub fn announce(message: &mut Message, metadata: SnapshotMetadata) {
        message.snapshot = Some(Box::new(Snapshot {
            metadata: Some(metadata),
            ..Snapshot::default()
        }));
    }

    /// Hands leadership to another member, or to whoever is best, and waits until it leads.
    ///
    /// # Errors
    /// As etcd's MoveLeader.
    pub async fn transfer_leadership(&self, to: Option<MemberId>) -> Result<(), ApiError> {
        if let Some(to) = to {
            let view = self.views().load();
            let known = view.cluster.members.iter().find(|member| member.id == to);
            if known.is_none_or(|member| member.is_learner) {
                return Err(ApiError::BadLeaderTransferee);
            }
        }
        self.ask(|waiter| Input::TransferLeader { to, waiter })
            .await
            .map(drop)
    }

    /// Adds a member.
    ///
    /// # Errors
    /// As etcd's MemberAdd.
    pub async fn member_add(
        &self,
        request: MemberAddRequest,
        unix_s: u64,
    ) -> Result<MemberAddResponse, ApiError> {
        self.check_strictly(|around| around.check_add(request.is_learner))?;
        let mut peer_urls = request.peer_urls;
        peer_urls.sort();
        let member = Member {
            id: added_member_id(&peer_urls, unix_s),
            peer_urls,
            is_learner: request.is_learner,
            ..Member::default()
        };
        let kind = match request.is_learner {
            true => ConfChangeType::AddLearnerNode,
            false => ConfChangeType::AddNode,
        };
        let context = member.to_json().into();
        let members = self.change(kind, member.id, context).await?;
        Ok(MemberAddResponse {
            header: Some(self.cluster_header()),
            member: Some((&member).into()),
            members,
        })
    }

    /// Removes a member.
    ///
    /// # Errors
    /// As etcd's MemberRemove.
    pub async fn member_remove(
        &self,
        request: MemberRemoveRequest,
    ) -> Result<MemberRemoveResponse, ApiError> {
        let id = MemberId(request.id);
        self.check_strictly(|around| around.check_remove(id))?;
        let members = self
            .change(ConfChangeType::RemoveNode, id, Bytes::new())
            .await?;
        Ok(MemberRemoveResponse {
            header: Some(self.cluster_header()),
            members,
        })
    }

    /// Changes where other members reach a member.
    ///
    /// # Errors
    /// As etcd's MemberUpdate.
    pub async fn member_update(
        &self,
        request: MemberUpdateRequest,
    ) -> Result<MemberUpdateResponse, ApiError> {
        let mut peer_urls = request.peer_urls;
        peer_urls.sort();
        let member = Member {
            id: MemberId(request.id),
            peer_urls,
            ..Member::default()
        };
        let context = member.to_json().into();
        let members = self
            .change(ConfChangeType::UpdateNode, member.id, context)
            .await?;
        Ok(MemberUpdateResponse {
            header: Some(self.cluster_header()),
            members,
        })
    }

    /// Makes a learner a voter; the leader does it, whoever is asked.
    ///
    /// # Errors
    /// As etcd's MemberPromote.
    pub async fn member_promote(
        &self,
        request: MemberPromoteRequest,
    ) -> Result<MemberPromoteResponse, ApiError> {
        let id = MemberId(request.id);
        let members = self.led_by_others(|leader| self.elsewhere(|o| o.promote(leader, id)));
        let members = match members.await? {
            Some(members) => members,
            None => self.promote_here(id).await?,
        };
        Ok(MemberPromoteResponse {
            header: Some(self.cluster_header()),
            members,
        })
    }

    /// Makes a learner a voter, if this member leads.
    ///
    /// # Errors
    /// As etcd's MemberPromote, or that another member leads.
    pub async fn promote_here(&self, id: MemberId) -> Result<Vec<PbMember>, ApiError> {
        let matched = match self.ask(Input::Matched).await? {
            Outcome::Matched(matched) => matched,
            other => unreachable!("a question about progress was answered with {other:?}"),
        };
        let of = |id: MemberId| {
            let found = matched.iter().find(|(member, _)| *member == id);
            found.map_or(0, |(_, index)| index.get())
        };
        let (learner, leader) = (of(id), of(self.identity().member));
        self.around(|around| around.check_promote(id, learner, leader))?;
        self.change(ConfChangeType::AddNode, id, promotion_json(id).into())
            .await
    }

    async fn change(
        &self,
        kind: ConfChangeType,
        id: MemberId,
        context: Bytes,
    ) -> Result<Vec<PbMember>, ApiError> {
        let change = ConfChange {
            id: self.next_id(),
            change_type: kind.into(),
            node_id: id.get(),
            context,
        };
        let outcome = self.ask(|waiter| Input::ProposeChange(Box::new(Change { change, waiter })));
        match outcome.await? {
            Outcome::Members(members) => Ok(members),
            other => unreachable!("a change of members was answered with {other:?}"),
        }
    }

    /// Proposes a version for the cluster; nobody waits for it.
    pub fn propose_cluster_version(&self, version: &str) {
        let request = InternalRaftRequest {
            header: Some(RequestHeader {
                id: self.next_id(),
                ..RequestHeader::default()
            }),
            cluster_version_set: Some(Box::new(ClusterVersionSetRequest {
                ver: version.to_owned(),
            })),
            ..InternalRaftRequest::default()
        };
        let term = self.progress().term();
        self.post().consensus.push(Input::ProposeInTerm {
            term,
            data: vec![request.encode_to_vec().into()],
        });
    }

    fn check_strictly(
        &self,
        check: impl Fn(&Surroundings<'_>) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        match self.strict_reconfiguration() {
            true => self.around(check),
            false => Ok(()),
        }
    }

    fn around<T>(&self, ask: impl Fn(&Surroundings<'_>) -> T) -> T {
        let view = self.views().load();
        let connected_ms = |id: MemberId| {
            let connected = self.post().outlet(|outlet| outlet.connected_for(id));
            connected.flatten().map(|time| time.as_millis() as u64)
        };
        ask(&Surroundings {
            local: self.identity().member,
            members: &view.cluster.members,
            connected_ms: &connected_ms,
            healthy_ms: limits::MEMBER_HEALTHY_MS,
        })
    }

    /// As etcd answers calls about members: without a revision.
    pub(crate) fn cluster_header(&self) -> ResponseHeader {
        ResponseHeader {
            revision: 0,
            ..self.header()
        }
    }

    fn elsewhere<T>(
        &self,
        ask: impl FnOnce(&dyn Outlet) -> Later<Result<T, Elsewhere>>,
    ) -> Later<Result<T, Elsewhere>>
    where
        T: Send + 'static,
    {
        let unconnected = || -> Later<Result<T, Elsewhere>> {
            Box::pin(async { Err(Elsewhere::Unavailable("nobody is connected".to_owned())) })
        };
        self.post().outlet(ask).unwrap_or_else(unconnected)
    }

    /// Asks whoever leads, as long as it is another member, until there is an answer or the time of
    /// a request is over. `None` if this member leads, or nobody does.
    pub(crate) async fn led_by_others<T>(
        &self,
        ask: impl Fn(MemberId) -> Later<Result<T, Elsewhere>>,
    ) -> Result<Option<T>, ApiError> {
        let deadline = tokio::time::Instant::now() + self.request_timeout();
        while let Some(leader) = self.leader() {
            if leader == self.identity().member {
                break;
            }
            let answer = tokio::time::timeout_at(deadline, ask(leader)).await;
            match answer.map_err(|_| ApiError::Timeout)? {
                Ok(answer) => return Ok(Some(answer)),
                Err(Elsewhere::Refused(error)) => return Err(error),
                Err(Elsewhere::Unavailable(why)) => {
                    tracing::debug!(%leader, why, "the leader has not answered; asking again");
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(ApiError::Timeout);
            }
            tokio::time::sleep(Duration::from_millis(limits::LEADER_RETRY_MS)).await;
        }
        Ok(None)
    }

    /// Done once another member leads.
    pub(crate) async fn follows(&self) {
        let other = |leader| leader != self.identity().member;
        while !self.leader().is_some_and(other) {
            tokio::time::sleep(Duration::from_millis(limits::LEADER_RETRY_MS)).await;
        }
    }

    pub(crate) fn renew_elsewhere(
        &self,
        leader: MemberId,
        id: LeaseId,
    ) -> Later<Result<i64, Elsewhere>> {
        self.elsewhere(|outlet| outlet.renew(leader, id))
    }

    pub(crate) fn time_to_live_elsewhere(
        &self,
        leader: MemberId,
        id: LeaseId,
        keys: bool,
    ) -> Later<Result<LeaseTimeToLiveResponse, Elsewhere>> {
        self.elsewhere(|outlet| outlet.time_to_live(leader, id, keys))
    }
}

/// Where messages go out, once somebody carries them.
pub(crate) type Connected = std::sync::OnceLock<Arc<dyn Outlet>>;

/// Bytes that a message takes while it waits.
pub(crate) fn weight(message: &Message) -> usize {
    let entries = message.entries.iter().map(|entry| entry.data.len() + 64);
    64 + message.context.len() + entries.sum::<usize>()
}
