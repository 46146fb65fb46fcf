//! Help from declarations.

use std::fmt::Write as _;

use crate::flag::{Effect, Flag, Group};

/// Columns of help texts.
const WIDTH: usize = 90;

/// Every flag under its heading, in the layout of etcd: the flag with its default, the text below.
#[must_use]
pub fn options(groups: &[Group]) -> String {
    let mut text = String::new();
    for group in groups {
        let mut shown = group.flags.iter().filter(|flag| !flag.hidden).peekable();
        if shown.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "\n{}:", group.title);
        for flag in shown {
            let default = flag.shown_default.unwrap_or(flag.default);
            let _ = writeln!(text, "  --{} '{default}'", flag.name);
            push_wrapped(&mut text, &help_text(flag), 4);
        }
    }
    text
}

/// Every flag in two columns, in the layout of etcdctl: short form, name and kind, then the text
/// with its default unless that is nothing.
#[must_use]
pub fn columns(groups: &[Group]) -> String {
    let flags = || {
        groups
            .iter()
            .flat_map(|group| group.flags)
            .filter(|flag| !flag.hidden)
    };
    let left: Vec<String> = flags().map(|flag| left_column(flag)).collect();
    let width = left
        .iter()
        .map(|text| text.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (flag, left) in flags().zip(left) {
        let _ = writeln!(
            text,
            "{left:width$}   {}{}",
            help_text(flag),
            default_note(flag)
        );
    }
    text
}

fn left_column(flag: &Flag) -> String {
    let short = flag
        .short
        .map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let word = flag.kind.word();
    let space = if word.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{word}", flag.name)
}

fn default_note(flag: &Flag) -> String {
    match flag.shown_default.unwrap_or(flag.default) {
        "" | "false" | "0" | "0s" => String::new(),
        default if flag.kind.word() == "string" => format!(" (default \"{default}\")"),
        default => format!(" (default {default})"),
    }
}

/// The help text with what becomes of the flag, unless it just works.
fn help_text(flag: &Flag) -> String {
    match flag.effect {
        Effect::Effective("") => flag.help.to_owned(),
        Effect::Effective(exceptions) => format!("{} (But: {exceptions}.)", flag.help),
        Effect::NoEffect(reason) => format!("{} (No effect: {reason}.)", flag.help),
        Effect::Refused(reason) => format!("{} (Refused: {reason}.)", flag.help),
    }
}

/// Adds a text in lines of at most [`WIDTH`] columns, where its words allow it.
fn push_wrapped(text: &mut String, content: &str, indent: usize) {
    let mut column = 0;
    for word in content.split(' ') {
        let width = word.chars().count();
        if column == 0 || column + 1 + width > WIDTH {
            if column > 0 {
                text.push('\n');
            }
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::Kind;

    static NAME: Flag = Flag::new("name", Kind::Text, "x", "A name.").short('n');
    static DIR: Flag = Flag::new("dir", Kind::Text, "", "A place.").shown_default("<name>.d");
    static TLS: Flag = Flag::new("tls", Kind::Bool, "false", "Encrypt.").refused("not yet");
    static WAIT: Flag = Flag::new("wait", Kind::Duration, "5s", "A time.").no_effect("no need");
    static OLD: Flag = Flag::new("old", Kind::Ignored, "", "Gone.").hidden();
    static GROUPS: &[Group] = &[
        Group {
            title: "First",
            flags: &[&NAME, &DIR, &TLS, &WAIT],
        },
        Group {
            title: "Second",
            flags: &[&OLD],
        },
    ];

    #[test]
    fn options_stand_under_their_headings() {
        let expected = "\nFirst:\n  --name 'x'\n    A name.\n  --dir '<name>.d'\n    A place.\n  --tls 'false'\n    \
                        Encrypt. (Refused: not yet.)\n  --wait '5s'\n    A time. (No effect: no need.)\n";
        assert_eq!(options(GROUPS), expected);
    }

    #[test]
    fn columns_are_as_wide_as_the_widest() {
        let expected = "  -n, --name string     A name. (default \"x\")\n      --dir string      A place. (default \"<name>.d\")\n      \
                        --tls             Encrypt. (Refused: not yet.)\n      --wait duration   A time. (No effect: no need.) (default 5s)\n";
        assert_eq!(columns(GROUPS), expected);
    }

    #[test]
    fn long_texts_are_wrapped_between_words() {
        let mut text = String::new();
        push_wrapped(&mut text, &"word ".repeat(40), 4);
        assert!(text.lines().count() > 2);
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= WIDTH && line.starts_with("    "))
        );
    }
}
