//! Health: which servers to ask, as a state machine.
//!
//! A server that does not answer in time is doubted: it is asked as ever, until it has been silent for a second. One
//! that fails is left alone for a second, then tried again by one operation. After so many more failures it is dead,
//! and its keys move to the others; after a minute one operation tries it again. Where no other is alive, keys have
//! nowhere to go, and a dead server is tried every second.
//!
//! Operations that were sent out before a change of state say nothing about the state after it, so a thousand that fail
//! together are one failure.

/// How long a failing server is left alone, in milliseconds.
pub(super) const PAUSE: u64 = 1_000;
/// How long a dead server's keys are others', in milliseconds.
pub(super) const DEATH: u64 = 60_000;

/// What is known of one server. Times are ticks in milliseconds.
#[derive(Debug)]
pub(super) struct Health {
    state: State,
    /// How many more failures are one too many.
    attempts: u32,
    /// Counts the changes of state.
    era: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Not answering in time, since then.
    Doubted {
        since: u64,
    },
    Failing {
        failures: u32,
        next: u64,
    },
    /// `next` is when it may be tried if no other server is alive.
    Dead {
        until: u64,
        next: u64,
    },
}

/// Whether an operation may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may; what becomes of it is to be told of this era.
    Go(u64),
    /// It may if the server proves first that it is back.
    Prove(u64),
    /// Not for so many milliseconds.
    Wait(u64),
}

impl Health {
    pub(super) fn new(attempts: u32) -> Self {
        Self { state: State::Well, attempts, era: 0 }
    }

    pub(super) fn is_well(&self) -> bool {
        self.state == State::Well
    }

    /// Whether its keys are others' at the tick `now`. One that is due to be tried is not, until a task tries.
    pub(super) fn is_away(&self, now: u64) -> bool {
        matches!(self.state, State::Dead { until, .. } if now < until)
    }

    /// Asks to send an operation at the tick `now`. A task that may try a server that failed is the only one for a while.
    /// `alone` says that no other server is alive.
    pub(super) fn ask(&mut self, now: u64, alone: bool) -> Verdict {
        match self.state {
            State::Well | State::Doubted { .. } => Verdict::Go(self.era),
            State::Failing { failures, next } => {
                if now < next {
                    return Verdict::Wait(next - now);
                }
                self.state = State::Failing { failures, next: now + PAUSE };
                Verdict::Go(self.era)
            }
            State::Dead { until, next } => {
                let due = if alone { next.min(until) } else { until };
                if now < due {
                    return Verdict::Wait(due - now);
                }
                self.state = State::Dead { until: now + DEATH, next: now + PAUSE };
                Verdict::Prove(self.era)
            }
        }
    }

    /// An operation of this era succeeded.
    pub(super) fn succeeded(&mut self, era: u64) {
        if era == self.era && !self.is_well() {
            self.change(State::Well);
        }
    }

    /// An operation of this era was not answered in time, at the tick `now`. Returns whether the server is left alone
    /// for it, or was before.
    pub(super) fn silent(&mut self, era: u64, now: u64) -> bool {
        let since = match self.state {
            State::Well => now,
            State::Doubted { since } if now < since + PAUSE => since,
            _ => return self.failed(era, now),
        };
        if era == self.era {
            self.change(State::Doubted { since });
        }
        false
    }

    /// An operation of this era failed at the tick `now`. Returns whether that says something new.
    pub(super) fn failed(&mut self, era: u64, now: u64) -> bool {
        if era != self.era {
            return false;
        }
        let failures = match self.state {
            State::Well | State::Doubted { .. } => 0,
            State::Failing { failures, .. } => failures + 1,
            State::Dead { .. } => self.attempts,
        };
        let next = now + PAUSE;
        self.change(match failures < self.attempts {
            true => State::Failing { failures, next },
            false => State::Dead { until: now + DEATH, next },
        });
        true
    }

    /// The number of the state it is in.
    pub(super) fn era(&self) -> u64 {
        self.era
    }

    /// Whether its keys are others', but for the one operation that tries it.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead { .. })
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails at `now`, being asked for it.
    fn fail(health: &mut Health, now: u64) {
        match health.ask(now, false) {
            Verdict::Go(era) | Verdict::Prove(era) => assert!(health.failed(era, now)),
            wait @ Verdict::Wait(_) => panic!("{wait:?} at {now}"),
        }
    }

