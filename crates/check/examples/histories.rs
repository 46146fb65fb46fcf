//! Checks recorded histories and says in plain words what is wrong.
//!
//! `cargo run --profile ci -p tenet-check --example histories -- FILE…`
//!
//! With `--broken FOLDER` before it, one file is also broken in every known way; each of the
//! results must be refused, and is left in the folder for another checker. `--pick` chooses where.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reads files and talks to a person"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use tenet_check::history::{History, Mutation, Report, check};

/// How many violations are told of one file.
const TOLD_MAX: usize = 10;

struct Options {
    broken: Option<PathBuf>,
    pick: u64,
    files: Vec<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        broken: None,
        pick: 4_000,
        files: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--broken" => options.broken = Some(value()?.into()),
            "--pick" => {
                options.pick = value()?
                    .parse()
                    .map_err(|error| format!("--pick: {error}"))?
            }
            flag if flag.starts_with('-') => return Err(format!("there is no flag {flag}")),
            file => options.files.push(file.into()),
        }
    }
    match options.files.len() {
        0 => Err("usage: histories [--broken FOLDER [--pick N]] FILE...".into()),
        count if count > 1 && options.broken.is_some() => Err("--broken takes one file".into()),
        _ => Ok(options),
    }
}

fn main() -> ExitCode {
    let outcome = options().and_then(|options| run(&options));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("histories: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let mut good = true;
    for file in &options.files {
        let history = read(file)?;
        let before = Instant::now();
        let report = check(&history);
        println!(
            "{}: {}, {:.1} s",
            file.display(),
            summary(&report),
            before.elapsed().as_secs_f64()
        );
        tell(&report);
        good &= report.violations.is_empty();
        if let Some(folder) = options.broken.as_deref().filter(|_| good) {
            good &= break_it(&history, options.pick, folder)?;
        }
    }
    println!("most memory: {}", memory());
    Ok(good)
}

fn read(file: &Path) -> Result<History, String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    History::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

fn summary(report: &Report) -> String {
    format!(
        "{} operations ({} without answer, {} of them done), {} revisions, {} leases ended by \
         themselves, {} watches ({} resumed), {} events, {} bookmarks; {} violations, {} steps taken \
         back",
        report.answered + report.lost,
        report.lost,
        report.lost_done,
        report.revision,
        report.expired,
        report.watches,
        report.resumed,
        report.events,
        report.bookmarks,
        report.violations.len(),
        report.taken_back
    )
}

fn tell(report: &Report) {
    for violation in report.violations.iter().take(TOLD_MAX) {
        println!("  {violation}");
    }
}

/// Breaks a history in every way there is place for; whether all were noticed, by what they break.
fn break_it(good: &History, pick: u64, folder: &Path) -> Result<bool, String> {
    let fails = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(folder).map_err(fails)?;
    let mut noticed = true;
    for mutation in Mutation::all() {
        let mut history = good.clone();
        if !mutation.apply(&mut history, pick) {
            println!("{}: the history has no place for it", mutation.name());
            noticed = false;
            continue;
        }
        let file = folder.join(format!("{}.jsonl", mutation.name()));
        std::fs::write(file, history.text()).map_err(fails)?;
        let before = Instant::now();
        let report = check(&history);
        let first = report
            .violations
            .iter()
            .find(|violation| mutation.breaks().contains(&violation.property));
        let said = match first {
            Some(violation) => format!("refused, {:?}: {}", violation.property, violation.what),
            None => format!("NOT NOTICED, {} violations", report.violations.len()),
        };
        let seconds = before.elapsed().as_secs_f64();
        println!(
            "{} ({}), {seconds:.1} s: {said}",
            mutation.name(),
            mutation.meaning()
        );
        noticed &= first.is_some();
    }
    Ok(noticed)
}

/// The most memory that this process has had, as Linux counts it.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("not known".into(), |line| line.trim().to_owned())
}
