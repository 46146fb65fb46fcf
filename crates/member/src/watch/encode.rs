//! Watch responses in their wire form.
//!
//! A stored record is an encoded `KeyValue` already, so an event is a record with a few bytes
//! before it. Messages of changes are therefore put together by hand; tests compare them with what
//! prost writes. All others are encoded by prost.

use crate::identity::Identity;
use bytes::Bytes;
use tenet_mvcc::Event;
use tenet_proto::etcdserverpb::{ResponseHeader, WatchResponse};
use tenet_proto::prost::Message as _;
use tenet_proto::prost::encoding::{encode_varint, encoded_len_varint};

const EVENTS: u8 = (11 << 3) | 2;
const FRAGMENT: [u8; 2] = [7 << 3, 1];
const EVENT_IS_DELETE: [u8; 2] = [1 << 3, 1];
const EVENT_KV: u8 = (2 << 3) | 2;
const EVENT_PREV_KV: u8 = (3 << 3) | 2;
const KV_MOD_REVISION: u8 = 3 << 3;

/// Encoded events of one response.
#[derive(Debug, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
    /// Where each event ends.
    ends: Vec<usize>,
}

impl Events {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Appends an event, with the key-value that was there before it.
    pub(super) fn push(&mut self, event: &Event, prev_kv: Option<&[u8]>) {
        let mod_revision = event.revision.0 as u64;
        let kv_len = match event.is_delete {
            true => event.record.len() + 1 + encoded_len_varint(mod_revision),
            false => event.record.len(),
        };
        let kind_len = if event.is_delete {
            EVENT_IS_DELETE.len()
        } else {
            0
        };
        let prev_len = prev_kv.map_or(0, |kv| field_len(kv.len()));
        let out = &mut self.bytes;
        out.reserve(16 + kind_len + field_len(kv_len) + prev_len);
        out.push(EVENTS);
        encode_varint((kind_len + field_len(kv_len) + prev_len) as u64, out);
        if event.is_delete {
            out.extend_from_slice(&EVENT_IS_DELETE);
        }
        out.push(EVENT_KV);
        encode_varint(kv_len as u64, out);
        out.extend_from_slice(&event.record);
        if event.is_delete {
            out.push(KV_MOD_REVISION);
            encode_varint(mod_revision, out);
        }
        if let Some(kv) = prev_kv {
            out.push(EVENT_PREV_KV);
            encode_varint(kv.len() as u64, out);
            out.extend_from_slice(kv);
        }
        self.ends.push(out.len());
    }
}

/// A field of one byte of tag, its length, and its content.
fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

/// The header of responses.
pub(super) fn header(identity: Identity, term: u64, revision: i64) -> ResponseHeader {
    ResponseHeader {
        cluster_id: identity.cluster.get(),
        member_id: identity.member.get(),
        revision,
        raft_term: term,
    }
}

/// A response that is no list of events.
pub(super) fn response(response: &WatchResponse) -> Bytes {
    response.encode_to_vec().into()
}

/// Appends the response with all of `events`, or with `cut_at` several, each smaller than that
/// where more than one event is in it. `head` is the response without events.
pub(super) fn push_responses(
    head: &WatchResponse,
    events: &Events,
    cut_at: Option<usize>,
    out: &mut Vec<Bytes>,
) {
    let head = head.encode_to_vec();
    let cut_at = cut_at.filter(|max| head.len() + events.bytes() >= *max && events.len() > 1);
    let Some(max) = cut_at else {
        let mut message = Vec::with_capacity(head.len() + events.bytes());
        message.extend_from_slice(&head);
        message.extend_from_slice(&events.bytes);
        out.push(message.into());
        return;
    };
    let mut start = 0;
    let mut rest = &events.ends[..];
    while !rest.is_empty() {
        let room = max.saturating_sub(head.len() + FRAGMENT.len());
        let fit = rest.partition_point(|end| end - start < room).max(1);
        let end = rest[fit - 1];
        rest = &rest[fit..];
        let mut message = head.clone();
        if !rest.is_empty() {
            message.extend_from_slice(&FRAGMENT);
        }
        message.extend_from_slice(&events.bytes[start..end]);
        out.push(message.into());
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenet_base::Revision;
    use tenet_base::{ClusterId, MemberId};
    use tenet_proto::mvccpb::event::EventType;
    use tenet_proto::mvccpb::{self, KeyValue};

    fn kv(number: usize) -> KeyValue {
        KeyValue {
            key: format!("key/{number}").into(),
            create_revision: 300,
            mod_revision: 300 + number as i64,
            version: 1 + number as i64,
            value: vec![b'v'; 10 * number].into(),
            lease: 7,
        }
    }

    fn events(count: usize) -> (Events, Vec<mvccpb::Event>) {
        let (mut events, mut wanted) = (Events::default(), Vec::new());
        for number in 0..count {
            let prev = (number % 3 == 0).then(|| kv(number + 50));
            let mut full = kv(number);
            let is_delete = number % 4 == 1;
            let revision = Revision(full.mod_revision);
            let record = if is_delete {
                full = KeyValue {
                    key: full.key,
                    ..KeyValue::default()
                };
                full.encode_to_vec()
            } else {
                full.encode_to_vec()
            };
            let event = Event {
                revision,
                sub: 0,
                is_delete,
                is_create: false,
                key: full.key.clone(),
                record: record.into(),
            };
            let prev_bytes = prev.as_ref().map(KeyValue::encode_to_vec);
            events.push(&event, prev_bytes.as_deref());
            if is_delete {
                full.mod_revision = revision.0;
            }
            let kind = if is_delete {
                EventType::Delete
            } else {
                EventType::Put
            };
            wanted.push(mvccpb::Event {
                r#type: kind.into(),
                kv: Some(full.clone()),
                prev_kv: prev,
            });
        }
        (events, wanted)
    }

    fn head() -> WatchResponse {
        let identity = Identity {
            cluster: ClusterId(0xcdf8_181e_3277_05ca),
            member: MemberId(0x8e9e_05c5_2164_694d),
        };
        WatchResponse {
            header: Some(header(identity, 3, 900)),
            watch_id: 5,
            ..WatchResponse::default()
        }
    }

    #[test]
    fn messages_are_what_protobuf_writes() {
        for count in [1, 2, 40] {
            let (events, wanted) = events(count);
            let mut out = Vec::new();
            push_responses(&head(), &events, None, &mut out);
            let wanted = WatchResponse {
                events: wanted,
                ..head()
            };
            assert_eq!(out, [wanted.encode_to_vec()]);
        }
    }

    #[test]
    fn fragments_are_below_the_limit_and_hold_all_events_in_order() {
        let (events, wanted) = events(40);
        for max in [1, 100, 500, 2_000, 1_000_000] {
            let mut out = Vec::new();
            push_responses(&head(), &events, Some(max), &mut out);
            let parts: Vec<WatchResponse> = out
                .iter()
                .map(|part| WatchResponse::decode(&part[..]).unwrap())
                .collect();
            let (last, others) = parts.split_last().unwrap();
            assert!(!last.fragment && others.iter().all(|part| part.fragment));
            for (part, bytes) in parts.iter().zip(&out) {
                assert!(
                    bytes.len() < max || part.events.len() == 1,
                    "{} bytes",
                    bytes.len()
                );
            }
            let found: Vec<_> = parts.into_iter().flat_map(|part| part.events).collect();
            assert_eq!(found, wanted, "cut at {max}");
        }
    }
}
