//! Settings: what was asked, each item optional.
//!
//! The builder's calls, the environment and the intent each fill a `Settings`; [`Settings::or`] lays them over one
//! another, and `decide` turns the result into a [`Policy`](super::Policy).

use std::time::Duration;

use super::{Grace, Overload, Tracing};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What a builder, an environment or a preset asks for. `None` leaves the question to the next in line.
        ///
        /// The defaults below hold where nobody in line says anything; most intents do. This version checks, and does
        /// not act on, what is said about metrics.
        ///
        /// # Examples
        /// ```
        /// use std::time::Duration;
        /// use cachekit::Settings;
        /// let mut preset = Settings::default();
        /// preset.swr_enabled = Some(false);
        /// let mut explicit = Settings::default();
        /// explicit.ttl = Some(Duration::from_secs(5));
        /// let both = explicit.or(preset);
        /// assert_eq!((both.ttl, both.swr_enabled), (Some(Duration::from_secs(5)), Some(false)));
        /// ```
        #[derive(Debug, Clone, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl Settings {
            /// These settings, with `other` where they say nothing.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }
        }
    };
}

settings! {
    /// How long an entry lives, above zero and up to 3,650 days. Default 3,600 s.
    ttl: Duration,
    /// How long a `None` lives. Default: as any value.
    negative_ttl: Duration,
    /// How long after expiry an entry may stand in for a failing computation. Default none.
    stale_if_error: Grace,
    /// Whether stale entries are served while they are renewed. Default true.
    swr_enabled: bool,
    /// The share of its TTL after which an entry is stale, 0.1..=1.0. Default 0.5.
    swr_threshold_ratio: f64,
    /// Whether entries end up to a tenth of their TTL early, each at a time of its own. Default true.
    jitter: bool,
    /// When to answer with an older value while a computation goes on; less than `deadline`. Default never.
    soft_timeout: Duration,
    /// When to give a computation up. Default 60 s.
    deadline: Duration,
    /// How long to leave a failing computation alone while an older value stands in. Default 10 s.
    throttle: Duration,
    /// The longest one backend operation may take. Default: as the backend's own limits let it, 5 s for most.
    operation_timeout: Duration,
    /// How often a backend operation is tried again that the backend was not there for and that may be carried out
    /// twice, 0..=10. Retries are a tenth of all operations at most, and within `operation_timeout`. Default 1.
    retries: u32,
    /// Whether callers wait for the backend's write. Default: not unless `background` is false.
    wait_for_write: bool,
    /// Whether work may go on after the answer. Default true.
    background: bool,
    /// The largest value that is cached, in bytes: as it is stored, before it is compressed, and what its collections take
    /// in memory. A larger one is returned and not stored; one that is found in the backend is a miss, and reading stops
    /// there. Default 104,857,600.
    max_value_size: u64,
    /// The size above which stored values are split, in MB of 1,048,576 bytes. Default 50.
    max_chunk_size_mb: f64,
    /// Whether there is an L1. Default true.
    l1_enabled: bool,
    /// The size of L1 in MB of 1,048,576 bytes, at least 1. Default 100.
    l1_max_size_mb: f64,
    /// Flights under way at once on each tokio runtime, 1..=1,000,000. A flight is what one key's callers wait for: the
    /// read of the backend, the computation, the write; a hit in L1 needs none. Default 16,384.
    ///
    /// Further ones wait in line; callers of their keys share them, and wait as long as for a computation. What a
    /// computation itself asks for does not wait, because the computation would keep its place meanwhile: for that there
    /// are as many places again, and 16 at least. The cache knows such calls as [`Context`](crate::Context) says; one
    /// that it does not know waits in line while its computation keeps a place, until the deadline at worst.
    max_flights: usize,
    /// Flights that wait in line on each tokio runtime, 0..=1,000,000. One takes about 2.5 KiB beside what its
    /// callers take. Default 100,000.
    max_queued_flights: usize,
    /// What becomes of callers beyond both. Default [`Overload::Refuse`].
    overload: Overload,
    /// Background renewals at once, 1..=1,000,000 and never more than `max_flights`. Default 256.
    max_refreshes: usize,
    /// Whether processes agree by leases on who computes. Default true, where the backend has leases.
    leases: bool,
    /// How long a lease outlives a process that died while it computed. It is renewed each third of that for as long as
    /// the computation runs. Where operations take longer than an eighth of it, a lease holds for eight of them, up to
    /// 30 s: it is to span its own request, a read and the write. Default 1.5 s.
    lease_hold: Duration,
    /// How long to wait for another process's value. Default 5 s.
    lease_wait: Duration,
    /// Whether other processes are told what to forget. Default true, where the backend has a bus.
    invalidation_enabled: bool,
    /// The longest that L1 is believed without hearing of what other processes change, at least 100 ms. Default: for
    /// ever.
    max_staleness: Duration,
    /// Whether a ledger in the backend says what was forgotten by namespace and by tag. Default true.
    namespace_index: bool,
    /// Whether there is a circuit breaker. Default true.
    breaker_enabled: bool,
    /// Failures within 60 s that open the breaker, at least 1. Failures that overlap in time are one: those of all
    /// operations that began before the first of them was known. Default 5.
    failure_threshold: u32,
    /// How long the breaker stays open at most. The first probe comes after a quarter of a second; each that fails
    /// doubles the time until the next, up to this. Default 30 s.
    recovery_timeout: Duration,
    /// Probes while half open. Default 3; at least `success_threshold`.
    half_open_requests: u32,
    /// Successful probes that close the breaker, at least 1. Default 3.
    success_threshold: u32,
    /// Whether the operation timeout follows the measured latency. Default true.
    adaptive_timeout_enabled: bool,
    /// The adaptive timeout while there are fewer than 10 samples, within its two bounds. Default 1 s.
    adaptive_initial: Duration,
    /// The shortest adaptive timeout. Default 0.1 s.
    adaptive_min: Duration,
    /// The longest adaptive timeout. Default 5 s.
    adaptive_max: Duration,
    /// Latencies the adaptive timeout remembers, 10..=100,000. Default 1,000.
    adaptive_window: usize,
    /// The percentile of these that is multiplied by 1.5, above 0 and up to 100. Default 95.
    adaptive_percentile: f64,
    /// Whether concurrent backend operations are bounded. Default true.
    backpressure_enabled: bool,
    /// Backend operations that run at once, 1..=1,000,000. Default: as many as the backend is made for, 100 for most.
    max_concurrent: usize,
    /// Backend operations that wait for their turn, 0..=1,000,000. Default 1,000, or as many as `max_flights` if that is
    /// more. What is written behind its callers' answers is not counted: it waits as long as it takes, until 64 MiB wait.
    max_queued: usize,
    /// How long they wait at most while the queue stands still. While it moves, they wait up to `operation_timeout`.
    /// Default 0.1 s.
    queue_wait: Duration,
    /// Whether outcomes are counted. Default true.
    stats: bool,
    /// What `tracing` is told, with feature `tracing`. Default [`Tracing::On`].
    tracing: Tracing,
    /// Whether metrics are kept. Default true.
    metrics: bool,
    /// Whether values above the threshold are compressed. Default true.
    compression_enabled: bool,
    /// The zlib level, 1..=9. Default 6.
    compression_level: u32,
    /// Whether an entry that a confidential codec finds not authentic is kept and reported as an error, instead of
    /// being a miss and computed again. Default false.
    fail_closed: bool,
    /// Whether keys are stored as hashes, so that the backend does not see names. Default false.
    hashed_keys: bool,
    /// A number that makes entries of other numbers misses. Default 0.
    schema_version: u32,
}
