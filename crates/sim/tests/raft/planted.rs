//! Bugs of others, planted one at a time: each is found within a thousand seeds of the default
//! settings, and between them they set off every checker.

use std::collections::BTreeMap;

use tenet_check::raft::Property;
use tenet_raft::KnownBug;
use tenet_sim::raft::Settings;

use super::{Found, SEEDS_MAX, find, silence_this_thread};

/// Each bug is looked for so often, always from another seed on.
const SEARCHES: u64 = 3;

fn with_bug(bug: KnownBug, seed: u64) -> Settings {
    let mut settings = Settings::from_seed(seed);
    settings.config.bug = Some(bug);
    settings
}

#[test]
fn every_known_bug_is_found_and_every_checker_finds_one() {
    silence_this_thread();
    let mut fired: BTreeMap<Property, Vec<KnownBug>> = BTreeMap::new();
    let mut missed = Vec::new();
    println!("bug, median of seeds until it is found, what found it");
    for bug in KnownBug::ALL {
        let (mut needed, mut by) = (Vec::new(), Vec::new());
        for search in 0..SEARCHES {
            let from = search * SEEDS_MAX;
            let found =
                (0..SEEDS_MAX).find_map(|at| Some((at + 1, find(with_bug(bug, from + at))?)));
            if let Some((seeds, found)) = found {
                needed.push(seeds);
                by.push(found);
            }
        }
        let found = needed.len() as u64;
        needed.resize(SEARCHES as usize, SEEDS_MAX + 1);
        needed.sort_unstable();
        println!(
            "{bug:?}: median {} ({found} of {SEARCHES} searches) {by:?}",
            needed[needed.len() / 2]
        );
        if found == 0 {
            missed.push(bug);
        }
        for found in by {
            if let Found::Broken(property) = found {
                fired.entry(property).or_default().push(bug);
            }
        }
    }
    println!("{fired:?}");
    assert!(missed.is_empty(), "not found: {missed:?}");
    for property in [
        Property::ElectionSafety,
        Property::LeaderAppendOnly,
        Property::LogMatching,
        Property::LeaderCompleteness,
        Property::StateMachineSafety,
        Property::CommittedIsDurable,
        Property::CommitInOwnTerm,
        Property::OneConfigurationChange,
        Property::ReadLinearizability,
        Property::LeaseSafety,
        Property::Progress,
    ] {
        assert!(fired.contains_key(&property), "{property:?} found no bug");
    }
}
