//! Whole clusters: every seed is a cluster of its own kind, and all of them must keep what they
//! have promised.

use std::collections::BTreeMap;
use tenet_sim::cluster::{Cluster, Fault, Settings};

const SEEDS: u64 = 60;

#[test]
fn clusters_keep_their_promises_through_everything_that_goes_wrong() {
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let (mut answered, mut lost, mut events, mut terms, mut installed) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let run = Cluster::new(Settings::from_seed(seed)).run();
        assert!(
            run.violations.is_empty(),
            "seed {seed}: {}",
            run.violations.join("\n")
        );
        answered += run.answered;
        lost += run.lost;
        events += run.events;
        terms += run.terms;
        installed += run.installed;
        for (fault, count) in run.faults {
            *faults.entry(fault).or_default() += count;
        }
    }
    println!(
        "{answered} answered, {lost} lost, {events} events, {terms} terms, {installed} snapshots \
         installed, {faults:?}"
    );
    assert!(answered > 100 * SEEDS, "too little was done: {answered}");
    assert!(terms > 2 * SEEDS, "too few elections: {terms}");
    assert!(installed > SEEDS, "too few snapshots: {installed}");
    assert_eq!(faults.len(), 12, "not every fault happened: {faults:?}");
}

#[test]
fn a_run_is_its_seed() {
    let run = |seed| format!("{:?}", Cluster::new(Settings::from_seed(seed)).run());
    assert_eq!(run(3), run(3));
}
