//! How often keys were asked for recently, including keys that L1 does not hold.
//!
//! A count-min sketch of four-bit counters, halved now and then, as TinyLFU has it: G. Einziger, R. Friedman, B. Manes:
//! TinyLFU: A Highly Efficient Cache Admission Policy, ACM Transactions on Storage 13(4), 2017. The counters of a key are in
//! one line of the processor's cache. A hit is not counted here but in the entry, and reaches this in passing.

/// The four counters of a key, each in two words of a block of eight.
const ROWS: u32 = 4;
const BLOCK: usize = 8;
/// Where a counter stops.
const MOST: u64 = 15;
/// The fewest words, and how many entries there are for each.
const FEWEST: usize = 32;
const ENTRIES: usize = 4;
/// After so many counts for each entry all are halved.
const PERIOD: usize = 16;

/// Counters by hash.
#[derive(Default)]
pub(super) struct Frequency {
    /// Empty, or a power of two of them.
    words: Vec<u64>,
    noted: usize,
}

impl Frequency {
    /// Counts for a key. `entries` is how many the shard holds: the table grows with it.
    pub(super) fn note(&mut self, hash: u64, times: u8, entries: usize) {
        self.make_room(entries);
        let most = (self.of(hash) + u64::from(times)).min(MOST);
        for row in 0..ROWS {
            let (word, shift) = self.place(hash, row);
            let counter = self.words[word] >> shift & MOST;
            self.words[word] += most.saturating_sub(counter) << shift;
        }
        self.noted += usize::from(times);
        if self.noted >= self.words.len() * ENTRIES * PERIOD {
            self.halve();
        }
    }

    /// About how often a key was counted, and seldom more than it was.
    pub(super) fn of(&self, hash: u64) -> u64 {
        if self.words.is_empty() {
            return 0;
        }
        let counter = |row| {
            let (word, shift) = self.place(hash, row);
            self.words[word] >> shift & MOST
        };
        (0..ROWS).map(counter).min().unwrap_or(0)
    }

    /// Where the counter of a row is: from bits of the hash that choose neither the shard nor the place in the map alone.
    #[inline]
    fn place(&self, hash: u64, row: u32) -> (usize, u32) {
        let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let block = (mixed >> 40) as usize & (self.words.len() / BLOCK - 1);
        let bits = (mixed >> (row * 5)) as usize;
        (block * BLOCK + row as usize * 2 + (bits & 1), (bits as u32 >> 1 & 15) * 4)
    }

    /// Grows by doubling: each block has the counters of the one it comes from.
    fn make_room(&mut self, entries: usize) {
        let wanted = (entries / ENTRIES).next_power_of_two().max(FEWEST);
        if self.words.is_empty() {
            self.words = vec![0; wanted];
        }
        while self.words.len() < wanted {
            self.words.extend_from_within(..);
        }
    }

    fn halve(&mut self) {
        self.noted /= 2;
        self.words.iter_mut().for_each(|word| *word = *word >> 1 & 0x7777_7777_7777_7777);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        (n + 1).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(32).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn counts_are_right_for_most_keys_and_never_too_low() {
        let mut frequency = Frequency::default();
        assert_eq!(frequency.of(hash(1)), 0);
        (0..300).for_each(|n| frequency.note(hash(n), (n % 5) as u8, 300));
        assert!((0..300).all(|n| frequency.of(hash(n)) >= n % 5));
        let right = (0..300).filter(|n| frequency.of(hash(*n)) == n % 5).count();
        assert!(right > 270, "{right} of 300");
        frequency.note(hash(1), 200, 300);
        assert_eq!(frequency.of(hash(1)), MOST);
    }

    #[test]
    fn all_counts_are_halved_now_and_then() {
        let mut frequency = Frequency::default();
        frequency.note(hash(1), 8, 1);
        let rest = FEWEST * ENTRIES * PERIOD - 8;
        (0..rest - 1).for_each(|_| frequency.note(hash(2), 1, 1));
        assert_eq!(frequency.of(hash(1)), 8);
        frequency.note(hash(2), 1, 1);
        assert_eq!(frequency.of(hash(1)), 4);
    }

    #[test]
    fn a_table_that_grows_keeps_its_counts() {
        let mut frequency = Frequency::default();
        (0..100).for_each(|n| frequency.note(hash(n), 3, 1));
        frequency.note(hash(1_000), 1, 10_000);
        assert_eq!(frequency.words.len(), 4_096);
        assert!((0..100).all(|n| frequency.of(hash(n)) >= 3));
    }
}
