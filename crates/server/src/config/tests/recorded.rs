//! Comparison with what the real etcd 3.7.1 did.
//!
//! The files of `testdata` hold cases: arguments, variables and a configuration file, then exit
//! code and output. The output was recorded by running this test with `ETCD_BINARY` set to an etcd
//! 3.7.1 (for `host.txt` in a network namespace whose default route leaves from 127.0.0.1, for the
//! others in one without default route); it is compared on every run.
//!
//! Only what this module decides is kept of etcd's output: time, place in the source and stack
//! trace go, and so do the lines of what happens later.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tenet_cli::log::{Entry, Format};

use crate::config::{Invocation, Notices, ServerConfig, Stop, load};

/// Stands in the files for the folder of a case.
const FOLDER: &str = "{dir}";
const CONFIG_FILE: &str = "c.yml";

#[derive(Debug, Default)]
struct Case {
    name: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    file: Vec<String>,
    /// `exit` and output lines, as they stand in the file.
    outcome: Vec<String>,
}

impl Case {
    fn parse_all(text: &str) -> Vec<Self> {
        let mut cases: Vec<Self> = Vec::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            if let Some(name) = line.strip_prefix("=== ") {
                cases.push(Self {
                    name: name.to_owned(),
                    ..Self::default()
                });
                continue;
            }
            let case = cases.last_mut().expect("a case begins with its name");
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "arg" => case.args.push(rest.to_owned()),
                "env" => {
                    let (key, value) = rest.split_once('=').expect("a variable");
                    case.variables.push((key.to_owned(), value.to_owned()));
                }
                "file" => case.file.push(rest.replace("\\t", "\t")),
                _ => case.outcome.push(line.to_owned()),
            }
        }
        cases
    }

    fn inputs(&self) -> String {
        let mut text = format!("=== {}\n", self.name);
        for arg in &self.args {
            let _ = writeln!(text, "arg {arg}");
        }
        for (key, value) in &self.variables {
            let _ = writeln!(text, "env {key}={value}");
        }
        for line in &self.file {
            let _ = writeln!(text, "file {}", line.replace('\t', "\\t"));
        }
        text
    }

    /// Writes the configuration file, and puts the folder into arguments and variables.
    fn lay_out(&self, folder: &Path) -> (Vec<String>, Vec<(String, String)>) {
        std::fs::write(folder.join(CONFIG_FILE), self.file.join("\n"))
            .expect("a file in a new folder");
        let path = folder.display().to_string();
        let put = |text: &String| text.replace(FOLDER, &path);
        (
            self.args.iter().map(put).collect(),
            self.variables
                .iter()
                .map(|(key, value)| (key.clone(), put(value)))
                .collect(),
        )
    }
}

/// Lines of the real etcd about what is not decided here.
const LATER: &[&str] = &[
    "Initialize and start etcd server",
    "configuring peer listeners",
    "configuring client listeners",
    "configuring socket options",
    "creating peer listener failed",
    "closing peer listener",
    "closing client listener",
    "closing etcd server",
    "closed etcd server",
    "opened backend db",
    "bootstrapping cluster",
    "resolved URL Host",
    "created directory",
    "simple token is not cryptographically signed",
    "restore consistentIndex",
    "bootstrapping storage",
    "bootstrapping raft",
];

/// Lines that are our own.
const OURS: &[&str] = &[
    "these flags are accepted, but have no effect here",
    "unknown keys of the configuration file are ignored",
];

/// Fields of the line about the start that differ between programs and machines.
const OF_THE_BUILD: &[&str] = &[
    "git-sha",
    "go-version",
    "go-os",
    "go-arch",
    "max-cpu-set",
    "max-cpu-available",
];

/// The line by which etcd's bootstrap is known to have succeeded.
const STARTED: &str = "starting local member";

