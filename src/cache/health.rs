//! Health: how the parts of a cache are, and how it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "advisor")]
use super::Shared;
use super::{Cache, Inner};
use crate::backends::Backend;
use crate::clock::millis;
use crate::codec::Codec;
use crate::config::Policy;
use crate::error::Error;
use crate::event::{BreakerState, Stats};
use crate::guard::Guard;
use crate::key::Key;
use crate::memory::L1;
use crate::tiers::Options;

/// How a cache is, told by [`Cache::health`](crate::Cache::health).
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Intent, backends::Memory};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build()?;
/// let health = cache.health().await;
/// assert!(health.is_up() && health.backend.is_none() && health.waiting_changes == 0);
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// What the backend answered to a ping, if that was an error. `None` also where there is no backend.
    pub backend: Option<Error>,
    /// What the circuit breaker is, where there is one. Where parts of the backend fail alone, such as the masters of a
    /// Redis cluster, each has a breaker of its own, and this is the state of the worst.
    pub breaker: Option<BreakerState>,
    /// How many parts the backend has that fail alone: one, unless it says otherwise by
    /// [`Capabilities::parts`](crate::Capabilities::parts); none where there is no backend.
    pub parts: u16,
    /// Of how many of them the circuit breaker is open or half open. Their keys are computed, those of the others are
    /// served and stored.
    pub failing_parts: u16,
    /// Changes that the backend has not taken yet and that are tried again.
    pub waiting_changes: usize,
    /// Whether the warm start is over: what processes of this cache had in use is in L1, or `warm_deadline` is over. True
    /// where there is none. The first call, of `health` too, begins it.
    pub is_warm: bool,
}

impl Health {
    /// Whether the backend answers and is used, by one of its parts at least. A cache whose backend is down goes on from
    /// L1 and by computing.
    pub fn is_up(&self) -> bool {
        self.backend.is_none() && (self.parts == 0 || self.failing_parts < self.parts)
    }
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Checks that the backend answers. A cache without one always does.
    ///
    /// # Errors
    /// What the backend says, or a timeout.
    pub async fn ping(&self) -> Result<(), Error> {
        self.inner.ping().await
    }

    /// How the backend, the circuit breaker and what is left to do are. Pings the backend at most once a second.
    pub async fn health(&self) -> Health {
        self.inner.health().await
    }

    /// What the cache has done so far, all of its domains included; of the handle of a [domain](Cache::domain), what that
    /// has done. What concerns the backend and the bus, and no single call, is counted by the cache alone. All zero where
    /// the intent keeps no stats.
    pub fn stats(&self) -> Stats {
        let own = self.inner.observers.stats();
        if self.inner.domain.is_some() { own } else { own + self.inner.shared.domains.stats() }
    }

