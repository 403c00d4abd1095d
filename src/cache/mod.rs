//! The cache: what users hold.
//!
//! [`Cache`] is a handle; the path of a call is in `path`, the tiers it passes in `tiers`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backends::Backend;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::config::Policy;
use crate::error::{ComputeError, Error};
use crate::event::{Observers, Stats};
use crate::fence::Fences;
use crate::flight::Flights;
use crate::guard::{Guard, Limits, Throttle};
use crate::key::{IntoKey, Namespace};
use crate::memory::L1;
use crate::seal::{Sealer, Value};
use crate::tasks::Tasks;

mod entry;
mod explicit;
mod options;
mod path;
mod tiers;

use self::options::Options;
use self::path::Look;

pub use self::entry::Entry;
pub use self::options::Computed;

/// A two-tier cache: process memory, then `B`, then your closure, once.
///
/// Cheap to clone; clones are one cache. Built by [`CacheBuilder`](crate::CacheBuilder). Keys live in the cache's namespace; a key
/// holds values of one type, and an entry of another type is a miss.
///
/// An L1 hit is answered on the first poll. Every other call of `get_or_compute` runs on a task of its own, so it needs a tokio
/// runtime with time, and the future may be dropped at any moment without harm to others.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Intent};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let squares = CacheBuilder::new().intent(Intent::Minimal).namespace("squares").build()?;
/// let n = 12u64;
/// let square: u64 = squares.get_or_compute(n, move || async move { Ok::<_, std::io::Error>(n * n) }).await?;
/// assert_eq!(square, 144);
/// assert_eq!(squares.get::<u64>(n).await?, Some(144));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Cache<B: Backend, C: Codec> {
    inner: Arc<Inner<B, C>>,
}

/// What clones of a cache share.
pub(crate) struct Inner<B: Backend, C: Codec> {
    namespace: Namespace,
    policy: Policy,
    clock: Arc<dyn Clock>,
    observers: Observers,
    l1: Option<L1>,
    guard: Option<Guard<B>>,
    sealer: Sealer<C>,
    fences: Arc<Fences>,
    flights: Arc<Flights>,
    throttle: Throttle,
    refreshes: Arc<Semaphore>,
    tasks: Tasks,
}

/// What a builder decided.
pub(crate) struct Parts<B, C> {
    pub(crate) namespace: Namespace,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    pub(crate) backend: Option<B>,
    pub(crate) codec: C,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    pub(crate) fn assemble(parts: Parts<B, C>) -> Self {
        let Parts { namespace, policy, clock, observers, backend, codec } = parts;
        let limits = Limits {
            operation_timeout: policy.operation_timeout,
            max_value_size: policy.max_value_size,
            max_chunk_size: policy.max_chunk_size,
        };
        let guard = backend.map(|backend| Guard::new(backend, limits, Arc::clone(&clock), observers.clone()));
        let inner = Inner {
            l1: policy.l1_max_size.map(L1::new),
            guard,
            sealer: Sealer::new(codec, policy.schema_version),
            fences: Fences::new(),
            flights: Flights::new(policy.max_flights),
            throttle: Throttle::new(policy.throttle),
            refreshes: Arc::new(Semaphore::new(policy.max_refreshes.min(Semaphore::MAX_PERMITS))),
            tasks: Tasks::default(),
            namespace,
            policy,
            clock,
            observers,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The value of `key`: from L1, else from the backend, else from `compute`, which then runs once for all who ask.
    ///
    /// Nobody owns the computation: it runs on a task, so dropping this future, or never polling it again, neither stops nor
    /// repeats it. A stale value is returned at once while a background task renews it. A cache or backend failure is
    /// never returned: the call goes on without the tier that failed.
    ///
    /// # Errors
    /// [`ComputeError::Failed`] with the computation's error, [`ComputeError::Panicked`], or [`ComputeError::TimedOut`] past the
    /// deadline; the same for all who waited; the next call tries again. [`ComputeError::Cache`] for an unusable key, a
    /// call outside a tokio runtime, or a computation that asks for its own key.
    ///
    /// # Cost
    /// An L1 hit hashes the key once, takes one shard lock and clones the value; it allocates only if the clone does.
    pub async fn get_or_compute<T, E, F, Fut>(&self, key: impl IntoKey, compute: F) -> Result<T, ComputeError<E>>
    where
        T: Value + Clone,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let look = self.inner.look(&key, &Options::default())?;
        match look {
            Look::Fresh(value) => Ok(T::clone(&value)),
            Look::Other(other) => self
                .inner
                .answer(other, Options::default(), || async move { compute().await.map(Computed::new) })
                .await
                .map(Arc::unwrap_or_clone),
        }
    }

    /// Like [`get_or_compute`](Cache::get_or_compute), without cloning the value: all callers share it.
    ///
    /// With a confidential codec each hit opens a value of its own.
    ///
    /// # Errors
    /// As [`get_or_compute`](Cache::get_or_compute).
    pub async fn get_or_compute_arc<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        compute: F,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let look = self.inner.look(&key, &Options::default())?;
        match look {
            Look::Fresh(value) => Ok(value),
            Look::Other(other) => {
                self.inner.answer(other, Options::default(), || async move { compute().await.map(Computed::new) }).await
            }
        }
    }

