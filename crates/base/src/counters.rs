//! Plain counters that pure code may increment and that a transport renders as metrics.
//!
//! They never decide anything: no code may branch on a counter's value.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub const fn new() -> Self {
        Gauge(AtomicU64::new(0))
    }

    /// Sets the value.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Observations counted by size, in the form that Prometheus wants.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One more than the bounds: the last counts what is above all of them.
    counts: Vec<AtomicU64>,
    /// Sum of all observations, in billionths.
    sum_nano: AtomicU64,
}

impl Histogram {
    /// An empty histogram; `bounds` are inclusive upper bounds, ascending.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram {
            bounds,
            counts,
            sum_nano: AtomicU64::new(0),
        }
    }

    /// Counts one observation.
    #[inline]
    pub fn record(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum_nano
            .fetch_add((value * 1e9) as u64, Ordering::Relaxed);
    }

    /// For each bound how many observations were at or below it, and the number of all.
    #[must_use]
    pub fn cumulative(&self) -> (Vec<(f64, u64)>, u64) {
        let mut total = 0;
        let mut rows = Vec::with_capacity(self.bounds.len());
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            rows.push((*bound, total));
        }
        total += self.counts[self.bounds.len()].load(Ordering::Relaxed);
        (rows, total)
    }

    /// The sum of all observations.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum_nano.load(Ordering::Relaxed) as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_up_to_and_including_each_bound() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 2.0] {
            histogram.record(value);
        }
        assert_eq!(histogram.cumulative(), (vec![(0.5, 2), (1.0, 3)], 4));
        assert!((histogram.sum() - 3.5).abs() < 1e-9);
    }
}
