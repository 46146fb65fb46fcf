//! Automatic compaction, as etcd's flags ask for it: by time or by number of revisions.
//!
//! Only the leader proposes. Time comes in by message, and counts from the first one, so the first
//! compaction by time comes a whole period after the start. A proposal that is lost with its
//! leader is made again at the next turn.
//!
//! By time, the revision is noted ten times an interval, which is the period or an hour if that is
//! less; at each interval the store is compacted at what was noted a period ago. By number, every
//! five minutes all but the newest revisions go.

use std::collections::VecDeque;

/// What history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// What is younger than this.
    PeriodMs(u64),
    /// This many revisions.
    Revisions(i64),
}

const HOUR_MS: u64 = 60 * 60 * 1_000;
/// How often compaction by number looks.
const BY_NUMBER_MS: u64 = 5 * 60 * 1_000;
/// Notes an interval.
const NOTES: u64 = 10;

/// See the module.
#[derive(Debug)]
pub struct Compactor {
    retention: Retention,
    next_ms: Option<u64>,
    /// Revisions noted, oldest first; the last one is the newest.
    notes: VecDeque<i64>,
    /// When the next compaction by time may be.
    due_ms: u64,
    /// The revision of the last compaction that was asked for.
    last: i64,
}

impl Compactor {
    /// A compactor that keeps `retention`.
    #[must_use]
    pub fn new(retention: Retention) -> Self {
        Compactor {
            retention,
            next_ms: None,
            notes: VecDeque::new(),
            due_ms: 0,
            last: 0,
        }
    }

    /// Time has come to `now_ms`, on a clock that never goes back, and the store to `revision`.
    /// Gives the revision to compact at, if that is due.
    pub fn tick(&mut self, now_ms: u64, revision: i64, leads: bool) -> Option<i64> {
        let step_ms = self.step_ms();
        let Some(next_ms) = self.next_ms else {
            self.next_ms = Some(now_ms + step_ms);
            self.due_ms = now_ms + self.first_ms();
            self.note(revision);
            return None;
        };
        if now_ms < next_ms {
            return None;
        }
        // A process that was stopped for long does not make up for it.
        self.next_ms = Some(now_ms + step_ms);
        let at = match self.retention {
            Retention::Revisions(keep) => revision.saturating_sub(keep),
            Retention::PeriodMs(_) => {
                let oldest = self.notes.front().copied().unwrap_or(0);
                self.note(revision);
                if now_ms < self.due_ms {
                    return None;
                }
                oldest
            }
        };
        if !leads || at <= self.last || at <= 0 {
            return None;
        }
        self.last = at;
        self.due_ms = now_ms + self.interval_ms();
        Some(at)
    }

    fn first_ms(&self) -> u64 {
        match self.retention {
            Retention::PeriodMs(period) => period,
            Retention::Revisions(_) => BY_NUMBER_MS,
        }
    }

    fn interval_ms(&self) -> u64 {
        match self.retention {
            Retention::PeriodMs(period) => period.min(HOUR_MS),
            Retention::Revisions(_) => BY_NUMBER_MS,
        }
    }

    fn step_ms(&self) -> u64 {
        match self.retention {
            Retention::PeriodMs(_) => (self.interval_ms() / NOTES).max(1),
            Retention::Revisions(_) => BY_NUMBER_MS,
        }
    }

    /// Notes a revision, and forgets those noted more than a period ago.
    fn note(&mut self, revision: i64) {
        if let Retention::PeriodMs(period) = self.retention {
            self.notes.push_back(revision);
            let kept = period / self.step_ms();
            while self.notes.len() as u64 > kept.max(1) {
                self.notes.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60 * 1_000;

    /// Lets time pass in steps of 100 ms, one revision each second; gives when what was compacted.
    fn run(retention: Retention, until_ms: u64, leads: impl Fn(u64) -> bool) -> Vec<(u64, i64)> {
        let mut compactor = Compactor::new(retention);
        let mut done = Vec::new();
        for now_ms in (0..=until_ms).step_by(100) {
            let revision = 1 + (now_ms / 1_000) as i64;
            if let Some(at) = compactor.tick(now_ms, revision, leads(now_ms)) {
                done.push((now_ms, at));
            }
        }
        done
    }

    #[test]
    fn by_time_what_is_a_period_old_goes() {
        let period_ms = 10 * MINUTE_MS;
        let done = run(Retention::PeriodMs(period_ms), 61 * MINUTE_MS, |_| true);
        assert_eq!(done.len(), 6, "{done:?}");
        for (turn, (when, at)) in done.iter().enumerate() {
            assert_eq!(*when, (turn as u64 + 1) * period_ms);
            // Revisions are noted every minute.
            let age_ms = *when as i64 - (at - 1) * 1_000;
            let most = period_ms as i64;
            assert!(
                age_ms <= most && age_ms > most - MINUTE_MS as i64,
                "{age_ms}"
            );
        }
    }

    #[test]
    fn a_long_period_is_looked_at_every_hour() {
        let done = run(Retention::PeriodMs(5 * HOUR_MS), 8 * HOUR_MS, |_| true);
        let when: Vec<u64> = done.iter().map(|(when, _)| when / HOUR_MS).collect();
        assert_eq!(when, [5, 6, 7, 8]);
        for (when, at) in done {
            let age_ms = when as i64 - (at - 1) * 1_000;
            assert!((4 * HOUR_MS as i64..=5 * HOUR_MS as i64).contains(&age_ms));
        }
    }

    #[test]
    fn by_number_all_but_the_newest_go_every_five_minutes() {
        let done = run(Retention::Revisions(100), 16 * MINUTE_MS, |_| true);
        assert_eq!(
            done,
            [
                (5 * MINUTE_MS, 201),
                (10 * MINUTE_MS, 501),
                (15 * MINUTE_MS, 801)
            ]
        );
    }

    #[test]
    fn whoever_does_not_lead_asks_for_nothing_and_a_still_store_is_left_alone() {
        assert_eq!(run(Retention::Revisions(1), HOUR_MS, |_| false), []);
        // Leadership that comes late finds the notes that were taken meanwhile.
        let period_ms = 10 * MINUTE_MS;
        let late = run(Retention::PeriodMs(period_ms), 36 * MINUTE_MS, |now| {
            now > 35 * MINUTE_MS + 1
        });
        assert_eq!(late.len(), 1, "{late:?}");
        let mut compactor = Compactor::new(Retention::Revisions(5));
        let asked =
            (0..10u64).filter(|turn| compactor.tick(turn * BY_NUMBER_MS, 50, true).is_some());
        assert_eq!(asked.count(), 1);
    }
}
