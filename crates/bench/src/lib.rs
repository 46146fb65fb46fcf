//! The load generator: `tenet bench put`, `range`, `pages`, `watch`, `lease` and `floor`.
//!
//! It measures a server from outside, over the wire only, so the same command measures etcd and
//! Tenet. On a small machine client and server share the cores, so a heavy client would measure
//! itself: calls go straight over HTTP/2 with prepared messages, each worker thread owns its
//! connections, and nothing is shared on the path of a call but one counter.
//!
//! Invariants: every operation that was started is counted, as an answer or as an error; a
//! latency at a fixed rate runs from the moment the operation was due, not from the moment a
//! client was free to send it (otherwise a stalled server would be asked less and look faster).
//!
//! It must not know anything about how a server works.

mod flags;
mod floor;
mod key;
mod lease;
mod options;
mod pace;
mod pages;
mod process;
mod progress;
mod report;
mod run;
mod watch;
mod wire;
mod workload;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use options::{Command, Refusal};

/// Why a run could not be made at all. Errors of single operations are counted in the report.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("cannot connect to {endpoint}: {source}; is a server listening there?")]
    Connect {
        endpoint: String,
        source: wire::CallError,
    },
    #[error("{0}")]
    Options(String),
    #[error("no process has the id {0} of --server-pid, or this system does not tell its CPU time")]
    NoProcess(u32),
    #[error("cannot start a runtime: {0}")]
    Runtime(std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen {
        address: String,
        source: std::io::Error,
    },
    #[error("the server failed: {0}")]
    Serve(String),
    #[error("cannot write the report: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot open a watch: {0}")]
    Watch(wire::CallError),
    #[error("page {page}: {source}")]
    Page { page: u64, source: wire::CallError },
}

/// Runs the load generator with `args`, which do not begin with a program's name.
///
/// The exit code is 0 only if every operation was answered without an error.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    let command = match options::parse(args) {
        Ok(command) => command,
        Err(Refusal::Help(text)) => {
            let _ = write!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Usage(text)) => {
            let _ = writeln!(std::io::stderr(), "Error: {text}; see `tenet bench --help`");
            return ExitCode::from(2);
        }
    };
    let outcome = match command {
        Command::Load(load) => run::run(&load)
            .and_then(|outcome| report::print(&load, &outcome, &mut std::io::stdout().lock())),
        Command::Pages(pages) => pages::run(&pages)
            .and_then(|outcome| report::print(&pages, &outcome, &mut std::io::stdout().lock())),
        Command::Watch(watching) => watch::run(&watching)
            .and_then(|outcome| report::print(&watching, &outcome, &mut std::io::stdout().lock())),
        Command::Leases(leases) => lease::run(&leases)
            .and_then(|outcome| report::print(&leases, &outcome, &mut std::io::stdout().lock())),
        Command::Floor(options) => floor::serve(&options).map(|()| 0),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_errors) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "Error: {error}");
            ExitCode::FAILURE
        }
    }
}
