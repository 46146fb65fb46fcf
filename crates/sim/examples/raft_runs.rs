//! The long run of random clusters: seeds until so many entries are committed.
//!
//! `cargo run --profile ci -p tenet-sim --features instrumented --example raft_runs -- --entries 10000000`
//!
//! Fails at the first broken property, and at the end if a fault happened less than the wanted
//! number of times or more than `--missed` rare branches of the core were never taken (none unless
//! it is given, for short runs). `--from` is the first seed, `--faults` the wanted number, `--seed`
//! runs one seed and prints its trace.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that measures and talks to a person"
)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tenet_sim::raft::{Counts, Fault, Settings, World};

struct Options {
    entries: u64,
    from: u64,
    faults: u64,
    threads: u64,
    missed: usize,
    seed: Option<u64>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        entries: 100_000,
        from: 0,
        faults: 1_000,
        threads: 1,
        missed: 0,
        seed: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a number"))?;
        let number: u64 = value.parse().map_err(|_| format!("{value} is no number"))?;
        match word.as_str() {
            "--entries" => options.entries = number,
            "--from" => options.from = number,
            "--faults" => options.faults = number,
            "--threads" => options.threads = number,
            "--missed" => options.missed = number as usize,
            "--seed" => options.seed = Some(number),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match options.seed {
        Some(seed) => one(seed),
        None => many(&options),
    }
}

fn one(seed: u64) -> ExitCode {
    let mut world = World::new(Settings::from_seed(seed));
    world.record();
    let verdict = world.live();
    for line in world.trace().lines() {
        println!("{line}");
    }
    println!(
        "{verdict:?} {:?} {:x}",
        world.counts(),
        world.trace().digest()
    );
    if verdict.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(options: &Options) -> ExitCode {
    let began = Instant::now();
    let (next, committed) = (AtomicU64::new(options.from), AtomicU64::new(0));
    let (sum, failed) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while committed.load(Ordering::Relaxed) < options.entries {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    match run(seed) {
                        Ok(counts) => {
                            committed.fetch_add(counts.committed, Ordering::Relaxed);
                            sum.lock().expect("no panic holds it").add(&counts);
                        }
                        Err(what) => {
                            println!("seed {seed}: {what}");
                            failed.lock().expect("no panic holds it").push(seed);
                            return;
                        }
                    }
                }
            });
        }
    });
    let seeds = next.into_inner() - options.from;
    let sum = sum.into_inner().expect("all threads are done");
    let failed = failed.into_inner().expect("all threads are done");
    println!(
        "{seeds} seeds from {}: {} entries committed, {} reads checked, {} runs ended by a removed \
         leader, {} s",
        options.from,
        sum.committed,
        sum.reads,
        sum.deadlocks,
        began.elapsed().as_secs()
    );
    let enough = faults_are_enough(&sum, options.faults);
    let taken = branches_missed() <= options.missed;
    match failed.is_empty() && enough && taken {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn run(seed: u64) -> Result<Counts, String> {
    let life = std::panic::catch_unwind(|| {
        let mut world = World::new(Settings::from_seed(seed));
        let verdict = world.live();
        verdict.map(|()| world.counts())
    });
    match life {
        Ok(verdict) => verdict.map_err(|violation| violation.to_string()),
        Err(_) => Err("a member stops, see above".into()),
    }
}

fn faults_are_enough(sum: &Counts, wanted: u64) -> bool {
    for (fault, count) in Fault::ALL.iter().zip(sum.faults) {
        let rare = if count < wanted { "  too rare" } else { "" };
        println!("{count:>12} {fault:?}{rare}");
    }
    sum.rarest().1 >= wanted
}

#[cfg(feature = "instrumented")]
fn branches_missed() -> usize {
    let marks = tenet_raft::marks();
    for (mark, count) in &marks {
        let never = if *count == 0 { "  never" } else { "" };
        println!("{count:>12} branch {mark:?}{never}");
    }
    marks.iter().filter(|(_, count)| *count == 0).count()
}

#[cfg(not(feature = "instrumented"))]
fn branches_missed() -> usize {
    println!("branches are not counted without the feature `instrumented`");
    0
}
