//! The log survives every loss of power at every operation, and each of its syncs is needed.

use crate::wal_work::{Step, Work, recover};
use std::collections::BTreeMap;
use tenet_base::Rng as _;
use tenet_base::disk::{Disk as _, DiskOp, Token};
use tenet_base::world::SplitMix64;
use tenet_sim::disk::{Config, CrashPoint, SimDisk, Survival, crash_points};

fn submit(disk: &mut SimDisk, steps: &[Step]) {
    for (token, step) in (0..).zip(steps) {
        disk.submit(Token(token), step.ops.clone());
    }
}

fn new_disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, Config::default())
}

/// A new log and `count` steps.
fn history(seed: u64, count: usize) -> Vec<Step> {
    let (mut work, create) = Work::create(seed);
    let mut steps = vec![create];
    steps.extend(work.steps(count));
    steps
}

/// The operations of `steps` of a kind.
fn count(steps: &[Step], kind: fn(&DiskOp) -> bool) -> usize {
    steps
        .iter()
        .flat_map(|step| &step.ops)
        .filter(|op| kind(op))
        .count()
}

fn is_sync(op: &DiskOp) -> bool {
    matches!(op, DiskOp::SyncData { .. } | DiskOp::SyncDir { .. })
}

/// Crashes at every operation of `steps` and recovers; the first violation, if there is one, and
/// the number of crashes.
fn crash_everywhere(
    disk: &mut SimDisk,
    steps: &[Step],
    subsets: u64,
    seed: u64,
) -> (Option<(CrashPoint, String)>, u64) {
    submit(disk, steps);
    let mut violation = None;
    let crashes = crash_points(disk, subsets, seed, |point, copy| {
        if let Err(what) = recover(&copy, steps, point.completed as usize) {
            violation = Some((point, what));
        }
        violation.is_none()
    });
    (violation, crashes)
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_crash_at_any_operation() {
    let (mut crashes, mut operations) = (0, 0);
    for seed in 0..4 {
        let steps = history(seed, 60);
        // The work has everything in it that can go wrong.
        assert!(count(&steps, |op| matches!(op, DiskOp::Rename { .. })) >= 3);
        assert!(count(&steps, |op| matches!(op, DiskOp::Remove { .. })) >= 2);
        let mut disk = new_disk(seed);
        let (violation, tried) = crash_everywhere(&mut disk, &steps, 32, seed);
        assert_eq!(violation, None, "seed {seed}");
        crashes += tried;
        operations += disk.performed();
    }
    println!("{crashes} crashes at {operations} operations");
    assert!(crashes >= 32 * operations && operations > 600);
}

/// Crash, repair, go on, crash during the repair or later, again and again.
#[test]
fn a_log_lives_through_many_crashes() {
    let (mut lives, mut cut, mut repairs_crashed) = (0, 0, 0);
    for seed in 0..150 {
        let mut rng = SplitMix64::new(seed);
        let mut disk = new_disk(seed);
        let (mut work, first) = Work::create(seed);
        let mut first = first;
        for life in 0..12 {
            let mut steps = vec![first];
            steps.extend(work.steps(3 + rng.below(12) as usize));
            submit(&mut disk, &steps);
            let operations: usize = steps.iter().map(|step| step.ops.len()).sum();
            let (mut completed, stop) = (0, rng.below(operations as u64 + 1));
            for _ in 0..stop {
                completed += usize::from(disk.perform_next().is_some());
            }
            if rng.below(3) == 0 {
                disk.end_process(&mut rng);
            } else {
                disk.crash(Survival::Random, &mut rng);
            }
            lives += 1;
            repairs_crashed += usize::from(completed == 0 && life > 0);
            let recovered = recover(&disk, &steps, completed);
            match recovered.unwrap_or_else(|what| panic!("seed {seed}, life {life}: {what}")) {
                None => (work, first) = Work::create(seed),
                Some(recovered) => {
                    cut += usize::from(recovered.opened.cut.is_some());
                    (work, first) = Work::resume(rng.next_u64(), recovered);
                }
            }
        }
    }
    println!("{lives} lives, {cut} torn tails cut, {repairs_crashed} repairs crashed");
    assert!(cut > lives / 40 && repairs_crashed > lives / 40);
}

/// The process ends after `operations` of a history, without a loss of power; the next one opens,
/// repairs and goes on, and there the power fails at every operation. With `skip`, that sync of the
/// repair is left out.
fn crash_after_end_of_process(seed: u64, operations: usize, skip: Option<u64>) -> Option<String> {
    let steps = history(seed, 14);
    let mut rng = SplitMix64::new(seed + operations as u64);
    let mut disk = new_disk(seed);
    submit(&mut disk, &steps);
    let mut completed = 0;
    for _ in 0..operations {
        completed += usize::from(disk.perform_next().is_some());
    }
    disk.end_process(&mut rng);
    let recovered = recover(&disk, &steps, completed).expect("nothing was lost");
    let (mut work, repair) = Work::resume(seed, recovered?);
    let mut steps = vec![repair];
    steps.extend(work.steps(2));
    if let Some(number) = skip {
        disk.skip_sync(disk.syncs() + number);
    }
    let (violation, _) = crash_everywhere(&mut disk, &steps, 6, seed);
    violation.map(|(point, what)| format!("after {operations} operations, {point:?}: {what}"))
}

/// What a new process reads may never have been synced by the old one; it is once it is repaired.
#[test]
fn what_was_read_after_the_end_of_a_process_survives_a_crash() {
    for seed in 0..3 {
        let operations: usize = history(seed, 14).iter().map(|step| step.ops.len()).sum();
        let mut noticed = [0; 3];
        for done in 0..=operations {
            assert_eq!(
                crash_after_end_of_process(seed, done, None),
                None,
                "seed {seed}"
            );
            for (number, noticed) in (0..).zip(&mut noticed) {
                *noticed +=
                    usize::from(crash_after_end_of_process(seed, done, Some(number)).is_some());
            }
        }
        // The segment's data, its name, and the directory's name.
        println!("{operations} ends of a process; repair without a sync noticed {noticed:?} times");
        assert!(noticed.iter().all(|times| *times > 0), "{noticed:?}");
    }
}

/// For every sync of a history: whether a crash somewhere shows that it was left out.
#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let mut unnoticed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut syncs_tried = 0;
    for seed in 0..2 {
        let steps = history(seed, 32);
        let syncs: Vec<(usize, &DiskOp)> = steps
            .iter()
            .enumerate()
            .flat_map(|(at, step)| step.ops.iter().map(move |op| (at, op)))
            .filter(|(_, op)| is_sync(op))
            .collect();
        for (number, (at, op)) in syncs.iter().enumerate() {
            let mut disk = new_disk(seed);
            disk.skip_sync(number as u64);
            syncs_tried += 1;
            let (violation, _) = crash_everywhere(&mut disk, &steps, 16, seed);
            if violation.is_none() {
                let next = syncs.get(number + 1).filter(|(next_at, _)| next_at == at);
                let removes =
                    count(&steps[*at..=*at], |op| matches!(op, DiskOp::Remove { .. })) > 0;
                let reason = match op {
                    DiskOp::SyncDir { .. } if removes && next.is_none() => LOST_REMOVAL,
                    _ => "",
                };
                unnoticed
                    .entry(reason)
                    .or_default()
                    .push(format!("seed {seed}: {at} {op:?}"));
            }
        }
    }
    println!("{syncs_tried} syncs left out; not noticed: {unnoticed:#?}");
    assert_eq!(unnoticed.get(""), None);
    assert!(syncs_tried > 70);
}

/// The one sync that safety does not need.
const LOST_REMOVAL: &str = "of the last removal of a release: if that is lost, one segment more is \
                            there, from which the chain of checksums goes on; the next release \
                            removes it";
