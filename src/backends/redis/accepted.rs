//! How long an entry may be.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes of one entry that is read: the largest that any cache over this backend takes.
#[derive(Debug, Default)]
pub(super) struct Accepted(AtomicUsize);

impl Accepted {
    /// A caller takes entries of so many bytes.
    pub(super) fn raise(&self, bytes: usize) {
        if self.get() < bytes {
            self.0.fetch_max(bytes, Relaxed);
        }
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}
