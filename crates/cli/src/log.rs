//! Log lines in etcd's two forms, and where they go.
//!
//! Invariant: a JSON line has `level`, `ts`, `caller` and `msg` in this order, then the fields in
//! theirs, and is one line whatever the texts hold.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::panic::Location;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use crate::go::quote;

/// How serious an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the developer.
    Debug,
    /// What goes on.
    Info,
    /// What someone should look at.
    Warn,
    /// What went wrong.
    Error,
    /// A mistake of the program that it survives.
    Dpanic,
    /// A mistake of the program that ends it.
    Panic,
    /// What ends the program.
    Fatal,
}

impl Level {
    /// The name in log lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Dpanic => "dpanic",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" | "" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            "dpanic" => Ok(Self::Dpanic),
            "panic" => Ok(Self::Panic),
            "fatal" => Ok(Self::Fatal),
            _ => Err(format!("unrecognized level: {}", quote(text))),
        }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Json,
    /// Columns separated by tabs, fields as JSON in the last.
    Console,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A text. Durations and errors are texts too.
    Text(String),
    /// A boolean.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A list of texts.
    List(Vec<String>),
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Field {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Field {
    fn from(value: u64) -> Self {
        Self::Uint(value)
    }
}

impl From<u32> for Field {
    fn from(value: u32) -> Self {
        Self::Uint(value.into())
    }
}

impl From<Vec<String>> for Field {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts)
    }
}

/// Something to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// How serious it is.
    pub level: Level,
    /// The named logger it comes from; usually empty.
    pub logger: &'static str,
    /// `folder/file.rs:line`.
    pub caller: String,
    /// The text that people and scripts look for.
    pub message: String,
    /// What belongs to it.
    pub fields: Vec<(String, Field)>,
}

