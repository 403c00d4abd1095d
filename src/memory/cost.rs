//! What an entry cost to make, for the choice of what to keep.

use std::time::Duration;

/// How long a computation took, in one byte: eight steps to each doubling of its microseconds, up to an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Cost(u8);

const STEPS: u32 = 3;

impl Cost {
    pub(crate) fn of(time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        let octave = micros.ilog2();
        let step = (u128::from(micros) << STEPS >> octave) as u64 & 7;
        Self(u8::try_from(u64::from(octave << STEPS) | step).unwrap_or(u8::MAX))
    }

    /// In eighths of a microsecond, to an eighth of it.
    pub(super) fn eighths(self) -> u64 {
        u64::from(8 | self.0 & 7) << (self.0 >> STEPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_holds_up_to_an_hour_to_an_eighth() {
        for micros in [1, 2, 3, 7, 8, 9, 100, 1_000, 1_234_567, 3_600_000_000] {
            let kept = Cost::of(Duration::from_micros(micros)).eighths();
            assert!(kept <= 8 * micros && 9 * kept >= 64 * micros, "{micros} is kept as {kept} eighths");
        }
        assert!(Cost::of(Duration::MAX) > Cost::of(Duration::from_secs(3_600)));
        assert_eq!(Cost::of(Duration::ZERO), Cost::default());
        assert_eq!(Cost::default().eighths(), 8);
    }
}
