//! The cache: what users hold.
//!
//! [`Cache`] is a handle; the path of a call is in `path`, what it does where L1 has nothing fresh in `run`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::backends::Backend;
use crate::bus::AnyBus;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::config::Policy;
use crate::error::{ComputeError, Error};
use crate::event::{Observers, Traced};
use crate::flight::{Flights, Places};
use crate::frame::Tags;
use crate::guard::{BusPublisher, Guard, Throttle};
use crate::invalidate::{BusReader, Ledgers, Local, Subscription};
use crate::key::{IntoKey, Key, Namespace};
use crate::memory::Weighers;
use crate::order::Belief;
use crate::seal::{Sealer, Value};
use crate::sensitive::Storable;
use crate::tasks::Tasks;
use crate::tiers::{L2, Options, Tiers};

mod answered;
mod batch;
mod change;
mod computation;
mod computed;
mod consult;
mod domain;
mod election;
mod entry;
mod explicit;
mod failures;
mod forget;
mod health;
mod lease;
#[cfg(feature = "metrics")]
mod metrics;
mod orphans;
mod path;
mod previous;
mod publish;
mod queue;
mod report;
mod retry;
mod run;
mod set;
mod store;
mod stored;
mod switches;
#[cfg(feature = "encryption")]
mod tenant;
mod warm;
mod watch;

use self::domain::Domains;
use self::failures::Failures;
use self::orphans::Orphans;
use self::path::Look;
use self::warm::Warm;

/// Leases that are given back at once; further ones end by themselves.
const MOST_RETURNS: usize = 1_024;

pub use self::answered::Fetched;
pub use self::batch::Loaded;
pub(crate) use self::batch::{Gathered, Rules};
pub use self::computed::Computed;
pub use self::domain::DomainSettings;
#[cfg(feature = "blocking")]
pub(crate) use self::entry::Begun;
pub(crate) use self::entry::entry_options;
pub use self::entry::{Entry, Explanation};
pub use self::health::Health;
#[cfg(feature = "metrics")]
pub use self::metrics::{METRICS, Metric, MetricKind};
pub use self::previous::{Previous, Revalidated};
pub(crate) use self::report::About;
pub use self::stored::Sample;
pub(crate) use self::warm::BATCH as WARM_BATCH;
pub use self::watch::{Notice, Told, Watch};

/// A two-tier cache: process memory, then `B`, then your closure, once.
///
/// Cheap to clone; clones are one cache. Built by [`CacheBuilder`](crate::CacheBuilder). Keys live in the cache's
/// namespace; a key holds values of one type, and an entry of another type is a miss.
///
/// An L1 hit is answered on the first poll. Every other call of `get_or_compute` runs on a task of its own, so it needs
/// a tokio runtime with time, and the future may be dropped at any moment without harm to others. Every future of a
/// cache is `Send`.
///
/// `B` is the backend, `C` the codec around the values as the intent made it. To hold a cache in a struct, name both:
/// `Cache<AnyBackend, Standard>` for [`CacheBuilder::from_env`] with a `Dev` or `Production` intent, say.
///
/// [`CacheBuilder::from_env`]: crate::CacheBuilder#method.from_env
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
    /// The name of the domain, if this is one.
    domain: Option<Arc<str>>,
    tiers: Tiers<B, C>,
    clock: Arc<dyn Clock>,
    observers: Observers,
    shared: Arc<Shared<B>>,
    warm: Arc<Warm<B, C>>,
    /// Whether a hit in L1 is to be counted alone, so that [`Inner::fresh_hit`] may answer.
    plain_hits: bool,
}

/// What the tenants and domains of a cache share, too; what a hit in L1 needs is not behind this.
pub(crate) struct Shared<B: Backend> {
    l2: Arc<L2<B>>,
    /// The way to the bus, if there is one.
    publisher: Option<BusPublisher>,
    subscription: Option<Subscription>,
    /// The bus by which the backend tells others of a change in the step that makes it, where it can.
    own_bus: Option<Key>,
    flights: Arc<Flights>,
    throttle: Throttle,
    failures: Failures,
    refreshes: Arc<Semaphore>,
    orphans: Orphans,
    /// Leases that are given back at once.
    returns: Arc<Semaphore>,
    last_ping: health::LastPing,
    /// Those of the whole cache.
    observers: Observers,
    domains: Domains,
    tasks: Arc<Tasks>,
    #[cfg(feature = "metrics")]
    metered: metrics::Metered,
    about: Arc<About>,
}

