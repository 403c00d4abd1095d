//! What a cache has done, in numbers.

use std::time::Duration;

use super::MissReason;

/// Declares every counter once: of its rows come the fields of [`Stats`], their sum, their names, and the cells that
/// count.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $counter:ident;)*) => {
        /// What a cache has done since it was built.
        ///
        /// [`calls`](Stats::calls) is the sum of the seven outcomes; the other counters stand beside them, and
        /// [`iter`](Stats::iter) names them all. All are zero where the
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
            $($(#[$doc])* pub $field: u64,)*
            /// How stale what L1 answered may have been. Kept where there is a
            /// [`max_staleness`](crate::CacheBuilder::max_staleness).
            pub staleness: Staleness,
        }

        impl std::ops::Add for Stats {
            type Output = Self;

            /// What two parts of a program have done together.
            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field + other.$field,)* staleness: self.staleness + other.staleness }
            }
        }

        impl std::ops::Sub for Stats {
            type Output = Self;

            /// What was done between two moments: the later less the earlier.
            fn sub(self, earlier: Self) -> Self {
                Self {
                    $($field: self.$field.saturating_sub(earlier.$field),)*
                    staleness: self.staleness - earlier.staleness,
                }
            }
        }

        impl Stats {
            /// Each counter by its name, which is that of its field, in the order of the fields: for programs that hand
            /// them on to a metrics system. All of them only grow.
            ///
            /// # Examples
            /// ```
            /// # let users = cachekit::CacheBuilder::new().namespace("users").build()?;
            /// for (name, count) in users.stats().iter() {
            ///     println!("cachekit_{name}_total {count}");
            /// }
            /// assert_eq!(users.stats().iter().next(), Some(("l1_hits", 0)));
            /// # Ok::<(), cachekit::Error>(())
            /// ```
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }

            /// What `count` says of each counter.
            pub(super) fn of(count: impl Fn(Counter) -> u64, staleness: Staleness) -> Self {
                Self { $($field: count(Counter::$counter),)* staleness }
            }
        }

        /// What is counted, beside how stale answers are.
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Counter {
            $($counter,)*
        }

        /// How many there are.
        pub(super) const COUNTERS: usize = [$(Counter::$counter,)*].len();
    };
}

