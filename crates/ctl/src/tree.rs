//! Commands as data, and how a command line names one: by its name or an unambiguous beginning of
//! it, with flags anywhere between.

use tenet_cli::flag::{Flag, Group};

use crate::failure::Failure;
use crate::invocation::Invocation;

/// A command of the program.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// What stands after the name on the line that shows its use.
    pub(crate) usage: &'static str,
    /// What it does, in a line.
    pub(crate) short: &'static str,
    /// What else there is to say; may be empty.
    pub(crate) long: &'static str,
    /// The heading under which help lists it; none below a parent.
    pub(crate) section: Option<Section>,
    /// Its own flags.
    pub(crate) flags: &'static [&'static Flag],
    /// Flags of its own and of all commands below it.
    pub(crate) shared: &'static [&'static Flag],
    /// Variables of the environment that it looks at and that belong to no flag.
    pub(crate) variables: &'static [&'static str],
    pub(crate) commands: &'static [&'static Command],
    pub(crate) run: Run,
}

impl Command {
    /// A command that is known, and not there yet.
    pub(crate) const fn new(
        name: &'static str,
        usage: &'static str,
        short: &'static str,
        section: Option<Section>,
    ) -> Command {
        Command {
            name,
            usage,
            short,
            long: "",
            section,
            flags: &[],
            shared: &[],
            variables: &[],
            commands: &[],
            run: Run::Later,
        }
    }

    /// The same below a parent.
    pub(crate) const fn below(
        name: &'static str,
        usage: &'static str,
        short: &'static str,
    ) -> Command {
        Command::new(name, usage, short, None)
    }
}

/// What a command does.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Shows its help: the work is done by the commands below it.
    Help,
    /// This.
    Now(fn(&mut Invocation) -> Result<(), Failure>),
    /// Nothing yet.
    Later,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Run::Help => "Help",
            Run::Now(_) => "Now",
            Run::Later => "Later",
        })
    }
}

/// The headings of help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    KeyValue,
    Maintenance,
    Concurrency,
    Authentication,
    Utility,
}

impl Section {
    pub(crate) const ALL: [Section; 5] = [
        Section::KeyValue,
        Section::Maintenance,
        Section::Concurrency,
        Section::Authentication,
        Section::Utility,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Section::KeyValue => "Key-value commands",
            Section::Maintenance => "Cluster maintenance commands",
            Section::Concurrency => "Concurrency commands",
            Section::Authentication => "Authentication commands",
            Section::Utility => "Utility commands",
        }
    }
}

/// A command with its parents, the root first.
#[derive(Clone, Debug)]
pub(crate) struct Path(Vec<&'static Command>);

impl Path {
    pub(crate) fn root(root: &'static Command) -> Path {
        Path(vec![root])
    }

    pub(crate) fn command(&self) -> &'static Command {
        self.0[self.0.len() - 1]
    }

    /// The program that it is a command of.
    pub(crate) fn program(&self) -> &'static Command {
        self.0[0]
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The names without the root's.
    pub(crate) fn name(&self) -> String {
        let names: Vec<&str> = self.0[1..].iter().map(|command| command.name).collect();
        names.join(" ")
    }

    /// Flags that come from the parents.
    pub(crate) fn inherited(&self) -> Vec<Group> {
        let parents = &self.0[..self.0.len() - 1];
        parents
            .iter()
            .map(|parent| Group {
                title: "",
                flags: parent.shared,
            })
            .collect()
    }

    /// All flags.
    pub(crate) fn flags(&self) -> Vec<Group> {
        let command = self.command();
        let mut groups = self.inherited();
        groups.push(Group {
            title: "",
            flags: command.shared,
        });
        groups.push(Group {
            title: "",
            flags: command.flags,
        });
        groups
    }

    /// Whether the word is a flag that takes the next word as its value. A flag that is not known
    /// does: the mistake comes out later.
    fn takes_next(&self, word: &str) -> bool {
        let groups = self.flags();
        let mut flags = groups.iter().flat_map(|group| group.flags);
        if word.contains('=') {
            return false;
        }
        if let Some(name) = word.strip_prefix("--") {
            let is_help = name == "help" && self.is_root();
            return !is_help
                && !flags
                    .find(|flag| flag.name == name)
                    .is_some_and(|flag| flag.kind.is_switch());
        }
        let mut letters = word.chars().skip(1);
        match (letters.next(), letters.next()) {
            (Some('h'), None) if self.is_root() => false,
            (Some(letter), None) if word.starts_with('-') => !flags
                .find(|flag| flag.short == Some(letter))
                .is_some_and(|flag| flag.kind.is_switch()),
            _ => false,
        }
    }

    /// The places of words that are neither flags nor their values.
    fn plain(&self, words: &[String]) -> Vec<usize> {
        let mut places = Vec::new();
        let mut at = 0;
        while at < words.len() && words[at] != "--" {
            if self.takes_next(&words[at]) {
                // A flag at the very end has no value to skip, and ends the search.
                at += 2;
                continue;
            }
            if !words[at].is_empty() && !words[at].starts_with('-') {
                places.push(at);
            }
            at += 1;
        }
        places
    }

    /// The command below this one that goes by this name: exactly, or as the only one that begins
    /// so.
    fn below(&self, name: &str) -> Option<&'static Command> {
        let commands = self.command().commands;
        if let Some(command) = commands.iter().find(|command| command.name == name) {
            return Some(command);
        }
        let mut matching = commands
            .iter()
            .filter(|command| command.name.starts_with(name));
        matching
            .next()
            .filter(|_| matching.next().is_none())
            .copied()
    }
}

