//! The project's own chores, one module each: `cargo xtask <chore>`.
//!
//! A chore works on the repository it was built from and needs nothing but the tools that the
//! build needs; one that needs more (Go, taskset) says so when it is missing.

mod compare;
mod crates;
mod docs;
mod etcd;
mod repo;
mod tidy;

use std::io::{self, Write};
use std::process::ExitCode;

use repo::Repo;

/// Why a chore failed. The texts are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Text(String),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("cannot run {program}: {source}")]
    Program { program: String, source: io::Error },
    #[error("{program} failed with {status}: {output}")]
    Status {
        program: String,
        status: std::process::ExitStatus,
        output: String,
    },
}

/// A chore's name, what it is for, and what it does with the arguments after its name.
type Chore = (
    &'static str,
    &'static str,
    fn(&Repo, &[String]) -> Result<(), Failure>,
);

const CHORES: &[Chore] = &[
    (
        "tidy",
        "check the rules of STYLE.md that a tool can check",
        tidy::run,
    ),
    (
        "docs",
        "write the generated parts of the documents (--check: only compare)",
        docs::run,
    ),
    (
        "etcd",
        "build the real etcd, etcdctl and etcdutl into target/interop/bin",
        etcd::run,
    ),
    (
        "compare",
        "measure Tenet beside the real etcd and write docs/benchmarks.md",
        compare::run,
    ),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let chore = args
        .first()
        .and_then(|name| CHORES.iter().find(|(chore, ..)| chore == name));
    let Some((name, _, run)) = chore else {
        say("usage: cargo xtask <chore>\n");
        for (name, purpose, _) in CHORES {
            say(&format!("  {name:8} {purpose}"));
        }
        return ExitCode::from(2);
    };
    match run(&Repo::own(), &args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("{name}: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// A line to the person at the terminal.
fn say(text: &str) {
    // A closed pipe is no reason to stop half-way.
    let _ = writeln!(io::stderr(), "{text}");
}
