//! What is seen of a run, without the differences that cannot be avoided. Each is named here, with
//! its reason; nothing else is touched.

use std::process::Output;

use super::cases::{Case, Loose};

/// What differs between servers, by the name that cases use for it.
pub(crate) type Places = Vec<(&'static str, String)>;

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) exit: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A run as it is compared.
pub(crate) fn seen(case: &Case, output: &Output, places: &Places) -> Seen {
    let text = |bytes: &[u8]| {
        let mut text = visible(bytes);
        text = name_places(text, places);
        text = log_lines(&text);
        text = unmarshalled(&text);
        if case.loose.contains(&Loose::Took) {
            text = durations(&text);
        }
        if case.loose.contains(&Loose::Ids) {
            text = ids(&text);
        }
        if case.loose.contains(&Loose::Left) {
            text = left(&text);
        }
        if case.loose.contains(&Loose::Measured) {
            text = measured(&text);
        }
        if case.loose.contains(&Loose::Sizes) {
            text = sizes(&text);
        }
        if case.loose.contains(&Loose::Sorted) {
            text = sorted(&text);
        }
        if case.loose.contains(&Loose::Blanks) {
            text = blanks(&text);
        }
        text
    };
    let mut stdout = text(&output.stdout);
    let mut stderr = text(&output.stderr);
    // Help is in words of our own: that there is some is all that must be equal.
    if case.loose.contains(&Loose::Help) && !stdout.is_empty() {
        stdout = "some help".to_owned();
    }
    // So is the use of a command after a mistake on the command line.
    if let Some((before, after)) = stderr.split_once("Usage:\n") {
        let error = after.find("\nError: ").map_or("", |at| &after[at..]);
        stderr = format!("{before}Usage:{error}");
    }
    Seen {
        exit: output.status.to_string(),
        stdout,
        stderr,
    }
}

/// Bytes that are no text are shown, not lost.
fn visible(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("<{byte:02x}>"));
        }
    }
    text
}

/// Each of the two programs has a server of its own.
fn name_places(mut text: String, places: &Places) -> String {
    for (place, value) in places {
        // Of the same length, since tables are as wide as their cells.
        text = text.replace(
            value.as_str(),
            &format!("{place:*<width$}", width = value.len()),
        );
    }
    text
}

/// Log lines name a time, a place in the source of the program that writes them, an address in its
/// memory and a port that the system chose. The name server that could not resolve a host is known
/// to Go's resolver only. A fatal line of etcdctl has its stack.
fn log_lines(text: &str) -> String {
    let mut lines = String::new();
    for line in text.split_inclusive('\n') {
        if !line.starts_with("{\"level\":") {
            lines.push_str(line);
            continue;
        }
        let mut line = line.to_owned();
        line = between(&line, "\"ts\":\"", "\"", "TIME");
        line = between(&line, "\"caller\":\"", "\"", "SOURCE");
        line = between(&line, "etcd-endpoints://0x", "/", "ADDRESS");
        line = between(&line, "LocalAddr: '127.0.0.1:", "'", "PORT");
        line = between(&line, " on ", ": no such host", "SERVER");
        line = line.replace(" on SERVER: no such host", ": no such host");
        if let Some((before, _)) = line.split_once(",\"stacktrace\":") {
            line = format!("{before}}}\n");
        }
        lines.push_str(&line);
    }
    lines
}

/// What etcdctl cannot show as protobuf it sometimes refuses with the answer as Go prints it, memory
/// addresses included.
fn unmarshalled(text: &str) -> String {
    let text = between(text, "marshal unsupported for type ", "\n", "TYPE");
    text.replace(
        "marshal unsupported for type TYPE",
        "protobuf not supported as output format",
    )
}

/// Replaces what stands between two marks, everywhere.
fn between(text: &str, before: &str, after: &str, with: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(before).map(|at| at + before.len()) {
        let Some(length) = rest[start..].find(after) else {
            break;
        };
        replaced.push_str(&rest[..start]);
        replaced.push_str(with);
        rest = &rest[start + length..];
    }
    replaced.push_str(rest);
    replaced
}

