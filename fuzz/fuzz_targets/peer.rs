//! Reads hostile streams between members: messages that were framed as they should be come out as
//! they went in, whatever the pieces they arrive in; once they are damaged, and for bytes that never
//! were a stream, reading gives messages or an error, and never holds more than twice what came.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tenet_base::MemberId;
use tenet_fuzz::Input;
use tenet_proto::peer::{
    AppendDecoder, AppendEncoder, MessageDecoder, SnapshotDecoder, StreamError, append,
    is_link_heartbeat, message,
};
use tenet_proto::raftpb::{Entry, Message, MessageType};

const FROM: MemberId = MemberId(1);
const TO: MemberId = MemberId(2);
/// Memory that an entry of a few bytes takes, above what the bytes themselves do.
const GROWTH_MAX: usize = 64;

/// A message of appended entries, mostly one that continues where the last left off.
fn append_message(input: &mut Input<'_>, last: &Message) -> Message {
    let move_on = input.byte();
    let mut index = last.index + last.entries.len() as u64;
    let mut term = last.term;
    match move_on % 8 {
        0 => term += 1,
        1 => index = input.number(),
        2 => index = index.saturating_add(1),
        _ => {}
    }
    // A log has room behind its last index.
    index = index.min(u64::MAX / 2);
    let log_term = if move_on % 16 == 3 {
        last.log_term
    } else {
        term
    };
    let entries = (0..input.byte() % 4)
        .map(|at| {
            let len = usize::from(input.byte());
            Entry {
                term,
                index: index + 1 + u64::from(at),
                data: Bytes::copy_from_slice(input.bytes(len)),
                ..Entry::default()
            }
        })
        .collect();
    Message {
        msg_type: MessageType::App as i32,
        to: TO.get(),
        from: FROM.get(),
        term,
        log_term,
        index,
        commit: input.number(),
        entries,
        ..Message::default()
    }
}

/// Feeds a stream in pieces and gives what came out, and how it ended.
fn read(
    stream: &[u8],
    pieces: &mut Input<'_>,
    mut step: impl FnMut(Option<Bytes>) -> Result<Option<Message>, StreamError>,
    held: impl Fn(usize),
) -> (Vec<Message>, Option<StreamError>) {
    let mut messages = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let len = usize::from(pieces.byte()).max(1).min(rest.len());
        let (piece, behind) = rest.split_at(len);
        rest = behind;
        let mut next = Some(Bytes::copy_from_slice(piece));
        loop {
            match step(next.take()) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return (messages, Some(error));
                }
            }
        }
        held(stream.len() - rest.len());
    }
    (messages, None)
}

fn read_appends(stream: &[u8], pieces: &mut Input<'_>) -> (Vec<Message>, Option<StreamError>) {
    let decoder = std::cell::RefCell::new(AppendDecoder::new(FROM, TO));
    read(
        stream,
        pieces,
        |piece| {
            let mut decoder = decoder.borrow_mut();
            piece.into_iter().for_each(|piece| decoder.push(piece));
            decoder.next_message()
        },
        |came| assert!(decoder.borrow().held_bytes() <= came * GROWTH_MAX),
    )
}

fn read_messages(stream: &[u8], pieces: &mut Input<'_>) -> (Vec<Message>, Option<StreamError>) {
    let decoder = std::cell::RefCell::new(MessageDecoder::new());
    read(
        stream,
        pieces,
        |piece| {
            let mut decoder = decoder.borrow_mut();
            piece.into_iter().for_each(|piece| decoder.push(piece));
            decoder.next_message()
        },
        |came| assert!(decoder.borrow().held_bytes() <= came),
    )
}

/// Changes some bytes.
fn damage(stream: &mut [u8], input: &mut Input<'_>) {
    for _ in 0..input.byte() % 8 {
        let at = input.pair();
        let value = input.byte();
        if let Some(byte) = stream.get_mut(at) {
            *byte ^= value;
        }
    }
}

fuzz_target!(|data: &[u8]| {
    #[cfg(feature = "planted")]
    if data.len() == 13 {
        // SAFETY: none; this is the planted mistake.
        std::hint::black_box(unsafe { *data.as_ptr().add(data.len() + 64) });
    }
    // As it is.
    read_appends(data, &mut Input(data));
    read_messages(data, &mut Input(data));
    let _ = SnapshotDecoder::new().push(Bytes::copy_from_slice(data));

    // As real messages.
    let mut input = Input(data);
    let mut sent = vec![Message::default()];
    let (mut appends, mut messages) = (BytesMut::new(), BytesMut::new());
    let mut encoder = AppendEncoder::new();
    while !input.0.is_empty() && sent.len() < 64 {
        let next = append_message(&mut input, &sent[sent.len() - 1]);
        encoder.encode(&next, &mut appends);
        message::encode(&next, &mut messages);
        if next.commit % 3 == 0 {
            appends.extend_from_slice(append::LINK_HEARTBEAT);
            messages.extend_from_slice(message::LINK_HEARTBEAT);
        }
        sent.push(next);
    }
    sent.remove(0);
    for (stream, read) in [
        (&appends, read_appends as fn(&[u8], &mut Input<'_>) -> _),
        (&messages, read_messages),
    ] {
        let (mut came, error) = read(stream, &mut Input(data));
        assert_eq!(error, None);
        came.retain(|message| !is_link_heartbeat(message));
        assert_eq!(came, sent);
        let mut damaged = stream.to_vec();
        damage(&mut damaged, &mut Input(data));
        read(&damaged, &mut Input(data));
    }
});
