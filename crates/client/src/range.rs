//! Ranges of keys, as the API writes them down: a key and an end.

use bytes::Bytes;
use tenet_proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};

/// A set of keys: `end` empty for the key alone, a single zero byte for all keys from `key`, else
/// `key <= k < end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub key: Bytes,
    /// The first key after the range, or one of the two special values.
    pub end: Bytes,
}

const OPEN: Bytes = Bytes::from_static(&[0]);

impl KeyRange {
    /// One key.
    pub fn key(key: impl Into<Bytes>) -> KeyRange {
        KeyRange {
            key: key.into(),
            end: Bytes::new(),
        }
    }

    /// The keys from `key` up to, not including, `end`.
    pub fn between(key: impl Into<Bytes>, end: impl Into<Bytes>) -> KeyRange {
        KeyRange {
            key: key.into(),
            end: end.into(),
        }
    }

    /// The keys from `key` on. The empty key stands for all.
    pub fn from(key: impl Into<Bytes>) -> KeyRange {
        let key = key.into();
        KeyRange {
            key: if key.is_empty() { OPEN } else { key },
            end: OPEN,
        }
    }

    /// All keys.
    #[must_use]
    pub fn all() -> KeyRange {
        KeyRange::from(Bytes::new())
    }

    /// The keys that begin with `prefix`. The empty prefix stands for all.
    pub fn prefix(prefix: impl Into<Bytes>) -> KeyRange {
        let key = prefix.into();
        match key.iter().rposition(|byte| *byte < 0xff) {
            // The smallest key beyond the prefix is the prefix with its last byte raised.
            Some(last) => {
                let mut end = key[..=last].to_vec();
                end[last] += 1;
                KeyRange {
                    key,
                    end: end.into(),
                }
            }
            None => KeyRange::from(key),
        }
    }
}

impl From<KeyRange> for RangeRequest {
    fn from(range: KeyRange) -> RangeRequest {
        RangeRequest {
            key: range.key,
            range_end: range.end,
            ..Default::default()
        }
    }
}

impl From<KeyRange> for DeleteRangeRequest {
    fn from(range: KeyRange) -> DeleteRangeRequest {
        DeleteRangeRequest {
            key: range.key,
            range_end: range.end,
            ..Default::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_raisable_byte_is_raised() {
        for (prefix, end) in [
            (&b"foo"[..], &b"fop"[..]),
            (b"a\xff", b"b"),
            (b"a\xff\xff", b"b"),
            (b"\xff\xff", b"\0"),
            (b"\0", b"\x01"),
        ] {
            let range = KeyRange::prefix(prefix);
            assert_eq!((&range.key[..], &range.end[..]), (prefix, end));
        }
        assert_eq!(KeyRange::prefix(""), KeyRange::all());
        assert_eq!(KeyRange::all(), KeyRange::between("\0", "\0"));
    }
}
