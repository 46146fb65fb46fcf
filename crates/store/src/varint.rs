//! Protobuf's variable-length integers, read from bytes that may be damaged.

/// Longest encoding of a 64-bit number.
pub const LEN_MAX: usize = 10;

/// Appends `value`.
#[inline]
pub fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front of `data`; `None` if it is cut off, longer than 64 bits, or not
/// in its shortest form.
#[inline]
pub fn take(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..LEN_MAX {
        let byte = *data.get(at)?;
        let bits = u64::from(byte & 0x7f);
        if at == LEN_MAX - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            if byte == 0 && at > 0 {
                return None;
            }
            *data = &data[at + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_damage_does_not_pass() {
        for value in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut rest = &out[..];
            assert_eq!(take(&mut rest), Some(value));
            assert!(rest.is_empty());
            assert_eq!(take(&mut &out[..out.len() - 1]), None);
        }
        assert_eq!(take(&mut &[0x80, 0x00][..]), None, "not the shortest form");
        assert_eq!(take(&mut &[0xff; 10][..]), None, "more than 64 bits");
    }
}