/// A line of output in the form of the files, or nothing if it is not to be compared.
fn normalise(stream: &str, line: &str, folder: &str) -> Option<String> {
    let line = line.replace(folder, FOLDER);
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(&line) else {
        // What follows in a panic is the stack.
        let text = line.strip_prefix("panic: ").unwrap_or(&line);
        return (!text.is_empty()).then(|| format!("{stream} {text}"));
    };
    let text = |fields: &Map<String, Value>, key: &str| {
        fields[key].as_str().unwrap_or_default().to_owned()
    };
    let (level, message) = (text(&fields, "level"), text(&fields, "msg"));
    if fields.get("logger").is_some()
        || LATER.contains(&message.as_str())
        || OURS.contains(&message.as_str())
    {
        return None;
    }
    fields.retain(|key, _| {
        !["level", "ts", "caller", "msg", "stacktrace"].contains(&key.as_str())
            && !OF_THE_BUILD.contains(&key.as_str())
    });
    if let Some(Value::String(error)) = fields.get_mut("error") {
        // The words of the YAML library.
        let yaml = "error converting YAML to JSON: yaml: ";
        if error.starts_with(yaml) {
            yaml.clone_into(error);
        }
    }
    let fields = if fields.is_empty() {
        String::new()
    } else {
        format!(" {}", Value::Object(fields))
    };
    Some(format!("{stream} {level} {message:?}{fields}"))
}

/// Cuts the usage text and Go's stack, which are texts of each program's own, and repetitions:
/// etcd checks everything twice.
fn cut(lines: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for line in lines {
        if line == "err Usage:" || line.starts_with("err goroutine ") {
            if line == "err Usage:" {
                kept.push("err <usage>".to_owned());
            }
            break;
        }
        if !kept.contains(&line) {
            kept.push(line);
        }
    }
    kept
}

/// What the real etcd does.
fn record(binary: &str, case: &Case) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (args, variables) = case.lay_out(folder.path());
    let path = folder.path().display().to_string();
    let mut child = Command::new(binary)
        .args(&args)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .envs(variables)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the real etcd");
    let mut lines = Vec::new();
    let mut started = false;
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("text");
        if line.contains(&format!("\"msg\":\"{STARTED}\"")) {
            started = true;
            child.kill().expect("a child that still runs");
            break;
        }
        lines.extend(normalise("err", &line, &path));
    }
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut stdout)
        .expect("text");
    let status = child.wait().expect("an exit status");
    let exit = if started {
        "started".to_owned()
    } else {
        format!("exit {}", status.code().unwrap_or(-1))
    };
    let out = stdout
        .lines()
        .filter_map(|line| normalise("out", line, &path))
        .collect();
    [vec![exit], short_stdout(case, out), cut(lines)].concat()
}

/// Texts of each program's own on standard output.
fn short_stdout(case: &Case, lines: Vec<String>) -> Vec<String> {
    let asks = |words: &[&str]| case.args.iter().any(|arg| words.contains(&arg.as_str()));
    if asks(&["--version"]) {
        // The first line is the contract, and that the others have a name each.
        let names = lines
            .iter()
            .map(|line| line.split(": ").next().unwrap_or_default().to_owned());
        return lines
            .iter()
            .take(1)
            .cloned()
            .chain(names.skip(1).take(3))
            .collect();
    }
    if lines.is_empty() || !asks(&["--help", "-h"]) {
        return cut(lines);
    }
    vec!["out <options>".to_owned()]
}

/// What ours does.
fn replay(case: &Case, default_host: fn() -> Result<String, String>) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let (args, variables) = case.lay_out(folder.path());
    let path = folder.path().display().to_string();
    let invocation = Invocation {
        program: "etcd".to_owned(),
        args,
        variables,
        default_host,
    };
    let (exit, stop) = match load(&invocation) {
        Err(stop) => (format!("exit {}", stop.code), *stop),
        Ok(config) => start(&config),
    };
    let log = stop.log.clone().unwrap_or_default();
    let now = SystemTime::now();
    let early = stop
        .notices
        .early_lines(now)
        .filter_map(|line| normalise("err", line.trim_end(), &path));
    let mut lines: Vec<String> = early.collect();
    let mut stdout: Vec<String> = Vec::new();
    for line in stop.notices.late_lines(&log, now) {
        let json = log.format == Format::Json;
        let line = if json {
            line.trim_end().to_owned()
        } else {
            console_words(&line)
        };
        for target in &log.outputs {
            match target.as_str() {
                "stderr" => lines.extend(normalise("err", &line, &path)),
                "stdout" => stdout.extend(normalise("out", &line, &path)),
                _ => {}
            }
        }
    }
    stdout.extend(
        stop.stdout
            .lines()
            .filter_map(|line| normalise("out", line, &path)),
    );
    lines.extend(
        stop.stderr
            .lines()
            .filter_map(|line| normalise("err", line, &path)),
    );
    [vec![exit], short_stdout(case, stdout), cut(lines)].concat()
}

