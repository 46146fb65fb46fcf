//! Runs whole clusters from many seeds and says what they have shown.
//!
//! ```text
//! cargo run --profile ci -p tenet-sim --example cluster_runs -- --seeds 1000 [--from 0]
//! ```
//!
//! A seed that fails is printed with what is wrong; the same seed fails the same way again.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use tenet_sim::cluster::{Cluster, Fault, Settings};

fn number(args: &[String], flag: &str, otherwise: u64) -> u64 {
    let at = args.iter().position(|arg| arg == flag);
    let value = at.and_then(|at| args.get(at + 1));
    value.map_or(otherwise, |value| {
        value.parse().expect("a number follows the flag")
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let (from, seeds) = (number(&args, "--from", 0), number(&args, "--seeds", 100));
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let (mut answered, mut lost, mut events, mut terms, mut installed) = (0, 0, 0, 0, 0);
    let mut failed = 0;
    for seed in from..from + seeds {
        let run = Cluster::new(Settings::from_seed(seed)).run();
        if !run.violations.is_empty() {
            failed += 1;
            println!("seed {seed}: {}", run.violations.join("\n"));
        }
        answered += run.answered;
        lost += run.lost;
        events += run.events;
        terms += run.terms;
        installed += run.installed;
        for (fault, count) in run.faults {
            *faults.entry(fault).or_default() += count;
        }
    }
    println!(
        "{seeds} seeds from {from}: {failed} failed; {answered} answered, {lost} lost, {events} \
         events, {terms} terms with a leader, {installed} snapshots installed"
    );
    for (fault, count) in faults {
        println!("{count:>9}  {fault:?}");
    }
    ExitCode::from(u8::from(failed > 0))
}
