//! JSON as Go's `encoding/json` writes it: fields in the order of the struct, no blanks, bytes in
//! base64, `<`, `>` and `&` escaped.
//!
//! Output goes straight to the writer, so that an answer of a million keys is never held twice.

use std::io::{Result, Write};

/// An object that is being written. Dropping it unfinished leaves it open: call [`Object::end`].
pub struct Object<'a, W> {
    out: &'a mut W,
    empty: bool,
}

impl<'a, W: Write> Object<'a, W> {
    /// Writes the opening brace.
    ///
    /// # Errors
    /// Those of the writer, here and below.
    pub fn begin(out: &'a mut W) -> Result<Object<'a, W>> {
        out.write_all(b"{")?;
        Ok(Object { out, empty: true })
    }

    /// Writes the closing brace.
    #[allow(clippy::missing_errors_doc)]
    pub fn end(self) -> Result<()> {
        self.out.write_all(b"}")
    }

    /// Writes a name; the value is the caller's to write.
    #[allow(clippy::missing_errors_doc)]
    pub fn name(&mut self, name: &str) -> Result<&mut W> {
        if !std::mem::take(&mut self.empty) {
            self.out.write_all(b",")?;
        }
        string(self.out, name.as_bytes())?;
        self.out.write_all(b":")?;
        Ok(self.out)
    }

    /// A number, left out when zero (`omitempty`).
    #[allow(clippy::missing_errors_doc)]
    pub fn number(&mut self, name: &str, value: impl Into<i128>) -> Result<()> {
        match value.into() {
            0 => Ok(()),
            value => self.number_always(name, value),
        }
    }

    /// A number, also when zero.
    #[allow(clippy::missing_errors_doc)]
    pub fn number_always(&mut self, name: &str, value: impl Into<i128>) -> Result<()> {
        let value = value.into();
        write!(self.name(name)?, "{value}")
    }

    /// A boolean, left out when false.
    #[allow(clippy::missing_errors_doc)]
    pub fn bool(&mut self, name: &str, value: bool) -> Result<()> {
        if value {
            self.bool_always(name, value)
        } else {
            Ok(())
        }
    }

    /// A boolean, also when false.
    #[allow(clippy::missing_errors_doc)]
    pub fn bool_always(&mut self, name: &str, value: bool) -> Result<()> {
        write!(self.name(name)?, "{value}")
    }

    /// A string, left out when empty.
    #[allow(clippy::missing_errors_doc)]
    pub fn string(&mut self, name: &str, value: &str) -> Result<()> {
        if value.is_empty() {
            Ok(())
        } else {
            self.string_always(name, value)
        }
    }

    /// A string, also when empty.
    #[allow(clippy::missing_errors_doc)]
    pub fn string_always(&mut self, name: &str, value: &str) -> Result<()> {
        string(self.name(name)?, value.as_bytes())
    }

    /// Bytes in base64, left out when empty.
    #[allow(clippy::missing_errors_doc)]
    pub fn bytes(&mut self, name: &str, value: &[u8]) -> Result<()> {
        if value.is_empty() {
            Ok(())
        } else {
            base64(self.name(name)?, value)
        }
    }

    /// Strings, left out when there are none.
    #[allow(clippy::missing_errors_doc)]
    pub fn strings(&mut self, name: &str, values: &[String]) -> Result<()> {
        self.list(name, values, |out, value| string(out, value.as_bytes()))
    }

    /// A list, left out when empty.
    #[allow(clippy::missing_errors_doc)]
    pub fn list<T>(
        &mut self,
        name: &str,
        items: &[T],
        write: impl FnMut(&mut W, &T) -> Result<()>,
    ) -> Result<()> {
        if items.is_empty() {
            Ok(())
        } else {
            list(self.name(name)?, items, write)
        }
    }
}

/// A list in brackets, also when empty.
///
/// # Errors
/// Those of the writer.
pub fn list<W: Write, T>(
    out: &mut W,
    items: &[T],
    mut write: impl FnMut(&mut W, &T) -> Result<()>,
) -> Result<()> {
    out.write_all(b"[")?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        write(out, item)?;
    }
    out.write_all(b"]")
}

