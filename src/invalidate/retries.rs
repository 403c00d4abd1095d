//! The retry queue: changes that the backend, or the bus, did not take.
//!
//! Until such a change is made, nothing is read from the backend that it was about.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::key::Key;
use crate::ledger::Change;
use crate::order::{Fence, Moment};

/// What is to be made again, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RetryQueue {
    queue: Mutex<Queue>,
    /// How many there are.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    all: LruCache<Target, Arc<Pending>>,
    running: bool,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Key(Key),
    Tag(u64),
    Namespace,
}

/// What is left to do for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Remove,
    /// The backend has it; others have not heard.
    Publish,
    Forget,
    /// All parts of the backend have it but some that are away.
    Repeat,
}

impl Work {
    /// Whether what can be read from the backend may be older than the change.
    fn is_undone(self) -> bool {
        matches!(self, Self::Remove | Self::Forget)
    }
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) work: Work,
    /// Since the change ended.
    pub(crate) fence: Fence,
    /// When the change began, or the last of several.
    pub(crate) begun: Moment,
    /// The tick from which on the backend has forgotten by itself what this is about.
    pub(crate) until: u64,
}

/// Changes that may wait. Of further ones the oldest is given up.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
impl Default for Queue {
    fn default() -> Self {
        Self { all: LruCache::sparse(MOST), running: false }
    }
}

impl RetryQueue {
    /// How many changes wait.
    pub(crate) fn len(&self) -> usize {
        self.len.load(SeqCst)
    }

    /// Whether what the backend has under `key`, with these tags, is older than a change that waits.
    #[inline]
    pub(crate) fn hides(&self, key: &Key, tags: &[u64]) -> bool {
        self.len() > 0 && self.hides_one(key, tags)
    }

    #[cold]
    fn hides_one(&self, key: &Key, tags: &[u64]) -> bool {
        let all = &self.lock().all;
        let hides = |target: &Target| all.peek(target).is_some_and(|pending| pending.work.is_undone());
        hides(&Target::Key(key.clone()))
            || hides(&Target::Namespace)
            || tags.iter().any(|tag| hides(&Target::Tag(*tag)))
    }

    /// Adds a change, in place of an older one of its target. Returns one that is given up for it.
    pub(crate) fn add(&self, target: Target, mut pending: Pending) -> Option<Arc<Pending>> {
        let mut queue = self.lock();
        if let Some(other) = queue.all.peek(&target) {
            pending.begun = pending.begun.max(other.begun);
        }
        let gone = queue.all.push(target.clone(), Arc::new(pending));
        self.len.store(queue.all.len(), SeqCst);
        gone.filter(|(gone, _)| *gone != target).map(|(_, pending)| pending)
    }

    /// Whether nobody works on the changes. Then the caller does.
    pub(crate) fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().running, true)
    }

    /// Takes off what a change of its target has made good that began later, at `begun`.
    pub(crate) fn settle(&self, target: &Target, begun: Moment) {
        if self.len() > 0 {
            let mut queue = self.lock();
            if queue.all.peek(target).is_some_and(|pending| pending.begun < begun) {
                queue.all.pop(target);
            }
            self.len.store(queue.all.len(), SeqCst);
        }
    }

    /// The next that is to be made again. If there is none, no task works on them any more.
    pub(crate) fn first(&self) -> Option<(Target, Arc<Pending>)> {
        let mut queue = self.lock();
        let first = queue.all.peek_lru().map(|(target, pending)| (target.clone(), Arc::clone(pending)));
        queue.running &= first.is_some();
        first
    }

    /// Takes a change off, unless a later one has its place.
    pub(crate) fn remove(&self, target: &Target, done: &Arc<Pending>) {
        let mut queue = self.lock();
        if queue.all.peek(target).is_some_and(|pending| Arc::ptr_eq(pending, done)) {
            queue.all.pop(target);
        }
        self.len.store(queue.all.len(), SeqCst);
    }

    /// The task that worked on them has ended early.
    pub(crate) fn end(&self) {
        self.lock().running = false;
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock panics half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target {
    /// What an order is about. What expired is gone if that is made again.
    pub(crate) fn all(change: &Change) -> Vec<Self> {
        match change {
            Change::Tags(tags) => tags.iter().map(|tag| Self::Tag(*tag)).collect(),
            Change::Nothing | Change::Everything | Change::Expiry { .. } => vec![Self::Namespace],
        }
    }
}
