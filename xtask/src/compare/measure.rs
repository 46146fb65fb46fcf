//! One run of the load generator, and what machine it ran on.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::server::{CLIENT_CORE, Server};
use crate::Failure;
use crate::repo::Repo;

/// How to call the load generator.
pub(super) struct Bench {
    command: Vec<String>,
    pub(super) quick: bool,
}

impl Bench {
    /// The load generator that these words start.
    pub(super) fn new(command: &[String], quick: bool) -> Bench {
        Bench {
            command: command.to_vec(),
            quick,
        }
    }

    /// Runs one measurement to its end and returns its report. Errors of single operations are in
    /// the report: it is a result that a server answers with errors.
    pub(super) fn run(&self, server: &Server, words: &str) -> Result<Value, Failure> {
        let output = self
            .prepare(server, words)
            .output()
            .map_err(|source| self.cannot_run(source))?;
        serde_json::from_slice(&output.stdout).map_err(|_| Failure::Status {
            program: format!("{} {words}", self.command.join(" ")),
            status: output.status,
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts a load that goes on beside others until it is dropped.
    pub(super) fn start(&self, server: &Server, words: &str) -> Result<Background, Failure> {
        self.prepare(server, words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Background)
            .map_err(|source| self.cannot_run(source))
    }

    fn prepare(&self, server: &Server, words: &str) -> Command {
        let mut command = Command::new("taskset");
        command
            .args(["-c", CLIENT_CORE])
            .args(&self.command)
            .args(words.split_whitespace())
            .args(["--json", "--quiet", "--endpoints", &server.endpoint])
            .args(["--server-pid", &server.process_id().to_string()])
            .stdin(Stdio::null());
        command
    }

    fn cannot_run(&self, source: std::io::Error) -> Failure {
        Failure::Program {
            program: format!("taskset {}", self.command.join(" ")),
            source,
        }
    }
}

/// A load in the background; dropping it ends it.
pub(super) struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a reader must know about the machine to judge the figures.
pub(super) fn machine(repo: &Repo) -> Value {
    let first_line = |path: &str, field: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix(field)?
                        .trim_start_matches([':', '\t', ' '])
                        .to_owned(),
                )
            })
    };
    let say = |program: &str, args: &[&str]| {
        repo.output(".", program, args)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    json!({
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map(usize::from).unwrap_or(0),
        "memory": first_line("/proc/meminfo", "MemTotal"),
        "kernel": say("uname", &["-sr"]),
        "day": say("date", &["-u", "+%F"]),
        "commit": say("git", &["rev-parse", "--short=12", "HEAD"]),
    })
}
