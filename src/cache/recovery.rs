//! Recovery: changes that the backend did not take.
//!
//! A failed `set` or invalidation is an error of its call, and what it was about is removed once the backend is back:
//! one removal for each key. A value is not written again, because nothing tells it from a newer one that another
//! process has written since; removing that, too, costs a computation. Until then nothing is read from the backend that
//! such a change was about.

use std::num::NonZeroUsize;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lru::LruCache;

use super::{Inner, Shared};
use crate::backends::Backend;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observers};
use crate::fence::Fence;
use crate::invalidate::Reached;
use crate::key::Key;
use crate::ledger::Change;
use crate::message::Message;

/// What is to be made again, the oldest first.
#[derive(Default)]
pub(super) struct Recovery {
    queue: Mutex<Queue>,
    /// How many there are.
    len: AtomicUsize,
}

struct Queue {
    all: LruCache<Target, Arc<Pending>>,
    running: bool,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    Key(Key),
    Tag(u64),
    Namespace,
}

/// What is left to do for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Remove,
    /// The backend has it; others have not heard.
    Tell,
    Sweep,
    /// All parts of the backend have it but some that are away.
    Repeat,
}

impl Work {
    /// Whether what can be read from the backend may be older than the change.
    fn is_undone(self) -> bool {
        matches!(self, Self::Remove | Self::Sweep)
    }
}

struct Pending {
    work: Work,
    /// Since the change ended.
    fence: Fence,
    /// The version or epoch at which the change began, or the last of several.
    begun: u64,
    /// The tick from which on the backend has forgotten by itself what this is about.
    until: u64,
}

/// Changes that may wait. Of further ones the oldest is given up.
const MOST: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// Pauses between attempts.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

impl Default for Queue {
    fn default() -> Self {
        Self { all: LruCache::sparse(MOST), running: false }
    }
}

impl Recovery {
    /// How many changes wait.
    pub(super) fn len(&self) -> usize {
        self.len.load(SeqCst)
    }

    /// Whether what the backend has under `key`, with these tags, is older than a change that waits.
    #[inline]
    pub(super) fn hides(&self, key: &Key, tags: &[u64]) -> bool {
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
    fn add(&self, target: Target, mut pending: Pending) -> Option<Arc<Pending>> {
        let mut queue = self.lock();
        if let Some(other) = queue.all.peek(&target) {
            pending.begun = pending.begun.max(other.begun);
        }
        let gone = queue.all.push(target.clone(), Arc::new(pending));
        self.len.store(queue.all.len(), SeqCst);
        gone.filter(|(gone, _)| *gone != target).map(|(_, pending)| pending)
    }

    /// Whether nobody works on the changes. Then the caller does.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().running, true)
    }

    /// Takes off what a change of its target has made good that began later, at `begun`.
    pub(super) fn settle(&self, target: &Target, begun: u64) {
        if self.len() > 0 {
            let mut queue = self.lock();
            if queue.all.peek(target).is_some_and(|pending| pending.begun < begun) {
                queue.all.pop(target);
            }
            self.len.store(queue.all.len(), SeqCst);
        }
    }

    fn first(&self) -> Option<(Target, Arc<Pending>)> {
        let mut queue = self.lock();
        let first = queue.all.peek_lru().map(|(target, pending)| (target.clone(), Arc::clone(pending)));
        queue.running &= first.is_some();
        first
    }

