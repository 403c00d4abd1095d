//! The circuit breaker: a backend that fails is left alone.
//!
//! Closed, it counts failures of a rolling window; open, it lets nothing through; half open, it lets a few probes
//! through, and what they meet decides. Each of these spells has a number, so that the result of an operation that was
//! let through in an earlier one says nothing about this one.
//!
//! Failures that overlap in time have one cause and count once: a failure begins a new spell, so that only operations
//! that began after it was known can count again. It stays open for a moment at first, and for twice as long after each
//! probe that fails, so that a short outage costs little and a long one is not asked about all the time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::millis;
use crate::config::Breaker as Rules;
use crate::event::BreakerState;

/// One breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    rules: Rules,
    /// The spell, if it is a closed one; else [`NOT_CLOSED`]. Written under the lock.
    closed: AtomicU64,
    state: Mutex<State>,
}

const NOT_CLOSED: u64 = u64::MAX;

/// How long it stays open at first, unless it never may for so long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct State {
    spell: u64,
    phase: Phase,
    /// For how many milliseconds it opens next.
    pause: u64,
}

#[derive(Debug)]
enum Phase {
    /// When the failures of the window were known, in ticks; at most as many as it takes to open.
    Closed(VecDeque<u64>),
    /// The tick from which on probes are let through.
    Open(u64),
    HalfOpen {
        probes: u32,
        successes: u32,
    },
}

/// Lets one operation through. What became of it must be told, or nothing is known of it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admitted<'a> {
    breaker: &'a Breaker,
    spell: u64,
    probe: bool,
    told: bool,
}

impl Breaker {
    pub(crate) fn new(rules: Rules) -> Self {
        let state = State { spell: 0, phase: Phase::Closed(VecDeque::new()), pause: 0 };
        let breaker = Self { rules, closed: AtomicU64::new(0), state: Mutex::new(state) };
        breaker.state().pause = breaker.longest().min(millis(FIRST_PAUSE));
        breaker
    }

    /// For how many milliseconds it opens at most.
    fn longest(&self) -> u64 {
        millis(self.rules.recovery_timeout)
    }

    /// Lets an operation through at the tick `now`, or says for how many milliseconds more none is. With the former
    /// comes the state that begins thereby, if one does.
    pub(crate) fn admit(&self, now: u64) -> Result<(Admitted<'_>, Option<BreakerState>), u64> {
        let spell = self.closed.load(Relaxed);
        if spell != NOT_CLOSED {
            return Ok((Admitted { breaker: self, spell, probe: false, told: false }, None));
        }
        self.admit_probe(now)
    }

    #[cold]
    fn admit_probe(&self, now: u64) -> Result<(Admitted<'_>, Option<BreakerState>), u64> {
        let mut state = self.state();
        let mut begun = None;
        if let Phase::Open(until) = state.phase {
            if now < until {
                return Err(until - now);
            }
            self.begin(&mut state, Phase::HalfOpen { probes: 0, successes: 0 });
            begun = Some(BreakerState::HalfOpen);
        }
        let probe = match &mut state.phase {
            Phase::HalfOpen { probes, .. } if *probes < self.rules.half_open_requests => {
                *probes += 1;
                true
            }
            Phase::HalfOpen { .. } => return Err(0),
            _ => false,
        };
        Ok((Admitted { breaker: self, spell: state.spell, probe, told: false }, begun))
    }

    /// For how many milliseconds more no operation is let through at the tick `now`, if it is open.
    pub(crate) fn left(&self, now: u64) -> Option<u64> {
        if self.is_closed() {
            return None;
        }
        match self.state().phase {
            Phase::Open(until) => until.checked_sub(now).filter(|left| *left > 0),
            _ => None,
        }
    }