counters! {
    /// Calls answered by a fresh value in process memory.
    l1_hits: L1Hits;
    /// Calls answered by the backend.
    l2_hits: L2Hits;
    /// Calls answered by a stale value.
    stale: Stale;
    /// Calls answered by the computation they started.
    computed: Computed;
    /// Calls answered by a flight another call started.
    joined: Joined;
    /// Reads without a computation that found nothing.
    absent: Absent;
    /// Calls that returned an error.
    failed: Failed;
    /// Computations that ended with a value, those in the background included.
    computations: Computations;
    /// Computations that ended without a value.
    computations_failed: ComputationsFailed;
    /// Computed values not stored because of an invalidation, a deadline or a lost lease.
    fenced: Fenced;
    /// Backend operations that failed.
    backend_failures: BackendFailures;
    /// Backend operations that were not tried: the breaker was open, or too many were under way.
    refused: Refused;
    /// Times that the circuit breaker opened, or that of a part of the backend.
    breaker_opened: BreakerOpened;
    /// Stored entries that could not be used.
    unreadable: Unreadable;
    /// Values returned but not stored.
    not_stored: NotStored;
    /// Warnings about the configuration, each counted once.
    warnings: Warnings;
    /// Changes that the backend did not take and that are not tried again.
    given_up: GivenUp;
    /// Times that messages of other processes may have been lost.
    gaps: Gaps;
    /// Calls that went by L1 because it is paused.
    l1_bypassed: L1Bypassed;
    /// Calls that went by the backend because it is paused.
    l2_bypassed: L2Bypassed;
    /// Misses of whose key nothing was known: [`MissReason::New`](crate::MissReason::New).
    missed_new: MissedNew;
    /// Misses whose entry L1 had given up for others: [`MissReason::Evicted`](crate::MissReason::Evicted).
    missed_evicted: MissedEvicted;
    /// Misses whose entry had expired: [`MissReason::Expired`](crate::MissReason::Expired).
    missed_expired: MissedExpired;
    /// Misses whose entry has a tag that was invalidated: [`MissReason::Tag`](crate::MissReason::Tag).
    missed_tag: MissedTag;
    /// Misses whose domain was invalidated: [`MissReason::Domain`](crate::MissReason::Domain).
    missed_domain: MissedDomain;
    /// Misses whose namespace was invalidated: [`MissReason::Namespace`](crate::MissReason::Namespace).
    missed_namespace: MissedNamespace;
    /// Misses whose entry a change overtook: [`MissReason::Fenced`](crate::MissReason::Fenced).
    missed_fenced: MissedFenced;
    /// Misses whose entry L1 did not believe: [`MissReason::Doubted`](crate::MissReason::Doubted).
    missed_doubted: MissedDoubted;
    /// Misses whose entry is of another type: [`MissReason::Schema`](crate::MissReason::Schema).
    missed_schema: MissedSchema;
    /// Misses whose entry was written by another codec stack: [`MissReason::Stack`](crate::MissReason::Stack).
    missed_stack: MissedStack;
    /// Misses whose entry could not be read: [`MissReason::Unreadable`](crate::MissReason::Unreadable).
    missed_unreadable: MissedUnreadable;
    /// Misses whose entry was not authentic: [`MissReason::Unauthentic`](crate::MissReason::Unauthentic).
    missed_unauthentic: MissedUnauthentic;
    /// Misses while a tier was paused: [`MissReason::Paused`](crate::MissReason::Paused).
    missed_paused: MissedPaused;
    /// Misses that asked for neither tier: [`MissReason::Skipped`](crate::MissReason::Skipped).
    missed_skipped: MissedSkipped;
    /// Misses for which the backend was not asked, to spare it: [`MissReason::Refused`](crate::MissReason::Refused).
    missed_refused: MissedRefused;
    /// Misses for which the backend failed: [`MissReason::BackendFailed`](crate::MissReason::BackendFailed).
    missed_backend_failed: MissedBackendFailed;
}

impl Stats {
    /// All calls answered: the sum of the seven outcomes.
    pub fn calls(&self) -> u64 {
        self.l1_hits + self.l2_hits + self.stale + self.computed + self.joined + self.absent + self.failed
    }

    /// How often neither tier had a fresh value, for whatever [reason](crate::MissReason).
    ///
    /// One for each flight that computes for a caller, and for each `get` that finds nothing. So calls that
    /// [`joined`](Self::joined) a flight add none, and one whose caller leaves before the answer does.
    pub fn misses(&self) -> u64 {
        MissReason::ALL.iter().map(|reason| self.count(*reason)).sum()
    }

    /// What counts an outcome, or a reason.
    pub(crate) fn count(&self, of: impl Into<Counter>) -> u64 {
        let number = of.into() as usize;
        self.iter().nth(number).map_or(0, |(_, count)| count)
    }

    /// The share of the calls that a tier has answered, stale answers included, 0 to 1. `None` before the first call.
    ///
    /// That of the last minute, say, is the one of the difference between two of these.
    ///
    /// # Examples
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
    /// assert_eq!(users.stats().hit_ratio(), None);
    /// for id in [1, 1, 1, 2] {
    ///     users.get_or_compute(id, move || async move { Ok::<_, std::io::Error>(id) }).await?;
    /// }
    /// assert_eq!(users.stats().hit_ratio(), Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    pub fn hit_ratio(&self) -> Option<f64> {
        let (hits, calls) = (self.l1_hits + self.l2_hits + self.stale, self.calls());
        (calls > 0).then(|| hits as f64 / calls as f64)
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
pub struct Staleness(pub(super) [u64; Staleness::BUCKETS]);

impl Staleness {
    /// Each is twice as wide as the one before; the last has no end.
    pub(super) const BUCKETS: usize = 24;

    pub(super) fn bucket(millis: u64) -> usize {
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

impl std::ops::Add for Staleness {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|bucket| self.0[bucket] + other.0[bucket]))
    }
}

impl std::ops::Sub for Staleness {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self(std::array::from_fn(|bucket| self.0[bucket].saturating_sub(earlier.0[bucket])))
    }
}
