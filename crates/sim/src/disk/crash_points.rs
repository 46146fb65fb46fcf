//! Every place at which the power can fail during some work.

use super::{SimDisk, Survival};
use tenet_base::Rng as _;
use tenet_base::world::SplitMix64;

/// One loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashPoint {
    /// Operations that were done before.
    pub operation: u64,
    /// Which of the subsets of what was not synced.
    pub subset: u64,
    /// Submissions whose completion had come in.
    pub completed: u64,
}

/// Does everything that waits in `disk`, one operation after the other, and before each and after
/// the last hands to `check` copies of the disk on which the power failed there: one that kept
/// nothing of what was not synced, one that kept all, and random ones up to `subsets`. Goes on for
/// as long as `check` says so; returns how many copies it was given.
///
/// # Panics
/// If an operation fails, unless it was made to.
pub fn crash_points(
    disk: &mut SimDisk,
    subsets: u64,
    seed: u64,
    mut check: impl FnMut(CrashPoint, SimDisk) -> bool,
) -> u64 {
    let mut rng = SplitMix64::new(seed);
    let (mut crashes, mut completed) = (0, 0);
    loop {
        let operation = disk.performed();
        for subset in 0..subsets {
            let mut copy = disk.clone();
            let survival = match subset {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => Survival::Random,
            };
            copy.crash(survival, &mut SplitMix64::new(rng.next_u64()));
            crashes += 1;
            if !check(
                CrashPoint {
                    operation,
                    subset,
                    completed,
                },
                copy,
            ) {
                return crashes;
            }
        }
        if disk.is_idle() {
            return crashes;
        }
        if let Some(completion) = disk.perform_next() {
            assert!(
                completion.result.is_ok(),
                "operation {operation} failed: {completion:?}"
            );
            completed += 1;
        }
    }
}
