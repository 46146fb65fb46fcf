//! The room of the file system that a member lives on.
//!
//! Two amounts are kept free of writes. The *reserve*: when less is free, writes are refused and
//! the alarm is raised, so that what is under way, the next segment of the log and the next flush
//! still fit. The *ballast*: a file that takes room for nothing, and is removed when there is none
//! left at all, whoever took it; then there is room to delete, to compact, and to rewrite the
//! files. It is made again when there is enough room for both.
//!
//! Invariants: room is called low from when reserve and ballast are not free together until there
//! is an eighth more than both; the ballast is made only while room is not low.
//!
//! How much room there is comes in from outside; nothing here asks for it.

use tenet_base::disk::{DiskOp, FilePath, Room};
use tenet_base::limits::{BALLAST_BYTES, SPACE_PARTS_MIN, SPACE_RESERVE_BYTES, STORE_FLUSH_BYTES};

/// What was seen of the room, and done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceNews {
    /// Whether there is so little that writes are refused.
    pub low: bool,
    /// Bytes that are free where there is less, the store's place or the log's.
    pub free_bytes: u64,
    /// Whether `low` has changed.
    pub changed: bool,
    /// Whether the ballast was just given up.
    pub gave_up_ballast: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Space {
    /// The file that takes room.
    ballast: FilePath,
    /// Its length; zero if it is not there.
    ballast_bytes: u64,
    /// The side files of the last cut, of which the next flush writes as much.
    side_bytes: u64,
    low: bool,
    gave_up_ballast: bool,
}

impl Space {
    /// For a member whose ballast, if there is one from before, has `ballast_bytes`.
    pub(crate) fn new(ballast: FilePath, ballast_bytes: u64, side_bytes: u64) -> Self {
        Space {
            ballast,
            ballast_bytes,
            side_bytes,
            low: false,
            gave_up_ballast: false,
        }
    }

    /// The files beside the segments have become this long.
    pub(crate) fn set_side_bytes(&mut self, bytes: u64) {
        self.side_bytes = bytes;
    }

    /// There is this much room for the store, and for the log. Gives what is to be done about the
    /// ballast, and the news.
    pub(crate) fn look(&mut self, store: Room, log: Room) -> (Vec<DiskOp>, SpaceNews) {
        let flush_bytes = 2 * STORE_FLUSH_BYTES + self.side_bytes;
        let part = |room: Room, bytes: u64| bytes.min(room.capacity_bytes / SPACE_PARTS_MIN);
        let ballast_bytes = part(store, BALLAST_BYTES + flush_bytes);
        let wanted = part(store, SPACE_RESERVE_BYTES + flush_bytes) + ballast_bytes;
        let log_wanted = part(log, SPACE_RESERVE_BYTES);
        let free = store.free_bytes.saturating_add(self.ballast_bytes);

        let was_low = self.low;
        let margin = |bytes: u64| if was_low { bytes + bytes / 8 } else { bytes };
        self.low = free < margin(wanted) || log.free_bytes < margin(log_wanted);
        let mut ops = Vec::new();
        if !self.low && self.ballast_bytes < ballast_bytes {
            let path = self.ballast.clone();
            let reserve_bytes = ballast_bytes;
            ops.extend([
                DiskOp::Create {
                    path: path.clone(),
                    reserve_bytes,
                },
                DiskOp::Close { path },
            ]);
            self.ballast_bytes = ballast_bytes;
        }
        let news = SpaceNews {
            low: self.low,
            free_bytes: store.free_bytes.min(log.free_bytes),
            changed: self.low != was_low,
            gave_up_ballast: std::mem::take(&mut self.gave_up_ballast),
        };
        (ops, news)
    }

    /// Something could not be written for lack of space: gives the ballast up, if it is there.
    pub(crate) fn ran_out(&mut self) -> Vec<DiskOp> {
        if self.ballast_bytes == 0 {
            return Vec::new();
        }
        self.ballast_bytes = 0;
        self.gave_up_ballast = true;
        vec![DiskOp::Remove {
            path: self.ballast.clone(),
        }]
    }

    /// The ballast could not be made.
    pub(crate) fn not_made(&mut self) {
        self.ballast_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1 << 20;

    fn room(free_mb: u64) -> Room {
        Room {
            free_bytes: free_mb * MB,
            capacity_bytes: 10_000 * MB,
        }
    }

    fn space() -> Space {
        Space::new(FilePath::new("ballast"), 0, 0)
    }

    #[test]
    fn the_ballast_is_made_once_and_again_after_it_was_given_up() {
        let mut space = space();
        let (ops, news) = space.look(room(1_000), room(1_000));
        let made = DiskOp::Create {
            path: FilePath::new("ballast"),
            reserve_bytes: 32 * MB,
        };
        assert_eq!(ops[0], made);
        assert!(!news.low && !news.changed);
        assert_eq!(space.look(room(968), room(968)).0, []);
        assert_eq!(space.ran_out().len(), 1);
        assert_eq!(space.ran_out(), [], "it is gone");
        let (ops, news) = space.look(room(32), room(32));
        assert!(ops.is_empty() && news.low && news.changed && news.gave_up_ballast);
        let (ops, _) = space.look(room(1_000), room(1_000));
        assert_eq!(ops[0], made);
    }

    #[test]
    fn low_begins_at_reserve_and_ballast_and_ends_an_eighth_above() {
        let mut space = space();
        let wanted = (SPACE_RESERVE_BYTES + BALLAST_BYTES + 4 * STORE_FLUSH_BYTES).div_ceil(MB);
        let mut low = |free_mb| {
            // No ballast is there, and it cannot be made.
            let news = space.look(room(free_mb), room(free_mb)).1;
            space.not_made();
            news.low
        };
        assert!(!low(wanted));
        assert!(low(wanted - 1));
        assert!(low(wanted + wanted / 8 - 1));
        assert!(!low(wanted + wanted / 8 + 1));
        assert!(!low(wanted));
    }

    #[test]
    fn a_small_file_system_has_a_small_reserve_and_the_log_counts_apart() {
        let small = |free_mb| Room {
            free_bytes: free_mb * MB,
            capacity_bytes: 80 * MB,
        };
        let mut space = space();
        let (ops, news) = space.look(small(20), small(20));
        assert!(!news.low, "ten for each");
        assert!(matches!(ops[0], DiskOp::Create { reserve_bytes, .. } if reserve_bytes == 10 * MB));
        assert!(!space.look(small(10), room(1_000)).1.low);
        assert!(space.look(small(10), room(61)).1.low);
        assert!(space.look(small(9), room(1_000)).1.low);
    }
}