/// A string in quotes. What is not UTF-8 becomes U+FFFD, byte by byte.
///
/// # Errors
/// Those of the writer.
pub fn string(out: &mut impl Write, text: &[u8]) -> Result<()> {
    out.write_all(b"\"")?;
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            character(out, c)?;
        }
        for _ in chunk.invalid() {
            out.write_all(b"\\ufffd")?;
        }
    }
    out.write_all(b"\"")
}

fn character(out: &mut impl Write, c: char) -> Result<()> {
    match c {
        '"' => out.write_all(b"\\\""),
        '\\' => out.write_all(b"\\\\"),
        '\x08' => out.write_all(b"\\b"),
        '\x0c' => out.write_all(b"\\f"),
        '\n' => out.write_all(b"\\n"),
        '\r' => out.write_all(b"\\r"),
        '\t' => out.write_all(b"\\t"),
        '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            write!(out, "\\u{:04x}", u32::from(c))
        }
        c => out.write_all(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Bytes in quotes, in the standard alphabet with padding.
///
/// # Errors
/// Those of the writer.
pub fn base64(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    /// Bytes that are encoded at once; a multiple of three, so that only the end is padded.
    const PART: usize = 768;
    out.write_all(b"\"")?;
    let mut text = [0; PART / 3 * 4];
    for part in bytes.chunks(PART) {
        let quads = text.chunks_exact_mut(4).zip(part.chunks(3));
        let len = quads
            .map(|(quad, group)| quad.copy_from_slice(&quad_of(group)))
            .count()
            * 4;
        out.write_all(&text[..len])?;
    }
    out.write_all(b"\"")
}

/// One to three bytes as four characters.
fn quad_of(group: &[u8]) -> [u8; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextet = |bits: u32, shift: u32| ALPHABET[((bits >> shift) & 63) as usize];
    let bits = group
        .iter()
        .fold(0, |bits, byte| (bits << 8) | u32::from(*byte));
    match group.len() {
        3 => [18, 12, 6, 0].map(|shift| sextet(bits, shift)),
        2 => [
            sextet(bits, 10),
            sextet(bits, 4),
            sextet(bits << 2, 0),
            b'=',
        ],
        _ => [sextet(bits, 2), sextet(bits << 4, 0), b'=', b'='],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn empty_fields_are_left_out() {
        let json = text(|out| {
            let mut object = Object::begin(out)?;
            object.number("zero", 0)?;
            object.number("max", u64::MAX)?;
            object.bool("no", false)?;
            object.bool_always("shown", false)?;
            object.string("none", "")?;
            object.bytes("value", b"")?;
            object.strings("some", &["a".to_owned(), "b".to_owned()])?;
            object.list("nothing", &[0u8; 0], |_, _| Ok(()))?;
            object.end()
        });
        assert_eq!(
            json,
            r#"{"max":18446744073709551615,"shown":false,"some":["a","b"]}"#
        );
    }

    #[test]
    fn strings_are_escaped_for_html_as_go_does() {
        let json = text(|out| string(out, "<a&b>\"\\\u{8}\u{1}\u{7f}é\u{2028}".as_bytes()));
        assert_eq!(
            json,
            "\"\\u003ca\\u0026b\\u003e\\\"\\\\\\b\\u0001\u{7f}é\\u2028\""
        );
        assert_eq!(text(|out| string(out, b"\xff\xfe")), r#""\ufffd\ufffd""#);
    }

    #[test]
    fn base64_pads_to_four() {
        for (bytes, expected) in [
            (&b""[..], r#""""#),
            (b"f", r#""Zg==""#),
            (b"fo", r#""Zm8=""#),
            (b"foo", r#""Zm9v""#),
            (b"\xff\xfe\xfd\xfc", r#""//79/A==""#),
        ] {
            assert_eq!(text(|out| base64(out, bytes)), expected);
        }
        let long = text(|out| base64(out, &[0; 1000]));
        assert_eq!(long, format!("\"{}A==\"", "A".repeat(1333)));
    }
}