impl Entry {
    /// An entry whose caller is the caller of this function.
    #[must_use]
    #[track_caller]
    pub fn new(level: Level, message: impl Into<String>) -> Self {
        let place = Location::caller();
        Self {
            level,
            logger: "",
            caller: caller(place.file(), place.line()),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// With a further field.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Field>) -> Self {
        self.fields.push((key.to_owned(), value.into()));
        self
    }

    /// The line of this entry, newline included.
    #[must_use]
    pub fn line(&self, format: Format, at: SystemTime) -> String {
        let ts = timestamp(at);
        match format {
            Format::Json => self.json_line(&ts),
            Format::Console => self.console_line(&ts),
        }
    }

    fn json_line(&self, ts: &str) -> String {
        let mut line = String::with_capacity(160);
        let logger = [("logger", self.logger)];
        let head = [("level", self.level.name()), ("ts", ts)];
        let logger = &logger[..usize::from(!self.logger.is_empty())];
        let tail = [
            ("caller", self.caller.as_str()),
            ("msg", self.message.as_str()),
        ];
        for (key, text) in head.iter().chain(logger).chain(&tail) {
            line.push(if line.is_empty() { '{' } else { ',' });
            push_text(&mut line, key);
            line.push(':');
            push_text(&mut line, text);
        }
        for (key, value) in &self.fields {
            line.push(',');
            push_text(&mut line, key);
            line.push(':');
            push_field(&mut line, value, ",");
        }
        line.push_str("}\n");
        line
    }

    fn console_line(&self, ts: &str) -> String {
        let mut line = format!("{ts}\t{}\t", self.level.name());
        if !self.logger.is_empty() {
            line.push_str(self.logger);
            line.push('\t');
        }
        line.push_str(&self.caller);
        line.push('\t');
        line.push_str(&self.message);
        for (n, (key, value)) in self.fields.iter().enumerate() {
            line.push_str(if n == 0 { "\t{" } else { ", " });
            push_text(&mut line, key);
            line.push_str(": ");
            push_field(&mut line, value, ", ");
        }
        line.push_str(if self.fields.is_empty() { "\n" } else { "}\n" });
        line
    }
}

/// A place in the source in the short form of log lines: one folder, the file, the line.
#[must_use]
pub fn caller(file: &str, line: u32) -> String {
    let mut parts = file.rsplitn(3, '/');
    match (parts.next(), parts.next()) {
        (Some(file), Some(folder)) => format!("{folder}/{file}:{line}"),
        _ => format!("{file}:{line}"),
    }
}

/// A time as log lines have it: local, with microseconds, `Z` for UTC.
#[must_use]
pub fn timestamp(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    zoned_text(&at.to_zoned_datetime(TimeZone::system()))
}

fn zoned_text(at: &ZonedDateTime) -> String {
    let form = if at.offset().is_zero() {
        "%Y-%m-%dT%H:%M:%S%.6fZ"
    } else {
        "%Y-%m-%dT%H:%M:%S%.6f%z"
    };
    at.strftime(form).to_string()
}

fn push_field(line: &mut String, field: &Field, comma: &str) {
    match field {
        Field::Text(text) => push_text(line, text),
        Field::Bool(value) => line.push_str(if *value { "true" } else { "false" }),
        Field::Int(value) => push_display(line, value),
        Field::Uint(value) => push_display(line, value),
        Field::List(texts) => {
            line.push('[');
            for (n, text) in texts.iter().enumerate() {
                line.push_str(if n == 0 { "" } else { comma });
                push_text(line, text);
            }
            line.push(']');
        }
    }
}

fn push_display(line: &mut String, value: impl std::fmt::Display) {
    write!(line, "{value}").expect("a String takes every write");
}

/// A JSON string that escapes only what it must.
fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c < ' ' => push_display(line, format_args!("\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    line.push('"');
}

/// Where log lines go.
#[derive(Debug)]
pub struct Outputs {
    outputs: Vec<Output>,
}

#[derive(Debug)]
enum Output {
    Stderr,
    Stdout,
    File(File),
}

impl Outputs {
    /// Standard error alone.
    #[must_use]
    pub fn stderr() -> Self {
        Self {
            outputs: vec![Output::Stderr],
        }
    }

    /// Opens the targets of `--log-outputs`: `stderr`, `stdout`, or files to append to. A target
    /// given twice gets each line once; `/dev/null` among them silences all.
    ///
    /// # Errors
    /// If a file cannot be opened, in etcd's words.
    pub fn open(targets: &[String]) -> Result<Self, String> {
        let mut targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        if targets.contains(&"/dev/null") {
            return Ok(Self {
                outputs: Vec::new(),
            });
        }
        targets.sort_unstable();
        targets.dedup();
        let outputs: Result<_, _> = targets.into_iter().map(open_target).collect();
        Ok(Self { outputs: outputs? })
    }

    /// Writes a line to every target. A target that fails loses the line: there is nowhere left to
    /// report it.
    pub fn write(&self, line: &str) {
        for output in &self.outputs {
            let _ = match output {
                Output::Stderr => io::stderr().lock().write_all(line.as_bytes()),
                Output::Stdout => io::stdout().lock().write_all(line.as_bytes()),
                Output::File(file) => { file }.write_all(line.as_bytes()),
            };
        }
    }
}

fn open_target(target: &str) -> Result<Output, String> {
    let path = match target {
        "stderr" => return Ok(Output::Stderr),
        "stdout" => return Ok(Output::Stdout),
        _ => target.strip_prefix("file://").unwrap_or(target),
    };
    if let Some((scheme, _)) = target
        .split_once("://")
        .filter(|(scheme, _)| *scheme != "file")
    {
        return Err(format!(
            "open sink {}: no sink found for scheme {}",
            quote(target),
            quote(scheme)
        ));
    }
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map(Output::File).map_err(|error| {
        format!(
            "open sink {}: open {path}: {}",
            quote(target),
            crate::go::error_words(&error)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry() -> Entry {
        Entry::new(Level::Warn, "a \"b\"\n\u{1}<ü>")
            .with("text", "x")
            .with("list", vec!["a".to_owned(), "b".to_owned()])
            .with("yes", true)
            .with("int", -3i64)
    }

    #[test]
    fn a_json_line_has_etcds_keys_in_order() {
        let line = Entry {
            caller: "config/mod.rs:7".to_owned(),
            ..entry()
        }
        .json_line("T");
        let expected = r#"{"level":"warn","ts":"T","caller":"config/mod.rs:7","msg":"a \"b\"\n\u0001<ü>","text":"x","list":["a","b"],"yes":true,"int":-3}"#;
        assert_eq!(line, format!("{expected}\n"));
        let named = Entry {
            logger: "raft",
            ..entry()
        }
        .json_line("T");
        assert!(
            named.starts_with(r#"{"level":"warn","ts":"T","logger":"raft","caller":""#),
            "{named}"
        );
    }

    #[test]
    fn a_console_line_has_columns_and_spaced_fields() {
        let entry = Entry {
            caller: "a/b.rs:1".to_owned(),
            message: "m".to_owned(),
            ..entry()
        };
        let expected = "T\twarn\ta/b.rs:1\tm\t{\"text\": \"x\", \"list\": [\"a\", \"b\"], \"yes\": true, \"int\": -3}\n";
        assert_eq!(entry.console_line("T"), expected);
        let bare = Entry {
            fields: Vec::new(),
            ..entry
        };
        assert_eq!(bare.console_line("T"), "T\twarn\ta/b.rs:1\tm\n");
    }

    #[test]
    fn the_caller_is_one_folder_and_the_file() {
        assert_eq!(
            caller("crates/server/src/config/mod.rs", 7),
            "config/mod.rs:7"
        );
        assert_eq!(caller("main.rs", 7), "main.rs:7");
        assert!(
            entry().caller.starts_with("src/log.rs:"),
            "{}",
            entry().caller
        );
    }

    #[test]
    fn times_are_local_with_microseconds() {
        let at = Timestamp::try_from(
            SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_000_123_456_789_000),
        );
        let at = at.expect("a time");
        assert_eq!(
            zoned_text(&at.to_zoned_datetime(TimeZone::UTC)),
            "2017-07-14T02:42:03.456789Z"
        );
        let plus_two = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            zoned_text(&at.to_zoned_datetime(plus_two)),
            "2017-07-14T04:42:03.456789+0200"
        );
    }

    #[test]
    fn levels_are_read_in_any_case() {
        assert_eq!("WARNING".parse(), Ok(Level::Warn));
        assert_eq!("".parse(), Ok(Level::Info));
        assert_eq!(
            "foo".parse::<Level>(),
            Err("unrecognized level: \"foo\"".to_owned())
        );
        assert!(Level::Debug < Level::Info && Level::Error < Level::Fatal);
    }

    #[test]
    fn targets_that_cannot_be_opened_are_named_as_etcd_does() {
        let open = |target: &str| Outputs::open(&[target.to_owned()]).map(|_| ());
        let missing =
            "open sink \"/nonexistent/x\": open /nonexistent/x: no such file or directory";
        assert_eq!(open("/nonexistent/x"), Err(missing.to_owned()));
        assert_eq!(
            open("http://x"),
            Err("open sink \"http://x\": no sink found for scheme \"http\"".to_owned())
        );
        assert_eq!(
            open(""),
            Err("open sink \"\": open : no such file or directory".to_owned())
        );
        let silent =
            Outputs::open(&["stdout".to_owned(), "/dev/null".to_owned()]).expect("silence");
        assert!(silent.outputs.is_empty());
        let once =
            Outputs::open(&["stderr".to_owned(), "stderr".to_owned()]).expect("standard error");
        assert_eq!(once.outputs.len(), 1);
    }
}
