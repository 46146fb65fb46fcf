//! Runs a program on one case.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::cases::Case;
use crate::normal::Places;
use crate::shell;

/// Where a case runs.
pub(crate) struct Surroundings<'a> {
    pub(crate) folder: &'a Path,
    /// For cases that do not name endpoints themselves.
    pub(crate) endpoint: &'a str,
    pub(crate) places: &'a Places,
}

pub(crate) fn run(
    case: &Case,
    program: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<Output, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let place = |word: &[u8]| OsString::from_vec(shell::replace(word, surroundings.places));
    let mut command = Command::new(program);
    command.args(case.words.iter().map(|word| place(word)));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    if case.uses_server {
        command.env("ETCDCTL_ENDPOINTS", surroundings.endpoint);
    }
    for (name, value) in &case.environment {
        command.env(name, place(value.as_bytes()));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(surroundings.folder)
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    let input = case.stdin.clone();
    let feeder = std::thread::spawn(move || {
        use std::io::Write as _;
        // A program that does not read its input closes it early.
        let _ = stdin.map(|mut stdin| stdin.write_all(&input));
    });
    let output = child.wait_with_output().map_err(failed)?;
    feeder.join().expect("the feeder does not panic");
    Ok(output)
}