    #[test]
    fn it_dies_after_the_attempts_and_returns_after_a_minute() {
        let mut health = Health::new(2);
        fail(&mut health, 0);
        assert_eq!(health.ask(1, false), Verdict::Wait(999));
        assert!(!health.is_away(999));
        fail(&mut health, 1_000);
        assert_eq!(health.ask(1_999, false), Verdict::Wait(1));
        fail(&mut health, 2_000);
        assert!(health.is_dead() && health.is_away(2_000) && health.is_away(61_999));
        assert_eq!(health.ask(61_999, false), Verdict::Wait(1));
        assert!(!health.is_away(62_000));
        let Verdict::Prove(era) = health.ask(62_000, false) else { panic!("it is due") };
        assert!(health.is_away(62_000), "while one tries, its keys are still others'");
        health.succeeded(era);
        assert!(health.is_well() && !health.is_away(62_000));
        assert!(matches!(health.ask(62_001, false), Verdict::Go(_)));
    }

    #[test]
    fn a_server_that_is_silent_for_a_moment_is_asked_as_ever() {
        let mut health = Health::new(2);
        for now in [0, 100, 200, 999] {
            let Verdict::Go(era) = health.ask(now, false) else { panic!("it is not left alone at {now}") };
            assert!(!health.silent(era, now) && !health.silent(era, now + 1));
        }
        let Verdict::Go(era) = health.ask(999, false) else { panic!("nor then") };
        health.succeeded(era);
        assert!(health.is_well());

        for now in [2_000, 2_500] {
            let Verdict::Go(era) = health.ask(now, false) else { panic!("not yet") };
            assert!(!health.silent(era, now));
        }
        let Verdict::Go(era) = health.ask(3_000, false) else { panic!("not yet") };
        assert!(health.silent(era, 3_000), "it has been silent for a second");
        assert_eq!(health.ask(3_001, false), Verdict::Wait(999));
        let Verdict::Go(era) = health.ask(4_000, false) else { panic!("it is due") };
        assert!(health.silent(era, 4_000) && health.ask(4_001, false) == Verdict::Wait(999), "and goes on");
    }

    #[test]
    fn without_attempts_the_first_failure_is_death() {
        let mut health = Health::new(0);
        fail(&mut health, 5);
        assert!(health.is_away(5));
    }

    #[test]
    fn a_success_forgives_all_failures() {
        let mut health = Health::new(2);
        for round in 0..5 {
            fail(&mut health, round * 10_000);
            fail(&mut health, round * 10_000 + 1_000);
            let Verdict::Go(era) = health.ask(round * 10_000 + 2_000, false) else { panic!("it is due") };
            health.succeeded(era);
            assert!(health.is_well());
        }
    }

    #[test]
    fn failures_that_were_under_way_together_are_one() {
        let mut health = Health::new(1);
        let Verdict::Go(era) = health.ask(0, false) else { panic!("it is well") };
        assert!(health.failed(era, 10));
        assert!(!health.failed(era, 11) && !health.failed(era, 5_000));
        assert!(!health.is_dead());
        health.succeeded(era);
        assert!(!health.is_well(), "what was under way before says nothing");
    }

    #[test]
    fn one_operation_at_a_time_tries_a_failing_server() {
        let mut health = Health::new(2);
        fail(&mut health, 0);
        assert!(matches!(health.ask(1_000, false), Verdict::Go(_)));
        assert_eq!(health.ask(1_000, false), Verdict::Wait(1_000));
        // The one that tries may be dropped before it can tell.
        assert!(matches!(health.ask(2_000, false), Verdict::Go(_)));
    }

    #[test]
    fn the_last_one_is_tried_every_second_even_if_dead() {
        let mut health = Health::new(0);
        fail(&mut health, 0);
        assert_eq!(health.ask(999, true), Verdict::Wait(1));
        assert!(matches!(health.ask(1_000, true), Verdict::Prove(_)));
        assert_eq!(health.ask(1_000, true), Verdict::Wait(1_000));
    }

    #[test]
    fn a_dead_server_that_fails_again_stays_dead_for_another_minute() {
        let mut health = Health::new(0);
        fail(&mut health, 0);
        fail(&mut health, 60_000);
        assert!(health.is_away(119_999) && !health.is_away(120_000));
    }
}
