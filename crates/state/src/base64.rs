//! Base64 with the standard alphabet, read as Go's decoder reads it: line breaks are passed over,
//! padding is required, spare bits are ignored. Password hashes travel in this form.

/// The bytes that `text` spells, or `None` if it is not base64.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let symbols: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b'\r' | b'\n'))
        .collect();
    let padding = symbols.iter().rev().take_while(|&&b| b == b'=').count();
    if !symbols.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(symbols.len() / 4 * 3);
    for quad in symbols[..symbols.len() - padding].chunks(4) {
        let mut bits = 0;
        for (place, &symbol) in quad.iter().enumerate() {
            bits |= u32::from(value(symbol)?) << (18 - 6 * place);
        }
        let bytes = bits.to_be_bytes();
        match quad.len() {
            4 => out.extend_from_slice(&bytes[1..4]),
            3 => out.extend_from_slice(&bytes[1..3]),
            2 => out.push(bytes[1]),
            _ => return None,
        }
    }
    Some(out)
}

fn value(symbol: u8) -> Option<u8> {
    match symbol {
        b'A'..=b'Z' => Some(symbol - b'A'),
        b'a'..=b'z' => Some(symbol - b'a' + 26),
        b'0'..=b'9' => Some(symbol - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn known_answers() {
        // RFC 4648, section 10.
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9v\r\nYmFy\n", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text:?}");
        }
        assert_eq!(decode("+/+/"), Some(vec![0xfb, 0xff, 0xbf]));
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for bad in [
            "Z", "Zg", "Zg=", "Z===", "====", "Zm9v=", "Z=g=", "Zm 9", "Zm-_",
        ] {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
