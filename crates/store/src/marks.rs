//! A set of records of one view, one bit each.

use crate::Place;

/// A set of [`Place`]s of one view.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    segments: Vec<Vec<u64>>,
    len: usize,
}

impl Marks {
    /// Adds a place. Returns whether it was new.
    pub fn insert(&mut self, place: Place) -> bool {
        let (word, bit) = (place.slot as usize / 64, 1 << (place.slot % 64));
        let segment = place.segment as usize;
        if self.segments.len() <= segment {
            self.segments.resize_with(segment + 1, Vec::new);
        }
        let words = &mut self.segments[segment];
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        let new = words[word] & bit == 0;
        words[word] |= bit;
        self.len += usize::from(new);
        new
    }

    /// Whether a place was added.
    #[must_use]
    pub fn contains(&self, place: Place) -> bool {
        self.segments
            .get(place.segment as usize)
            .and_then(|words| words.get(place.slot as usize / 64))
            .is_some_and(|word| word & (1 << (place.slot % 64)) != 0)
    }

    /// How many places were added.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
