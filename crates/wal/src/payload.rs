//! What the data of a record holds, by kind.
//!
//! The checksum covers the data but not the kind, and an entry without data, a hard state and
//! walpb's metadata look alike on the wire. So the decoders here are strict: fields that the kind
//! does not have are refused, and whether values make sense is checked by `replay`.

use crate::frame::{Kind, Record, put_varint, read_varint};
use bytes::{BufMut, Bytes};
use tenet_base::{ClusterId, Index, MemberId, Term};
use tenet_proto::prost::Message as _;
use tenet_proto::raftpb::{ConfState, Entry, HardState};

/// Whose log it is; equal in every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The member that writes the log.
    pub member: MemberId,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// A snapshot record: the state machine is durable elsewhere at this index, so the log may begin
/// after it. The first log of a member has one at index 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The last index that the state machine covers.
    pub index: Index,
    /// The term of that index.
    pub term: Term,
    /// The configuration at that index. Absent at index 0 and in logs of etcd before 3.5.
    pub conf_state: Option<ConfState>,
}

/// A decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Metadata(Metadata),
    Entry(EntryView<'a>),
    State(HardState),
    Crc,
    Position(Position),
}

/// An entry whose data still lies in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryView<'a> {
    pub(crate) entry_type: u64,
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) data: &'a [u8],
}

impl EntryView<'_> {
    /// The entry with a copy of its data, so that it does not hold on to what was read around it.
    pub(crate) fn to_entry(self) -> Entry {
        Entry {
            entry_type: self.entry_type as i32,
            term: self.term,
            index: self.index,
            data: Bytes::copy_from_slice(self.data),
        }
    }
}

impl<'a> Payload<'a> {
    /// Decodes the data of `record`; `None` if it is not of the record's kind.
    pub(crate) fn decode(record: &Record<'a>) -> Option<Payload<'a>> {
        match record.kind {
            Kind::Metadata => decode_metadata(record.data).map(Payload::Metadata),
            Kind::Entry => decode_entry(record.data).map(Payload::Entry),
            Kind::State => decode_state(record.data).map(Payload::State),
            Kind::Crc => Some(Payload::Crc),
            Kind::Position => decode_position(record.data).map(Payload::Position),
        }
    }
}

/// A short message on the stack: all of an entry but its data, a hard state, metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    bytes: [u8; Short::BYTES_MAX],
    len: usize,
}

impl Short {
    /// Four fields of one tag byte and at most ten more each.
    const BYTES_MAX: usize = 44;

    fn build(fill: impl FnOnce(&mut &mut [u8])) -> Short {
        let mut bytes = [0; Short::BYTES_MAX];
        let mut rest = bytes.as_mut_slice();
        fill(&mut rest);
        let len = Short::BYTES_MAX - rest.len();
        Short { bytes, len }
    }

    /// The message.
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn put_uint(buffer: &mut &mut [u8], number: u8, value: u64) {
    buffer.put_u8(number << 3);
    put_varint(buffer, value);
}

/// An entry without the bytes of its data, which follow it on disk.
pub(crate) fn encode_entry_head(entry: &Entry) -> Short {
    Short::build(|buffer| {
        // As protobuf writes an i32: sign-extended. Only 0, 1 and 2 occur.
        put_uint(buffer, 1, i64::from(entry.entry_type) as u64);
        put_uint(buffer, 2, entry.term);
        put_uint(buffer, 3, entry.index);
        if !entry.data.is_empty() {
            buffer.put_u8(4 << 3 | LENGTH_DELIMITED);
            put_varint(buffer, entry.data.len() as u64);
        }
    })
}

/// A hard state; all three fields are always there.
pub(crate) fn encode_state(state: &HardState) -> Short {
    Short::build(|buffer| {
        put_uint(buffer, 1, state.term);
        put_uint(buffer, 2, state.vote);
        put_uint(buffer, 3, state.commit);
    })
}

/// The metadata record's data.
pub(crate) fn encode_metadata(metadata: Metadata) -> Short {
    Short::build(|buffer| {
        put_uint(buffer, 1, metadata.member.get());
        put_uint(buffer, 2, metadata.cluster.get());
    })
}

/// The position record's data.
pub(crate) fn encode_position(position: &Position) -> Vec<u8> {
    let head = Short::build(|buffer| {
        put_uint(buffer, 1, position.index.get());
        put_uint(buffer, 2, position.term.get());
    });
    let mut bytes = head.as_slice().to_vec();
    if let Some(conf_state) = &position.conf_state {
        bytes.put_u8(3 << 3 | LENGTH_DELIMITED);
        put_varint(&mut bytes, conf_state.encoded_len() as u64);
        bytes.put_slice(&conf_state.encode_to_vec());
    }
    bytes
}

fn decode_metadata(data: &[u8]) -> Option<Metadata> {
    let (mut member, mut cluster) = (0, 0);
    for_each_field(data, |number, value| {
        match (number, value) {
            (1, Value::Uint(value)) => member = value,
            (2, Value::Uint(value)) => cluster = value,
            _ => return None,
        }
        Some(())
    })?;
    Some(Metadata {
        member: MemberId(member),
        cluster: ClusterId(cluster),
    })
}

fn decode_entry(bytes: &[u8]) -> Option<EntryView<'_>> {
    let mut entry = EntryView {
        entry_type: 0,
        term: 0,
        index: 0,
        data: &[],
    };
    for_each_field(bytes, |number, value| {
        match (number, value) {
            (1, Value::Uint(value)) => entry.entry_type = value,
            (2, Value::Uint(value)) => entry.term = value,
            (3, Value::Uint(value)) => entry.index = value,
            (4, Value::Bytes(value)) => entry.data = value,
            _ => return None,
        }
        Some(())
    })?;
    Some(entry)
}

