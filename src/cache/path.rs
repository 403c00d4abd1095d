//! The path of one call, top to bottom.
//!
//! Look in L1; join or start the flight of the key; in the flight, read the backend, agree with other processes on who
//! computes, compute, answer, store.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::Inner;
use super::options::{Computed, Options};
use super::tiers::{Found, Plan};
use crate::backends::{Backend, Lease, LeaseToken};
use crate::clock::{millis, within};
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::{Event, Outcome};
use crate::flight::{Ancestry, Answer, Flight, Landing, Pass, Role};
use crate::key::{IntoKey, Key};
use crate::memory::Age;
use crate::seal::Value;

/// What L1 says of a key.
pub(super) enum Look<T> {
    Fresh(Arc<T>),
    Other(Box<Other<T>>),
}

/// Nothing fresh, perhaps something stale.
pub(super) struct Other<T> {
    pub(super) key: Key,
    pub(super) stale: Option<Arc<T>>,
}

/// What the tiers say before anything is computed.
struct Search<T> {
    found: Option<Found<T>>,
    /// The backend could not be read, so callers do not wait for it to be written either.
    read_failed: bool,
}

/// Whether and how this process computes.
enum Turn<T> {
    /// `to_l2` is false where another process holds the lease, or the backend fails: the result is for this process.
    Compute { lease: Option<LeaseToken>, to_l2: bool },
    /// Another process delivered.
    Found(Found<T>, Option<LeaseToken>),
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Answers a call that found nothing fresh in L1, by computing if need be.
    pub(super) fn answer<T, E, F, Fut>(
        self: &Arc<Self>,
        other: Box<Other<T>>,
        options: Options,
        compute: F,
    ) -> impl Future<Output = Result<Arc<T>, ComputeError<E>>> + Send
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        // Boxed, so that the future of a hit is small.
        Box::pin(async move {
            let Other { key, stale } = *other;
            match stale {
                Some(value) if self.policy.background => {
                    self.observers.tell(Event::Answered { key: &key, outcome: Outcome::Stale });
                    self.renew(key, options, compute);
                    Ok(value)
                }
                _ => self.load(key, options, compute).await,
            }
        })
    }

    /// Looks in L1. A fresh hit is counted here; it makes no key unless somebody listens.
    #[inline]
    pub(super) fn look<T: Value>(&self, key: &impl IntoKey, options: &Options) -> Result<Look<T>, Error> {
        self.namespace.with(key, |text, hash| {
            let found = if options.skip_l1_read { None } else { self.look_l1::<T>(hash, text) };
            match found {
                Some(Found { value, age: Age::Fresh, .. }) => {
                    if self.observers.tells_hits() {
                        let key = Key::from_parts(text, hash);
                        self.observers.tell(Event::Answered { key: &key, outcome: Outcome::L1Hit });
                    } else {
                        self.observers.count(Outcome::L1Hit);
                    }
                    Look::Fresh(value)
                }
                found => {
                    let stale = found.filter(|found| found.age == Age::Stale).map(|found| found.value);
                    Look::Other(Box::new(Other { key: Key::from_parts(text, hash), stale }))
                }
            }
        })
    }

    /// Starts a flight nobody waits for, unless one is under way, the key is throttled or enough are renewing.
    fn renew<T, E, F, Fut>(self: &Arc<Self>, key: Key, options: Options, compute: F)
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        if self.throttle.holds(&key, self.clock.ticks()) {
            return;
        }
        let Ok(permit) = Arc::clone(&self.refreshes).try_acquire_owned() else { return };
        if let Role::Lead(pass) = self.board::<T, E>(&key, options) {
            // Where nothing can be spawned, the next stale hit tries again.
            let _ =
                self.tasks.spawn(Arc::clone(self).fly(pass, key, options, Ancestry::current(), compute, Some(permit)));
        }
    }

    /// Joins or starts the flight of the key, and waits for its answer.
    async fn load<T, E, F, Fut>(
        self: &Arc<Self>,
        key: Key,
        mut options: Options,
        compute: F,
    ) -> Result<Arc<T>, ComputeError<E>>
    where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "a call that misses L1 needs a tokio runtime: call it inside one";
            return Err(Error::new(ErrorKind::Unsupported, message).into());
        }
        if self.tasks.closed() {
            (options.skip_l1_write, options.skip_l2_write) = (true, true);
        }
        let ancestry = Ancestry::current();
        loop {
            let pass = match self.board::<T, E>(&key, options) {
                Role::Lead(pass) | Role::Alone(pass) => pass,
                Role::Join(flight) => {
                    ancestry.check(self.id(), &key)?;
                    match self.wait(&flight, &key, true).await {
                        Some(answer) => return answer,
                        None => continue,
                    }
                }
            };
            let flight = Arc::clone(&pass.flight);
            // Boxed, because it is large and moved twice.
            let task = Box::pin(Arc::clone(self).fly(pass, key.clone(), options, ancestry, compute, None));
            // A closed cache spawns nothing: the call does its own work.
            if let Err(task) = self.tasks.spawn(task) {
                task.await;
            }
            return self.wait(&flight, &key, false).await.unwrap_or_else(|| {
                let message = "the runtime that ran the computation shut down before it ended";
                Err(Error::new(ErrorKind::Closed, message).into())
            });
        }
    }

    fn board<T: Value, E: Send + Sync + 'static>(&self, key: &Key, options: Options) -> Role<T, E> {
        let now = self.clock.ticks();
        let deadline = now.saturating_add(millis(options.deadline.unwrap_or(self.policy.deadline)));
        self.flights.board(self.fences.take(key), key, options.reads(), now, deadline)
    }

    /// Waits for a flight until its deadline. `None` if its task was lost.
    async fn wait<T: Value, E>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        joined: bool,
    ) -> Option<Result<Arc<T>, ComputeError<E>>> {
        let asked = self.clock.ticks();
        let left = Duration::from_millis(flight.deadline.saturating_sub(asked));
        let (outcome, answer) = match within(&*self.clock, left, flight.wait(asked)).await {
            Some(Answer::Landed(Landing::Lost)) => return None,
            Some(Answer::Landed(Landing::Error(error))) => (Outcome::Failed, Err(error.clone())),
            Some(Answer::Landed(Landing::Value { value, source, .. })) => {
                let outcome = if joined && *source == Outcome::Computed { Outcome::Joined } else { *source };
                (outcome, Ok(Arc::clone(value)))
            }
            Some(Answer::Early(value)) => (Outcome::Stale, Ok(value)),
            None => {
                flight.give_up();
                match flight.fallback() {
                    Some(value) => (Outcome::Stale, Ok(Arc::clone(value))),
                    None => (Outcome::Failed, Err(ComputeError::TimedOut)),
                }
            }
        };
        self.observers.tell(Event::Answered { key, outcome });
        Some(answer)
    }

    /// The flight itself: nobody owns it, everybody who waits is answered by it.
    async fn fly<T, E, F, Fut>(
        self: Arc<Self>,
        mut pass: Pass<T, E>,
        key: Key,
        options: Options,
        ancestry: Ancestry,
        compute: F,
        mut permit: Option<OwnedSemaphorePermit>,
    ) where
        T: Value,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed<T>, E>> + Send + 'static,
    {
        let flight = Arc::clone(&pass.flight);
        let Search { found, read_failed } = self.search(&key, options, &flight).await;
        if let Some(found) = found {
            if found.age == Age::Fresh {
                return flight.land(found.landing());
            }
            flight.fall_back_on(Arc::clone(&found.value));
            if found.age == Age::Stale && self.policy.background {
                flight.answer_early(found.expires);
                permit = permit.or_else(|| Arc::clone(&self.refreshes).try_acquire_owned().ok());
                if permit.is_none() {
                    return flight.land(found.landing());
                }
            }
        }
        if self.throttle.holds(&key, self.clock.ticks())
            && let Some(landing) = stand_in(&flight)
        {
            return flight.land(landing);
        }
        let (lease, to_l2) = match self.take_turn(&key, options, &flight, read_failed).await {
            Turn::Compute { lease, to_l2 } => (lease, to_l2),
            Turn::Found(found, lease) => {
                flight.land(found.landing());
                return self.release(&key, lease).await;
            }
        };
        let started = self.clock.ticks();
        let computation = ancestry.and(self.id(), key.clone()).scope(caught(compute));
        let result = self.bounded(&flight, options, computation).await;
        let cost = Duration::from_millis(self.clock.ticks().saturating_sub(started));
        self.observers.tell(Event::Computed { key: &key, elapsed: cost, succeeded: matches!(result, Ok(Ok(_))) });
        let failure = match result {
            Ok(Ok(computed)) => {
                self.throttle.succeeded(&key);
                return self.store(pass, &key, options, computed, Terms { cost, lease, to_l2, read_failed }).await;
            }
            Ok(Err(error)) => ComputeError::Failed(Arc::new(error)),
            Err(error) => error,
        };
        if flight.fallback().is_some() {
            self.throttle.failed(&key, self.clock.ticks());
        }
        // Off the table first: whoever comes after the answer tries again.
        pass.leave();
        flight.land(stand_in(&flight).unwrap_or(Landing::Error(failure)));
        self.release(&key, lease).await;
    }

    /// Asks L1, then the backend, for the best there is.
    async fn search<T: Value, E>(&self, key: &Key, options: Options, flight: &Flight<T, E>) -> Search<T> {
        let mut found = None;
        if !options.skip_l1_read {
            found = self.look_l1::<T>(key.hash64(), key.as_str());
        }
        if options.skip_l2_read || found.as_ref().is_some_and(|found| found.age == Age::Fresh) {
            return Search { found, read_failed: false };
        }
        match self.read::<T>(key, options, || flight.may_store()).await {
            Ok(Some(in_l2)) => {
                let older = found.as_ref().is_some_and(|in_l1| in_l2.expires < in_l1.expires);
                Search { found: if older { found } else { Some(in_l2) }, read_failed: false }
            }
            Ok(None) => Search { found, read_failed: false },
            Err(_) => Search { found, read_failed: true },
        }
    }

    /// Agrees with other processes on who computes, where the backend has leases.
    async fn take_turn<T: Value, E>(
        &self,
        key: &Key,
        options: Options,
        flight: &Flight<T, E>,
        read_failed: bool,
    ) -> Turn<T> {
        let (Some(guard), Some(leases)) = (&self.guard, self.policy.leases) else {
            return Turn::Compute { lease: None, to_l2: true };
        };
        if read_failed || options.skip_l2_write || !guard.capabilities().leases {
            return Turn::Compute { lease: None, to_l2: true };
        }
        let give_up = self.clock.ticks().saturating_add(millis(leases.wait));
        let mut pause = Duration::from_millis(10);
        loop {
            let lease = match guard.lease(key, leases.hold).await {
                Ok(Lease::Granted(token)) => Some(token),
                Ok(Lease::Held) => None,
                Err(_) => return Turn::Compute { lease: None, to_l2: false },
            };
            let now = self.clock.ticks();
            if lease.is_none() {
                if now >= give_up {
                    return Turn::Compute { lease: None, to_l2: false };
                }
                let jittered = pause.mul_f64(0.5 + fastrand::f64());
                self.clock.sleep(jittered.min(Duration::from_millis(give_up - now))).await;
                pause = (pause * 2).min(Duration::from_millis(500));
            }
            // Whoever held the lease before may have delivered since this flight looked.
            if !options.skip_l2_read
                && let Ok(Some(found)) = self.read::<T>(key, options, || flight.may_store()).await
                && found.age == Age::Fresh
            {
                return Turn::Found(found, lease);
            }
            if lease.is_some() {
                return Turn::Compute { lease, to_l2: true };
            }
        }
    }

    /// Runs a computation until the flight's deadline; past the soft timeout callers get an older value, if there is one.
    async fn bounded<T, E, R>(
        &self,
        flight: &Flight<T, E>,
        options: Options,
        computation: impl Future<Output = Result<R, ComputeError<E>>>,
    ) -> Result<R, ComputeError<E>> {
        let mut computation = pin!(computation);
        let soft = options.soft_timeout.or(self.policy.soft_timeout).filter(|_| self.policy.background);
        if let Some(soft) = soft.filter(|_| flight.fallback().is_some()) {
            if let Some(result) = within(&*self.clock, soft, computation.as_mut()).await {
                return result;
            }
            flight.answer_early(u64::MAX);
        }
        let left = Duration::from_millis(flight.deadline.saturating_sub(self.clock.ticks()));
        within(&*self.clock, left, computation).await.unwrap_or_else(|| {
            flight.give_up();
            Err(ComputeError::TimedOut)
        })
    }

    /// Keeps what was computed: L1 first, then the callers' answer, then the backend.
    async fn store<T: Value, E: Send + Sync + 'static>(
        &self,
        mut pass: Pass<T, E>,
        key: &Key,
        options: Options,
        computed: Computed<T>,
        terms: Terms,
    ) {
        let flight = Arc::clone(&pass.flight);
        let Computed { value, ttl, tags, store } = computed;
        let plan = self.plan(options, ttl, &value);
        let value = Arc::new(value);
        let plan = match plan {
            Ok(plan) if store && flight.may_store() => plan,
            refused => {
                match refused {
                    Err(error) => self.observers.tell(Event::NotStored { key, error: &error }),
                    Ok(_) if store => self.observers.tell(Event::Fenced { key }),
                    Ok(_) => {}
                }
                pass.leave();
                flight.land(Landing::Value { value, source: Outcome::Computed, expires: 0 });
                return self.release(key, terms.lease).await;
            }
        };
        let expires = self.clock.ticks().saturating_add(plan.dates.ttl);
        let land = || flight.land(Landing::Value { value: Arc::clone(&value), source: Outcome::Computed, expires });
        let seal = || self.sealer.seal(key, &*value, plan.dates, terms.cost, &tags);
        let sealed = if C::CONFIDENTIAL { Some(seal()) } else { None };
        let frame = sealed.as_ref().and_then(|sealed| sealed.as_ref().ok()).cloned();
        let in_l1 = self.keep(key, &value, frame, plan, options, || flight.may_store());
        let writes = self.guard.is_some()
            && terms.to_l2
            && !options.skip_l2_write
            && (!terms.read_failed || self.policy.background);
        let waits = options.wait_for_write.unwrap_or(self.policy.wait_for_write || !in_l1) && !terms.read_failed;
        if !waits || !writes {
            land();
        }
        if writes {
            let bytes = sealed.unwrap_or_else(seal);
            self.write(&flight, key, bytes, plan, terms.lease).await;
        }
        land();
    }

    /// Writes a computed entry to the backend, if the flight's fence and its lease hold.
    async fn write<T: Value, E>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        bytes: Result<Bytes, Error>,
        plan: Plan,
        lease: Option<LeaseToken>,
    ) {
        let Some(guard) = &self.guard else { return };
        let stored = match bytes {
            Err(error) => Err(error),
            Ok(bytes) => {
                let _turn = flight.fence.turn().await;
                if flight.may_store() { guard.put(key, bytes, plan.keep(), lease).await } else { Ok(false) }
            }
        };
        match stored {
            Ok(true) => return,
            Ok(false) => self.observers.tell(Event::Fenced { key }),
            Err(error) => self.not_stored(key, &error),
        }
        self.release(key, lease).await;
    }

    /// Tells of a value that cannot be stored; what the backend refused was told by the guard.
    pub(super) fn not_stored(&self, key: &Key, error: &Error) {
        if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Encode | ErrorKind::Argument) {
            self.observers.tell(Event::NotStored { key, error });
        }
    }

    async fn release(&self, key: &Key, lease: Option<LeaseToken>) {
        if let (Some(guard), Some(token)) = (&self.guard, lease) {
            // A lease that cannot be given back ends by itself.
            let _ = guard.release(key, token).await;
        }
    }
}

impl<T> Found<T> {
    fn landing<E>(&self) -> Landing<T, E> {
        let source = match self.age {
            Age::Fresh if self.in_l1 => Outcome::L1Hit,
            Age::Fresh => Outcome::L2Hit,
            _ => Outcome::Stale,
        };
        Landing::Value { value: Arc::clone(&self.value), source, expires: self.expires }
    }
}

/// The flight's older value as its landing.
fn stand_in<T, E>(flight: &Flight<T, E>) -> Option<Landing<T, E>> {
    let value = Arc::clone(flight.fallback()?);
    Some(Landing::Value { value, source: Outcome::Stale, expires: 0 })
}

/// Runs a computation; a panic in it is an error.
async fn caught<F, Fut, T, E>(compute: F) -> Result<Fut::Output, ComputeError<E>>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<Computed<T>, E>>,
{
    let mut computation = pin!(async move { compute().await });
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| computation.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(Err(ComputeError::Panicked)),
    })
    .await
}

/// What a computation that ended leaves to [`Inner::store`].
struct Terms {
    cost: Duration,
    lease: Option<LeaseToken>,
    to_l2: bool,
    read_failed: bool,
}
