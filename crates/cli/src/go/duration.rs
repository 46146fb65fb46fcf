//! Durations as Go reads and prints them: `1h15m30.918s`, `100ms`, `-1.5us`.
//!
//! Invariant: printing and reading back gives the same number of nanoseconds, for every `i64`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A signed number of nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The size of the most negative duration, which has no positive twin.
const LIMIT: u64 = 1 << 63;

impl GoDuration {
    /// The duration as the standard library's type; a negative one is zero.
    #[must_use]
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// From the standard library's type, cut at what fits (292 years).
    #[must_use]
    pub fn from_std(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self::from_std(duration)
    }
}

impl fmt::Display for GoDuration {
    /// The largest unit that leaves a whole part, with the fraction's trailing zeros cut. Below
    /// one second a single unit is used, above it hours, minutes and seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            n if n < MICROSECOND => write!(f, "{n}ns"),
            n if n < MILLISECOND => write!(f, "{}µs", Decimal::new(n, MICROSECOND)),
            n if n < SECOND => write!(f, "{}ms", Decimal::new(n, MILLISECOND)),
            n => {
                if n >= HOUR {
                    write!(f, "{}h", n / HOUR)?;
                }
                if n >= MINUTE {
                    write!(f, "{}m", n % HOUR / MINUTE)?;
                }
                write!(f, "{}s", Decimal::new(n % MINUTE, SECOND))
            }
        }
    }
}

/// `amount / unit` for a unit that is a power of ten, without trailing zeros.
struct Decimal {
    whole: u64,
    fraction: u64,
    digits: usize,
}

impl Decimal {
    fn new(amount: u64, unit: u64) -> Self {
        let mut fraction = amount % unit;
        let mut digits = unit.ilog10() as usize;
        while digits > 0 && fraction.is_multiple_of(10) {
            fraction /= 10;
            digits -= 1;
        }
        Self {
            whole: amount / unit,
            fraction,
            digits,
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.whole)?;
        if self.digits > 0 {
            write!(f, ".{:0width$}", self.fraction, width = self.digits)?;
        }
        Ok(())
    }
}

/// Why a text is not a duration, in Go's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DurationError {
    /// Not of the form number, unit, number, unit …; or larger than 292 years.
    #[error("time: invalid duration {}", time_quote(.0))]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {}", time_quote(.0))]
    MissingUnit(String),
    /// A unit other than ns, us, µs, ms, s, m, h.
    #[error("time: unknown unit {} in duration {}", time_quote(.unit), time_quote(.text))]
    UnknownUnit {
        /// What stands where the unit should.
        unit: String,
        /// The whole text.
        text: String,
    },
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total = 0u64;
        while !rest.is_empty() {
            let (amount, after) = Amount::read(rest).ok_or_else(invalid)?;
            let unit_len = after
                .find(|c: char| c == '.' || c.is_ascii_digit())
                .unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_len);
            if unit.is_empty() {
                return Err(DurationError::MissingUnit(text.to_owned()));
            }
            let scale = scale_of(unit).ok_or_else(|| DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            })?;
            let nanos = amount.times(scale).ok_or_else(invalid)?;
            total = total
                .checked_add(nanos)
                .filter(|&t| t <= LIMIT)
                .ok_or_else(invalid)?;
            rest = after;
        }
        if negative {
            return Ok(Self(0i64.wrapping_sub_unsigned(total)));
        }
        i64::try_from(total).map(Self).map_err(|_| invalid())
    }
}

/// A number before its unit: whole part, and fraction as `fraction / scale`.
struct Amount {
    whole: u64,
    fraction: u64,
    scale: f64,
}

impl Amount {
    /// Reads `[0-9]*(\.[0-9]*)?` with at least one digit. A whole part above [`LIMIT`] is refused;
    /// digits of the fraction that no longer fit are ignored, as they are below a nanosecond.
    fn read(text: &str) -> Option<(Self, &str)> {
        let whole_len = digits_len(text);
        let mut whole = 0u64;
        for digit in text[..whole_len].bytes() {
            whole = whole
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            if whole > LIMIT {
                return None;
            }
        }
        let mut amount = Self {
            whole,
            fraction: 0,
            scale: 1.0,
        };
        let rest = &text[whole_len..];
        let Some(decimals) = rest.strip_prefix('.') else {
            return (whole_len > 0).then_some((amount, rest));
        };
        let fraction_len = digits_len(decimals);
        for digit in decimals[..fraction_len].bytes() {
            let next = amount
                .fraction
                .checked_mul(10)
                .and_then(|f| f.checked_add(u64::from(digit - b'0')));
            match next.filter(|&f| f <= LIMIT) {
                Some(fraction) => amount.fraction = fraction,
                None => break,
            }
            amount.scale *= 10.0;
        }
        (whole_len + fraction_len > 0).then_some((amount, &decimals[fraction_len..]))
    }

