//! A hierarchical timer wheel (Varghese and Lauck 1987, scheme 7) over small tokens.
//!
//! Putting a token in, taking it out and moving it are a few writes, whatever the number of
//! tokens. A token comes out when its time has passed, never before, and at most one slot of the
//! lowest level later than the wheel is turned.
//!
//! Invariants: a token is in the wheel at most once; it sits in the list of the slot that its link
//! names.

/// Width of a slot of the lowest level.
const SLOT_MS: u64 = 64;
/// Each level has so many slots, each as wide as the whole level below.
const SLOTS: u64 = 256;
const SLOT_BITS: u32 = 8;
/// Four levels span 8.7 years; what is due later waits in the last and is put in again then.
const LEVELS: u32 = 4;
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS);

/// No token, no slot.
const NONE: u32 = u32::MAX;

/// A token's neighbours in the list of its slot.
#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
    /// The slot, counted over all levels; [`NONE`] if the token is not in the wheel.
    slot: u32,
    /// When it is due, in slots of the lowest level.
    due: u64,
}

const UNLINKED: Link = Link {
    previous: NONE,
    next: NONE,
    slot: NONE,
    due: 0,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    /// First token of each slot, level by level.
    heads: Vec<u32>,
    /// By token.
    links: Vec<Link>,
    /// The slot of the lowest level that is emptied next, counted from time zero.
    next: u64,
}

impl Wheel {
    pub(super) fn new(now_ms: u64) -> Self {
        Wheel {
            heads: vec![NONE; (SLOTS * u64::from(LEVELS)) as usize],
            links: Vec::new(),
            next: now_ms / SLOT_MS,
        }
    }

    /// Puts a token in, or moves it: it comes out once `due_ms` has passed.
    pub(super) fn set(&mut self, token: u32, due_ms: u64) {
        self.remove(token);
        if self.links.len() <= token as usize {
            self.links.resize(token as usize + 1, UNLINKED);
        }
        self.link(token, due_ms.div_ceil(SLOT_MS));
    }

    /// Takes a token out, if it is in.
    pub(super) fn remove(&mut self, token: u32) {
        let Some(&Link {
            previous,
            next,
            slot,
            ..
        }) = self.links.get(token as usize)
        else {
            return;
        };
        if slot == NONE {
            return;
        }
        match previous {
            NONE => self.heads[slot as usize] = next,
            _ => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        self.links[token as usize] = UNLINKED;
    }

    /// Moves everything that is due into `out`.
    pub(super) fn turn(&mut self, now_ms: u64, out: &mut Vec<u32>) {
        while self.next <= now_ms / SLOT_MS {
            // Where a level begins anew, a slot of the level above is spread over it.
            for level in (1..LEVELS).rev() {
                if self.next.is_multiple_of(1 << (SLOT_BITS * level)) {
                    self.spread(level);
                }
            }
            let head = (self.next % SLOTS) as usize;
            while self.heads[head] != NONE {
                let token = self.heads[head];
                self.remove(token);
                out.push(token);
            }
            self.next += 1;
        }
    }

    fn spread(&mut self, level: u32) {
        let slot = (self.next >> (SLOT_BITS * level)) % SLOTS;
        let head = (u64::from(level) * SLOTS + slot) as usize;
        let mut token = std::mem::replace(&mut self.heads[head], NONE);
        while token != NONE {
            let Link { next, due, .. } = self.links[token as usize];
            self.link(token, due);
            token = next;
        }
    }

    /// Puts a token that is in no slot into the one that is emptied, or spread, in time.
    fn link(&mut self, token: u32, due: u64) {
        let at = due.clamp(self.next, self.next + SPAN - 1);
        let level = match at - self.next {
            0 => 0,
            distance => distance.ilog2() / SLOT_BITS,
        };
        let slot = (at >> (SLOT_BITS * level)) % SLOTS;
        let slot = (u64::from(level) * SLOTS + slot) as u32;
        let head = std::mem::replace(&mut self.heads[slot as usize], token);
        if head != NONE {
            self.links[head as usize].previous = token;
        }
        self.links[token as usize] = Link {
            previous: NONE,
            next: head,
            slot,
            due,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turned(wheel: &mut Wheel, now_ms: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.turn(now_ms, &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn tokens_come_out_in_time_and_never_early_whatever_the_distance() {
        // Up to beyond the span of the wheel, from an odd start.
        let start = 12_345;
        for distance in [0, 1, 63, 64, 65, 16_383, 16_384, 16_385, 5_000_000] {
            let mut wheel = Wheel::new(start);
            let due = start + distance;
            wheel.set(3, due);
            if distance > 0 {
                assert_eq!(turned(&mut wheel, due - 1), [0; 0], "{distance} ms");
            }
            assert_eq!(turned(&mut wheel, due + SLOT_MS), [3], "{distance} ms");
            assert_eq!(turned(&mut wheel, due + SLOT_MS * 300), [0; 0]);
        }
    }

    #[test]
    fn what_lies_beyond_the_span_waits() {
        let mut wheel = Wheel::new(0);
        let slots = 3 * SPAN;
        wheel.set(0, slots * SLOT_MS);
        // Turning through 26 years takes a while, so the wheel is set on to where something
        // happens: where the slots of the highest level are spread in which the token waits.
        let top = SLOT_BITS * (LEVELS - 1);
        for slot in [255, 510, 765] {
            wheel.next = (slot << top) - 1;
            assert_eq!(turned(&mut wheel, (slot << top) * SLOT_MS), [0; 0]);
        }
        wheel.next = slots - 1;
        assert_eq!(turned(&mut wheel, slots * SLOT_MS - 1), [0; 0]);
        assert_eq!(turned(&mut wheel, slots * SLOT_MS), [0]);
    }

    #[test]
    fn moved_and_removed_tokens_come_out_once_or_not_at_all() {
        let mut wheel = Wheel::new(0);
        for token in 0..4 {
            wheel.set(token, 1_000);
        }
        wheel.set(1, 30_000);
        wheel.set(2, 100);
        wheel.remove(3);
        wheel.remove(3);
        wheel.remove(99);
        assert_eq!(turned(&mut wheel, 500), [2]);
        assert_eq!(turned(&mut wheel, 2_000), [0]);
        assert_eq!(turned(&mut wheel, 40_000), [1]);
    }

    proptest! {
        #[test]
        fn equals_a_sorted_list(
            steps in proptest::collection::vec((0u32..16, 0u64..3_000_000, 0u64..40_000), 1..200)
        ) {
            let mut wheel = Wheel::new(0);
            let mut twin = std::collections::BTreeMap::new();
            let mut now = 0;
            for (token, delay, pass) in steps {
                wheel.set(token, now + delay);
                twin.insert(token, now + delay);
                now += pass;
                for token in turned(&mut wheel, now) {
                    let due = twin.remove(&token).expect("set and not out yet");
                    prop_assert!(due <= now);
                }
                for due in twin.values() {
                    prop_assert!(*due + SLOT_MS > now, "due at {} and not out at {}", due, now);
                }
            }
        }
    }
}
