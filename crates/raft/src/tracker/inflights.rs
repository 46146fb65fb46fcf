//! The append messages on their way to one follower.
//!
//! Invariants: positions rise from front to back; `bytes` is their sum. The byte limit is soft: a
//! message is let through while the sum is below the limit.

use std::collections::VecDeque;

use tenet_base::Index;

/// A sliding window over the messages that have not been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflights {
    /// The last entry of each message and the bytes of its entries.
    window: VecDeque<(Index, u64)>,
    bytes: u64,
    max_count: usize,
    max_bytes: u64,
}

impl Inflights {
    /// An empty window with its two limits.
    #[must_use]
    pub fn new(max_count: usize, max_bytes: u64) -> Self {
        Inflights {
            window: VecDeque::new(),
            bytes: 0,
            max_count,
            max_bytes,
        }
    }

    /// A message with entries up to `last` is sent.
    ///
    /// # Panics
    /// If the window is [full](Inflights::is_full), or `last` is not beyond what is in it.
    pub fn add(&mut self, last: Index, bytes: u64) {
        assert!(
            !self.is_full(),
            "message {last} into a full window of {}",
            self.count()
        );
        if let Some((newest, _)) = self.window.back() {
            assert!(
                *newest < last,
                "message {last} is sent after message {newest}"
            );
        }
        self.window.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// The follower has everything up to `index`.
    pub fn free_through(&mut self, index: Index) {
        while let Some((last, bytes)) = self.window.front().copied() {
            if last > index {
                break;
            }
            self.window.pop_front();
            self.bytes -= bytes;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.window.clear();
        self.bytes = 0;
    }

    /// Whether nothing more may be sent.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.window.len() >= self.max_count || self.bytes >= self.max_bytes
    }

    /// How many messages are on their way.
    #[must_use]
    pub fn count(&self) -> usize {
        self.window.len()
    }
}
