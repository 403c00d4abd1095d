//! Counters, one stripe per thread.
//!
//! The first [`STRIPES`] live threads own a stripe each, so a count is a plain load and store; further threads share
//! one stripe by atomic addition. Nothing is lost either way.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{BreakerState, Event, Outcome, Tier};

const STRIPES: usize = 64;
/// What a cache has done since it was built.
///
/// [`calls`](Stats::calls) is the sum of the seven outcomes; the other counters stand beside them. All are zero where the
/// intent keeps no stats. A snapshot: counts of calls under way may be missing.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
/// for id in [1, 2, 1] {
///     users.get_or_compute(id, move || async move { Ok::<_, std::io::Error>(id) }).await?;
/// }
/// let stats = users.stats();
/// assert_eq!((stats.computed, stats.l1_hits, stats.calls()), (2, 1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Calls answered by a fresh value in process memory.
    pub l1_hits: u64,
    /// Calls answered by the backend.
    pub l2_hits: u64,
    /// Calls answered by a stale value.
    pub stale: u64,
    /// Calls answered by the computation they started.
    pub computed: u64,
    /// Calls answered by a flight another call started.
    pub joined: u64,
    /// Reads without a computation that found nothing.
    pub absent: u64,
    /// Calls that returned an error.
    pub failed: u64,
    /// Computations that ended with a value, those in the background included.
    pub computations: u64,
    /// Computations that ended without a value.
    pub computations_failed: u64,
    /// Computed values not stored because of an invalidation, a deadline or a lost lease.
    pub fenced: u64,
    /// Backend operations that failed.
    pub backend_failures: u64,
    /// Backend operations that were not tried: the breaker was open, or too many were under way.
    pub refused: u64,
    /// Times that the circuit breaker opened, or that of a part of the backend.
    pub breaker_opened: u64,
    /// Stored entries that could not be used.
    pub unreadable: u64,
    /// Values returned but not stored.
    pub not_stored: u64,
    /// Warnings about the configuration, each counted once.
    pub warnings: u64,
    /// Changes that the backend did not take and that are not tried again.
    pub given_up: u64,
    /// Times that messages of other processes may have been lost.
    pub gaps: u64,
    /// Calls that went by L1 because it is paused.
    pub l1_bypassed: u64,
    /// Calls that went by the backend because it is paused.
    pub l2_bypassed: u64,
    /// How stale what L1 answered may have been. Kept where there is a
    /// [`max_staleness`](crate::CacheBuilder::max_staleness).
    pub staleness: Staleness,
}

impl std::ops::Add for Stats {
    type Output = Self;

    /// What two parts of a program have done together.
    fn add(self, other: Self) -> Self {
        Self {
            l1_hits: self.l1_hits + other.l1_hits,
            l2_hits: self.l2_hits + other.l2_hits,
            stale: self.stale + other.stale,
            computed: self.computed + other.computed,
            joined: self.joined + other.joined,
            absent: self.absent + other.absent,
            failed: self.failed + other.failed,
            computations: self.computations + other.computations,
            computations_failed: self.computations_failed + other.computations_failed,
            fenced: self.fenced + other.fenced,
            backend_failures: self.backend_failures + other.backend_failures,
            refused: self.refused + other.refused,
            breaker_opened: self.breaker_opened + other.breaker_opened,
            unreadable: self.unreadable + other.unreadable,
            not_stored: self.not_stored + other.not_stored,
            warnings: self.warnings + other.warnings,
            given_up: self.given_up + other.given_up,
            gaps: self.gaps + other.gaps,
            l1_bypassed: self.l1_bypassed + other.l1_bypassed,
            l2_bypassed: self.l2_bypassed + other.l2_bypassed,
            staleness: Staleness(std::array::from_fn(|bucket| self.staleness.0[bucket] + other.staleness.0[bucket])),
        }
    }
}

impl Stats {
    /// All calls answered: the sum of the seven outcomes.
    pub fn calls(&self) -> u64 {
        self.l1_hits + self.l2_hits + self.stale + self.computed + self.joined + self.absent + self.failed
    }
}

