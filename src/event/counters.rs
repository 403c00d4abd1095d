//! Counters, one stripe per thread.
//!
//! The first [`STRIPES`] live threads own a stripe each, so a count is a plain load and store; further threads share
//! one stripe by atomic addition. Nothing is lost either way.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::stats::{COUNTERS, Counter, Staleness, Stats};
use super::{BreakerState, Event, MissReason, Outcome, Tier};

const STRIPES: usize = 64;

/// The live counters behind [`Stats`].
pub(crate) struct Counters {
    stripes: Box<[Stripe]>,
}

#[repr(align(128))]
struct Stripe {
    counts: [AtomicU64; COUNTERS],
    staleness: [AtomicU64; Staleness::BUCKETS],
}

impl Default for Stripe {
    fn default() -> Self {
        Self { counts: [const { AtomicU64::new(0) }; COUNTERS], staleness: Default::default() }
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self { stripes: (0..=STRIPES).map(|_| Stripe::default()).collect() }
    }
}

impl Counters {
    #[inline]
    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.add(outcome.into());
    }

    /// Counts an answer that may be so many milliseconds out of date.
    pub(crate) fn staleness(&self, millis: u64) {
        self.increment(|stripe| &stripe.staleness[Staleness::bucket(millis)]);
    }

    pub(crate) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Answered { outcome, .. } => self.outcome(*outcome),
            Event::Computed { succeeded: true, .. } => self.add(Counter::Computations),
            Event::Computed { .. } => self.add(Counter::ComputationsFailed),
            Event::Fenced { .. } => self.add(Counter::Fenced),
            Event::BackendFailed { .. } => self.add(Counter::BackendFailures),
            Event::Unreadable { .. } => self.add(Counter::Unreadable),
            Event::NotStored { .. } => self.add(Counter::NotStored),
            Event::Warning { .. } => self.add(Counter::Warnings),
            Event::Gap { .. } => self.add(Counter::Gaps),
            Event::Refused { .. } => self.add(Counter::Refused),
            Event::Breaker { state: BreakerState::Open, .. } => self.add(Counter::BreakerOpened),
            Event::Bypassed { tier: Tier::L1, .. } => self.add(Counter::L1Bypassed),
            Event::Bypassed { tier: Tier::L2, .. } => self.add(Counter::L2Bypassed),
            Event::Breaker { .. } | Event::Invalidated { .. } | Event::Switched { .. } => {}
            Event::GivenUp { .. } => self.add(Counter::GivenUp),
            Event::Missed { reason, .. } => self.add((*reason).into()),
        }
    }

    #[inline]
    fn add(&self, counter: Counter) {
        self.increment(|stripe| &stripe.counts[counter as usize]);
    }

    #[inline]
    fn increment(&self, cell: impl FnOnce(&Stripe) -> &AtomicU64) {
        let stripe = SEAT.try_with(|seat| seat.0).unwrap_or(STRIPES);
        let cell = cell(&self.stripes[stripe]);
        if stripe < STRIPES {
            cell.store(cell.load(Relaxed) + 1, Relaxed);
        } else {
            cell.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Stats {
        let sum =
            |cell: &dyn Fn(&Stripe) -> &AtomicU64| self.stripes.iter().map(|stripe| cell(stripe).load(Relaxed)).sum();
        let staleness = Staleness(std::array::from_fn(|bucket| sum(&|stripe| &stripe.staleness[bucket])));
        Stats::of(|counter| sum(&|stripe| &stripe.counts[counter as usize]), staleness)
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}

impl From<Outcome> for Counter {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::L1Hit => Self::L1Hits,
            Outcome::L2Hit => Self::L2Hits,
            Outcome::Stale => Self::Stale,
            Outcome::Computed => Self::Computed,
            Outcome::Joined => Self::Joined,
            Outcome::Absent => Self::Absent,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl From<MissReason> for Counter {
    fn from(reason: MissReason) -> Self {
        match reason {
            MissReason::New => Self::MissedNew,
            MissReason::Evicted => Self::MissedEvicted,
            MissReason::Expired => Self::MissedExpired,
            MissReason::Tag => Self::MissedTag,
            MissReason::Domain => Self::MissedDomain,
            MissReason::Namespace => Self::MissedNamespace,
            MissReason::Fenced => Self::MissedFenced,
            MissReason::Doubted => Self::MissedDoubted,
            MissReason::Schema => Self::MissedSchema,
            MissReason::Stack => Self::MissedStack,
            MissReason::Unreadable => Self::MissedUnreadable,
            MissReason::Unauthentic => Self::MissedUnauthentic,
            MissReason::Paused => Self::MissedPaused,
            MissReason::Skipped => Self::MissedSkipped,
            MissReason::Refused => Self::MissedRefused,
            MissReason::BackendFailed => Self::MissedBackendFailed,
        }
    }
}

/// The stripe a thread owns until it ends; [`STRIPES`] means the shared one.
struct Seat(usize);

static FREE: Mutex<Seats> = Mutex::new(Seats { next: 0, returned: Vec::new() });

struct Seats {
    next: usize,
    returned: Vec<usize>,
}

thread_local!(static SEAT: Seat = Seat::take());

impl Seat {
    fn take() -> Self {
        let Ok(mut seats) = FREE.lock() else { return Self(STRIPES) };
        if let Some(seat) = seats.returned.pop() {
            return Self(seat);
        }
        let seat = seats.next.min(STRIPES);
        seats.next = (seat + 1).min(STRIPES);
        Self(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The lock orders this thread's last store before the next owner's first load.
        if self.0 < STRIPES
            && let Ok(mut seats) = FREE.lock()
        {
            seats.returned.push(self.0);
        }
    }
}
