//! The retry queue: changes that the backend, or the bus, did not take.
//!
//! Until such a change is made, nothing is read from the backend that it was about.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::ledgers::Reached;
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
    all: LruCache<Target, Pending>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Remove,
    /// The backend has it; others have not heard.
    Publish,
    /// These parts of the backend have not taken an order.
    Forget(Arc<[u16]>),
    /// They have not, because they are away; what they hold is not believed when they are back.
    Repeat(Arc<[u16]>),
}

impl Work {
    /// What an order has left to do in the backend.
    pub(crate) fn of_order(reached: &Reached) -> Option<Self> {
        let left = || Arc::from(&*reached.left);
        match reached.error {
            Some(_) => Some(Self::Forget(left())),
            None if !reached.left.is_empty() => Some(Self::Repeat(left())),
            None => None,
        }
    }

    /// Whether what can be read from this part of the backend may be older than the change.
    fn is_undone(&self, part: u16) -> bool {
        match self {
            Self::Remove => true,
            Self::Forget(left) => left.contains(&part),
            Self::Publish | Self::Repeat(_) => false,
        }
    }

    /// The parts of the backend that have not taken an order.
    pub(crate) fn left(&self) -> Option<&[u16]> {
        if let Self::Forget(left) | Self::Repeat(left) = self { Some(left) } else { None }
    }

    /// What is left to do for two changes of one target, neither of which makes the other good.
    fn and(self, other: &Self) -> Self {
        let both = |one: &[u16], other: &[u16]| BTreeSet::from_iter([one, other].concat()).into_iter().collect();
        match (self, other) {
            (Self::Remove, _) | (_, Self::Remove) => Self::Remove,
            (Self::Publish, other) => other.clone(),
            (one, Self::Publish) => one,
            (Self::Repeat(one), Self::Repeat(other)) => Self::Repeat(both(&one, other)),
            (Self::Forget(one) | Self::Repeat(one), Self::Forget(other) | Self::Repeat(other)) => {
                Self::Forget(both(&one, other))
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) work: Work,
    /// Since the change ended.
    pub(crate) fence: Arc<Fence>,
    /// When the change began, or the last of several.
    pub(crate) begun: Moment,
    /// The tick from which on the backend has forgotten by itself what this is about.
    pub(crate) until: u64,
}

/// Changes that may wait. Of further ones the oldest is given up.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

impl Pending {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fence, &other.fence)
    }
}

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

    /// Whether what this part of the backend has under `key`, with these tags, may be older than a change that waits.
    #[cold]
    pub(crate) fn hides(&self, key: &Key, part: u16, tags: &[u64]) -> bool {
        let all = &self.lock().all;
        let hides = |target: &Target| all.peek(target).is_some_and(|pending| pending.work.is_undone(part));
        hides(&Target::Key(key.clone()))
            || hides(&Target::Namespace)
            || tags.iter().any(|tag| hides(&Target::Tag(*tag)))
    }

    /// Adds a change to what is left to do for its target. Returns a change that is given up for it.
    pub(crate) fn add(&self, target: Target, mut pending: Pending) -> Option<Pending> {
        let mut queue = self.lock();
        if let Some(other) = queue.all.peek(&target) {
            pending.begun = pending.begun.max(other.begun);
            pending.work = pending.work.and(&other.work);
        }
        let gone = queue.all.push(target.clone(), pending);
        self.len.store(queue.all.len(), SeqCst);
        gone.filter(|(gone, _)| *gone != target).map(|(_, pending)| pending)
    }

    /// Whether no task works on the changes. Then the caller does.
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
    pub(crate) fn first(&self) -> Option<(Target, Pending)> {
        let mut queue = self.lock();
        let first = queue.all.peek_lru().map(|(target, pending)| (target.clone(), pending.clone()));
        queue.running &= first.is_some();
        first
    }

    /// Takes a change off, unless a later one has its place.
    pub(crate) fn remove(&self, target: &Target, done: &Pending) {
        let mut queue = self.lock();
        if queue.all.peek(target).is_some_and(|pending| pending.is(done)) {
            queue.all.pop(target);
        }
        self.len.store(queue.all.len(), SeqCst);
    }

    /// Notes that this is left to do for a change, unless a later one has its place.
    pub(crate) fn reduce(&self, target: &Target, change: &Pending, work: Work) {
        if let Some(pending) = self.lock().all.peek_mut(target).filter(|pending| pending.is(change)) {
            pending.work = work;
        }
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
