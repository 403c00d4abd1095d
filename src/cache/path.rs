//! The path of one call, as its caller goes it.
//!
//! Look in L1; join or start the flight of the key; wait for its answer. What the flight does is in `run`.

use std::any::TypeId;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Inner;
use super::answered::Answered;
use super::computation::{Computation, IS_NO_BATCH, Job};
use super::queue::Task;
use crate::backends::Backend;
use crate::clock::{check_time, millis, within};
use crate::codec::Codec;
use crate::config::Overload;
use crate::error::{ComputeError, Error, ErrorKind};
use crate::event::{Event, Meters, MissReason, Outcome, Span, Tier, Why};
use crate::flight::{Answer, Asker, Context, Ending, Fallback, Flight, Flights, Leader, Role, TimeLimits};
use crate::frame::{Labels, Tags};
use crate::key::{IntoKey, Key, Name};
use crate::memory::{Age, AnyValue, Lead};
use crate::order::Moment;
use crate::random;
use crate::seal::Value;
use crate::tiers::{Found, Options};

/// What L1 says of a key.
pub(super) enum Look<T, V = Arc<T>> {
    Hit(V),
    Miss(Box<Miss<T>>),
}

impl<T: Clone> Look<T> {
    /// The same with a value of the caller's own.
    #[inline]
    fn cloned(self) -> Look<T, T> {
        match self {
            Self::Hit(value) => Look::Hit(T::clone(&value)),
            Self::Miss(miss) => Look::Miss(miss),
        }
    }
}

/// Nothing fresh, perhaps something stale, or to be renewed before it is.
pub(super) struct Miss<T> {
    pub(super) key: Key,
    pub(super) stale: Option<Arc<T>>,
    /// Whether that is fresh still.
    pub(super) early: bool,
    /// The tags that the call names.
    pub(super) tags: Tags,
    pub(super) why: Why,
    /// Whether the key is a stand-in for one that names no entry.
    pub(super) is_stand_in: bool,
}

impl<T> Miss<T> {
    /// What the call counts as, if what is stale, or is to be renewed, answers it.
    pub(super) fn outcome(&self) -> Outcome {
        if self.early { Outcome::L1Hit } else { Outcome::Stale }
    }
}

/// A call that joins a flight.
#[derive(Clone, Copy)]
struct Joined<'a> {
    /// The last order before it came.
    since: Moment,
    context: &'a Context,
    /// Whether it takes for an answer that there is no value.
    in_batch: bool,
}

