//! The end of a start: what is printed, and the exit code.

use std::io::Write as _;
use std::time::SystemTime;

use tenet_cli::log::{Entry, Format, Level, Outputs};

use super::{LogSettings, Notices};

/// The process should print this and exit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// Exit code.
    pub code: i32,
    /// For standard output.
    pub stdout: String,
    /// For standard error, after the log lines.
    pub stderr: String,
    /// Log lines. The late ones go through the settings below.
    pub notices: Notices,
    /// Settings of the log, if they were found valid before the start ended.
    pub log: Option<LogSettings>,
}

impl Stop {
    /// Prints everything, and returns the exit code.
    #[must_use]
    pub fn report(&self) -> i32 {
        let stderr = Outputs::stderr();
        let log = self.log.clone().unwrap_or_default();
        let opened = Outputs::open(&log.outputs).unwrap_or_else(|_| Outputs::stderr());
        let now = SystemTime::now();
        for line in self.notices.early_lines(now) {
            stderr.write(&line);
        }
        for line in self.notices.late_lines(&log, now) {
            opened.write(&line);
        }
        let _ = std::io::stdout().lock().write_all(self.stdout.as_bytes());
        stderr.write(&self.stderr);
        self.code
    }

    /// An end with a text on standard error alone.
    pub(super) fn with_stderr(code: i32, stderr: String) -> Box<Self> {
        Box::new(Self {
            code,
            stderr,
            ..Self::default()
        })
    }

    /// An end with a text on standard output alone.
    pub(super) fn with_stdout(stdout: String) -> Box<Self> {
        Box::new(Self {
            stdout,
            ..Self::default()
        })
    }
}

impl Notices {
    /// The lines for standard error, whatever the log settings.
    pub(super) fn early_lines(&self, at: SystemTime) -> impl Iterator<Item = String> {
        self.early
            .iter()
            .map(move |entry| entry.line(Format::Json, at))
    }

    /// The lines for the log.
    pub(super) fn late_lines(
        &self,
        log: &LogSettings,
        at: SystemTime,
    ) -> impl Iterator<Item = String> {
        let (level, format) = (log.level, log.format);
        let shown = self.late.iter().filter(move |entry| entry.level >= level);
        shown.map(move |entry| entry.line(format, at))
    }
}

/// The line of a configuration that is not valid.
pub(super) fn invalid(error: &str) -> Entry {
    Entry::new(Level::Warn, "failed to verify flags").with("error", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_entries_go_to_the_chosen_file_unless_they_are_below_its_level() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        let log = LogSettings {
            level: Level::Warn,
            outputs: vec![file.display().to_string()],
            ..LogSettings::default()
        };
        let info = Entry::new(Level::Info, "not shown");
        let notices = Notices {
            early: Vec::new(),
            late: vec![info, invalid("x")],
        };
        let stop = Stop {
            code: 1,
            notices,
            log: Some(log),
            ..Stop::default()
        };
        assert_eq!(stop.report(), 1);
        let written = std::fs::read_to_string(file).expect("a log file");
        assert_eq!(written.lines().count(), 1);
        assert!(
            written.ends_with("\"msg\":\"failed to verify flags\",\"error\":\"x\"}\n"),
            "{written}"
        );
    }
}
