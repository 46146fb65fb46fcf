//! CRC-32C (Castagnoli), the checksum of etcd's WAL, of snapshots and of HashKV.

/// The checksum of `data`.
#[inline]
#[must_use]
pub fn crc32c(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// Continues a running checksum: `extend(crc32c(a), b) == crc32c(a ++ b)`.
#[inline]
#[must_use]
pub fn extend(crc: u32, data: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, data)
}

/// The checksum of `a ++ b` from the checksums of both and the length of `b`.
#[inline]
#[must_use]
pub fn combine(crc_a: u32, crc_b: u32, len_b: usize) -> u32 {
    crc32c::crc32c_combine(crc_a, crc_b, len_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // The check value of CRC-32C in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn extend_and_combine_agree_with_the_whole() {
        let (a, b) = (b"some bytes".as_slice(), b"and some more".as_slice());
        let whole = [a, b].concat();
        assert_eq!(extend(crc32c(a), b), crc32c(&whole));
        assert_eq!(combine(crc32c(a), crc32c(b), b.len()), crc32c(&whole));
    }
}
