//! The configuration file: values of flags by their keys.
//!
//! As in etcd the file is decoded by type, not by the rules of the command line: durations are
//! whole nanoseconds, URL lists one text, a choice is not checked here. Keys match whatever their
//! case, keys that no flag has are passed over and reported.

use crate::flag::{FileKey, Flag, Kind};
use crate::go::GoDuration;
use crate::settings::{Settings, Source};
use crate::value::Value;
use crate::yaml::Node;

/// What a file gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Texts of flags that are more than a text on the command line, with the declarations; the
    /// program decides what is valid.
    pub texts: Vec<(&'static str, String)>,
    /// Paths of keys that no flag has.
    pub unknown: Vec<String>,
}

/// A value of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What was found, in the words of Go's JSON errors.
    pub found: String,
    /// The path of keys, joined by dots; empty for the document itself.
    pub path: String,
    /// The Go type that was expected; empty for a section.
    pub expected: &'static str,
}

/// Takes a document into the settings. Of several mismatches the first by key is reported.
///
/// # Errors
/// If a value has the wrong type. The settings are then half filled and of no use.
pub fn apply(settings: &mut Settings, document: &Node) -> Result<Decoded, Mismatch> {
    let flags: Vec<(&'static Flag, FileKey)> = settings
        .iter()
        .filter_map(|setting| Some((setting.flag, setting.flag.file?)))
        .collect();
    let mut decoder = Decoder {
        settings,
        flags,
        decoded: Decoded::default(),
    };
    decoder.section("", document)?;
    Ok(decoder.decoded)
}

struct Decoder<'a> {
    settings: &'a mut Settings,
    flags: Vec<(&'static Flag, FileKey)>,
    decoded: Decoded,
}

impl Decoder<'_> {
    fn section(&mut self, path: &str, node: &Node) -> Result<(), Mismatch> {
        let pairs = match node {
            Node::Map(pairs) => pairs,
            Node::Null => return Ok(()),
            other => return Err(mismatch(other.word(), path, "")),
        };
        // The order of a JSON encoder, on the way through which etcd reads YAML. The sort is
        // stable, so the last of equal keys wins.
        let mut pairs: Vec<&(String, Node)> = pairs.iter().collect();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, node) in pairs {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.key(&path, node)?;
        }
        Ok(())
    }

    fn key(&mut self, path: &str, node: &Node) -> Result<(), Mismatch> {
        let equal = |key: &FileKey| key.path.eq_ignore_ascii_case(path);
        if let Some(&(flag, key)) = self.flags.iter().find(|(_, key)| equal(key)) {
            return self.value(flag, key, node);
        }
        let section = self.flags.iter().find_map(|(_, key)| {
            let (head, tail) = key.path.split_at_checked(path.len())?;
            (head.eq_ignore_ascii_case(path) && tail.starts_with('.')).then_some(head)
        });
        match section {
            Some(section) => self.section(section, node),
            None => {
                self.decoded.unknown.push(path.to_owned());
                Ok(())
            }
        }
    }

    fn value(&mut self, flag: &'static Flag, key: FileKey, node: &Node) -> Result<(), Mismatch> {
        if *node == Node::Null {
            return Ok(());
        }
        if key.list {
            let list = texts(key.path, node)?;
            self.settings.put(flag, Value::List(list), Source::File);
            return Ok(());
        }
        let expected = go_type(&flag.kind);
        let wrong = |found: &str| mismatch(found, key.path, expected);
        let value = match flag.kind {
            Kind::Bool | Kind::Ignored => match node {
                Node::Bool(value) => Value::Bool(*value),
                other => return Err(wrong(other.word())),
            },
            Kind::Int | Kind::Int64 => {
                let value =
                    whole(node).and_then(|value| fit(value, i64::MIN.into(), i64::MAX.into()));
                Value::Int(i64::try_from(value.map_err(|found| wrong(&found))?).unwrap_or_default())
            }
            Kind::Duration => {
                let value =
                    whole(node).and_then(|value| fit(value, i64::MIN.into(), i64::MAX.into()));
                let value =
                    i64::try_from(value.map_err(|found| wrong(&found))?).unwrap_or_default();
                Value::Duration(GoDuration(value))
            }
            Kind::Uint | Kind::Uint64 | Kind::Uint32 => {
                let max = if matches!(flag.kind, Kind::Uint32) {
                    u32::MAX.into()
                } else {
                    u64::MAX.into()
                };
                let value = whole(node).and_then(|value| fit(value, 0, max));
                Value::Uint(
                    u64::try_from(value.map_err(|found| wrong(&found))?).unwrap_or_default(),
                )
            }
            Kind::Text | Kind::Choice(_) => match node {
                Node::Text(text) => Value::Text(text.clone()),
                other => return Err(wrong(other.word())),
            },
            Kind::Choices(_) | Kind::List | Kind::Set | Kind::Urls { .. } | Kind::Custom(_) => {
                return match node {
                    Node::Text(text) => {
                        self.decoded.texts.push((flag.name, text.clone()));
                        Ok(())
                    }
                    other => Err(wrong(other.word())),
                };
            }
        };
        self.settings.put(flag, value, Source::File);
        Ok(())
    }
}

fn mismatch(found: &str, path: &str, expected: &'static str) -> Mismatch {
    Mismatch {
        found: found.to_owned(),
        path: path.to_owned(),
        expected,
    }
}

/// A number without fraction, or what stands there instead.
fn whole(node: &Node) -> Result<i128, String> {
    match node {
        Node::Int(value) => Ok(*value),
        #[allow(clippy::cast_possible_truncation)]
        Node::Float(value) if value.fract() == 0.0 && value.abs() < 1e21 => Ok(*value as i128),
        Node::Float(value) => Err(format!("number {value}")),
        other => Err(other.word().to_owned()),
    }
}