/// What a builder decided.
pub(crate) struct Parts<B, C> {
    pub(crate) namespace: Namespace,
    pub(crate) policy: Policy,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Observers,
    pub(crate) backend: Option<B>,
    /// What to say once, if the backend does not answer.
    pub(crate) hint: Option<&'static str>,
    /// What takes the place of the backend's own bus.
    pub(crate) bus: Option<AnyBus>,
    pub(crate) codec: C,
    pub(crate) weighers: Weighers,
    pub(crate) about: About,
}

#[expect(
    clippy::manual_async_fn,
    reason = "unoptimized, an async fn copies what a closure owns once more on the stack"
)]
impl<B: Backend, C: Codec> Cache<B, C> {
    pub(crate) fn assemble(parts: Parts<B, C>) -> Self {
        let Parts { namespace, policy, clock, observers, backend, hint, bus: foreign, codec, weighers, about } = parts;
        let guard = backend.map(|backend| Guard::new(backend, hint, &policy, Arc::clone(&clock), observers.clone()));
        let root = namespace.root();
        let name = namespace.bus();
        let foreign = foreign.filter(|_| policy.invalidation);
        let announces = |guard: &&Guard<B>| policy.invalidation && foreign.is_none() && guard.capabilities().announces;
        let announcing = guard.as_ref().filter(announces).and(Belief::of(policy.max_staleness, true));
        let own_bus = announcing.map(|_| name.clone());
        let ledgers = guard.as_ref().filter(|_| policy.namespace_index).map(|guard| {
            let bus = announcing.map(|belief| (name.clone(), belief));
            let parts = guard.capabilities().parts;
            Arc::new(Ledgers::new(&root, parts, bus, policy.max_staleness, Arc::clone(&clock)))
        });
        let own = || guard.as_ref().filter(|_| policy.invalidation).and_then(|guard| guard.bus(&name));
        let bus = foreign.or_else(own);
        let publisher = bus.is_some().then(|| BusPublisher::new(&policy, Arc::clone(&clock), observers.clone()));
        let belief = Belief::of(policy.max_staleness, bus.is_some());
        let (tasks, about) = (Arc::default(), Arc::new(about));
        let local = Local::new(&policy, belief, &tasks, &clock, weighers);
        let subscription = bus.map(|bus| {
            let (local, clock) = (Arc::clone(&local), Arc::clone(&clock));
            let wait = belief.map_or(Duration::MAX, Belief::wait);
            Subscription(BusReader::new(
                bus,
                [name, root.clone()],
                wait,
                local,
                ledgers.clone(),
                clock,
                observers.clone(),
            ))
        });
        let sealer = Arc::new(Sealer::new(codec, &policy));
        let policy = Arc::new(policy);
        #[cfg(feature = "metrics")]
        let metered = metrics::Metered::new(namespace.name(), &local, sealer.sizes());
        let l2 = Arc::new(L2::new(Arc::clone(&policy), guard, ledgers, &*clock));
        let shared = Arc::new(Shared {
            publisher,
            subscription,
            own_bus,
            flights: Flights::new(Places::new(policy.max_flights, policy.max_queued_flights)),
            throttle: Throttle::new(policy.throttle),
            failures: Failures::default(),
            refreshes: Arc::new(Semaphore::new(policy.max_refreshes.min(Semaphore::MAX_PERMITS))),
            orphans: Orphans::default(),
            returns: Arc::new(Semaphore::new(MOST_RETURNS)),
            last_ping: health::LastPing::default(),
            observers: observers.clone(),
            domains: Domains::default(),
            tasks,
            about,
            l2: Arc::clone(&l2),
            #[cfg(feature = "metrics")]
            metered,
        });
        let (listeners, domain) = (observers.clone(), Tags::default());
        let share = None;
        let tiers = Tiers { sealer, clock: Arc::clone(&clock), observers: listeners, policy, domain, share, local, l2 };
        let warm = Warm::new(root, tiers.clone());
        let plain_hits = tiers.has_plain_hits(&observers);
        let inner = Inner { namespace, domain: None, tiers, clock, observers, shared, warm, plain_hits };
        Self { inner: Arc::new(inner) }
    }

