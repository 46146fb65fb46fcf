//! Which of our crates depends on which, against the table in [`crate::crates`].
//!
//! Only normal and build dependencies count: tests may use what they like.

use std::fs;

use serde_json::Value;

use crate::Failure;
use crate::crates::{self, folder_of};
use crate::repo::Repo;

/// Asks cargo for all dependencies and compares.
pub(super) fn check(repo: &Repo) -> Result<Vec<String>, Failure> {
    let text = repo.output(
        ".",
        env!("CARGO"),
        [
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ],
    )?;
    let metadata: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Text(format!("cargo metadata: {error}")))?;
    let edges = edges_of(&metadata);
    if edges.is_empty() {
        return Err(Failure::Text(
            "cargo metadata shows no edge between our crates: has its form changed?".into(),
        ));
    }
    Ok(forbidden(&edges))
}

/// A dependency of one of our packages on another.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
}

fn edges_of(metadata: &Value) -> Vec<Edge> {
    let mut edges = Vec::new();
    for package in array(&metadata["packages"]) {
        let Some(from) = package["name"].as_str().and_then(folder_of) else {
            continue;
        };
        for dependency in array(&package["dependencies"]) {
            let to = dependency["name"].as_str().and_then(folder_of);
            if let Some(to) = to
                && dependency["kind"] != "dev"
            {
                edges.push(Edge {
                    from: from.to_owned(),
                    to: to.to_owned(),
                });
            }
        }
    }
    edges
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn forbidden(edges: &[Edge]) -> Vec<String> {
    edges
        .iter()
        .filter_map(|Edge { from, to }| match crates::plan_of(from) {
            None => Some(format!(
                "crates/{from}: the table in xtask/src/crates.rs does not know this crate"
            )),
            Some(plan) if !crates::may_use(plan, to) => Some(format!(
                "crates/{from} depends on {to}, which the table of ARCHITECTURE.md does not allow"
            )),
            Some(_) => None,
        })
        .collect()
}

/// Every crate that must not meet the world carries the bans of `crates/pure.clippy.toml`.
pub(super) fn check_bans(repo: &Repo) -> Vec<String> {
    let read = |path: String| fs::read_to_string(repo.path(path)).ok();
    let bans = read("crates/pure.clippy.toml".into());
    crates::PLAN
        .iter()
        .filter(|plan| plan.pure && repo.path(format!("crates/{}", plan.folder)).is_dir())
        .filter(|plan| {
            bans.is_none() || read(format!("crates/{}/clippy.toml", plan.folder)) != bans
        })
        .map(|plan| {
            format!(
                "crates/{}/clippy.toml must be crates/pure.clippy.toml: link it",
                plan.folder
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_normal_edge_up_the_table_is_reported_and_a_test_edge_is_not() {
        let metadata = json!({"packages": [{
            "name": "tenet-raft",
            "dependencies": [
                {"name": "tenet-base", "kind": null},
                {"name": "tenet-server", "kind": null},
                {"name": "tenet-sim", "kind": "dev"},
                {"name": "bytes", "kind": null},
            ],
        }]});
        let problems = forbidden(&edges_of(&metadata));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("raft depends on server"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_reported() {
        let edge = Edge {
            from: "mystery".into(),
            to: "base".into(),
        };
        assert!(forbidden(&[edge])[0].contains("does not know"));
    }

    #[test]
    fn a_pure_crate_without_its_bans_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::at(folder.path());
        repo.write("crates/pure.clippy.toml", "bans").unwrap();
        repo.write("crates/base/clippy.toml", "bans").unwrap();
        repo.write("crates/raft/clippy.toml", "other bans").unwrap();
        repo.write("crates/wal/src/lib.rs", "").unwrap();
        repo.write("crates/server/src/lib.rs", "").unwrap();
        let problems = check_bans(&repo).join("\n");
        assert!(
            problems.contains("raft") && problems.contains("wal"),
            "{problems}"
        );
        assert!(
            !problems.contains("base/") && !problems.contains("server"),
            "{problems}"
        );
    }
}
