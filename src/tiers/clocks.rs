//! The clocks that date entries.
//!
//! An entry carries its writer's wall-clock time, and clocks are ahead, behind, or set meanwhile. What the backend counts
//! down is the same for everybody. So the first entry of each clock is compared with it, and from then on one a minute;
//! while a clock agrees with this process's, its dates are believed. An entry of any other is as old as the backend says,
//! which costs two round trips for each that is read. Where the backend cannot tell, an entry from the future ages from the
//! moment at which this process first saw it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::Tiers;
use crate::backends::Backend;
use crate::clock::{Clock, millis};
use crate::codec::Codec;
use crate::error::{Error, ErrorKind};
use crate::guard::Guard;
use crate::key::Key;
use crate::random;
use crate::seal::Dates;

/// Milliseconds by which clocks may differ and still agree: as much as backends round a TTL up, twice.
const TOLERANCE: u64 = 2_000;
/// Milliseconds that the write of an entry may take, before which the backend does not count. A clock that is behind by
/// less only ends entries early.
const WRITE: u64 = 10_000;
/// Ticks for which a clock that agrees is believed.
const BELIEVED: u64 = 60_000;
/// The most clocks, and the most entries from the future, that are remembered.
const ROOM: usize = 4_096;

/// What this process knows of its own clock and of others.
#[derive(Debug)]
pub(super) struct Clocks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Names the clock of this process. Another name each time that it is set.
    own: u32,
    /// By how much the wall clock is past the ticks.
    past: u64,
    /// Until which tick other clocks are believed.
    believed: HashMap<u32, u64>,
    /// Entries from the future, by the hash of the key and by when they say that they were made.
    seen: HashMap<(u64, u64), Sight>,
}

/// When an entry was first seen.
#[derive(Debug, Clone, Copy)]
struct Sight {
    at: u64,
    /// The tick from which the backend does not have it any more.
    gone: u64,
}

impl<B: Backend, C: Codec> Tiers<B, C> {
    /// The dates of an entry that was just read as `bytes`, by the clock of this process. `None` if the entry was
    /// replaced meanwhile, so that its age cannot be told.
    ///
    /// # Errors
    /// If the backend fails to say how much longer it keeps the entry: without that the entry may be of any age.
    pub(super) async fn by_own_clock(
        &self,
        guard: &Guard<B>,
        key: &Key,
        bytes: &Bytes,
        dates: Dates,
    ) -> Result<Option<Dates>, Error> {
        if self.l2.clocks.believes(&*self.clock, &dates) {
            return Ok(Some(dates));
        }
        let asked = self.clock.ticks();
        // Boxed: rare, and as deep as the backend.
        let left = match Box::pin(guard.ttl(key)).await {
            Ok(left) => left,
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                return Ok(Some(self.l2.clocks.compare(&*self.clock, key.hash64(), dates, None)));
            }
            Err(error) => return Err(error),
        };
        // It is the answer for these bytes only if they are still there.
        let is_there = Box::pin(guard.get(key)).await?.is_some_and(|again| again == *bytes);
        // Answers may be long on their way, and nothing tells when they were true.
        let waited = self.clock.ticks().saturating_sub(asked);
        let left = left.map(|left| millis(left).saturating_sub(waited));
        Ok(is_there.then(|| self.l2.clocks.compare(&*self.clock, key.hash64(), dates, Some(left))))
    }
}

impl Clocks {
    pub(super) fn new(clock: &dyn Clock) -> Self {
        let past = clock.wall().saturating_sub(clock.ticks());
        Self(Mutex::new(State { own: name(), past, ..State::default() }))
    }

    /// The name of this process's clock.
    pub(super) fn own(&self, clock: &dyn Clock) -> u32 {
        self.lock(clock).own
    }

    /// Whether dates need no comparison with the backend.
    fn believes(&self, clock: &dyn Clock, dates: &Dates) -> bool {
        let now = clock.wall();
        let possible = dates.created <= now.saturating_add(TOLERANCE)
            && now.saturating_sub(dates.created) <= dates.kept().saturating_add(TOLERANCE);
        let state = self.lock(clock);
        let agrees = || state.believed.get(&dates.clock).is_some_and(|until| clock.ticks() < *until);
        possible && (dates.clock == state.own || agrees())
    }

    /// Judges dates by how many milliseconds more the backend keeps the entry. `None` if it cannot tell.
    fn compare(&self, clock: &dyn Clock, key: u64, dates: Dates, left: Option<Option<u64>>) -> Dates {
        let (now, ticks, kept) = (clock.wall(), clock.ticks(), dates.kept());
        // An entry that is gone by now is over.
        let left = left.map(Option::unwrap_or_default).filter(|left| *left <= kept.saturating_add(TOLERANCE));
        let mut state = self.lock(clock);
        let Some(left) = left else {
            if dates.created <= now.saturating_add(TOLERANCE) {
                state.believe(dates.clock, ticks);
                return dates;
            }
            return dates.aged(state.age(key, &dates, ticks), now);
        };
        let age = kept.saturating_sub(left);
        let made = now.saturating_sub(age);
        if dates.created > made.saturating_add(TOLERANCE) || dates.created.saturating_add(WRITE) < made {
            return dates.aged(age, now);
        }
        state.believe(dates.clock, ticks);
        dates
    }

    fn lock(&self, clock: &dyn Clock) -> MutexGuard<'_, State> {
        let past = clock.wall().saturating_sub(clock.ticks());
        // Consistent between any two of its statements.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.past.abs_diff(past) > TOLERANCE / 2 {
            (state.own, state.past) = (name(), past);
            state.believed.clear();
        }
        state
    }
}

