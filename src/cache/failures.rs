//! Errors that are kept for a short while, in this process: calls of the key are answered with them, as those are that
//! wait for a computation which fails.

use std::any::{Any, TypeId};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::Inner;
use crate::backends::Backend;
use crate::clock::millis;
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::flight::LeaseHolder;
use crate::key::Key;
use crate::tiers::Options;

/// The errors that are kept; at most [`Failures::KEYS`], the one that was kept first is forgotten first.
#[derive(Default)]
pub(super) struct Failures(Mutex<Option<LruCache<Name, Kept>>>);

/// The key, and the type of its error.
type Name = (Key, TypeId);

#[derive(Clone)]
struct Kept {
    until: u64,
    error: Arc<dyn Any + Send + Sync>,
    /// Whose computation it was: void once the key, or a tag of its call, is changed.
    flight: Arc<dyn LeaseHolder>,
}

impl Failures {
    const KEYS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

    fn keep(&self, name: Name, kept: Kept, now: u64) {
        // They outlive the lock: dropping an error runs the user's code.
        let mut gone = Vec::new();
        let mut all = self.all();
        let all = all.get_or_insert_with(|| LruCache::sparse(Self::KEYS));
        while all.peek_lru().is_some_and(|(_, oldest)| oldest.until <= now) {
            gone.extend(all.pop_lru());
        }
        gone.extend(all.push(name, kept));
    }

    fn find(&self, name: &Name, now: u64) -> Option<Kept> {
        let kept = self.all().as_mut()?.peek(name).cloned()?;
        if now < kept.until && !kept.flight.is_void() {
            return Some(kept);
        }
        let gone = self.all().as_mut().and_then(|all| all.pop(name));
        drop(gone);
        None
    }

    /// Forgets all.
    pub(super) fn forget(&self) {
        let gone = self.all().take();
        drop(gone);
    }

    fn all(&self) -> MutexGuard<'_, Option<LruCache<Name, Kept>>> {
        // Nothing under the lock panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how long the errors of one call are kept, where the call says so.
#[derive(Clone)]
pub(super) enum ErrorTtl {
    For(Duration),
    /// As a function of errors of this type says.
    By(TypeId, Rule),
}

/// How long an error is kept.
type Rule = Arc<dyn Fn(&dyn Any) -> Duration + Send + Sync>;

impl ErrorTtl {
    pub(super) fn by<E: 'static>(rule: impl Fn(&E) -> Duration + Send + Sync + 'static) -> Self {
        let rule = move |error: &dyn Any| error.downcast_ref().map_or(Duration::ZERO, &rule);
        Self::By(TypeId::of::<E>(), Arc::new(rule))
    }

    /// Refuses a function of errors of another type than the computation has.
    pub(super) fn check<E: 'static>(&self) -> Result<(), Error> {
        match self {
            Self::By(types, _) if *types != TypeId::of::<E>() => {
                let message = "error_ttl_by was given a function of another type of errors than the computation has";
                Err(Error::new(ErrorKind::Argument, message))
            }
            _ => Ok(()),
        }
    }

    fn of(&self, error: &dyn Any) -> Duration {
        match self {
            Self::For(ttl) => *ttl,
            Self::By(_, rule) => rule(error),
        }
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// The error that is kept of a key, if there is one and the call takes what was computed before it came.
    pub(super) fn kept_error<E: Send + Sync + 'static>(&self, key: &Key, options: Options) -> Option<Arc<E>> {
        if is_anew(options) {
            return None;
        }
        let kept = self.shared.failures.find(&(key.clone(), TypeId::of::<E>()), self.clock.ticks())?;
        kept.error.downcast().ok()
    }

    /// Keeps the error of a flight, if the call, or else the policy, asks for that.
    pub(super) fn keep_error<E: Send + Sync + 'static>(
        &self,
        (key, options): (&Key, Options),
        error: &Arc<E>,
        rule: Option<&ErrorTtl>,
        flight: Arc<dyn LeaseHolder>,
    ) {
        let ttl = rule.map(|rule| rule.of(&**error)).or(self.policy().error_ttl).unwrap_or_default();
        if ttl.is_zero() || is_anew(options) || self.shared.tasks.closed() {
            return;
        }
        let now = self.clock.ticks();
        let kept = Kept { until: now.saturating_add(millis(ttl)), error: Arc::clone(error) as _, flight };
        self.shared.failures.keep((key.clone(), TypeId::of::<E>()), kept, now);
    }
}

/// Whether a call computes anew, as all do while the cache is paused.
fn is_anew(options: Options) -> bool {
    options.skip_l1_read && options.skip_l2_read
}
