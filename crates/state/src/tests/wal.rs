//! The entries in a segment of etcd's log.

use tenet_proto::prost::Message;
use tenet_proto::raftpb::Entry;

/// A record of the log.
#[derive(Clone, PartialEq, Message)]
#[prost(prost_path = "tenet_proto::prost")]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(bytes = "bytes", tag = "3")]
    data: bytes::Bytes,
}

const ENTRY: i64 = 2;

/// The entries, each index once, in order. The segment must be whole.
pub(super) fn entries(mut segment: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    while let Some((field, rest)) = segment.split_first_chunk::<8>() {
        // Low 56 bits: length; if the top bit is set, its byte holds the padding behind it.
        let field = u64::from_le_bytes(*field);
        let len = (field & ((1 << 56) - 1)) as usize;
        let padding = if field >> 63 == 1 { field >> 56 & 7 } else { 0 } as usize;
        let record = Record::decode(&rest[..len]).unwrap();
        if record.kind == ENTRY {
            let entry = Entry::decode(record.data).unwrap();
            entries.retain(|earlier| earlier.index < entry.index);
            entries.push(entry);
        }
        segment = &rest[len + padding..];
    }
    entries
}
