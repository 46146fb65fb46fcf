//! How fast files are rewritten, and when the scrub reads its next piece.
//!
//! Rewriting takes turns with flushes and shares the disk with the log and with readers, so under
//! load it is held to a rate: the lowest when little is to be gained, more the more of the files is
//! garbage, and more when a flush waits for its end. Without load, or when somebody asked for the
//! room, nothing holds it back.

use tenet_base::limits::{
    STORE_REWRITE_BYTES_PER_SECOND, STORE_SCRUB_BYTES_PER_SECOND, STORE_SCRUB_PAUSE_MS,
    STORE_SCRUB_STEP_BYTES,
};
use tenet_store::StoreSize;

/// A rate that holds nothing back.
pub(crate) const UNBOUNDED: u64 = u64::MAX;

/// How long nothing was applied when it counts as no load.
const IDLE_MS: u64 = 1_000;
/// How long after its start a member begins to read its files back.
const FIRST_SCRUB_MS: u64 = 60_000;

/// What decides about the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    /// The files of the store.
    pub(crate) files: StoreSize,
    /// A flush waits for the rewrite to end.
    pub(crate) flush_waits: bool,
    /// Somebody asked for the room, or it is short.
    pub(crate) hurry: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pace {
    now_ms: u64,
    applied: u64,
    /// When something was applied last.
    busy_ms: u64,
    next_scrub_ms: u64,
}

impl Pace {
    /// At the start, with the index that is applied.
    pub(crate) fn new(applied: u64) -> Self {
        Pace {
            now_ms: 0,
            applied,
            busy_ms: 0,
            next_scrub_ms: FIRST_SCRUB_MS,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Time has come to `now_ms`, and the state to `applied`.
    pub(crate) fn tick(&mut self, now_ms: u64, applied: u64) {
        self.now_ms = now_ms;
        if std::mem::replace(&mut self.applied, applied) != applied {
            self.busy_ms = now_ms;
        }
    }

    /// Bytes per second that a rewrite may read and write.
    pub(crate) fn rewrite_bytes_per_second(&self, pressure: Pressure) -> u64 {
        let idle = self.now_ms.saturating_sub(self.busy_ms) >= IDLE_MS;
        if idle || pressure.hurry {
            return UNBOUNDED;
        }
        let StoreSize {
            total_bytes,
            live_bytes,
        } = pressure.files;
        // An eighth is where rewriting begins; each sixteenth above doubles the rate.
        let sixteenths = (total_bytes - live_bytes).saturating_mul(16) / total_bytes.max(1);
        let doublings = sixteenths.saturating_sub(2).min(4) as u32;
        let urgent = if pressure.flush_waits { 4 } else { 1 };
        (STORE_REWRITE_BYTES_PER_SECOND << doublings) * urgent
    }

    /// Whether the next piece of the scrub is due.
    pub(crate) fn scrub_is_due(&self) -> bool {
        self.now_ms >= self.next_scrub_ms
    }

    /// A piece of the scrub was begun, or none was left of the pass.
    pub(crate) fn scrub_begun(&mut self, pass_ended: bool) {
        const STEP_MS: u64 = STORE_SCRUB_STEP_BYTES as u64 * 1_000 / STORE_SCRUB_BYTES_PER_SECOND;
        // What was missed is not made up for: then something else had the disk.
        let from = self
            .next_scrub_ms
            .max(self.now_ms.saturating_sub(STEP_MS * 4));
        self.next_scrub_ms = if pass_ended {
            self.now_ms + STORE_SCRUB_PAUSE_MS
        } else {
            from + STEP_MS
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure(garbage_percent: u64) -> Pressure {
        Pressure {
            files: StoreSize {
                total_bytes: 100_000,
                live_bytes: 100_000 - 1_000 * garbage_percent,
            },
            flush_waits: false,
            hurry: false,
        }
    }

    #[test]
    fn rewriting_is_slow_under_load_and_faster_the_more_garbage_there_is() {
        let mut pace = Pace::new(0);
        pace.tick(100, 5);
        let rate = |percent| pace.rewrite_bytes_per_second(pressure(percent));
        let lowest = STORE_REWRITE_BYTES_PER_SECOND;
        assert_eq!((rate(0), rate(13)), (lowest, lowest));
        assert_eq!((rate(19), rate(26)), (2 * lowest, 4 * lowest));
        assert_eq!((rate(60), rate(100)), (16 * lowest, 16 * lowest));
        let waited_for = Pressure {
            flush_waits: true,
            ..pressure(13)
        };
        assert_eq!(pace.rewrite_bytes_per_second(waited_for), 4 * lowest);
    }

    #[test]
    fn without_load_or_in_a_hurry_nothing_holds_it_back() {
        let mut pace = Pace::new(0);
        pace.tick(100, 5);
        let hurry = Pressure {
            hurry: true,
            ..pressure(13)
        };
        assert_eq!(pace.rewrite_bytes_per_second(hurry), UNBOUNDED);
        pace.tick(1_000, 5);
        assert_ne!(pace.rewrite_bytes_per_second(pressure(13)), UNBOUNDED);
        pace.tick(1_100, 5);
        assert_eq!(pace.rewrite_bytes_per_second(pressure(13)), UNBOUNDED);
    }

    #[test]
    fn a_scrub_keeps_its_rate_and_pauses_between_passes() {
        let mut pace = Pace::new(0);
        let mut steps = 0;
        for now_ms in (0..FIRST_SCRUB_MS + 10_000).step_by(100) {
            pace.tick(now_ms, 0);
            while pace.scrub_is_due() {
                pace.scrub_begun(false);
                steps += 1;
            }
        }
        let bytes = steps * STORE_SCRUB_STEP_BYTES as u64;
        let most = 10 * STORE_SCRUB_BYTES_PER_SECOND;
        assert!(bytes <= most && bytes > most * 9 / 10, "{bytes} of {most}");
        pace.scrub_begun(true);
        pace.tick(FIRST_SCRUB_MS + STORE_SCRUB_PAUSE_MS, 0);
        assert!(!pace.scrub_is_due());
        pace.tick(FIRST_SCRUB_MS + 10_000 + STORE_SCRUB_PAUSE_MS, 0);
        assert!(pace.scrub_is_due());
    }
}