/// A line in console form without time and place.
fn console_words(line: &str) -> String {
    let mut columns = line.trim_end().splitn(4, '\t');
    let level = columns.nth(1).unwrap_or_default();
    format!("{level}\t{}", columns.nth(1).unwrap_or_default())
}

/// The start of a member without data, as far as the configuration decides it.
fn start(config: &ServerConfig) -> (String, Stop) {
    let bootstrap = config.bootstrap();
    let mut notices: Notices = config.notices.clone();
    // etcd reads the first members before it announces the start, and checks them after.
    if !matches!(&bootstrap, Err(entries) if entries.len() == 1) {
        notices.late.push(config.start_entry(false));
    }
    let stop = |notices, code| Stop {
        code,
        notices,
        log: Some(config.log.clone()),
        ..Stop::default()
    };
    match bootstrap {
        Ok(_) => ("started".to_owned(), stop(notices, 0)),
        Err(entries) => {
            let entries: Vec<Entry> = entries;
            notices.late.extend(entries);
            ("exit 1".to_owned(), stop(notices, 1))
        }
    }
}

fn check(file: &str, default_host: fn() -> Result<String, String>, binary: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/config/testdata")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("recorded cases");
    let mut cases = Case::parse_all(&text);
    if let Ok(binary) = std::env::var(binary) {
        let mut recorded: String = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        for case in &mut cases {
            case.outcome = record(&binary, case);
            let _ = write!(recorded, "\n{}{}\n", case.inputs(), case.outcome.join("\n"));
        }
        std::fs::write(&path, recorded).expect("a file that can be written");
    }
    let mut names = BTreeMap::new();
    let mut different = String::new();
    for case in &cases {
        assert_eq!(
            names.insert(case.name.clone(), ()),
            None,
            "two cases of one name in {file}"
        );
        assert!(
            !case.outcome.is_empty(),
            "{file}: {} was not recorded",
            case.name
        );
        let ours = replay(case, default_host);
        if ours != case.outcome {
            let missing = case
                .outcome
                .iter()
                .filter(|line| !ours.contains(line))
                .map(|line| format!("  etcd: {line}\n"));
            let added = ours
                .iter()
                .filter(|line| !case.outcome.contains(line))
                .map(|line| format!("  ours: {line}\n"));
            let lines: String = missing.chain(added).collect();
            let lines = if lines.is_empty() {
                format!("  order: {ours:#?}\n")
            } else {
                lines
            };
            let _ = write!(different, "=== {}\n{lines}", case.name);
        }
    }
    assert!(
        cases.len() > 3,
        "{file}: only {} cases were read",
        cases.len()
    );
    assert!(different.is_empty(), "{file}:\n{different}");
}

fn no_host() -> Result<String, String> {
    Err("could not find default route".to_owned())
}

fn local_host() -> Result<String, String> {
    Ok("127.0.0.1".to_owned())
}

#[test]
fn command_lines_are_taken_as_etcd_takes_them() {
    check("flags.txt", no_host, "ETCD_BINARY");
}

#[test]
fn the_environment_is_taken_as_etcd_takes_it() {
    check("environment.txt", no_host, "ETCD_BINARY");
}

#[test]
fn configuration_files_are_taken_as_etcd_takes_them() {
    check("files.txt", no_host, "ETCD_BINARY");
}

#[test]
fn rules_are_kept_as_etcd_keeps_them() {
    check("rules.txt", no_host, "ETCD_BINARY");
}

#[test]
fn logs_go_where_etcd_sends_them() {
    check("logs.txt", no_host, "ETCD_BINARY");
}

#[test]
fn starts_have_etcds_defaults() {
    check("starts.txt", no_host, "ETCD_BINARY");
}

#[test]
fn a_default_route_is_advertised_as_etcd_does() {
    check("host.txt", local_host, "ETCD_BINARY_HOST");
}
