//! Records: the canonical encoding of a `mvccpb.KeyValue`.
//!
//! These bytes are hashed and compared between members, so they are exactly what etcd writes:
//! fields in ascending order, default values left out, shortest integers. A tombstone's record
//! has a key only.

use bytes::Bytes;
use tenet_proto::mvccpb::KeyValue;
use tenet_store::{Rev, varint};

const KEY: u8 = (1 << 3) | 2;
const CREATE: u8 = 2 << 3;
const MOD: u8 = 3 << 3;
const VERSION: u8 = 4 << 3;
const VALUE: u8 = (5 << 3) | 2;
const LEASE: u8 = 6 << 3;

/// The numbers of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) create: i64,
    pub(crate) modified: i64,
    pub(crate) version: i64,
    pub(crate) lease: i64,
}

/// Appends a record.
pub(crate) fn encode(out: &mut Vec<u8>, key: &[u8], value: &[u8], numbers: &Numbers) {
    out.reserve(key.len() + value.len() + 2 * (1 + varint::LEN_MAX) + 4 * (1 + varint::LEN_MAX));
    bytes_field(out, KEY, key);
    number_field(out, CREATE, numbers.create);
    number_field(out, MOD, numbers.modified);
    number_field(out, VERSION, numbers.version);
    bytes_field(out, VALUE, value);
    number_field(out, LEASE, numbers.lease);
}

fn bytes_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(tag);
        varint::put(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn number_field(out: &mut Vec<u8>, tag: u8, number: i64) {
    if number != 0 {
        out.push(tag);
        varint::put(out, number as u64);
    }
}

/// A record taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) numbers: Numbers,
}

/// Takes a record apart; `None` if it is not canonical.
pub(crate) fn parse(record: &[u8]) -> Option<Parts<'_>> {
    let mut rest = record;
    let parts = Parts {
        key: take_bytes(&mut rest, KEY)?,
        numbers: Numbers {
            create: take_number(&mut rest, CREATE)?,
            modified: take_number(&mut rest, MOD)?,
            version: take_number(&mut rest, VERSION)?,
            lease: 0,
        },
        value: take_bytes(&mut rest, VALUE)?,
    };
    let lease = take_number(&mut rest, LEASE)?;
    rest.is_empty().then_some(Parts {
        numbers: Numbers {
            lease,
            ..parts.numbers
        },
        ..parts
    })
}

/// A field that is left out when empty; `None` if it is there in another form.
fn take_bytes<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let Some(after) = rest.strip_prefix(&[tag]) else {
        return Some(&[]);
    };
    *rest = after;
    let len = usize::try_from(varint::take(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len).filter(|_| len > 0)?;
    *rest = after;
    Some(bytes)
}

fn take_number(rest: &mut &[u8], tag: u8) -> Option<i64> {
    let Some(after) = rest.strip_prefix(&[tag]) else {
        return Some(0);
    };
    *rest = after;
    let number = varint::take(rest)? as i64;
    (number != 0).then_some(number)
}

/// The key-value of a record from the store, sharing its memory.
///
/// # Panics
/// If the record is not one that [`encode`] wrote.
pub(crate) fn decode(rev: Rev, record: &Bytes) -> KeyValue {
    let Some(parts) = parse(record) else {
        panic!("record {rev} is not a key-value: the memory of this process is damaged");
    };
    KeyValue {
        key: share(record, parts.key),
        create_revision: parts.numbers.create,
        mod_revision: parts.numbers.modified,
        version: parts.numbers.version,
        value: share(record, parts.value),
        lease: parts.numbers.lease,
    }
}

pub(crate) fn share(record: &Bytes, part: &[u8]) -> Bytes {
    if part.is_empty() {
        return Bytes::new();
    }
    record.slice_ref(part)
}

/// The key of an entry of etcd's bucket `key`, as it is hashed: main, `_`, sub, and `t` for a
/// tombstone.
pub(crate) fn bucket_key(rev: Rev, tombstone: bool) -> ([u8; 18], usize) {
    let mut key = [0; 18];
    key[..8].copy_from_slice(&rev.main.to_be_bytes());
    key[8] = b'_';
    key[9..17].copy_from_slice(&i64::from(rev.sub).to_be_bytes());
    key[17] = b't';
    (key, if tombstone { 18 } else { 17 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tenet_proto::prost::Message;

    proptest! {
        #[test]
        fn records_are_what_protobuf_writes(
            key in proptest::collection::vec(any::<u8>(), 0..200),
            value in proptest::collection::vec(any::<u8>(), 0..400),
            create in any::<i64>(), modified in 0..500i64, version in 0..3i64, lease in any::<i64>(),
        ) {
            let numbers = Numbers { create, modified, version, lease };
            let mut record = Vec::new();
            encode(&mut record, &key, &value, &numbers);
            let kv = KeyValue {
                key: Bytes::from(key.clone()),
                create_revision: create,
                mod_revision: modified,
                version,
                value: Bytes::from(value.clone()),
                lease,
            };
            prop_assert_eq!(&record, &kv.encode_to_vec());
            let parts = Parts { key: &key, value: &value, numbers };
            prop_assert_eq!(parse(&record), Some(parts));
            prop_assert_eq!(decode(Rev::MIN, &Bytes::from(record)), kv);
        }

        #[test]
        fn whatever_parses_is_canonical(bytes in proptest::collection::vec(0..60u8, 0..40)) {
            if let Some(parts) = parse(&bytes) {
                let mut again = Vec::new();
                encode(&mut again, parts.key, parts.value, &parts.numbers);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn the_example_of_the_format_comes_out() {
        let mut record = Vec::new();
        let numbers = Numbers {
            create: 6,
            modified: 6,
            version: 1,
            lease: 0,
        };
        encode(&mut record, b"d", b"4", &numbers);
        assert_eq!(record, b"\x0a\x01d\x10\x06\x18\x06\x20\x01\x2a\x014");
        let (key, len) = bucket_key(Rev::new(6, 1), false);
        assert_eq!(&key[..len], b"\0\0\0\0\0\0\0\x06_\0\0\0\0\0\0\0\x01");
        let (key, len) = bucket_key(Rev::new(6, 1), true);
        assert_eq!(key[..len].last(), Some(&b't'));
    }
}
