//! The framing against bytes that etcd 3.7.1 has sent, against itself in random pieces, and
//! against bytes that are no stream.

use super::*;
use crate::raftpb::{ConfState, Entry, Snapshot, SnapshotMetadata};
use bytes::{BufMut as _, Bytes, BytesMut};
use proptest::prelude::*;
use tenet_base::MemberId;
use tenet_base::limits::{PEER_MESSAGE_BYTES_MAX, PEER_SNAPSHOT_MESSAGE_BYTES_MAX};

const FROM: MemberId = MemberId(7);
const TO: MemberId = MemberId(5);

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn app(term: u64, log_term: u64, index: u64, entries: &[(u64, u64, &str)]) -> Message {
    Message {
        msg_type: MessageType::App as i32,
        to: TO.get(),
        from: FROM.get(),
        term,
        log_term,
        index,
        commit: index,
        entries: entries
            .iter()
            .map(|(term, index, data)| Entry {
                term: *term,
                index: *index,
                data: Bytes::copy_from_slice(data.as_bytes()),
                ..Entry::default()
            })
            .collect(),
        ..Message::default()
    }
}

fn all_messages(mut input: Bytes, piece: usize) -> Result<Vec<Message>, StreamError> {
    let mut decoder = MessageDecoder::new();
    let mut messages = Vec::new();
    while !input.is_empty() {
        decoder.push(input.split_to(piece.min(input.len())));
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    decoder.finish().map(|()| messages)
}

fn all_appends(mut input: Bytes, piece: usize) -> Result<Vec<Message>, StreamError> {
    let mut decoder = AppendDecoder::new(FROM, TO);
    let mut messages = Vec::new();
    while !input.is_empty() {
        decoder.push(input.split_to(piece.min(input.len())));
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    decoder.finish().map(|()| messages)
}

#[test]
fn captured_heartbeat_of_etcd_is_read_in_any_pieces() {
    // Captured from etcd 3.7.1; the members' ids take ten bytes each.
    let stream = bytes(
        "000000000000001c 0808 10 fbc791f3e18dfac4c201 18 c3e0d1a3d9f3e695de01 2002 4000
         0000000000000002 0808",
    );
    for piece in [1, 2, 7, 8, 9, 1000] {
        let messages = all_messages(stream.clone(), piece).unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].kind(), Some(MessageType::Heartbeat));
        assert_eq!((messages[0].term, messages[0].commit), (2, 0));
        assert!(!is_link_heartbeat(&messages[0]));
        assert!(is_link_heartbeat(&messages[1]));
    }
}

#[test]
fn sign_of_life_of_etcd_3_6_is_one_too() {
    let stream = bytes("0000000000000014 0808 1000 1800 2000 2800 3000 4000 5000 5800 6800");
    let messages = all_messages(stream, 3).unwrap();
    assert_eq!(messages.len(), 1);
    assert!(is_link_heartbeat(&messages[0]));
}

#[test]
fn our_signs_of_life_are_read_as_such() {
    let message = all_messages(Bytes::from_static(message::LINK_HEARTBEAT), 4).unwrap();
    let append = all_appends(Bytes::from_static(append::LINK_HEARTBEAT), 4).unwrap();
    assert!(is_link_heartbeat(&message[0]) && is_link_heartbeat(&append[0]));
    assert_eq!((message.len(), append.len()), (1, 1));
}

#[test]
fn what_continues_in_the_same_term_travels_without_its_envelope() {
    let mut encoder = AppendEncoder::new();
    let mut out = BytesMut::new();
    encoder.encode(&app(2, 2, 10, &[(2, 11, "a")]), &mut out);
    assert_eq!(out[0], 2, "the first message of a connection is whole");
    let first = out.split().len();
    assert!(first > 9);

    encoder.encode(&app(2, 2, 11, &[(2, 12, "b"), (2, 13, "c")]), &mut out);
    assert_eq!(
        out.split().freeze(),
        bytes(
            "01 0000000000000002
             0000000000000009 0800 1002 180c 220162
             0000000000000009 0800 1002 180d 220163
             000000000000000b"
        )
    );
    // No entries, only news of the commit index.
    encoder.encode(&app(2, 2, 13, &[]), &mut out);
    assert_eq!(
        out.split().freeze(),
        bytes("01 0000000000000000 000000000000000d")
    );
}

#[test]
fn what_does_not_continue_travels_whole() {
    let begin = app(2, 2, 10, &[(2, 11, "a")]);
    for (what, next) in [
        ("a gap", app(2, 2, 12, &[])),
        ("a step back", app(2, 2, 10, &[(2, 11, "a")])),
        ("another term", app(3, 2, 11, &[(3, 12, "b")])),
        ("another term of the log", app(2, 1, 11, &[(2, 12, "b")])),
    ] {
        let mut encoder = AppendEncoder::new();
        let mut out = BytesMut::new();
        encoder.encode(&begin, &mut out);
        let at = out.len();
        encoder.encode(&next, &mut out);
        assert_eq!(out[at], 2, "{what}");
        assert_eq!(all_appends(out.freeze(), 5).unwrap(), [begin.clone(), next]);
    }
}

