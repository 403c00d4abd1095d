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
/// How long a slow operation counts at least, in milliseconds; at most twice as long while there are others. A process
/// that is busy with thousands of computations is slow in waves: between two of them its leases have to last.
const WINDOW: u64 = 5_000;

/// What operations take until the first is measured, in milliseconds: the first lease may be the first operation.
const UNMEASURED: u64 = 1_000;

/// What operations on small values take, in milliseconds: as long as the slowest in this window and the one before.
///
/// The number of the window in the upper half, below it the slowest of the window before, then the slowest of this one.
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
    /// Takes note of an operation that took so many milliseconds and ended at the tick `now`.
    pub(super) fn note(&self, latency: u64, now: u64) {
        let (known, latency) = (self.0.load(Relaxed), latency.min(LONGEST / OPERATIONS));
        let window = (now / WINDOW) & u64::from(u32::MAX);
        let (before, slowest) = match known {
            NONE => (0, 0),
            known if known >> 32 == window => (known >> 16 & 0xffff, known & 0xffff),
            known => (known & 0xffff, 0),
        };
        let next = window << 32 | before << 16 | slowest.max(latency);
        if next != known {
            // Of two that are noted at once the slower may be missed: another follows, if operations are slow.
            self.0.store(next, Relaxed);
        }
    }

    /// How long a lease is to hold that is asked for `hold`.
    pub(super) fn hold(&self, hold: Duration) -> Duration {
        let known = self.0.load(Relaxed);
        let latency = if known == NONE { UNMEASURED } else { (known & 0xffff).max(known >> 16 & 0xffff) };
        let needed = latency * OPERATIONS;
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
        pace.note(1, 0);
        assert_eq!(hold(&pace), 1_500);
        (0..100).for_each(|_| pace.note(187, 0));
        assert_eq!(hold(&pace), 1_500);
    }

    #[test]
    fn pace_rises_at_once_and_falls_after_one_window_or_two() {
        let pace = Pace::default();
        pace.note(500, 0);
        assert_eq!(hold(&pace), 4_000);
        pace.note(100_000, 4_999);
        assert_eq!(hold(&pace), 30_000);
        assert_eq!(pace.hold(Duration::from_secs(60)), Duration::from_secs(60), "what was asked for is longer");
        (5_000..10_000).for_each(|now| pace.note(300, now));
        assert_eq!(hold(&pace), 30_000, "however many are fast by then");
        pace.note(1, 10_000);
        assert_eq!(hold(&pace), 2_400);
        pace.note(1, 15_000);
        assert_eq!(hold(&pace), 1_500);
    }

    #[test]
    fn it_is_remembered_while_there_are_no_operations() {
        let pace = Pace::default();
        pace.note(500, 0);
        pace.note(1, 1_000_000);
        assert_eq!(hold(&pace), 4_000);
    }
}
