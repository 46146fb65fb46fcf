//! Integers in a given base, as Go's `strconv` reads arguments (flags are in base 0, see
//! [`crate::go::number`]).

use crate::go::quote;

/// Why a number was not read. The texts are those of `strconv`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("strconv.{function}: parsing {}: {reason}", quote(.text))]
pub struct NumberError {
    function: &'static str,
    text: String,
    reason: &'static str,
}

/// Reads a signed integer of 64 bits with digits of `base` (10 or 16).
///
/// # Errors
/// If the text has anything but a sign and digits, or does not fit.
pub fn parse_int(text: &str, base: u32) -> Result<i64, NumberError> {
    i64::from_str_radix(text, base).map_err(|error| number_error("ParseInt", text, &error))
}

/// Reads an unsigned integer of 64 bits with digits of `base` (10 or 16).
///
/// # Errors
/// If the text has anything but digits, or does not fit.
pub fn parse_uint(text: &str, base: u32) -> Result<u64, NumberError> {
    // The standard library takes a plus sign here, Go takes none.
    let digits = if text.starts_with('+') { "" } else { text };
    u64::from_str_radix(digits, base).map_err(|error| number_error("ParseUint", text, &error))
}

fn number_error(
    function: &'static str,
    text: &str,
    error: &std::num::ParseIntError,
) -> NumberError {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let too_large = matches!(error.kind(), NegOverflow | PosOverflow);
    let reason = if too_large && all_digits(text) {
        "value out of range"
    } else {
        "invalid syntax"
    };
    NumberError {
        function,
        text: text.to_owned(),
        reason,
    }
}

/// The standard library stops at the digit that is too much; Go reads on and finds a bad one.
fn all_digits(text: &str) -> bool {
    text.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_sign_and_digits() {
        assert_eq!(parse_int("-12", 10), Ok(-12));
        assert_eq!(parse_int("+7", 10), Ok(7));
        assert_eq!(parse_int("-8000000000000000", 16), Ok(i64::MIN));
        assert_eq!(parse_uint("ffffffffffffffff", 16), Ok(u64::MAX));
    }

    #[test]
    fn failures_carry_gos_text() {
        for text in ["", "x", "0x5", "1_0", "-", " 1", "1e3"] {
            let error = parse_int(text, 10).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("strconv.ParseInt: parsing {}: invalid syntax", quote(text))
            );
        }
        assert_eq!(
            parse_int("99999999999999999999", 10)
                .unwrap_err()
                .to_string(),
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
        );
        assert_eq!(
            parse_int("99999999999999999999z", 10)
                .unwrap_err()
                .to_string(),
            "strconv.ParseInt: parsing \"99999999999999999999z\": invalid syntax"
        );
        assert_eq!(
            parse_uint("+1", 16).unwrap_err().to_string(),
            "strconv.ParseUint: parsing \"+1\": invalid syntax"
        );
    }
}
