//! Messages that wait to be sent: bounded by number and by bytes, never waited for by the sender.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tenet_base::limits::PEER_ENTRY_OVERHEAD_BYTES;
use tenet_proto::raftpb::Message;
use tokio::sync::mpsc;

/// The end that sends.
#[derive(Clone, Debug)]
pub(crate) struct QueueSender {
    sender: mpsc::Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The end that takes.
#[derive(Debug)]
pub(crate) struct QueueReceiver {
    receiver: mpsc::Receiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// An empty queue.
pub(crate) fn queue(messages_max: usize, bytes_max: usize) -> (QueueSender, QueueReceiver) {
    let (sender, receiver) = mpsc::channel(messages_max);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let sender = QueueSender {
        sender,
        waiting_bytes: waiting_bytes.clone(),
        bytes_max,
    };
    (
        sender,
        QueueReceiver {
            receiver,
            waiting_bytes,
        },
    )
}

/// What a message holds in memory, roughly.
fn bytes_of(message: &Message) -> usize {
    let entries: usize = message
        .entries
        .iter()
        .map(|entry| entry.data.len() + PEER_ENTRY_OVERHEAD_BYTES)
        .sum();
    size_of::<Message>() + entries + message.context.len()
}

impl QueueSender {
    /// Adds a message; says whether there was room for it. One message always has room.
    pub(crate) fn push(&self, message: Message) -> bool {
        let bytes = bytes_of(&message);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before == 0 || before + bytes <= self.bytes_max;
        let queued = fits && self.sender.try_send(message).is_ok();
        if !queued {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        queued
    }
}

impl QueueReceiver {
    /// The next message, or `None` once all senders are gone and nothing waits.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.receiver.poll_recv(cx);
        if let Poll::Ready(Some(message)) = &next {
            self.waiting_bytes
                .fetch_sub(bytes_of(message), Ordering::Relaxed);
        }
        next
    }

    /// The next message, or `None` once all senders are gone and nothing waits.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_proto::raftpb::Entry;

    fn of_bytes(len: usize) -> Message {
        Message {
            entries: vec![Entry {
                data: vec![0; len].into(),
                ..Entry::default()
            }],
            ..Message::default()
        }
    }

    #[tokio::test]
    async fn what_is_too_many_or_too_much_finds_no_room() {
        let (sender, mut receiver) = queue(2, 10_000);
        for _ in 0..2 {
            assert!(sender.push(of_bytes(1)));
        }
        assert!(!sender.push(of_bytes(1)));
        assert!(receiver.next().await.is_some());
        assert!(!sender.push(of_bytes(20_000)));
        assert!(receiver.next().await.is_some());
        assert!(sender.push(of_bytes(20_000)), "alone it has room");
        assert!(!sender.push(of_bytes(1)));
        assert_eq!(receiver.next().await.unwrap().entries[0].data.len(), 20_000);
        assert!(receiver.is_empty());
        assert!(sender.push(of_bytes(1)));
    }
}
