//! Correct histories are accepted, and each way to break them is noticed.

mod cases;
mod generate;

use std::collections::BTreeMap;

use super::*;

fn words(report: &Report) -> String {
    let words: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    words.join("\n")
}

#[test]
fn correct_histories_are_accepted() {
    let (mut lost, mut expired, mut events, mut bookmarks) = (0, 0, 0, 0);
    for seed in 0..300 {
        let history = generate::history(seed, 150);
        let report = check(&history);
        assert!(
            report.violations.is_empty(),
            "seed {seed}: {}",
            words(&report)
        );
        lost += report.lost_done;
        expired += report.expired;
        events += report.events;
        bookmarks += report.bookmarks;
    }
    assert!(
        lost > 100 && expired > 100,
        "{lost} lost and done, {expired} expired"
    );
    assert!(
        events > 10_000 && bookmarks > 1_000,
        "{events} events, {bookmarks} bookmarks"
    );
}

#[test]
fn every_mutation_is_noticed_wherever_it_is_made() {
    let mut tried: BTreeMap<Mutation, u32> = BTreeMap::new();
    for seed in 0..120 {
        let good = generate::history(seed, 150);
        for mutation in Mutation::all() {
            let mut history = good.clone();
            if !mutation.apply(&mut history, seed * 977) {
                continue;
            }
            *tried.entry(mutation).or_default() += 1;
            let report = check(&history);
            let named = |violation: &Violation| mutation.breaks().contains(&violation.property);
            assert!(
                report.violations.iter().any(named),
                "seed {seed}, {}: {}",
                mutation.name(),
                words(&report)
            );
        }
    }
    for mutation in Mutation::all() {
        let times = tried.get(&mutation).copied().unwrap_or(0);
        assert!(
            times >= 10,
            "{} was tried only {times} times",
            mutation.name()
        );
    }
}

#[test]
fn a_history_is_the_same_after_it_was_written_and_read() {
    let history = generate::history(1, 300);
    assert_eq!(History::parse(&history.text()).unwrap(), history);
}
