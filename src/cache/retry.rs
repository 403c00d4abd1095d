//! Recovery: changes that the backend did not take.
//!
//! A failed `set` or invalidation is an error of its call, and what it was about is removed once the backend is back:
//! one removal for each key. A value is not written again, because nothing tells it from a newer one that another
//! process has written since; removing that, too, costs a computation. Until then nothing is read from the backend that
//! such a change was about.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Inner, Shared};
use crate::backends::Backend;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Observers};
use crate::invalidate::{Pending, Reached, Target, Work};
use crate::key::Key;
use crate::ledger::Change;
use crate::message::Message;
use crate::order::Moment;

/// Pauses between attempts.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Notes what is left to do for a change that `begun` then, and sees to it.
    pub(super) fn retry_later(&self, target: Target, key: &Key, begun: Moment, work: Work) {
        if !self.retries_changes() {
            return;
        }
        let until = self.tiers.l2.gone_by(self.clock.ticks());
        let pending = Pending { work, fence: Arc::new(self.tiers.local.fence(key)), begun, until };
        if let Some(gone) = self.tiers.l2.retries.add(target, pending) {
            self.observers.tell(Event::GivenUp { key: gone.fence.key() });
        }
        self.ensure_retries();
    }

    /// Whether what the backend did not take is made again.
    pub(super) fn retries_changes(&self) -> bool {
        self.policy().background && !self.shared.tasks.closed()
    }

    /// Sees to it that a task works on what waits, if anything does.
    #[inline]
    pub(super) fn ensure_retries(&self) {
        if self.tiers.l2.retries.len() > 0 && self.clock.can_sleep() && self.tiers.l2.retries.begin() {
            let (clock, observers) = (Arc::clone(&self.clock), self.observers.clone());
            let worker = Worker { cache: Arc::downgrade(&self.shared), clock, observers, ended: false };
            // Where nothing can be spawned, the next call tries again.
            let _ = self.shared.tasks.spawn(worker.run());
        }
    }
}

impl<B: Backend> Shared<B> {
    async fn retry(&self, target: &Target, pending: &Pending) -> Result<(), Error> {
        let key = pending.fence.key();
        let turn = pending.fence.turn().await;
        if turn.made() > pending.begun && !pending.fence.kept(turn.made()) {
            return Ok(());
        }
        let change = match target {
            Target::Key(text) => {
                if let (Work::Remove, Some(guard)) = (&pending.work, &self.l2.guard) {
                    guard.remove(key).await?;
                    turn.make(pending.begun);
                }
                return self.publish(key, &Message::Key(text.as_str())).await;
            }
            Target::Tag(tag) => Change::Tags(vec![*tag]),
            Target::Namespace => Change::Everything,
        };
        let mut reached = Reached::default();
        if let Some(left) = pending.work.left() {
            reached = self.forget_in_backend(&change, Some(left)).await;
        }
        if !reached.is_something() {
            return Err(away(reached.error));
        }
        if let (Work::Forget(_), Target::Tag(tag)) = (&pending.work, target) {
            // A read may have asked the ledger before, and ends when nothing hides what it found.
            pending.fence.forget_tag(*tag);
        }
        let left = Work::of_order(&reached);
        self.l2.retries.reduce(target, pending, left.clone().unwrap_or(Work::Publish));
        self.publish_order(key, &change, &reached).await?;
        left.map_or(Ok(()), |_| Err(away(reached.error)))
    }
}

/// Why an order has not reached all parts of the backend.
fn away(error: Option<Error>) -> Error {
    error.unwrap_or_else(|| Error::new(ErrorKind::Unavailable, "a part of the backend is away"))
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
            if !self.retry_all(&cache).await {
                self.ended = true;
                return;
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Until one fails that may not fail later. Says whether any is left.
    async fn retry_all(&self, cache: &Shared<B>) -> bool {
        while let Some((target, pending)) = cache.l2.retries.first() {
            match cache.retry(&target, &pending).await {
                Err(error) if error.is_temporary() && self.clock.ticks() < pending.until => return true,
                Err(_) => self.observers.tell(Event::GivenUp { key: pending.fence.key() }),
                Ok(()) => {}
            }
            cache.l2.retries.remove(&target, &pending);
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
            cache.l2.retries.end();
        }
    }
}