    /// The amount in nanoseconds, if it stays within [`LIMIT`]. The fraction goes through floating
    /// point as in Go, so that both cut it in the same place.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss
    )]
    fn times(&self, unit: u64) -> Option<u64> {
        let mut nanos = self.whole.checked_mul(unit).filter(|&n| n <= LIMIT)?;
        if self.fraction > 0 {
            nanos += (self.fraction as f64 * (unit as f64 / self.scale)) as u64;
        }
        (nanos <= LIMIT).then_some(nanos)
    }
}

fn digits_len(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

fn scale_of(unit: &str) -> Option<u64> {
    match unit {
        "ns" => Some(1),
        // The micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(MICROSECOND),
        "ms" => Some(MILLISECOND),
        "s" => Some(SECOND),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        _ => None,
    }
}

/// Quotes as Go's `time` package does: bytes outside printable ASCII become `\xNN`.
fn time_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                quoted.push('\\');
                quoted.push(char::from(byte));
            }
            0x20..=0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts with what Go 1.26 makes of them: nanoseconds and printed form, or the error.
    const RECORDED: &str = include_str!("testdata/durations.txt");

    #[test]
    fn recorded_texts_give_what_go_gives() {
        let mut cases = 0;
        for line in RECORDED
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
        {
            let mut parts = line.split('\t');
            let text = parts.next().expect("a text");
            let verdict = parts.next().expect("nanoseconds or an error");
            match text.parse::<GoDuration>() {
                Ok(duration) => {
                    assert_eq!(duration.0.to_string(), verdict, "{text}");
                    assert_eq!(
                        duration.to_string(),
                        parts.next().expect("a printed form"),
                        "{text}"
                    );
                }
                Err(error) => assert_eq!(error.to_string(), verdict, "{text}"),
            }
            cases += 1;
        }
        assert!(cases > 90, "only {cases} cases were read");
    }

    /// The grammar by its meaning, in wide integers: the obvious twin for texts without fractions
    /// beyond what a nanosecond holds.
    fn twin(negative: bool, parts: &[(u32, u32, &'static str)]) -> (String, i128) {
        let mut text = String::from(if negative { "-" } else { "" });
        let mut nanos = 0i128;
        for &(whole, tenths, unit) in parts {
            let scale = i128::from(scale_of(unit).expect("a unit"));
            let tenths = if scale == 1 { 0 } else { tenths % 10 };
            text.push_str(&format!("{whole}.{tenths}{unit}"));
            nanos += i128::from(whole) * scale + i128::from(tenths) * scale / 10;
        }
        (text, if negative { -nanos } else { nanos })
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_equal(nanos: i64) {
            prop_assert_eq!(GoDuration(nanos).to_string().parse(), Ok(GoDuration(nanos)));
        }

        #[test]
        fn small_durations_read_back_equal(nanos in -5_000_000_000i64..5_000_000_000) {
            prop_assert_eq!(GoDuration(nanos).to_string().parse(), Ok(GoDuration(nanos)));
        }

        #[test]
        fn sums_of_units_are_the_sum(
            negative: bool,
            parts in prop::collection::vec((any::<u32>(), any::<u32>(), prop::sample::select(vec!["ns", "us", "µs", "ms", "s", "m", "h"])), 1..5),
        ) {
            let (text, nanos) = twin(negative, &parts);
            match i64::try_from(nanos) {
                Ok(nanos) => prop_assert_eq!(text.parse(), Ok(GoDuration(nanos))),
                Err(_) => prop_assert_eq!(text.parse::<GoDuration>(), Err(DurationError::Invalid(text))),
            }
        }

        #[test]
        fn no_text_panics(text in ".*", units in "[-+0-9.nuµmsh ]*") {
            let _ = text.parse::<GoDuration>();
            let _ = units.parse::<GoDuration>();
        }
    }
}
