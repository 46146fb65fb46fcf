//! `docs/benchmarks.md`, made from the files under `docs/benchmarks/` alone.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::scenario::GROUPS;
use crate::repo::Repo;
use crate::{Failure, say};

const DOCUMENT: &str = "docs/benchmarks.md";

/// A figure of a report.
struct Figure {
    /// The row's name.
    name: &'static str,
    /// Where it stands in the report.
    pointer: &'static str,
    /// What the report's number is multiplied with.
    scale: f64,
}

const CPU: Figure = Figure {
    name: "server CPU, us per operation",
    pointer: "/server_cpu_us_per_answer",
    scale: 1.0,
};
const THROUGHPUT: Figure = Figure {
    name: "operations per second",
    pointer: "/throughput_per_s",
    scale: 1.0,
};
const P50: Figure = Figure {
    name: "p50, ms",
    pointer: "/latency_us/p50",
    scale: 1e-3,
};
const P99: Figure = Figure {
    name: "p99, ms",
    pointer: "/latency_us/p99",
    scale: 1e-3,
};
const P999: Figure = Figure {
    name: "p99.9, ms",
    pointer: "/latency_us/p99.9",
    scale: 1e-3,
};
const SLOWEST: Figure = Figure {
    name: "slowest, ms",
    pointer: "/latency_us/max",
    scale: 1e-3,
};
const PEAK: Figure = Figure {
    name: "resident memory at its highest, MiB",
    pointer: "/server_resident_peak_kib",
    scale: 1.0 / 1024.0,
};
const CPU_PER_PUT: Figure = Figure {
    name: "server CPU, us per put",
    pointer: "/findings/server_cpu_us_per_put",
    scale: 1.0,
};
const RESIDENT: Figure = Figure {
    name: "resident memory, MiB",
    pointer: "/server_resident_kib",
    scale: 1.0 / 1024.0,
};

const GONE: Figure = Figure {
    name: "all gone after the first was due, s",
    pointer: "/findings/gone_after_first_due_s",
    scale: 1.0,
};
const REVOKE: Figure = Figure {
    name: "answer to the revoke, s",
    pointer: "/findings/revoke_s",
    scale: 1.0,
};

/// The figures of a scenario that are shown.
fn figures_of(scenario: &str) -> &'static [Figure] {
    match scenario {
        scenario if scenario.contains("beside 10,000 watches") => &[CPU_PER_PUT],
        scenario if scenario.starts_with("watches kept") => &[RESIDENT],
        scenario if scenario.starts_with("watches of history") => &[CPU, THROUGHPUT],
        scenario if scenario.starts_with("watches") => &[CPU, THROUGHPUT, P50, P99, PEAK],
        scenario if scenario.contains("is revoked") => &[REVOKE, P999, SLOWEST],
        scenario if scenario.contains("leases end") => &[GONE, P99, P999, SLOWEST],
        scenario if scenario.starts_with("pages") => &[P50, P999, SLOWEST],
        scenario if scenario.ends_with("1 client") => &[P50, P99, CPU],
        scenario if scenario.contains("million") => &[CPU, THROUGHPUT, P99, RESIDENT],
        _ => &[CPU, THROUGHPUT, P50, P99],
    }
}

/// Makes the document anew.
pub(super) fn write(repo: &Repo) -> Result<(), Failure> {
    let mut text = String::from(HEAD);
    for group in GROUPS {
        let Ok(raw) = repo.read(&group.file()) else {
            let _ = writeln!(text, "## {}\n\nNot measured yet.\n", group.name);
            continue;
        };
        let raw: Value = serde_json::from_str(&raw)
            .map_err(|error| Failure::Text(format!("{}: {error}", group.file())))?;
        text += &section(&raw);
    }
    repo.write(DOCUMENT, &text)?;
    say(&format!("wrote {DOCUMENT}"));
    Ok(())
}

const HEAD: &str = "\
# Benchmarks

Made by `cargo xtask compare` from the files in `benchmarks/`; do not edit.
The server runs alone on one core and the load generator, `tenet bench`, alone on another, over loopback, with the same flags for both servers.
Each figure is the median over the rounds, with the smallest and the largest in brackets; Tenet, etcd and the floor take turns in going first.
The floor is an empty server on the same transport (`tenet bench floor`): what no server built on it can be below.
The ratio is Tenet's median over etcd's.
A run with errors shows how many operations failed, as a part of all.

";

/// Runs of one scenario by server.
type Runs<'a> = BTreeMap<&'a str, Vec<&'a Value>>;