    /// The value of `key`: from L1, else from the backend, else from `compute`, which then runs once for all who ask.
    ///
    /// No caller owns the computation: it runs on a task, so dropping this future, or never polling it again, neither
    /// stops nor repeats it. A stale value is returned at once while a background task renews it. A cache or backend
    /// failure is never returned: the call goes on without the tier that failed.
    ///
    /// `compute` outlives the call, so it owns what it needs: `move || async move { .. }`, with clones of what is
    /// shared.
    ///
    /// A computation may ask for other keys. One that would wait for itself, directly or by way of the computations of
    /// other keys, of whatever cache of the process, is refused at once, and those that waited for it go on without it.
    /// The cache tells by the task which computation a call comes from: what a computation gives to `tokio::spawn`
    /// belongs to no computation, unless it runs in the [`Context`](crate::Context) of the computation; a ring by way of it ends
    /// at the deadline only.
    ///
    /// Callers on a tokio runtime that is driven do not wait for a computation on one that is not: within about a second
    /// they find out, and compute for themselves.
    ///
    /// # What the computation sees of its caller
    /// With feature `tracing`, it runs in the span of the call that starts it, as it was entered then; that span stays
    /// open until the computation has ended, of a renewal in the background too. Those who join have spans of their
    /// own. Nothing else of a task crosses: no `tokio::task_local!`, no thread-local, no context that a tracing library
    /// keeps beside the spans. Read it before the call, and put it in place inside:
    /// ```
    /// tokio::task_local!(static REQUEST: u64);
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
    /// let user = REQUEST.scope(7, async {
    ///     let request = REQUEST.get();
    ///     let load = || async { Ok::<_, std::io::Error>(format!("user 42, for request {}", REQUEST.get())) };
    ///     users.get_or_compute(42, move || REQUEST.scope(request, load())).await
    /// });
    /// assert_eq!(user.await?, "user 42, for request 7");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ComputeError::Failed`] with the computation's error, [`ComputeError::Panicked`], or [`ComputeError::TimedOut`] past the
    /// deadline; the same for all who waited; the next call tries again. [`ComputeError::Cache`] for a call outside a
    /// tokio runtime or whose runtime ends, a computation that would wait for itself, more than 16 computations within
    /// one another in a cache that is closed, or a cache that is set to fail closed and finds an entry that is not
    /// authentic.
    ///
    /// While `max_flights` are under way, further ones wait in line, up to `max_queued_flights`, and no caller waits
    /// longer for that than for a computation: then it is [`ComputeError::TimedOut`]. What finds the line full is
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded), or computed unshared, as the setting
    /// [`Overload`](crate::Overload) says.
    ///
    /// A key that cannot be used, because it is empty or longer than [`Key::MAX_INPUT`](crate::Key::MAX_INPUT), is no
    /// error: the call computes for itself, nothing is stored, and [`Event::NotStored`](crate::Event::NotStored) says
    /// why.
    ///
    /// # Cost
    /// An L1 hit hashes the key once, takes one shard lock and clones the value; it allocates only if the clone does.
    pub fn get_or_compute<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        compute: F,
    ) -> impl Future<Output = Result<T, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            let look = self.inner.seek_copy(&key, &Options::default());
            let form = match look {
                Look::Hit(form) => form,
                Look::Miss(other) => {
                    let compute = computation::boxed(compute, |value: T| Computed::new(value.into_form()));
                    self.inner.answer(other, Options::default(), compute).await.map(Arc::unwrap_or_clone)?
                }
            };
            Ok(T::from_form(form))
        }
    }

    /// Like [`get_or_compute`](Cache::get_or_compute), without cloning the value: all callers share it.
    ///
    /// With a confidential codec each hit opens a value of its own.
    ///
    /// # Errors
    /// As [`get_or_compute`](Cache::get_or_compute).
    pub fn get_or_compute_arc<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        compute: F,
    ) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            let look = self.inner.seek(&key, &Options::default());
            match look {
                Look::Hit(value) => Ok(value),
                Look::Miss(other) => {
                    self.inner.answer(other, Options::default(), computation::boxed(compute, Computed::new)).await
                }
            }
        }
    }

    /// Like [`get_or_compute`](Cache::get_or_compute), and says whence the value came, how old it is and how long it lives.
    ///
    /// # Errors
    /// As [`get_or_compute`](Cache::get_or_compute).
    ///
    /// # Cost
    /// A hit in L1 makes a key and looks up the tags, for two allocations.
    ///
    /// # Examples
    /// See [`Fetched`].
    pub fn fetch<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        compute: F,
    ) -> impl Future<Output = Result<Fetched<T>, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.entry(key).fetch(compute)
    }

    /// Computes the value of `key` anew, whatever the tiers have, and stores it in their place. Other processes drop what
    /// they have in L1 and read the new value from the backend. Until it is there, other calls get the older one.
    ///
    /// Calls to refresh one key at once share one computation, in this process and, by the lease, in others. If it fails,
    /// the entry stays. Like [`set`](Cache::set), it replaces the tags: name them by [`Entry::refresh`].
    ///
    /// # Errors
    /// As [`get_or_compute`](Cache::get_or_compute).
    ///
    /// # Examples
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let rates = cachekit::CacheBuilder::new().namespace("rates").build()?;
    /// rates.set("eur", 107u32).await?;
    /// let rate = rates.refresh("eur", || async { Ok::<_, std::io::Error>(108u32) }).await?;
    /// assert_eq!((rate, rates.get::<u32>("eur").await?), (108, Some(108)));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn refresh<T, E, F, Fut>(
        &self,
        key: impl IntoKey,
        compute: F,
    ) -> impl Future<Output = Result<T, ComputeError<E>>>
    where
        T: Storable<C, Form: Clone>,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.entry(key).refresh(compute)
    }

    /// The entry of `key`, for a call with options of its own.
    pub fn entry<K: IntoKey>(&self, key: K) -> Entry<'_, B, C, K> {
        Entry::new(self, key)
    }

    /// The value of `key` if L1 or the backend has it and it has not expired. Renews nothing.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails: a failure is not an absence. An entry that cannot be read is one.
    pub async fn get<T: Storable<C, Form: Clone>>(&self, key: impl IntoKey) -> Result<Option<T>, Error> {
        self.entry(key).get().await
    }

    /// Like [`get`](Cache::get), without cloning the value.
    ///
    /// # Errors
    /// As [`get`](Cache::get).
    pub async fn get_arc<T: Value>(&self, key: impl IntoKey) -> Result<Option<Arc<T>>, Error> {
        self.entry(key).get_arc().await
    }

    /// Stores `value` under `key` in both tiers, for the policy's TTL.
    ///
    /// Computations of the key that are under way do not overwrite it; of sets and invalidations that overlap, the one
    /// that began last stays. With a backend the work is done on a task: once polled, it goes on if this future is
    /// dropped.
    ///
    /// # Errors
    /// If the key is unusable, the TTL is longer than the backend can keep, or the value is too large or not readable
    /// by its codec: nothing has changed then, save that a value that only L1 finds too large replaces an older one by
    /// nothing. If the backend fails: this process has the new value in L1, others may still read an older one, until
    /// the backend is back and the entry is removed from it.
    pub fn set<T: Storable<C>>(&self, key: impl IntoKey, value: T) -> impl Future<Output = Result<(), Error>> {
        self.entry(key).set(value)
    }

    /// How much longer the entry of `key` lives until it expires, of whatever type. `None` if there is none. Asks the
    /// backend where there is one.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = cachekit::CacheBuilder::new().namespace("pages").build()?;
    /// pages.entry("home").ttl(Duration::from_secs(60)).set(1u32).await?;
    /// assert!(pages.remaining("home").await?.is_some_and(|left| left <= Duration::from_secs(60)));
    /// assert_eq!(pages.remaining("team").await?, None);
    /// # Ok::<(), cachekit::Error>(()) }).unwrap();
    /// ```
    pub async fn remaining(&self, key: impl IntoKey) -> Result<Option<Duration>, Error> {
        Ok(self.inner.left(&key).await?.map(Duration::from_millis))
    }

    /// Whether there is an entry under `key` that has not expired, of whatever type. Asks the backend where there is
    /// one.
    ///
    /// # Errors
    /// If the key is unusable, or the backend fails.
    pub async fn exists(&self, key: impl IntoKey) -> Result<bool, Error> {
        Ok(self.inner.left(&key).await?.is_some())
    }
}

