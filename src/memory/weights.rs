//! How large the entries of a queue are.

/// The weights of entries: their sum, and that of their squares.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Weights {
    pub(super) sum: usize,
    squares: u128,
}

impl Weights {
    #[inline]
    pub(super) fn add(&mut self, weight: usize) {
        self.sum += weight;
        self.squares += (weight as u128).pow(2);
    }

    #[inline]
    pub(super) fn take(&mut self, weight: usize) {
        self.sum -= weight;
        self.squares -= (weight as u128).pow(2);
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, squares: self.squares + other.squares }
    }

    /// How many entries share so many bytes, where each counts by the bytes it takes: small entries beside large ones
    /// are many, and the large ones have the bytes.
    pub(super) fn entries_in(self, bytes: usize) -> usize {
        let entries = (bytes as u128 * self.sum as u128).checked_div(self.squares);
        entries.map_or(0, |entries| usize::try_from(entries).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_count_by_the_bytes_they_take() {
        let mut weights = Weights::default();
        assert_eq!(weights.entries_in(1 << 20), 0);
        (0..10).for_each(|_| weights.add(1 << 10));
        assert_eq!(weights.entries_in(1 << 20), 1_024);
        // Ten of 64 KiB have nearly all bytes of these.
        (0..10).for_each(|_| weights.add(1 << 16));
        assert_eq!(weights.entries_in(1 << 20), 16);
        (0..10).for_each(|_| weights.take(1 << 16));
        assert_eq!(weights.entries_in(1 << 20), 1_024);
        weights.add(u32::MAX as usize);
        assert_eq!(weights.entries_in(usize::MAX), (1 << 32) + 10_240, "nothing overflows");
    }
}