fn section(raw: &Value) -> String {
    let mut text = format!("## {}\n\n", raw["group"].as_str().unwrap_or("?"));
    let machine = &raw["machine"];
    let _ = writeln!(
        text,
        "{} rounds on {}, {} cores, {}, {}; {} at commit {}.\n",
        raw["rounds"],
        string(&machine["cpu"]),
        machine["cores"],
        string(&machine["memory"]),
        string(&machine["kernel"]),
        string(&machine["day"]),
        string(&machine["commit"]),
    );
    text += "| scenario | figure | tenet | etcd | floor | ratio |\n|---|---|---|---|---|---|\n";
    for (scenario, runs) in by_scenario(raw) {
        for figure in figures_of(scenario) {
            text += &row(scenario, figure, &runs);
        }
        text += &errors_row(scenario, &runs);
    }
    if let Some(kept) = throughput_kept(raw) {
        text += &kept;
    }
    text.push('\n');
    text
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Scenarios in the order in which they were first run.
fn by_scenario(raw: &Value) -> Vec<(&str, Runs<'_>)> {
    let mut scenarios: Vec<(&str, Runs<'_>)> = Vec::new();
    for run in raw["runs"].as_array().map_or(&[][..], Vec::as_slice) {
        let scenario = string(&run["scenario"]);
        let at = match scenarios.iter().position(|(name, _)| *name == scenario) {
            Some(at) => at,
            None => {
                scenarios.push((scenario, Runs::new()));
                scenarios.len() - 1
            }
        };
        scenarios[at]
            .1
            .entry(string(&run["server"]))
            .or_default()
            .push(&run["report"]);
    }
    scenarios
}

fn row(scenario: &str, figure: &Figure, runs: &Runs<'_>) -> String {
    let spread =
        |server: &str| {
            let reports = runs.get(server)?;
            Spread::of(reports.iter().filter_map(|report| {
                Some(report.pointer(figure.pointer)?.as_f64()? * figure.scale)
            }))
        };
    let (tenet, etcd, floor) = (spread("tenet"), spread("etcd"), spread("floor"));
    let ratio = match (&tenet, &etcd) {
        (Some(tenet), Some(etcd)) if etcd.median > 0.0 => {
            format!("**{:.2}**", tenet.median / etcd.median)
        }
        _ => "–".into(),
    };
    let show = |spread: Option<Spread>| spread.map_or("–".into(), |spread| spread.to_string());
    format!(
        "| {scenario} | {} | {} | {} | {} | {ratio} |\n",
        figure.name,
        show(tenet),
        show(etcd),
        show(floor)
    )
}

/// A row for the operations that failed, if any did.
fn errors_row(scenario: &str, runs: &Runs<'_>) -> String {
    let failed = |server: &str| {
        let (mut errors, mut all) = (0, 0);
        for report in runs.get(server).map_or(&[][..], Vec::as_slice) {
            let failed: u64 = report["errors"]
                .as_object()
                .map_or(0, |errors| errors.values().filter_map(Value::as_u64).sum());
            errors += failed;
            all += failed + report["answers"].as_u64().unwrap_or(0);
        }
        (errors, all)
    };
    let servers = ["tenet", "etcd", "floor"].map(failed);
    if servers.iter().all(|(errors, _)| *errors == 0) {
        return String::new();
    }
    let cells = servers.map(|(errors, all)| match all {
        0 => "–".to_owned(),
        all => format!("{:.1} %", errors as f64 * 100.0 / all as f64),
    });
    format!("| {scenario} | failed | {} | – |\n", cells.join(" | "))
}

/// What is left of the highest throughput of puts when 16,000 clients come.
fn throughput_kept(raw: &Value) -> Option<String> {
    let scenarios = by_scenario(raw);
    let median = |scenario: &str, server: &str| {
        let (_, runs) = scenarios.iter().find(|(name, _)| *name == scenario)?;
        let reports = runs.get(server)?;
        Spread::of(
            reports
                .iter()
                .filter_map(|report| report["throughput_per_s"].as_f64()),
        )
        .map(|spread| spread.median)
    };
    let mut cells = Vec::new();
    for server in ["tenet", "etcd", "floor"] {
        let peak = scenarios
            .iter()
            .filter(|(name, _)| name.starts_with("put"))
            .filter_map(|(name, _)| median(name, server))
            .fold(0.0, f64::max);
        let many = median("put, 64 connections x 16,000 clients", server);
        cells.push(many.map_or("–".into(), |many| format!("{:.2}", many / peak)));
    }
    scenarios
        .iter()
        .any(|(name, _)| name.contains("16,000"))
        .then(|| {
            format!(
                "| put, 64 connections x 16,000 clients | throughput over own peak | {} | – |\n",
                cells.join(" | ")
            )
        })
}

/// A median with the smallest and the largest.
#[derive(Debug, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            f64::midpoint(figures[middle - 1], figures[middle])
        };
        Some(Spread { median, min, max })
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = match self.median {
            median if median >= 1_000.0 => 0,
            median if median >= 10.0 => 1,
            _ => 2,
        };
        write!(
            f,
            "{:.digits$} ({:.digits$}–{:.digits$})",
            self.median, self.min, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(server: &str, scenario: &str, throughput: f64, errors: u64) -> Value {
        json!({
            "server": server,
            "scenario": scenario,
            "report": {
                "throughput_per_s": throughput,
                "server_cpu_us_per_answer": 1e6 / throughput,
                "latency_us": {"p50": 2_000.0, "p99": 9_000.0},
                "answers": 90,
                "errors": if errors > 0 { json!({"too many": errors}) } else { json!({}) },
            },
        })
    }

    #[test]
    fn a_spread_is_the_middle_with_both_ends() {
        assert_eq!(Spread::of([].into_iter()), None);
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter()).unwrap();
        assert_eq!(spread.to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Spread::of([1.0, 2.0].into_iter()).unwrap().median, 1.5);
    }

    #[test]
    fn medians_are_compared_and_failures_are_shown() {
        let many = "put, 64 connections x 16,000 clients";
        let peak = "put, 8 connections x 1,000 clients";
        let raw = json!({"group": "steady", "rounds": 3, "machine": {}, "runs": [
            run("tenet", peak, 50_000.0, 0),
            run("tenet", peak, 40_000.0, 0),
            run("tenet", peak, 10.0, 0),
            run("etcd", peak, 20_000.0, 0),
            run("tenet", many, 36_000.0, 0),
            run("etcd", many, 10_000.0, 10),
        ]});
        let text = section(&raw);
        assert!(
            text.contains(
                "operations per second | 40000 (10–50000) | 20000 (20000–20000) | – | **2.00** |"
            ),
            "{text}"
        );
        assert!(text.contains("failed | 0.0 % | 10.0 % | – | – |"), "{text}");
        assert!(
            text.contains("throughput over own peak | 0.90 | 0.50 | – | – |"),
            "{text}"
        );
    }
}
