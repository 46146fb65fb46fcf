//! The commands that are compared, in chapters: each chapter has servers of its own, and its cases
//! run in order on them.

mod keys;
pub(crate) mod line;
mod members;
mod transactions;

use crate::servers::Server;
use crate::shell;

pub(crate) struct Case {
    pub(crate) line: String,
    pub(crate) words: Vec<Vec<u8>>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Whether the endpoint comes from the environment.
    pub(crate) uses_server: bool,
    /// Later cases rest on it.
    pub(crate) sets_up: bool,
    /// What is done to both servers first.
    pub(crate) before: Option<fn(&Server)>,
    pub(crate) loose: Vec<Loose>,
}

/// Differences that a case cannot avoid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loose {
    /// It prints how long something took.
    Took,
    /// It prints how large the database file is.
    Sizes,
    /// It prints endpoints as they answer.
    Sorted,
    /// It prints a message in text form.
    Blanks,
    /// It prints help.
    Help,
}

impl Case {
    fn stdin(mut self, text: &str) -> Case {
        self.stdin = text.as_bytes().to_vec();
        self.line
            .push_str(&format!(" < {:?}", &text[..text.len().min(60)]));
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Case {
        self.line = format!("{name}={value} {}", self.line);
        self.environment.push((name, value.to_owned()));
        self
    }

    fn before(mut self, prepare: fn(&Server)) -> Case {
        self.before = Some(prepare);
        self
    }

    fn loose(mut self, loose: &[Loose]) -> Case {
        self.loose.extend_from_slice(loose);
        self
    }
}

/// A line on its own.
pub(crate) fn case_of(line: &str) -> Case {
    case(line)
}

fn case(line: &str) -> Case {
    Case {
        line: line.to_owned(),
        words: shell::words(line),
        stdin: Vec::new(),
        environment: Vec::new(),
        // A flag and a variable for the same thing are a conflict.
        uses_server: !line.contains("--endpoints"),
        sets_up: ["put", "del", "txn", "compaction", "alarm disarm"]
            .iter()
            .any(|write| line.starts_with(write)),
        before: None,
        loose: Vec::new(),
    }
}

/// A line in every format, with and without `--hex`.
fn in_every_format(line: &str) -> Vec<Case> {
    let formats = ["simple", "fields", "json", "protobuf", "table", "yaml"];
    formats
        .iter()
        .flat_map(|format| {
            [
                case(&format!("{line} -w {format}")),
                case(&format!("{line} -w {format} --hex")),
            ]
        })
        .collect()
}

fn lines(lines: &[&str]) -> Vec<Case> {
    lines.iter().map(|line| case(line)).collect()
}

pub(crate) fn chapters() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("get", keys::get()),
        ("put", keys::put()),
        ("del", keys::del()),
        ("txn", transactions::txn()),
        ("compaction", keys::compaction()),
        ("endpoint", members::endpoint()),
        ("member", members::member()),
        ("alarm", members::alarm()),
        ("command-line", line::command_line()),
        ("environment", line::environment()),
        ("unreachable", line::unreachable()),
        ("auth", line::auth()),
    ]
}
