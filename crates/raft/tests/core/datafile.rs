//! Files of commands and their expected outputs, in the form of `cockroachdb/datadriven`:
//!
//! ```text
//! # a comment
//! command argument key=value key=(a,b)
//! input, any number of lines
//! ----
//! output, up to an empty line
//! ```
//!
//! Reading loses nothing: [`File::with_outputs`] of the expected outputs is the file itself, byte
//! for byte, so comparing outputs compares whole files.

/// A file, taken apart.
pub(crate) struct File {
    pub(crate) directives: Vec<Directive>,
    /// What follows the last output.
    tail: String,
}

/// One command with its expected output.
pub(crate) struct Directive {
    /// Where it stands, for messages.
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) args: Vec<Arg>,
    pub(crate) input: String,
    pub(crate) expected: String,
    /// Everything since the previous output, down to the separator.
    before: String,
}

/// `key`, `key=value` or `key=(value,value)`.
pub(crate) struct Arg {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

impl Directive {
    /// The arguments without values.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &str> {
        self.args
            .iter()
            .filter(|arg| arg.values.is_empty())
            .map(|arg| arg.key.as_str())
    }

    /// The values of `key`.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.args
            .iter()
            .find(|arg| arg.key == key)
            .map_or(&[], |arg| arg.values.as_slice())
    }

    /// The single value of `key`, if it is given.
    pub(crate) fn value<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        let value = self.values(key).first()?;
        match value.parse() {
            Ok(value) => Some(value),
            Err(_) => panic!("line {}: {key}={value} cannot be read", self.line),
        }
    }
}

impl File {
    pub(crate) fn parse(text: &str) -> File {
        let mut file = File {
            directives: Vec::new(),
            tail: String::new(),
        };
        let mut lines = text.split_inclusive('\n').enumerate().peekable();
        let mut before = String::new();
        while let Some((number, line)) = lines.next() {
            before += line;
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (command, args) = parse_command(content);
            let mut input = String::new();
            for (_, line) in lines.by_ref() {
                before += line;
                if line.trim_end() == "----" {
                    break;
                }
                input += line;
            }
            let mut expected = String::new();
            while let Some((_, line)) = lines.next_if(|(_, line)| !line.trim_end().is_empty()) {
                expected += line;
            }
            assert!(
                !expected.starts_with("----\n"),
                "outputs with empty lines are not supported"
            );
            let before = std::mem::take(&mut before);
            let line = number + 1;
            file.directives.push(Directive {
                line,
                command,
                args,
                input,
                expected,
                before,
            });
        }
        file.tail = before;
        file
    }

    /// The file with other outputs, one for each directive.
    pub(crate) fn with_outputs<'a>(&'a self, outputs: impl Iterator<Item = &'a str>) -> String {
        let mut text = String::new();
        for (directive, output) in self.directives.iter().zip(outputs) {
            text += &directive.before;
            text += output;
        }
        text + &self.tail
    }
}

fn parse_command(line: &str) -> (String, Vec<Arg>) {
    let mut words = Vec::new();
    let mut depth = 0;
    for piece in line.split(' ').filter(|piece| !piece.is_empty()) {
        // Values in parentheses may contain spaces.
        if depth > 0 {
            let last: &mut String = words.last_mut().expect("inside of parentheses");
            last.push_str(piece);
        } else {
            words.push(piece.to_owned());
        }
        depth += piece.matches('(').count();
        depth -= piece.matches(')').count();
    }
    let mut words = words.into_iter();
    let command = words.next().expect("the line is not empty");
    let args = words.map(|word| match word.split_once('=') {
        None => Arg {
            key: word,
            values: Vec::new(),
        },
        Some((key, value)) => {
            let list = value
                .strip_prefix('(')
                .and_then(|value| value.strip_suffix(')'));
            let values = list
                .unwrap_or(value)
                .split(',')
                .map(|v| v.trim().to_owned())
                .collect();
            Arg {
                key: key.to_owned(),
                values,
            }
        }
    });
    (command, args.collect())
}

#[test]
fn reading_loses_nothing() {
    let text = "\n# why\ncmd 1 a=b c=(1, 2)\nin\n----\nout\n  more\n\n\ncmd\n----\n\n# end\n";
    let file = File::parse(text);
    let expected = file
        .directives
        .iter()
        .map(|directive| directive.expected.as_str());
    assert_eq!(file.with_outputs(expected), text);
    let [first, second] = file.directives.as_slice() else {
        panic!("two commands")
    };
    assert_eq!(
        (first.command.as_str(), first.input.as_str()),
        ("cmd", "in\n")
    );
    assert_eq!(first.values("c"), ["1", "2"]);
    assert_eq!(first.plain().collect::<Vec<_>>(), ["1"]);
    assert_eq!(first.expected, "out\n  more\n");
    assert_eq!((second.line, second.expected.as_str()), (10, ""));
}
