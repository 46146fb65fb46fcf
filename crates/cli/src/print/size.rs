//! Sizes for people, in powers of 1000, as `go-humanize` prints them.

/// `7 B`, `20 kB`, `2.1 GB`.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn bytes_si(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let size = bytes as f64;
    // The unit comes from floating-point logarithms there, so it does here.
    let exponent = (size.ln() / 1000f64.ln()).floor();
    let value = (size / 1000f64.powf(exponent) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS.get(exponent_index(exponent)).copied().unwrap_or("EB");
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn exponent_index(exponent: f64) -> usize {
    exponent.clamp(0.0, 6.0) as usize
}

#[cfg(test)]
mod tests {
    use super::bytes_si;

    #[test]
    fn one_decimal_below_ten() {
        for (bytes, text) in [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (20_480, "20 kB"),
            (999_999, "1000 kB"),
            (2_147_483_648, "2.1 GB"),
            (18_446_744_073_709_551_615, "18 EB"),
        ] {
            assert_eq!(bytes_si(bytes), text);
        }
    }
}
