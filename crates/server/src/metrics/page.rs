//! Families and series in the text format 0.0.4: families by name, series in the order in which
//! they were written (sources write them sorted by their labels), numbers as Go prints them.

use std::collections::BTreeMap;
use std::fmt::Write;
use tenet_base::counters::Histogram;

/// What is printed at a scrape.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<String, Family>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: &'static str,
    text: String,
}

/// The series of one family.
#[derive(Debug)]
pub struct Rows<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new() -> Page {
        Page::default()
    }

    fn family(&mut self, name: &str, help: &'static str, kind: &'static str) -> &mut Family {
        self.families
            .entry(name.to_owned())
            .or_insert_with(|| Family {
                help,
                kind,
                text: String::new(),
            })
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &'static str, value: u64) {
        self.counters(name, help).row(&[], value as f64);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &'static str, value: f64) {
        self.gauges(name, help).row(&[], value);
    }

    /// A counter with labels: its rows.
    pub fn counters<'a>(&'a mut self, name: &'a str, help: &'static str) -> Rows<'a> {
        let text = &mut self.family(name, help, "counter").text;
        Rows { name, text }
    }

    /// A gauge with labels: its rows.
    pub fn gauges<'a>(&'a mut self, name: &'a str, help: &'static str) -> Rows<'a> {
        let text = &mut self.family(name, help, "gauge").text;
        Rows { name, text }
    }

    /// A histogram, with labels or without.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[(&str, &str)],
        histogram: &Histogram,
    ) {
        let text = &mut self.family(name, help, "histogram").text;
        let (bounds, total) = histogram.cumulative();
        let bucket = format!("{name}_bucket");
        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
        for (bound, below) in bounds {
            let bound = format_float(bound);
            let all = [labels, &[("le", bound.as_str())]].concat();
            Rows {
                name: &bucket,
                text,
            }
            .row(&all, below as f64);
        }
        let all = [labels, &[("le", "+Inf")]].concat();
        Rows {
            name: &bucket,
            text,
        }
        .row(&all, total as f64);
        Rows { name: &sum, text }.row(labels, histogram.sum());
        Rows { name: &count, text }.row(labels, total as f64);
    }

    /// The page.
    #[must_use]
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (name, family) in &self.families {
            let _ = writeln!(out, "# HELP {name} {}", family.help);
            let _ = writeln!(out, "# TYPE {name} {}", family.kind);
            out.push_str(&family.text);
        }
        out
    }
}

impl Rows<'_> {
    /// One series. Labels are given in alphabetical order.
    pub fn row(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", format_float(value));
    }
}

/// A number as Go's shortest form has it: with an exponent from a million on.
fn format_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..6 => value.to_string(),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_gos() {
        for (value, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (999_999.0, "999999"),
            (1_000_000.0, "1e+06"),
            (1_048_576.5, "1.0485765e+06"),
            (1.8446744073709552e19, "1.8446744073709552e+19"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_float(value), text);
        }
    }

    #[test]
    fn the_page_is_sorted_by_family_and_numbers_are_gos() {
        let mut page = Page::new();
        page.gauge("etcd_server_quota_backend_bytes", "Quota.", 2_147_483_648.0);
        page.counter("etcd_mvcc_put_total", "Puts.", 2);
        page.counters("a_total", "With labels.")
            .row(&[("code", "a\"b\\c\n"), ("x", "")], 100_000.0);
        let histogram = Histogram::new(&[0.001, 1.0]);
        histogram.record(0.5);
        page.histogram("h_seconds", "Times.", &[("op", "put")], &histogram);
        assert_eq!(
            page.print(),
            "# HELP a_total With labels.\n\
             # TYPE a_total counter\n\
             a_total{code=\"a\\\"b\\\\c\\n\",x=\"\"} 100000\n\
             # HELP etcd_mvcc_put_total Puts.\n\
             # TYPE etcd_mvcc_put_total counter\n\
             etcd_mvcc_put_total 2\n\
             # HELP etcd_server_quota_backend_bytes Quota.\n\
             # TYPE etcd_server_quota_backend_bytes gauge\n\
             etcd_server_quota_backend_bytes 2.147483648e+09\n\
             # HELP h_seconds Times.\n\
             # TYPE h_seconds histogram\n\
             h_seconds_bucket{op=\"put\",le=\"0.001\"} 0\n\
             h_seconds_bucket{op=\"put\",le=\"1\"} 1\n\
             h_seconds_bucket{op=\"put\",le=\"+Inf\"} 1\n\
             h_seconds_sum{op=\"put\"} 0.5\n\
             h_seconds_count{op=\"put\"} 1\n"
        );
    }
}