/// Durations that were measured. A table is as wide as they are long, so rules and padding shrink.
fn durations(text: &str) -> String {
    let is_duration = |word: &str| {
        let number = word.trim_end_matches(['µ', 'm', 's', 'n']);
        number.len() < word.len()
            && number.starts_with(|c: char| c.is_ascii_digit())
            && number.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let mut replaced = String::new();
    let separator = |c: char| " \n\",()".contains(c);
    for part in text.split_inclusive(separator) {
        let word = part.trim_end_matches(separator);
        let bare = word.trim_end_matches('.');
        if is_duration(bare) {
            replaced.push_str("DURATION");
            replaced.push_str(&part[bare.len()..]);
        } else {
            replaced.push_str(part);
        }
    }
    if text.contains('│') {
        blanks(&replaced)
    } else {
        replaced
    }
}

/// How large a database file is depends on when its pages were written. A size of zero is left out
/// of JSON.
fn sizes(text: &str) -> String {
    let mut text = between(text, "\"DBSize\" : ", "\n", "SIZE");
    text = between(&text, "\"DBSizeInUse\" : ", "\n", "SIZE");
    for name in ["dbSize", "dbSizeInUse"] {
        text = between(&text, &format!("\"{name}\":"), ",", "");
        text = text.replace(&format!("\"{name}\":,"), "");
    }
    let mut replaced = String::new();
    for line in text.split_inclusive('\n') {
        let separator = if line.contains('│') { "│" } else { ", " };
        let mut cells: Vec<&str> = line.split(separator).collect();
        let first = usize::from(separator == "│");
        if cells.len() >= 16 {
            for cell in &mut cells[first + 4..first + 7] {
                let is_size = |cell: &str| cell.ends_with('B') || cell.ends_with('%');
                if cell.trim().starts_with(|c: char| c.is_ascii_digit()) && is_size(cell.trim()) {
                    *cell = "SIZE";
                }
            }
        }
        replaced.push_str(&cells.join(separator));
    }
    if text.contains('│') {
        blanks(&replaced)
    } else {
        replaced
    }
}

/// Endpoints are asked at the same time and shown as they answer.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.concat()
}

/// Go prints one or two blanks between the fields of a message, by the build of the binary.
fn blanks(text: &str) -> String {
    let mut replaced = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if !(c == before && (c == ' ' || c == '─')) {
            replaced.push(c);
        }
        before = c;
    }
    replaced
}

/// Ids that a server chose: long numbers, hexadecimal or decimal, also within keys in base64.
fn ids(text: &str) -> String {
    let mut text = between(text, "\"key\":\"", "\"", "KEY");
    // A digit of a key that is shown in hexadecimal.
    while let Some(at) = text.find("\\x") {
        let code = text
            .get(at + 2..at + 4)
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        let shown = code.map_or("?".to_owned(), |code| format!("{}", char::from(code)));
        text.replace_range(at..(at + 4).min(text.len()), &shown);
    }
    let mut replaced = String::new();
    let mut digits = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        if c.is_ascii_digit() || ('a'..='f').contains(&c) {
            digits.push(c);
            continue;
        }
        replaced.push_str(if digits.len() >= 14 { "ID" } else { &digits });
        digits.clear();
        replaced.push(c);
    }
    replaced.truncate(replaced.len() - 1);
    replaced
}

/// Seconds go by between granting a lease and looking at it.
fn left(text: &str) -> String {
    let mut text = text.to_owned();
    for left in 99_900..100_000 {
        text = text.replace(&left.to_string(), "LEFT");
    }
    text
}

/// Figures of a measurement; etcdctl's progress bar, which ours has not, is cut off.
fn measured(text: &str) -> String {
    let mut replaced = String::new();
    for line in text.split_inclusive('\n') {
        let line = line.rsplit("p/s").next().unwrap_or(line);
        let words = line.split_inclusive(' ').map(|word| {
            let bare = word.trim_end_matches(['s', ' ', '\n']);
            let is_figure = bare.contains('.') && bare.parse::<f64>().is_ok();
            if is_figure { "FIGURE " } else { word }
        });
        replaced.extend(words);
    }
    replaced
}
