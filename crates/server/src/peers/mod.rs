//! The member among its peers: whom the transport reaches, what it hands to the member, and what the
//! member sends through it.
//!
//! The published view says who the members are; the transport follows it. A member that joins knows
//! the others only from what they have told it before ([`join`]): they are remotes until the log
//! says who they are.
//!
//! Invariant: nothing here decides about the cluster. What it notices (somebody is within reach, a
//! message was lost, the cluster has no version) it hands to the member.

mod handler;
mod join;
mod outlet;
mod snapshots;
mod versions;

pub(crate) use join::join;

use crate::listen::Listener;
use crate::metrics::{Page, collect_peers};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tenet_base::MemberId;
use tenet_peer::{Client, PeerUrl, Transport};
use tenet_runtime::{ETCD_VERSION, Node};
use tokio::sync::watch;

/// The lowest version of a cluster that a member of this kind can be in.
const CLUSTER_VERSION_MIN: &str = "3.0.0";
/// How often the number of members within reach is looked at before the first election, and for how
/// long (etcd: 50 ms, 5 s).
const FIRST_ELECTION_LOOK: Duration = Duration::from_millis(50);
const FIRST_ELECTION_LOOKS: u32 = 100;
/// How long a member that was removed goes on, so that the others hear of it (etcd: 1 s).
const REMOVED_GRACE: Duration = Duration::from_secs(1);

/// What flags say about peers.
#[derive(Clone, Debug)]
pub(crate) struct PeerSettings {
    /// Where other members reach this one.
    pub advertised: Vec<String>,
    /// `--election-timeout`.
    pub election_timeout: Duration,
    /// Ticks of an election timeout, of which all but two are spared before the first election when
    /// others are within reach; `None` if they are not to be spared.
    pub hurry_ticks: Option<u32>,
    /// Where snapshots are kept while they come in.
    pub snapshot_dir: PathBuf,
    /// The members of a new cluster, known before the log has said so.
    pub founders: Vec<(MemberId, Vec<String>)>,
    /// Members that were named by others before this one joined.
    pub remotes: Vec<(MemberId, Vec<String>)>,
}

/// See the module.
pub(crate) struct Peers {
    node: Node,
    client: Client,
    snapshot_dir: PathBuf,
    transport: OnceLock<Transport>,
    /// Whom the transport reaches, and where.
    reached: Mutex<BTreeMap<MemberId, Vec<String>>>,
    removed: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

impl Peers {
    /// Begins to talk to the other members of `node`'s cluster. Must be called inside the runtime
    /// that is to carry it.
    ///
    /// # Errors
    /// If an address is none.
    pub(crate) fn start(node: &Node, settings: PeerSettings) -> Result<Arc<Peers>, String> {
        let dial_timeout = Duration::from_secs(1) + settings.election_timeout;
        let identity = node.identity();
        let urls = parse(&settings.advertised)?;
        snapshots::clean(&settings.snapshot_dir);
        let peers = Arc::new(Peers {
            node: node.clone(),
            client: Client::new(dial_timeout, 2 * dial_timeout, None),
            snapshot_dir: settings.snapshot_dir,
            transport: OnceLock::new(),
            reached: Mutex::default(),
            removed: watch::Sender::new(false),
            runtime: tokio::runtime::Handle::current(),
        });
        let options = tenet_peer::Options {
            local: identity.member,
            cluster: identity.cluster,
            urls,
            server_version: ETCD_VERSION,
            cluster_version_min: CLUSTER_VERSION_MIN,
            dial_timeout,
            tls: None,
        };
        let handler: Arc<dyn tenet_peer::Handler> = peers.clone();
        let transport = Transport::new(options, handler, peers.runtime.clone());
        for (id, urls) in settings.remotes {
            if id != identity.member {
                transport.add_remote(id, &parse(&urls)?);
            }
        }
        let set = peers.transport.set(transport);
        assert!(set.is_ok(), "one transport for each start");
        for (id, urls) in settings.founders {
            if id != identity.member {
                peers.transport().add_peer(id, &parse(&urls)?);
                peers.reached.lock().insert(id, urls);
            }
        }
        node.connect(peers.clone());
        if let Some(ticks) = settings.hurry_ticks {
            tokio::spawn(hurry(Arc::clone(&peers), ticks));
        }
        tokio::spawn(versions::look_after(Arc::clone(&peers)));
        Ok(peers)
    }

