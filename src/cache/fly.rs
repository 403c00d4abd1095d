//! The flight: read, agree on who computes, compute, answer, store.
//!
//! Runs on a task of its own, from top to bottom; everybody who waits is answered by it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Inner;
use super::computation::{Computation, Leader, caught};
use super::large::{Bulk, Sealing};
use super::lease::Leased;
use super::options::{Computed, Options, check_tags};
use super::tiers::{Found, Origin};
use super::turn::{Agreed, Asking, Turn, release};
use crate::backends::Backend;
use crate::clock::within;
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::{Complaint, Event, Failure, Outcome};
use crate::flight::{Fallback, Flight, Landing, Pass};
use crate::frame::Tags;
use crate::guard;
use crate::key::Key;
use crate::ledger::Stamp;
use crate::memory::Age;
use crate::seal::{Dates, Marks, Value};

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Flies. Nobody owns the flight, everybody who waits is answered by it; a panic anywhere in it is an answer, too.
    pub(super) async fn fly<T: Value, E: Send + Sync + 'static>(
        self: Arc<Self>,
        mut pass: Pass<T, E>,
        key: Key,
        options: Options,
        leader: Leader,
        compute: Computation<T, E>,
    ) {
        self.see_to_recovery();
        if let Err(message) = caught(self.route(&mut pass, &key, options, leader, compute)).await {
            pass.leave();
            pass.flight.land(Landing::Error(ComputeError::Panicked { message }));
        }
    }

    async fn route<T: Value, E: Send + Sync + 'static>(
        &self,
        pass: &mut Pass<T, E>,
        key: &Key,
        options: Options,
        leader: Leader,
        compute: Computation<T, E>,
    ) {
        self.listen().await;
        let flight = Arc::clone(&pass.flight);
        let Leader { context, span, complaint } = leader;
        let mut turn = self.turn(options, Arc::clone(&flight) as _);
        let Some((options, read_failed)) = self.agree(pass, key, options, (&mut turn, &complaint)).await else {
            return release(turn.lease.take()).await;
        };
        let Agreed { stamp, lease, to_l2 } = turn.end();
        let started = self.clock.precise();
        flight.start(self.clock.ticks());
        let computation = context.scope(span.around(caught(async move { compute().await })));
        let result = self.bounded(&flight, options, computation).await;
        let cost = self.clock.precise().saturating_sub(started);
        let failure = match result {
            Ok(Ok(computed)) => {
                self.tell_computed(key, cost, None, false);
                self.throttle.succeeded(key);
                let to_l2 = to_l2 && (stamp.is_some() || self.ledgers.is_none());
                let stamp = stamp.unwrap_or_default();
                return self
                    .store(pass, key, options, computed, Terms { cost, stamp, lease, to_l2, read_failed })
                    .await;
            }
            Ok(Err(error)) => ComputeError::Failed(Arc::new(error)),
            Err(error) => error,
        };
        let hidden = flight.renews() || flight.fallback().is_some();
        self.tell_computed(key, cost, Some(Failure::of(&failure)), hidden);
        if flight.fallback().is_some() {
            self.throttle.failed(key, self.clock.ticks());
        }
        // Off the table first: whoever comes after the answer tries again.
        pass.leave();
        flight.land(self.stand_in(&flight).unwrap_or(Landing::Error(failure)));
        release(lease).await;
    }

    /// Answers from the tiers, or with what another process delivers. Otherwise this process computes: with these options,
    /// and after a read that failed or not.
    async fn agree<T: Value, E: Send + Sync + 'static>(
        &self,
        pass: &mut Pass<T, E>,
        key: &Key,
        options: Options,
        (turn, complaint): (&mut Turn<B>, &Complaint),
    ) -> Option<(Options, bool)> {
        let flight = Arc::clone(&pass.flight);
        let read_failed = self.ask_tiers(pass, key, options, (turn, complaint)).await?;
        let options = self.without_refused_write(options);
        let read_failed = read_failed || (!options.skip_l2_write && !self.is_stamped(key, turn).await);
        if read_failed || options.skip_l2_write {
            // Nothing is stored by a lease. One that was granted by then is given back.
            turn.forgo(false);
            release(turn.lease.take()).await;
        }
        if let Some(found) = self.take_turn(&flight, key, options, (turn, complaint)).await {
            flight.land(found.landing());
            return None;
        }
        Some((options, read_failed))
    }

    fn tell_computed(&self, key: &Key, elapsed: Duration, failure: Option<Failure<'_>>, hidden: bool) {
        self.observers.tell(Event::Computed { key, elapsed, succeeded: failure.is_none(), failure, hidden });
    }

    /// Answers from the tiers if they suffice. Otherwise remembers what they have, and says whether the backend failed.
    async fn ask_tiers<T: Value, E: Send + Sync + 'static>(
        &self,
        pass: &mut Pass<T, E>,
        key: &Key,
        options: Options,
        (turn, complaint): (&mut Turn<B>, &Complaint),
    ) -> Option<bool> {
        let flight = Arc::clone(&pass.flight);
        turn.reads_first = !self.begins_with_lease(key);
        let turn = if turn.is_settled() { None } else { Some(turn) };
        let (found, failure) = self.consult::<T>(key, options, Asking { complaint, turn }).await;
        let closed = |error: &&Error| self.policy.fail_closed && error.kind() == ErrorKind::Unauthentic;
        if let Some(error) = failure.as_ref().filter(closed) {
            pass.leave();
            flight.land(Landing::Error(error.clone().into()));
            return None;
        }
        if let Some(found) = found {
            if found.age == Age::Fresh {
                flight.land(found.landing());
                return None;
            }
            let (value, tags) = (Arc::clone(&found.value), found.tags.clone().unwrap_or_default());
            flight.fall_back_on(Fallback { value, tags, in_l1: found.in_l1 });
            if found.age == Age::Stale && self.policy.background {
                flight.answer_early(found.expires);
                if !flight.renews()
                    && let Ok(permit) = Arc::clone(&self.refreshes).try_acquire_owned()
                {
                    flight.renew_with(permit);
                }
                if !flight.renews() || self.keeps_nothing(options) {
                    flight.land(found.landing());
                    return None;
                }
            }
        }
        if self.throttle.holds(key, self.clock.ticks())
            && let Some(landing) = self.stand_in(&flight)
        {
            flight.land(landing);
            return None;
        }
        Some(failure.is_some())
    }

    /// Asks what the backend has until this process may compute, or another process has delivered, which is the answer.
    async fn take_turn<T: Value, E: Send + Sync + 'static>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        (turn, complaint): (&mut Turn<B>, &Complaint),
    ) -> Option<Found<T>> {
        let Some(guard) = &self.guard else { return None };
        while !turn.is_settled() {
            if !self.pause(turn).await {
                break;
            }
            let found = if options.skip_l2_read {
                self.ask(guard, key, turn).await.map(|_| None)
            } else {
                let mut asking = Asking { complaint, turn: Some(&mut *turn) };
                self.read::<T>(key, options, None, (&flight.fence, &mut asking), || flight.may_store()).await
            };
            match found {
                Ok(Some(found)) if found.age == Age::Fresh && !flight.is_void() => return Some(found),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if turn.lease.is_none() {
            turn.forgo(false);
        }
        None
    }

    /// Runs a computation until the flight's deadline; past the soft timeout callers get an older value, if there is
    /// one.
    async fn bounded<T: Value, E: Send + Sync, R: Send>(
        &self,
        flight: &Flight<T, E>,
        options: Options,
        computation: impl Future<Output = Result<R, Arc<str>>>,
    ) -> Result<R, ComputeError<E>> {
        let mut computation = pin!(computation);
        let soft = options.soft_timeout.or(self.policy.soft_timeout).filter(|_| self.policy.background);
        if let Some(soft) = soft.filter(|_| flight.fallback().is_some()) {
            if let Some(result) = within(&*self.clock, soft, computation.as_mut()).await {
                return result.map_err(|message| ComputeError::Panicked { message });
            }
            self.local.epochs.check(self.clock.ticks());
            flight.answer_early(u64::MAX);
        }
        let left = Duration::from_millis(flight.deadline().saturating_sub(self.clock.ticks()));
        let Some(result) = within(&*self.clock, left, computation).await else {
            flight.give_up();
            return Err(ComputeError::TimedOut);
        };
        result.map_err(|message| ComputeError::Panicked { message })
    }

    /// Keeps what was computed: L1 first, then the callers' answer, then the backend.
    async fn store<T: Value, E: Send + Sync + 'static>(
        &self,
        pass: &mut Pass<T, E>,
        key: &Key,
        options: Options,
        computed: Computed<Arc<T>>,
        terms: Terms<B>,
    ) {
        let flight = Arc::clone(&pass.flight);
        let Computed { value, ttl, tags, store } = computed;
        let tags = Tags::from(tags);
        let dates = check_tags(&tags).and_then(|()| self.plan(options, ttl, &*value));
        let dates = match dates {
            Ok(dates) if store && flight.claim() => dates,
            refused => {
                match refused {
                    Err(error) => self.observers.tell(Event::NotStored { key, error: &error }),
                    Ok(_) if store => self.observers.tell(Event::Fenced { key }),
                    Ok(_) => {}
                }
                pass.leave();
                flight.land(Landing::Value { value, source: Outcome::Computed, expires: 0, tags });
                return release(terms.lease).await;
            }
        };
        let writes = self.writes(options, &terms);
        let bulk = Bulk::of(&*value);
        let weight = if self.keeps_values() { bulk.weigh(&value).await } else { 0 };
        let (sealer, cost) = (Arc::clone(&self.sealer), terms.cost);
        let sealing = Sealing { sealer, key: key.clone(), value: Arc::clone(&value), bulk, dates, cost };
        let marks = Marks { stamp: terms.stamp, tags: Arc::clone(&tags) };
        let sealed = if C::CONFIDENTIAL { Some(sealing.seal(marks.clone()).await) } else { None };
        let frame = sealed.as_ref().and_then(|sealed| sealed.as_ref().ok()).cloned();
        let kept = if options.skip_l1_write {
            self.local.evict(key);
            Ok(false)
        } else {
            let origin = Origin { dates, epoch: flight.fence.epoch(), tags: Arc::clone(&tags) };
            self.keep(key, &value, weight, frame, origin, || flight.may_store())
        };
        let expires = self.clock.ticks().saturating_add(dates.ttl);
        let source = Outcome::Computed;
        let landing = Landing::Value { value: Arc::clone(&value), source, expires, tags: Arc::clone(&tags) };
        if !writes {
            flight.land(landing);
            if let Some(error) = sealed.and_then(Result::err).or(kept.err()) {
                self.observers.tell(Event::NotStored { key, error: &error });
            }
            return;
        }
        let in_l1 = matches!(kept, Ok(true));
        let waits = options.wait_for_write.unwrap_or(self.policy.wait_for_write || !in_l1) && !terms.read_failed;
        if waits {
            flight.touch_down(landing);
        } else {
            flight.land(landing);
        }
        let sealed = match sealed {
            Some(sealed) => sealed,
            None => sealing.seal(marks).await,
        };
        self.write(&flight, key, sealed, (dates, waits), terms.lease).await;
    }

    /// Whether a computed entry goes to the backend. After a failed read only where nobody pays for a failed write,
    /// too.
    fn writes(&self, options: Options, terms: &Terms<B>) -> bool {
        let may = self.guard.is_some() && terms.to_l2 && !options.skip_l2_write;
        may && (!terms.read_failed || self.policy.background)
    }

    /// Writes a computed entry to the backend, if the flight's fence and its lease hold. The lease is renewed while the
    /// write waits for its turn, which it does for as long as it takes, unless a caller waits for it.
    async fn write<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        sealed: Result<Bytes, Error>,
        (dates, is_waited_for): (Dates, bool),
        lease: Option<Leased<B>>,
    ) {
        let Some(guard) = &self.guard else { return };
        let stored = match sealed {
            Err(error) => Err(error),
            Ok(bytes) => match guard.queue_write(key, bytes.len(), is_waited_for).await {
                Ok(permit) => self.write_next(permit, flight, (key, bytes, dates), lease.as_ref()).await,
                Err(error) => Err(error),
            },
        };
        match stored {
            Ok(true) => return lease.into_iter().for_each(Leased::filled),
            Ok(false) => {
                self.observers.tell(Event::Fenced { key });
                // A lease that has not run out was ended: another process knows better.
                if lease.as_ref().is_some_and(|lease| lease.lasts(self.clock.ticks())) && flight.may_store() {
                    flight.give_up();
                    self.local.evict(key);
                }
            }
            Err(error) => self.not_stored(key, &error),
        }
        release(lease).await;
    }

    async fn write_next<T: Value, E: Send + Sync>(
        &self,
        permit: guard::WritePermit<'_>,
        flight: &Flight<T, E>,
        (key, bytes, dates): (&Key, Bytes, Dates),
        lease: Option<&Leased<B>>,
    ) -> Result<bool, Error> {
        let Some(guard) = &self.guard else { return Ok(false) };
        let turn = flight.fence.turn().await;
        let token = if let Some(lease) = lease { lease.settle().await } else { None };
        // Without a lease nothing but the bus would have told of a change by another process.
        let may = token.is_some() || (lease.is_none() && !flight.fence.has_missed());
        if !may || !flight.may_store() {
            return Ok(false);
        }
        let stored = guard.put_next(&permit, key, bytes, dates.keep(), token).await?;
        if stored {
            self.make_way(key, &flight.fence, &turn).await;
        }
        Ok(stored)
    }

    /// Tells of a value that cannot be stored; what the backend refused was told by the guard.
    pub(super) fn not_stored(&self, key: &Key, error: &Error) {
        if matches!(error.kind(), ErrorKind::TooLarge | ErrorKind::Encode | ErrorKind::Argument) {
            self.observers.tell(Event::NotStored { key, error });
        }
    }

    /// The flight's older value as its landing.
    fn stand_in<T: Value, E: Send + Sync>(&self, flight: &Flight<T, E>) -> Option<Landing<T, E>> {
        self.local.epochs.check(self.clock.ticks());
        let Fallback { value, tags, .. } = flight.fallback()?;
        let (value, tags) = (Arc::clone(value), Arc::clone(tags));
        Some(Landing::Value { value, source: Outcome::Stale, expires: 0, tags })
    }
}

impl<T> Found<T> {
    fn landing<E>(&self) -> Landing<T, E> {
        let source = match self.age {
            Age::Fresh if self.in_l1 => Outcome::L1Hit,
            Age::Fresh => Outcome::L2Hit,
            _ => Outcome::Stale,
        };
        let tags = self.tags.clone().unwrap_or_default();
        Landing::Value { value: Arc::clone(&self.value), source, expires: self.expires, tags }
    }
}

/// What a computation that ended leaves to [`Inner::store`].
struct Terms<B: Backend> {
    cost: Duration,
    /// What held when it started.
    stamp: Stamp,
    lease: Option<Leased<B>>,
    to_l2: bool,
    read_failed: bool,
}