    /// What deserves attention in how this cache was set up, the first first: what the environment and `build` found,
    /// and what its use has shown, such as a default backend that does not answer. Empty if all is well.
    ///
    /// For programs without a subscriber or an [`Observer`](crate::Observer): each is also told once, as
    /// [`Event::Warning`](crate::Event::Warning).
    ///
    /// # Examples
    /// ```
    /// use cachekit::CacheBuilder;
    /// let cache = CacheBuilder::from_vars([("CACHE_REDIS_URL", "redis://prod")]).l1_only().build()?;
    /// for warning in cache.warnings() {
    ///     eprintln!("warning: {warning}");
    /// }
    /// assert!(cache.warnings()[0].starts_with("CACHE_REDIS_URL is ignored"));
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        self.inner.observers.warnings()
    }

    /// How the cache behaves.
    pub fn policy(&self) -> &Policy {
        self.inner.policy()
    }

    /// Bytes that L1 accounts for: values, keys and what it needs for itself. Zero where L1 is off.
    pub fn l1_bytes(&self) -> usize {
        self.inner.tiers.local.l1.as_deref().map_or(0, L1::weight)
    }

    /// Entries held in L1, gone ones not yet removed included. Zero where L1 is off.
    pub fn l1_len(&self) -> usize {
        self.inner.tiers.local.l1.as_deref().map_or(0, L1::len)
    }

    /// How often L1 would be hit at other sizes, by a sample of the reads so far. `None` where the setting
    /// [`advisor`](crate::CacheBuilder::advisor) is off, or L1 is.
    ///
    /// The curve is that of LRU, with the bytes that L1 accounts for; up to 4,096 keys are followed, which takes about
    /// 600 KiB. L1 keeps by frequency, too, so it is mostly hit a little more often.
    ///
    /// # Cost
    /// A few microseconds. While the setting is on, a read that is followed costs some 500 instructions and a lock: each read
    /// while there are fewer keys, one in 25 among 100,000.
    ///
    /// # Examples
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pages = cachekit::CacheBuilder::new().namespace("pages").advisor(true).build()?;
    /// for page in (0..100u32).cycle().take(1_000) {
    ///     pages.get_or_compute(page, move || async move { Ok::<_, std::io::Error>(vec![0u8; 10_000]) }).await?;
    /// }
    /// let curve = pages.hit_curve().unwrap();
    /// assert!(curve.hit_ratio(8 << 20) > Some(0.89) && curve.hit_ratio(512 << 10) < Some(0.1));
    /// println!("{curve}");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "advisor")]
    pub fn hit_curve(&self) -> Option<crate::memory::HitCurve> {
        let Shared { observers, domains, l2, .. } = &*self.inner.shared;
        let calls = || (observers.stats() + domains.stats()).calls();
        self.inner.tiers.local.l1.as_deref()?.hit_curve(l2.policy.stats.then(calls))
    }

    /// How many tasks of this cache have not ended: computations, their writes, renewals, and the one that gives the
    /// memory of forgotten entries back.
    pub fn pending(&self) -> usize {
        self.inner.shared.tasks.len()
    }

    /// Waits until everything the cache has begun is done, at most `deadline`, and begins nothing more.
    ///
    /// Afterwards calls still answer: from the tiers, or by computing for themselves without storing. `set` and
    /// `invalidate` work as before, but that L1 keeps nothing where other caches can no longer be heard. All clones are
    /// closed.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) with the number of tasks that were stopped at the deadline.
    pub async fn close(&self, deadline: Duration) -> Result<(), Error> {
        self.inner.close(deadline).await
    }
}

/// What the last ping found, and when.
#[derive(Debug, Default)]
pub(super) struct LastPing(Mutex<Option<(u64, Option<Error>)>>);

/// How long a ping is good for.
const FOR: Duration = Duration::from_secs(1);

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn health(self: &Arc<Self>) -> Health {
        self.ensure_warm();
        let guard = self.tiers.l2.guard.as_ref();
        let breakers: Vec<_> = guard.into_iter().flat_map(Guard::breakers).collect();
        let worst = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
        Health {
            backend: self.checked().await,
            breaker: worst.into_iter().find(|state| breakers.contains(state)),
            parts: guard.map_or(0, |guard| guard.capabilities().parts.max(1)),
            failing_parts: breakers.iter().filter(|state| **state != BreakerState::Closed).count() as u16,
            waiting_changes: self.tiers.l2.retries.len(),
            is_warm: self.is_warm(),
        }
    }

    async fn checked(&self) -> Option<Error> {
        let last = self.shared.last_ping.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((tick, found)) = last
            && self.clock.ticks().saturating_sub(tick) < millis(FOR)
        {
            return found;
        }
        let found = self.ping().await.err();
        *self.shared.last_ping.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((self.clock.ticks(), found.clone()));
        found
    }

    /// Whether a computed value of `key` could be stored nowhere at the moment.
    pub(super) fn keeps_nothing(&self, key: &Key, options: Options) -> bool {
        let in_l1 = self.tiers.local.l1.is_some() && !options.skip_l1_write;
        !in_l1 && self.tiers.l2.guard.as_ref().is_some_and(|guard| guard.refuses_writes(key))
    }

    /// A backend that refuses writes is asked for no lease and given no value.
    pub(super) fn without_refused_write(&self, key: &Key, options: Options) -> Options {
        let refuses = |guard: &Guard<B>| !guard.admits_write(key);
        let refused = !options.skip_l2_write && self.tiers.l2.guard.as_ref().is_some_and(refuses);
        Options { skip_l2_write: options.skip_l2_write || refused, ..options }
    }
}
