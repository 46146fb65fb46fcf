//! Frames and records: the outermost layer of a segment file.
//!
//! ```text
//! offset 0   8 bytes, little-endian: bits 0..55 the length of the record,
//!            bits 56..63 zero if that is a multiple of 8, else 0x80 | padding bytes
//! offset 8   the record, a proto2 message {1: kind, 2: crc, 3: data}, always in this order
//! then       zeros up to the next multiple of 8
//! ```
//!
//! So every frame begins on an 8-byte boundary and its length field lies in one sector. `crc` is
//! the running CRC-32C of the data of all records of the log so far, this one's included; it
//! covers neither the kind nor the frame, which is why shapes are checked to the letter here.
//!
//! This module knows nothing of what records mean.

use bytes::{BufMut, Bytes, BytesMut};
use tenet_base::{crc, limits};

/// Bytes of a frame before its record.
pub(crate) const FRAME_HEADER_BYTES: u64 = 8;
/// Every frame begins at a multiple of this.
pub(crate) const FRAME_ALIGN: u64 = 8;

const TAG_KIND: u8 = 0x08;
const TAG_CRC: u8 = 0x10;
const TAG_DATA: u8 = 0x1a;

/// The kinds of record, with their numbers on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Metadata = 1,
    Entry = 2,
    State = 3,
    Crc = 4,
    Position = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [
            Kind::Metadata,
            Kind::Entry,
            Kind::State,
            Kind::Crc,
            Kind::Position,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// A record as it lies in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) crc: u32,
    pub(crate) data: &'a [u8],
}

impl Record<'_> {
    /// Whether the checksum continues the chain that stood at `before`.
    pub(crate) fn follows(&self, before: u32) -> bool {
        crc::extend(before, self.data) == self.crc
    }
}

/// A length field that some writer can have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameLen {
    /// Bytes of the record.
    pub(crate) record: u64,
    /// Bytes of padding after it.
    pub(crate) pad: u64,
}

impl FrameLen {
    /// Of a record of `record` bytes.
    pub(crate) fn of(record: u64) -> FrameLen {
        FrameLen {
            record,
            pad: record.wrapping_neg() % FRAME_ALIGN,
        }
    }

    /// Reads the field; `None` if no writer writes it (zero included).
    pub(crate) fn parse(field: u64) -> Option<FrameLen> {
        let len = FrameLen::of(field & ((1 << 56) - 1));
        let believable = len.record > 0 && len.record <= limits::WAL_RECORD_BYTES_MAX;
        (believable && len.field() == field).then_some(len)
    }

    /// The field's value.
    pub(crate) fn field(self) -> u64 {
        let flags = if self.pad == 0 { 0 } else { 0x80 | self.pad };
        self.record | flags << 56
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame(self) -> u64 {
        FRAME_HEADER_BYTES + self.record + self.pad
    }
}

/// Bytes of a frame around a record with this much data, at most: the checksum is a varint.
pub(crate) fn frame_bytes_max(data_len: usize) -> u64 {
    let data_len = data_len as u64;
    let len_bytes = u64::from(data_len.max(1).ilog2() / 7 + 1);
    FrameLen::of(2 + 6 + 1 + len_bytes + data_len).frame()
}

/// Reads a record that takes up all of `bytes`; `None` if its shape is not a writer's.
pub(crate) fn parse_record(bytes: &[u8]) -> Option<Record<'_>> {
    let (record, len) = parse_leading_record(bytes)?;
    (len == bytes.len()).then_some(record)
}

/// Reads the record at the start of `bytes` by its own inner lengths, and says how long it is.
pub(crate) fn parse_leading_record(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    let (head, data_at) = parse_head(bytes)?;
    let data = bytes.get(data_at..data_at.checked_add(head.data_len?)?)?;
    let record = Record {
        kind: head.kind,
        crc: head.crc,
        data,
    };
    Some((record, data_at + data.len()))
}

/// What the first bytes of a record say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) kind: Kind,
    pub(crate) crc: u32,
    /// Length of the data; `None` if `bytes` ended or went wrong before it could be read.
    pub(crate) data_len: Option<usize>,
}

/// Reads the fields before the data, as far as `bytes` go, and where the data begins.
pub(crate) fn parse_head(bytes: &[u8]) -> Option<(RecordHead, usize)> {
    let &[TAG_KIND, kind, TAG_CRC, ..] = bytes else {
        return None;
    };
    let kind = Kind::from_byte(kind)?;
    let mut at = 3;
    let crc = u32::try_from(read_varint(bytes, &mut at)?).ok()?;
    if kind == Kind::Crc {
        return Some((
            RecordHead {
                kind,
                crc,
                data_len: Some(0),
            },
            at,
        ));
    }
    let mut data_len = None;
    if bytes.get(at) == Some(&TAG_DATA) {
        at += 1;
        data_len = read_varint(bytes, &mut at).and_then(|len| usize::try_from(len).ok());
    }
    Some((
        RecordHead {
            kind,
            crc,
            data_len,
        },
        at,
    ))
}

