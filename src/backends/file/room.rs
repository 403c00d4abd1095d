//! Room: the oldest entries, which go for new ones.
//!
//! No write pays for all of them: what a scan finds to be the oldest is remembered, and each write removes some of it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::dir::Dir;
use super::evict::{Coming, Entry, LOW};
use super::ledger::Ledger;

/// How many entries a write to a large directory removes, as long as it fits into the caps: a few milliseconds of work.
pub(super) const STEP: usize = 64;

/// What is known of the oldest entries.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Those that are to go; the very oldest is the last. Another process may have removed or replaced some.
    oldest: Mutex<Vec<Entry>>,
    is_wanted: AtomicBool,
    is_surveyed: AtomicBool,
}

impl Room {
    fn oldest(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.oldest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what is to go.
    pub(super) fn note(&self, oldest: Vec<Entry>) {
        *self.oldest() = oldest;
    }

    /// Whether entries are known that are to go.
    pub(super) fn is_to_be_made(&self) -> bool {
        !self.oldest().is_empty()
    }

    /// Removes the oldest entries that are known, until what comes fits into the low share of both caps: of a large
    /// directory a few at a time, and more only until it fits at all. Files that cannot be removed are passed over and
    /// stay counted.
    pub(super) fn make(&self, dir: &Dir, coming: &Coming, ledger: &mut Ledger) {
        let mut oldest = self.oldest();
        let (most, mut steps) = (if ledger.is_small() { usize::MAX } else { STEP }, 0);
        while !oldest.is_empty() {
            if coming.fits(LOW, ledger.totals, &ledger.caps) {
                *oldest = Vec::new();
            } else if steps >= most && coming.fits(100, ledger.totals, &ledger.caps) {
                return;
            } else if let Some(entry) = oldest.pop().filter(|entry| Some(entry.name) != coming.name) {
                steps += 1;
                if entry.remove(dir) {
                    ledger.totals.subtract(entry.length);
                }
            }
        }
    }

    /// Has the directory scanned, unless that is under way.
    pub(super) fn want(&self) {
        if !self.is_surveyed.load(SeqCst) {
            self.is_wanted.store(true, SeqCst);
        }
    }

    /// Whether the directory is to be scanned by the caller, and by no other until [`end`](Self::end).
    pub(super) fn begin(&self) -> bool {
        self.is_wanted.load(SeqCst) && !self.is_surveyed.swap(true, SeqCst)
    }

    pub(super) fn end(&self) {
        self.is_wanted.store(false, SeqCst);
        self.is_surveyed.store(false, SeqCst);
    }
}
