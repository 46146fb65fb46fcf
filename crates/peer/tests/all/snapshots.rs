//! Snapshots from one member to another.

use crate::world::{Member, answer, connect, headers, message, pair, request, until};
use bytes::Bytes;
use futures_core::Stream;
use prost::Message as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tenet_base::MemberId;
use tenet_peer::DatabaseStream;
use tenet_proto::peer::snapshot::encode_head;
use tenet_proto::raftpb::{Message, MessageType, Snapshot, SnapshotMetadata};
use tokio::io::AsyncWriteExt as _;

const PIECE_BYTES: u64 = 64 * 1024;

/// The announcement of a snapshot.
fn announced(from: MemberId, to: MemberId, index: u64) -> Message {
    Message {
        snapshot: Some(Box::new(Snapshot {
            data: Bytes::from_static(b"{}"),
            metadata: Some(SnapshotMetadata {
                index,
                term: 3,
                ..SnapshotMetadata::default()
            }),
        })),
        ..message(MessageType::Snap, from, to)
    }
}

/// A database that is made while it is sent; counts what was made.
struct Made {
    left: u64,
    made: Arc<AtomicU64>,
    /// What comes at the end instead of an end.
    failure: Option<&'static str>,
}

impl Stream for Made {
    type Item = Result<Bytes, String>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(self.failure.take().map(|text| Err(text.into())));
        }
        self.left -= 1;
        let at = self.made.fetch_add(PIECE_BYTES, Ordering::Relaxed);
        let byte = u8::try_from(at / PIECE_BYTES % 251).unwrap();
        Poll::Ready(Some(Ok(
            vec![byte; usize::try_from(PIECE_BYTES).unwrap()].into()
        )))
    }
}

fn made(pieces: u64, failure: Option<&'static str>) -> (DatabaseStream, Arc<AtomicU64>) {
    let made = Arc::new(AtomicU64::new(0));
    let stream = Made {
        left: pieces,
        made: made.clone(),
        failure,
    };
    (Box::pin(stream), made)
}