fn fit(value: i128, min: i128, max: i128) -> Result<i128, String> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(format!("number {value}"))
    }
}

fn texts(path: &str, node: &Node) -> Result<Vec<String>, Mismatch> {
    let Node::List(nodes) = node else {
        return Err(mismatch(node.word(), path, "[]string"));
    };
    let text = |node: &Node| match node {
        Node::Text(text) => Ok(text.clone()),
        Node::Null => Ok(String::new()),
        other => Err(mismatch(other.word(), path, "string")),
    };
    nodes.iter().map(text).collect()
}

/// The Go type that etcd decodes a value of this kind into.
fn go_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool | Kind::Ignored => "bool",
        Kind::Int => "int",
        Kind::Int64 => "int64",
        Kind::Uint => "uint",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Duration => "time.Duration",
        Kind::Text
        | Kind::Choice(_)
        | Kind::Choices(_)
        | Kind::List
        | Kind::Set
        | Kind::Urls { .. }
        | Kind::Custom(_) => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::Group;
    use crate::yaml;

    static NAME: Flag = Flag::new("name", Kind::Text, "default", "").in_file();
    static TICK: Flag = Flag::new("heartbeat-interval", Kind::Uint, "100", "").in_file();
    static STREAMS: Flag = Flag::new("max-streams", Kind::Uint32, "7", "").in_file();
    static QUOTA: Flag = Flag::new("quota", Kind::Int64, "0", "").in_file();
    static WAIT: Flag = Flag::new("wait", Kind::Duration, "5s", "").in_file();
    static REUSE: Flag =
        Flag::new("reuse-port", Kind::Bool, "false", "").file_key("socket-options.reuse-port");
    static OUT: Flag = Flag::new("log-outputs", Kind::Set, "default", "").file_list("log-outputs");
    static URLS: Flag = Flag::new("urls", Kind::Urls { also: &[] }, "http://a:1", "").in_file();
    static BARE: Flag = Flag::new("bare", Kind::Text, "", "");
    static GROUPS: &[Group] = &[Group {
        title: "All",
        flags: &[
            &NAME, &TICK, &STREAMS, &QUOTA, &WAIT, &REUSE, &OUT, &URLS, &BARE,
        ],
    }];

    fn run(text: &str) -> Result<(Settings, Decoded), Mismatch> {
        let mut settings = Settings::new(GROUPS);
        let decoded = apply(&mut settings, &yaml::parse(text).expect(text))?;
        Ok((settings, decoded))
    }

    #[test]
    fn values_are_taken_by_type() {
        let (settings, decoded) = run(
            "name: x\nheartbeat-interval: 0x10\nquota: -1\nwait: 7\nsocket-options: {reuse-port: yes}\n\
             log-outputs: [b, a]\nurls: http://b:1,http://a:1\nmax-streams: 1e2\n",
        )
        .expect("valid");
        assert_eq!(settings.text(&NAME), "x");
        assert_eq!((settings.uint(&TICK), settings.uint(&STREAMS)), (16, 100));
        assert_eq!(
            (settings.int(&QUOTA), settings.duration(&WAIT)),
            (-1, GoDuration(7))
        );
        assert!(settings.bool(&REUSE));
        assert_eq!(settings.list(&OUT), ["b", "a"]);
        assert_eq!(settings.get(&NAME).source, Source::File);
        assert_eq!(
            decoded.texts,
            [("urls", "http://b:1,http://a:1".to_owned())]
        );
    }

    #[test]
    fn absent_and_empty_values_leave_the_default() {
        let (settings, _) = run("name: ~\nsocket-options:\n").expect("valid");
        assert_eq!(
            (settings.text(&NAME), settings.is_given(&NAME)),
            ("default", false)
        );
        assert!(run("").is_ok());
    }

    #[test]
    fn keys_match_in_any_case_and_unknown_ones_are_reported() {
        let (settings, decoded) =
            run("Name: x\nfoo: 1\nsocket-options: {bar: 1}\nbare: x\n").expect("valid");
        assert_eq!(settings.text(&NAME), "x");
        assert_eq!(decoded.unknown, ["bare", "foo", "socket-options.bar"]);
    }

    #[test]
    fn the_first_mismatch_by_key_is_reported() {
        for (text, found, path, expected) in [
            ("wait: 10m\nname: 5", "number", "name", "string"),
            ("wait: 10m", "string", "wait", "time.Duration"),
            (
                "heartbeat-interval: -1",
                "number -1",
                "heartbeat-interval",
                "uint",
            ),
            (
                "heartbeat-interval: 1.5",
                "number 1.5",
                "heartbeat-interval",
                "uint",
            ),
            (
                "max-streams: 4294967296",
                "number 4294967296",
                "max-streams",
                "uint32",
            ),
            (
                "quota: 9223372036854775808",
                "number 9223372036854775808",
                "quota",
                "int64",
            ),
            ("socket-options: 5", "number", "socket-options", ""),
            (
                "socket-options: {reuse-port: 1}",
                "number",
                "socket-options.reuse-port",
                "bool",
            ),
            ("log-outputs: x", "string", "log-outputs", "[]string"),
            ("log-outputs: [1]", "number", "log-outputs", "string"),
            ("urls: [http://a:1]", "array", "urls", "string"),
            ("- a", "array", "", ""),
        ] {
            assert_eq!(
                run(text).map(|_| ()),
                Err(mismatch(found, path, expected)),
                "{text}"
            );
        }
    }
}
