//! The executor: how every backend operation is carried out.
//!
//! The breaker says whether to try, the bulkhead when; the adaptive timeout says for how long, the retries how often.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::breaker::{Admitted, Breaker};
use super::bulkhead::{Bulkhead, Permit};
use super::condition::{Condition, Conditions};
use super::limits::{Answer, Attempt, Limit};
use super::pulse::Beat;
use super::sizes::Size;
use super::writes::Step;
use crate::backends::late;
use crate::clock::{check_time, millis, within};
use crate::error::{Error, ErrorKind};
use crate::event::{BreakerState, Event, Observers, Operation, Refusal, Span};
use crate::key::Key;

/// The way of one cache to one part of its backend.
#[derive(Debug)]
pub(super) struct Executor {
    /// What the backend is called.
    name: &'static str,
    conditions: Arc<Conditions>,
    part: u16,
    /// The longest entry that is read, in bytes.
    accepted: usize,
    observers: Observers,
    /// Who hears of the breaker, and what they were told of it last.
    breaker_observers: Option<Observers>,
    told: AtomicU8,
    /// The number of the refusal of writes that observers were told of last.
    told_refusal: AtomicU64,
    /// What to say at the first failure, until it is said.
    hint: Mutex<Option<&'static str>>,
}

/// The turn of a write of what was computed, whose operations go first.
#[derive(Debug)]
pub(crate) struct WritePermit<'a> {
    /// None where nothing bounds the operations.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Executor {
    /// An executor that observers hear of: of its breaker only `breaker_observers`, who take it for that of the entries.
    pub(super) fn new(
        (name, conditions, part): (&'static str, Arc<Conditions>, u16),
        accepted: usize,
        hint: Option<&'static str>,
        observers: Observers,
        breaker_observers: Option<Observers>,
    ) -> Self {
        let (told, told_refusal) = (AtomicU8::new(BreakerState::Closed as u8), AtomicU64::new(0));
        let hint = Mutex::new(hint);
        Self { name, conditions, part, accepted, observers, breaker_observers, told, told_refusal, hint }
    }

    pub(super) fn condition(&self) -> &Condition {
        &self.conditions.parts()[usize::from(self.part)]
    }

    /// Does one operation, or says why not. Whatever fails is told once.
    pub(super) async fn run<T, F>(
        &self,
        key: &Key,
        operation: Operation,
        attempt: Attempt,
        work: impl Fn() -> F + Send,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let span = Span::of_operation(self.observers.traces(), self.name, operation);
        let begun = self.observers.meters().map(|meters| (meters, self.condition().clock.precise()));
        // Pinned here: handed over by value, it would take its room twice.
        let work = pin!(self.run_now(key, operation, attempt, work));
        let result = span.clone().around(work).await;
        if let Some((meters, begun)) = begun {
            meters.operated(operation, result.is_ok(), self.condition().clock.precise().saturating_sub(begun));
        }
        if let Err(error) = &result {
            span.failed(Some(error.kind()));
        }
        result
    }

    async fn run_now<T, F>(
        &self,
        key: &Key,
        operation: Operation,
        attempt: Attempt,
        work: impl Fn() -> F + Send,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>> + Send,
    {
        check_time(&*self.condition().clock)?;
        let asked = self.condition().clock.ticks();
        let (pass, _permit) = match self.admit(operation, attempt.first).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refused(key, operation, refusal).await),
        };
        let (beat, begun) = (self.condition().pulse.beat(), self.condition().clock.ticks());
        let work = pin!(self.attempts(attempt, work));
        let ((result, limit), mended) = late::scope(
            self.accepted.min(attempt.longest),
            self.wait(|| self.condition().limits.of(key, operation, attempt, beat), beat, work),
        )
        .await;
        let now = self.condition().clock.ticks();
        let latency = now.saturating_sub(begun);
        self.condition().limits.note(key, operation, attempt, limit, latency, &result);
        let is_timed = result.as_ref().map_or_else(|error| error.kind() == ErrorKind::Timeout, |_| true);
        if is_timed && limit.size == Size::Small {
            self.condition().pace.note(now.saturating_sub(asked), now);
        }
        match &result {
            Ok(answer) => {
                if let Some(error) = &mended {
                    self.observers.tell(Event::BackendFailed { key, operation, error });
                }
                self.succeeded(pass, Step::of(operation).filter(|_| answer.wrote()));
            }
            Err(error) => {
                self.observers.tell(Event::BackendFailed { key, operation, error });
                let excused = self.is_excused(error, attempt, limit, beat);
                self.failed(pass, operation, error, excused, now);
            }
        }
        result
    }

    /// What `work` gives within its limit, and that limit. Where others were answered meanwhile, it is looked up again when
    /// it is over: of operations that began together the fast ones are answered first, and the others take longer than
    /// those told. A backend that can tell whether a late answer is long gets as much time again to do so, and a long
    /// answer the whole time.
    async fn wait<T, F>(
        &self,
        limit: impl Fn() -> Limit,
        beat: Beat,
        mut work: Pin<&mut F>,
    ) -> (Result<T, Error>, Limit)
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut known, mut waited, mut is_late) = (limit(), Duration::ZERO, false);
        let (mut wait, begun) = (known.time, self.condition().clock.ticks());
        loop {
            if let Some(result) = within(&*self.condition().clock, wait, work.as_mut()).await {
                return (result, known);
            }
            // Ticks may lag, and timers may be late.
            waited = (waited + wait).max(Duration::from_millis(self.condition().clock.ticks().saturating_sub(begun)));
            let left = known.whole.saturating_sub(waited);
            wait = match is_late {
                false if self.condition().pulse.was_answered(beat) && limit().time > waited => {
                    known.time = limit().time;
                    known.time.saturating_sub(waited)
                }
                false if late::mark() => known.time.min(left),
                _ if late::is_long() => left,
                _ => Duration::ZERO,
            };
            is_late |= waited >= known.time;
            if wait.is_zero() {
                return (Err(no_answer(waited)), known);
            }
        }
    }

    /// Whether the failure of an operation says nothing of this part of the backend: others were answered meanwhile, and
    /// it had not the whole time, or its value is long, which is why a connection breaks or an answer is late. Or what it
    /// was about may be in another part.
    fn is_excused(&self, error: &Error, attempt: Attempt, limit: Limit, beat: Beat) -> bool {
        if attempt.is_scattered && self.conditions.parts().len() > 1 {
            return true;
        }
        let may_be = match error.kind() {
            ErrorKind::Timeout => limit.is_cut() || limit.size == Size::Long,
            ErrorKind::Unavailable => limit.size == Size::Long,
            _ => false,
        };
        may_be && !self.condition().pulse.cut(beat)
    }

    /// Whether nothing may be stored at the moment, because the backend refuses writes.
    pub(super) fn refuses_writes(&self) -> bool {
        self.condition().writes.are_refused(self.condition().clock.ticks())
    }

    /// Whether a write was refused, and none was taken since.
    pub(super) fn doubts_writes(&self) -> bool {
        self.condition().writes.are_doubted()
    }

    /// Whether a flight may store. While the backend refuses writes, one may from time to time.
    pub(super) fn admits_write(&self) -> bool {
        self.condition().writes.admit(self.condition().clock.ticks())
    }

    /// How long a lease is to hold that is asked for `hold`, on this way to the backend.
    pub(super) fn hold(&self, hold: Duration) -> Duration {
        self.condition().pace.hold(hold)
    }

    /// An operation that keeps a lease began so many milliseconds late.
    pub(super) fn note_delay(&self, late: u64) {
        self.condition().pace.note(late, self.condition().clock.ticks());
    }

    /// What the breaker of this part is now, if there is one.
    pub(super) fn breaker(&self) -> Option<BreakerState> {
        self.condition().breaker.as_ref().map(Breaker::state_now)
    }

    /// The turn of a write of what was computed, of so many bytes. It is not waited for long if a caller waits for it.
    pub(super) async fn queue_write(
        &self,
        key: &Key,
        bytes: usize,
        is_waited_for: bool,
    ) -> Result<WritePermit<'_>, Error> {
        let Some(bulkhead) = &self.condition().bulkhead else { return Ok(WritePermit { _permit: None }) };
        let turn = match self.left() {
            Some(left) => Err((Refusal::BreakerOpen, self.left_alone(left))),
            None => bulkhead.queue_write(bytes, is_waited_for).await.map_err(|reason| (reason, crowded())),
        };
        match turn {
            Ok(permit) => Ok(WritePermit { _permit: Some(permit) }),
            Err(refusal) => Err(self.refused(key, Operation::Set, refusal).await),
        }
    }

    async fn admit(
        &self,
        operation: Operation,
        is_first: bool,
    ) -> Result<(Option<Admitted<'_>>, Option<Permit<'_>>), (Refusal, Error)> {
        if operation == Operation::Ping {
            return Ok((None, None));
        }
        let permit = match &self.condition().bulkhead {
            None => None,
            Some(bulkhead) => Some(match bulkhead.try_enter() {
                Some(permit) => permit,
                None => self.wait_for_permit(bulkhead, is_first).await?,
            }),
        };
        let Some(breaker) = &self.condition().breaker else { return Ok((None, permit)) };
        let admitted = breaker.admit(self.condition().clock.ticks());
        self.tell_breaker(admitted.as_ref().ok().and_then(|(_, begun)| *begun));
        let (pass, _) = admitted.map_err(|left| (Refusal::BreakerOpen, self.left_alone(left)))?;
        Ok((Some(pass), permit))
    }

    /// No operation waits for a backend that is left alone.
    async fn wait_for_permit<'a>(
        &self,
        bulkhead: &'a Bulkhead,
        is_first: bool,
    ) -> Result<Permit<'a>, (Refusal, Error)> {
        if let Some(left) = self.left() {
            return Err((Refusal::BreakerOpen, self.left_alone(left)));
        }
        if is_first {
            return Ok(bulkhead.enter_first().await);
        }
        bulkhead.enter().await.map_err(|reason| (reason, crowded()))
    }

    /// For how many milliseconds more the backend is left alone, if it is.
    fn left(&self) -> Option<u64> {
        let left = self.condition().breaker.as_ref()?.left(self.condition().clock.ticks())?;
        self.tell_breaker(None);
        Some(left)
    }

    #[cold]
    fn left_alone(&self, left: u64) -> Error {
        let who =
            if self.conditions.parts().len() == 1 { "the backend" } else { "the part of the backend that has the key" };
        Error::refusal(format!("{who} failed too often of late, so it is left alone for {left} ms more"))
    }

    async fn refused(&self, key: &Key, operation: Operation, (reason, error): (Refusal, Error)) -> Error {
        self.observers.tell(Event::Refused { key, operation, reason });
        // A refusal waits for nothing: a loop of them would keep the other tasks of a thread from running.
        tokio::task::yield_now().await;
        error
    }

    async fn attempts<T, F>(&self, attempt: Attempt, work: impl Fn() -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut tried = 0;
        loop {
            let result = work().await;
            tried += 1;
            let error = match &result {
                Err(error) if attempt.idempotent => error,
                _ => return result,
            };
            let Some(pause) = self.condition().retries.pause(tried, error) else { return result };
            if !pause.is_zero() {
                self.condition().clock.sleep(pause).await;
            }
        }
    }

    /// Draws the conclusions of a success, and of the `step` of a write that was taken.
    fn succeeded(&self, pass: Option<Admitted<'_>>, step: Option<Step>) {
        self.condition().pulse.answered();
        self.condition().retries.succeeded();
        step.into_iter().for_each(|step| self.condition().writes.taken(step));
        self.tell_breaker(pass.and_then(Admitted::succeeded));
    }

    /// Draws the conclusions of a failure. `excused` says that it says nothing of the backend.
    fn failed(&self, pass: Option<Admitted<'_>>, operation: Operation, error: &Error, excused: bool, now: u64) {
        match Blame::of(error.kind(), operation) {
            Blame::Backend => {
                self.give_hint();
                if !excused {
                    self.tell_breaker(pass.and_then(|pass| pass.failed(now)));
                }
            }
            Blame::Reads => {
                self.condition().pulse.answered();
                self.tell_breaker(pass.and_then(|pass| pass.failed(now)));
            }
            Blame::Writes(step) => {
                self.condition().pulse.answered();
                let refusal = self.condition().writes.refused(step, now);
                if self.told_refusal.swap(refusal, Relaxed) != refusal {
                    self.observers.tell(Event::Warning { message: &no_writes(error) });
                }
            }
            Blame::Request => {}
        }
    }

    /// Says what to do about a backend that is not there, once.
    fn give_hint(&self) {
        if let Some(message) = self.hint.lock().ok().and_then(|mut hint| hint.take()) {
            self.observers.tell(Event::Warning { message });
        }
    }

    /// Tells of the state of the breaker that this operation began, or that another cache did since this one was told.
    fn tell_breaker(&self, begun: Option<BreakerState>) {
        let (Some(observers), Some(breaker)) = (&self.breaker_observers, &self.condition().breaker) else { return };
        let was_closed = self.told.load(Relaxed) == BreakerState::Closed as u8;
        if begun.is_none() && was_closed && breaker.is_closed() {
            return;
        }
        let state = begun.unwrap_or_else(|| breaker.state_now());
        if self.told.swap(state as u8, Relaxed) != state as u8 {
            observers.tell(Event::Breaker { part: self.part, state });
        }
    }
}

