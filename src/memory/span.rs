//! A length of time in few bits, because each entry of L1 has several.

/// A number of so many bits, above them how far it is shifted: together the largest that is no larger than `ticks`.
pub(super) fn pack(ticks: u64, bits: u32) -> u32 {
    let shift = (u64::BITS - ticks.leading_zeros()).saturating_sub(bits).min(31);
    shift << bits | (ticks >> shift).min((1 << bits) - 1) as u32
}

pub(super) fn unpack(packed: u32, bits: u32) -> u64 {
    (u64::from(packed) & ((1 << bits) - 1)) << (packed >> bits)
}

/// Ticks: 27 bits of a number, and five that say how far they are shifted. Exact up to 37 hours, and never too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(u32);

const BITS: u32 = 27;

impl Span {
    pub(super) fn new(ticks: u64) -> Self {
        Self(pack(ticks, BITS))
    }

    pub(super) fn ticks(self) -> u64 {
        unpack(self.0, BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact_for_a_day_and_shorter_by_no_more_than_a_part_in_sixty_million() {
        for exact in [0, 1, 999, 60_000, 3_600_000, 86_400_000, (1 << 27) - 1] {
            assert_eq!(Span::new(exact).ticks(), exact);
        }
        for long in [1 << 27, (1 << 27) + 1, 7 * 86_400_000 + 1, 3_650 * 86_400_000 - 1, 1 << 50] {
            let kept = Span::new(long).ticks();
            assert!(kept <= long && long - kept <= long >> 26, "{long} is kept as {kept}");
        }
        assert!(Span::new(u64::MAX).ticks() > 1 << 57);
    }
}
