//! Changes: what a `set`, an invalidation and an expiry have in common.
//!
//! Whatever changes a key raises its fence before and after the backend is told, so that no read that overlaps the
//! change outlives it. Of changes that overlap, the one that began last stays.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::Inner;
use super::computation::caught;
use crate::backends::{Backend, announce, join};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::event::{Effect, Event, Origin, Scope};
use crate::frame::Labels;
use crate::guard::Guard;
use crate::invalidate::{Target, Work};
use crate::key::Key;
use crate::message::Message;
use crate::order::{Fence, Moment, WriteTurn};
use crate::seal::{Marks, Value};
use crate::tiers::Sealing;

/// How many messages are on their way at once.
const WIDTH: usize = 32;

/// One of the things that changed: what others are told of it, and what is to be made again if that fails.
pub(super) struct Notice<'a> {
    pub(super) target: Target,
    /// The key, or the name of the namespace.
    pub(super) key: &'a Key,
    /// When the change of the key began; of several keys, the last order before it.
    pub(super) begun: Moment,
    pub(super) message: Message<'a>,
    /// Whether the backend has told others in the step that made the change.
    pub(super) is_told: bool,
}

/// What makes a change.
type ChangeWork = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

#[cold]
fn cut_short() -> Error {
    let message =
        "the change was cut short: the cache was closed, its runtime shut down before it ended, or it panicked";
    Error::new(ErrorKind::Closed, message)
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Tells others of a change that the backend took. What failed leaves work for later.
    pub(super) async fn finish(
        &self,
        notices: &[Notice<'_>],
        made: Result<(), Error>,
        work: Work,
    ) -> Result<(), Error> {
        if let Err(error) = made {
            notices.iter().for_each(|notice| self.make_later(notice, work.clone()));
            return Err(error);
        }
        notices.iter().for_each(|notice| self.tiers.l2.retries.settle(&notice.target, notice.begun));
        self.ensure_retries();
        let untold: Vec<&Notice<'_>> = notices.iter().filter(|notice| !notice.is_told).collect();
        // Boxed: over one server, the backend has told of most changes itself.
        if untold.is_empty() { Ok(()) } else { Box::pin(self.tell_others(&untold)).await }
    }

    /// Publishes these changes, a few at a time. What failed leaves work for later.
    async fn tell_others(&self, notices: &[&Notice<'_>]) -> Result<(), Error> {
        let mut told = Ok(());
        for few in notices.chunks(self.at_once(WIDTH)) {
            if told.is_err() && self.retries_changes() {
                // Nor would the bus take these.
                few.iter().for_each(|notice| self.make_later(notice, Work::Publish));
                continue;
            }
            let tell = async |notice: &&Notice<'_>| self.shared.publish(notice.key, &notice.message).await;
            let results = if let [one] = few { vec![tell(one).await] } else { join::all(few.iter().map(tell)).await };
            for (notice, result) in few.iter().zip(results) {
                if result.is_err() {
                    self.make_later(notice, Work::Publish);
                }
                told = told.and(result);
            }
        }
        told
    }

    /// Leaves what failed of a change for later.
    pub(super) fn make_later(&self, notice: &Notice<'_>, work: Work) {
        self.retry_later(notice.target.clone(), notice.key, notice.begun, work);
    }

    /// How many operations of one call may be under way: `most`, or as many as the backend may have.
    pub(super) fn at_once(&self, most: usize) -> usize {
        self.policy().backpressure.map_or(most, |rules| rules.max_concurrent.clamp(1, most))
    }

    /// Makes a change, on a task once it has to wait: a caller who leaves does not cut it short, and one who is parked makes
    /// no other wait.
    pub(super) fn change(
        &self,
        work: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        // Boxed, because it is large and would be moved several times.
        let work: ChangeWork = Box::pin(work);
        self.change_boxed(work)
    }

    async fn change_boxed(&self, mut work: ChangeWork) -> Result<(), Error> {
        // A change that has nothing to wait for needs no task.
        let polled = pin!(caught(work.as_mut())).poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(Ok(made)) => {
                // Its message is heard by a task. A program that makes one change after another would keep that from
                // running on a runtime of one thread.
                if self.shared.subscription.is_some() && Handle::try_current().is_ok() {
                    yield_now().await;
                }
                return made;
            }
            Poll::Ready(Err(_)) => return Err(cut_short()),
            Poll::Pending => {}
        }
        let (tell, told) = oneshot::channel();
        let task = async move {
            // The caller may have left.
            let _ = tell.send(work.await);
        };
        // A closed cache spawns nothing: the call does its own work.
        if let Err(task) = self.shared.tasks.spawn(task) {
            task.await;
        }
        told.await.unwrap_or_else(|_| Err(cut_short()))
    }

    /// Tells observers of an invalidation, if there are any.
    pub(super) fn tell_invalidated(&self, scope: Scope<'_>, effect: Effect) {
        if self.observers.listen() {
            let namespace = &self.namespace.root();
            self.observers.tell(Event::Invalidated { namespace, scope, effect, origin: Origin::Here });
        }
    }

    /// Removes what a task wrote whose turn others did not wait for, if one of them changed the key meanwhile: which of
    /// the writes the backend has is not known.
    pub(super) async fn remove_if_raced(&self, key: &Key, fence: &Fence, turn: &WriteTurn<'_>) {
        let Some(guard) = self.tiers.l2.guard.as_ref().filter(|_| turn.was_passed() && !fence.holds()) else { return };
        if guard.remove(key).await.is_err() {
            self.retry_later(Target::Key(key.clone()), key, turn.made(), Work::Remove);
        }
    }
}

/// A change of a key under way. However it ends, what was read from the tiers meanwhile is void.
pub(super) struct KeyChange<B: Backend, C: Codec> {
    pub(super) cache: Arc<Inner<B, C>>,
    pub(super) key: Key,
    pub(super) fence: Fence,
    /// A `set` has none.
    effect: Option<Effect>,
    begun: Moment,
    ended: AtomicBool,
    is_told: AtomicBool,
}

impl<B: Backend, C: Codec> KeyChange<B, C> {
    pub(super) fn begin(cache: &Arc<Inner<B, C>>, key: Key, effect: Option<Effect>) -> Self {
        let fence = cache.tiers.local.fence(&key);
        let begun = fence.raise();
        let [ended, is_told] = [false; 2].map(AtomicBool::new);
        let change = Self { cache: Arc::clone(cache), key, fence, effect, begun, ended, is_told };
        change.leave_l1();
        change
    }

    /// Writes a value to the backend, whose `frame` is right as it is, or needs a stamp.
    pub(super) async fn write<T: Value>(
        &self,
        frame: &Bytes,
        is_stamped: bool,
        labels: &Labels,
        sealing: &Sealing<T, C>,
    ) -> Result<(), Error> {
        let Some(guard) = &self.cache.tiers.l2.guard else { return Ok(()) };
        let mut frame = frame.clone();
        if !is_stamped {
            let stamp = self.cache.tiers.stamp(&self.key).await?;
            // If an order to forget came in between, the frame keeps the stamp of no ledger: the older entry must go,
            // too.
            if !self.fence.forgot(&labels.tags) && !self.fence.expired() {
                frame = sealing.seal(Marks { stamp, labels: labels.clone() }).await?;
            }
        }
        self.make(pin!(guard.put(&self.key, frame, sealing.dates.keep(), None))).await.map(|_| ())
    }

    /// Removes what the backend has.
    pub(super) async fn remove(&self, guard: &Guard<B>) -> Result<(), Error> {
        self.make(pin!(guard.remove(&self.key))).await
    }

    /// Makes the change in the backend, which tells others of it in the same step, if it can.
    async fn make<F: Future>(&self, change: Pin<&mut F>) -> F::Output {
        let (made, is_told) = announce::with(self.cache.shared.announcement(&self.message()), change).await;
        self.is_told.store(is_told, SeqCst);
        made
    }

    fn message(&self) -> Message<'_> {
        let text = self.key.as_str();
        if self.effect == Some(Effect::Expired) { Message::ExpiredKey(text) } else { Message::Key(text) }
    }

    /// What there is to be told of this change.
    pub(super) fn notice(&self) -> Notice<'_> {
        let (target, is_told) = (Target::Key(self.key.clone()), self.is_told.load(SeqCst));
        Notice { target, key: &self.key, begun: self.begun, message: self.message(), is_told }
    }

    /// Whether a change that began later has been made already: this one would undo it. What a later expiry left may
    /// be what an invalidation is to remove.
    pub(super) fn is_overtaken(&self, turn: &WriteTurn<'_>) -> bool {
        let removes = self.effect == Some(Effect::Invalidated);
        let made = turn.made();
        made > self.begun && !(removes && self.fence.kept(made))
    }

    /// Ends a `set` that was overtaken. What a later expiry left to stand in is older than its value, so it goes.
    pub(super) async fn end_overtaken(&self, turn: &WriteTurn<'_>) -> Result<(), Error> {
        let Some(guard) = self.cache.tiers.l2.guard.as_ref().filter(|_| self.fence.kept(turn.made())) else {
            return Ok(());
        };
        let removed = guard.remove(&self.key).await;
        self.cache.finish(&[self.notice()], removed, Work::Remove).await
    }

    /// Whether L1 may hold what this change has made: nothing newer has come from elsewhere, nor from here, even if the
    /// backend did not take it.
    pub(super) fn may_keep(&self) -> bool {
        self.fence.holds_for_all() && self.fence.is_youngest(self.begun)
    }

    pub(super) fn end(&self, turn: &WriteTurn<'_>, result: &Result<(), Error>) {
        self.void();
        if result.is_ok() {
            if self.effect == Some(Effect::Expired) {
                self.fence.keep(self.begun);
            }
            turn.make(self.begun);
        }
    }

    pub(super) fn void(&self) {
        let told = self.ended.swap(true, SeqCst);
        self.fence.end(self.begun);
        self.leave_l1();
        self.cache.shared.throttle.succeeded(&self.key);
        if let Some(effect) = self.effect.filter(|_| !told) {
            self.cache.tell_invalidated(Scope::Key(&self.key), effect);
        }
    }

    fn leave_l1(&self) {
        if self.effect == Some(Effect::Expired) {
            self.cache.tiers.local.expire(&self.key, self.cache.clock.ticks());
        } else {
            self.cache.tiers.local.evict(&self.key);
        }
    }
}

impl<B: Backend, C: Codec> Drop for KeyChange<B, C> {
    fn drop(&mut self) {
        if !self.ended.load(SeqCst) {
            self.void();
        }
    }
}