    /// Takes a change off, unless a later one has its place.
    fn remove(&self, target: &Target, done: &Arc<Pending>) {
        let mut queue = self.lock();
        if queue.all.peek(target).is_some_and(|pending| Arc::ptr_eq(pending, done)) {
            queue.all.pop(target);
        }
        self.len.store(queue.all.len(), SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing under the lock panics half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Notes what is left to do for a change that began the version `begun` of its key, and sees to it.
    pub(super) fn recover(&self, target: Target, key: &Key, begun: u64, work: Work) {
        if !self.recovers() {
            return;
        }
        let until = self.clock.ticks().saturating_add(self.longest.load(Relaxed));
        let pending = Pending { work, fence: self.local.fence(key), begun, until };
        if let Some(gone) = self.recovery.add(target, pending) {
            self.observers.tell(Event::GivenUp { key: gone.fence.key() });
        }
        self.see_to_recovery();
    }

    /// Whether what the backend did not take is made again.
    pub(super) fn recovers(&self) -> bool {
        self.policy.background && !self.tasks.closed()
    }

    /// Sees to it that somebody works on what waits, if anything does.
    #[inline]
    pub(super) fn see_to_recovery(&self) {
        if self.recovery.len() > 0 && self.clock.can_sleep() && self.recovery.begin() {
            let (clock, observers) = (Arc::clone(&self.clock), self.observers.clone());
            let worker = Worker { cache: Arc::downgrade(&self.shared), clock, observers, ended: false };
            // Where nothing can be spawned, the next call tries again.
            let _ = self.tasks.spawn(worker.run());
        }
    }
}

impl<B: Backend> Shared<B> {
    async fn make_again(&self, target: &Target, pending: &Pending) -> Result<(), Error> {
        let key = pending.fence.key();
        let turn = pending.fence.turn().await;
        if turn.made() > pending.begun && !pending.fence.kept(turn.made()) {
            return Ok(());
        }
        let change = match target {
            Target::Key(text) => {
                if let (Work::Remove, Some(guard)) = (pending.work, &self.guard) {
                    guard.remove(key).await?;
                    turn.make(pending.begun);
                }
                return self.tell_others(key, &Message::Key(text.as_str())).await;
            }
            Target::Tag(tag) => Change::Tags(vec![*tag]),
            Target::Namespace => Change::Everything,
        };
        let reached = match pending.work {
            Work::Sweep | Work::Repeat => self.forget_stored(&change).await?,
            Work::Tell | Work::Remove => Reached::Backend(None),
        };
        if reached == Reached::Parts {
            return Err(Error::new(ErrorKind::Unavailable, "a part of the backend is away"));
        }
        if let (Work::Sweep, Target::Tag(tag)) = (pending.work, target) {
            // A read may have asked the ledger before, and ends when nothing hides what it found.
            pending.fence.forget_tag(*tag);
        }
        self.tell_of_order(key, &change, reached).await
    }
}

impl Target {
    /// What an order is about. What expired is gone if that is made again.
    pub(super) fn all(change: &Change) -> Vec<Self> {
        match change {
            Change::Tags(tags) => tags.iter().map(|tag| Self::Tag(*tag)).collect(),
            Change::Nothing | Change::Everything | Change::Expiry { .. } => vec![Self::Namespace],
        }
    }
}

/// The task that makes changes again. It does not keep the cache.
struct Worker<B: Backend> {
    cache: Weak<Shared<B>>,
    clock: Arc<dyn Clock>,
    observers: Observers,
    ended: bool,
}

impl<B: Backend> Worker<B> {
    async fn run(mut self) {
        let mut pause = SHORTEST;
        loop {
            self.clock.sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            let Some(cache) = self.cache.upgrade() else { return };
            if !self.make_all_again(&cache).await {
                self.ended = true;
                return;
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Until one fails that may not fail later. Says whether any is left.
    async fn make_all_again(&self, cache: &Shared<B>) -> bool {
        while let Some((target, pending)) = cache.recovery.first() {
            match cache.make_again(&target, &pending).await {
                Err(error) if error.is_temporary() && self.clock.ticks() < pending.until => return true,
                Err(_) => self.observers.tell(Event::GivenUp { key: pending.fence.key() }),
                Ok(()) => {}
            }
            cache.recovery.remove(&target, &pending);
        }
        false
    }
}

impl<B: Backend> Drop for Worker<B> {
    /// If its runtime ended first: lets the next one begin anew.
    fn drop(&mut self) {
        if !self.ended
            && let Some(cache) = self.cache.upgrade()
        {
            cache.recovery.lock().running = false;
        }
    }
}
