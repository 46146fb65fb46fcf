//! Random clusters of consensus cores: the short run of every build. The long one is the example
//! `raft_runs`; known bugs are planted in `planted`, with the feature `instrumented`.

#![allow(clippy::print_stdout, reason = "tests say what they have seen")]

#[cfg(feature = "instrumented")]
mod planted;

use tenet_check::raft::{Property, Violation};
use tenet_sim::raft::{Counts, Sabotage, Settings, World};

/// Seeds of the short run.
const SEEDS: u64 = 150;
/// Within so many seeds a mistake must be found.
const SEEDS_MAX: u64 = 1_000;

fn run(settings: Settings) -> (Counts, Result<(), Violation>) {
    let mut world = World::new(settings);
    let verdict = world.live();
    (world.counts(), verdict)
}

#[test]
fn random_clusters_keep_the_promises_of_raft() {
    let mut sum = Counts::default();
    for seed in 0..SEEDS {
        let life = std::panic::catch_unwind(|| run(Settings::from_seed(seed)));
        let (counts, verdict) = life.unwrap_or_else(|_| panic!("seed {seed} panics, see above"));
        verdict.unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        sum.add(&counts);
    }
    println!("{sum:?}");
    let (fault, count) = sum.rarest();
    assert!(count >= 20, "{fault:?} happened {count} times in all");
    assert!(
        sum.committed > 10_000 && sum.reads > 500,
        "hardly anything happened: {sum:?}"
    );
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let trace = |seed| {
        let mut world = World::new(Settings::from_seed(seed));
        world.record();
        world.live().expect("nothing breaks");
        world.trace().clone()
    };
    for seed in 0..5 {
        let once = trace(seed);
        assert!(once.events() > 100 && !once.lines().is_empty());
        assert!(once == trace(seed), "seed {seed} runs differently");
        assert_ne!(once.digest(), trace(seed + 100).digest());
    }
}

/// A driver that breaks its duties is found out: the checkers are not blind.
#[test]
fn broken_duties_are_noticed() {
    silence_this_thread();
    for sabotage in Sabotage::ALL {
        let found = first_seed(|seed| {
            let mut settings = Settings::from_seed(seed);
            settings.sabotage = Some(sabotage);
            settings
        });
        let (seed, what) = found.unwrap_or_else(|| panic!("nobody noticed {sabotage:?}"));
        println!("{sabotage:?} is noticed with seed {seed}: {what:?}");
    }
}

/// The first seed with which something breaks. That the cluster gets stuck does not count.
fn first_seed(settings: impl Fn(u64) -> Settings) -> Option<(u64, Found)> {
    (0..SEEDS_MAX).find_map(|seed| {
        let found = find(settings(seed))?;
        (found != Found::Broken(Property::Progress)).then_some((seed, found))
    })
}

/// How a mistake shows.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    /// A checker says so.
    Broken(Property),
    /// An assertion of the core or its driver stops the member.
    Stopped(String),
}

fn find(settings: Settings) -> Option<Found> {
    match std::panic::catch_unwind(|| run(settings)) {
        Ok((_, verdict)) => verdict.err().map(|found| Found::Broken(found.property)),
        Err(reason) => {
            let text = reason.downcast_ref::<String>().cloned();
            Some(Found::Stopped(text.unwrap_or_default()))
        }
    }
}

/// Panics of this thread are wanted: they are not printed.
fn silence_this_thread() {
    thread_local!(static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    SILENT.set(true);
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !SILENT.get() {
            loud(info);
        }
    }));
}
