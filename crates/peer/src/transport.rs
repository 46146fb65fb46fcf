//! Who is to be reached, and what is sent to whom.

use crate::handler::Handler;
use crate::link::{Kind, Link};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::peer::{Peer, Remote};
use crate::serve::PeerServer;
use crate::shared::Shared;
use crate::snapshot::DatabaseStream;
use crate::url::PeerUrl;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tenet_base::MemberId;
use tenet_base::limits::PEER_REMOTES_MAX;
use tenet_proto::raftpb::Message;
use tenet_tls::ServerTls;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// See the module. Copies are the same transport.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    members: RwLock<Members>,
    /// Dropped when the transport stops: what serves a connection then ends.
    running: Mutex<Option<watch::Sender<()>>>,
    stopping: watch::Receiver<()>,
}

#[derive(Debug, Default)]
struct Members {
    peers: BTreeMap<MemberId, Arc<Peer>>,
    remotes: BTreeMap<MemberId, Arc<Remote>>,
    stopped: bool,
}

impl Transport {
    /// A transport that reaches for nobody yet. Its tasks run on `runtime`.
    #[must_use]
    pub fn new(options: Options, handler: Arc<dyn Handler>, runtime: Handle) -> Transport {
        let (running, stopping) = watch::channel(());
        Transport(Arc::new(Inner {
            shared: Shared::new(options, handler, runtime),
            members: RwLock::default(),
            running: Mutex::new(Some(running)),
            stopping,
        }))
    }

    /// What serves the listeners for members.
    #[must_use]
    pub fn server(&self, tls: Option<ServerTls>) -> PeerServer {
        PeerServer::new(self.clone(), tls)
    }

    /// Sends messages, each to whom it names. Never waits: what cannot be sent is dropped, and
    /// reported where raft wants to know. A message to nobody was dropped on purpose.
    pub fn send(&self, messages: impl IntoIterator<Item = Message>) {
        let members = self.0.members.read();
        for message in messages {
            let to = MemberId(message.to);
            if let Some(peer) = members.peers.get(&to) {
                peer.send(message);
            } else if let Some(remote) = members.remotes.get(&to) {
                remote.send(message);
            } else if !to.is_zero() {
                tracing::debug!(
                    "type" = message.msg_type,
                    "unknown-target-peer-id" = %to,
                    "ignored message send request; unknown remote peer target"
                );
            }
        }
    }

    /// Sends a snapshot to a member of the cluster. How that has ended is reported.
    pub fn send_snapshot(&self, message: Message, database: DatabaseStream) {
        let to = MemberId(message.to);
        match self.peer(to) {
            Some(peer) => peer.send_snapshot(message, database),
            None => self.0.shared.handler.report_snapshot(to, false),
        }
    }

    /// Begins to reach for a member of the cluster, unless it is known.
    ///
    /// # Panics
    /// If it has no address.
    pub fn add_peer(&self, id: MemberId, urls: &[PeerUrl]) {
        let mut members = self.0.members.write();
        if members.stopped || members.peers.contains_key(&id) {
            return;
        }
        let peer = Peer::start(&self.0.shared, id, urls.to_vec());
        members.peers.insert(id, Arc::new(peer));
        drop(members);
        self.say("added remote peer", id, urls);
    }

    /// Remembers where a member can be reached that is not known to be one of the cluster yet. Of
    /// those that have made themselves known only so many are remembered.
    pub fn add_remote(&self, id: MemberId, urls: &[PeerUrl]) {
        let mut members = self.0.members.write();
        let known = members.peers.contains_key(&id) || members.remotes.contains_key(&id);
        if members.stopped || known || urls.is_empty() || id == self.0.shared.options.local {
            return;
        }
        if members.remotes.len() >= PEER_REMOTES_MAX {
            tracing::warn!(
                "remote-peer-id" = %id,
                "an unknown member has called and is not remembered: {PEER_REMOTES_MAX} have before"
            );
            return;
        }
        let remote = Remote::start(&self.0.shared, id, urls.to_vec());
        members.remotes.insert(id, Arc::new(remote));
        drop(members);
        self.say("added new remote peer", id, urls);
    }

