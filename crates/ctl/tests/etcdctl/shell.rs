//! Command lines of cases: words in the manner of a shell, with `$'…'` for bytes, and places that
//! each server fills in.

use crate::normal::Places;

/// Splits a line into words. Single quotes keep everything, `$'…'` knows `\n`, `\t`, `\\`, `\'`
/// and `\xNN`.
pub(crate) fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '$' if chars.peek() == Some(&'\'') => {
                chars.next();
                escaped(&mut chars, word.get_or_insert_default());
            }
            '\'' => {
                let word = word.get_or_insert_default();
                for c in chars.by_ref().take_while(|c| *c != '\'') {
                    push(word, c);
                }
            }
            c => push(word.get_or_insert_default(), c),
        }
    }
    words.extend(word);
    words
}

fn escaped(chars: &mut impl Iterator<Item = char>, word: &mut Vec<u8>) {
    while let Some(c) = chars.next() {
        match c {
            '\'' => return,
            '\\' => match chars.next() {
                Some('n') => word.push(b'\n'),
                Some('t') => word.push(b'\t'),
                Some('x') => {
                    let digits: String = chars.by_ref().take(2).collect();
                    word.push(u8::from_str_radix(&digits, 16).expect("two digits"));
                }
                Some(c) => push(word, c),
                None => panic!("a case ends in the middle of an escape"),
            },
            c => push(word, c),
        }
    }
    panic!("a case has a quote that nothing closes");
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Fills in places such as `@ENDPOINT@`.
pub(crate) fn replace(word: &[u8], places: &Places) -> Vec<u8> {
    let mut word = word.to_vec();
    for (place, value) in places {
        while let Some(at) = find(&word, place.as_bytes()) {
            word.splice(at..at + place.len(), value.bytes());
        }
    }
    word
}

fn find(word: &[u8], part: &[u8]) -> Option<usize> {
    word.windows(part.len()).position(|window| window == part)
}