/// A command line that names no command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownCommand {
    pub(crate) name: String,
    pub(crate) suggestions: Vec<&'static str>,
}

/// Finds the command that the words name. Its name is taken out of the words, where `places` says
/// which words are left.
pub(crate) fn find(
    root: &'static Command,
    words: &[String],
) -> Result<(Path, Vec<usize>), UnknownCommand> {
    let mut path = Path::root(root);
    let mut left: Vec<usize> = (0..words.len()).collect();
    loop {
        let remaining: Vec<String> = left.iter().map(|at| words[*at].clone()).collect();
        let Some(&first) = path.plain(&remaining).first() else {
            return Ok((path, left));
        };
        match path.below(&remaining[first]) {
            Some(command) => {
                path.0.push(command);
                left.remove(first);
            }
            None if path.is_root() => {
                let name = remaining[first].clone();
                let suggestions = suggestions(root, &name);
                return Err(UnknownCommand { name, suggestions });
            }
            None => return Ok((path, left)),
        }
    }
}

/// Commands that begin like the name, or differ from it in at most two letters.
fn suggestions(root: &'static Command, name: &str) -> Vec<&'static str> {
    const DISTANCE_MAX: usize = 2;
    let name = name.to_lowercase();
    let commands = root.commands.iter().map(|command| command.name);
    commands
        .filter(|command| command.starts_with(&name) || distance(&name, command) <= DISTANCE_MAX)
        .collect()
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ROOT;

    fn found(line: &str) -> Result<(String, String), UnknownCommand> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (path, left) = find(&ROOT, &words)?;
        let left: Vec<&str> = left.iter().map(|at| &words[*at][..]).collect();
        Ok((path.name(), left.join(" ")))
    }

    #[test]
    fn a_command_is_found_between_flags() {
        for (line, name, left) in [
            ("get k", "get", "k"),
            ("--endpoints a get k", "get", "--endpoints a k"),
            ("-w json --hex get get", "get", "-w json --hex get"),
            ("--help get", "get", "--help"),
            ("endpoint --cluster health", "endpoint health", "--cluster"),
            ("endpoint bogus", "endpoint", "bogus"),
            ("compac 5", "compaction", "5"),
            ("mem l", "member list", ""),
            ("", "", ""),
            ("-- get", "", "-- get"),
        ] {
            assert_eq!(
                found(line),
                Ok((name.to_owned(), left.to_owned())),
                "{line}"
            );
        }
    }

    #[test]
    fn an_unknown_flag_swallows_the_next_word() {
        assert_eq!(found("--bogus get k").unwrap_err().name, "k");
    }

    #[test]
    fn near_misses_are_suggested() {
        assert_eq!(found("gt").unwrap_err().suggestions, ["get", "put"]);
        assert_eq!(
            found("comp 5").unwrap_err().suggestions,
            ["compaction", "completion"]
        );
        assert_eq!(found("bogus").unwrap_err().suggestions, [""; 0]);
    }
}
