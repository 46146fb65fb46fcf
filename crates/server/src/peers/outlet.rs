//! What the member sends.

use super::{Peers, snapshots};
use std::sync::Arc;
use std::time::Duration;
use tenet_base::{LeaseId, MemberId};
use tenet_peer::{CallError, LeaseRefusal, PromoteRefusal};
use tenet_proto::ApiError;
use tenet_proto::etcdserverpb::{LeaseTimeToLiveResponse, Member};
use tenet_proto::raftpb::Message;
use tenet_runtime::{Elsewhere, Later, Node, Outlet};

/// A handle that keeps what it needs of [`Peers`] for an answer that comes later.
impl Outlet for Peers {
    fn send(&self, messages: Vec<Message>) {
        self.transport().send(messages);
    }

    fn send_snapshot(&self, mut message: Message) {
        let (node, transport) = (self.node.clone(), self.transport().clone());
        self.runtime.spawn(async move {
            let to = MemberId(message.to);
            match node.outgoing_snapshot().await {
                Ok(snapshot) => {
                    Node::announce(&mut message, snapshot.metadata);
                    let pieces = snapshots::Pieces(snapshot.pieces);
                    transport.send_snapshot(message, Box::pin(pieces));
                }
                Err(_) => node.snapshot_sent(to, false),
            }
        });
    }

    fn members_changed(&self) {
        self.follow_members();
    }

    fn removed(&self) {
        self.removed.send_replace(true);
    }

    fn connected_for(&self, id: MemberId) -> Option<Duration> {
        let since = self.transport().active_since(id)?;
        Some(since.elapsed())
    }

    fn renew(&self, leader: MemberId, lease: LeaseId) -> Later<Result<i64, Elsewhere>> {
        let (client, urls) = (self.client.clone(), self.urls_of(leader));
        Box::pin(async move { flat(client.keep_alive(&urls, lease).await) })
    }

    fn time_to_live(
        &self,
        leader: MemberId,
        lease: LeaseId,
        keys: bool,
    ) -> Later<Result<LeaseTimeToLiveResponse, Elsewhere>> {
        let (client, urls) = (self.client.clone(), self.urls_of(leader));
        Box::pin(async move { flat(client.time_to_live(&urls, lease, keys).await) })
    }

    fn promote(
        &self,
        leader: MemberId,
        learner: MemberId,
    ) -> Later<Result<Vec<Member>, Elsewhere>> {
        let (client, urls) = (self.client.clone(), self.urls_of(leader));
        Box::pin(async move {
            match client.promote(&urls, learner, None).await {
                Ok(Ok(json)) => super::join::members_of(&json)
                    .map(|members| members.iter().map(Into::into).collect())
                    .map_err(Elsewhere::Unavailable),
                Ok(Err(PromoteRefusal::NotFound)) => {
                    Err(Elsewhere::Refused(ApiError::MemberNotFound))
                }
                Ok(Err(PromoteRefusal::NotLearner)) => {
                    Err(Elsewhere::Refused(ApiError::MemberNotLearner))
                }
                Ok(Err(PromoteRefusal::NotReady)) => {
                    Err(Elsewhere::Refused(ApiError::LearnerNotReady))
                }
                Ok(Err(PromoteRefusal::Other(why))) => Err(Elsewhere::Unavailable(why)),
                Err(error) => Err(Elsewhere::Unavailable(error.to_string())),
            }
        })
    }
}

fn flat<T>(answered: Result<Result<T, LeaseRefusal>, CallError>) -> Result<T, Elsewhere> {
    match answered {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(LeaseRefusal::NotFound)) => Err(Elsewhere::Refused(ApiError::LeaseNotFound)),
        Ok(Err(refusal)) => Err(Elsewhere::Unavailable(refusal.to_string())),
        Err(error) => Err(Elsewhere::Unavailable(error.to_string())),
    }
}

/// Both halves of the transport are the same value.
const _: fn(Arc<Peers>) -> Arc<dyn Outlet> = |peers| peers;
