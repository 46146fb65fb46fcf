//! Help, from the declarations of commands and flags.

use std::fmt::Write as _;

use tenet_cli::flag::{Flag, Kind};

use crate::flags;
use crate::tree::{Command, Path, Run, Section};

/// All there is to say about a command.
pub(crate) fn help(path: &Path, program: &str) -> String {
    let command = path.command();
    let mut text = format!("{}\n", command.short);
    if matches!(command.run, Run::Later) {
        text.push_str("\nThis command is not there yet.\n");
    }
    if !command.long.is_empty() {
        text.push('\n');
        text.push_str(&command.long.replace("etcdctl", program));
        text.push('\n');
    }
    let usage = usage(path, program);
    let _ = write!(text, "\n{usage}");
    if path.program().name != "etcdctl" {
        return text;
    }
    let _ = writeln!(
        text,
        "Use \"{program} options\" for a list of global command-line options (applies to all \
         commands)."
    );
    text
}

/// How a command is called: its line, the commands below it, its flags.
pub(crate) fn usage(path: &Path, program: &str) -> String {
    let command = path.command();
    let name = [program, &path.name()].join(" ");
    let name = name.trim_end();
    let mut text = String::from("Usage:\n");
    match command.run {
        Run::Help => {
            let _ = writeln!(text, "  {name} [command]");
        }
        Run::Now(_) | Run::Later => {
            let line = [name, command.usage].join(" ");
            let _ = writeln!(text, "  {}", line.trim_end());
        }
    }
    list_commands(&mut text, command);
    let own: Vec<&Flag> = command
        .flags
        .iter()
        .chain(command.shared)
        .copied()
        .collect();
    if !path.is_root() && !own.is_empty() {
        let _ = write!(text, "\nFlags:\n{}", list_flags(&own));
    }
    if !command.commands.is_empty() {
        let _ = writeln!(
            text,
            "\nUse \"{name} [command] --help\" for more information about a command."
        );
    }
    text
}

/// The flags of all commands.
pub(crate) fn options() -> String {
    format!(
        "The following options can be passed to any command:\n\n{}",
        list_flags(flags::GLOBAL)
    )
}

fn list_commands(text: &mut String, command: &Command) {
    let mut listed: Vec<(&str, Vec<&Command>)> = Section::ALL
        .into_iter()
        .map(|section| {
            let below = command
                .commands
                .iter()
                .filter(|c| c.section == Some(section));
            (section.title(), below.copied().collect())
        })
        .collect();
    let rest = command
        .commands
        .iter()
        .filter(|below| below.section.is_none());
    listed.push(("Available Commands:", rest.copied().collect()));
    for (title, mut commands) in listed {
        if commands.is_empty() {
            continue;
        }
        commands.sort_by_key(|command| command.name);
        let _ = writeln!(text, "\n{title}");
        for Command {
            name, short, run, ..
        } in commands
        {
            let later = if matches!(run, Run::Later) {
                " (not there yet)"
            } else {
                ""
            };
            let _ = writeln!(text, "  {name:<11} {short}{later}");
        }
    }
}

/// A line for each flag.
pub(crate) fn list_flags(flags: &[&Flag]) -> String {
    let mut flags: Vec<&Flag> = flags.iter().filter(|flag| !flag.hidden).copied().collect();
    flags.sort_by_key(|flag| flag.name);
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (flag, head) in flags.iter().zip(&heads) {
        let _ = writeln!(text, "{head:<width$}   {}{}", flag.help, default(flag));
    }
    text
}

fn head(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or("    ".to_owned(), |short| format!("-{short}, "));
    format!("  {short}--{} {}", flag.name, flag.kind.word())
        .trim_end()
        .to_owned()
}

fn default(flag: &Flag) -> String {
    match (&flag.kind, flag.default) {
        (_, "" | "0" | "false" | "0s") => String::new(),
        (Kind::Text, default) => format!(" (default \"{default}\")"),
        (Kind::List, default) => format!(" (default [{default}])"),
        (_, default) => format!(" (default {default})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::ROOT;
    use crate::tree::find;

    #[test]
    fn every_command_has_help_that_names_its_flags() {
        fn walk(words: &[String], command: &'static Command, seen: &mut usize) {
            let (path, left) = find(&ROOT, words).unwrap();
            assert!(left.is_empty(), "{words:?}");
            assert_eq!(path.command().name, command.name);
            let text = help(&path, "etcdctl");
            assert!(text.contains(command.short), "{words:?}");
            for flag in command.flags {
                assert!(text.contains(&format!("--{}", flag.name)), "{words:?}");
            }
            *seen += 1;
            for below in command.commands {
                walk(&[words, &[below.name.to_owned()]].concat(), below, seen);
            }
        }
        let mut seen = 0;
        walk(&[], &ROOT, &mut seen);
        assert!(seen > 55, "{seen}");
    }

    #[test]
    fn options_are_lined_up_and_show_their_defaults() {
        let text = options();
        assert!(
            text.contains("\n  -w, --write-out string             Format"),
            "{text}"
        );
        assert!(text.contains("(default [127.0.0.1:2379])"), "{text}");
    }
}
