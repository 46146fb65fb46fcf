//! The command line in the syntax of etcdctl and etcdutl: `--x v`, `--x=v`, `-x v`, `-xv`, `-x=v`,
//! switches in one bundle `-ab`, flags and arguments in any order, `--` before arguments alone.

use crate::flag::{Flag, Kind};
use crate::go::quote;
use crate::go_flags::ParseError;
use crate::settings::{Settings, Source};
use crate::value::Value;

/// The arguments that are no flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positionals {
    /// In the order given.
    pub args: Vec<String>,
    /// Where each of them stood among all arguments, for a caller whose arguments are not all text.
    pub places: Vec<usize>,
    /// How many of them stood before `--`, if it was there.
    pub before_dashes: Option<usize>,
}

/// Reads flags into the settings, and returns the other arguments.
///
/// # Errors
/// At the first flag that the program does not have or that has no valid value; otherwise with
/// [`ParseError::Help`] if help was asked for anywhere.
pub fn parse(settings: &mut Settings, args: &[String]) -> Result<Positionals, ParseError> {
    let mut positionals = Positionals::default();
    let mut help = false;
    let count = args.len();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let place = count - args.len() - 1;
        let mut line = Line {
            settings,
            args: &mut args,
            help: &mut help,
        };
        match arg.strip_prefix('-') {
            None | Some("") => {
                positionals.args.push(arg.clone());
                positionals.places.push(place);
            }
            Some("-") => {
                positionals.before_dashes = Some(positionals.args.len());
                positionals.args.extend(args.by_ref().cloned());
                positionals.places.extend(place + 1..count);
            }
            Some(body) => match body.strip_prefix('-') {
                Some(long) => line.long(arg, long)?,
                None => line.bundle(body)?,
            },
        }
    }
    if help {
        Err(ParseError::Help)
    } else {
        Ok(positionals)
    }
}

/// The rest of the command line while one flag of it is read.
struct Line<'a, 'b> {
    settings: &'a mut Settings,
    args: &'a mut std::slice::Iter<'b, String>,
    help: &'a mut bool,
}

impl<'b> Line<'_, 'b> {
    fn long(&mut self, arg: &str, body: &str) -> Result<(), ParseError> {
        if body.starts_with(['-', '=']) {
            return Err(ParseError::Bad(format!("bad flag syntax: {arg}")));
        }
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let Some(flag) = self.settings.find(name) else {
            if name == "help" {
                *self.help = true;
                return Ok(());
            }
            return Err(ParseError::Bad(format!("unknown flag: --{name}")));
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind.is_switch() => "true",
            None => self.following(|| format!("flag needs an argument: {arg}"))?,
        };
        self.give(flag, value)
    }

    /// Switches of one letter, the last of which may be a flag with its value.
    fn bundle(&mut self, bundle: &str) -> Result<(), ParseError> {
        for (at, letter) in bundle.char_indices() {
            let rest = &bundle[at + letter.len_utf8()..];
            let Some(flag) = self.settings.find_short(letter) else {
                if letter == 'h' {
                    *self.help = true;
                    continue;
                }
                // Go looks at the bundle byte by byte, and shows the byte as a character.
                let first = char::from(bundle.as_bytes()[at]);
                let text = format!(
                    "unknown shorthand flag: {} in -{}",
                    quote_char(first),
                    &bundle[at..]
                );
                return Err(ParseError::Bad(text));
            };
            let value = match rest.strip_prefix('=') {
                Some(value) if !value.is_empty() => value,
                _ if flag.kind.is_switch() => {
                    self.give(flag, "true")?;
                    continue;
                }
                _ if !rest.is_empty() => rest,
                _ => self.following(|| {
                    format!(
                        "flag needs an argument: {} in -{}",
                        quote_char(letter),
                        &bundle[at..]
                    )
                })?,
            };
            return self.give(flag, value);
        }
        Ok(())
    }

    fn following(&mut self, missing: impl FnOnce() -> String) -> Result<&'b str, ParseError> {
        self.args
            .next()
            .map(String::as_str)
            .ok_or_else(|| ParseError::Bad(missing()))
    }

    fn give(&mut self, flag: &'static Flag, text: &str) -> Result<(), ParseError> {
        give(self.settings, flag, text, Source::CommandLine).map_err(|reason| {
            let name = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            ParseError::Bad(format!(
                "invalid argument {} for {} flag: {reason}",
                quote(text),
                quote(&name)
            ))
        })
    }
}

/// Gives a flag a text in the way of etcdctl: a list is one line of comma-separated values with
/// quotes, and adds to a list that was given before.
///
/// # Errors
/// If the text is no value of its kind, with the reason.
pub fn give(
    settings: &mut Settings,
    flag: &Flag,
    text: &str,
    source: Source,
) -> Result<(), String> {
    if !matches!(flag.kind, Kind::List) {
        return settings
            .give(flag, text, source)
            .map_err(|error| error.to_string());
    }
    let fields = split_fields(text)?;
    let before = settings.get(flag);
    let list = if before.is_given() {
        [settings.list(flag), &fields].concat()
    } else {
        fields
    };
    settings.put(flag, Value::List(list), source);
    Ok(())
}

