//! What one call tells of entries that cannot be read.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Event, Observers, Unreadable};
use crate::key::Key;

/// Whether a call has told of an unreadable entry. It may meet one several times, in L1 and in the backend, and tells of
/// the first.
#[derive(Debug, Default)]
pub(crate) struct Complaint(AtomicBool);

impl Complaint {
    pub(crate) fn tell(&self, observers: &Observers, key: &Key, reason: Unreadable) {
        if !self.0.swap(true, Relaxed) {
            observers.tell(Event::Unreadable { key, reason });
        }
    }
}
