//! The lines of a transaction: comparisons, and operations in the syntax of their commands.
//!
//! Comparisons follow Go's `Sscanf` with the format `%q) %s %q` after the opening parenthesis.
//! Where etcdctl panics or hangs (an operator that does not exist, comparing leases, asking for
//! help) the line is refused instead.

use std::io::{Read, Write as _};

use bytes::Bytes;
use tenet_cli::flag::Group;
use tenet_cli::posix_flags;
use tenet_cli::print::number::parse_int;
use tenet_cli::print::quote::{quoted, unquoted};
use tenet_cli::settings::Settings;
use tenet_proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use tenet_proto::etcdserverpb::request_op::Request;
use tenet_proto::etcdserverpb::{Compare, RequestOp};

use crate::commands::{del, get, put};
use crate::failure::{Exit, Failure};
use crate::help;
use crate::tree::Command;

fn invalid(text: String) -> Failure {
    Failure::new(Exit::InvalidInput, text)
}

/// Reads `target("key") operator "value"`.
pub(super) fn comparison(line: &str) -> Result<Compare, Failure> {
    let Some((target, rest)) = line.split_once('(') else {
        return Err(invalid(format!("malformed comparison: {line}")));
    };
    let scan = Scan::of(rest);
    let Some(value) = &scan.value else {
        return Err(invalid(format!(
            "malformed comparison: {line}; got {target}({}) {} {}",
            quoted(&scan.key),
            scan.operator,
            quoted(b""),
        )));
    };
    let number = || {
        let value = String::from_utf8_lossy(value);
        parse_int(&value, 10).map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number()?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number()?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number()?)),
        "val" | "value" => (
            CompareTarget::Value,
            TargetUnion::Value(Bytes::copy_from_slice(value)),
        ),
        // etcdctl knows this target, and panics at every value.
        "lease" => {
            let text = format!("malformed comparison: {line} (leases cannot be compared)");
            return Err(invalid(text));
        }
        target => {
            let text = format!("malformed comparison: {line} (unknown target {target})");
            return Err(invalid(text));
        }
    };
    let result = match &scan.operator[..] {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        operator => {
            let text = format!("malformed comparison: {line} (unknown operator {operator})");
            return Err(invalid(text));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: scan.key.into(),
        target_union: Some(union),
        ..Default::default()
    })
}

/// What a scan of `%q) %s %q` found before it ended.
#[derive(Default)]
struct Scan {
    key: Vec<u8>,
    operator: String,
    value: Option<Vec<u8>>,
}

impl Scan {
    fn of(text: &str) -> Scan {
        let mut scan = Scan::default();
        // How far it got is all that matters.
        let _ = scan.fill(text);
        scan
    }

    fn fill(&mut self, text: &str) -> Option<()> {
        let (key, rest) = quoted_string(text)?;
        self.key = key;
        let rest = rest.strip_prefix(')')?;
        let blank = rest.starts_with(char::is_whitespace) || rest.is_empty();
        let rest = blank.then_some(rest)?.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (operator, rest) = rest.split_at(end);
        if operator.is_empty() {
            return None;
        }
        operator.clone_into(&mut self.operator);
        let (value, _) = quoted_string(rest)?;
        self.value = Some(value);
        Some(())
    }
}

/// A string in double quotes or, without escapes, in back quotes, after any blanks; and the rest.
fn quoted_string(text: &str) -> Option<(Vec<u8>, &str)> {
    let text = text.trim_start();
    if let Some(raw) = text.strip_prefix('`') {
        let (raw, rest) = raw.split_once('`')?;
        return Some((raw.as_bytes().to_vec(), rest));
    }
    let end = closing_quote(text)?;
    Some((unquoted(&text[..=end])?, &text[end + 1..]))
}

/// The place of the quote that closes the one at the start. A character after a backslash does not.
fn closing_quote(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    chars.next().filter(|(_, first)| *first == '"')?;
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(at),
            '\\' => {
                chars.next()?;
            }
            _ => {}
        }
    }
    None
}

/// Reads a `get`, `put` or `del` with its flags. A put without a value takes it from `stdin`.
pub(super) fn operation(line: &str, stdin: &mut impl Read) -> Result<RequestOp, Failure> {
    let words = words(line)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let request = || invalid(format!("invalid txn request: {line}"));
    let texts: Vec<String> = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let (name, texts) = texts.split_first().ok_or_else(request)?;
    let commands = [&get::COMMAND, &put::COMMAND, &del::COMMAND];
    let command = commands
        .into_iter()
        .find(|command| command.name.starts_with(&name[..]));
    let command = command.filter(|_| !name.is_empty()).ok_or_else(|| {
        if name.starts_with('-') {
            show_usage(&commands);
        }
        request()
    })?;
    let mut settings = Settings::new(&[Group {
        title: "",
        flags: command.flags,
    }]);
    let positionals = posix_flags::parse(&mut settings, texts).map_err(|_| {
        show_usage(&[command]);
        request()
    })?;
    let args: Vec<Vec<u8>> = positionals
        .places
        .iter()
        .map(|place| words[place + 1].clone())
        .collect();
    let request = match command.name {
        "get" => Request::RequestRange(get::request(&settings, &args)?),
        "put" => Request::RequestPut(put::request(&settings, &args, stdin)?),
        _ => Request::RequestDeleteRange(del::request(&settings, &args)?),
    };
    Ok(RequestOp {
        request: Some(request),
    })
}