/// Whether copying a `T` runs no user code, so that a hit may do it under the lock and shares nothing.
#[inline]
fn is_number<T: 'static>() -> bool {
    macro_rules! is_one_of {
        ($($number:ty)*) => { $(TypeId::of::<T>() == TypeId::of::<$number>())||* };
    }
    is_one_of!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char)
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Answers a call that found nothing fresh in L1, by computing if need be.
    pub(super) async fn answer<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        miss: Box<Miss<T>>,
        options: Options,
        compute: Computation<T, E>,
    ) -> Result<Arc<T>, ComputeError<E>> {
        let answer = self.answer_if_any(miss, options, compute).await;
        answer.map(|answer| answer.expect(IS_NO_BATCH))
    }

    /// Like [`answer`](Self::answer), for a computation that may find that there is no value.
    pub(super) fn answer_if_any<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        miss: Box<Miss<T>>,
        options: Options,
        compute: Computation<T, E>,
    ) -> impl Future<Output = Result<Option<Arc<T>>, ComputeError<E>>> + Send {
        // Boxed, so that the future of a hit is small.
        Box::pin(async move {
            let outcome = miss.outcome();
            let Miss { key, stale, early, tags, why, is_stand_in } = *miss;
            let options = if is_stand_in { options.unfindable() } else { self.bypass(&key, options) };
            let options = Options { early, ..options };
            match stale {
                Some(value) if self.policy().background => {
                    self.observers.tell(Event::Answered { key: &key, outcome });
                    self.renew(key, options, tags, compute);
                    Ok(Some(value))
                }
                _ => Ok(self.load(key, options, tags, (why, compute)).await?.map(|answered| answered.value)),
            }
        })
    }

    /// Looks in L1 for a call that can compute. It does so for itself where the key cannot be used: what a program's
    /// users type must not make it fail.
    #[inline]
    pub(super) fn seek<T: Value>(&self, key: &impl IntoKey, options: &Options) -> Look<T> {
        self.look_by(key, options, Lead::is_drawn).unwrap_or_else(|error| self.stand_in_for(&error))
    }

    /// Like [`seek`](Self::seek), for a call that wants a value of its own.
    #[inline]
    pub(super) fn seek_copy<T: Value + Clone>(&self, key: &impl IntoKey, options: &Options) -> Look<T, T> {
        if !is_number::<T>() {
            return self.seek(key, options).cloned();
        }
        let look = self.namespace.with(key, |name| {
            match self.fresh_hit(name, options, |held| held.downcast_ref::<T>().cloned(), Some) {
                Some(value) => Look::Hit(value),
                None => self.look_closely(name, options, Lead::is_drawn).cloned(),
            }
        });
        look.unwrap_or_else(|error| self.stand_in_for(&error))
    }

    #[cold]
    fn stand_in_for<T, V>(&self, error: &Error) -> Look<T, V> {
        let key = self.stand_in_key(error);
        let (tags, why) = (Tags::default(), Why::default());
        Look::Miss(Box::new(Miss { key, stale: None, early: false, tags, why, is_stand_in: true }))
    }

    /// A key in place of one that cannot be used.
    pub(super) fn stand_in_key(&self, error: &Error) -> Key {
        // Of no other call, so that computations of such keys may ask for one another.
        let key = self.namespace.root().reserved(&format!("unnamed:{:x}", random::number()));
        self.observers.tell(Event::NotStored { key: &key, error });
        key
    }

    /// Looks in L1 for a call that renews nothing.
    #[inline]
    pub(super) fn look<T: Value>(&self, key: &impl IntoKey, options: &Options) -> Result<Look<T>, Error> {
        self.look_by(key, options, |_, _| false)
    }

    /// Looks in L1. A fresh hit is counted here; it makes no key unless an observer listens. Of one that is near its end,
    /// `is_due` says whether the call renews it.
    #[inline]
    fn look_by<T: Value>(
        &self,
        key: &impl IntoKey,
        options: &Options,
        is_due: impl FnOnce(Lead, u64) -> bool,
    ) -> Result<Look<T>, Error> {
        self.namespace.with(key, |name| {
            match self.fresh_hit(name, options, |held| Some(Arc::clone(held)), |held| held.downcast().ok()) {
                Some(value) => Look::Hit(value),
                None => self.look_closely(name, options, is_due),
            }
        })
    }

    /// A hit of which only the counters want to know, and which nothing changes: most are. `take` runs under a lock, so it
    /// calls no user code; it is a hit if `finish` makes a value of what was taken.
    #[inline(always)]
    fn fresh_hit<H, V>(
        &self,
        name: Name<'_>,
        options: &Options,
        take: impl FnOnce(&AnyValue) -> Option<H>,
        finish: impl FnOnce(H) -> Option<V>,
    ) -> Option<V> {
        if !self.plain_hits || options.skip_l1_read || self.tiers.local.switches.is_paused(Tier::L1) {
            return None;
        }
        let (l1, now) = (self.tiers.local.l1.as_ref()?, self.clock.ticks());
        // The sampled ones are timed.
        if self.observers.meters().is_some() && Meters::is_sampled(name.hash64(), now) {
            return None;
        }
        let value = finish(l1.fresh(name, now, take)?)?;
        l1.note_read(name.hash64());
        self.observers.count(Outcome::L1Hit);
        Some(value)
    }

    /// Looks in L1 and tells all who want to know.
    #[inline(never)]
    fn look_closely<T: Value>(
        &self,
        name: Name<'_>,
        options: &Options,
        is_due: impl FnOnce(Lead, u64) -> bool,
    ) -> Look<T> {
        let hash = name.hash64();
        let why = Why::default();
        let skips = options.skip_l1_read || self.tiers.local.switches.is_paused(Tier::L1);
        let now = self.clock.ticks();
        // Where metrics are kept, one look in a thousand is timed.
        let is_timed = self.observers.meters().is_some() && Meters::is_sampled(hash, now);
        let look = || self.tiers.look::<T>(name, now, &why, is_due);
        if let Some(l1) = &self.tiers.local.l1 {
            l1.note_read(hash);
        }
        let found = match (skips, is_timed) {
            (true, _) => None,
            (false, false) => look(),
            (false, true) => self.timed(look),
        };
        if found.as_ref().is_some_and(|found| found.age != Age::Expired)
            && let Some(staleness) = self.tiers.local.orders.staleness(|| self.clock.ticks())
        {
            self.observers.served(staleness);
        }
        match found {
            Some(Found { value, age: Age::Fresh, .. }) => {
                if self.observers.tells_hits() {
                    let key = name.to_key();
                    self.observers.tell(Event::Answered { key: &key, outcome: Outcome::L1Hit });
                } else {
                    self.observers.count(Outcome::L1Hit);
                }
                Look::Hit(value)
            }
            found => {
                let early = found.as_ref().is_some_and(|found| found.age == Age::Early);
                if found.as_ref().is_some_and(|found| !early && found.age != Age::Fresh) {
                    why.note(MissReason::Expired);
                }
                let stale = found.filter(|found| early || found.age == Age::Stale).map(|found| found.value);
                let (key, tags) = (name.to_key(), Tags::clone(&self.tiers.domain));
                Look::Miss(Box::new(Miss { key, stale, early, tags, why, is_stand_in: false }))
            }
        }
    }

    /// What notes how long a look in L1 takes, and when it began, if it is one that is timed.
    pub(super) fn timer(&self, hash: u64) -> Option<(&Meters, Duration)> {
        let meters = self.observers.meters().filter(|_| Meters::is_sampled(hash, self.clock.ticks()))?;
        Some((meters, self.clock.precise()))
    }

    /// Takes note of how long a look in L1 takes. Apart, so that the others do not pay for it.
    #[cold]
    #[inline(never)]
    fn timed<R>(&self, look: impl FnOnce() -> R) -> R {
        let begun = self.clock.precise();
        let found = look();
        if let Some(meters) = self.observers.meters() {
            meters.looked(self.clock.precise().saturating_sub(begun));
        }
        found
    }

    /// Starts a flight that no caller waits for, unless one is under way, the key is throttled or enough are renewing.
    pub(super) fn renew<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: Key,
        options: Options,
        tags: Tags,
        compute: Computation<T, E>,
    ) {
        if self.shared.throttle.holds(&key, self.clock.ticks()) || !self.clock.can_sleep() {
            return;
        }
        match self.join_flight::<T, E>(&key, options, &tags, Asker::Renewal) {
            Role::Lead(leader) => {
                let Ok(permit) = Arc::clone(&self.shared.refreshes).try_acquire_owned() else { return };
                leader.flight.renew_with(permit);
                // No computation waits for this one.
                let context = Context::default().enter(Arc::clone(&leader.flight.node), self.id(), key.clone(), false);
                let (span, why) = (self.flight_span(&leader.flight, &key, &Span::current()), Why::default());
                let job = Job { context, span, why, compute };
                // Where nothing can be spawned, the next stale hit tries again.
                let _ = self.shared.tasks.spawn(self.task(leader, key, options, job));
            }
            Role::Follow(flight) if flight.needs_watch() => {
                let _ = self.shared.tasks.spawn(async move { flight.watch().await });
            }
            Role::Follow(_) | Role::Unshared(_) | Role::Full => {}
        }
    }

    /// Joins or starts the flight of the key, and waits for its answer. That there is no value is one for a call of a
    /// batch alone.
    pub(super) fn load<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: Key,
        options: Options,
        tags: Tags,
        computation: (Why, Computation<T, E>),
    ) -> impl Future<Output = Result<Option<Answered<T>>, ComputeError<E>>> + Send {
        // No async function: that would keep room for its arguments twice.
        Span::of_call(self.traced(), &key).around(self.load_in(key, options, tags, computation))
    }

    async fn load_in<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        key: Key,
        options: Options,
        tags: Tags,
        (why, compute): (Why, Computation<T, E>),
    ) -> Result<Option<Answered<T>>, ComputeError<E>> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "a call that misses L1 needs a tokio runtime: call it inside one";
            return self.refuse(&key, Error::new(ErrorKind::Closed, message));
        }
        if let Err(error) = check_time(&*self.clock) {
            return self.refuse(&key, error);
        }
        if let Some(error) = self.kept_error(&key, options) {
            compute.step_aside();
            self.tell_answered(&key, Outcome::Failed);
            return Err(ComputeError::Failed(error));
        }
        let context = Context::current();
        let asker = if context.is_empty() { Asker::Caller } else { Asker::Computation };
        let since = self.tiers.local.orders.latest();
        let joined = Joined { since, context: &context, in_batch: compute.party().is_some() };
        let (leader, unshared) = loop {
            match self.join_flight::<T, E>(&key, options, &tags, asker) {
                Role::Lead(leader) => break (leader, false),
                Role::Unshared(leader) => match context.check_unshared(self.id(), &key) {
                    Ok(()) => break (leader, true),
                    Err(error) => return self.refuse(&key, error),
                },
                Role::Follow(flight) => {
                    compute.step_aside();
                    flight.link_from(&Span::current());
                    if let Some(answer) = self.follow(&flight, &key, options, joined).await {
                        return answer;
                    }
                }
                Role::Full => return self.refuse_for_room(&key, options, asker == Asker::Computation).await.map(Some),
            }
        };
        let flight = Arc::clone(&leader.flight);
        // No call waits for a new flight's computation yet, so this closes no ring.
        let _wait = context.wait_for(&flight.node);
        let job = Job { context: context.clone(), span: Span::current(), why, compute };
        if let Err(task) = self.start(leader, unshared, &key, options, job) {
            task.await;
        }
        match self.wait(&flight, &key, options, None).await {
            Some(answer) => answer,
            None => {
                let message = "the runtime that ran the computation shut down before it ended";
                self.refuse(&key, Error::new(ErrorKind::Closed, message))
            }
        }
    }

    /// Starts a flight on a task of its own. Where there can be none, the caller runs it.
    fn start<T: Value, E: Send + Sync + 'static>(
        self: &Arc<Self>,
        leader: Leader<T, E>,
        unshared: bool,
        key: &Key,
        mut options: Options,
        mut job: Job<T, E>,
    ) -> Result<(), Task> {
        // A call that computes for itself is too many, or late: nothing may go on behind it.
        options.skip_l2_write |= unshared;
        options.skip_l1_write |= self.shared.tasks.closed();
        job.context = job.context.enter(Arc::clone(&leader.flight.node), self.id(), key.clone(), unshared);
        job.span = self.flight_span(&leader.flight, key, &job.span);
        let flight = Arc::clone(&leader.flight);
        let mut task = self.task(leader, key.clone(), options, job);
        if unshared {
            return Err(task);
        }
        // What a backend has at hand needs no task.
        let has_l2 = self.tiers.l2.guard.is_some() && !options.skip_l2_read;
        if has_l2 && flight.run_ahead(task.as_mut()) { Ok(()) } else { self.shared.tasks.spawn(task) }
    }

    /// The span of a flight that a call in the span `caller` starts; that span itself where there is none.
    fn flight_span<T: Send + Sync, E: Send + Sync>(&self, flight: &Flight<T, E>, key: &Key, caller: &Span) -> Span {
        let span = caller.of_flight(self.traced(), key, flight.renews());
        flight.runs_in(&span);
        span.or(caller)
    }

    /// Counts a call that no flight answers.
    pub(super) fn refuse<T, E>(&self, key: &Key, error: Error) -> Result<T, ComputeError<E>> {
        self.tell_answered(key, Outcome::Failed);
        Err(error.into())
    }

    /// Counts and tells what a call was answered with, which its span notes.
    fn tell_answered(&self, key: &Key, outcome: Outcome) {
        if self.observers.traces() {
            Span::current().outcome(outcome);
        }
        self.observers.tell(Event::Answered { key, outcome });
    }

    /// Joins the flight of the key, or makes one.
    fn join_flight<T: Value, E: Send + Sync + 'static>(
        &self,
        key: &Key,
        options: Options,
        tags: &Tags,
        asker: Asker,
    ) -> Role<T, E> {
        let now = self.clock.ticks();
        self.tiers.local.orders.check(now);
        let fence = || self.tiers.local.fence(key);
        let computing = millis(options.deadline.unwrap_or(self.policy().deadline));
        let limits = TimeLimits { reading: self.reading_time(), computing };
        if self.shared.tasks.closed() {
            return Flights::unshared(fence(), tags, now, limits);
        }
        match self.shared.flights.join(fence(), (key, asker), (options.reads(), tags), now, limits) {
            Role::Full if self.policy().overload == Overload::Compute => Flights::unshared(fence(), tags, now, limits),
            role => role,
        }
    }

    /// The longest that a flight can be busy with the backend before it computes.
    fn reading_time(&self) -> u64 {
        if self.tiers.l2.guard.is_none() {
            return 0;
        }
        // The head of the ledger is read and perhaps made; an entry is asked for, joined if it was split, and judged by
        // records: twice, where what was found first is of no use.
        let operations = millis(self.policy().operation_timeout).saturating_mul(14);
        operations.saturating_add(self.policy().leases.map_or(0, |leases| millis(leases.wait)))
    }

    /// Waits for the flight of another call, unless that waits for this one. `None` if it is of no use to this call.
    async fn follow<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        joined: Joined<'_>,
    ) -> Option<Result<Option<Answered<T>>, ComputeError<E>>> {
        match joined.context.wait_for(&flight.node) {
            Ok(wait) => {
                if wait.is_some() {
                    flight.hurry();
                }
                self.wait(flight, key, options, Some(joined)).await
            }
            Err(error) => Some(self.refuse(key, error)),
        }
    }

    /// Waits for a flight until its deadline. `None` if its task was lost or its runtime stands still, if a tag of what
    /// it answers may have been invalidated before this call `joined` it, or if it failed because the two waited for
    /// one another.
    async fn wait<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        joined: Option<Joined<'_>>,
    ) -> Option<Result<Option<Answered<T>>, ComputeError<E>>> {
        // An invalidation after this call may hide one before it, so any counts.
        let came_later = joined.is_some_and(|joined| flight.fence.since() < joined.since);
        let forgot = |tags: &Tags| came_later && flight.fence.forgot(tags);
        let freed = || joined.is_some_and(|joined| joined.context.is_free_of(&flight.node));
        // Pinned here, and below: what is handed to an async function by value takes its room twice.
        let answer = pin!(self.answer_of(flight));
        let Some(answer) = flight.while_driven(answer).await else {
            flight.give_up();
            return None;
        };
        let (outcome, answer) = match answer {
            Some(Answer::Final(Ending::Lost)) => return None,
            Some(Answer::Final(Ending::Absent)) if joined.is_some_and(|joined| !joined.in_batch) => return None,
            Some(Answer::Final(Ending::Absent)) => (Outcome::Absent, Ok(None)),
            Some(Answer::Final(Ending::Error(_))) if freed() => return None,
            Some(Answer::Final(Ending::Error(error))) => (Outcome::Failed, Err(error.clone())),
            Some(
                Answer::Final(Ending::Value { tags, .. }) | Answer::Early(Fallback { labels: Labels { tags, .. }, .. }),
            ) if forgot(tags) => {
                return None;
            }
            Some(Answer::Final(Ending::Value { value, source, times, tags, .. })) => {
                // It has the value, so a backend that hangs, or a task that is stuck, costs it no more than this.
                let written = pin!(flight.written());
                let written = pin!(within(&*self.clock, Duration::from_millis(flight.limit), written));
                flight.while_driven(written).await;
                let outcome = if joined.is_some() && *source == Outcome::Computed { Outcome::Joined } else { *source };
                let (value, tags) = (Arc::clone(value), Arc::clone(tags));
                let missed = flight.miss_reason().filter(|_| matches!(outcome, Outcome::Computed | Outcome::Joined));
                if let Some(reason) = missed.filter(|_| self.observers.traces()) {
                    Span::current().missed(reason);
                }
                (outcome, Ok(Some(Answered { value, outcome, times: *times, tags, missed })))
            }
            Some(Answer::Early(fallback)) => (fallback.outcome, Ok(Some(Answered::early(fallback)))),
            // Boxed: rare, and a caller that waits needs no room for it.
            None => match Box::pin(self.older_value(flight, key, options, forgot)).await {
                Some(value) => (Outcome::Stale, Ok(Some(value))),
                None => (Outcome::Failed, Err(ComputeError::TimedOut)),
            },
        };
        self.tell_answered(key, outcome);
        Some(answer)
    }

    /// An older value for a caller that waits no longer, unless it was `forgot`ten. A flight past its deadline is given
    /// up.
    async fn older_value<T: Value, E: Send + Sync>(
        &self,
        flight: &Flight<T, E>,
        key: &Key,
        options: Options,
        forgot: impl Fn(&Tags) -> bool,
    ) -> Option<Answered<T>> {
        let now = self.clock.ticks();
        if now >= flight.deadline() {
            flight.give_up();
        }
        self.tiers.local.orders.check(now);
        match flight.fallback() {
            Some(fallback) if !forgot(&fallback.labels.tags) => {
                Some(Answered { outcome: Outcome::Stale, ..Answered::early(fallback) })
            }
            // A flight that never had its place has not looked.
            _ => self.stale_in_l1(key, options).await,
        }
    }

    /// What the flight answers before its deadline, which moves when it has its place, and when its computation begins.
    /// A caller waits no longer than for a flight that had its place at once.
    async fn answer_of<'a, T: Value, E: Send + Sync>(&self, flight: &'a Flight<T, E>) -> Option<Answer<'a, T, E>> {
        let asked = self.clock.ticks();
        let most = asked.saturating_add(flight.patience);
        let mut until = flight.deadline().min(asked.saturating_add(flight.limit));
        loop {
            let left = Duration::from_millis(until.saturating_sub(self.clock.ticks()));
            let answer = pin!(flight.wait(asked));
            let answer = within(&*self.clock, left, answer).await;
            let deadline = flight.deadline().min(most);
            if answer.is_some() || deadline <= until {
                return answer;
            }
            until = deadline;
        }
    }
}
