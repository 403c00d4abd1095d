//! Why the tiers do not answer one call.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use super::{Event, MissReason, Observers, Unreadable};
use crate::key::Key;

/// What one call has found out about its key: the reason why the tiers do not answer it, as far as there is one, and
/// whether it has told of an unreadable entry. It may meet one several times, in L1 and in the backend, and tells of the
/// first.
#[derive(Debug, Default)]
pub(crate) struct Why {
    /// Its code; zero where none was noted.
    reason: AtomicU8,
    is_told: AtomicBool,
}

impl Why {
    /// Notes a reason. Each takes the place of the one before: L1 is looked at first, and what is wrong with the entry of
    /// the backend says more.
    pub(crate) fn note(&self, reason: MissReason) {
        self.reason.store(reason.code(), Relaxed);
    }

    /// The reason. Where none was noted, nothing is known of the key.
    pub(crate) fn reason(&self) -> MissReason {
        MissReason::of_code(self.reason.load(Relaxed)).unwrap_or(MissReason::New)
    }

    /// Notes that an entry cannot be read, and tells of the first.
    pub(crate) fn unreadable(&self, observers: &Observers, key: &Key, reason: Unreadable) {
        self.note(reason.into());
        if !self.is_told.swap(true, Relaxed) {
            observers.tell(Event::Unreadable { key, reason });
        }
    }
}
