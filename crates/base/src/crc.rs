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

/// Combines many checksums fast: what only depends on a length is computed once.
///
/// Appending n bytes multiplies a checksum by x^(8n) modulo the polynomial (as in Mark Adler's
/// `crc32_combine` of zlib), so the product for a short length is kept.
#[derive(Clone, Debug)]
pub struct Combiner {
    /// x^(2^k) for each k.
    powers: [u32; 32],
    /// x^(8n) by n; zero is not known yet.
    shifts: Vec<u32>,
}

/// The polynomial of CRC-32C, lowest power first.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// The polynomial 1.
const ONE: u32 = 1 << 31;
/// Lengths whose product is kept.
const SHIFTS_MAX: usize = 4096;

impl Default for Combiner {
    fn default() -> Self {
        let mut powers = [0; 32];
        let mut power = 1 << 30;
        for slot in &mut powers {
            *slot = power;
            power = multiply(power, power);
        }
        Combiner {
            powers,
            shifts: Vec::new(),
        }
    }
}

impl Combiner {
    /// The checksum of `a ++ b` from the checksums of both and the length of `b`.
    #[must_use]
    pub fn combine(&mut self, crc_a: u32, crc_b: u32, len_b: usize) -> u32 {
        multiply(self.shift(len_b), crc_a) ^ crc_b
    }

    fn shift(&mut self, len: usize) -> u32 {
        match self.shifts.get(len) {
            Some(&known) if known != 0 => return known,
            _ => {}
        }
        let bits = u32::try_from(len * 8).expect("what is combined is far below 512 MB");
        let (mut bits, mut at, mut product) = (bits, 0, ONE);
        while bits > 0 {
            if bits & 1 == 1 {
                product = multiply(self.powers[at], product);
            }
            bits >>= 1;
            at += 1;
        }
        if len < SHIFTS_MAX {
            if self.shifts.len() <= len {
                self.shifts.resize(len + 1, 0);
            }
            self.shifts[len] = product;
        }
        product
    }
}

/// The product of two polynomials over two elements, modulo that of CRC-32C.
fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut bit, mut product) = (ONE, 0);
    while bit != 0 && a & (bit | (bit - 1)) != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        bit >>= 1;
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
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

    #[test]
    fn a_combiner_agrees_with_the_whole_at_every_length() {
        let mut combiner = Combiner::default();
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for len in (0..600).chain([4_095, 4_096, 9_000]) {
            for _ in 0..2 {
                let (a, b) = bytes[..len + 17].split_at(17);
                let combined = combiner.combine(crc32c(a), crc32c(b), b.len());
                assert_eq!(combined, crc32c(&bytes[..len + 17]), "length {len}");
            }
        }
    }
}
