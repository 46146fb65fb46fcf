//! The arguments of `watch`: up to two keys, and a program after two dashes.
//!
//! The parser of flags removes the dashes, so the line as it came is looked at a second time. Where
//! the two disagree, etcdctl's guess is made: the program begins at the last argument that equals
//! its name.

use tenet_cli::flag::Group;
use tenet_cli::go_flags::ParseError;
use tenet_cli::posix_flags;
use tenet_cli::settings::Settings;

use super::{COMMAND, PREFIX, PREV_KV, REV};
use crate::failure::{Exit, Failure};

pub(super) const BAD_NUMBER: &str = "bad number of arguments";
pub(super) const ENV_KEY: &str = "ETCDCTL_WATCH_KEY";
pub(super) const ENV_RANGE_END: &str = "ETCDCTL_WATCH_RANGE_END";
const BAD_NUMBER_ENVIRONMENT: &str = "bad number of arguments (found conflicting environment key)";
const BAD_NUMBER_SEPARATOR: &str = "bad number of arguments (found separator --, but no commands)";

/// What to watch, and what to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchArgs {
    pub(super) keys: Vec<Vec<u8>>,
    /// Name and arguments; empty for none.
    pub(super) program: Vec<Vec<u8>>,
}

/// How to watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchFlags {
    pub(super) prefix: bool,
    pub(super) revision: i64,
    pub(super) prev_kv: bool,
    pub(super) progress_notify: bool,
}

impl WatchFlags {
    pub(super) fn of(settings: &Settings) -> WatchFlags {
        WatchFlags {
            prefix: settings.bool(&PREFIX),
            revision: settings.int(&REV),
            prev_kv: settings.bool(&PREV_KV),
            progress_notify: false,
        }
    }
}

/// The key that the environment gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    key: Vec<u8>,
    end: Vec<u8>,
}

impl Environment {
    pub(super) fn read() -> Environment {
        use std::os::unix::ffi::OsStringExt as _;
        let read = |name| std::env::var_os(name).unwrap_or_default().into_vec();
        Environment {
            key: read(ENV_KEY),
            end: read(ENV_RANGE_END),
        }
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.key.is_empty() && !self.end.is_empty() {
            let end = tenet_cli::print::quote::quoted(&self.end);
            let text = format!("{ENV_KEY} is empty but got {ENV_RANGE_END}={end}");
            return Err(Failure::new(Exit::BadArgs, text));
        }
        Ok(())
    }

    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// The keys of the environment before those that were given.
    fn before(&self, given: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        if self.has_key() {
            keys.push(self.key.clone());
            keys.extend((!self.end.is_empty()).then(|| self.end.clone()));
        }
        keys.extend_from_slice(given);
        keys
    }
}

/// From a command line, and its arguments without flags.
pub(super) fn of_line(
    line: &[Vec<u8>],
    args: &[Vec<u8>],
    environment: &Environment,
) -> Result<WatchArgs, String> {
    let begin = line.iter().position(|word| word == b"watch");
    let raw = &line[begin.map_or(0, |at| at + 1)..];
    let separator = separator(raw)?;
    match separator {
        None if raw.is_empty() && !environment.has_key() => return Err(BAD_NUMBER.to_owned()),
        None if !args.is_empty() && environment.has_key() => {
            return Err(BAD_NUMBER_ENVIRONMENT.to_owned());
        }
        Some(at) if environment.has_key() && !all_after(raw, at, args) => {
            return Err(BAD_NUMBER_ENVIRONMENT.to_owned());
        }
        _ => {}
    }
    Ok(split(raw, separator, environment.before(args)))
}

/// From the words of an interactive line after `watch`.
pub(super) fn of_words(
    words: &[Vec<u8>],
    environment: &Environment,
) -> Result<(WatchArgs, WatchFlags), String> {
    let separator = separator(words)?;
    let texts: Vec<String> = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let mut settings = Settings::new(&[Group {
        title: "",
        flags: COMMAND.flags,
    }]);
    let found = posix_flags::parse(&mut settings, &texts).map_err(|error| match error {
        ParseError::Help => "pflag: help requested".to_owned(),
        ParseError::Bad(text) => text,
    })?;
    let args: Vec<Vec<u8>> = found
        .places
        .iter()
        .map(|place| words[*place].clone())
        .collect();
    match separator {
        None if args.is_empty() && !environment.has_key() => return Err(BAD_NUMBER.to_owned()),
        None if !args.is_empty() && environment.has_key() => {
            return Err(BAD_NUMBER_ENVIRONMENT.to_owned());
        }
        _ => {}
    }
    let args = split(words, separator, environment.before(&args));
    Ok((args, WatchFlags::of(&settings)))
}

