//! The command line in the syntax of Go's `flag` package, as the server has it: `-x`, `--x`,
//! `--x=v`, `--x v`; a switch takes a value only with an equals sign; parsing stops at the first
//! argument that is no flag.

use thiserror::Error;

use crate::go::quote;
use crate::settings::{Settings, Source};

/// Why the command line is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// `-h` or `--help`, where the program has no flag of this name.
    #[error("help requested")]
    Help,
    /// An unknown flag, a missing or a bad value, in Go's words.
    #[error("{0}")]
    Bad(String),
}

/// Reads flags into the settings, and returns the arguments from the first that is none.
///
/// # Errors
/// At the first argument that is no flag of the program or has no valid value. What stands before
/// it has been taken.
pub fn parse<'a>(
    settings: &mut Settings,
    mut args: &'a [String],
) -> Result<&'a [String], ParseError> {
    while let [arg, rest @ ..] = args {
        if arg.len() < 2 || !arg.starts_with('-') {
            break;
        }
        args = rest;
        if arg == "--" {
            break;
        }
        if parse_flag(settings, arg, rest.first())? {
            args = &rest[1..];
        }
    }
    Ok(args)
}

/// Takes one flag. Returns whether the next argument was its value.
fn parse_flag(
    settings: &mut Settings,
    arg: &str,
    next: Option<&String>,
) -> Result<bool, ParseError> {
    let bad = |text| Err(ParseError::Bad(text));
    let body = arg
        .strip_prefix("--")
        .or_else(|| arg.strip_prefix('-'))
        .unwrap_or(arg);
    if body.is_empty() || body.starts_with(['-', '=']) {
        return bad(format!("bad flag syntax: {arg}"));
    }
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (body, None),
    };
    let Some(flag) = settings.find(name) else {
        return match name {
            "help" | "h" => Err(ParseError::Help),
            _ => bad(format!("flag provided but not defined: -{name}")),
        };
    };
    let (text, taken) = match (value, next) {
        (Some(value), _) => (value, false),
        (None, _) if flag.kind.is_switch() => ("true", false),
        (None, Some(next)) => (next.as_str(), true),
        (None, None) => return bad(format!("flag needs an argument: -{name}")),
    };
    let Err(error) = settings.give(flag, text, Source::CommandLine) else {
        return Ok(taken);
    };
    let (text, reason) = (quote(text), error.in_flag_words());
    bad(if flag.kind.is_switch() {
        format!("invalid boolean value {text} for -{name}: {reason}")
    } else {
        format!("invalid value {text} for flag -{name}: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flag::{Flag, Group, Kind};

    static NAME: Flag = Flag::new("name", Kind::Text, "default", "");
    static COUNT: Flag = Flag::new("count", Kind::Uint, "3", "");
    static FAST: Flag = Flag::new("fast", Kind::Bool, "true", "");
    static OLD: Flag = Flag::new("old", Kind::Ignored, "", "");
    static GROUPS: &[Group] = &[Group {
        title: "All",
        flags: &[&NAME, &COUNT, &FAST, &OLD],
    }];

    fn run(line: &str) -> Result<(Settings, String), String> {
        let args: Vec<String> = line
            .split(' ')
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .collect();
        let mut settings = Settings::new(GROUPS);
        let rest = parse(&mut settings, &args)
            .map_err(|error| error.to_string())?
            .join(" ");
        Ok((settings, rest))
    }

    #[test]
    fn one_and_two_dashes_with_and_without_equals_sign() {
        for line in [
            "-name a",
            "--name a",
            "-name=a",
            "--name=a",
            "--name b -name a",
        ] {
            let (settings, rest) = run(line).expect(line);
            assert_eq!((settings.text(&NAME), rest.as_str()), ("a", ""), "{line}");
            assert!(settings.is_given(&NAME) && !settings.is_given(&COUNT));
        }
    }

    #[test]
    fn a_switch_takes_a_value_only_with_an_equals_sign() {
        let (settings, rest) = run("--fast=false --name a").expect("valid");
        assert!(!settings.bool(&FAST));
        assert_eq!((settings.text(&NAME), rest.as_str()), ("a", ""));
        let (settings, rest) = run("--fast false --name a").expect("valid");
        assert!(settings.bool(&FAST));
        assert_eq!(
            (settings.text(&NAME), rest.as_str()),
            ("default", "false --name a")
        );
        assert_eq!(run("--old x").expect("valid").1, "x");
        assert_eq!(run("--old=x --name a").expect("valid").1, "");
    }

    #[test]
    fn parsing_stops_at_the_first_argument_that_is_no_flag() {
        assert_eq!(run("--name a b --count 1").expect("valid").1, "b --count 1");
        assert_eq!(run("--name a -- --count 1").expect("valid").1, "--count 1");
        assert_eq!(run("- --count 1").expect("valid").1, "- --count 1");
    }

    #[test]
    fn refusals_are_in_gos_words() {
        for (line, words) in [
            ("--nope", "flag provided but not defined: -nope"),
            ("-nope=1", "flag provided but not defined: -nope"),
            ("---name=a", "bad flag syntax: ---name=a"),
            ("-=a", "bad flag syntax: -=a"),
            ("--name", "flag needs an argument: -name"),
            (
                "--count x",
                "invalid value \"x\" for flag -count: parse error",
            ),
            (
                "--fast=x",
                "invalid boolean value \"x\" for -fast: parse error",
            ),
            ("-h", "help requested"),
            ("--name a --help=3", "help requested"),
        ] {
            assert_eq!(run(line).map(|_| ()), Err(words.to_owned()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(args in prop::collection::vec("(-{0,3})(name|count|fast|x)?=?.{0,3}", 0..5)) {
            let _ = parse(&mut Settings::new(GROUPS), &args);
        }
    }
}
