//! Go's quoted strings (`%q`).

use std::fmt::Write as _;

/// The text between double quotes, with Go's escapes for what does not print.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_printable(c) => quoted.push(c),
            c if u32::from(c) < 0x80 => push_hex(&mut quoted, 'x', 2, c),
            c if u32::from(c) < 0x1_0000 => push_hex(&mut quoted, 'u', 4, c),
            c => push_hex(&mut quoted, 'U', 8, c),
        }
    }
    quoted.push('"');
    quoted
}

fn push_hex(text: &mut String, letter: char, width: usize, c: char) {
    write!(text, "\\{letter}{:0width$x}", u32::from(c)).expect("a String takes every write");
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII blank. The standard library knows
/// the same set, but escapes a combining mark unless it follows another character.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let mut bytes = [b'a'; 5];
    let len = c.encode_utf8(&mut bytes[1..]).len();
    let text = std::str::from_utf8(&bytes[..=len]).expect("two characters just encoded");
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts as code points with their quoted form in Go 1.26.
    const RECORDED: &str = include_str!("testdata/quotes.txt");

    #[test]
    fn recorded_texts_are_quoted_as_go_quotes() {
        let mut cases = 0;
        for line in RECORDED
            .split('\n')
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let (points, quoted) = line.split_once('\t').expect("two columns");
            let text: String = points
                .split(' ')
                .filter(|p| !p.is_empty())
                .map(|p| {
                    char::from_u32(u32::from_str_radix(p, 16).expect("hex")).expect("a code point")
                })
                .collect();
            assert_eq!(quote(&text), quoted, "{points}");
            cases += 1;
        }
        assert!(cases > 450, "only {cases} cases were read");
    }
}
