//! The comparison side by side.

use std::path::Path;

use crate::Real;
use crate::cases::{self, Case};
use crate::normal::{self, Seen};
use crate::refusals;
use crate::run::{Surroundings, run};
use crate::servers::Server;

/// Compares all cases, or those of the chapter `filter`, or those whose line contains it; setting up
/// is never left out.
pub(crate) fn all(
    real: &Real,
    ours: &Path,
    folder: &Path,
    filter: Option<&str>,
) -> Result<(), String> {
    let other_server = real.other_server != real.server;
    if other_server {
        refusals::check(&real.other_server, ours, folder)?;
    }
    let mut total = 0;
    let mut unequal = 0;
    let chapters = cases::chapters();
    let is_chapter = chapters.iter().any(|(name, _)| Some(*name) == filter);
    for (name, cases) in chapters {
        if is_chapter && Some(name) != filter {
            continue;
        }
        if other_server && let Some(reason) = refusals::of_chapter(name) {
            println!("not compared: {name}, {} cases ({reason})", cases.len());
            continue;
        }
        let pair = [
            Server::start(&real.server, folder.join(format!("{name}-theirs")))?,
            Server::start(&real.other_server, folder.join(format!("{name}-ours")))?,
        ];
        for case in cases {
            if !is_chapter
                && !case.sets_up
                && filter.is_some_and(|filter| !case.line.contains(filter))
            {
                continue;
            }
            if let Some(prepare) = case.before {
                pair.iter().for_each(prepare);
            }
            let [theirs, ours] = both(&case, [&real.etcdctl, ours], &pair)?;
            total += 1;
            if theirs != ours {
                unequal += 1;
                print_difference(name, &case, &theirs, &ours);
            }
        }
    }
    println!("{total} cases compared with etcdctl, {unequal} not equal");
    if unequal == 0 {
        Ok(())
    } else {
        Err("ours is not etcdctl".to_owned())
    }
}

fn both(case: &Case, programs: [&Path; 2], servers: &[Server; 2]) -> Result<[Seen; 2], String> {
    let see = |program: &Path, server: &Server| {
        let places = server.places();
        let endpoint = server.endpoint();
        let surroundings = Surroundings {
            folder: server.folder(),
            endpoint: &endpoint,
            places: &places,
            server: Some(server),
        };
        run(case, program, &surroundings).map(|output| normal::seen(case, &output, &places))
    };
    let (theirs, ours) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| see(programs[0], &servers[0]));
        let ours = see(programs[1], &servers[1]);
        (theirs.join().expect("the runner does not panic"), ours)
    });
    Ok([theirs?, ours?])
}

fn print_difference(chapter: &str, case: &Case, theirs: &Seen, ours: &Seen) {
    println!("--- [{chapter}] {}", case.line);
    for (what, theirs, ours) in [
        ("exit code", &theirs.exit, &ours.exit),
        ("stdout", &theirs.stdout, &ours.stdout),
        ("stderr", &theirs.stderr, &ours.stderr),
    ] {
        if theirs != ours {
            println!("{what} of etcdctl:\n{theirs}\n{what} of ours:\n{ours}");
        }
    }
}
