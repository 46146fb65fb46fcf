//! etcdctl: the command line client, as `tenet ctl` and under its own name; and etcdutl, the tool
//! for files ([`util`]).
//!
//! A drop-in for etcdctl 3.7: commands, flags, environment variables, formats, texts of errors and
//! exit codes are its, so that scripts see no difference. Help and completion scripts are ours.
//! What is known and not there yet is refused in words that say so ([`not_there_yet`]).
//!
//! Known differences: the progress bars of `check` are ours, and shown on terminals only; a lock or
//! candidacy that is interrupted while it waits ends its lease, which etcdctl leaves to run out; a
//! lease that was granted in a call with an open outcome is not asked for again; etcdctl panics or waits for ever at some lines of a transaction, which are
//! refused here; a value that an environment variable has wrong leaves the default here and zero
//! there; an answer that cannot be written ends with exit code 6 here and unnoticed there.

mod commands;
mod completion;
mod display;
mod failure;
mod flags;
mod help;
mod invocation;
mod prompt;
mod snapshot_file;
mod tree;
mod util;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path as FilePath;
use std::process::ExitCode;

use tenet_cli::go_flags::ParseError;
use tenet_cli::posix_flags;
use tenet_cli::settings::Settings;

use commands::ROOT;
use failure::{Exit, Failure};
use invocation::Invocation;
use tree::{Command, Path, Run, UnknownCommand};

/// Runs the program with the arguments after its name. Called by another name than etcdctl, it
/// speaks of itself as `tenet ctl`.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    let program = called_as("etcdctl", "tenet ctl");
    exit_code(run(&ROOT, program, &args))
}

/// As [`main`], for etcdutl.
#[must_use]
pub fn util_main(args: Vec<OsString>) -> ExitCode {
    let program = called_as("etcdutl", "tenet util");
    exit_code(run(&util::ROOT, program, &args))
}

fn called_as(etcds: &'static str, ours: &'static str) -> &'static str {
    let called = std::env::args_os().next().unwrap_or_default();
    let is_etcds = FilePath::new(&called).file_name() == Some(OsStr::new(etcds));
    if is_etcds { etcds } else { ours }
}

fn exit_code(result: Result<(), Exit>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => ExitCode::from(exit.code()),
    }
}

/// The commands of etcdctl that are refused, with their parents, sorted.
#[must_use]
pub fn not_there_yet() -> Vec<String> {
    fn collect(prefix: &str, command: &Command, names: &mut Vec<String>) {
        for below in command.commands {
            let name = format!("{prefix}{}", below.name);
            if matches!(below.run, Run::Later) {
                names.push(name.clone());
            }
            collect(&format!("{name} "), below, names);
        }
    }
    let mut names = Vec::new();
    collect("", &ROOT, &mut names);
    names.sort();
    names
}

fn run(root: &'static Command, program: &'static str, args: &[OsString]) -> Result<(), Exit> {
    let words: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    if let Some((ask @ (completion::ASK | completion::ASK_NAMES), words)) =
        words.split_first().map(|(first, rest)| (&first[..], rest))
        && root.name == ROOT.name
    {
        let result = completion::answer(words, ask == completion::ASK);
        return result.map_err(|failure| report(&failure, &Path::root(&ROOT), program));
    }
    let (path, left) = match tree::find(root, &words) {
        Ok(found) => found,
        Err(unknown) => {
            report_unknown(&unknown, root, program);
            return Err(Exit::Error);
        }
    };
    let left: Vec<OsString> = left.iter().map(|place| args[*place].clone()).collect();
    run_command(&path, program, args, left).map_err(|failure| report(&failure, &path, program))
}

fn run_command(
    path: &Path,
    program: &'static str,
    line: &[OsString],
    args: Vec<OsString>,
) -> Result<(), Failure> {
    let words: Vec<String> = args
        .iter()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let show_help = || {
        let help = help::help(path, program);
        std::io::stdout()
            .write_all(help.as_bytes())
            .map_err(Failure::of_output)
    };
    let run = match path.command().run {
        Run::Later if words.iter().any(|word| word == "--help" || word == "-h") => {
            return show_help();
        }
        Run::Later => {
            let text = format!("\"{program} {}\" is not there yet", path.name());
            return Err(Failure::new(Exit::Error, text));
        }
        Run::Help => None,
        Run::Now(run) => Some(run),
    };
    let mut settings = Settings::new(&path.flags());
    let positionals = match posix_flags::parse(&mut settings, &words) {
        Ok(positionals) => positionals,
        Err(ParseError::Help) => return show_help(),
        Err(ParseError::Bad(text)) => return Err(Failure::misused(text)),
    };
    let Some(run) = run else { return show_help() };
    let args = positionals
        .places
        .iter()
        .map(|place| args[*place].clone().into_vec())
        .collect();
    run(&mut Invocation {
        path: path.clone(),
        settings,
        args,
        line: line.iter().map(|word| word.clone().into_vec()).collect(),
        program,
    })
}

/// Says what went wrong, on standard error.
fn report(failure: &Failure, path: &Path, program: &str) -> Exit {
    let mut text = failure
        .text
        .as_ref()
        .map_or(String::new(), |text| format!("Error: {text}\n"));
    if failure.usage {
        let said = text.clone();
        text.push_str(&help::usage(path, program));
        text.push('\n');
        // etcdutl says it once more.
        if path.program().name == util::ROOT.name {
            text.push_str(&said);
        }
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
    failure.exit
}

fn report_unknown(unknown: &UnknownCommand, root: &Command, program: &str) {
    let name = tenet_cli::go::quote(&unknown.name);
    let first = format!("Error: unknown command {name} for \"{program}\"");
    let mut text = first.clone();
    if !unknown.suggestions.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for suggestion in &unknown.suggestions {
            text.push_str(&format!("\t{suggestion}\n"));
        }
    }
    text.push_str(&format!("\nRun '{program} --help' for usage.\n"));
    if root.name == util::ROOT.name {
        text.push_str(&first);
        text.push('\n');
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_listed() {
        let names = not_there_yet();
        for name in ["make-mirror", "member add", "role get"] {
            assert!(names.iter().any(|listed| listed == name), "{name}");
        }
        for name in [
            "get",
            "watch",
            "lease grant",
            "lock",
            "endpoint status",
            "snapshot save",
        ] {
            assert!(!names.iter().any(|listed| listed == name), "{name}");
        }
    }
}
