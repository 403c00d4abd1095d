//! Epochs: what this process was told to forget.
//!
//! One counter, raised by every order to forget more than one key. What is kept carries the epoch in which its
//! computation or its read began; as long as the counter stands there, one load says that it is good. Only after a
//! raise it has to be asked whether the raise concerned everything or one of the tags.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use lru::LruCache;

/// Fingerprints of the tags of an entry.
pub(crate) type Tags = Arc<[u64]>;

/// Tags remembered by name; what was raised before the oldest of them counts against every other tag.
const MAX_TAGS: usize = 16_384;

/// The epochs of one cache.
#[derive(Debug)]
pub(crate) struct Epochs {
    now: AtomicU64,
    /// The epoch that began by forgetting everything.
    all: AtomicU64,
    tags: Mutex<Raised>,
}

#[derive(Debug)]
struct Raised {
    epochs: LruCache<u64, u64, RandomState>,
    /// The youngest epoch of a tag that is no longer remembered.
    others: u64,
}

impl Epochs {
    pub(crate) fn new() -> Arc<Self> {
        let tags = Raised { epochs: LruCache::unbounded_with_hasher(RandomState::default()), others: 0 };
        Arc::new(Self { now: AtomicU64::new(0), all: AtomicU64::new(0), tags: Mutex::new(tags) })
    }

    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now.load(SeqCst)
    }

    /// Forgets everything from before.
    pub(crate) fn raise_all(&self) {
        let _tags = self.tags();
        let next = self.now() + 1;
        self.all.store(next, SeqCst);
        self.now.store(next, SeqCst);
    }

    /// Forgets everything from before that has this tag.
    pub(crate) fn raise_tag(&self, tag: u64) {
        let mut tags = self.tags();
        let next = self.now() + 1;
        tags.epochs.put(tag, next);
        if tags.epochs.len() > MAX_TAGS
            && let Some((_, epoch)) = tags.epochs.pop_lru()
        {
            tags.others = epoch;
        }
        self.now.store(next, SeqCst);
    }

    /// Whether everything was forgotten after the epoch `since`.
    #[inline]
    pub(crate) fn forgot_all(&self, since: u64) -> bool {
        self.all.load(SeqCst) > since
    }

    /// Whether what began in the epoch `since` and has these tags was forgotten after it.
    pub(crate) fn forgot(&self, since: u64, tags: &[u64]) -> bool {
        if self.now() <= since {
            return false;
        }
        if self.forgot_all(since) {
            return true;
        }
        if tags.is_empty() {
            return false;
        }
        let raised = self.tags();
        tags.iter().any(|tag| raised.epochs.peek(tag).copied().unwrap_or(raised.others) > since)
    }

    fn tags(&self) -> MutexGuard<'_, Raised> {
        // Nothing between lock and unlock can panic half way through a change.
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_forgets_what_has_it_and_began_before() {
        let epochs = Epochs::new();
        let before = epochs.now();
        epochs.raise_tag(1);
        let between = epochs.now();
        epochs.raise_tag(2);
        let forgot = |since, tags: &[u64]| epochs.forgot(since, tags);
        assert!(forgot(before, &[1]) && forgot(before, &[3, 2]) && !forgot(before, &[3]) && !forgot(before, &[]));
        assert!(!forgot(between, &[1]) && forgot(between, &[2]) && !forgot(epochs.now(), &[1, 2]));
        assert!(!epochs.forgot_all(before));
    }

    #[test]
    fn forgetting_everything_needs_no_tags() {
        let epochs = Epochs::new();
        let before = epochs.now();
        epochs.raise_all();
        assert!(epochs.forgot_all(before) && epochs.forgot(before, &[]));
        assert!(!epochs.forgot_all(epochs.now()) && !epochs.forgot(epochs.now(), &[1]));
    }

    #[test]
    fn tags_beyond_the_bound_are_forgotten_too_often_and_never_too_rarely() {
        let epochs = Epochs::new();
        let before = epochs.now();
        for tag in 0..=MAX_TAGS as u64 {
            epochs.raise_tag(tag);
        }
        assert_eq!(epochs.tags().epochs.len(), MAX_TAGS);
        assert!(epochs.forgot(before, &[0]), "no longer remembered by name");
        assert!(epochs.forgot(before, &[u64::MAX]), "nobody can tell");
        assert!(!epochs.forgot(before + 1, &[u64::MAX]));
    }
}
