//! What is measured: groups of scenarios, each group over one fresh server.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::measure::Bench;
use super::server::{Contender, Kind, Server};
use crate::Failure;
use crate::repo::Repo;

/// Scenarios that share a server.
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Whether the empty server takes part.
    pub(super) with_floor: bool,
    pub(super) run: fn(&Repo, &Contender, &Bench) -> Result<Vec<Measured>, Failure>,
}

impl Group {
    /// Where its figures are kept.
    pub(super) fn file(&self) -> String {
        format!("docs/benchmarks/{}.json", self.name)
    }
}

/// One report of the load generator.
pub(super) struct Measured {
    pub(super) scenario: &'static str,
    pub(super) report: Value,
}

/// All groups.
pub(super) const GROUPS: &[Group] = &[
    Group {
        name: "steady",
        with_floor: true,
        run: steady,
    },
    Group {
        name: "million",
        with_floor: false,
        run: million,
    },
    Group {
        name: "watches",
        with_floor: false,
        run: watches,
    },
    Group {
        name: "lease",
        with_floor: false,
        run: lease,
    },
];

/// Scenarios of [`steady`] with what they ask of the load generator. The first ones load the keys
/// that the reads find.
pub(super) const STEADY: &[(&str, &str)] = &[
    (
        "put, 8 connections x 1,000 clients",
        "put --conns 8 --clients 1000",
    ),
    (
        "put, 100 connections x 1,000 clients",
        "put --conns 100 --clients 1000",
    ),
    (
        "put, 64 connections x 1,000 clients",
        "put --conns 64 --clients 1000",
    ),
    (
        "put, 64 connections x 16,000 clients",
        "put --conns 64 --clients 16000",
    ),
    ("put, 1 client", "put --conns 1 --clients 1"),
    (
        "get, linearizable, 8 connections x 1,000 clients",
        "range --conns 8 --clients 1000",
    ),
    (
        "get, linearizable, 100 connections x 1,000 clients",
        "range --conns 100 --clients 1000",
    ),
    (
        "get, serializable, 8 connections x 1,000 clients",
        "range --conns 8 --clients 1000 --consistency s",
    ),
    ("get, linearizable, 1 client", "range --conns 1 --clients 1"),
];

/// Keys of 8 bytes and values of 256, one kind of call at a time.
fn steady(repo: &Repo, contender: &Contender, bench: &Bench) -> Result<Vec<Measured>, Failure> {
    let server = contender.start(repo)?;
    let time = if bench.quick { "1s" } else { "5s" };
    let mut measured = Vec::new();
    for (scenario, words) in STEADY {
        let values = if words.starts_with("put") {
            "--val-size 256"
        } else {
            ""
        };
        let words = format!("{words} --key-size 8 {values} --duration {time} --warm-up 1s");
        measured.push(Measured {
            scenario,
            report: bench.run(&server, &words)?,
        });
        settle(bench);
    }
    Ok(measured)
}

/// A million keys of 24 bytes with values of 300: loaded, overwritten, listed page by page.
fn million(repo: &Repo, contender: &Contender, bench: &Bench) -> Result<Vec<Measured>, Failure> {
    let keys = if bench.quick { 20_000 } else { 1_000_000 };
    let space = format!("--prefix /registry/pods/ --key-size 24 --key-space-size {keys}");
    let put = format!("put {space} --val-size 300 --conns 8 --clients 500 --warm-up 0s");
    // A real etcd counts every key behind a page, so all 2,000 pages would take it a quarter of
    // an hour; every 50th shows how long they take.
    let stride = match contender.kind {
        Kind::Etcd => 50,
        Kind::Tenet | Kind::Floor => 1,
    };
    let pages = format!("pages {space} --limit 500 --stride {stride}");

    let server = contender.start(repo)?;
    let mut measured = Vec::new();
    let mut run = |scenario, words: String, server: &Server| -> Result<(), Failure> {
        measured.push(Measured {
            scenario,
            report: bench.run(server, &words)?,
        });
        settle(bench);
        Ok(())
    };
    run(
        "load of a million keys",
        format!("{put} --order sequential --total {keys}"),
        &server,
    )?;
    run(
        "a million random overwrites",
        format!("{put} --order random --total {keys}"),
        &server,
    )?;
    run(
        "pages of 500 at the newest revision",
        pages.clone(),
        &server,
    )?;
    let background = bench.start(
        &server,
        &format!("{put} --order random --rate 5000 --duration 60m"),
    )?;
    run(
        "pages of 500 at the newest revision, under 5,000 puts/s",
        pages.clone(),
        &server,
    )?;
    run(
        "pages of 500 pinned to one revision, under 5,000 puts/s",
        format!("{pages} --pinned"),
        &server,
    )?;
    drop(background);
    Ok(measured)
}