    fn transport(&self) -> &Transport {
        self.transport.get().expect("set before it is shared")
    }

    /// Writes what the transport counts.
    pub(crate) fn collect(&self, page: &mut Page) {
        let local = self.node.identity().member;
        collect_peers(page, local, &self.transport().metrics());
    }

    /// Serves a listener for members until the transport stops.
    pub(crate) fn listen(self: &Arc<Self>, listener: Listener) {
        let server = self.transport().server(None);
        tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((connection, remote)) => {
                        let server = server.clone();
                        tokio::spawn(async move {
                            let address = remote.parse::<std::net::SocketAddr>().ok();
                            let address = address.map(|address| address.ip());
                            server.serve(connection, &remote, address).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection of a member");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
    }

    /// Done once this member was removed from the cluster and has told the others what it could.
    pub(crate) async fn removed(&self) {
        let mut removed = self.removed.subscribe();
        // The sender lives as long as this.
        let _ = removed.wait_for(|removed| *removed).await;
        tokio::time::sleep(REMOVED_GRACE).await;
    }

    /// Hands leadership over, if this member leads others, and stops the transport.
    pub(crate) async fn stop(&self, patience: Duration) {
        let others = !self.reached.lock().is_empty();
        if others && self.node.leader() == Some(self.node.identity().member) {
            let handed = tokio::time::timeout(patience, self.node.transfer_leadership(None)).await;
            match handed {
                Ok(Ok(())) => tracing::info!("leadership was handed over"),
                Ok(Err(error)) => {
                    tracing::warn!(error = error.text(), "leadership was not handed over");
                }
                Err(_) => tracing::warn!("leadership was not handed over in time"),
            }
        }
    }

    /// Ends all connections to members.
    pub(crate) fn hang_up(&self) {
        self.transport().stop();
    }

    /// Where a member is reached.
    fn urls_of(&self, id: MemberId) -> Vec<PeerUrl> {
        let view = self.node.views().load();
        let found = view.cluster.members.iter().find(|member| member.id == id);
        found.map_or_else(Vec::new, |member| {
            parse(&member.peer_urls).unwrap_or_default()
        })
    }

    /// Makes the transport reach for those who are members now, and for nobody else.
    fn follow_members(&self) {
        let view = self.node.views().load();
        let local = self.node.identity().member;
        let mut reached = self.reached.lock();
        let removed = |id: &&MemberId| view.cluster.removed.binary_search(id).is_ok();
        let gone: Vec<MemberId> = reached.keys().filter(removed).copied().collect();
        for id in gone {
            reached.remove(&id);
            self.transport().remove_peer(id);
        }
        for member in view.cluster.members.iter().filter(|m| m.id != local) {
            let urls = match parse(&member.peer_urls) {
                Ok(urls) if !urls.is_empty() => urls,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(member = %member.id, error, "a member cannot be reached");
                    continue;
                }
            };
            match reached.insert(member.id, member.peer_urls.clone()) {
                None => self.transport().add_peer(member.id, &urls),
                Some(before) if before != member.peer_urls => {
                    self.transport().update_peer(member.id, &urls);
                }
                Some(_) => {}
            }
        }
    }
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}

fn parse(urls: &[String]) -> Result<Vec<PeerUrl>, String> {
    let parsed = urls.iter().map(|url| PeerUrl::parse(url));
    parsed
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

/// With others within reach there is little reason to wait long for a leader that may be there.
async fn hurry(peers: Arc<Peers>, ticks: u32) {
    for _ in 0..FIRST_ELECTION_LOOKS {
        if peers.transport().active_count() > 1 {
            peers.node.hurry_first_election(ticks);
            return;
        }
        tokio::time::sleep(FIRST_ELECTION_LOOK).await;
    }
}
