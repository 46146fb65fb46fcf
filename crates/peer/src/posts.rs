//! Messages that are posted one by one, a few at once, while there is no stream (etcd's pipeline).
//! They may arrive in another order.

use crate::body::RequestBody;
use crate::call::{Answered, CallError};
use crate::peer::{Contact, Tasks};
use crate::queue::{QueueReceiver, QueueSender, queue};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tenet_base::limits::{
    PEER_POSTS_MAX, PEER_POSTS_WAITING_MAX, PEER_QUESTION_BYTES_MAX, PEER_QUEUE_BYTES_MAX,
    PEER_SILENCE_MS,
};
use tenet_proto::raftpb::Message;
use tokio::sync::Mutex;

/// etcd's name for this way, in log lines.
const NAME: &str = "pipeline";

/// See the module.
#[derive(Debug)]
pub(crate) struct Posts(QueueSender);

impl Posts {
    /// Starts the tasks that post.
    pub(crate) fn start(contact: &Arc<Contact>, tasks: &mut Tasks) -> Posts {
        let (sender, receiver) = queue(PEER_POSTS_WAITING_MAX, PEER_QUEUE_BYTES_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..PEER_POSTS_MAX {
            let task = run(contact.clone(), receiver.clone());
            tasks.spawn(&contact.shared.runtime, task);
        }
        Posts(sender)
    }

    /// Queues a message; says whether there was room for it.
    pub(crate) fn send(&self, message: Message) -> bool {
        self.0.push(message)
    }
}

async fn run(contact: Arc<Contact>, queue: Arc<Mutex<QueueReceiver>>) {
    loop {
        let next = queue.lock().await.next().await;
        let Some(message) = next else {
            return;
        };
        let bytes = bytes::Bytes::from(message.encode_to_vec());
        let len = bytes.len() as u64;
        match post(&contact, bytes).await {
            Ok(()) => {
                contact.status.activate();
                contact.counts.sent_bytes.add(len);
            }
            Err(error) => {
                contact.status.deactivate(NAME, "write", &error.to_string());
                contact.counts.sent_failures.add(1);
                contact.report_unreachable();
            }
        }
    }
}

async fn post(contact: &Contact, bytes: bytes::Bytes) -> Result<(), CallError> {
    let url = contact.picker.pick();
    let request = request(contact, "/raft", "application/protobuf", bytes.into());
    let patience = contact.shared.options.dial_timeout + Duration::from_millis(PEER_SILENCE_MS);
    let called = contact
        .shared
        .pool
        .call(&url, request, PEER_QUESTION_BYTES_MAX, patience);
    let result = called.await.and_then(|answered| check(&answered));
    if let Err(error) = &result {
        failed(contact, &url, error);
    }
    result
}

/// A request about raft.
pub(crate) fn request(
    contact: &Contact,
    path: &'static str,
    kind: &'static str,
    body: RequestBody,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    *request.headers_mut() = contact.shared.own_headers.clone();
    request
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    request
}

/// What an answer to a post means.
pub(crate) fn check(answered: &Answered) -> Result<(), CallError> {
    match answered.status {
        StatusCode::NO_CONTENT => Ok(()),
        // Said by members before 3.7, and only of one that was removed.
        StatusCode::FORBIDDEN => Err(CallError::Removed),
        status => Err(CallError::Status {
            status,
            text: answered.text(),
        }),
    }
}

/// Draws what follows from a failed post.
pub(crate) fn failed(contact: &Contact, url: &crate::PeerUrl, error: &CallError) {
    contact.picker.failed(url);
    if matches!(error, CallError::Removed) {
        contact.shared.handler.removed_says(contact.id);
    }
}
