//! The door: what every backend operation passes.
//!
//! The breaker says whether to try, the gate when; the adaptive timeout says for how long, the retries how often.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use super::breaker::{Breaker, Pass};
use super::gate::Gate;
use super::limits::{Answer, Limit, Limits, Manner};
use super::pace::Pace;
use super::places::Place;
use super::pulse::{Beat, Pulse};
use super::retry::Retries;
use super::sizes::Size;
use super::writes::{Step, Writes};
use crate::backends::late;
use crate::clock::{Clock, check_time, millis, within};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};
use crate::event::{BreakerState, Event, Observers, Operation, Refusal};
use crate::key::Key;

/// The way to one backend.
#[derive(Debug)]
pub(super) struct Door {
    limits: Limits,
    /// The longest entry that is read, in bytes.
    accepted: usize,
    breaker: Option<Breaker>,
    /// Whether observers hear of the breaker, which they take for that of the backend.
    tells: bool,
    gate: Option<Gate>,
    pulse: Pulse,
    pace: Pace,
    writes: Writes,
    retries: Retries,
    clock: Arc<dyn Clock>,
    observers: Observers,
    /// What to say at the first failure, until it is said.
    hint: Mutex<Option<&'static str>>,
}

/// The turn of a write of what was computed, whose operations go first.
#[derive(Debug)]
pub(crate) struct WritePermit<'a> {
    /// None where nothing bounds the operations.
    _permit: Option<SemaphorePermit<'a>>,
}

impl Door {
    pub(super) fn new(
        policy: &Policy,
        isolates: bool,
        hint: Option<&'static str>,
        clock: Arc<dyn Clock>,
        observers: Observers,
    ) -> Self {
        Self {
            limits: Limits::new(policy),
            accepted: policy.max_value_size,
            breaker: policy.breaker.filter(|_| !isolates).map(Breaker::new),
            tells: true,
            gate: policy.backpressure.map(|rules| Gate::new(rules, policy.operation_timeout, Arc::clone(&clock))),
            pulse: Pulse::default(),
            pace: Pace::default(),
            writes: Writes::default(),
            retries: Retries::new(policy.retries),
            clock,
            observers,
            hint: Mutex::new(hint),
        }
    }

    /// The same, and nobody hears of its breaker.
    pub(super) fn with_quiet_breaker(self) -> Self {
        Self { tells: false, ..self }
    }

