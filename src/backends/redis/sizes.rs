//! Sizes: which keys are likely to hold large values.
//!
//! A read does not say how long its answer will be. What was large last time is expected to be large again, by one bit
//! for each hash of a key; a wrong guess takes the other connection and is corrected.

use std::sync::atomic::{AtomicU64, Ordering};

use super::request::SizeClass;
use crate::key::Key;

/// 65,536 bits: 8 KiB.
pub(super) struct Sizes(Box<[AtomicU64]>);

const WORDS: usize = 1024;

impl Sizes {
    /// All small.
    pub(super) fn new() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// What to expect of reading `key`.
    pub(super) fn expected(&self, key: &Key) -> SizeClass {
        let (word, bit) = self.place(key);
        if word.load(Ordering::Relaxed) & bit == 0 { SizeClass::Small } else { SizeClass::LargeAnswer }
    }

    /// Remembers how many bytes there were, where `expected` was something else.
    pub(super) fn note(&self, key: &Key, expected: SizeClass, bytes: usize) {
        let size = SizeClass::of(bytes);
        if size == expected {
            return;
        }
        let (word, bit) = self.place(key);
        match size {
            SizeClass::LargeAnswer | SizeClass::LargeRequest => word.fetch_or(bit, Ordering::Relaxed),
            SizeClass::Small => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    fn place(&self, key: &Key) -> (&AtomicU64, u64) {
        let hash = key.hash64();
        (&self.0[(hash >> 6) as usize % WORDS], 1 << (hash & 63))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_value_is_expected_again_until_a_small_one_is_seen() {
        let sizes = Sizes::new();
        let key = Key::new("pages", 1).unwrap();
        assert_eq!(sizes.expected(&key), SizeClass::Small);
        sizes.note(&key, SizeClass::Small, SizeClass::LARGE);
        assert_eq!(sizes.expected(&key), SizeClass::LargeAnswer);
        sizes.note(&key, SizeClass::LargeAnswer, SizeClass::LARGE - 1);
        assert_eq!(sizes.expected(&key), SizeClass::Small);
    }
}
