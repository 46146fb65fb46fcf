//! Programs that commands run, and how their failures are told: in the words of Go's `os/exec`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

/// Why a program did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChildFailure {
    pub(super) text: String,
    /// The exit code to pass on; none if it did not run. A program that was ended by a signal has
    /// none of its own, which is passed on as 255.
    pub(super) code: Option<u8>,
}

/// Runs a program to its end, without blocking other work: with these variables beside the
/// environment, no input, and the same output as this program.
pub(super) async fn run(
    words: &[Vec<u8>],
    variables: Vec<(&'static str, OsString)>,
) -> Result<(), ChildFailure> {
    let mut words = words.iter().map(|word| OsString::from_vec(word.clone()));
    let Some(name) = words.next() else {
        return Ok(());
    };
    let mut command = Command::new(&name);
    command.args(words).envs(variables).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.status()).await;
    let ended = ended.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ChildFailure {
            text: status_text(status),
            code: Some(
                status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .unwrap_or(255),
            ),
        }),
        Err(error) => Err(ChildFailure {
            text: start_text(&name, &error),
            code: None,
        }),
    }
}

fn start_text(name: &OsStr, error: &std::io::Error) -> String {
    let name = name.to_string_lossy();
    if name.is_empty() {
        "exec: no command".to_owned()
    } else if name.contains('/') {
        format!("fork/exec {name}: {}", tenet_cli::go::error_words(error))
    } else {
        let name = tenet_cli::go::quote(&name);
        format!("exec: {name}: executable file not found in $PATH")
    }
}

fn status_text(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or(-1));
    };
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal: signal {other}"),
    };
    let core = if status.core_dumped() {
        " (core dumped)"
    } else {
        ""
    };
    format!("signal: {name}{core}")
}

/// The signals that ask for an end, from now on.
pub(super) struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    pub(super) fn listen() -> std::io::Result<Stop> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Stop {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn failure(words: &[&str]) -> ChildFailure {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        run(&words, vec![("X", "7".into())]).await.unwrap_err()
    }

    #[tokio::test]
    async fn failures_are_told_in_gos_words() {
        for (words, text, code) in [
            (&["sh", "-c", "exit $X"][..], "exit status 7", Some(7)),
            (&["sh", "-c", "kill -9 $$"], "signal: killed", Some(255)),
            (
                &["no-such-program"],
                "exec: \"no-such-program\": executable file not found in $PATH",
                None,
            ),
            (
                &["./no-such-program"],
                "fork/exec ./no-such-program: no such file or directory",
                None,
            ),
            (&[""], "exec: no command", None),
        ] {
            let text = text.to_owned();
            assert_eq!(
                failure(words).await,
                ChildFailure { text, code },
                "{words:?}"
            );
        }
    }
}
