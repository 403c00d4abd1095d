//! The pace: how long the way to the backend is.
//!
//! A lease that lasts no longer than the few operations that it is to span is of no use: it runs out on the way. So a
//! lease is held for a multiple of what operations take, where that is longer than what was asked for.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::millis;

/// A lease spans its own request, the time of the ledger, and the write; it is renewed each third
/// of its time, and a renewal has to arrive in the rest. Twice that many operations, because they vary.
const OPERATIONS: u64 = 8;
/// The longest hold that a slow backend is the reason for: so long others wait for a process that died.
const LONGEST: u64 = 30_000;
/// The estimate falls by this share of the difference.
const SHARE: u64 = 8;

/// What operations take until the first is measured, in milliseconds: the first lease may be the first operation.
const UNMEASURED: u64 = 1_000;

/// What operations on small values take, in milliseconds: as long as the slowest of late.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

/// Nothing was measured.
const NONE: u64 = u64::MAX;

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(NONE))
    }
}

impl Pace {
    /// Takes note of an operation that took so many milliseconds. A longer one counts at once, shorter ones by and by.
    pub(super) fn note(&self, latency: u64) {
        let (known, latency) = (self.0.load(Relaxed), latency.min(LONGEST / OPERATIONS));
        let next = match known {
            NONE => latency,
            known if latency < known => known - (known - latency).div_ceil(SHARE),
            _ => latency,
        };
        // One that comes while another is noted is not missed.
        if next != known {
            self.0.store(next, Relaxed);
        }
    }

    /// How long a lease is to hold that is asked for `hold`.
    pub(super) fn hold(&self, hold: Duration) -> Duration {
        let known = self.0.load(Relaxed);
        let needed = if known == NONE { UNMEASURED } else { known }.saturating_mul(OPERATIONS);
        if millis(hold) < needed { Duration::from_millis(needed) } else { hold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(pace: &Pace) -> u64 {
        millis(pace.hold(Duration::from_millis(1_500)))
    }

    #[test]
    fn a_hold_is_as_long_as_asked_for_where_the_way_is_short() {
        let pace = Pace::default();
        assert_eq!(hold(&pace), 8_000, "nothing was measured");
        pace.note(1);
        assert_eq!(hold(&pace), 1_500);
        (0..100).for_each(|_| pace.note(187));
        assert_eq!(hold(&pace), 1_500);
    }

    #[test]
    fn it_follows_the_way_up_at_once_and_down_by_and_by_within_half_a_minute() {
        let pace = Pace::default();
        pace.note(500);
        assert_eq!(hold(&pace), 4_000);
        pace.note(100_000);
        assert_eq!(hold(&pace), 30_000);
        assert_eq!(pace.hold(Duration::from_secs(60)), Duration::from_secs(60), "what was asked for is longer");
        let falling: Vec<_> = std::iter::repeat_with(|| {
            pace.note(1);
            hold(&pace)
        })
        .take(60)
        .collect();
        assert!(falling.is_sorted_by(|one, next| one >= next));
        assert_eq!(falling.last(), Some(&1_500));
    }
}
