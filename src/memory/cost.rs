//! What an entry cost to make, for the choice of what to keep.

use std::time::Duration;

/// How long a computation took: how often a microsecond doubles until it is as long.
///
/// In doublings, because costs differ by factors of thousands: in proportion to time, what was dear and is asked for no more
/// would keep others out for as many requests. It speaks for an entry once, until that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cost(u8);

/// The bit that says that it has spoken.
const SPENT: u8 = 1 << 7;

impl Cost {
    pub(crate) fn of(time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self(micros.max(1).ilog2() as u8)
    }

    /// By how much a request counts for it.
    pub(super) fn factor(self) -> u64 {
        1 + u64::from(self.whole().0)
    }

    /// The same, which has spoken for its entry.
    pub(super) fn spent(self) -> Self {
        Self(self.0 | SPENT)
    }

    pub(super) fn is_spent(self) -> bool {
        self.0 & SPENT != 0
    }

    /// The same, which may speak again.
    pub(super) fn whole(self) -> Self {
        Self(self.0 & !SPENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_times_the_cost_counts_for_ten_more() {
        let factor = |micros| Cost::of(Duration::from_micros(micros)).factor();
        assert_eq!([0, 1, 2, 1_024, 1 << 20, u64::MAX].map(factor), [1, 1, 2, 11, 21, 64]);
        assert_eq!((Cost::of(Duration::MAX).factor(), Cost::default().factor()), (64, 1));
        let spent = Cost::of(Duration::MAX).spent();
        assert!(spent.is_spent() && !spent.whole().is_spent() && spent.factor() == 64);
    }
}
