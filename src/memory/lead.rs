//! How far ahead of its end an entry is renewed, by chance.
//!
//! XFetch: each read, so long before the end, renews with the probability e^(-left / lead), where the lead is what the
//! entry's computation took, times β. So of many readers one renews in time, and no two processes that know the same end
//! are likely to do so at once. A. Vattani, F. Chierichetti, K. Lowenstein: Optimal Probabilistic Cache Stampede Prevention,
//! PVLDB 8(8), 2015.

use std::time::Duration;

use super::span::{pack, unpack};

/// The lead of an entry, in ticks, in the 16 bits that an entry of L1 has to spare: eleven of the number, and five that
/// say how far they are shifted. So it is right to a two-thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lead(u16);

const BITS: u32 = 11;
/// Reads that are further from the end than so many leads do not draw: of a million, six would renew.
const FAR: u64 = 12;

impl Lead {
    /// That of an entry whose computation took `cost`. Zero where `beta` is.
    pub(crate) fn new(cost: Duration, beta: f64) -> Self {
        let ticks = (cost.as_secs_f64() * 1_000.0 * beta).round() as u64;
        Self(pack(ticks, BITS) as u16)
    }

    fn ticks(self) -> u64 {
        unpack(self.0.into(), BITS)
    }

    /// How long before the end reads begin to draw, in ticks.
    pub(crate) fn window(self) -> u64 {
        self.ticks() * FAR
    }

    /// Whether a read that finds the entry so many ticks before its end, within the window, renews it.
    #[cold]
    pub(crate) fn is_drawn(self, left: u64) -> bool {
        // Above zero, and at most one.
        let drawn = 1.0 - fastrand::f64();
        -(self.ticks() as f64) * drawn.ln() >= left as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(cost: u64, beta: f64) -> u64 {
        Lead::new(Duration::from_millis(cost), beta).ticks()
    }

    #[test]
    fn sixteen_bits_hold_any_lead_to_a_two_thousandth() {
        for exact in [0, 1, 2, 100, 2_046, 2_047] {
            assert_eq!(millis(exact, 1.0), exact);
        }
        for long in [2_048, 5_003, 60_000, 3_600_001, 86_400_000, 3_000_000_000_000] {
            let kept = millis(long, 1.0);
            assert!(kept <= long && long - kept <= long / 1_000, "{long} is kept as {kept}");
        }
        assert_eq!((millis(100, 0.5), millis(100, 2.5), millis(100, 0.0)), (50, 250, 0));
        assert_eq!(Lead::new(Duration::from_micros(400), 1.0), Lead::default());
        assert!(Lead::new(Duration::MAX, 100.0).window() > 1 << 40);
    }

    #[test]
    fn a_read_renews_with_the_probability_of_the_paper() {
        fastrand::seed(7);
        let lead = Lead::new(Duration::from_millis(100), 1.0);
        let share = |left| (0..100_000).filter(|_| lead.is_drawn(left)).count() as f64 / 100_000.0;
        for (left, expected) in [(0, 1.0), (1, 0.990), (50, 0.607), (100, 0.368), (300, 0.0498), (1_200, 0.000_006)] {
            let share = share(left);
            assert!((share - expected).abs() < 0.006, "{left} ms before the end: {share} instead of {expected}");
        }
        assert_eq!(lead.window(), 1_200);
    }
}
