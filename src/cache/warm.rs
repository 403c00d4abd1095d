//! Warm starts: a process that starts reads what others had in use.
//!
//! L1 knows which entries the process has read lately. Their names alone are saved in the backend (`save`). A process
//! that starts reads the entries of these names into L1, where they wait sealed until a call knows their types.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Cache, Inner};
use crate::backends::Backend;
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::key::{self, FromKey, Key};
use crate::tiers::Tiers;

mod read;
mod roster;
mod save;

use self::read::Reader;
use self::save::Saver;

/// How many entries are read at a time: with the heads of the ledger, as many as one batch of the backend has.
pub(crate) const BATCH: usize = 240;

/// The warm start of a cache, its tenants and domains included.
pub(super) struct Warm<B: Backend, C: Codec> {
    /// The most names in the roster. Zero: there is no warm start.
    most: usize,
    /// For how many ticks a start can be cold.
    deadline: u64,
    /// What stands in front of the names.
    root: Key,
    /// That of the roster.
    name: Key,
    /// Those of the whole cache.
    tiers: Tiers<B, C>,
    state: Mutex<State>,
    /// Told when a task that reads has ended.
    ended: Notify,
    is_saving: AtomicBool,
}

/// How far the start has come. The empty name is that of the cache itself.
#[derive(Debug, Default)]
struct State {
    /// The tick at which it began.
    begun: Option<u64>,
    /// Whether the roster was read, or given up.
    is_read: bool,
    /// What is to be read, by domain.
    waiting: BTreeMap<Box<str>, Vec<Key>>,
    /// What the backend does not have.
    gone: BTreeMap<Box<str>, Vec<Key>>,
    /// Whether a task reads.
    is_reading: bool,
    /// How many loaders are at work.
    loading: usize,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Waits until the warm start of this cache is over, which it begins if no call has done so before: until the entries
    /// that were hot when processes of this cache last saved their names are in L1, or `warm_deadline` is over. True if
    /// they were read in time, and where there is no warm start.
    ///
    /// A backend that is away is asked again until the deadline: a program that would rather start cold then waits for
    /// less, by a timeout of its own. Calls need not wait: one for an entry that is not there yet is answered as ever. What
    /// a domain had in use is read once the domain is named. What the backend does not have any more is left to the
    /// domain's loader, [`LoadingCache::warm_up`](crate::LoadingCache::warm_up).
    ///
    /// # Examples
    /// ```
    /// use cachekit::{CacheBuilder, Intent, backends::Memory};
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let redis = Memory::new(1 << 20);
    /// let start = || CacheBuilder::new().intent(Intent::Production).backend(redis.clone()).warm_keys(1_000).build();
    /// let yesterday = start()?;
    /// yesterday.set("rate", 108u32).await?;
    /// assert_eq!(yesterday.get::<u32>("rate").await?, Some(108));
    /// yesterday.close(Duration::from_secs(5)).await?;
    ///
    /// let today = start()?;
    /// assert!(today.warm_up().await && today.health().await.is_warm);
    /// assert_eq!(today.get::<u32>("rate").await?, Some(108));
    /// assert_eq!(today.stats().l1_hits, 1);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn warm_up(&self) -> bool {
        self.inner.warm_up().await
    }

    /// The keys of this domain that were hot, and that the backend has no more, once the start has read what it has. With
    /// what says that they are being loaded.
    pub(crate) async fn gone<K: FromKey>(&self) -> (Vec<K>, impl Drop + Send) {
        let warm = Arc::clone(&self.inner.warm);
        warm.state().loading += 1;
        let loading = Loading(warm);
        self.inner.read_hot().await;
        let mut keys = Vec::new();
        if let Some(gone) = loading.0.state().gone.get_mut(self.inner.domain.as_deref().unwrap_or_default()) {
            // Those of other tenants are for their own loaders.
            gone.retain(|name| self.inner.key_of(name).map(|key| keys.push(key)).is_none());
        }
        (keys, loading)
    }

    /// What `work` gives before the warm start has to be over.
    pub(crate) async fn before_warm_deadline<R>(&self, work: impl Future<Output = R> + Send) -> Option<R> {
        let inner = &self.inner;
        let left = Duration::from_millis(inner.warm.end().saturating_sub(inner.clock.ticks()));
        within(&*inner.clock, left, pin!(work)).await
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Sees to it that what was hot is read into L1, and that what is hot is saved.
    #[inline]
    pub(super) fn ensure_warm(&self) {
        if self.warm.is_on() && self.clock.can_sleep() {
            self.begin_warm();
        }
    }

    #[cold]
    fn begin_warm(&self) {
        Saver::begin(&self.shared, &self.warm);
        if self.warm.begin(self.clock.ticks(), |domain| self.shared.domains.has(domain)) {
            let reader = Reader::new(&self.shared, &self.warm);
            // Where nothing can be spawned, the next call tries again.
            let _ = self.shared.tasks.spawn_beside(reader.run());
        }
    }

    /// Whether the start is over.
    pub(super) fn is_warm(&self) -> bool {
        self.warm.is_over(self.clock.ticks(), |domain| self.shared.domains.has(domain))
    }

    async fn warm_up(&self) -> bool {
        self.read_hot().await;
        !self.warm.is_on() || self.clock.ticks() < self.warm.end() && self.is_warm()
    }

    /// Waits until nothing is to be read any more, or the deadline is over.
    async fn read_hot(&self) {
        if !self.warm.is_on() || !self.clock.can_sleep() {
            return;
        }
        let ended = self.warm.ended.notified();
        self.begin_warm();
        if self.warm.state().is_reading {
            let left = Duration::from_millis(self.warm.end().saturating_sub(self.clock.ticks()));
            within(&*self.clock, left, pin!(ended)).await;
        }
    }

    /// The key of a program's that has this name, if its text says so.
    fn key_of<K: FromKey>(&self, name: &Key) -> Option<K> {
        let key = key::from_text::<K>(name.as_str().rsplit(':').next()?)?;
        (self.key(&key).ok()? == *name).then_some(key)
    }
}

