//! What a run found, for a person or as JSON.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::BenchError;
use crate::options::Describe;
use crate::run::Outcome;

/// The quantiles that are reported, with their names.
const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.50),
    ("p90", 0.90),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Writes the report of a run and returns the number of operations that failed.
pub(crate) fn print(
    described: &impl Describe,
    outcome: &Outcome,
    out: &mut impl Write,
) -> Result<u64, BenchError> {
    if described.common().json {
        writeln!(out, "{:#}", to_json(described, outcome))?;
    } else {
        to_text(described, outcome, out)?;
    }
    Ok(outcome.tally.error_count())
}

fn to_json(described: &impl Describe, outcome: &Outcome) -> Value {
    let latency = &outcome.tally.latency_ns;
    let us = |ns: u64| ns as f64 / 1_000.0;
    let mut latency_us = Map::new();
    latency_us.insert("min".into(), us(latency.min()).into());
    latency_us.insert("mean".into(), (latency.mean() / 1_000.0).into());
    latency_us.insert("stddev".into(), (latency.stdev() / 1_000.0).into());
    for (name, quantile) in QUANTILES {
        latency_us.insert(name.into(), us(latency.value_at_quantile(quantile)).into());
    }
    latency_us.insert("max".into(), us(latency.max()).into());
    let findings: Map<String, Value> = (outcome.findings.iter())
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    json!({
        "tool": concat!("tenet bench ", env!("CARGO_PKG_VERSION")),
        "operation": described.operation(),
        "options": described.options(),
        "answers": latency.len(),
        "errors": outcome.tally.errors,
        "elapsed_s": outcome.elapsed.as_secs_f64(),
        "throughput_per_s": throughput(outcome),
        "answers_by_second": outcome.tally.answers_by_second,
        "latency_us": latency_us,
        "findings": findings,
        "client_cpu_us_per_answer": per_answer(outcome, outcome.client_cpu_us),
        "server_cpu_us_per_answer":
            per_answer(outcome, outcome.server.map(|server| server.cpu_us)),
        "server_resident_kib": outcome.server.map(|server| server.memory.resident_kib),
        "server_resident_peak_kib": outcome.server.map(|server| server.memory.resident_peak_kib),
    })
}

fn to_text(described: &impl Describe, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let latency = &outcome.tally.latency_ns;
    writeln!(out, "{}", described.title())?;
    writeln!(
        out,
        "  {} answers, {} errors in {:.2} s: {:.0} per second",
        latency.len(),
        outcome.tally.error_count(),
        outcome.elapsed.as_secs_f64(),
        throughput(outcome),
    )?;
    for (text, count) in &outcome.tally.errors {
        writeln!(out, "  {count} errors: {text}")?;
    }
    write!(out, "  latency")?;
    for (name, quantile) in QUANTILES {
        write!(
            out,
            "  {name} {}",
            time(latency.value_at_quantile(quantile))
        )?;
    }
    writeln!(out, "  slowest {}", time(latency.max()))?;
    for (name, value) in &outcome.findings {
        writeln!(out, "  {name} {value:.3}")?;
    }
    if let Some(cpu) = per_answer(outcome, outcome.client_cpu_us) {
        writeln!(out, "  client  {cpu:.1} us of CPU per answer")?;
    }
    if let Some(server) = outcome.server {
        writeln!(
            out,
            "  server  {:.1} us of CPU per answer, {} MiB resident, {} MiB at its highest",
            per_answer(outcome, Some(server.cpu_us)).unwrap_or(0.0),
            server.memory.resident_kib / 1024,
            server.memory.resident_peak_kib / 1024,
        )?;
    }
    Ok(())
}

fn throughput(outcome: &Outcome) -> f64 {
    outcome.tally.latency_ns.len() as f64 / outcome.elapsed.as_secs_f64()
}

fn per_answer(outcome: &Outcome, cpu_us: Option<u64>) -> Option<f64> {
    let answers = outcome.tally.latency_ns.len();
    Some(cpu_us? as f64 / answers.max(1) as f64)
}

/// A time with three digits that matter.
fn time(ns: u64) -> String {
    let us = ns as f64 / 1_000.0;
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1_000.0),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1_000.0),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{self, Command};
    use crate::run::Tally;
    use crate::wire::CallError;
    use std::ffi::OsString;
    use std::time::{Duration, Instant};

    fn report(line: &str) -> (String, u64) {
        let Ok(Command::Load(load)) =
            options::parse(line.split(' ').skip(1).map(OsString::from).collect())
        else {
            panic!("{line}");
        };
        let mut tally = Tally::new();
        let start = Instant::now();
        for _ in 0..99 {
            tally.latency_ns.record(1_000_000).unwrap();
        }
        tally.answered(start, start);
        tally.failed(&CallError::Protocol("broken".into()));
        let outcome = Outcome {
            tally,
            elapsed: Duration::from_secs(2),
            client_cpu_us: Some(500),
            server: None,
            findings: vec![("gone_s", 1.5)],
        };
        let mut out = Vec::new();
        let errors = print(&load, &outcome, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), errors)
    }

    #[test]
    fn json_names_every_figure_and_keeps_errors() {
        let (text, errors) = report("bench put --json");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(errors, 1);
        assert_eq!(report["answers"], 100);
        assert_eq!(report["throughput_per_s"], 50.0);
        assert_eq!(report["client_cpu_us_per_answer"], 5.0);
        assert_eq!(report["errors"]["broken"], 1);
        assert_eq!(report["findings"]["gone_s"], 1.5);
        assert!(report["server_cpu_us_per_answer"].is_null());
        let p99 = report["latency_us"]["p99.99"].as_f64().unwrap();
        assert!((999.0..1_002.0).contains(&p99), "{p99}");
    }

    #[test]
    fn text_tells_a_person_rate_latency_and_errors() {
        let (text, _) = report("bench range --consistency s");
        assert!(text.contains("serializable range"), "{text}");
        assert!(text.contains("50 per second"), "{text}");
        assert!(text.contains("1 errors: broken"), "{text}");
        assert!(text.contains("p99.99 1.00 ms"), "{text}");
    }
}
