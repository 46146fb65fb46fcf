//! Rules about single files, and about the file of limits.

use crate::repo::TextFile;

/// Longest Rust file, in lines.
const LINES_MAX: usize = 800;

/// What must not be left in Rust code. Put together here, so that this file passes.
const LEFTOVERS: [&str; 4] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("#[ign", "ore"),
];

/// What must not stand in any file: paths of one machine, and words about how the work is done
/// instead of about the product.
const STRANGERS: [&str; 11] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/con", "tracts"),
    concat!("/home", "/"),
    concat!("/ro", "ot/"),
    concat!("sub", "agent"),
    concat!("sub-", "agent"),
    concat!("cla", "ude"),
    concat!("anth", "ropic"),
    concat!("language", " model"),
    concat!("chat", "gpt"),
    concat!("this work", "place"),
];

/// The file with all limits.
const LIMITS: &str = "crates/base/src/limits.rs";

/// The document that names the modules with unsafe code.
const STYLE: &str = "STYLE.md";

/// Checks every file by itself.
pub(super) fn check(files: &[TextFile]) -> Vec<String> {
    let style = files.iter().find(|file| file.path == STYLE);
    let mut problems = Vec::new();
    for file in files {
        problems.extend(strangers(file));
        if file.path.ends_with(".rs") {
            problems.extend(rust(file));
            problems.extend(unsafe_without_name(file, style));
        }
    }
    problems
}

fn strangers(file: &TextFile) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let lower = line.to_lowercase();
        for stranger in STRANGERS {
            if lower.contains(stranger) {
                problems.push(format!(
                    "{}:{}: {stranger:?} has no place in the project",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    problems
}

fn rust(file: &TextFile) -> Vec<String> {
    let mut problems = Vec::new();
    if !file.text.starts_with("//! ") {
        problems.push(format!(
            "{}: must open with `//!` and say what it is for",
            file.path
        ));
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!(
            "{}: {lines} lines, {LINES_MAX} is the most; split it by subject",
            file.path
        ));
    }
    for (number, line) in file.text.lines().enumerate() {
        for leftover in LEFTOVERS {
            if line.contains(leftover) {
                problems.push(format!(
                    "{}:{}: `{leftover}` must not be left in the code",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    problems
}

fn unsafe_without_name(file: &TextFile, style: Option<&TextFile>) -> Option<String> {
    let allows = file.text.contains(concat!("allow(unsafe", "_code)"));
    let package = file.path.split('/').nth(1).unwrap_or_default();
    let named = style.is_some_and(|style| style.text.contains(&format!("tenet-{package}")));
    (allows && !named).then(|| {
        format!(
            "{}: has unsafe code, but {STYLE} does not name its module",
            file.path
        )
    })
}

/// A limit that nobody refers to limits nothing.
pub(super) fn check_limits(files: &[TextFile]) -> Vec<String> {
    let Some(limits) = files.iter().find(|file| file.path == LIMITS) else {
        return vec![format!(
            "{LIMITS}: all limits belong there, and it is missing"
        )];
    };
    names_of_constants(&limits.text)
        .filter(|name| {
            !files
                .iter()
                .any(|file| file.path.ends_with(".rs") && mentions(file, name))
        })
        .map(|name| format!("{LIMITS}: nothing refers to {name}; enforce it or remove it"))
        .collect()
}

fn names_of_constants(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next())
}

/// Whether a file refers to a limit other than by declaring it.
fn mentions(file: &TextFile, name: &str) -> bool {
    file.text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter(|line| !line.starts_with(&format!("pub const {name}:")))
        .any(|line| {
            line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                .any(|word| word == name)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile {
            path: path.into(),
            text: text.into(),
        }
    }

    fn problem_of(path: &str, text: &str) -> String {
        let problems = check(&[file(path, text)]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn a_good_file_has_no_problem() {
        assert!(check(&[file("crates/a/src/lib.rs", "//! What it is for.\n")]).is_empty());
    }

    #[test]
    fn each_rule_about_a_file_can_fail() {
        assert!(problem_of("a.rs", "fn f() {}\n").contains("must open"));
        let long = "//! x\n".repeat(LINES_MAX + 1);
        assert!(problem_of("a.rs", &long).contains("801 lines"));
        for leftover in LEFTOVERS {
            let problem = problem_of("a.rs", &format!("//! x\n{leftover}"));
            assert!(problem.contains("a.rs:2"), "{problem}");
        }
        for stranger in STRANGERS {
            let problem = problem_of("a.md", &stranger.to_uppercase());
            assert!(problem.contains("a.md:1"), "{problem}");
        }
    }

    #[test]
    fn unsafe_code_must_be_named_in_the_style() {
        let text = concat!("//! x\n#![allow(unsafe", "_code)]\n");
        let code = file("crates/runtime/src/sys.rs", text);
        assert_eq!(check(std::slice::from_ref(&code)).len(), 1);
        assert!(check(&[file(STYLE, "but `tenet-runtime`"), code]).is_empty());
    }

    #[test]
    fn a_limit_counts_as_used_only_by_its_whole_name_in_code() {
        let limits = file(
            LIMITS,
            "pub const A_MAX: u64 = 1;\npub const A: u64 = A_MAX;\n",
        );
        let comment = file("b.rs", "//! A\n// A\nlet b = A_MAX;");
        let problems = check_limits(&[limits.clone(), comment]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("refers to A;"), "{problems:?}");
        assert!(check_limits(&[limits, file("c.rs", "//! x\nf(limits::A)")]).is_empty());
        assert_eq!(check_limits(&[]).len(), 1);
    }
}