    /// Whether it lets everything through.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed) != NOT_CLOSED
    }

    /// What it is now.
    pub(crate) fn state_now(&self) -> BreakerState {
        match self.state().phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open(_) => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn failed(&self, spell: u64, now: u64) -> Option<BreakerState> {
        let mut state = self.state();
        if state.spell != spell {
            return None;
        }
        if let Phase::Closed(failures) = &mut state.phase {
            let since = now.saturating_sub(millis(self.rules.window));
            while failures.front().is_some_and(|tick| *tick < since) {
                failures.pop_front();
            }
            failures.push_back(now);
            if failures.len() < self.rules.failure_threshold as usize {
                state.spell += 1;
                self.closed.store(state.spell, Relaxed);
                return None;
            }
        }
        let until = now.saturating_add(state.pause);
        state.pause = state.pause.saturating_mul(2).min(self.longest());
        self.begin(&mut state, Phase::Open(until));
        Some(BreakerState::Open)
    }

    fn succeeded(&self, spell: u64) -> Option<BreakerState> {
        let mut state = self.state();
        if state.spell != spell {
            return None;
        }
        let Phase::HalfOpen { successes, .. } = &mut state.phase else { return None };
        *successes += 1;
        if *successes < self.rules.success_threshold {
            return None;
        }
        state.pause = self.longest().min(millis(FIRST_PAUSE));
        self.begin(&mut state, Phase::Closed(VecDeque::new()));
        Some(BreakerState::Closed)
    }

    fn begin(&self, state: &mut State, phase: Phase) {
        state.spell += 1;
        state.phase = phase;
        let closed = matches!(state.phase, Phase::Closed(_));
        self.closed.store(if closed { state.spell } else { NOT_CLOSED }, Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted<'_> {
    /// The operation was carried out. Returns the state that begins thereby, if one does.
    pub(crate) fn succeeded(mut self) -> Option<BreakerState> {
        self.told = true;
        if self.probe { self.breaker.succeeded(self.spell) } else { None }
    }

    /// The backend failed at the tick `now`. Returns the state that begins thereby, if one does.
    pub(crate) fn failed(mut self, now: u64) -> Option<BreakerState> {
        self.told = true;
        self.breaker.failed(self.spell, now)
    }
}

impl Drop for Admitted<'_> {
    /// A probe that nothing came of makes room for another.
    fn drop(&mut self) {
        if self.told || !self.probe {
            return;
        }
        let mut state = self.breaker.state();
        if state.spell == self.spell
            && let Phase::HalfOpen { probes, .. } = &mut state.phase
        {
            *probes -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Option<BreakerState> = Some(BreakerState::Open);
    const HALF: Option<BreakerState> = Some(BreakerState::HalfOpen);

    fn breaker() -> Breaker {
        Breaker::new(Rules {
            failure_threshold: 3,
            window: Duration::from_secs(60),
            recovery_timeout: Duration::from_secs(30),
            half_open_requests: 3,
            success_threshold: 2,
        })
    }

    fn pass(breaker: &Breaker, now: u64) -> Admitted<'_> {
        breaker.admit(now).expect("it lets through").0
    }

    fn opened(now: u64) -> Breaker {
        let breaker = breaker();
        for _ in 0..2 {
            assert_eq!(pass(&breaker, now).failed(now), None);
        }
        assert_eq!(pass(&breaker, now).failed(now), OPEN);
        breaker
    }

    #[test]
    fn breaker_opens_on_enough_failures_despite_successes_between() {
        let breaker = opened(1_000);
        assert_eq!(breaker.state_now(), BreakerState::Open);
        assert_eq!(breaker.admit(1_000).unwrap_err(), 250);
        assert_eq!(breaker.admit(1_249).unwrap_err(), 1);

        let breaker = self::breaker();
        for now in [0, 30_000, 60_001, 90_001] {
            assert_eq!(pass(&breaker, now).failed(now), None, "{now}");
            assert_eq!(pass(&breaker, now).succeeded(), None);
        }
        assert_eq!(pass(&breaker, 119_000).failed(119_000), OPEN, "60,001, 90,001 and now");
    }

    #[test]
    fn failures_that_overlap_are_one_and_a_chain_of_them_is_not() {
        let breaker = breaker();
        for stall in 0..2 {
            let now = stall * 1_000;
            let together: Vec<_> = (0..32).map(|_| pass(&breaker, now)).collect();
            for (pass, late) in together.into_iter().zip(100..) {
                assert_eq!(pass.failed(now + late), None, "32 callers of stall {stall}");
            }
        }
        assert_eq!(pass(&breaker, 5_000).failed(5_000), OPEN, "the third event");

        // Each begins before the last has failed, so that there is never a moment without one under way.
        let breaker = self::breaker();
        let (mut last, mut events) = (pass(&breaker, 0), 0);
        while breaker.state_now() == BreakerState::Closed {
            events += 1;
            let next = pass(&breaker, events * 100 - 50);
            let _ = last.failed(events * 100);
            last = next;
        }
        assert_eq!(events, 5, "every second one began after a failure was known");
    }

    #[test]
    fn few_probes_are_let_through_and_enough_successes_close_it() {
        let breaker = opened(0);
        let (first, begun) = breaker.admit(250).unwrap();
        assert_eq!(begun, HALF);
        let (second, third) = (pass(&breaker, 250), pass(&breaker, 250));
        assert_eq!(breaker.admit(250).unwrap_err(), 0, "three at once");
        drop(third);
        let third = pass(&breaker, 250);
        assert_eq!(first.succeeded(), None);
        assert_eq!(second.succeeded(), Some(BreakerState::Closed));
        assert_eq!(third.failed(251), None, "it was of the half-open spell");
        for _ in 0..2 {
            assert_eq!(pass(&breaker, 252).failed(252), None, "failures of before are forgotten");
        }
        assert_eq!(pass(&breaker, 300).failed(300), OPEN);
        assert_eq!(breaker.admit(300).unwrap_err(), 250, "and so is how long it was open");
    }

    #[test]
    fn breaker_doubles_its_pause_per_failed_probe_up_to_a_limit() {
        let breaker = opened(0);
        let mut now = 0;
        for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert_eq!(breaker.admit(now).unwrap_err(), pause);
            now += pause;
            let (first, second) = (pass(&breaker, now), pass(&breaker, now));
            assert_eq!(first.succeeded(), None, "successes are counted anew");
            assert_eq!(second.failed(now), OPEN);
        }
    }

    #[test]
    fn it_is_never_open_for_longer_than_it_may() {
        let rules = Rules { recovery_timeout: Duration::from_millis(100), ..breaker().rules };
        let breaker = Breaker::new(Rules { failure_threshold: 1, ..rules });
        assert_eq!(pass(&breaker, 0).failed(0), OPEN);
        assert_eq!(breaker.admit(0).unwrap_err(), 100);
        assert_eq!(pass(&breaker, 100).failed(100), OPEN);
        assert_eq!(breaker.admit(100).unwrap_err(), 100);
    }

    #[test]
    fn late_results_of_an_earlier_spell_say_nothing() {
        let breaker = breaker();
        let late: Vec<_> = (0..6).map(|_| pass(&breaker, 0)).collect();
        for _ in 0..3 {
            let _ = pass(&breaker, 0).failed(0);
        }
        let mut late = late.into_iter();
        assert_eq!(late.next().unwrap().failed(1), None);
        let probe = pass(&breaker, 30_000);
        assert_eq!(late.next().unwrap().failed(30_000), None, "the probe is still out");
        assert_eq!(late.next().unwrap().succeeded(), None);
        assert_eq!(probe.succeeded(), None);
        assert_eq!(pass(&breaker, 30_000).succeeded(), Some(BreakerState::Closed));
        for pass in late {
            assert_eq!(pass.failed(30_001), None, "three failures of before");
        }
        assert_eq!(breaker.state_now(), BreakerState::Closed);
    }
}
