//! Streams: what is known of those that this process appends to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::key::Key;

/// The streams of all buses of one backend.
#[derive(Default)]
pub(super) struct Streams(Mutex<HashMap<Key, Weak<Known>>>);

/// What is known of one stream.
#[derive(Default)]
pub(super) struct Known {
    /// Whether the server has taken a mark.
    pub(super) appends: AtomicBool,
    pub(super) lasts: Lasts,
}

/// When the server was last told how long a stream is kept: with each mark, and with a message once an hour.
///
/// It is kept for days after that, so messages need not renew it each time. A stream that a message begins, because the
/// one before it was lost, has no end until a reader finds the gap and gives it one.
#[derive(Default)]
pub(super) struct Lasts(Mutex<Option<Instant>>);

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Streams {
    /// What is known of the stream of this name, to be kept as long as it is of use.
    pub(super) fn get(&self, name: &Key) -> Arc<Known> {
        let mut all = self.lock();
        if let Some(known) = all.get(name).and_then(Weak::upgrade) {
            return known;
        }
        all.retain(|_, known| known.strong_count() > 0);
        let known = Arc::default();
        all.insert(name.clone(), Arc::downgrade(&known));
        known
    }

    /// Whether a message needs nothing but to be appended.
    pub(super) fn take_messages(&self, name: &Key) -> bool {
        let known = self.lock().get(name).and_then(Weak::upgrade);
        known.is_some_and(|known| known.appends.load(Relaxed) && !known.lasts.is_due())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Known>>> {
        // A change is one operation of the map: there is nothing half done to find.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lasts {
    pub(super) fn is_due(&self) -> bool {
        self.last().is_none_or(|last| last.elapsed() >= HOUR)
    }

    /// Another stream may be in its place.
    pub(super) fn forget(&self) {
        *self.last() = None;
    }

    pub(super) fn renewed(&self) {
        *self.last() = Some(Instant::now());
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is one assignment: there is nothing half done to find.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