/// Watches: an operation is an event that was delivered, but for puts.
const WATCHES: &[(&str, &str)] = &[
    (
        "put over a million keys without watches",
        "put --conns 8 --clients 100 --key-space-size 1000000 --val-size 256",
    ),
    (
        "put over a million keys beside 10,000 watches of some of them",
        "watch --watchers 10000 --target each --conns 10 --clients 100 --key-space-size 1000000 \
         --val-size 256",
    ),
    (
        "watches of one key, 1,000 on 10 connections, 100 puts/s",
        "watch --watchers 1000 --conns 10 --clients 10 --key-space-size 1 --rate 100",
    ),
    (
        "watches of one key, 1,000 on 10 connections, as many puts as can be",
        "watch --watchers 1000 --conns 10 --clients 100 --key-space-size 1",
    ),
];

/// Watches that few events reach, that all events reach, that nobody reads, and of the past.
fn watches(repo: &Repo, contender: &Contender, bench: &Bench) -> Result<Vec<Measured>, Failure> {
    let (time, events) = if bench.quick {
        ("1s", 20_000)
    } else {
        ("10s", 1_000_000)
    };
    let mut measured = Vec::new();
    let server = contender.start(repo)?;
    for (scenario, words) in WATCHES {
        let words = format!("{words} --key-size 8 --duration {time}");
        measured.push(Measured {
            scenario,
            report: bench.run(&server, &words)?,
        });
        settle(bench);
    }
    drop(server);
    for (scenario, streams) in [
        ("watches kept, 10,000 on 10 streams", ""),
        ("watches kept, 10,000 on 10,000 streams", "--stream-each"),
    ] {
        let server = contender.start(repo)?;
        let words = format!(
            "watch --watchers 10000 --target each --conns 10 --key-space-size 100000 --total 10 \
             {streams}"
        );
        let report = bench.run(&server, words.trim())?;
        measured.push(Measured { scenario, report });
    }
    // Each on a fresh server: the highest memory is what is asked.
    let space = format!("--key-space-size 100000 --val-size 1000 --total {events}");
    let server = contender.start(repo)?;
    measured.push(Measured {
        scenario: "a million puts of 1 kB",
        report: bench.run(
            &server,
            &format!("put --conns 8 --clients 100 --warm-up 0s {space}"),
        )?,
    });
    drop(server);
    // etcd reads all that is left for each thousand revisions it sends: a million take it more than
    // a quarter of an hour.
    let some = events / 5;
    let space = format!("--key-space-size 100000 --val-size 1000 --total {some}");
    let server = contender.start(repo)?;
    bench.run(
        &server,
        &format!("put --conns 8 --clients 100 --warm-up 0s {space}"),
    )?;
    let history = format!("watch --history --watchers 1 --conns 1 --target all {space}");
    measured.push(Measured {
        scenario: "watches of history, 200,000 events of 1 kB",
        report: bench.run(&server, &history)?,
    });
    drop(server);
    let space = format!("--key-space-size 100000 --val-size 1000 --total {events}");
    let server = contender.start(repo)?;
    let deaf = "watch --watchers 900 --target range --deaf 100 --conns 10 --clients 100";
    measured.push(Measured {
        scenario: "watches of ranges, 900, beside 100 that never read, a million puts of 1 kB",
        report: bench.run(&server, &format!("{deaf} {space}"))?,
    });
    Ok(measured)
}

/// 100,000 leases: granted, renewed, all ending within a second; and one with 100,000 keys.
fn lease(repo: &Repo, contender: &Contender, bench: &Bench) -> Result<Vec<Measured>, Failure> {
    let leases = if bench.quick { 2_000 } else { 100_000 };
    // The leases of the storm are made first, which takes etcd half a minute on one core.
    let storm_ttl = if bench.quick { 8 } else { 60 };
    let part = |part: &str| format!("lease --part {part} --leases {leases}");
    let mut measured = Vec::new();
    let server = contender.start(repo)?;
    for (scenario, words) in [
        ("lease grant, 8 connections x 500 clients", part("grant")),
        ("lease renewal, 8 connections x 500 streams", part("renew")),
        (
            "puts, 1,000/s, while a lease with 100,000 keys is revoked",
            part("revoke"),
        ),
    ] {
        let report = bench.run(&server, &words)?;
        measured.push(Measured { scenario, report });
        settle(bench);
    }
    drop(server);
    let server = contender.start(repo)?;
    let words = format!("{} --ttl {storm_ttl}", part("storm"));
    measured.push(Measured {
        scenario: "puts, 1,000/s, while 100,000 leases end within a second",
        report: bench.run(&server, &words)?,
    });
    Ok(measured)
}

/// Lets a server finish what it does behind the last answer.
fn settle(bench: &Bench) {
    if !bench.quick {
        thread::sleep(Duration::from_secs(1));
    }
}
