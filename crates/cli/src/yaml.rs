//! A YAML document as plain data, with scalars resolved as Go's YAML 1.1 library does: `yes` and
//! `on` are booleans, `010` and `0x10` numbers, `<<` merges. JSON is a subset.
//!
//! Invariant: whatever the text, at most [`limits::CONFIG_FILE_VALUES_MAX`] values are built, no
//! deeper than [`limits::CONFIG_FILE_DEPTH_MAX`]; beyond that it is refused.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use tenet_base::limits;
use thiserror::Error;

use crate::go::number;

/// A value of the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, `yes`, `on` and so on.
    Bool(bool),
    /// A whole number of 64 bits, signed or not.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Everything else.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the document. A key given twice is here twice.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What the value is, in the words of Go's JSON errors.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Float(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) => "array",
            Self::Map(_) => "object",
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::List(nodes) => 1 + nodes.iter().map(Self::count).sum::<usize>(),
            Self::Map(pairs) => 1 + pairs.iter().map(|(_, node)| node.count()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// Why a text is no document.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum YamlError {
    /// Against the grammar.
    #[error("line {line}: {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// More than the limits allow.
    #[error("the document has more than {0} values, or lists and maps more than {1} deep")]
    TooLarge(usize, usize),
}

/// Reads the first document of a text. An empty text is [`Node::Null`].
///
/// # Errors
/// If the text is not YAML, or larger than the limits.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    if let Some(line) = indenting_tab(text) {
        let reason = "a tab indents; YAML takes blanks only".to_owned();
        return Err(YamlError::Syntax { line, reason });
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| YamlError::Syntax {
            line: error.marker().line(),
            reason: error.info().to_owned(),
        })?;
        if event == Event::DocumentEnd {
            break;
        }
        let syntax = |reason| YamlError::Syntax {
            line: span.start.line(),
            reason,
        };
        builder.take(event).map_err(|failure| match failure {
            Failure::TooLarge => YamlError::TooLarge(
                limits::CONFIG_FILE_VALUES_MAX,
                limits::CONFIG_FILE_DEPTH_MAX,
            ),
            Failure::Syntax(reason) => syntax(reason),
        })?;
    }
    Ok(builder.root.unwrap_or(Node::Null))
}

/// The first line that a tab indents, which the grammar forbids outside brackets and the parser
/// would let pass. Documents that are JSON as a whole may use tabs.
fn indenting_tab(text: &str) -> Option<usize> {
    if text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let indented =
        |line: &str| line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty();
    text.lines().position(indented).map(|at| at + 1)
}

enum Failure {
    TooLarge,
    Syntax(String),
}

/// A list or map that is not complete yet.
struct Open {
    node: Node,
    /// The key whose value comes next, in a map.
    key: Option<String>,
    anchor: usize,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    values: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), Failure> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = resolve(&text, style, tag.as_deref());
                self.complete(node, anchor, 1)
            }
            Event::Alias(id) => {
                let anchored = self.anchors.iter().rfind(|(anchor, _)| *anchor == id);
                let Some((_, node)) = anchored.cloned() else {
                    return Err(Failure::Syntax(
                        "an anchor refers to what contains it".to_owned(),
                    ));
                };
                let values = node.count();
                self.complete(node, 0, values)
            }
            Event::SequenceStart(anchor, _) => self.start(Node::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.start(Node::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.complete(merged(open.node), open.anchor, 1),
                None => Ok(()),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, node: Node, anchor: usize) -> Result<(), Failure> {
        if self.open.len() >= limits::CONFIG_FILE_DEPTH_MAX {
            return Err(Failure::TooLarge);
        }
        self.open.push(Open {
            node,
            key: None,
            anchor,
        });
        Ok(())
    }

    /// Puts a complete value where it belongs. It adds `values` to the count: itself, and what is
    /// inside if an alias brought it.
    fn complete(&mut self, node: Node, anchor: usize, values: usize) -> Result<(), Failure> {
        self.values += values;
        if self.values > limits::CONFIG_FILE_VALUES_MAX {
            return Err(Failure::TooLarge);
        }
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node, open.key.take()) {
            (Node::List(list), _) => list.push(node),
            (Node::Map(map), Some(key)) => map.push((key, node)),
            (_, _) => open.key = Some(key_text(node)?),
        }
        Ok(())
    }
}

/// The text of a key, which need not be text in YAML.
fn key_text(node: Node) -> Result<String, Failure> {
    match node {
        Node::Text(text) => Ok(text),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Int(value) => Ok(value.to_string()),
        Node::Float(value) => Ok(value.to_string()),
        Node::Null => Ok("null".to_owned()),
        Node::List(_) | Node::Map(_) => {
            Err(Failure::Syntax("a list or map cannot be a key".to_owned()))
        }
    }
}

