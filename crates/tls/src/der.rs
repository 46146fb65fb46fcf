//! Reads DER, as much of it as certificates and lists of revoked ones need.
//!
//! Invariant: whatever the bytes are, reading ends and nothing outside of them is looked at.

/// Identifier of a sequence.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Identifier of a set.
pub(crate) const SET: u8 = 0x31;
/// Identifier of an integer.
pub(crate) const INTEGER: u8 = 0x02;
/// Identifier of a string of octets.
pub(crate) const OCTETS: u8 = 0x04;
/// Identifier of an object identifier.
pub(crate) const OID: u8 = 0x06;
/// Identifier of a boolean.
pub(crate) const BOOLEAN: u8 = 0x01;
/// Identifier of a time with two digits for the year.
pub(crate) const UTC_TIME: u8 = 0x17;
/// Identifier of a time with four digits for the year.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;

/// Values that stand one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a>(pub(crate) &'a [u8]);

impl<'a> Values<'a> {
    /// Whether none is left.
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The identifier of the next value.
    pub(crate) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value: its identifier and its contents.
    pub(crate) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&identifier, rest) = self.0.split_first()?;
        // Identifiers of more than one byte stand in no certificate.
        if identifier & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            long_length(first & 0x7f, rest)?
        };
        if len > rest.len() {
            return None;
        }
        let (contents, rest) = rest.split_at(len);
        self.0 = rest;
        Some((identifier, contents))
    }

    /// The contents of the next value, which must be of this kind.
    pub(crate) fn expect(&mut self, identifier: u8) -> Option<&'a [u8]> {
        if self.peek()? != identifier {
            return None;
        }
        self.next().map(|(_, contents)| contents)
    }

    /// The contents of the next value if it is of this kind; otherwise it stays.
    pub(crate) fn optional(&mut self, identifier: u8) -> Option<&'a [u8]> {
        (self.peek() == Some(identifier)).then(|| self.expect(identifier))?
    }
}

/// A length that has `count` bytes of its own.
fn long_length(count: u8, bytes: &[u8]) -> Option<(usize, &[u8])> {
    if count == 0 || count > 4 || usize::from(count) > bytes.len() {
        return None;
    }
    let (digits, rest) = bytes.split_at(usize::from(count));
    let len = digits
        .iter()
        .fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
    Some((len, rest))
}

/// An integer without the zeros that only keep it positive.
pub(crate) fn magnitude(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_order_and_what_is_cut_short_is_refused() {
        let mut values = Values(&[INTEGER, 1, 7, OCTETS, 0x81, 2, 8, 9]);
        assert_eq!(values.expect(INTEGER), Some(&[7][..]));
        assert_eq!(values.optional(INTEGER), None);
        assert_eq!(values.next(), Some((OCTETS, &[8, 9][..])));
        assert!(values.is_empty() && values.next().is_none());
        for bad in [
            &[INTEGER][..],
            &[INTEGER, 2, 7],
            &[INTEGER, 0x80],
            &[INTEGER, 0x85, 0, 0, 0, 0, 0],
            &[INTEGER, 0x84, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x1f, 0x01, 0],
        ] {
            assert!(Values(bad).next().is_none(), "{bad:?}");
        }
    }

    #[test]
    fn integers_lose_the_zeros_in_front() {
        assert_eq!(magnitude(&[0, 0x80, 1]), &[0x80, 1]);
        assert_eq!(magnitude(&[0]), &[] as &[u8]);
    }
}