/// What a failure says something of.
enum Blame {
    /// The backend, which is not there or does not answer.
    Backend,
    /// All reads: the backend answers, and refuses one for what it is.
    Reads,
    /// All writes: the backend answers, and refuses this step of them.
    Writes(Step),
    /// Nothing but what was asked for.
    Request,
}

impl Blame {
    fn of(kind: ErrorKind, operation: Operation) -> Self {
        match (kind, operation, Step::of(operation)) {
            (ErrorKind::Unavailable | ErrorKind::Timeout, ..) => Self::Backend,
            (ErrorKind::ReadOnly | ErrorKind::Denied, _, Some(step)) => Self::Writes(step),
            (ErrorKind::Denied | ErrorKind::Backend, Operation::Get, _) => Self::Reads,
            _ => Self::Request,
        }
    }
}

#[cold]
fn no_writes(error: &Error) -> String {
    format!(
        "{error}; until the backend takes writes, what it has is read from it, and what is computed is not stored in it"
    )
}

#[cold]
fn no_answer(limit: Duration) -> Error {
    Error::new(ErrorKind::Timeout, format!("the backend did not answer within {} ms", millis(limit)))
}

#[cold]
fn crowded() -> Error {
    Error::refusal(
        "too many backend operations are under way: raise max_concurrent, max_queued or queue_wait, or lower the load",
    )
}
