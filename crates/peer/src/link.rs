//! One direction of one stream: messages to another member, as the answer to a request of its.
//!
//! While the other member has no such request open there is no stream, and nothing waits for one.
//! A new request takes the place of an older one, whose answer ends.

use crate::peer::Contact;
use crate::queue::{QueueReceiver, QueueSender, queue};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tenet_base::limits::{
    PEER_CHUNK_BYTES, PEER_HEARTBEAT_MS, PEER_QUEUE_BYTES_MAX, PEER_QUEUE_MESSAGES_MAX,
};
use tenet_proto::peer::{AppendEncoder, append, message};
use tenet_proto::raftpb::Message;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any message.
    Message,
    /// Appended entries.
    Append,
}

impl Kind {
    /// etcd's name for it, in log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Message => "stream Message",
            Kind::Append => "stream MsgApp v2",
        }
    }

    /// Where it is asked for.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Message => "/raft/stream/message",
            Kind::Append => "/raft/stream/msgapp",
        }
    }
}

/// Why a message was not queued.
#[derive(Debug)]
pub(crate) enum NotSent {
    /// There is no stream; here is the message, to go another way.
    NoStream(Message),
    /// Too many wait.
    Full,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    kind: Kind,
    contact: Arc<Contact>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Of the newest stream; tells it from older ones.
    number: u64,
    queue: Option<QueueSender>,
    stopped: bool,
}

impl Link {
    pub(crate) fn new(kind: Kind, contact: Arc<Contact>) -> Arc<Link> {
        Arc::new(Link {
            kind,
            contact,
            slot: Mutex::default(),
        })
    }

    /// Queues a message, if there is a stream.
    #[expect(
        clippy::result_large_err,
        reason = "the message that was given comes back, to go another way"
    )]
    pub(crate) fn send(&self, message: Message) -> Result<(), NotSent> {
        match &self.slot.lock().queue {
            None => Err(NotSent::NoStream(message)),
            Some(queue) if queue.push(message) => Ok(()),
            Some(_) => Err(NotSent::Full),
        }
    }

    /// Begins a stream in the place of an older one. `None` once the link is stopped.
    pub(crate) fn attach(self: &Arc<Self>) -> Option<Outgoing> {
        let (sender, receiver) = queue(PEER_QUEUE_MESSAGES_MAX, PEER_QUEUE_BYTES_MAX);
        let (number, replaced) = {
            let mut slot = self.slot.lock();
            if slot.stopped {
                return None;
            }
            slot.number += 1;
            (slot.number, slot.queue.replace(sender).is_some())
        };
        self.contact.status.activate();
        if replaced {
            self.say("closed TCP streaming connection with remote peer");
        }
        self.say("established TCP streaming connection with remote peer");
        let first_beat = Instant::now() + Duration::from_millis(PEER_HEARTBEAT_MS);
        let mut heartbeat = interval_at(first_beat, Duration::from_millis(PEER_HEARTBEAT_MS));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Outgoing {
            link: self.clone(),
            number,
            queue: receiver,
            encoder: AppendEncoder::new(),
            heartbeat,
            out: BytesMut::new(),
        })
    }

    /// Whether there is a stream.
    pub(crate) fn is_open(&self) -> bool {
        self.slot.lock().queue.is_some()
    }

    /// Ends the stream, and lets none begin again.
    pub(crate) fn stop(&self) {
        let mut slot = self.slot.lock();
        slot.stopped = true;
        slot.queue = None;
    }

    /// The answer has ended, with messages that were not sent or without.
    fn detach(&self, number: u64, left: bool) {
        let lost = {
            let mut slot = self.slot.lock();
            slot.number == number && slot.queue.take().is_some()
        };
        if lost {
            let reason = "the connection is gone";
            self.contact
                .status
                .deactivate(self.kind.name(), "write", reason);
            self.contact.counts.sent_failures.add(1);
            self.say("lost TCP streaming connection with remote peer");
        }
        if left {
            self.contact.report_unreachable();
        }
    }

    fn say(&self, what: &str) {
        tracing::info!(
            "stream-writer-type" = self.kind.name(),
            "local-member-id" = %self.contact.shared.options.local,
            "remote-peer-id" = %self.contact.id,
            "{what}"
        );
    }
}

/// The answer that carries a stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    link: Arc<Link>,
    number: u64,
    queue: QueueReceiver,
    encoder: AppendEncoder,
    heartbeat: Interval,
    out: BytesMut,
}

impl Outgoing {
    /// Encodes what waits, up to a piece. Ready if the queue has ended.
    fn gather(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.out.len() < PEER_CHUNK_BYTES {
            let Some(next) = ready!(self.queue.poll_next(cx)) else {
                return Poll::Ready(());
            };
            match self.link.kind {
                Kind::Message => message::encode(&next, &mut self.out),
                Kind::Append => self.encoder.encode(&next, &mut self.out),
            }
        }
        // There may be more: whoever asks will ask again.
        Poll::Pending
    }

    fn sign_of_life(&self) -> Bytes {
        Bytes::from_static(match self.link.kind {
            Kind::Message => message::LINK_HEARTBEAT,
            Kind::Append => append::LINK_HEARTBEAT,
        })
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let ended = this.gather(cx).is_ready();
        if !this.out.is_empty() {
            let piece = this.out.split().freeze();
            this.link.contact.counts.sent_bytes.add(piece.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if ended {
            return Poll::Ready(None);
        }
        ready!(this.heartbeat.poll_tick(cx));
        let piece = this.sign_of_life();
        this.link.contact.counts.sent_bytes.add(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.link.detach(self.number, !self.queue.is_empty());
    }
}
