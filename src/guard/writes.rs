//! Writes: whether the backend takes them.
//!
//! A server that is full, a replica, or cannot save refuses writes and answers reads. Then nothing is written for what
//! was computed, nor is a lease asked for, so that reads go on as if nothing had happened; one flight from time to time
//! tries, so that entries are stored again soon after the backend takes them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::Operation;

/// What is known of writes to one backend. Times are ticks in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Whether `state` has a refusal. Written under its lock.
    refused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    refusal: Option<Refused>,
    /// How many refusals there were to tell of, and when the last one began.
    refusals: u64,
    told: Option<u64>,
}

#[derive(Debug)]
struct Refused {
    /// The last step that was refused. A success of an earlier step says nothing of it.
    step: Step,
    /// When the next flight tries.
    next: u64,
    /// The time between two that try.
    pause: u64,
    /// Whether one tries, and nothing has come of it yet.
    tried: bool,
}

/// What a flight does to store a value, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Lease,
    Store,
}

impl Step {
    /// The step that an operation is, if it is one.
    pub(super) fn of(operation: Operation) -> Option<Self> {
        match operation {
            Operation::Lease => Some(Self::Lease),
            Operation::Set => Some(Self::Store),
            _ => None,
        }
    }
}

const SHORTEST: u64 = 250;
const LONGEST: u64 = 2_000;
/// A refusal is told so often at most.
const TOLD: u64 = 60_000;

impl Writes {
    /// Whether nothing may be stored at the tick `now`.
    pub(super) fn are_refused(&self, now: u64) -> bool {
        self.refused.load(Relaxed) && self.state().refusal.as_ref().is_some_and(|refusal| now < refusal.next)
    }

    /// Whether one was refused, and none was taken since.
    pub(super) fn are_doubted(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Whether a flight may store at the tick `now`. While writes are refused, one may from time to time.
    pub(super) fn admit(&self, now: u64) -> bool {
        if !self.refused.load(Relaxed) {
            return true;
        }
        let mut state = self.state();
        let Some(refusal) = &mut state.refusal else { return true };
        if now < refusal.next {
            return false;
        }
        refusal.next = now.saturating_add(refusal.pause);
        refusal.tried = true;
        true
    }

    /// A step was refused at the tick `now`. Returns the number of the refusal, of which observers are told once.
    pub(super) fn refused(&self, step: Step, now: u64) -> u64 {
        let state = &mut *self.state();
        if let Some(refusal) = &mut state.refusal {
            refusal.step = refusal.step.max(step);
            if std::mem::take(&mut refusal.tried) {
                refusal.pause = (refusal.pause * 2).min(LONGEST);
                refusal.next = now.saturating_add(refusal.pause);
            }
            return state.refusals;
        }
        let next = now.saturating_add(SHORTEST);
        state.refusal = Some(Refused { step, next, pause: SHORTEST, tried: false });
        self.refused.store(true, Relaxed);
        if state.told.is_none_or(|told| now.saturating_sub(told) >= TOLD) {
            state.refusals += 1;
            state.told = Some(now);
        }
        state.refusals
    }

    /// A step was carried out.
    pub(super) fn taken(&self, step: Step) {
        if !self.refused.load(Relaxed) {
            return;
        }
        let mut state = self.state();
        if state.refusal.as_ref().is_some_and(|refusal| step >= refusal.step) {
            state.refusal = None;
            self.refused.store(false, Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_writes_are_refused_one_flight_tries_from_time_to_time() {
        let writes = Writes::default();
        assert!(writes.admit(0) && writes.admit(0), "at first all may");
        assert_eq!(writes.refused(Step::Lease, 0), 1);
        let mut now = 0;
        for pause in [250, 500, 1_000, 2_000, 2_000] {
            assert!(writes.are_refused(now + pause - 1) && !writes.admit(now + pause - 1));
            now += pause;
            assert!(!writes.are_refused(now) && writes.admit(now) && !writes.admit(now), "one at {now}");
            assert_eq!(writes.refused(Step::Lease, now), 1, "it was told");
        }
        now += 2_000;
        assert!(writes.admit(now));
        writes.taken(Step::Lease);
        assert!(writes.admit(now) && writes.admit(now));
        assert_eq!(writes.refused(Step::Store, now), 1, "it was told a moment ago");
        writes.taken(Step::Store);
        assert_eq!(writes.refused(Step::Store, TOLD), 2);
    }

    #[test]
    fn a_lease_that_is_granted_does_not_say_that_values_are_stored() {
        let writes = Writes::default();
        assert_eq!(writes.refused(Step::Store, 0), 1);
        writes.taken(Step::Lease);
        assert!(!writes.admit(100));
        assert_eq!(writes.refused(Step::Lease, 100), 1);
        writes.taken(Step::Lease);
        assert!(!writes.admit(100), "the later step counts");
        writes.taken(Step::Store);
        assert!(writes.admit(100));
    }

    #[test]
    fn write_retry_is_on_time_despite_refused_sets_or_a_hung_retry() {
        let writes = Writes::default();
        assert_eq!(writes.refused(Step::Store, 0), 1);
        (1..200).for_each(|now| assert_eq!(writes.refused(Step::Store, now), 1));
        assert!(writes.admit(250));
        assert!(!writes.admit(499) && writes.admit(500));
    }
}
