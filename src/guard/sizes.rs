//! Sizes: how long a value is likely to be.
//!
//! A value of a megabyte takes longer than one of a hundred bytes, so latencies are compared within a class of sizes
//! only. A read does not say how long its answer will be: what was long last time is expected to be long again, by two
//! bits for each hash of a key. A wrong guess costs one read more or less time, and is corrected.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::backends::late::LONG;
use crate::key::Key;

/// The length from which on a value is of medium length.
const MEDIUM: usize = 4 * 1024;

/// A class of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Size {
    Small,
    Medium,
    /// So long that its time depends on the network above all.
    Long,
}

impl Size {
    /// The class of so many bytes.
    pub(super) fn of(bytes: usize) -> Self {
        match bytes {
            0..MEDIUM => Self::Small,
            MEDIUM..LONG => Self::Medium,
            LONG.. => Self::Long,
        }
    }

    /// The next class.
    pub(super) fn longer(self) -> Self {
        if self == Self::Small { Self::Medium } else { Self::Long }
    }
}

/// The classes of 32,768 hashes of keys: 8 KiB.
#[derive(Debug)]
pub(super) struct Sizes(Box<[AtomicU64]>);

const WORDS: usize = 1024;

impl Sizes {
    /// All small.
    pub(super) fn new() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// What to expect of reading `key`.
    pub(super) fn expected(&self, key: &Key) -> Size {
        let (word, shift) = self.place(key);
        match word.load(Relaxed) >> shift & 3 {
            0 => Size::Small,
            1 => Size::Medium,
            _ => Size::Long,
        }
    }

    /// Remembers the class of what is under `key`.
    pub(super) fn note(&self, key: &Key, size: Size) {
        if self.expected(key) == size {
            return;
        }
        let (word, shift) = self.place(key);
        // Two at once may mix their bits, which is a class, too.
        word.fetch_and(!(3 << shift), Relaxed);
        word.fetch_or((size as u64) << shift, Relaxed);
    }

    fn place(&self, key: &Key) -> (&AtomicU64, u32) {
        let hash = key.hash64();
        (&self.0[(hash >> 5) as usize % WORDS], (hash & 31) as u32 * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_size_of_a_key_is_expected_of_it_and_of_no_other() {
        let (sizes, keys) = (Sizes::new(), [1, 2].map(|key| Key::new("pages", key).unwrap()));
        for bytes in [0, 1 << 12, 1 << 16, (1 << 12) - 1, (1 << 16) - 1, usize::MAX] {
            sizes.note(&keys[0], Size::of(bytes));
            assert_eq!(sizes.expected(&keys[0]), Size::of(bytes), "{bytes}");
            assert_eq!(sizes.expected(&keys[1]), Size::Small);
        }
        assert_eq!(Size::of(usize::MAX), Size::Long);
        assert_eq!([Size::Small, Size::Medium, Size::Long].map(Size::longer), [Size::Medium, Size::Long, Size::Long]);
    }
}