#[test]
fn append_stream_of_etcd_is_read() {
    // As etcd 3.7 writes it: entries have no type, a message only what was set. A whole message,
    // a sign of life, then an entry that continues.
    let stream = bytes(
        "02 000000000000001a 0803 1005 1807 2002 2801 3001 3a06 1002 1802 2200 4001 5000 5800
         00
         01 0000000000000001 0000000000000007 1002 1803 220178 0000000000000002",
    );
    for piece in [1, 3, 64] {
        let messages = all_appends(stream.clone(), piece).unwrap();
        assert_eq!(messages.len(), 3);
        assert_eq!((messages[0].index, messages[0].log_term), (1, 1));
        assert!(is_link_heartbeat(&messages[1]));
        assert_eq!(
            messages[2],
            Message {
                commit: 2,
                ..app(2, 2, 2, &[(2, 3, "x")])
            }
        );
    }
}

#[test]
fn whatever_is_claimed_only_what_arrives_is_held() {
    let mut decoder = MessageDecoder::new();
    decoder.push(Bytes::copy_from_slice(
        &(PEER_MESSAGE_BYTES_MAX as u64).to_be_bytes(),
    ));
    assert_eq!(decoder.next_message(), Ok(None));
    decoder.push(Bytes::from_static(&[0; 100]));
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.held_bytes(), 100);
    assert_eq!(
        decoder.finish(),
        Err(StreamError::Truncated { held_bytes: 100 })
    );
}

#[test]
fn an_entry_that_is_claimed_and_has_not_come_is_not_held() {
    let mut decoder = AppendDecoder::new(FROM, TO);
    let claim = [&[1][..], &1_u64.to_be_bytes(), &1_000_000_u64.to_be_bytes()].concat();
    decoder.push(claim.into());
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.held_bytes(), 0);
    decoder.push(Bytes::from_static(&[0; 10]));
    assert_eq!(decoder.next_message(), Ok(None));
    assert_eq!(decoder.held_bytes(), 10);
}

#[test]
fn lengths_beyond_the_limits_are_refused_at_once() {
    for claimed in [PEER_MESSAGE_BYTES_MAX as u64 + 1, u64::MAX] {
        let number = claimed.to_be_bytes();
        let too_long = |error: StreamError| matches!(error, StreamError::TooLong { len_bytes, .. } if len_bytes >= claimed);
        assert!(too_long(
            all_messages(Bytes::copy_from_slice(&number), 8).unwrap_err()
        ));
        let whole = [&[2][..], &number].concat();
        assert!(too_long(all_appends(whole.into(), 9).unwrap_err()));
        let entry = [&[1][..], &1_u64.to_be_bytes(), &number].concat();
        assert!(too_long(all_appends(entry.into(), 9).unwrap_err()));
        let error = SnapshotDecoder::new()
            .push(Bytes::copy_from_slice(&number))
            .unwrap_err();
        assert!(error.to_string().contains("is longer than"), "{error}");
    }
    assert_eq!(PEER_SNAPSHOT_MESSAGE_BYTES_MAX, 64 << 20, "as in etcd");
}

#[test]
fn entries_without_end_are_refused_though_each_is_empty() {
    let mut decoder = AppendDecoder::new(FROM, TO);
    decoder.push([&[1][..], &u64::MAX.to_be_bytes()].concat().into());
    let empty = Bytes::from(vec![0; 8 * 1024]);
    let mut pushed = 0_usize;
    let error = loop {
        decoder.push(empty.clone());
        pushed += 1;
        match decoder.next_message() {
            Ok(None) => assert!(pushed < PEER_MESSAGE_BYTES_MAX, "it went on"),
            Ok(Some(message)) => panic!("{message:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            StreamError::TooLong {
                what: "a record of entries",
                ..
            }
        ),
        "{error}"
    );
    assert!(decoder.held_bytes() <= PEER_MESSAGE_BYTES_MAX + empty.len());
}

