//! The policy: what was decided.
//!
//! [`Settings`](super::Settings) say what was asked; `build` turns them into a policy, in which every question has
//! an answer. A policy holds no secret.

use std::time::Duration;

use super::setup::Setup;

/// How a cache behaves, after explicit calls, the environment, the intent and the defaults were weighed.
///
/// Read it with [`Cache::policy`](crate::Cache::policy).
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Intent};
/// let cache = CacheBuilder::from_environment(cachekit::Environment::from_vars([("CACHEKIT_DEFAULT_TTL", "1.5")]))
///     .intent(Intent::Test)
///     .l1_only()
///     .l1_max_size_mb(8.0)
///     .build()?;
/// let policy = cache.policy();
/// assert_eq!((policy.ttl.as_millis(), policy.l1_max_size, policy.jitter), (1_500, Some(8 << 20), false));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    /// How long an entry lives where the call does not say.
    pub ttl: Duration,
    /// How long a `None` lives, if not as long as any other value.
    pub negative_ttl: Option<Duration>,
    /// How long after its expiry an entry is kept as a fallback for failing computations.
    pub stale_if_error: Grace,
    /// The share of its TTL after which an entry is stale and renewed in the background; `None` turns that off.
    pub swr_threshold_ratio: Option<f64>,
    /// Whether entries that are stored at once end one after another: they expire up to a tenth of their TTL early, and
    /// become stale over a tenth of it.
    pub jitter: bool,
    /// How eagerly entries are renewed ahead of their end; 0 is not at all.
    pub xfetch_beta: f64,
    /// After this time a computation goes on in the background, if there is an older value to answer with.
    pub soft_timeout: Option<Duration>,
    /// After this time a computation is given up.
    pub deadline: Duration,
    /// After a failure that was answered with an older value, how long no new attempt is made for that key.
    pub throttle: Duration,
    /// How long the error of a computation is kept, if at all.
    pub error_ttl: Option<Duration>,
    /// The longest one backend operation may take.
    pub operation_timeout: Duration,
    /// How often a backend operation is tried again that the backend was not there for.
    pub retries: u32,
    /// Whether callers wait until the backend has stored what was computed for them.
    pub wait_for_write: bool,
    /// Whether the cache may work after it has answered.
    pub background: bool,
    /// Values above this many bytes, as stored, before compression or in memory, are returned but not cached, nor read.
    pub max_value_size: usize,
    /// Stored values above this many bytes are split.
    pub max_chunk_size: usize,
    /// The bound of L1 in bytes; `None` turns L1 off.
    pub l1_max_size: Option<usize>,
    /// The longest that L1 answers with an entry before the backend is read again, if there is a bound.
    pub l1_ttl: Option<Duration>,
    /// Whether what an entry took to compute counts where L1 chooses what to keep.
    pub l1_cost_aware: bool,
    /// How many entries a process that starts reads into L1 before it is asked.
    pub warm_keys: usize,
    /// After how long a start counts as warm in any case.
    pub warm_deadline: Duration,
    /// Whether L1 was paused when the cache was built.
    pub l1_paused: bool,
    /// Whether the backend was.
    pub l2_paused: bool,
    /// How many flights may be under way at once on each tokio runtime. A flight is what one key's callers wait for:
    /// the read of the backend, the computation, the write. Hits in L1 need none.
    pub max_flights: usize,
    /// How many more flights may wait for that, in the order in which they came.
    pub max_queued_flights: usize,
    /// What becomes of callers for whose flight there is no room.
    pub overload: Overload,
    /// How many of those may be background renewals.
    pub max_refreshes: usize,
    /// How processes agree on who computes, if that is on; without effect where the backend has no leases.
    pub leases: Option<Leases>,
    /// Whether other processes are told what to forget; without effect where the backend has no bus.
    pub invalidation: bool,
    /// The longest that L1 is believed without hearing of what other processes change, if there is a bound.
    pub max_staleness: Option<Duration>,
    /// Whether a ledger in the backend says what was forgotten by namespace and by tag.
    pub namespace_index: bool,
    /// The circuit breaker, if on; without effect where the backend isolates failing servers itself.
    pub breaker: Option<Breaker>,
    /// The adaptive timeout, if on.
    pub adaptive_timeout: Option<AdaptiveTimeout>,
    /// The bound on concurrent backend operations, if on.
    pub backpressure: Option<Backpressure>,
    /// Whether outcomes are counted.
    pub stats: bool,
    /// What `tracing` is told, with feature `tracing`.
    pub tracing: Tracing,
    /// Whether metrics are kept and handed on, with feature `metrics`.
    pub metrics: bool,
    /// Whether reads of L1 are sampled, with feature `advisor`.
    pub advisor: bool,
    /// Whether values are compressed, where the codec can.
    pub compression: bool,
    /// The zlib level of compression, 1..=9.
    pub compression_level: u32,
    /// Whether an entry that a confidential codec finds not authentic is an error and kept, instead of a miss.
    pub fail_closed: bool,
    /// Whether keys are stored as hashes: keyed ones with a codec that encrypts, plain BLAKE2b-256 otherwise.
    pub hashed_keys: bool,
    /// A number mixed into the schema fingerprint of every entry.
    pub schema_version: u32,
    /// Only while `build` configures the codec; a cache's own policy has none.
    pub(crate) setup: Setup,
}

