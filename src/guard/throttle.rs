//! The throttle: failing keys are left alone.
//!
//! While an older value stands in for a failing computation, the origin is not asked again at every call.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;

use crate::clock::millis;
use crate::key::Key;

/// Which keys failed lately; at most [`Throttle::KEYS`], the least recently failed forgotten first.
#[derive(Debug)]
pub(crate) struct Throttle {
    pause: u64,
    until: Mutex<LruCache<Key, u64>>,
}

impl Throttle {
    const KEYS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

    pub(crate) fn new(pause: Duration) -> Self {
        Self { pause: millis(pause), until: Mutex::new(LruCache::sparse(Self::KEYS)) }
    }

    /// Notes a failure at the tick `now`.
    pub(crate) fn failed(&self, key: &Key, now: u64) {
        if self.pause > 0 {
            self.lock().put(key.clone(), now.saturating_add(self.pause));
        }
    }

    /// Notes a success.
    pub(crate) fn succeeded(&self, key: &Key) {
        let mut until = self.lock();
        if !until.is_empty() {
            until.pop(key);
        }
    }

    /// Forgets all failures.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Whether `key` failed so lately that it is left alone at the tick `now`.
    pub(crate) fn holds(&self, key: &Key, now: u64) -> bool {
        self.lock().peek(key).is_some_and(|until| now < *until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<Key, u64>> {
        // Nothing under the lock panics half way through a change.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