/// A flag that is wrong calls for the flags that are right.
fn show_usage(commands: &[&Command]) {
    let mut text = String::from("Usage:\n");
    for command in commands {
        text.push_str(&format!("  {} {}\n", command.name, command.usage));
    }
    if let [command] = commands {
        text.push_str(&format!("\nFlags:\n{}", help::list_flags(command.flags)));
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Splits a line into words: in double quotes with Go's escapes, in single quotes as they are, or
/// bare up to the next blank.
pub(crate) fn words(line: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' => closing_quote(rest).map(|end| end + 1),
            '\'' => rest[1..].find('\'').map(|end| end + 2),
            c if is_blank(c) => None,
            _ => Some(rest.find(is_blank).unwrap_or(rest.len())),
        };
        // A blank, or a quote that nothing closes: passed over.
        let Some(end) = end else {
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (word, after) = rest.split_at(end);
        words.push(match first {
            '"' => unquoted(word).ok_or_else(|| invalid("invalid syntax".to_owned()))?,
            '\'' => word.as_bytes()[1..word.len() - 1].to_vec(),
            _ => word.as_bytes().to_vec(),
        });
        rest = after;
    }
    Ok(words)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_name_target_key_operator_and_value() {
        let parsed = comparison(r#"val("a\x00b") != "c d" and more"#).unwrap();
        assert_eq!(parsed.key, &b"a\0b"[..]);
        assert_eq!(parsed.result, i32::from(CompareResult::NotEqual));
        assert_eq!(parsed.target_union, Some(TargetUnion::Value("c d".into())));
        let parsed = comparison("c(`k`)  <  \"-7\"").unwrap();
        assert_eq!(parsed.target_union, Some(TargetUnion::CreateRevision(-7)));
    }

    #[test]
    fn malformed_comparisons_say_how_far_they_were_understood() {
        for (line, text) in [
            ("mod", "malformed comparison: mod"),
            (
                r#"mod(k) > "1""#,
                r#"malformed comparison: mod(k) > "1"; got mod("")  """#,
            ),
            (
                r#"mod("k")>"1""#,
                r#"malformed comparison: mod("k")>"1"; got mod("k")  """#,
            ),
            (
                r#"mod("k") > 1"#,
                r#"malformed comparison: mod("k") > 1; got mod("k") > """#,
            ),
            (
                r#"foo("k") > "1""#,
                r#"malformed comparison: foo("k") > "1" (unknown target foo)"#,
            ),
            (
                r#"mod("k") > "x""#,
                r#"invalid txn compare request: mod("k") > "x""#,
            ),
        ] {
            assert_eq!(comparison(line), Err(invalid(text.to_owned())), "{line}");
        }
        assert!(comparison(r#"mod("k") ~ "1""#).is_err());
        assert!(comparison(r#"lease("k") = "1""#).is_err());
    }

    #[test]
    fn words_are_quoted_or_bare() {
        let split = |line: &str| {
            let words = words(line).unwrap();
            words
                .iter()
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            split(r#"put a "b \"c\" \n" 'd"e' f'g h"#),
            ["put", "a", "b \"c\" \n", "d\"e", "f'g", "h"]
        );
        assert_eq!(split(r#"put "a"b 'c"#), ["put", "a", "b", "c"]);
        assert!(words(r#"put "\q""#).is_err());
    }

    #[test]
    fn operations_take_the_flags_of_their_commands() {
        let read = |line: &str| operation(line, &mut std::io::empty());
        let Some(Request::RequestRange(get)) = read("get --prefix k --limit 3").unwrap().request
        else {
            panic!("not a get")
        };
        assert_eq!(
            (&get.key[..], &get.range_end[..], get.limit),
            (&b"k"[..], &b"l"[..], 3)
        );
        let Some(Request::RequestPut(put)) = read(r#"p "\xff" --prev-kv v"#).unwrap().request
        else {
            panic!("not a put")
        };
        assert_eq!((&put.key[..], put.prev_kv), (&b"\xff"[..], true));
        for line in ["put k", "get k --prefix --from-key"] {
            assert_eq!(read(line).unwrap_err().exit, Exit::BadArgs, "{line}");
        }
        for line in ["get", "watch k", "get --bogus k", "get k -h"] {
            assert_eq!(read(line).unwrap_err().exit, Exit::InvalidInput, "{line}");
        }
    }
}