    /// Does one operation, or says why not. Whatever fails is told once.
    pub(super) async fn run<T, F>(
        &self,
        key: &Key,
        operation: Operation,
        manner: Manner,
        work: impl Fn() -> F + Send,
    ) -> Result<T, Error>
    where
        T: Answer,
        F: Future<Output = Result<T, Error>> + Send,
    {
        check_time(&*self.clock)?;
        let asked = self.clock.ticks();
        let (pass, _place) = match self.admit(operation, manner.first).await {
            Ok(admitted) => admitted,
            Err(refusal) => return Err(self.refused(key, operation, refusal).await),
        };
        let (beat, begun) = (self.pulse.beat(), self.clock.ticks());
        let work = pin!(self.attempts(manner, work));
        let ((result, limit), mended) = late::scope(
            self.accepted.min(manner.longest),
            self.wait(|| self.limits.of(key, operation, manner, beat), beat, work),
        )
        .await;
        let now = self.clock.ticks();
        let latency = now.saturating_sub(begun);
        self.limits.note(key, operation, manner, limit, latency, &result);
        let is_timed = result.as_ref().map_or_else(|error| error.kind() == ErrorKind::Timeout, |_| true);
        if is_timed && limit.size == Size::Small {
            self.pace.note(now.saturating_sub(asked));
        }
        match &result {
            Ok(_) => {
                if let Some(error) = &mended {
                    self.observers.tell(Event::BackendFailed { key, operation, error });
                }
                self.succeeded(pass, operation);
            }
            Err(error) => {
                self.observers.tell(Event::BackendFailed { key, operation, error });
                let excused = self.is_excused(error, limit, beat);
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
        let (mut wait, begun) = (known.time, self.clock.ticks());
        loop {
            if let Some(result) = within(&*self.clock, wait, work.as_mut()).await {
                return (result, known);
            }
            // Ticks may lag, and timers may be late.
            waited = (waited + wait).max(Duration::from_millis(self.clock.ticks().saturating_sub(begun)));
            let left = known.whole.saturating_sub(waited);
            wait = match is_late {
                false if self.pulse.was_answered(beat) && limit().time > waited => {
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

    /// Whether the failure of an operation says nothing of the backend, because others were answered meanwhile: it had
    /// not the whole time, or its value is long, which is why a connection breaks or an answer is late.
    fn is_excused(&self, error: &Error, limit: Limit, beat: Beat) -> bool {
        let may_be = match error.kind() {
            ErrorKind::Timeout => limit.is_cut() || limit.size == Size::Long,
            ErrorKind::Unavailable => limit.size == Size::Long,
            _ => false,
        };
        may_be && !self.pulse.cut(beat)
    }

    /// Whether nothing may be stored at the moment, because the backend refuses writes.
    pub(super) fn refuses_writes(&self) -> bool {
        self.writes.are_refused(self.clock.ticks())
    }

    /// Whether a flight may store. While the backend refuses writes, one may from time to time.
    pub(super) fn admits_write(&self) -> bool {
        self.writes.admit(self.clock.ticks())
    }

    /// How long a lease is to hold that is asked for `hold`, on this way to the backend.
    pub(super) fn hold(&self, hold: Duration) -> Duration {
        self.pace.hold(hold)
    }

    /// What the breaker is now, if there is one.
    pub(super) fn breaker(&self) -> Option<BreakerState> {
        self.breaker.as_ref().map(Breaker::state_now)
    }

    /// The turn of a write of what was computed, of so many bytes. It is not waited for long if a caller waits for it.
    pub(super) async fn queue_write(
        &self,
        key: &Key,
        bytes: usize,
        is_waited_for: bool,
    ) -> Result<WritePermit<'_>, Error> {
        let Some(gate) = &self.gate else { return Ok(WritePermit { _permit: None }) };
        let turn = match self.left() {
            Some(left) => Err((Refusal::BreakerOpen, open(left))),
            None => gate.queue_write(bytes, is_waited_for).await.map_err(|reason| (reason, crowded())),
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
    ) -> Result<(Option<Pass<'_>>, Option<Place<'_>>), (Refusal, Error)> {
        if operation == Operation::Ping {
            return Ok((None, None));
        }
        let place = match &self.gate {
            None => None,
            Some(gate) => Some(match gate.try_enter() {
                Some(place) => place,
                None => self.wait_for_place(gate, is_first).await?,
            }),
        };
        let Some(breaker) = &self.breaker else { return Ok((None, place)) };
        let admitted = breaker.admit(self.clock.ticks());
        let (pass, begun) = admitted.map_err(|left| (Refusal::BreakerOpen, open(left)))?;
        self.tell_breaker(begun);
        Ok((Some(pass), place))
    }

    /// No operation waits for a backend that is left alone.
    async fn wait_for_place<'a>(&self, gate: &'a Gate, is_first: bool) -> Result<Place<'a>, (Refusal, Error)> {
        if let Some(left) = self.left() {
            return Err((Refusal::BreakerOpen, open(left)));
        }
        if is_first {
            return Ok(gate.enter_first().await);
        }
        gate.enter().await.map_err(|reason| (reason, crowded()))
    }

    /// For how many milliseconds more the backend is left alone, if it is.
    fn left(&self) -> Option<u64> {
        self.breaker.as_ref().and_then(|breaker| breaker.left(self.clock.ticks()))
    }

    async fn refused(&self, key: &Key, operation: Operation, (reason, error): (Refusal, Error)) -> Error {
        self.observers.tell(Event::Refused { key, operation, reason });
        // A refusal waits for nothing: a loop of them would keep the other tasks of a thread from running.
        tokio::task::yield_now().await;
        error
    }

    async fn attempts<T, F>(&self, manner: Manner, work: impl Fn() -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>> + Send,
    {
        let mut tried = 0;
        loop {
            let result = work().await;
            tried += 1;
            let error = match &result {
                Err(error) if manner.again => error,
                _ => return result,
            };
            let Some(pause) = self.retries.pause(tried, error) else { return result };
            if !pause.is_zero() {
                self.clock.sleep(pause).await;
            }
        }
    }

    fn succeeded(&self, pass: Option<Pass<'_>>, operation: Operation) {
        self.pulse.answered();
        self.retries.succeeded();
        Step::of(operation).into_iter().for_each(|step| self.writes.taken(step));
        self.tell_breaker(pass.and_then(Pass::succeeded));
    }

    /// Draws the conclusions of a failure. `excused` says that it says nothing of the backend.
    fn failed(&self, pass: Option<Pass<'_>>, operation: Operation, error: &Error, excused: bool, now: u64) {
        match Blame::of(error.kind(), operation) {
            Blame::Backend => {
                self.give_hint();
                if !excused {
                    self.tell_breaker(pass.and_then(|pass| pass.failed(now)));
                }
            }
            Blame::Reads => {
                self.pulse.answered();
                self.tell_breaker(pass.and_then(|pass| pass.failed(now)));
            }
            Blame::Writes(step) => {
                self.pulse.answered();
                if self.writes.refused(step, now) {
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

    fn tell_breaker(&self, begun: Option<BreakerState>) {
        if let Some(state) = begun.filter(|_| self.tells) {
            self.observers.tell(Event::Breaker { state });
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
fn open(left: u64) -> Error {
    let message = format!("the backend failed too often of late, so it is left alone for {left} ms more");
    Error::new(ErrorKind::Unavailable, message)
}

#[cold]
fn crowded() -> Error {
    let message =
        "too many backend operations are under way: raise max_concurrent, max_queued or queue_wait, or lower the load";
    Error::new(ErrorKind::Unavailable, message)
}