fn of(text: &'static str) -> DatabaseStream {
    struct Once(Option<Bytes>);
    impl Stream for Once {
        type Item = Result<Bytes, String>;
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }
    Box::pin(Once(Some(Bytes::from_static(text.as_bytes()))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_arrives_as_it_was_made_and_only_as_fast_as_it_is_taken() {
    let (a, b) = pair().await;
    b.recorder.full.store(true, Ordering::Relaxed);
    let (database, made) = made(1_600, None);
    a.transport
        .send_snapshot(announced(a.id, b.id, 42), database);
    // What is made ahead fits in the buffers of two sockets.
    let mut before = u64::MAX;
    while made.load(Ordering::Relaxed) != before {
        before = made.load(Ordering::Relaxed);
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(
        before > 0 && before < 32 << 20,
        "{before} bytes were made ahead"
    );
    assert_eq!(
        b.transport.metrics().members()[0]
            .1
            .snapshots_being_received
            .get(),
        1
    );
    b.recorder.full.store(false, Ordering::Relaxed);
    a.until("the report", |seen| seen.snapshots == [(b.id, true)])
        .await;
    let content = b.recorder.seen(|seen| seen.databases[0].clone()).unwrap();
    assert_eq!(content.len(), 1_600 * 64 * 1024);
    assert!(content.chunks(64 * 1024).zip(0_usize..).all(|(piece, at)| {
        let byte = u8::try_from(at % 251).unwrap();
        piece.iter().all(|is| *is == byte)
    }));
    assert_eq!(b.messages()[0], announced(a.id, b.id, 42));
    let (sent, received) = (
        a.transport.metrics().members()[0].1.clone(),
        b.transport.metrics().members()[0].1.clone(),
    );
    assert_eq!(
        (sent.snapshots_sent.get(), received.snapshots_received.get()),
        (1, 1)
    );
    assert_eq!(
        sent.snapshots_being_sent.get() + received.snapshots_being_received.get(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_made_to_its_end_never_counts_as_arrived() {
    let (a, b) = pair().await;
    let (database, _) = made(10, Some("the disk is gone"));
    a.transport
        .send_snapshot(announced(a.id, b.id, 42), database);
    a.until("the report", |seen| seen.snapshots == [(b.id, false)])
        .await;
    b.until("the end", |seen| seen.databases.len() == 1).await;
    assert!(b.recorder.seen(|seen| seen.databases[0].is_err()));
    assert!(b.messages().is_empty());
    // The next one has its turn.
    a.transport
        .send_snapshot(announced(a.id, b.id, 43), of("sound"));
    a.until("the next", |seen| seen.snapshots.contains(&(b.id, true)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_snapshot_is_reported_as_such() {
    let (a, b) = pair().await;
    a.transport
        .send_snapshot(announced(a.id, b.id, 42), of("unsound"));
    a.until("the report", |seen| seen.snapshots == [(b.id, false)])
        .await;
    a.until("the report", |seen| seen.unreachable.contains(&b.id))
        .await;
    let counts = b.transport.metrics().members()[0].1.clone();
    assert_eq!(counts.snapshot_receive_failures.get(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_snapshot_is_on_its_way_to_a_member_at_a_time() {
    let (a, b) = pair().await;
    b.recorder.full.store(true, Ordering::Relaxed);
    a.transport
        .send_snapshot(announced(a.id, b.id, 42), of("sound"));
    a.transport
        .send_snapshot(announced(a.id, b.id, 43), of("sound"));
    a.until("the refusal", |seen| seen.snapshots == [(b.id, false)])
        .await;
    b.recorder.full.store(false, Ordering::Relaxed);
    a.until("the report", |seen| seen.snapshots.contains(&(b.id, true)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_removed_or_unknown_gets_none_and_that_is_reported() {
    let (a, b) = pair().await;
    b.recorder.full.store(true, Ordering::Relaxed);
    a.transport
        .send_snapshot(announced(a.id, b.id, 42), made(100_000, None).0);
    let counts = a.transport.metrics().members()[0].1.clone();
    until("the sending", || counts.snapshots_being_sent.get() == 1).await;
    a.transport.remove_peer(b.id);
    a.until("the report", |seen| seen.snapshots == [(b.id, false)])
        .await;
    a.transport
        .send_snapshot(announced(a.id, b.id, 43), of("sound"));
    a.until("the report", |seen| seen.snapshots.len() == 2)
        .await;
    // Whoever takes the database finds that the rest does not come.
    b.recorder.full.store(false, Ordering::Relaxed);
    let counts = b.transport.metrics().members()[0].1.clone();
    until("the end", || counts.snapshots_being_received.get() == 0).await;
    assert!(
        b.recorder
            .seen(|seen| seen.databases.iter().all(Result::is_err))
    );
    assert!(b.messages().is_empty());
    assert!(
        counts.received_bytes.get() < 64 << 20,
        "it was sent to its end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_snapshot_is_refused_before_anything_is_stored() {
    let member = Member::start(1).await;
    let (two, one) = (MemberId(2), MemberId(1));
    let heartbeat = {
        let message = message(MessageType::Heartbeat, two, one).encode_to_vec();
        [&(message.len() as u64).to_be_bytes()[..], &message].concat()
    };
    let without_index = encode_head(&announced(two, one, 0)).to_vec();
    for (body, status, text) in [
        (heartbeat, 400, "wrong raft message type\n"),
        (without_index, 400, "wrong raft message type\n"),
        (
            encode_head(&announced(two, MemberId(7), 42)).to_vec(),
            500,
            "failed to process raft message (cannot process message to mismatch member)\n",
        ),
        (
            vec![0xff; 9],
            400,
            "failed to decode raft message (a message of 18446744073709551615 bytes is longer \
             than the 67108864 bytes that are accepted)\n",
        ),
        (
            vec![0, 0, 0],
            400,
            "failed to decode raft message (the stream ended in the middle of a message, 3 bytes \
             into its last part)\n",
        ),
    ] {
        let bytes = request("POST", "/raft/snapshot", &headers("2", ""), &body);
        let mut socket = connect(member.address, &bytes).await;
        assert_eq!(answer(&mut socket).await, (status, text.to_owned()));
    }
    assert!(member.recorder.seen(|seen| seen.databases.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_cut_or_stalls_is_no_database() {
    let member = Member::start(1).await;
    let head = encode_head(&announced(MemberId(2), MemberId(1), 42));
    let mut names = headers("2", "");
    names.push(("Transfer-Encoding".into(), "chunked".into()));
    let begin = request("POST", "/raft/snapshot", &names, b"");
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let begun = [begin, chunk(&head), chunk(&[7; 1000])].concat();
    let mut cut = connect(member.address, &begun).await;
    cut.shutdown().await.unwrap();
    member
        .until("the end", |seen| seen.databases.len() == 1)
        .await;
    let mut stalled = connect(member.address, &begun).await;
    let (status, text) = answer(&mut stalled).await;
    assert_eq!(
        (status, text.as_str()),
        (
            500,
            "failed to save KV snapshot (after 1000 bytes: nothing came for 5000 ms)\n"
        )
    );
    let mut whole = connect(member.address, &[begun, b"0\r\n\r\n".to_vec()].concat()).await;
    assert_eq!(answer(&mut whole).await.0, 204);
    let databases = member.recorder.seen(|seen| seen.databases.clone());
    assert_eq!(databases.len(), 3);
    assert!(databases[0].is_err() && databases[1].is_err());
    assert_eq!(databases[2], Ok(vec![7; 1000]));
}
