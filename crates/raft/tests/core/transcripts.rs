//! Runs transcripts and compares whole files, byte for byte.
//!
//! etcd's are read from `shared/raft-transcripts` beside the project, or from the folder that
//! `TENET_RAFT_TRANSCRIPTS` names. Where they are missing the run says so, and fails if `CI=true`.
//! Ours are in `testdata`. With `TENET_RAFT_DIFF=1` differences are shown in full; with
//! `TENET_RAFT_REWRITE=1` the files in `testdata`, and no others, are rewritten.

use std::fs;
use std::path::{Path, PathBuf};

use crate::datafile::{Directive, File};
use crate::{confchange, interaction, quorum};

/// How many files of each kind etcd has.
const EXPECTED: [(&str, usize); 3] = [("quorum", 4), ("confchange", 9), ("interaction", 28)];

#[test]
fn etcds_transcripts_are_reproduced() {
    let Some(root) = find_transcripts() else {
        let message = "etcd's raft transcripts are not here: put them beside the project as \
                       ../shared/raft-transcripts or name their folder in TENET_RAFT_TRANSCRIPTS";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
        say(&format!("\n!!! RAN WITHOUT TRANSCRIPTS: {message}\n"));
        return;
    };
    let mut different = Vec::new();
    for (kind, count) in EXPECTED {
        let files = files_in(&root.join(kind));
        assert_eq!(files.len(), count, "files in {}", root.join(kind).display());
        different.extend(files.iter().filter_map(|path| compare(kind, path).err()));
    }
    assert!(
        different.is_empty(),
        "{} files differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn own_transcripts_are_reproduced() {
    let files = files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"));
    assert!(!files.is_empty(), "testdata has files");
    let mut different = Vec::new();
    for path in &files {
        if std::env::var("TENET_RAFT_REWRITE").as_deref() == Ok("1") {
            let actual = run("interaction", path, &|output, _| output).1;
            fs::write(path, actual).expect("testdata can be written");
        }
        different.extend(compare("interaction", path).err());
    }
    assert!(
        different.is_empty(),
        "{} files differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

fn find_transcripts() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/raft-transcripts");
    let root = match std::env::var_os("TENET_RAFT_TRANSCRIPTS") {
        Some(named) => PathBuf::from(named),
        None => beside,
    };
    root.is_dir().then_some(root)
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder entry").path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    files
}

/// The file as it is and as this core would have it.
fn run(
    kind: &str,
    path: &Path,
    normalise: &dyn Fn(String, &Directive) -> String,
) -> (String, String) {
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file = File::parse(&text);
    let lossless = file.with_outputs(file.directives.iter().map(|d| d.expected.as_str())) == text;
    assert!(lossless, "{} was not read faithfully", path.display());
    let mut run: Box<dyn FnMut(&Directive) -> String> = match kind {
        "quorum" => Box::new(quorum::run),
        "confchange" => {
            let mut state = confchange::State::default();
            Box::new(move |directive| state.run(directive))
        }
        _ => {
            let mut cluster = interaction::Cluster::default();
            Box::new(move |directive| cluster.run(directive))
        }
    };
    let outputs: Vec<String> = file
        .directives
        .iter()
        .map(|d| ended(normalise(run(d), d)))
        .collect();
    let actual = file.with_outputs(outputs.iter().map(String::as_str));
    (text, actual)
}

/// A command that prints nothing answers `ok`, or nothing at all where the block held only log lines
/// before these were taken out.
fn silent_where_log_lines_were(output: String, directive: &Directive) -> String {
    match output == "ok" && directive.expected.is_empty() {
        true => String::new(),
        false => output,
    }
}

/// Every output ends with a line end.
fn ended(mut output: String) -> String {
    if !output.is_empty() && !output.ends_with('\n') {
        output.push('\n');
    }
    output
}

fn compare(kind: &str, path: &Path) -> Result<(), String> {
    let (expected, actual) = run(kind, path, &silent_where_log_lines_were);
    if expected == actual {
        return Ok(());
    }
    let name = path.display();
    if std::env::var("TENET_RAFT_DIFF").as_deref() == Ok("1") {
        return Err(format!("--- {name}\n{}", diff(&expected, &actual)));
    }
    let same = expected
        .lines()
        .zip(actual.lines())
        .take_while(|(e, a)| e == a)
        .count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    Err(format!(
        "{name}:{}: expected {:?}, is {:?} (TENET_RAFT_DIFF=1 shows all)",
        same + 1,
        line(&expected),
        line(&actual)
    ))
}

/// Lines that differ, by their longest common subsequence.
fn diff(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    // common[i][j]: how many lines old[i..] and new[j..] have in common.
    let mut common = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = match old[i] == new[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out += &format!("{:>5} -{}\n", i + 1, old[i]);
            i += 1;
        } else {
            out += &format!("{:>5} +{}\n", i + 1, new[j]);
            j += 1;
        }
    }
    out
}

/// Past the capture of test output: whoever runs the tests must see it.
fn say(message: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{message}");
}
