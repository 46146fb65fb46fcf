//! Runs random scripts through Go's raft and through this core and compares what they print.
//!
//! `compare_scripts <reference> [--from 0] [--count 300] [--planted] [--keep <folder>]`
//!
//! The reference is `interop/go/cmd/raftscript`. A script that shows a difference is made as short
//! as it can be, printed, and kept as a transcript with what Go printed. `--planted` forges a line
//! of ours in each script, to show that the comparison can fail; the run then fails if any script
//! passes. The exit code is 0 only if all is as it should be.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to another one and to a person"
)]

#[path = "../../tests/core/confchange.rs"]
#[allow(dead_code, reason = "only the parser of changes is used")]
mod confchange;
#[path = "../../tests/core/datafile.rs"]
#[allow(dead_code, reason = "scripts have no expected outputs")]
mod datafile;
#[path = "../../tests/core/interaction.rs"]
mod interaction;
mod reference;
#[path = "../../tests/core/scripts.rs"]
mod scripts;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use reference::Reference;
use scripts::{PANICKED, Script};

struct Options {
    reference: PathBuf,
    from: u64,
    count: u64,
    planted: bool,
    keep: Option<PathBuf>,
}

/// What was compared.
#[derive(Default)]
struct Totals {
    commands: u64,
    output_bytes: u64,
    by_command: BTreeMap<String, u64>,
    /// Where Go's members give up: how many scripts, by the reason.
    panics: BTreeMap<String, u64>,
    different: Vec<u64>,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!(
                "{problem}\nusage: compare_scripts <reference> [--from n] [--count n] [--planted] [--keep folder]"
            );
            return ExitCode::from(2);
        }
    };
    // Panics of members are outputs.
    std::panic::set_hook(Box::new(|_| {}));
    let mut reference = Reference::start(&options.reference);
    let mut totals = Totals::default();
    for seed in options.from..options.from + options.count {
        compare(seed, &options, &mut reference, &mut totals);
    }
    report(&options, &totals)
}

fn options() -> Result<Options, String> {
    let mut words = std::env::args().skip(1);
    let mut options = Options {
        reference: words.next().ok_or("the reference is missing")?.into(),
        from: 0,
        count: 300,
        planted: false,
        keep: None,
    };
    while let Some(word) = words.next() {
        if word == "--planted" {
            options.planted = true;
            continue;
        }
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value} is no number"));
        match word.as_str() {
            "--from" => options.from = number()?,
            "--count" => options.count = number()?,
            "--keep" => options.keep = Some(value.into()),
            _ => return Err(format!("{word} is unknown")),
        }
    }
    Ok(options)
}

fn compare(seed: u64, options: &Options, reference: &mut Reference, totals: &mut Totals) {
    let mut ours = Script::generate(seed);
    let theirs = reference.run(&ours);
    for command in &ours.commands {
        let name = command.split([' ', '\n']).next().unwrap_or_default();
        *totals.by_command.entry(name.into()).or_default() += 1;
    }
    totals.commands += theirs.len() as u64;
    totals.output_bytes += theirs.iter().map(|output| output.len() as u64).sum::<u64>();
    if let Some(reason) = theirs.last().and_then(|last| last.strip_prefix(PANICKED)) {
        *totals.panics.entry(without_numbers(reason)).or_default() += 1;
    }
    if options.planted {
        plant(&mut ours);
    }
    let Some(at) = first_difference(&ours.outputs, &theirs) else {
        return;
    };
    totals.different.push(seed);
    if options.planted {
        return;
    }
    let commands = shrink(ours.commands[..=at].to_vec(), reference);
    let (ours, theirs) = (Script::rerun(&commands), reference.run_commands(&commands));
    let words: Vec<_> = commands.iter().map(|c| c.replace('\n', " / ")).collect();
    println!("--- seed {seed} differs; in short:\n{}", words.join("\n"));
    show_difference(&ours.outputs, &theirs);
    if let Some(folder) = &options.keep {
        let path = folder.join(format!("script_{seed}.txt"));
        std::fs::write(&path, transcript(seed, &commands, &theirs))
            .expect("the folder for transcripts can be written");
    }
}

/// The first command whose outputs differ, the reason of a panic included.
fn first_difference(ours: &[String], theirs: &[String]) -> Option<usize> {
    let nothing = String::new();
    (0..theirs.len()).find(|at| {
        let ours = ours.get(*at).unwrap_or(&nothing);
        normal(ours) != normal(&theirs[*at])
    })
}

/// Lines without what follows their end, and without what one of the two says in words of its own.
fn normal(output: &str) -> Vec<&str> {
    output
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && *line != "ok" && *line != "no leader to ask")
        .collect()
}

/// The lines around the first that differs.
fn show_difference(ours: &[String], theirs: &[String]) {
    let Some(at) = first_difference(ours, theirs) else {
        return;
    };
    let nothing = String::new();
    let (ours, theirs) = (
        normal(ours.get(at).unwrap_or(&nothing)),
        normal(&theirs[at]),
    );
    let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    for (who, lines) in [("Go", theirs), ("here", ours)] {
        let around = lines.iter().skip(same.saturating_sub(2)).take(6);
        let text: Vec<_> = around.copied().collect();
        println!("{who}:\n{}", text.join("\n"));
    }
}

/// Takes out commands as long as a difference remains.
fn shrink(mut commands: Vec<String>, reference: &mut Reference) -> Vec<String> {
    let mut differs = |commands: &[String]| {
        let theirs = reference.run_commands(commands);
        let ours = Script::rerun(commands);
        // Shortened, it may contain what no script does: snapshots of a member in no term.
        if ours
            .outputs
            .iter()
            .any(|o| o.contains("with the impossible term 0"))
        {
            return None;
        }
        first_difference(&ours.outputs, &theirs).map(|at| at + 1)
    };
    let mut width = commands.len() / 2;
    while width > 0 {
        let mut at = 1;
        while at < commands.len() {
            let mut fewer = commands.clone();
            fewer.drain(at..(at + width).min(commands.len()));
            match differs(&fewer) {
                Some(count) => {
                    fewer.truncate(count);
                    commands = fewer;
                }
                None => at += width,
            }
        }
        width /= 2;
    }
    commands
}

/// Forges the first output that shows a term.
fn plant(script: &mut Script) {
    let shows = |output: &&mut String| output.contains("Term:1");
    match script.outputs.iter_mut().find(shows) {
        Some(output) => *output = output.replacen("Term:1", "Term:7", 1),
        None => script.outputs[0] += "forged",
    }
}

fn transcript(seed: u64, commands: &[String], outputs: &[String]) -> String {
    let mut text = format!("# From the random script {seed}, shortened. The outputs are Go's.\n\n");
    for (command, output) in commands.iter().zip(outputs) {
        let _ = writeln!(text, "{command}\n----\n{}\n", output.trim_end());
    }
    text
}

fn without_numbers(reason: &str) -> String {
    reason.replace(
        |c: char| c.is_ascii_hexdigit() && !c.is_ascii_alphabetic(),
        "#",
    )
}

fn report(options: &Options, totals: &Totals) -> ExitCode {
    let (scripts, different) = (options.count, totals.different.len() as u64);
    println!(
        "{scripts} scripts from seed {}: {} commands, {} bytes of output compared, {different} scripts differ",
        options.from, totals.commands, totals.output_bytes
    );
    println!("commands: {:?}", totals.by_command);
    println!("Go's members panic in: {:?}", totals.panics);
    if different > 0 && !options.planted {
        println!("seeds that differ: {:?}", totals.different);
    }
    let expected = if options.planted { scripts } else { 0 };
    match different == expected && scripts > 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