impl State {
    fn believe(&mut self, clock: u32, now: u64) {
        if self.believed.len() >= ROOM {
            self.believed.clear();
        }
        self.believed.insert(clock, now.saturating_add(BELIEVED));
    }

    /// How old an entry from the future is at the tick `now`, as far as this process has seen. Over, if there is no room
    /// to remember it.
    fn age(&mut self, key: u64, dates: &Dates, now: u64) -> u64 {
        if self.seen.len() >= ROOM {
            self.seen.retain(|_, sight| now < sight.gone);
        }
        let full = self.seen.len() >= ROOM;
        match self.seen.entry((key, dates.created)) {
            Entry::Occupied(sight) => now.saturating_sub(sight.get().at),
            Entry::Vacant(_) if full => dates.kept(),
            Entry::Vacant(slot) => {
                slot.insert(Sight { at: now, gone: now.saturating_add(dates.kept()) });
                0
            }
        }
    }
}

fn name() -> u32 {
    random::number() as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEPT: u64 = 660_000;

    fn dates(created: u64, clock: u32) -> Dates {
        Dates { created, fresh_for: 60_000, ttl: 60_000, grace: KEPT - 60_000, own_grace: false, clock }
    }

    fn left(millis: u64) -> Option<Option<u64>> {
        Some(Some(millis))
    }

    /// A clock that shows what it is told.
    #[derive(Debug)]
    struct Shown {
        wall: u64,
        ticks: u64,
    }

    impl Clock for Shown {
        fn wall(&self) -> u64 {
            self.wall
        }
        fn ticks(&self) -> u64 {
            self.ticks
        }
        fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::pending())
        }
    }

    fn at(seconds: u64) -> Shown {
        Shown { wall: 1_000_000 + seconds * 1_000, ticks: seconds * 1_000 }
    }

    #[test]
    fn a_clock_that_agrees_is_believed_for_a_minute() {
        let (clocks, made) = (Clocks::new(&at(0)), dates(1_000_000, 7));
        assert!(!clocks.believes(&at(10), &made));
        assert_eq!(clocks.compare(&at(10), 1, made, left(KEPT - 9_000)), made, "rounded up by a second");
        assert!(clocks.believes(&at(10), &made) && clocks.believes(&at(69), &dates(1_060_000, 7)));
        assert!(!clocks.believes(&at(70), &dates(1_060_000, 7)));
        assert!(!clocks.believes(&at(10), &dates(1_000_000, 8)), "another clock");
        assert!(!clocks.believes(&at(10), &dates(1_013_000, 7)), "one that was set since");
        assert!(!clocks.believes(&at(10), &dates(1_010_000 - KEPT - 3_000, 7)), "or that was set back");
    }

    #[test]
    fn entry_of_a_disagreeing_clock_is_as_old_as_the_backend_says() {
        let clocks = Clocks::new(&at(0));
        for created in [8_200_000, 1_020_000, 1_000_000, 700_000] {
            let judged = clocks.compare(&at(50), 1, dates(created, 7), left(KEPT - 30_000));
            assert_eq!(judged, dates(1_020_000, 7), "made at {created}");
            assert_eq!(clocks.believes(&at(50), &judged), created == 1_020_000);
            clocks.lock(&at(50)).believed.clear();
        }
        let gone = clocks.compare(&at(50), 1, dates(8_200_000, 7), Some(None));
        assert_eq!(gone.left(gone.kept(), 1_050_000), 0);
    }

    #[test]
    fn entry_from_the_future_ages_from_its_first_sight_on() {
        let clocks = Clocks::new(&at(0));
        for untold in [None, left(KEPT + 7_200_000)] {
            let ahead = dates(8_200_000 + u64::from(untold.is_some()), 7);
            assert_eq!(clocks.compare(&at(10), 1, ahead, untold).created, 1_010_000);
            assert_eq!(clocks.compare(&at(69), 1, ahead, untold).created, 1_010_000);
            let past = dates(1_000_000, 7);
            assert_eq!(clocks.compare(&at(10), 1, past, untold), past);
            assert!(clocks.believes(&at(10), &past), "nothing speaks against it");
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_over_until_others_are_gone() {
        let clocks = Clocks::new(&at(0));
        let ahead = dates(8_200_000, 7);
        for key in 0..ROOM as u64 {
            assert_eq!(clocks.compare(&at(0), key, ahead, None).created, 1_000_000);
        }
        let over = clocks.compare(&at(1), u64::MAX, ahead, None);
        assert_eq!(over.left(over.kept(), 1_001_000), 0);
        assert_eq!(clocks.compare(&at(659), 1, ahead, None).created, 1_000_000, "one that was seen before");
        assert_eq!(clocks.compare(&at(660), u64::MAX, ahead, None).created, 1_660_000);
        assert_eq!(clocks.lock(&at(660)).seen.len(), 1);
    }

    #[test]
    fn clock_that_was_set_gets_a_new_name_and_trusts_no_other() {
        let clocks = Clocks::new(&at(0));
        let own = clocks.own(&at(100));
        assert!(clocks.believes(&at(100), &dates(1_090_000, own)));
        clocks.compare(&at(100), 1, dates(1_090_000, 7), left(KEPT - 10_000));
        let set = Shown { wall: 400_000, ticks: 100_000 };
        assert_ne!(clocks.own(&set), own);
        assert!(!clocks.believes(&set, &dates(390_000, own)) && !clocks.believes(&set, &dates(390_000, 7)));
        assert!(clocks.believes(&set, &dates(390_000, clocks.own(&set))));
    }
}