impl<B: Backend, C: Codec> Warm<B, C> {
    pub(super) fn new(root: Key, tiers: Tiers<B, C>) -> Arc<Self> {
        let policy = &tiers.policy;
        let has_both = tiers.local.l1.is_some() && tiers.l2.guard.is_some();
        Arc::new(Self {
            most: if has_both { policy.warm_keys } else { 0 },
            deadline: millis(policy.warm_deadline),
            name: root.reserved("roster"),
            root,
            tiers,
            state: Mutex::default(),
            ended: Notify::new(),
            is_saving: AtomicBool::new(false),
        })
    }

    fn is_on(&self) -> bool {
        self.most > 0
    }

    /// The tick by which the start is over in any case.
    fn end(&self) -> u64 {
        self.state().begun.unwrap_or(u64::MAX).saturating_add(self.deadline)
    }

    /// Whether a task is to read from now on: there is something to be read of what `is_named`.
    fn begin(&self, now: u64, is_named: impl Fn(&str) -> bool) -> bool {
        let mut state = self.state();
        state.begun.get_or_insert(now);
        let is_due = !state.is_reading && (!state.is_read || state.waiting.keys().any(|domain| is_named(domain)));
        state.is_reading |= is_due;
        is_due
    }

    fn is_over(&self, now: u64, is_named: impl Fn(&str) -> bool) -> bool {
        if !self.is_on() || now >= self.end() {
            return true;
        }
        let state = self.state();
        let is_read = state.is_read && !state.is_reading && !state.waiting.keys().any(|domain| is_named(domain));
        is_read && state.loading == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a loader is at work.
struct Loading<B: Backend, C: Codec>(Arc<Warm<B, C>>);

impl<B: Backend, C: Codec> Drop for Loading<B, C> {
    fn drop(&mut self) {
        self.0.state().loading -= 1;
    }
}