/// Writes frames into one buffer and carries the running checksum.
#[derive(Debug)]
pub(crate) struct Encoder {
    buffer: BytesMut,
    crc: u32,
}

impl Encoder {
    /// An encoder whose first record continues the chain that stands at `crc`.
    pub(crate) fn new(crc: u32, capacity: usize) -> Encoder {
        Encoder {
            buffer: BytesMut::with_capacity(capacity),
            crc,
        }
    }

    /// Appends a record whose data is the concatenation of `parts`.
    pub(crate) fn record(&mut self, kind: Kind, parts: &[&[u8]]) {
        let data_len: usize = parts.iter().map(|part| part.len()).sum();
        self.crc = parts
            .iter()
            .fold(self.crc, |crc, part| crc::extend(crc, part));
        let crc = u64::from(self.crc);
        let mut record = 3 + varint_len(crc);
        if kind != Kind::Crc {
            record += 1 + varint_len(data_len as u64) + data_len;
        }
        let len = FrameLen::of(record as u64);
        assert!(
            len.record <= limits::WAL_RECORD_BYTES_MAX,
            "a record of {} bytes would not be believed when read (limit {}): \
             requests are limited long before",
            len.record,
            limits::WAL_RECORD_BYTES_MAX
        );
        self.buffer.reserve(len.frame() as usize);
        self.buffer.put_u64_le(len.field());
        self.buffer.put_slice(&[TAG_KIND, kind as u8, TAG_CRC]);
        put_varint(&mut self.buffer, crc);
        if kind != Kind::Crc {
            self.buffer.put_u8(TAG_DATA);
            put_varint(&mut self.buffer, data_len as u64);
            parts.iter().for_each(|part| self.buffer.put_slice(part));
        }
        self.buffer.put_bytes(0, len.pad as usize);
    }

    /// The running checksum after the last record.
    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// All frames.
    pub(crate) fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// The length of `value` as a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` as a varint.
pub(crate) fn put_varint(buffer: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

/// Reads a varint at `*at` and moves past it; `None` if it does not end in `bytes` or is longer
/// than 64 bits.
pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_fields_carry_the_padding() {
        // From the head of a segment written by etcd 3.7.1: 4, 31 and 14 bytes.
        for (field, record, pad) in [
            (0x8400_0000_0000_0004, 4, 4),
            (0x8100_0000_0000_001f, 31, 1),
            (0x8200_0000_0000_000e, 14, 2),
            (0x10, 16, 0),
        ] {
            let len = FrameLen { record, pad };
            assert_eq!(FrameLen::parse(field), Some(len));
            assert_eq!(len.field(), field);
            assert_eq!(len.frame() % FRAME_ALIGN, 0);
        }
    }

    #[test]
    fn length_fields_that_nobody_writes_are_refused() {
        let too_long = FrameLen::of(limits::WAL_RECORD_BYTES_MAX + 1).field();
        for field in [
            0,
            0x04,
            0x10 | 0x80 << 56,
            0x8500_0000_0000_0004,
            u64::MAX,
            too_long,
        ] {
            assert_eq!(FrameLen::parse(field), None, "{field:x}");
        }
    }

    #[test]
    fn varints_of_every_length_come_back() {
        let edges = (0..64)
            .flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit])
            .chain([u64::MAX]);
        for value in edges {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_len(value), "{value}");
            let mut at = 0;
            assert_eq!(read_varint(&bytes, &mut at), Some(value));
            assert_eq!(at, bytes.len());
            assert_eq!(read_varint(&bytes[..bytes.len() - 1], &mut 0), None);
        }
        assert_eq!(read_varint(&[0xff; 11], &mut 0), None);
        assert_eq!(
            read_varint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2], &mut 0),
            None
        );
    }

    #[test]
    fn records_come_back_and_every_flip_outside_the_data_changes_their_shape() {
        let mut encoder = Encoder::new(7, 0);
        encoder.record(Kind::State, &[b"ab", b"cde"]);
        let frame = encoder.finish();
        let len = FrameLen::parse(u64::from_le_bytes(frame[..8].try_into().unwrap())).unwrap();
        let record = &frame[8..8 + len.record as usize];
        let whole = parse_record(record).unwrap();
        assert_eq!((whole.kind, whole.data), (Kind::State, b"abcde".as_slice()));
        assert!(whole.follows(7) && !whole.follows(8));

        let data_at = record.len() - 5;
        for at in 0..data_at {
            for bit in 0..8 {
                let mut bent = record.to_vec();
                bent[at] ^= 1 << bit;
                let survives = parse_record(&bent).is_some_and(|r| r.follows(7));
                // The kind is the one field that no checksum covers: its flips are caught by what
                // records mean.
                assert!(
                    !survives || at == 1,
                    "flip of bit {bit} of byte {at} goes unseen"
                );
            }
        }
    }
}
