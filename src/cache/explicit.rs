//! Explicit operations: get, set, invalidate, exists, close.
//!
//! Unlike `get_or_compute` they return the backend's errors. Whatever changes a key raises its fence before and after
//! the backend is told, so that no read that overlaps the change outlives it. Of changes that overlap, the one that
//! began last stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Inner;
use super::options::Options;
use super::path::{Look, Other};
use super::recovery::{Target, Work};
use super::tiers::{Found, Origin};
use crate::backends::Backend;
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::epochs::Tags;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Outcome};
use crate::fence::Fence;
use crate::guard::check_size;
use crate::invalidate::Subscription;
use crate::key::{IntoKey, Key};
use crate::memory::{self, Age};
use crate::seal::{Marks, Value};

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn fetch<T: Value>(&self, key: &impl IntoKey, options: Options) -> Result<Option<Arc<T>>, Error> {
        options.check()?;
        let Other { key, stale } = if self.local.l1.is_none() {
            Other { key: self.key(key)?, stale: None }
        } else {
            match self.look(key, &options)? {
                Look::Fresh(value) => return Ok(Some(value)),
                Look::Other(other) => *other,
            }
        };
        if stale.is_some() {
            self.observers.tell(Event::Answered { key: &key, outcome: Outcome::Stale });
            return Ok(stale);
        }
        if !options.skip_l2_read {
            self.listen().await;
        }
        let (found, failure) = self.consult::<T>(&key, options).await;
        let (outcome, value) = match (found, failure) {
            (Some(Found { value, age: Age::Fresh, in_l1: true, .. }), _) => (Outcome::L1Hit, Ok(Some(value))),
            (Some(Found { value, age: Age::Fresh, .. }), _) => (Outcome::L2Hit, Ok(Some(value))),
            (Some(Found { value, age: Age::Stale, .. }), _) => (Outcome::Stale, Ok(Some(value))),
            (_, Some(error)) => (Outcome::Failed, Err(error)),
            (_, None) => (Outcome::Absent, Ok(None)),
        };
        self.observers.tell(Event::Answered { key: &key, outcome });
        value
    }

    pub(super) async fn set<T: Value>(
        self: &Arc<Self>,
        key: &impl IntoKey,
        options: Options,
        tags: &[u64],
        value: T,
    ) -> Result<(), Error> {
        options.check()?;
        let key = self.key(key)?;
        let plan = self.plan(options, None, &value)?;
        let value = Arc::new(value);
        // Before the versions are looked at: an invalidation that comes in between voids the value in both tiers.
        let origin = Origin { epoch: self.local.epochs.now(), tags: Tags::from(tags) };
        let to_l2 = self.guard.is_some() && !options.skip_l2_write;
        // Sealed here, so that a value that cannot be written changes nothing; once more where its versions are not known.
        let known =
            self.versions.as_ref().filter(|_| to_l2).map_or(Some(Marks::unversioned(tags)), |all| all.known(tags));
        let seal = {
            let (sealer, key, value) = (Arc::clone(&self.sealer), key.clone(), Arc::clone(&value));
            move |marks: &Marks| sealer.seal(&key, &*value, plan.dates, Duration::ZERO, marks)
        };
        let frame = if to_l2 || C::CONFIDENTIAL {
            Some(seal(known.as_ref().unwrap_or(&Marks::unversioned(tags)))?)
        } else {
            None
        };
        let size = frame.as_ref().map_or_else(|| memory::weigh(&*value), Bytes::len);
        check_size(size, self.policy.max_value_size)?;
        let change = Change::begin(self, key);
        if self.is_alone() {
            change.void();
            if options.skip_l1_write {
                return Ok(());
            }
            return self.keep(&change.key, &value, frame, plan, origin, || change.fence.holds()).map(|_| ());
        }
        self.change(async move {
            let cache = Arc::clone(&change.cache);
            cache.listen().await;
            let mut turn = change.fence.turn().await;
            if change.is_overtaken(&turn) {
                return Ok(());
            }
            let written = match &frame {
                Some(frame) if to_l2 => change.write(frame, known.is_some(), &origin.tags, seal, plan.keep()).await,
                _ => Ok(()),
            };
            change.end(&mut turn, &written);
            let mut kept = Ok(());
            if !options.skip_l1_write {
                let admit = || change.fence.holds_for_all();
                kept = cache.keep(&change.key, &value, frame, plan, origin, admit).map(drop);
            }
            if cache.guard.is_some() && !to_l2 {
                return Ok(());
            }
            let target = Target::Key(change.key.clone());
            let told = cache.conclude(target, &change.key, change.begun, written, Work::Remove).await;
            // Too large for L1 is no failure where there is a backend.
            if cache.guard.is_some() { told } else { kept.and(told) }
        })
        .await
    }

    pub(super) async fn invalidate(self: &Arc<Self>, key: &impl IntoKey) -> Result<(), Error> {
        let change = Change::begin(self, self.key(key)?);
        if self.is_alone() {
            return Ok(());
        }
        self.change(async move {
            let cache = Arc::clone(&change.cache);
            let mut turn = change.fence.turn().await;
            if change.is_overtaken(&turn) {
                return Ok(());
            }
            let removed = match &cache.guard {
                Some(guard) => guard.remove(&change.key).await,
                None => Ok(()),
            };
            change.end(&mut turn, &removed);
            let target = Target::Key(change.key.clone());
            cache.conclude(target, &change.key, change.begun, removed, Work::Remove).await
        })
        .await
    }

    /// Tells others of a change that the backend took. What failed leaves work for later.
    pub(super) async fn conclude(
        self: &Arc<Self>,
        target: Target,
        key: &Key,
        begun: u64,
        made: Result<(), Error>,
        work: Work,
    ) -> Result<(), Error> {
        if let Err(error) = made {
            self.recover(target, key, begun, work);
            return Err(error);
        }
        self.recovery.settle(&target);
        self.see_to_recovery();
        let told = self.tell_others(key, target.message()).await;
        if told.is_err() {
            self.recover(target, key, begun, Work::Tell);
        }
        told
    }

    /// Runs a change on a task: a caller who leaves does not cut it short, and one who is parked keeps nobody waiting.
    pub(super) fn change(
        &self,
        work: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let (tell, told) = oneshot::channel();
        // Boxed, because it is large and would be moved several times.
        let work = Box::pin(work);
        let task = async move {
            // Whoever asked may have left.
            let _ = tell.send(work.await);
        };
        async move {
            // A closed cache spawns nothing: the call does its own work.
            if let Err(task) = self.tasks.spawn(task) {
                task.await;
            }
            told.await.unwrap_or_else(|_| {
                let message = "the change was cut short: the cache was closed or its runtime shut down before it ended";
                Err(Error::new(ErrorKind::Closed, message))
            })
        }
    }

    pub(super) async fn exists(&self, key: &impl IntoKey) -> Result<bool, Error> {
        let key = self.key(key)?;
        match (&self.guard, &self.local.l1) {
            (Some(guard), _) => self.has(guard, &key).await,
            (None, Some(l1)) => {
                let hit = l1.get(key.hash64(), key.as_str(), self.clock.ticks());
                Ok(hit.is_some_and(|hit| hit.age != Age::Expired))
            }
            (None, None) => Ok(false),
        }
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        let Some(guard) = &self.guard else { return Ok(()) };
        guard.ping(&self.key(&"ping")?).await
    }

    pub(super) async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.tasks.close();
        let drained = within(&*self.clock, deadline, self.tasks.drained()).await;
        if let Some(Subscription(bulletin)) = &self.subscription {
            bulletin.stop();
        }
        let lost = self.recovery.len();
        if drained.is_some() && lost == 0 {
            return Ok(());
        }
        let left = self.tasks.stop();
        let message = format!(
            "{left} tasks had not ended {} ms after close and were stopped; {lost} changes never reached the backend",
            millis(deadline)
        );
        Err(Error::new(ErrorKind::Timeout, message))
    }

    fn key(&self, key: &impl IntoKey) -> Result<Key, Error> {
        self.namespace.with(key, Key::from_parts)
    }
}