#[test]
fn what_is_no_stream_says_why() {
    for (input, text) in [
        (
            "0000000000000003 ffffff",
            "the bytes of a message cannot be decoded",
        ),
        (
            "00000000000000ff 08",
            "the stream ended in the middle of a message, 1 bytes",
        ),
        (
            "0000",
            "the stream ended in the middle of a message, 2 bytes",
        ),
    ] {
        let error = all_messages(bytes(input), 100).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    for (input, text) in [
        ("47", "a record of the unknown type 71"),
        (
            "01 0000000000000001 0000000000000003 ffffff",
            "the bytes of an entry cannot be decoded",
        ),
        ("01 0000000000000001", "the stream ended in the middle"),
        (
            // An index at the end of all numbers, and one entry more.
            "02 0000000000000011 0803 1005 1807 30ffffffffffffffffff01
             01 0000000000000001 0000000000000000 0000000000000000",
            "more entries than there are indexes",
        ),
    ] {
        let error = all_appends(bytes(input), 100).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}

#[test]
fn database_behind_the_message_is_given_back_whole() {
    let message = Message {
        msg_type: MessageType::Snap as i32,
        to: TO.get(),
        from: FROM.get(),
        term: 3,
        snapshot: Some(Box::new(Snapshot {
            data: Bytes::from_static(b"{}"),
            metadata: Some(SnapshotMetadata {
                conf_state: Some(ConfState {
                    voters: vec![5, 7],
                    ..ConfState::default()
                }),
                index: 42,
                term: 3,
            }),
        })),
        ..Message::default()
    };
    let head = snapshot::encode_head(&message);
    let database = Bytes::from_static(b"the database, as long as it may be");
    let body: Bytes = [&head[..], &database].concat().into();
    for piece in [1, 8, 13, 1000] {
        let mut decoder = SnapshotDecoder::new();
        let mut rest = body.clone();
        let (read, mut begin) = loop {
            let next = rest.split_to(piece.min(rest.len()));
            assert!(!next.is_empty(), "{}", decoder.truncated());
            if let Some(found) = decoder.push(next).unwrap() {
                break (found.0, found.1.to_vec());
            }
        };
        begin.extend_from_slice(&rest);
        assert_eq!((&read, &begin[..]), (&message, &database[..]));
    }
}

#[test]
#[should_panic(expected = "only appended entries travel on this stream")]
fn another_message_on_the_append_stream_would_be_misread() {
    AppendEncoder::new().encode(&Message::default(), &mut BytesMut::new());
}

/// A message of any type with any fields set.
fn any_message() -> impl Strategy<Value = Message> {
    let numbers = (0_i32..19, any::<[u64; 7]>(), any::<bool>());
    let entries = prop::collection::vec((any::<u64>(), any::<u64>(), 0_usize..40), 0..4);
    (numbers, entries, 0_usize..20).prop_map(|((kind, n, reject), entries, context)| Message {
        msg_type: kind,
        to: n[0],
        from: n[1],
        term: n[2],
        log_term: n[3],
        index: n[4],
        commit: n[5],
        reject,
        reject_hint: n[6],
        context: Bytes::from(vec![1; context]),
        entries: entries
            .into_iter()
            .map(|(term, index, len)| Entry {
                term,
                index,
                data: Bytes::from(vec![9; len]),
                ..Entry::default()
            })
            .collect(),
        ..Message::default()
    })
}

/// Appends as a leader sends them: mostly in sequence, now and then with a jump or a new term.
fn appends() -> impl Strategy<Value = Vec<Message>> {
    prop::collection::vec((0_u8..8, prop::collection::vec(0_usize..30, 0..5)), 1..20).prop_map(
        |moves| {
            let (mut term, mut log_term, mut index) = (1, 0, 0);
            let mut sent = Vec::new();
            for (kind, lens) in moves {
                match kind {
                    0 => (term, index) = (term + 1, index / 2),
                    1 => index += 3,
                    2 => log_term = term - 1,
                    _ => {}
                }
                let mut message = app(term, log_term, index, &[]);
                message.entries = (index + 1..)
                    .zip(lens)
                    .map(|(index, len)| Entry {
                        term,
                        index,
                        data: Bytes::from(vec![b'x'; len]),
                        ..Entry::default()
                    })
                    .collect();
                index += message.entries.len() as u64;
                if !message.entries.is_empty() {
                    log_term = term;
                }
                sent.push(message);
            }
            sent
        },
    )
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_whatever_the_pieces(
        sent in prop::collection::vec(any_message(), 0..8),
        piece in 1_usize..200,
    ) {
        let mut out = BytesMut::new();
        for message in &sent {
            message::encode(message, &mut out);
        }
        prop_assert_eq!(all_messages(out.freeze(), piece), Ok(sent));
    }

    #[test]
    fn appends_come_out_as_they_went_in_whatever_the_pieces(
        sent in appends(),
        piece in 1_usize..200,
    ) {
        let mut out = BytesMut::new();
        let mut encoder = AppendEncoder::new();
        for message in &sent {
            encoder.encode(message, &mut out);
            out.put_slice(append::LINK_HEARTBEAT);
        }
        let mut read = all_appends(out.freeze(), piece).unwrap();
        read.retain(|message| !is_link_heartbeat(message));
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn a_cut_stream_is_never_taken_for_a_whole_one(sent in appends(), cut in 1_usize..100) {
        let mut out = BytesMut::new();
        let mut encoder = AppendEncoder::new();
        let mut ends = vec![0];
        for message in &sent {
            encoder.encode(message, &mut out);
            ends.push(out.len());
        }
        let kept = out.len().saturating_sub(cut);
        let read = all_appends(out.freeze().slice(..kept), 17);
        prop_assert_eq!(read.is_ok(), ends.contains(&kept));
    }

    #[test]
    fn garbage_is_refused_or_starves_and_never_grows(
        garbage in prop::collection::vec(any::<u8>(), 0..400),
        piece in 1_usize..50,
    ) {
        let len = garbage.len();
        let mut decoder = AppendDecoder::new(FROM, TO);
        for piece in garbage.chunks(piece) {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Ok(Some(_)) = decoder.next_message() {}
            prop_assert!(decoder.held_bytes() <= 65 * len);
        }
        let _ = all_messages(garbage.into(), piece);
    }
}
