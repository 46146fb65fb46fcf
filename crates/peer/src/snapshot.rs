//! Sends a snapshot to another member: the message and, behind it, the database as it is made.
//!
//! What is held of the database is what its maker hands out and what the connection takes. A maker
//! that pauses is complained of, and given up after a while: the other member would give up too.

use crate::body::RequestBody;
use crate::call::{Answered, CallError, set_host};
use crate::metrics::OneOf;
use crate::peer::Contact;
use crate::posts::{check, failed, request};
use crate::{PeerUrl, body};
use bytes::Bytes;
use futures_core::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tenet_base::limits::{
    PEER_QUESTION_BYTES_MAX, PEER_SNAPSHOT_ANSWER_MS, PEER_SNAPSHOT_PAUSE_MS,
    PEER_SNAPSHOT_UNREAD_MS,
};
use tenet_proto::peer::snapshot::encode_head;
use tenet_proto::raftpb::Message;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep};

/// A database, in pieces, or why it could not be made to its end.
pub type DatabaseStream = Pin<Box<dyn Stream<Item = Result<Bytes, String>> + Send>>;

/// Says as long as it lives that a snapshot is on its way.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Tells raft how the sending has ended, also when it is broken off.
struct Report<'a> {
    contact: &'a Contact,
    arrived: bool,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        let handler = &self.contact.shared.handler;
        if !self.arrived {
            handler.report_unreachable(self.contact.id);
        }
        handler.report_snapshot(self.contact.id, self.arrived);
    }
}

/// See the module.
pub(crate) async fn send(
    contact: Arc<Contact>,
    busy: Busy,
    message: Message,
    database: DatabaseStream,
) {
    let began = Instant::now();
    let index = message
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.index());
    let sent = Arc::new(Sent::default());
    let _one = OneOf::new(contact.counts.clone(), |counts| {
        &counts.snapshots_being_sent
    });
    // What is declared last ends first: whoever is told the end may begin the next one.
    let mut report = Report {
        contact: &contact,
        arrived: false,
    };
    tracing::info!(
        "snapshot-index" = index,
        "remote-peer-id" = %contact.id,
        "sending database snapshot"
    );
    let url = contact.picker.pick();
    let result = post(&contact, &url, message, database, &sent).await;
    let bytes = sent.bytes.load(Ordering::Relaxed);
    drop(busy);
    match result {
        Ok(()) => {
            report.arrived = true;
            contact.status.activate();
            contact.counts.sent_bytes.add(bytes);
            contact.counts.snapshots_sent.add(1);
            contact
                .counts
                .snapshot_send_seconds
                .record(began.elapsed().as_secs_f64());
            tracing::info!(
                "snapshot-index" = index,
                "remote-peer-id" = %contact.id,
                bytes,
                "sent database snapshot"
            );
        }
        Err(error) => {
            failed(&contact, &url, &error);
            contact
                .status
                .deactivate("sendMsgSnap", "post", &error.to_string());
            contact.counts.sent_failures.add(1);
            contact.counts.snapshot_send_failures.add(1);
            tracing::warn!(
                "snapshot-index" = index,
                "remote-peer-id" = %contact.id,
                bytes,
                %error,
                "failed to send database snapshot"
            );
        }
    }
}

async fn post(
    contact: &Contact,
    url: &PeerUrl,
    message: Message,
    database: DatabaseStream,
    sent: &Arc<Sent>,
) -> Result<(), CallError> {
    let patience = Duration::from_millis(PEER_SNAPSHOT_UNREAD_MS);
    let pieces = Pieces {
        head: Some(encode_head(&message)),
        database,
        sent: sent.clone(),
        pause: Box::pin(sleep(Duration::from_millis(PEER_SNAPSHOT_PAUSE_MS))),
        complained: false,
        paused: false,
    };
    let body = RequestBody::Stream(Box::pin(pieces));
    let mut request = request(contact, "/raft/snapshot", "application/octet-stream", body);
    set_host(&mut request, url);
    let mut connection = contact.shared.pool.connector.open(url, patience).await?;
    let waited_for = async {
        sent.all.notified().await;
        sleep(Duration::from_millis(PEER_SNAPSHOT_ANSWER_MS)).await;
    };
    let response = tokio::select! {
        response = connection.sender.send_request(request) => response.map_err(|error| {
            // If the database could not be made, that is what is worth telling.
            match sent.failure.lock().take() {
                Some(text) => CallError::Snapshot(text),
                None => CallError::http(error),
            }
        })?,
        () = waited_for => return Err(CallError::Slow {
            what: "the answer to a snapshot",
            after: Duration::from_millis(PEER_SNAPSHOT_ANSWER_MS),
        }),
    };
    let (head, answer) = response.into_parts();
    let text = body::read_all(answer, PEER_QUESTION_BYTES_MAX, None).await?;
    check(&Answered {
        status: head.status,
        headers: head.headers,
        body: text,
    })
}

/// What has become of the body of the request.
#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    all: Notify,
    failure: parking_lot::Mutex<Option<String>>,
}

/// The body of the request.
struct Pieces {
    head: Option<Bytes>,
    database: DatabaseStream,
    sent: Arc<Sent>,
    /// When a pause is too long: first to be complained of, then to be borne.
    pause: Pin<Box<Sleep>>,
    complained: bool,
    paused: bool,
}

impl Pieces {
    fn fail(&self, text: String) -> Option<Result<Bytes, String>> {
        *self.sent.failure.lock() = Some(text.clone());
        Some(Err(text))
    }

    fn on_piece(&mut self, piece: Bytes) -> Option<Result<Bytes, String>> {
        self.paused = false;
        self.complained = false;
        self.sent
            .bytes
            .fetch_add(piece.len() as u64, Ordering::Relaxed);
        Some(Ok(piece))
    }

    /// Minds how long nothing has come.
    fn mind(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, String>>> {
        if !self.paused {
            self.paused = true;
            let deadline = Instant::now() + Duration::from_millis(PEER_SNAPSHOT_PAUSE_MS);
            self.pause.as_mut().reset(deadline);
        }
        while self.pause.as_mut().poll(cx).is_ready() {
            if self.complained {
                let text = format!("the database paused for {PEER_SNAPSHOT_UNREAD_MS} ms");
                return Poll::Ready(self.fail(text));
            }
            self.complained = true;
            tracing::warn!(
                "a snapshot pauses for more than {PEER_SNAPSHOT_PAUSE_MS} ms: its receiver may \
                 give up"
            );
            let rest = PEER_SNAPSHOT_UNREAD_MS - PEER_SNAPSHOT_PAUSE_MS;
            self.pause
                .as_mut()
                .reset(Instant::now() + Duration::from_millis(rest));
        }
        Poll::Pending
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, String>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Some(head) = this.head.take() {
            return Poll::Ready(this.on_piece(head));
        }
        match this.database.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(piece))) => Poll::Ready(this.on_piece(piece)),
            Poll::Ready(Some(Err(text))) => Poll::Ready(this.fail(text)),
            Poll::Ready(None) => {
                this.sent.all.notify_one();
                Poll::Ready(None)
            }
            Poll::Pending => this.mind(cx),
        }
    }
}
