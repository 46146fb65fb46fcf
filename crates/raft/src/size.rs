//! How large an entry counts for the limits on messages, on data in flight and on data waiting to
//! be applied.
//!
//! The number is the size that etcd 3.7 gives an entry on the wire, which leaves out the type of a
//! normal entry, so that both split the same entries into the same messages. (It writes the type of
//! the empty entries that take the place of refused configuration changes: two bytes more.)

use tenet_proto::raftpb::Entry;

/// The encoded size of an entry, as etcd 3.7 counts it.
#[must_use]
pub fn entry_size(entry: &Entry) -> u64 {
    let data = match entry.data.len() as u64 {
        0 => 0,
        len => 1 + varint_size(len) + len,
    };
    let entry_type = if entry.entry_type == 0 { 0 } else { 2 };
    entry_type + 1 + varint_size(entry.term) + 1 + varint_size(entry.index) + data
}

/// The encoded size of several entries.
pub(crate) fn entries_size(entries: &[Entry]) -> u64 {
    entries.iter().map(entry_size).sum()
}

/// The size of what was proposed: entries without data weigh nothing and are never refused.
pub(crate) fn payload_size(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.data.len() as u64).sum()
}

/// Clones entries into `into` while their sizes fit into `max_bytes`; the first always does.
pub(crate) fn take_within<'a>(
    entries: impl ExactSizeIterator<Item = &'a Entry>,
    max_bytes: u64,
    into: &mut Vec<Entry>,
) {
    // Exact for usual batches, without room for all of a long log of which little will fit.
    into.reserve(entries.len().min(1024));
    let mut left = max_bytes;
    for (taken, entry) in entries.enumerate() {
        let size = entry_size(entry);
        if taken > 0 && size > left {
            return;
        }
        left = left.saturating_sub(size);
        into.push(entry.clone());
    }
}

fn varint_size(value: u64) -> u64 {
    // One byte for each group of seven bits, at least one: (bits + 6) / 7 without a division.
    u64::from(((value | 1).ilog2() * 9 + 73) / 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_encoding_without_the_type_of_normal_entries() {
        for bits in 0..64 {
            let n = 1u64 << bits;
            for value in [n, n - 1, n | 1] {
                let entry = Entry {
                    term: value,
                    index: value,
                    data: bytes::Bytes::from(vec![0; (value % 300) as usize]),
                    entry_type: (value % 3) as i32,
                };
                let encoded = prost::Message::encoded_len(&entry) as u64;
                let unwritten_type = if entry.entry_type == 0 { 2 } else { 0 };
                assert_eq!(entry_size(&entry), encoded - unwritten_type, "{entry:?}");
            }
        }
    }
}