/// Answers of L1 by how long before this process last knew all that other processes had changed: the longest that a
/// value can have been out of date when it was returned.
///
/// # Examples
/// ```
/// # use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use cachekit::{CacheBuilder, Intent, backends::Memory};
/// let shared = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20));
/// let users = shared.namespace("users").max_staleness(Duration::from_secs(2)).build()?;
/// users.set(42, "Ada".to_string()).await?;
/// assert_eq!(users.get::<String>(42).await?.as_deref(), Some("Ada"));
/// let staleness = users.stats().staleness;
/// assert_eq!(staleness.iter().map(|(_, answers)| answers).sum::<u64>(), 1);
/// assert!(staleness.longest() <= Some(Duration::from_millis(2_047)));
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Staleness([u64; Staleness::BUCKETS]);

impl Staleness {
    /// Each is twice as wide as the one before; the last has no end.
    const BUCKETS: usize = 24;

    fn bucket(millis: u64) -> usize {
        (u64::BITS - millis.leading_zeros()).min(Self::BUCKETS as u32 - 1) as usize
    }

    /// The longest staleness of each bucket, and how many answers fell into it; the shortest first.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.0.iter().enumerate().map(|(bucket, answers)| (Self::limit(bucket), *answers))
    }

    /// The bound of the stalest answers, if there was any.
    pub fn longest(&self) -> Option<Duration> {
        self.0.iter().rposition(|answers| *answers > 0).map(Self::limit)
    }

    fn limit(bucket: usize) -> Duration {
        if bucket + 1 == Self::BUCKETS { Duration::MAX } else { Duration::from_millis((1 << bucket) - 1) }
    }
}

/// The live counters behind [`Stats`].
pub(crate) struct Counters {
    stripes: Box<[Stripe]>,
}

/// What is counted, beside how stale answers are.
#[derive(Debug, Clone, Copy)]
enum Counter {
    L1Hits,
    L2Hits,
    Stale,
    Computed,
    Joined,
    Absent,
    Failed,
    Computations,
    ComputationsFailed,
    Fenced,
    BackendFailures,
    Unreadable,
    NotStored,
    Warnings,
    Gaps,
    Refused,
    BreakerOpened,
    L1Bypassed,
    L2Bypassed,
    /// The last: [`COUNTERS`] has room for as many.
    GivenUp,
}

const COUNTERS: usize = Counter::GivenUp as usize + 1;

#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    counts: [AtomicU64; COUNTERS],
    staleness: [AtomicU64; Staleness::BUCKETS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { stripes: (0..=STRIPES).map(|_| Stripe::default()).collect() }
    }
}

impl Counters {
    #[inline]
    pub(crate) fn outcome(&self, outcome: Outcome) {
        self.add(match outcome {
            Outcome::L1Hit => Counter::L1Hits,
            Outcome::L2Hit => Counter::L2Hits,
            Outcome::Stale => Counter::Stale,
            Outcome::Computed => Counter::Computed,
            Outcome::Joined => Counter::Joined,
            Outcome::Absent => Counter::Absent,
            Outcome::Failed => Counter::Failed,
        });
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
        let count = |counter: Counter| sum(&|stripe| &stripe.counts[counter as usize]);
        Stats {
            l1_hits: count(Counter::L1Hits),
            l2_hits: count(Counter::L2Hits),
            stale: count(Counter::Stale),
            computed: count(Counter::Computed),
            joined: count(Counter::Joined),
            absent: count(Counter::Absent),
            failed: count(Counter::Failed),
            computations: count(Counter::Computations),
            computations_failed: count(Counter::ComputationsFailed),
            fenced: count(Counter::Fenced),
            backend_failures: count(Counter::BackendFailures),
            unreadable: count(Counter::Unreadable),
            not_stored: count(Counter::NotStored),
            warnings: count(Counter::Warnings),
            gaps: count(Counter::Gaps),
            refused: count(Counter::Refused),
            breaker_opened: count(Counter::BreakerOpened),
            given_up: count(Counter::GivenUp),
            l1_bypassed: count(Counter::L1Bypassed),
            l2_bypassed: count(Counter::L2Bypassed),
            staleness: Staleness(std::array::from_fn(|bucket| sum(&|stripe| &stripe.staleness[bucket]))),
        }
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
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