/// The place of the two dashes, after which something must come.
fn separator(words: &[Vec<u8>]) -> Result<Option<usize>, String> {
    match words.iter().position(|word| word == b"--") {
        Some(at) if at + 1 == words.len() => Err(BAD_NUMBER_SEPARATOR.to_owned()),
        at => Ok(at),
    }
}

/// Whether all arguments stand after the dashes.
fn all_after(raw: &[Vec<u8>], separator: usize, args: &[Vec<u8>]) -> bool {
    args.len() < raw.len() - separator
}

fn split(raw: &[Vec<u8>], separator: Option<usize>, keys: Vec<Vec<u8>>) -> WatchArgs {
    let Some(separator) = separator else {
        return WatchArgs {
            keys,
            program: Vec::new(),
        };
    };
    let program = raw[separator + 1..].to_vec();
    let end = keys.iter().rposition(|key| key == &program[0]).unwrap_or(0);
    WatchArgs {
        keys: keys[..end].to_vec(),
        program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        line.split_whitespace()
            .map(|word| word.as_bytes().to_vec())
            .collect()
    }

    fn environment(key: &str, end: &str) -> Environment {
        Environment {
            key: key.into(),
            end: end.into(),
        }
    }

    fn parsed(line: &str, args: &str, key: &str) -> Result<(String, String), String> {
        let text = |words: &[Vec<u8>]| String::from_utf8_lossy(&words.join(&b' ')).into_owned();
        of_line(&words(line), &words(args), &environment(key, ""))
            .map(|args| (text(&args.keys), text(&args.program)))
    }

    #[test]
    fn keys_stand_before_the_dashes_and_a_program_after_them() {
        for (line, args, key, keys, program) in [
            ("watch a", "a", "", "a", ""),
            ("watch a b --rev 1", "a b", "", "a b", ""),
            ("watch a -- echo x", "a echo x", "", "a", "echo x"),
            (
                "--hex watch a --rev 1 b -- echo",
                "a b echo",
                "",
                "a b",
                "echo",
            ),
            ("watch", "", "k", "k", ""),
            ("watch -- echo x", "echo x", "k", "k", "echo x"),
            (
                "watch a -- echo b echo",
                "a echo b echo",
                "",
                "a echo b",
                "echo b echo",
            ),
            ("wat a", "a", "", "a", ""),
        ] {
            let expected = Ok((keys.to_owned(), program.to_owned()));
            assert_eq!(parsed(line, args, key), expected, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (line, args, key, text) in [
            ("watch", "", "", BAD_NUMBER),
            ("watch a --", "a", "", BAD_NUMBER_SEPARATOR),
            ("watch a", "a", "k", BAD_NUMBER_ENVIRONMENT),
            ("watch a -- echo", "a echo", "k", BAD_NUMBER_ENVIRONMENT),
        ] {
            assert_eq!(parsed(line, args, key), Err(text.to_owned()), "{line}");
        }
    }

    #[test]
    fn interactive_lines_have_flags_of_their_own() {
        let none = environment("", "");
        let (args, flags) = of_words(&words("a --prefix --rev 5 -- echo -x"), &none).unwrap();
        assert_eq!((args.keys, args.program), (words("a"), words("echo -x")));
        assert_eq!((flags.prefix, flags.revision), (true, 5));
        let (args, _) = of_words(&words("--rev 1"), &environment("k", "l")).unwrap();
        assert_eq!(args.keys, words("k l"));
        assert_eq!(of_words(&[], &none), Err(BAD_NUMBER.to_owned()));
        assert_eq!(
            of_words(&words("a --bogus"), &none),
            Err("unknown flag: --bogus".to_owned())
        );
    }
}
