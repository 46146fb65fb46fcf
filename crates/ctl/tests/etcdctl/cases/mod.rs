//! The commands that are compared, in chapters: each chapter has servers of its own, and its cases
//! run in order on them.

mod checks;
mod concurrency;
mod keys;
mod leases;
pub(crate) mod line;
mod members;
mod transactions;
mod watches;

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
    /// What happens while the program runs. With steps, standard input stays open until they say.
    pub(crate) steps: Vec<Step>,
}

/// Something that happens while a program runs. Waiting ends with the program, too.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Waits until standard output contains the one and ends with the other.
    Out(String, &'static str),
    /// The same for standard error.
    Err(&'static str, &'static str),
    /// Waits until so many keys begin so.
    Keys(&'static str, i64),
    /// Waits until the server has so many watches.
    Watches(u32),
    /// Runs another command, to its end.
    Also(&'static str),
    /// Writes to standard input.
    Input(&'static str),
    /// Closes standard input.
    Close,
    /// Sends SIGINT.
    Interrupt,
    /// Sends SIGTERM.
    Terminate,
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
    /// It prints the id of a lease that the server has chosen, perhaps as part of a key.
    Ids,
    /// It prints how much is left of a lease of 100,000 seconds.
    Left,
    /// It prints what was measured.
    Measured,
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

    fn steps(mut self, steps: &[Step]) -> Case {
        self.steps = steps.to_vec();
        let steps: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
        self.line.push_str(&format!(" [{}]", steps.join(", ")));
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
        sets_up: ["put", "del", "txn", "compaction", "alarm disarm", "lease"]
            .iter()
            .any(|write| line.starts_with(write)),
        before: None,
        loose: Vec::new(),
        steps: Vec::new(),
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
        ("lease", leases::lease()),
        ("watch", watches::watch()),
        ("watch-compacted", watches::compacted()),
        ("watch-interactive", watches::interactive()),
        ("lock", concurrency::lock()),
        ("elect", concurrency::elect()),
        ("check", checks::check()),
        ("auth", line::auth()),
    ]
}
