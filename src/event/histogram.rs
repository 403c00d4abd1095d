//! How long things took, in bins that grow.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bins of nanoseconds: four to each doubling, from 16 ns to more than a minute. A value stands for its bin's middle, so it
/// is off by an eighth at most.
pub(crate) struct Histogram([AtomicU64; BINS]);

const BINS: usize = 128;
/// The doubling where the bins begin: 16 ns.
const FIRST: u32 = 4;

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BINS])
    }
}

impl Histogram {
    /// Adds something that took so long.
    pub(crate) fn add(&self, nanos: u64) {
        self.0[bin(nanos)].fetch_add(1, Relaxed);
    }

    /// Takes out what was added since the last time: for each bin with any, its middle in seconds, and how many.
    pub(crate) fn drain(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.0.iter().enumerate().map(|(number, count)| (middle(number), count.swap(0, Relaxed)));
        counts.filter(|(_, count)| *count > 0)
    }
}

fn bin(nanos: u64) -> usize {
    let doubling = nanos.max(1 << FIRST).ilog2();
    let quarter = (nanos.max(1 << FIRST) >> (doubling - 2)) & 3;
    ((doubling - FIRST) as usize * 4 + quarter as usize).min(BINS - 1)
}

/// The middle of a bin, in seconds.
fn middle(bin: usize) -> f64 {
    let (doubling, quarter) = (FIRST + bin as u32 / 4, bin as u64 % 4);
    let width = 1u64 << (doubling - 2);
    ((4 + quarter) * width + width / 2) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_off_by_an_eighth_at_most_and_is_given_out_once() {
        let histogram = Histogram::default();
        for nanos in [16, 17, 100, 999, 1_000, 123_456, 1_000_000_000, 60_000_000_000] {
            histogram.add(nanos);
            let found: Vec<_> = histogram.drain().collect();
            let [(seconds, 1)] = found[..] else { panic!("{found:?}") };
            assert!((seconds * 1e9 / nanos as f64 - 1.0).abs() <= 0.13, "{nanos} ns is told as {seconds} s");
        }
        assert_eq!(histogram.drain().count(), 0);
        [0, 1, 15, u64::MAX].into_iter().for_each(|nanos| histogram.add(nanos));
        assert_eq!(histogram.drain().map(|(_, count)| count).collect::<Vec<_>>(), [3, 1]);
    }
}
