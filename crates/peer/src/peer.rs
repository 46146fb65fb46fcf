//! Another member: who it is, how it is reached, and the tasks that serve it.

use crate::link::{Kind, Link, NotSent};
use crate::metrics::PeerCounts;
use crate::picker::Picker;
use crate::posts::Posts;
use crate::shared::Shared;
use crate::snapshot::{self, DatabaseStream};
use crate::status::Status;
use crate::trouble::Trouble;
use crate::url::PeerUrl;
use crate::{probe, reader};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenet_base::MemberId;
use tenet_proto::raftpb::{Message, MessageType};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// Who another member is and what is known of it; what its tasks share.
#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: MemberId,
    pub(crate) picker: Picker,
    pub(crate) status: Status,
    pub(crate) counts: Arc<PeerCounts>,
    paused: AtomicBool,
}

impl Contact {
    pub(crate) fn new(shared: &Arc<Shared>, id: MemberId, urls: Vec<PeerUrl>) -> Arc<Contact> {
        let counts = shared.metrics.add(id);
        Arc::new(Contact {
            shared: shared.clone(),
            id,
            picker: Picker::new(urls),
            status: Status::new(id, counts.clone()),
            counts,
            paused: AtomicBool::new(false),
        })
    }

    /// Tells raft that messages to this member were lost.
    pub(crate) fn report_unreachable(&self) {
        self.shared.handler.report_unreachable(self.id);
    }

    /// Whether messages in both directions are dropped, for tests.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

/// Tasks that end with their owner.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Tasks {
    pub(crate) fn spawn(
        &mut self,
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.0.retain(|task| !task.is_finished());
        self.0.push(runtime.spawn(task).abort_handle());
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// A member of the cluster.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) contact: Arc<Contact>,
    messages: Arc<Link>,
    appends: Arc<Link>,
    posts: Posts,
    /// Whether a snapshot is on its way to it.
    snapshot: Arc<AtomicBool>,
    tasks: Mutex<Tasks>,
    trouble: Mutex<Trouble>,
}

impl Peer {
    /// Begins to reach for a member.
    pub(crate) fn start(shared: &Arc<Shared>, id: MemberId, urls: Vec<PeerUrl>) -> Peer {
        let contact = Contact::new(shared, id, urls);
        let mut tasks = Tasks::default();
        for kind in [Kind::Append, Kind::Message] {
            tasks.spawn(&shared.runtime, reader::run(contact.clone(), kind));
        }
        tasks.spawn(&shared.runtime, probe::run(contact.clone()));
        Peer {
            messages: Link::new(Kind::Message, contact.clone()),
            appends: Link::new(Kind::Append, contact.clone()),
            posts: Posts::start(&contact, &mut tasks),
            snapshot: Arc::default(),
            tasks: Mutex::new(tasks),
            trouble: Mutex::default(),
            contact,
        }
    }

    /// Its stream of a kind.
    pub(crate) fn link(&self, kind: Kind) -> &Arc<Link> {
        match kind {
            Kind::Message => &self.messages,
            Kind::Append => &self.appends,
        }
    }

    /// Sends a message the best way that there is, or drops it.
    pub(crate) fn send(&self, message: Message) {
        if self.contact.is_paused() {
            return;
        }
        if message.msg_type == MessageType::Snap as i32 {
            // Without its database it would stop a member of etcd's.
            tracing::error!(
                "remote-peer-id" = %self.contact.id,
                "a snapshot without a database was to be sent: this is a mistake in the program"
            );
            self.contact
                .shared
                .handler
                .report_snapshot(self.contact.id, false);
            return;
        }
        let sent = if message.msg_type == MessageType::App as i32 {
            match self.appends.send(message) {
                Err(NotSent::NoStream(message)) => self.messages.send(message),
                other => other,
            }
        } else {
            self.messages.send(message)
        };
        match sent {
            Ok(()) => {}
            Err(NotSent::NoStream(message)) => {
                if !self.posts.send(message) {
                    self.dropped("pipeline");
                }
            }
            Err(NotSent::Full) => self.dropped("stream"),
        }
    }

    fn dropped(&self, way: &str) {
        self.contact.counts.sent_failures.add(1);
        self.contact.report_unreachable();
        if self.trouble.lock().is_news(way) {
            tracing::warn!(
                "local-member-id" = %self.contact.shared.options.local,
                "remote-peer-id" = %self.contact.id,
                "remote-peer-name" = way,
                "remote-peer-active" = self.contact.status.since().is_some(),
                "dropped internal Raft message since sending buffer is full"
            );
        }
    }

    /// Sends a snapshot. One is on its way at a time.
    pub(crate) fn send_snapshot(&self, message: Message, database: DatabaseStream) {
        if self.snapshot.swap(true, Ordering::AcqRel) {
            self.contact
                .shared
                .handler
                .report_snapshot(self.contact.id, false);
            return;
        }
        let (contact, busy) = (self.contact.clone(), self.snapshot.clone());
        self.tasks.lock().spawn(
            &self.contact.shared.runtime,
            snapshot::send(contact, snapshot::Busy(busy), message, database),
        );
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.messages.stop();
        self.appends.stop();
        self.contact.counts.active.set(0);
    }
}

/// A member that has called and is not known here yet: it joins, and this member lags behind. It is
/// answered by posts only.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) contact: Arc<Contact>,
    posts: Posts,
    _tasks: Tasks,
}

impl Remote {
    pub(crate) fn start(shared: &Arc<Shared>, id: MemberId, urls: Vec<PeerUrl>) -> Remote {
        let contact = Contact::new(shared, id, urls);
        let mut tasks = Tasks::default();
        Remote {
            posts: Posts::start(&contact, &mut tasks),
            contact,
            _tasks: tasks,
        }
    }

    /// Sends a message, or drops it.
    pub(crate) fn send(&self, message: Message) {
        if message.msg_type == MessageType::Snap as i32 {
            self.contact
                .shared
                .handler
                .report_snapshot(self.contact.id, false);
        } else if !self.contact.is_paused() && !self.posts.send(message) {
            self.contact.counts.sent_failures.add(1);
        }
    }
}
