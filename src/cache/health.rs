//! Health: how the parts of a cache are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Inner;
use crate::backends::Backend;
use crate::clock::millis;
use crate::codec::Codec;
use crate::error::Error;
use crate::event::BreakerState;
use crate::guard::Guard;
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
    /// What the circuit breaker is, where there is one.
    pub breaker: Option<BreakerState>,
    /// Changes that the backend has not taken yet and that are tried again.
    pub waiting_changes: usize,
}

impl Health {
    /// Whether the backend answers and is used. A cache whose backend is down goes on from L1 and by computing.
    pub fn is_up(&self) -> bool {
        self.backend.is_none() && self.breaker.is_none_or(|state| state == BreakerState::Closed)
    }
}

/// What the last ping found, and when.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<Option<(u64, Option<Error>)>>);

/// How long a ping is good for.
const FOR: Duration = Duration::from_secs(1);

impl<B: Backend, C: Codec> Inner<B, C> {
    pub(super) async fn health(self: &Arc<Self>) -> Health {
        Health {
            backend: self.checked().await,
            breaker: self.tiers.l2.guard.as_ref().and_then(|guard| guard.breaker()),
            waiting_changes: self.tiers.l2.retries.len(),
        }
    }

    async fn checked(&self) -> Option<Error> {
        let last = self.shared.checked.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((tick, found)) = last
            && self.clock.ticks().saturating_sub(tick) < millis(FOR)
        {
            return found;
        }
        let found = self.ping().await.err();
        *self.shared.checked.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((self.clock.ticks(), found.clone()));
        found
    }

    /// Whether a computed value could be stored nowhere at the moment.
    pub(super) fn keeps_nothing(&self, options: Options) -> bool {
        let in_l1 = self.tiers.local.l1.is_some() && !options.skip_l1_write;
        !in_l1 && self.tiers.l2.guard.as_ref().is_some_and(Guard::refuses_writes)
    }

    /// A backend that refuses writes is asked for no lease and given no value.
    pub(super) fn without_refused_write(&self, options: Options) -> Options {
        let refused = !options.skip_l2_write && self.tiers.l2.guard.as_ref().is_some_and(|guard| !guard.admits_write());
        Options { skip_l2_write: options.skip_l2_write || refused, ..options }
    }
}