/// A map with the pairs of the maps under `<<`, unless it has the key itself.
fn merged(node: Node) -> Node {
    let Node::Map(pairs) = node else { return node };
    let (merges, mut own): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(key, _)| key == "<<");
    let sources = merges.into_iter().flat_map(|(_, node)| match node {
        Node::List(nodes) => nodes,
        node => vec![node],
    });
    for (key, value) in sources.flat_map(|node| match node {
        Node::Map(pairs) => pairs,
        _ => Vec::new(),
    }) {
        if own.iter().all(|(present, _)| *present != key) {
            own.push((key, value));
        }
    }
    Node::Map(own)
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Node {
    let is_text = tag.is_some_and(|tag| !tag.is_yaml_core_schema() || tag.suffix == "str");
    if is_text || style != ScalarStyle::Plain && tag.is_none() {
        return Node::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Node::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Node::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Node::Text(text.to_owned());
    }
    let plain = text.replace('_', "");
    if let Ok(value) = number::parse_int(&plain) {
        return Node::Int(value.into());
    }
    if let Ok(value) = number::parse_uint(&plain, 64) {
        return Node::Int(value.into());
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() && is_float(&plain) => Node::Float(value),
        _ => Node::Text(text.to_owned()),
    }
}

/// Digits with at most one point and an exponent, which Rust reads as Go does.
fn is_float(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Node {
        match parse(&format!("k: {text}")) {
            Ok(Node::Map(mut pairs)) if pairs.len() == 1 => pairs.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn scalars_are_resolved_as_go_does() {
        assert_eq!(value("yes"), Node::Bool(true));
        assert_eq!(value("Off"), Node::Bool(false));
        assert_eq!(value("'yes'"), text("yes"));
        assert_eq!(value("!!str yes"), text("yes"));
        assert_eq!(value("\"\""), text(""));
        assert_eq!(value(""), Node::Null);
        assert_eq!(value("~"), Node::Null);
        assert_eq!(value("010"), Node::Int(8));
        assert_eq!(value("0x10"), Node::Int(16));
        assert_eq!(value("1_000"), Node::Int(1000));
        assert_eq!(value("-5"), Node::Int(-5));
        assert_eq!(
            value("18446744073709551615"),
            Node::Int(18_446_744_073_709_551_615)
        );
        assert_eq!(value("1e2"), Node::Float(100.0));
        assert_eq!(value("1.5"), Node::Float(1.5));
        assert_eq!(value("10m"), text("10m"));
        assert_eq!(value("2001-01-01"), text("2001-01-01"));
        assert_eq!(
            value("http://127.0.0.1:2379"),
            text("http://127.0.0.1:2379")
        );
        assert_eq!(value(".inf"), text(".inf"));
    }

    #[test]
    fn json_is_read_too() {
        let json = "{\n\t\"a\": [1, \"x\", true, null],\n\t\"b\": {\"c\": \"\\u00fc\"}\n}";
        let list = Node::List(vec![Node::Int(1), text("x"), Node::Bool(true), Node::Null]);
        let inner = Node::Map(vec![("c".to_owned(), text("ü"))]);
        assert_eq!(
            parse(json),
            Ok(Node::Map(vec![
                ("a".to_owned(), list),
                ("b".to_owned(), inner)
            ]))
        );
    }

    #[test]
    fn aliases_and_merges_are_put_in_place() {
        let parsed = parse("base: &b {p: 1, q: 2}\nmore: {<<: *b, q: 3}\nalso: *b");
        let Ok(Node::Map(pairs)) = parsed else {
            panic!("{parsed:?}")
        };
        let more = vec![
            ("q".to_owned(), Node::Int(3)),
            ("p".to_owned(), Node::Int(1)),
        ];
        assert_eq!(pairs[1].1, Node::Map(more));
        assert_eq!(pairs[2].1, pairs[0].1);
    }

    #[test]
    fn only_the_first_document_counts() {
        assert_eq!(parse("1\n---\n2"), Ok(Node::Int(1)));
        assert_eq!(parse(""), Ok(Node::Null));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("a: 1\nb: c: d", "line 2: "),
            ("{", "line "),
            ("a: *x", "line 1: "),
            ("[a]: 1", "line 1: "),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }

    #[test]
    fn a_laughing_document_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let before = format!("*a{}, ", n - 1).repeat(10);
            text.push_str(&format!("a{n}: &a{n} [{before}]\n"));
        }
        assert!(matches!(parse(&text), Err(YamlError::TooLarge(..))));
        let deep = |depth: usize| parse(&("[".repeat(depth) + &"]".repeat(depth)));
        assert!(matches!(
            deep(limits::CONFIG_FILE_DEPTH_MAX),
            Ok(Node::List(_))
        ));
        assert!(matches!(
            deep(limits::CONFIG_FILE_DEPTH_MAX + 1),
            Err(YamlError::TooLarge(..))
        ));
        assert!(deep(100_000).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(any in ".*", marks in "[-:\\[\\]{},&*!|>'\"#%@ a0\n\t]*") {
            let _ = parse(&any);
            let _ = parse(&marks);
        }
    }
}
