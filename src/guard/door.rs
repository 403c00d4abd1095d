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

/// Leave to try.
struct Leave<'a> {
    pass: Option<Pass<'a>>,
    _place: Option<SemaphorePermit<'a>>,
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
            gate: policy.backpressure.map(|rules| Gate::new(rules, Arc::clone(&clock))),
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
        let leave = match self.admit(operation).await {
            Ok(leave) => leave,
            Err((reason, error)) => {
                self.observers.tell(Event::Refused { key, operation, reason });
                // A refusal waits for nothing: a loop of them would keep the other tasks of a thread from running.
                tokio::task::yield_now().await;
                return Err(error);
            }
        };
        let (beat, begun) = (self.pulse.beat(), self.clock.ticks());
        let limit = self.limits.of(key, operation, manner, beat);
        let (result, mended) = late::scope(self.accepted, self.wait(limit, pin!(self.attempts(manner, work)))).await;
        let now = self.clock.ticks();
        let latency = now.saturating_sub(begun);
        self.limits.note(key, operation, manner, limit, latency, &result);
        let is_timed = result.as_ref().map_or_else(|error| error.kind() == ErrorKind::Timeout, |_| true);
        if is_timed && limit.size == Size::Small {
            self.pace.note(latency);
        }
        match &result {
            Ok(_) => {
                if let Some(error) = &mended {
                    self.observers.tell(Event::BackendFailed { key, operation, error });
                }
                self.succeeded(leave, operation);
            }
            Err(error) => {
                self.observers.tell(Event::BackendFailed { key, operation, error });
                let excused = self.is_excused(error, limit, beat);
                self.failed(leave, operation, error, excused, now);
            }
        }
        result
    }

    /// What `work` gives within its limit. A backend that can tell whether a late answer is long gets as much time again
    /// to do so, and a long answer the whole time.
    async fn wait<T, F>(&self, limit: Limit, mut work: Pin<&mut F>) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (mut wait, mut waited) = (limit.time, Duration::ZERO);
        loop {
            if let Some(result) = within(&*self.clock, wait, work.as_mut()).await {
                return result;
            }
            waited += wait;
            let left = limit.whole.saturating_sub(waited);
            wait = match waited == limit.time && late::mark() {
                true => limit.time.min(left),
                false if late::is_long() => left,
                false => Duration::ZERO,
            };
            if wait.is_zero() {
                return Err(no_answer(waited));
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

    async fn admit(&self, operation: Operation) -> Result<Leave<'_>, (Refusal, Error)> {
        if operation == Operation::Ping {
            return Ok(Leave { pass: None, _place: None });
        }
        let pass = match &self.breaker {
            None => None,
            Some(breaker) => {
                let admitted = breaker.admit(self.clock.ticks());
                let (pass, begun) = admitted.map_err(|left| (Refusal::BreakerOpen, open(left)))?;
                self.tell_breaker(begun);
                Some(pass)
            }
        };
        let place = match &self.gate {
            None => None,
            Some(gate) => Some(gate.enter().await.map_err(|reason| (reason, crowded()))?),
        };
        Ok(Leave { pass, _place: place })
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

    fn succeeded(&self, leave: Leave<'_>, operation: Operation) {
        self.pulse.answered();
        self.retries.succeeded();
        Step::of(operation).into_iter().for_each(|step| self.writes.taken(step));
        self.tell_breaker(leave.pass.and_then(Pass::succeeded));
    }

    /// Draws the conclusions of a failure. `excused` says that it says nothing of the backend.
    fn failed(&self, leave: Leave<'_>, operation: Operation, error: &Error, excused: bool, now: u64) {
        match Blame::of(error.kind(), operation) {
            Blame::Backend => {
                self.give_hint();
                if !excused {
                    self.tell_breaker(leave.pass.and_then(|pass| pass.failed(now)));
                }
            }
            Blame::Reads => {
                self.pulse.answered();
                self.tell_breaker(leave.pass.and_then(|pass| pass.failed(now)));
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