    /// Leaves a member alone; its streams end.
    pub fn remove_peer(&self, id: MemberId) {
        let removed = self.0.members.write().peers.remove(&id);
        let (local, known) = (self.0.shared.options.local, removed.is_some());
        drop(removed);
        if known {
            tracing::info!("local-member-id" = %local, "removed-remote-peer-id" = %id, "removed remote peer");
        } else {
            tracing::warn!(
                "local-member-id" = %local,
                "removed-remote-peer-id" = %id,
                "skipped removing already removed peer"
            );
        }
    }

    /// Leaves all members alone, as before a snapshot says who they are.
    pub fn remove_all_peers(&self) {
        let removed = std::mem::take(&mut self.0.members.write().peers);
        drop(removed);
    }

    /// Takes other addresses for a member.
    ///
    /// # Panics
    /// If there are none.
    pub fn update_peer(&self, id: MemberId, urls: &[PeerUrl]) {
        if let Some(peer) = self.peer(id) {
            peer.contact.picker.update(urls.to_vec());
            self.say("updated remote peer", id, urls);
        }
    }

    /// Since when a member has been within reach, if it is.
    #[must_use]
    pub fn active_since(&self, id: MemberId) -> Option<Instant> {
        self.peer(id)?.contact.status.since()
    }

    /// How many members are within reach.
    #[must_use]
    pub fn active_count(&self) -> usize {
        let members = self.0.members.read();
        let peers = members.peers.values();
        peers
            .filter(|peer| peer.contact.status.since().is_some())
            .count()
    }

    /// How many of the two streams to a member are open; what is sent while there is none is
    /// posted.
    #[must_use]
    pub fn streams_to(&self, id: MemberId) -> usize {
        let open = |peer: &Arc<Peer>| {
            let kinds = [Kind::Message, Kind::Append];
            kinds
                .into_iter()
                .filter(|kind| peer.link(*kind).is_open())
                .count()
        };
        self.peer(id).as_ref().map_or(0, open)
    }

    /// Drops all messages from and to a member, for tests.
    pub fn pause(&self, id: MemberId) {
        self.set_paused(id, true);
    }

    /// Lets messages from and to a member through again.
    pub fn resume(&self, id: MemberId) {
        self.set_paused(id, false);
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.0.shared.metrics.clone()
    }

    /// Ends everything: streams, posts, and what serves listeners.
    pub fn stop(&self) {
        let members = {
            let mut members = self.0.members.write();
            members.stopped = true;
            (
                std::mem::take(&mut members.peers),
                std::mem::take(&mut members.remotes),
            )
        };
        drop(members);
        *self.0.running.lock() = None;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Whether a member was added, or is remembered.
    pub(crate) fn knows(&self, id: MemberId) -> bool {
        let members = self.0.members.read();
        members.peers.contains_key(&id) || members.remotes.contains_key(&id)
    }

    /// Ends with the transport.
    pub(crate) fn stopping(&self) -> watch::Receiver<()> {
        self.0.stopping.clone()
    }

    /// The stream of a kind to a member, if it is one.
    pub(crate) fn link(&self, id: MemberId, kind: Kind) -> Option<Arc<Link>> {
        Some(self.peer(id)?.link(kind).clone())
    }

    fn peer(&self, id: MemberId) -> Option<Arc<Peer>> {
        self.0.members.read().peers.get(&id).cloned()
    }

    fn set_paused(&self, id: MemberId, paused: bool) {
        let members = self.0.members.read();
        if let Some(peer) = members.peers.get(&id) {
            peer.contact.set_paused(paused);
        }
        if let Some(remote) = members.remotes.get(&id) {
            remote.contact.set_paused(paused);
        }
    }

    fn say(&self, what: &str, id: MemberId, urls: &[PeerUrl]) {
        let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
        tracing::info!(
            "local-member-id" = %self.0.shared.options.local,
            "remote-peer-id" = %id,
            "remote-peer-urls" = ?urls,
            "{what}"
        );
    }
}
