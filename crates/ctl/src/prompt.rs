//! Asking a person for a password.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Exit, Failure};

/// Reads a line that is not shown while it is typed.
pub(crate) fn password(question: &str) -> Result<String, Failure> {
    let failure =
        |reason: String| Failure::new(Exit::Error, format!("cannot read a password: {reason}"));
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let text = "standard input is no terminal; give the password with --password";
        return Err(failure(text.to_owned()));
    }
    let mut out = std::io::stdout();
    out.write_all(question.as_bytes())
        .map_err(Failure::of_output)?;
    out.flush().map_err(Failure::of_output)?;
    let shown = Shown::hide().map_err(|error| failure(error.to_string()))?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    drop(shown);
    out.write_all(b"\n").map_err(Failure::of_output)?;
    read.map_err(|error| failure(error.to_string()))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal as it was; dropping this restores it.
struct Shown(Termios);

impl Shown {
    fn hide() -> rustix::io::Result<Shown> {
        let before = tcgetattr(std::io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Shown(before))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // A terminal that cannot be restored cannot be told about it either.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