/// What becomes of a caller that needs a flight while `max_flights` are under way and `max_queued_flights` wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overload {
    /// It gets an older value, if L1 has one that may stand in for a failing computation, otherwise
    /// [`ErrorKind::Overloaded`](crate::ErrorKind::Overloaded). Work and memory are bounded.
    Refuse,
    /// It computes for itself, on its own task: the result is shared with no other caller and not stored in the backend.
    /// Nothing but the number of callers bounds the work.
    Compute,
}

/// How long an expired entry is kept as a fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// As long again as its TTL.
    Ttl,
    /// This long; zero keeps none.
    For(Duration),
}

impl From<Duration> for Grace {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

impl Grace {
    /// The grace of an entry with this TTL.
    pub fn of(self, ttl: Duration) -> Duration {
        match self {
            Self::Ttl => ttl,
            Self::For(duration) => duration,
        }
    }
}

/// How processes agree on who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leases {
    /// How long the lease of the one who computes holds unless it is renewed, as it is each third of that. Default 1.5 s;
    /// over a way on which eight operations take longer, as long as those, up to 30 s.
    pub hold: Duration,
    /// How long the others wait for its value before they compute too. Default 5 s.
    pub wait: Duration,
}

/// When the circuit breaker opens and closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Breaker {
    /// Failures within the window that open it; those that overlap in time are one. Default 5.
    pub failure_threshold: u32,
    /// The rolling window. 60 s.
    pub window: Duration,
    /// How long it stays open at most; a quarter of a second at first, then twice as long each time. Default 30 s.
    pub recovery_timeout: Duration,
    /// Probes let through while half open. Default 3.
    pub half_open_requests: u32,
    /// Successful probes that close it. Default 3.
    pub success_threshold: u32,
}

/// How the timeout of backend operations follows their latency.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveTimeout {
    /// The timeout while there are fewer than 10 samples. Default 1 s.
    pub initial: Duration,
    /// Default 0.1 s.
    pub min: Duration,
    /// Default 5 s.
    pub max: Duration,
    /// Samples kept. Default 1,000.
    pub window: usize,
    /// The percentile that is multiplied by 1.5. Default 95.
    pub percentile: f64,
}

/// How many backend operations run and wait at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backpressure {
    /// Operations running. Default: as many as the backend is made for, 100 for most.
    pub max_concurrent: usize,
    /// Operations waiting. Default 1,000, or as many as `max_flights` if that is more.
    pub queue: usize,
    /// The longest wait in a queue that stands still. Default 0.1 s.
    pub wait: Duration,
}

/// How much the library tells `tracing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tracing {
    /// Nothing.
    Off,
    /// What an operator wants to know: failures, refusals, unreadable entries.
    On,
    /// Every outcome of every call, too.
    Verbose,
}
