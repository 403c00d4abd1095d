//! The flight: read, agree on who computes, compute, answer, store.
//!
//! Runs on a task of its own, from top to bottom; everybody who waits is answered by it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::computation::{Job, Party, caught};
use super::computed::Computed;
use super::election::{Elected, Election, Question, release};
use super::failures::ErrorTtl;
use super::previous::Previous;
use super::store::WritePlan;
use crate::backends::Backend;
use crate::clock::within;
use crate::codec::Codec;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::{Event, Failure, MissReason, Outcome, Span, Tier, Why};
use crate::flight::{Ending, Fallback, Flight, Leader};
use crate::key::Key;
use crate::memory::{Age, Times};
use crate::seal::Value;
use crate::tiers::{Found, Lookup, Options};

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Runs a flight to its end, by which all callers that wait are answered; a panic anywhere in it is an answer, too.
    pub(super) async fn run<T: Value, E: Send + Sync + 'static>(
        self: Arc<Self>,
        mut leader: Leader<T, E>,
        key: Key,
        options: Options,
        job: Job<T, E>,
    ) {
        self.ensure_retries();
        self.ensure_warm();
        #[cfg(feature = "metrics")]
        self.ensure_metrics();
        let routed = {
            // Pinned here: handed over by value, it would take its room twice.
            let route = pin!(self.route(&mut leader, &key, options, job));
            caught(route).await
        };
        if let Err(message) = routed {
            leader.leave();
            leader.flight.complete(Ending::Error(ComputeError::Panicked { message }));
        }
    }

    async fn route<T: Value, E: Send + Sync + 'static>(
        &self,
        leader: &mut Leader<T, E>,
        key: &Key,
        options: Options,
        job: Job<T, E>,
    ) {
        // It may have waited in line for long.
        let options = self.without_paused(options);
        self.listen().await;
        let mut election = self.election(options, Arc::clone(&leader.flight) as _);
        match self.ask_tiers(leader, key, options, (&mut election, &job.why)).await {
            None => {
                // A thread that waits to compute for it is told first that it need not.
                drop(job);
                release(election.lease.take()).await;
            }
            // Boxed: a flight that finds its value needs no room for the rest.
            Some(read_failed) => Box::pin(self.lead(leader, key, options, job, (election, read_failed))).await,
        }
    }

    /// Computes, unless another process delivers.
    async fn lead<T: Value, E: Send + Sync + 'static>(
        &self,
        leader: &mut Leader<T, E>,
        key: &Key,
        options: Options,
        job: Job<T, E>,
        (mut election, read_failed): (Election<B>, bool),
    ) {
        let flight = Arc::clone(&leader.flight);
        flight.on_own_task().await;
        let options = self.without_refused_write(key, self.without_paused(options));
        let read_failed = read_failed || (!options.skip_l2_write && !self.is_stamped(key, &mut election).await);
        if read_failed || options.skip_l2_write {
            // Nothing is stored by a lease. One that was granted by then is given back.
            election.forgo(false);
            release(election.lease.take()).await;
        }
        if let Some(found) = self.elect(&flight, key, options, (&mut election, &job.why), job.compute.party()).await {
            flight.complete(ending(&found));
            drop(job);
            return release(election.lease.take()).await;
        }
        if !flight.renews() {
            flight.miss(self.tell_missed(key, options, &job.why, &job.span));
        }
        let mut job = job;
        let is_gathered = self.gather(&flight, &mut job).await;
        let Elected { stamp, lease, to_l2 } = election.end();
        let to_l2 = to_l2 && (stamp.is_some() || self.tiers.l2.ledgers.is_none());
        let (started, stamp) = (self.clock.precise(), stamp.unwrap_or_default());
        let beside = job.compute.beside.take();
        let (error_ttl, until_kept) = beside.map_or((None, None), |beside| (beside.error_ttl, beside.until_kept));
        let result = match is_gathered {
            true => self.compute(&flight, options, job).await,
            false => Err(ComputeError::TimedOut),
        };
        let cost = self.clock.precise().saturating_sub(started);
        match result {
            Ok(None) => {
                self.tell_computed(key, cost, None, false);
                self.shared.throttle.succeeded(key);
                leader.leave();
                flight.complete(Ending::Absent);
                release(lease).await;
            }
            Ok(Some(computed)) => {
                self.tell_computed(key, cost, None, false);
                self.shared.throttle.succeeded(key);
                self.store(
                    leader,
                    key,
                    options,
                    computed,
                    WritePlan { cost, stamp, lease, to_l2, read_failed, until_kept },
                )
                .await;
            }
            Err(failure) => {
                let hidden = flight.renews() || flight.fallback().is_some();
                self.tell_computed(key, cost, Some(Failure::of(&failure)), hidden);
                self.fail(leader, (key, options), failure, error_ttl.as_deref());
                release(lease).await;
            }
        }
    }

    /// Waits until those have come that the computation begins together with. False if they did not before the deadline.
    async fn gather<T: Value, E: Send + Sync>(&self, flight: &Flight<T, E>, job: &mut Job<T, E>) -> bool {
        let Some(gather) = job.compute.beside.as_mut().and_then(|beside| beside.gather.take()) else { return true };
        let left = Duration::from_millis(flight.deadline().saturating_sub(self.clock.ticks()));
        let gathering = job.context.clone().scope(job.span.clone().around(gather()));
        let is_gathered = within(&*self.clock, left, pin!(gathering)).await.is_some();
        if !is_gathered {
            flight.give_up();
        }
        is_gathered
    }

    /// Runs the computation.
    async fn compute<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        options: Options,
        job: Job<T, E>,
    ) -> Result<Option<Computed<Arc<T>>>, ComputeError<E>> {
        let Job { context, span, compute, .. } = job;
        flight.start(self.clock.ticks());
        self.tiers.local.orders.check(self.clock.ticks());
        let previous = flight.fallback().map(|old| Previous::new(old, &self.tiers.domain, self.clock.ticks()));
        let own = span.of_computation(self.observers.traces());
        let inner = own.clone().or(&span);
        let computation = context.scope(inner.around(caught(async move { (compute.begin)(previous).await })));
        let result = self.bounded(flight, options, computation).await?.map_err(ComputeError::Failed);
        if result.is_err() {
            own.failed(None);
        }
        result
    }

    /// Answers with an older value, or with the failure.
    fn fail<T: Value, E: Send + Sync + 'static>(
        &self,
        leader: &mut Leader<T, E>,
        (key, options): (&Key, Options),
        failure: ComputeError<E>,
        error_ttl: Option<&ErrorTtl>,
    ) {
        let flight = Arc::clone(&leader.flight);
        if flight.fallback().is_some() {
            self.shared.throttle.failed(key, self.clock.ticks());
        }
        let stand_in = self.stand_in(&flight);
        if let (ComputeError::Failed(error), None) = (&failure, &stand_in) {
            self.keep_error((key, options), error, error_ttl, Arc::clone(&flight) as _);
        }
        // Off the table first: a call that comes after the answer tries again.
        leader.leave();
        flight.complete(stand_in.unwrap_or(Ending::Error(failure)));
    }

    /// Tells why neither tier answers. What was not looked for was left out by a pause, or by the call itself.
    pub(super) fn tell_missed(&self, key: &Key, options: Options, why: &Why, span: &Span) -> MissReason {
        let is_paused = || [Tier::L1, Tier::L2].iter().any(|tier| self.tiers.local.switches.is_paused(*tier));
        let reason = match why.reason() {
            MissReason::New if is_paused() => MissReason::Paused,
            MissReason::New if options.skip_l1_read && options.skip_l2_read => MissReason::Skipped,
            reason => reason,
        };
        span.missed(reason);
        self.observers.tell(Event::Missed { key, reason });
        reason
    }

    fn tell_computed(&self, key: &Key, elapsed: Duration, failure: Option<Failure<'_>>, hidden: bool) {
        self.observers.tell(Event::Computed { key, elapsed, succeeded: failure.is_none(), failure, hidden });
    }

    /// Answers from the tiers if they suffice. Otherwise remembers what they have, and says whether the backend failed.
    async fn ask_tiers<T: Value, E: Send + Sync + 'static>(
        &self,
        leader: &mut Leader<T, E>,
        key: &Key,
        options: Options,
        (election, why): (&mut Election<B>, &Why),
    ) -> Option<bool> {
        let flight = Arc::clone(&leader.flight);
        election.reads_first = !self.begins_with_lease(key, options);
        let election = if election.is_settled() { None } else { Some(election) };
        let (found, failure) = self.consult::<T>(key, options, Question { why, election }).await;
        let closed = |error: &&Error| self.policy().fail_closed && error.kind() == ErrorKind::Unauthentic;
        if let Some(error) = failure.as_ref().filter(closed) {
            leader.leave();
            flight.complete(Ending::Error(error.clone().into()));
            return None;
        }
        if found.is_some_and(|found| self.suffices(&flight, key, options, &found)) {
            return None;
        }
        if self.shared.throttle.holds(key, self.clock.ticks())
            && let Some(ending) = self.stand_in(&flight)
        {
            flight.complete(ending);
            return None;
        }
        Some(failure.is_some())
    }

    /// Whether what was found ends the flight. If not, it is what the flight falls back on.
    fn suffices<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        found: &Found<T>,
    ) -> bool {
        if found.age == Age::Fresh {
            flight.complete(ending(found));
            return true;
        }
        let (value, labels) = (Arc::clone(&found.value), found.labels.clone().unwrap_or_default());
        let Found { times, in_l1, .. } = *found;
        flight.fall_back_on(Fallback { value, labels, times, in_l1, outcome: found.outcome() });
        if !matches!(found.age, Age::Early | Age::Stale) || !self.policy().background {
            return false;
        }
        flight.answer_early(found.times.expires);
        if !flight.renews()
            && let Ok(permit) = Arc::clone(&self.shared.refreshes).try_acquire_owned()
        {
            flight.renew_with(permit);
        }
        if flight.renews() && !self.keeps_nothing(key, options) {
            return false;
        }
        flight.complete(ending(found));
        true
    }

    /// Asks what the backend has until this process may compute, or another process has delivered, which is the answer.
    async fn elect<T: Value, E: Send + Sync + 'static>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        (election, why): (&mut Election<B>, &Why),
        party: Option<&dyn Party>,
    ) -> Option<Found<T>> {
        while !election.is_settled() && !self.tiers.local.switches.is_paused(Tier::L2) {
            if let Some(party) = party.filter(|_| election.waits) {
                party.leave();
            }
            if !self.pause(election).await {
                break;
            }
            let found = if options.skip_l2_read {
                self.ask(key, election).await.map(|_| None)
            } else {
                let lookup = Lookup { key, options, known: None, fence: &flight.fence, why };
                let mut question = Question { why, election: Some(&mut *election) };
                self.read::<T>(lookup, &mut question, || flight.may_store()).await
            };
            match found {
                Ok(Some(found)) if found.age == Age::Fresh && !flight.is_void() => return Some(found),
                Ok(_) => {}
                Err(error) => {
                    why.note((&error).into());
                    break;
                }
            }
        }
        if election.lease.is_none() {
            election.forgo(false);
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
        let soft = options.soft_timeout.or(self.policy().soft_timeout).filter(|_| self.policy().background);
        if let Some(soft) = soft.filter(|_| flight.fallback().is_some()) {
            if let Some(result) = within(&*self.clock, soft, computation.as_mut()).await {
                return result.map_err(|message| ComputeError::Panicked { message });
            }
            self.tiers.local.orders.check(self.clock.ticks());
            flight.answer_early(u64::MAX);
        }
        let left = Duration::from_millis(flight.deadline().saturating_sub(self.clock.ticks()));
        let Some(result) = within(&*self.clock, left, computation).await else {
            flight.give_up();
            return Err(ComputeError::TimedOut);
        };
        result.map_err(|message| ComputeError::Panicked { message })
    }

    /// The older value that the flight falls back on, as its ending.
    fn stand_in<T: Value, E: Send + Sync>(&self, flight: &Flight<T, E>) -> Option<Ending<T, E>> {
        self.tiers.local.orders.check(self.clock.ticks());
        let Fallback { value, labels, times, .. } = flight.fallback()?;
        let (value, tags) = (Arc::clone(value), Arc::clone(&labels.tags));
        Some(Ending::Value { value, source: Outcome::Stale, expires: 0, times: *times, tags })
    }
}

fn ending<T, E>(found: &Found<T>) -> Ending<T, E> {
    let source = found.outcome();
    let tags = found.labels.as_ref().map(|labels| Arc::clone(&labels.tags)).unwrap_or_default();
    let Times { expires, .. } = found.times;
    Ending::Value { value: Arc::clone(&found.value), source, expires, times: found.times, tags }
}