fn decode_state(data: &[u8]) -> Option<HardState> {
    let mut state = HardState::default();
    for_each_field(data, |number, value| {
        match (number, value) {
            (1, Value::Uint(value)) => state.term = value,
            (2, Value::Uint(value)) => state.vote = value,
            (3, Value::Uint(value)) => state.commit = value,
            _ => return None,
        }
        Some(())
    })?;
    Some(state)
}

fn decode_position(data: &[u8]) -> Option<Position> {
    let mut position = Position::default();
    for_each_field(data, |number, value| {
        match (number, value) {
            (1, Value::Uint(value)) => position.index = Index(value),
            (2, Value::Uint(value)) => position.term = Term(value),
            (3, Value::Bytes(value)) => position.conf_state = Some(ConfState::decode(value).ok()?),
            _ => return None,
        }
        Some(())
    })?;
    Some(position)
}

const LENGTH_DELIMITED: u8 = 2;

/// A field's value, of the two wire types that occur here.
enum Value<'a> {
    Uint(u64),
    Bytes(&'a [u8]),
}

/// Calls `each` with every field of a message; `None` if the bytes are no message, hold another
/// wire type, or `each` refuses.
fn for_each_field<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Value<'a>) -> Option<()>,
) -> Option<()> {
    let mut at = 0;
    while at < bytes.len() {
        let tag = read_varint(bytes, &mut at)?;
        let value = match tag & 7 {
            0 => Value::Uint(read_varint(bytes, &mut at)?),
            2 => {
                let len = usize::try_from(read_varint(bytes, &mut at)?).ok()?;
                let value = bytes.get(at..at.checked_add(len)?)?;
                at += len;
                Value::Bytes(value)
            }
            _ => return None,
        };
        each(tag >> 3, value)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind, data: &[u8]) -> Record<'_> {
        Record { kind, crc: 0, data }
    }

    #[test]
    fn hand_written_encodings_equal_the_messages() {
        for entry in [
            Entry {
                entry_type: 0,
                term: 2,
                index: 2,
                data: Bytes::new(),
            },
            Entry {
                entry_type: 1,
                term: 1,
                index: 300,
                data: Bytes::from_static(b"change"),
            },
            Entry {
                entry_type: 2,
                term: u64::MAX,
                index: u64::MAX,
                data: vec![7; 300].into(),
            },
        ] {
            let bytes = [encode_entry_head(&entry).as_slice(), &entry.data].concat();
            assert_eq!(bytes, entry.encode_to_vec());
            let decoded = Payload::decode(&record(Kind::Entry, &bytes));
            let Some(Payload::Entry(view)) = decoded else {
                panic!("{decoded:?}")
            };
            assert_eq!(view.to_entry(), entry);
        }
        let state = HardState {
            term: u64::MAX,
            vote: u64::MAX,
            commit: u64::MAX,
        };
        assert_eq!(encode_state(&state).as_slice(), state.encode_to_vec());
        let bytes = encode_state(&HardState::default());
        assert_eq!(bytes.as_slice(), [8, 0, 16, 0, 24, 0]);
        let decoded = Payload::decode(&record(Kind::State, bytes.as_slice()));
        assert_eq!(decoded, Some(Payload::State(HardState::default())));
    }

    #[test]
    fn positions_and_metadata_come_back() {
        let conf_state = ConfState {
            voters: vec![1, 2],
            learners: vec![9],
            ..Default::default()
        };
        for conf_state in [None, Some(conf_state)] {
            let position = Position {
                index: Index(7),
                term: Term(3),
                conf_state,
            };
            let bytes = encode_position(&position);
            let decoded = Payload::decode(&record(Kind::Position, &bytes));
            assert_eq!(decoded, Some(Payload::Position(position)));
        }
        let metadata = Metadata {
            member: MemberId(u64::MAX),
            cluster: ClusterId(5),
        };
        let bytes = encode_metadata(metadata);
        let decoded = Payload::decode(&record(Kind::Metadata, bytes.as_slice()));
        assert_eq!(decoded, Some(Payload::Metadata(metadata)));
    }

    #[test]
    fn data_of_another_kind_is_refused() {
        let entry = [8, 0, 16, 2, 24, 2, 34, 1, 7];
        assert_eq!(Payload::decode(&record(Kind::State, &entry)), None);
        assert_eq!(Payload::decode(&record(Kind::Metadata, &entry)), None);
        assert_eq!(Payload::decode(&record(Kind::Position, &entry)), None);
        let position = [8, 2, 16, 1, 26, 2, 8, 1];
        assert_eq!(Payload::decode(&record(Kind::State, &position)), None);
        assert_eq!(Payload::decode(&record(Kind::Entry, &position)), None);
        // A length beyond the end, an unknown field, a fixed-width wire type.
        for bytes in [&[34, 9, 1][..], &[40, 1], &[9, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Payload::decode(&record(Kind::Entry, bytes)), None);
        }
    }

    #[test]
    fn entries_of_both_generations_are_read() {
        for bytes in [&[0x10, 2, 0x18, 2][..], &[8, 0, 0x10, 2, 0x18, 2]] {
            let view = EntryView {
                entry_type: 0,
                term: 2,
                index: 2,
                data: &[],
            };
            let decoded = Payload::decode(&record(Kind::Entry, bytes));
            assert_eq!(decoded, Some(Payload::Entry(view)));
        }
    }
}
