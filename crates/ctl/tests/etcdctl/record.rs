//! What etcdctl said, kept in files: lines that need no server, and answers of a server in every
//! format. Written by `record` (see the head of this test), checked without etcdctl.

use std::fmt::Write as _;
use std::path::Path;

use tenet_cli::print::quote::quoted;
use tenet_proto::etcdserverpb::AlarmType;

use crate::Real;
use crate::cases::{Case, case_of, line};
use crate::normal::{self, Places, Seen};
use crate::run::{Surroundings, run};
use crate::servers::Server;

const LINES: &str = include_str!("../recorded/lines.txt");

/// Nobody listens here, and nobody is asked.
const NOWHERE: &str = "127.0.0.1:1";

fn offline(case: &Case, program: &Path, folder: &Path) -> Result<Seen, String> {
    let places = Places::new();
    let surroundings = Surroundings {
        folder,
        endpoint: NOWHERE,
        places: &places,
        server: None,
    };
    run(case, program, &surroundings).map(|output| normal::seen(case, &output, &places))
}

/// A recorded line: the case, then exit code, standard output and standard error.
fn format_line(case: &Case, seen: &Seen) -> String {
    let text = |text: &str| quoted(text.as_bytes());
    format!(
        "{}\t{}\t{}\t{}",
        case.line,
        seen.exit,
        text(&seen.stdout),
        text(&seen.stderr)
    )
}

/// Runs the lines that were recorded.
pub(crate) fn check_lines(ours: &Path, folder: &Path) -> Result<(), String> {
    let mut recorded = LINES.lines().filter(|line| !line.starts_with('#'));
    let cases = line::offline();
    let mut unequal = 0;
    for case in &cases {
        let expected = recorded
            .next()
            .ok_or("fewer lines are recorded than there are; record")?;
        let found = format_line(case, &offline(case, ours, folder)?);
        if found != expected {
            unequal += 1;
            println!("--- recorded: {expected}\n    found:    {found}");
        }
    }
    println!("{} recorded lines, {unequal} not equal", cases.len());
    match (unequal, recorded.next()) {
        (0, None) => Ok(()),
        (0, Some(line)) => Err(format!("recorded, and no case any more: {line}")),
        _ => Err("ours is not what etcdctl was".to_owned()),
    }
}

/// Requests whose answers are recorded. Each format gets a server of its own, so that all of them
/// show the same answers.
const REQUESTS: &[&str] = &[
    "put a 1",
    "put a 2 --prev-kv",
    "put b $'\\xff\\x01\\n\\t\"q\"' --prev-kv",
    "put 'ünïcödé <&>' '日本語 😀' --prev-kv",
    "put a '' --prev-kv",
    "get a",
    "get b",
    "get nothing",
    "get '' --prefix",
    "get '' --prefix --keys-only",
    "get '' --prefix --limit 2",
    "get '' --prefix --stream",
    "txn",
    "del a --prev-kv",
    "del nothing",
    "del '' --prefix --prev-kv",
    "member list",
    "alarm list",
    "alarm disarm",
];

const TXN: &str = "value(\"a\") = \"\"\n\nput a 3 --prev-kv\nget a\nget nothing\n\
                   del b --prev-kv\n\nget a\n\n";

/// The formats that are recorded, after the message itself.
const FORMATS: &[&str] = &[
    "simple",
    "simple --hex",
    "fields",
    "fields --hex",
    "json",
    "json --hex",
    "table",
];

/// Writes both files anew.
pub(crate) fn write(real: &Real) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut lines = String::from(
        "# What etcdctl 3.7.1 says to lines that need no server: line, exit, output, errors.\n",
    );
    for case in line::offline() {
        let seen = offline(&case, &real.etcdctl, folder.path())?;
        let _ = writeln!(lines, "{}", format_line(&case, &seen));
    }
    let mut answers = String::from(
        "# Answers of etcd 3.7.1 as etcdctl prints them: request, message in hexadecimal, then a\n\
         # line for each format.\n",
    );
    let messages = answers_in(real, folder.path(), "protobuf")?;
    let shown: Vec<Vec<Vec<u8>>> = FORMATS
        .iter()
        .map(|format| answers_in(real, folder.path(), format))
        .collect::<Result<_, _>>()?;
    for (at, request) in REQUESTS.iter().enumerate() {
        let _ = writeln!(answers, "{request}\t{}", hex(&messages[at]));
        for (format, shown) in FORMATS.iter().zip(&shown) {
            let _ = writeln!(answers, "\t{format}\t{}", quoted(&shown[at]));
        }
    }
    std::fs::write(recorded.join("lines.txt"), lines).map_err(|error| error.to_string())?;
    std::fs::write(recorded.join("answers.txt"), answers).map_err(|error| error.to_string())
}

fn answers_in(real: &Real, folder: &Path, format: &str) -> Result<Vec<Vec<u8>>, String> {
    let server = Server::start(&real.server, folder.join(format.replace(' ', "")))?;
    let places = server.places();
    let endpoint = server.endpoint();
    let surroundings = Surroundings {
        folder: server.folder(),
        endpoint: &endpoint,
        places: &places,
        server: Some(&server),
    };
    let mut answers = Vec::new();
    for request in REQUESTS {
        let mut case = case_of(&format!("{request} -w {format}"));
        match *request {
            "txn" => case.stdin = TXN.as_bytes().to_vec(),
            "alarm list" => server.raise_alarm(7, AlarmType::Nospace.into()),
            _ => {}
        }
        let mut output = run(&case, &real.etcdctl, &surroundings)?.stdout;
        // The port that was free says nothing.
        let port = endpoint.rsplit(':').next().unwrap_or_default();
        while let Some(at) = output
            .windows(port.len())
            .position(|part| part == port.as_bytes())
        {
            output.splice(at..at + port.len(), "2379_".bytes());
        }
        answers.push(output);
    }
    Ok(answers)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
