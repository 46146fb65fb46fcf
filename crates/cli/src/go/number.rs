//! Integers and booleans as Go's `strconv` reads them: base 0, that is decimal, `0x`, `0o` or a
//! leading zero, `0b`, with underscores between digits where a base prefix allows them.

use std::fmt;

use super::quote;

/// Why a text is not a number or a boolean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberError {
    function: &'static str,
    text: String,
    /// Whether the text is a number, but too large or too small.
    pub out_of_range: bool,
}

impl fmt::Display for NumberError {
    /// The words of `strconv.NumError`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.out_of_range {
            "value out of range"
        } else {
            "invalid syntax"
        };
        write!(
            f,
            "strconv.{}: parsing {}: {reason}",
            self.function,
            quote(&self.text)
        )
    }
}

impl std::error::Error for NumberError {}

/// Reads an unsigned integer of at most `bits` bits.
///
/// # Errors
/// If the text is no number, or does not fit.
pub fn parse_uint(text: &str, bits: u32) -> Result<u64, NumberError> {
    let error = |out_of_range| NumberError {
        function: "ParseUint",
        text: text.to_owned(),
        out_of_range,
    };
    let magnitude = magnitude(text).ok_or_else(|| error(false))?;
    u64::try_from(magnitude)
        .ok()
        .filter(|value| bits >= 64 || value >> bits == 0)
        .ok_or_else(|| error(true))
}

/// Reads a signed integer of 64 bits.
///
/// # Errors
/// If the text is no number, or does not fit.
pub fn parse_int(text: &str) -> Result<i64, NumberError> {
    let error = |out_of_range| NumberError {
        function: "ParseInt",
        text: text.to_owned(),
        out_of_range,
    };
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = magnitude(digits).ok_or_else(|| error(false))?;
    let value = i128::try_from(magnitude).map_err(|_| error(true))?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| error(true))
}

/// Reads a boolean: `1`, `t`, `T`, `true`, `TRUE`, `True` and their opposites.
///
/// # Errors
/// If the text is anything else.
pub fn parse_bool(text: &str) -> Result<bool, NumberError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(NumberError {
            function: "ParseBool",
            text: text.to_owned(),
            out_of_range: false,
        }),
    }
}

/// The value of digits in base 0, at most `u128::MAX` (a larger number stays there, which no caller
/// accepts). `None` if it is not a number.
fn magnitude(text: &str) -> Option<u128> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    let mut value = 0u128;
    // An underscore may follow a digit or the prefix, and must be followed by a digit.
    let mut underscore_allowed = digits.len() < text.len();
    let mut after_underscore = true;
    for c in digits.chars() {
        if c == '_' {
            if !underscore_allowed {
                return None;
            }
            underscore_allowed = false;
            after_underscore = true;
            continue;
        }
        value = value
            .saturating_mul(radix)
            .saturating_add(c.to_digit(u32::try_from(radix).ok()?)?.into());
        underscore_allowed = true;
        after_underscore = false;
    }
    (!after_underscore).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with what Go 1.26 makes of them.
    const RECORDED: &str = include_str!("testdata/numbers.txt");

    #[test]
    fn recorded_texts_give_what_go_gives() {
        let mut cases = 0;
        for line in RECORDED.lines().filter(|l| !l.starts_with('#')) {
            let [form, text, verdict] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let ours = match form {
                "uint64" => parse_uint(text, 64).map(|v| v.to_string()),
                "uint32" => parse_uint(text, 32).map(|v| v.to_string()),
                "int64" => parse_int(text).map(|v| v.to_string()),
                "bool" => parse_bool(text).map(|v| v.to_string()),
                _ => panic!("{line}"),
            };
            assert_eq!(
                ours.unwrap_or_else(|error| error.to_string()),
                verdict,
                "{form} {text}"
            );
            cases += 1;
        }
        assert!(cases > 130, "only {cases} cases were read");
    }
}
