//! Sizes: which keys are likely to hold large values.
//!
//! A read does not say how long its answer will be. What was large last time is expected to be large again, by one bit
//! for each hash of a key; a wrong guess takes the other connection and is corrected.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::Load;
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
    pub(super) fn load(&self, key: &Key) -> Load {
        let (word, bit) = self.place(key);
        if word.load(Ordering::Relaxed) & bit == 0 { Load::Light } else { Load::Heavy }
    }

    /// Remembers how many bytes there were, where `expected` was something else.
    pub(super) fn note(&self, key: &Key, expected: Load, bytes: usize) {
        let load = Load::of(bytes);
        if load == expected {
            return;
        }
        let (word, bit) = self.place(key);
        match load {
            Load::Heavy | Load::Bulk => word.fetch_or(bit, Ordering::Relaxed),
            Load::Light => word.fetch_and(!bit, Ordering::Relaxed),
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
        assert_eq!(sizes.load(&key), Load::Light);
        sizes.note(&key, Load::Light, Load::HEAVY);
        assert_eq!(sizes.load(&key), Load::Heavy);
        sizes.note(&key, Load::Heavy, Load::HEAVY - 1);
        assert_eq!(sizes.load(&key), Load::Light);
    }
}
