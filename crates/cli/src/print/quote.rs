//! Byte strings in quotes (`%q`) and in hexadecimal.
//!
//! Keys and values are bytes; Go takes them as UTF-8 and shows a byte that is not as `\xNN`.

use std::fmt::Write as _;

use crate::go;

/// The bytes in double quotes, with what cannot be printed escaped.
#[must_use]
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        let valid = go::quote(chunk.valid());
        text.push_str(&valid[1..valid.len() - 1]);
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// Reads a double-quoted string, quotes included, as Go source would have it.
///
/// Nothing when it is not well formed. The result is bytes because `\xNN` and octal escapes name
/// bytes, not characters.
#[must_use]
pub fn unquoted(text: &str) -> Option<Vec<u8>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' | '\n' => return None,
            '\\' => unescape(&mut rest, &mut bytes)?,
            c => push(&mut bytes, c),
        }
    }
    Some(bytes)
}

fn unescape(rest: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let plain = match rest.next()? {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' => u8::try_from(number(rest, 0, 2, 16)?).ok()?,
        'u' => return char::from_u32(number(rest, 0, 4, 16)?).map(|c| push(bytes, c)),
        'U' => return char::from_u32(number(rest, 0, 8, 16)?).map(|c| push(bytes, c)),
        c @ '0'..='7' => u8::try_from(number(rest, c.to_digit(8)?, 2, 8)?).ok()?,
        _ => return None,
    };
    bytes.push(plain);
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, start: u32, digits: usize, base: u32) -> Option<u32> {
    (0..digits).try_fold(start, |value, _| {
        value
            .checked_mul(base)?
            .checked_add(rest.next()?.to_digit(base)?)
    })
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Every byte as `\xNN`, the form of `--hex`.
///
/// # Errors
/// Those of the writer.
pub fn write_hex(out: &mut impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        out.write_all(&[b'\\', b'x', DIGITS[high], DIGITS[low]])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_escaped_one_by_one() {
        for (bytes, text) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c\0", r#""a\"b\\c\x00""#),
            ("é中😀".as_bytes(), "\"é中😀\""),
            (b"\xff\xc3", r#""\xff\xc3""#),
            (b"a\xf0\x9f\x98", r#""a\xf0\x9f\x98""#),
            ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
        ] {
            assert_eq!(quoted(bytes), text);
        }
    }

    #[test]
    fn a_quoted_text_is_read_back() {
        let every: Vec<u8> = (0..=255).collect();
        assert_eq!(unquoted(&quoted(&every)).unwrap(), every);
        assert_eq!(
            unquoted(r#""\101\x42\u00e9\U0001F600""#).unwrap(),
            "ABé😀".as_bytes()
        );
    }

    #[test]
    fn malformed_quotes_are_refused() {
        for text in [
            "",
            "\"",
            "x",
            "\"a",
            "a\"",
            r#""\""#,
            r#""\x4""#,
            r#""\400""#,
            r#""\'""#,
            r#""\q""#,
            r#""\ud800""#,
            "\"a\nb\"",
            r#""a"b""#,
        ] {
            assert_eq!(unquoted(text), None, "{text}");
        }
    }

    #[test]
    fn hex_shows_every_byte() {
        let mut out = Vec::new();
        write_hex(&mut out, b"a\xff").unwrap();
        assert_eq!(out, br"\x61\xff");
    }
}