/// One line of comma-separated values, where a field in double quotes may hold commas and doubled
/// quotes.
fn split_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    if text.is_empty() {
        return Ok(fields);
    }
    loop {
        let column = text.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted).map_err(|left| {
                let column = text.len() - left.len() + 1;
                format!("parse error on line 1, column {column}: extraneous or missing \" in quoted-field")
            })?,
            None => {
                let (field, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                if let Some(at) = field.find('"') {
                    let column = column + at;
                    return Err(format!("parse error on line 1, column {column}: bare \" in non-quoted-field"));
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// The field up to its closing quote, which a comma or the end must follow. The error is what is
/// left from the mistake on: a quote that closes nothing, or the end.
fn quoted_field(mut rest: &str) -> Result<(String, &str), &str> {
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or("")?;
        let from_quote = &rest[end..];
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.as_bytes().first() {
            None | Some(b',') => return Ok((field, rest)),
            Some(b'"') => {
                field.push('"');
                rest = &rest[1..];
            }
            Some(_) => return Err(from_quote),
        }
    }
}

/// A character between single quotes, as Go prints it.
fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flag::Group;

    static OUT: Flag = Flag::new("write-out", Kind::Text, "simple", "").short('w');
    static DEBUG: Flag = Flag::new("debug", Kind::Bool, "false", "").short('d');
    static HEX: Flag = Flag::new("hex", Kind::Bool, "false", "").short('x');
    static ENDPOINTS: Flag = Flag::new("endpoints", Kind::List, "127.0.0.1:2379", "");
    static TIMEOUT: Flag = Flag::new("timeout", Kind::Duration, "5s", "");
    static GROUPS: &[Group] = &[Group {
        title: "All",
        flags: &[&OUT, &DEBUG, &HEX, &ENDPOINTS, &TIMEOUT],
    }];

    fn run(line: &str) -> Result<(Settings, Positionals), String> {
        let args: Vec<String> = line
            .split(' ')
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .collect();
        let mut settings = Settings::new(GROUPS);
        let positionals = parse(&mut settings, &args).map_err(|error| error.to_string())?;
        Ok((settings, positionals))
    }

    #[test]
    fn long_and_short_forms_stand_anywhere() {
        for line in [
            "-w json get k",
            "get -wjson k",
            "get k -w=json",
            "--write-out json get k",
            "get --write-out=json k",
        ] {
            let (settings, positionals) = run(line).expect(line);
            assert_eq!(
                (settings.text(&OUT), positionals.args.join(" ")),
                ("json", "get k".to_owned()),
                "{line}"
            );
        }
        let (settings, _) = run("-dxw json").expect("valid");
        assert!(settings.bool(&DEBUG) && settings.bool(&HEX));
        assert_eq!(settings.text(&OUT), "json");
    }

    #[test]
    fn two_dashes_end_the_flags() {
        let (settings, positionals) = run("a -d -- -x b").expect("valid");
        assert!(settings.bool(&DEBUG) && !settings.bool(&HEX));
        assert_eq!(positionals.args, ["a", "-x", "b"]);
        assert_eq!(positionals.places, [0, 3, 4]);
        assert_eq!(positionals.before_dashes, Some(1));
        assert_eq!(run("- a").expect("valid").1.args, ["-", "a"]);
    }

    #[test]
    fn lists_add_up_and_replace_the_default() {
        let (settings, _) = run("--endpoints a,b --endpoints \"c,d\",e").expect("valid");
        assert_eq!(settings.list(&ENDPOINTS), ["a", "b", "c,d", "e"]);
        assert_eq!(
            run("").expect("valid").0.list(&ENDPOINTS),
            ["127.0.0.1:2379"]
        );
    }

    #[test]
    fn refusals_are_in_the_words_of_etcdctl() {
        for (line, words) in [
            ("--bogus", "unknown flag: --bogus"),
            ("--bogus=1", "unknown flag: --bogus"),
            ("-dq", "unknown shorthand flag: 'q' in -q"),
            ("-é", "unknown shorthand flag: 'Ã' in -é"),
            ("--=x", "bad flag syntax: --=x"),
            ("--write-out", "flag needs an argument: --write-out"),
            ("-dw", "flag needs an argument: 'w' in -w"),
            (
                "--timeout 5",
                "invalid argument \"5\" for \"--timeout\" flag: time: missing unit in duration \"5\"",
            ),
            (
                "--debug=x",
                "invalid argument \"x\" for \"-d, --debug\" flag: strconv.ParseBool: parsing \"x\": invalid syntax",
            ),
            (
                "--endpoints a\"b",
                "invalid argument \"a\\\"b\" for \"--endpoints\" flag: parse error on line 1, column 2: bare \" in non-quoted-field",
            ),
            (
                "--endpoints \"a",
                "invalid argument \"\\\"a\" for \"--endpoints\" flag: parse error on line 1, column 3: extraneous or missing \" in quoted-field",
            ),
            (
                "--endpoints \"a\"b",
                "invalid argument \"\\\"a\\\"b\" for \"--endpoints\" flag: parse error on line 1, column 3: extraneous or missing \" in quoted-field",
            ),
            ("--help --bogus", "unknown flag: --bogus"),
            ("get -h", "help requested"),
        ] {
            assert_eq!(run(line).map(|_| ()), Err(words.to_owned()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_command_line_panics(args in prop::collection::vec("(-{0,3})(endpoints|w|dx|timeout)?=?.{0,3}", 0..5)) {
            let _ = parse(&mut Settings::new(GROUPS), &args);
        }
    }
}
