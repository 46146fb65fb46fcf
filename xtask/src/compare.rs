//! Measures Tenet beside the real etcd: the same load generator, the same flags, the same disk,
//! the server alone on one core and the client alone on another, in rounds that alternate which
//! of them goes first. One run of anything on a shared machine proves nothing; medians over the
//! rounds are compared, and the spread is shown beside them.
//!
//! What was measured is kept as JSON under `docs/benchmarks/`, and `docs/benchmarks.md` is made
//! from those files alone.

mod measure;
mod render;
mod scenario;
mod server;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::repo::Repo;
use crate::{Failure, etcd, say};
use measure::Bench;
use scenario::{GROUPS, Group};
use server::{Contender, Kind};

/// Rounds when no number is given.
const ROUNDS: u32 = 5;
/// Fewest rounds whose medians are shown.
const ROUNDS_MIN: u32 = 3;

const USAGE: &str = "\
usage: cargo xtask compare [options]
  --tenet PATH    the server under test (target/release/tenet)
  --etcd PATH     the real etcd (target/interop/bin/etcd, see `cargo xtask etcd`)
  --bench WORDS   the load generator (\"target/release/tenet bench\")
  --group NAME    only this group of scenarios: steady, million, watches or lease
  --rounds N      rounds (5), 3 at least for figures that are kept
  --quick         runs of one second and a small key space: to try the machinery; keeps nothing
  --render        only make docs/benchmarks.md from the files that are there";

/// What was asked for.
struct Options {
    tenet: PathBuf,
    etcd: PathBuf,
    bench: Vec<String>,
    groups: Vec<&'static Group>,
    rounds: u32,
    quick: bool,
    render_only: bool,
}

/// The chore.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<(), Failure> {
    let options = parse(repo, args)?;
    if !options.render_only {
        for group in &options.groups {
            let raw = measure_group(repo, &options, group)?;
            if options.quick {
                say(&format!("{raw:#}"));
            } else {
                repo.write(&group.file(), &format!("{raw:#}\n"))?;
            }
        }
    }
    if options.quick {
        return Ok(());
    }
    render::write(repo)
}

fn parse(repo: &Repo, args: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        tenet: repo.path("target/release/tenet"),
        etcd: repo.path(etcd::FOLDER).join("etcd"),
        bench: vec![
            repo.path("target/release/tenet").display().to_string(),
            "bench".into(),
        ],
        groups: GROUPS.iter().collect(),
        rounds: ROUNDS,
        quick: false,
        render_only: false,
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| Failure::Text(format!("{flag} needs a value\n{USAGE}")))
        };
        match flag.as_str() {
            "--tenet" => options.tenet = value()?.into(),
            "--etcd" => options.etcd = value()?.into(),
            "--bench" => options.bench = value()?.split(' ').map(str::to_owned).collect(),
            "--group" => {
                let name = value()?;
                options.groups = GROUPS.iter().filter(|group| group.name == name).collect();
                if options.groups.is_empty() {
                    return Err(Failure::Text(format!("no group {name:?}\n{USAGE}")));
                }
            }
            "--rounds" => {
                options.rounds = value()?
                    .parse()
                    .map_err(|_| Failure::Text(format!("--rounds needs a number\n{USAGE}")))?;
            }
            "--quick" => options.quick = true,
            "--render" => options.render_only = true,
            _ => return Err(Failure::Text(format!("unknown {flag}\n{USAGE}"))),
        }
    }
    if options.rounds < ROUNDS_MIN && !options.quick {
        return Err(Failure::Text(format!(
            "--rounds {} is too few for a median to mean something: {ROUNDS_MIN} at least, or --quick",
            options.rounds
        )));
    }
    Ok(options)
}

/// Runs all rounds of one group and returns what its file holds.
fn measure_group(repo: &Repo, options: &Options, group: &Group) -> Result<Value, Failure> {
    let contenders = [
        Contender::new(Kind::Tenet, vec![options.tenet.display().to_string()]),
        Contender::new(Kind::Etcd, vec![options.etcd.display().to_string()]),
        Contender::new(Kind::Floor, options.bench.clone()),
    ];
    let bench = Bench::new(&options.bench, options.quick);
    let mut runs = Vec::new();
    for round in 1..=options.rounds {
        for contender in order_of(round, &contenders) {
            if contender.kind == Kind::Floor && !group.with_floor {
                continue;
            }
            say(&format!(
                "{} round {round} of {}: {}",
                group.name,
                options.rounds,
                contender.kind.name()
            ));
            for result in (group.run)(repo, contender, &bench)? {
                runs.push(json!({
                    "round": round,
                    "server": contender.kind.name(),
                    "scenario": result.scenario,
                    "report": result.report,
                }));
            }
        }
    }
    Ok(json!({
        "group": group.name,
        "machine": measure::machine(repo),
        "rounds": options.rounds,
        "runs": runs,
    }))
}

/// The contenders of a round: who goes first changes from round to round.
fn order_of(round: u32, contenders: &[Contender]) -> Vec<&Contender> {
    let mut order: Vec<_> = contenders.iter().collect();
    order.rotate_left(round as usize % contenders.len());
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Options, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&Repo::own(), &args).map_err(|failure| failure.to_string())
    }

    #[test]
    fn too_few_rounds_are_refused_unless_nothing_is_kept() {
        assert!(parse_line("--rounds 2").is_err_and(|text| text.contains("too few")));
        assert!(parse_line("--rounds 1 --quick").is_ok());
        assert!(parse_line("--group nonsense").is_err());
        assert_eq!(parse_line("--group million").unwrap().groups.len(), 1);
    }

    #[test]
    fn each_contender_goes_first_in_some_round() {
        let contenders = [Kind::Tenet, Kind::Etcd, Kind::Floor]
            .map(|kind| Contender::new(kind, vec!["x".into()]));
        let first: Vec<_> = (1..=3)
            .map(|round| order_of(round, &contenders)[0].kind)
            .collect();
        assert_eq!(first, [Kind::Etcd, Kind::Floor, Kind::Tenet]);
    }
}