/// A change of a key under way. However it ends, what was read from the tiers meanwhile is void.
struct Change<B: Backend, C: Codec> {
    cache: Arc<Inner<B, C>>,
    key: Key,
    fence: Fence,
    begun: u64,
    ended: AtomicBool,
}

impl<B: Backend, C: Codec> Change<B, C> {
    fn begin(cache: &Arc<Inner<B, C>>, key: Key) -> Self {
        let fence = cache.local.fence(&key);
        let begun = fence.raise();
        cache.local.evict(&key);
        Self { cache: Arc::clone(cache), key, fence, begun, ended: AtomicBool::new(false) }
    }

    /// Writes a value to the backend, whose `frame` is right as it is, or needs the versions of now.
    async fn write(
        &self,
        frame: &Bytes,
        versioned: bool,
        tags: &[u64],
        seal: impl Fn(&Marks) -> Result<Bytes, Error>,
        keep: Duration,
    ) -> Result<(), Error> {
        let Some(guard) = &self.cache.guard else { return Ok(()) };
        let frame = match &self.cache.versions {
            Some(versions) if !versioned => {
                let marks = versions.now(guard, tags).await?;
                // What an invalidation has overtaken keeps the marks of nothing: the older entry must go, too.
                if self.fence.forgot(tags) { frame.clone() } else { seal(&marks)? }
            }
            _ => frame.clone(),
        };
        guard.put(&self.key, frame, keep, None).await.map(|_| ())
    }

    /// Whether a change that began later has been made already: this one would undo it.
    fn is_overtaken(&self, turn: &u64) -> bool {
        *turn > self.begun
    }

    fn end(&self, turn: &mut u64, result: &Result<(), Error>) {
        self.void();
        if result.is_ok() {
            *turn = self.begun;
        }
    }

    fn void(&self) {
        self.ended.store(true, SeqCst);
        self.fence.raise();
        self.cache.local.evict(&self.key);
        self.cache.throttle.succeeded(&self.key);
    }
}

impl<B: Backend, C: Codec> Drop for Change<B, C> {
    fn drop(&mut self) {
        if !self.ended.load(SeqCst) {
            self.void();
        }
    }
}