impl<B: Backend, C: Codec> Clone for Cache<B, C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

/// Short: namespace, backend and codecs. `{:#?}` also shows what is going on inside.
impl<B: Backend, C: Codec> fmt::Debug for Cache<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        let About { backend, codec, .. } = &*inner.shared.about;
        let is_short = !f.alternate();
        let mut short = f.debug_struct("Cache");
        short.field("namespace", &inner.name()).field("backend", backend).field("codec", codec);
        if is_short {
            return short.finish_non_exhaustive();
        }
        short
            .field("l1", &inner.tiers.local.l1)
            .field("l2", &inner.tiers.l2.guard)
            .field("flights", &inner.shared.flights.len())
            .field("fences", &inner.tiers.local.fences.len())
            .field("tasks", &inner.shared.tasks.len())
            .field("renewals", &(inner.policy().max_refreshes - inner.shared.refreshes.available_permits()))
            .finish_non_exhaustive()
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    fn policy(&self) -> &Policy {
        &self.tiers.policy
    }

    /// Whose spans are made.
    fn traced(&self) -> Traced<'_> {
        let domain = self.domain.as_deref().unwrap_or_default();
        Traced { is_on: self.observers.traces(), namespace: self.namespace.name(), domain }
    }

    /// The namespace, as it stands in keys.
    fn name(&self) -> &str {
        self.namespace.name()
    }

    /// Tells caches apart; the tenants and domains of one are one.
    fn id(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }
}