    /// The entry of `key`, for a call with options of its own.
    pub fn entry<K: IntoKey>(&self, key: K) -> Entry<'_, B, C, K> {
        Entry::new(self, key)
    }

    /// The value of `key` if L1 or the backend has it and it has not expired.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails: a failure is not an absence.
    pub async fn get<T: Value + Clone>(&self, key: impl IntoKey) -> Result<Option<T>, Error> {
        self.entry(key).get().await
    }

    /// Stores `value` under `key` in both tiers, for the policy's TTL.
    ///
    /// Computations of the key that are under way do not overwrite it.
    ///
    /// # Errors
    /// If the key is unusable, the value is too large or not readable by its codec (nothing is stored and an older entry
    /// is gone from L1), or the backend fails (this process has the new value in L1, others may still read an older one).
    pub async fn set<T: Value>(&self, key: impl IntoKey, value: T) -> Result<(), Error> {
        self.entry(key).set(value).await
    }

    /// Forgets `key` in both tiers.
    ///
    /// Once this has returned, no call of this process returns a value whose computation or backend read began before, and
    /// no flight stores such a value.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails: this process has forgotten the entry, the backend may not have.
    pub async fn invalidate(&self, key: impl IntoKey) -> Result<(), Error> {
        self.inner.invalidate(&key).await
    }

    /// Whether there is an entry under `key` that has not expired, of whatever type. Asks the backend where there is one.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails.
    pub async fn exists(&self, key: impl IntoKey) -> Result<bool, Error> {
        self.inner.exists(&key).await
    }

    /// Checks that the backend answers. A cache without one always does.
    ///
    /// # Errors
    /// What the backend says, or a timeout.
    pub async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    /// What the cache has done so far. All zero where the intent keeps no stats.
    pub fn stats(&self) -> Stats {
        self.inner.observers.stats()
    }

    /// How the cache behaves.
    pub fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    /// Bytes accounted for in L1, and entries held there.
    pub fn l1_usage(&self) -> (usize, usize) {
        self.inner.l1.as_ref().map_or((0, 0), |l1| (l1.weight(), l1.len()))
    }

    /// Computations in flight and background writes that have not ended.
    pub fn pending(&self) -> usize {
        self.inner.tasks.len()
    }

    /// Waits until everything the cache has begun is done, at most `deadline`, and begins nothing more.
    ///
    /// Afterwards calls still answer: from the tiers, or by computing for themselves without storing.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) with the number of tasks that were stopped at the deadline.
    pub async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.inner.close(deadline).await
    }
}

impl<B: Backend, C: Codec> Clone for Cache<B, C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<B: Backend, C: Codec> fmt::Debug for Cache<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("l1", &self.inner.l1).field("l2", &self.inner.guard).finish_non_exhaustive()
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Tells caches apart.
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}
