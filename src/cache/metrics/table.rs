//! Every metric, declared once.

/// One metric: how it is called, what it counts and by what.
///
/// Names and units follow the conventions of Prometheus. Every one has the labels `namespace` and `domain`, which is empty
/// for what concerns the whole cache; no label has keys, tags or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Whether it only grows, is as it is now, or is a distribution.
    pub kind: MetricKind,
    /// Its labels, beside `namespace` and `domain`.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// What holds at the moment.
    Gauge,
    /// How often which values were seen.
    Histogram,
}

macro_rules! metrics {
    ($($kind:ident $name:ident $text:literal [$($label:literal),*] $help:literal;)+) => {
        $(pub(super) const $name: Metric =
            Metric { name: $text, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)+

        /// All metrics of a cache: what feature `metrics` records.
        ///
        /// # Examples
        /// ```
        /// use cachekit::{METRICS, MetricKind};
        /// let calls = METRICS.iter().find(|metric| metric.name == "cachekit_calls_total").unwrap();
        /// assert_eq!((calls.kind, calls.labels), (MetricKind::Counter, ["outcome"].as_slice()));
        /// ```
        pub const METRICS: &[Metric] = &[$($name,)+];
    };
}

metrics! {
    Counter CALLS "cachekit_calls_total" ["outcome"]
        "Calls, by what answered them: l1_hit, l2_hit, stale, computed, joined, absent, failed.";
    Counter MISSES "cachekit_misses_total" ["reason"]
        "Flights that compute for a caller and reads that find nothing, by why neither tier answered.";
    Counter COMPUTATIONS "cachekit_computations_total" ["result"]
        "Computations that ended, those in the background included: ok, failed.";
    Histogram COMPUTATION_SECONDS "cachekit_computation_seconds" ["result"]
        "How long computations took.";
    Histogram L1_LOOKUP_SECONDS "cachekit_l1_lookup_seconds" []
        "How long lookups in L1 took; one in 1,024 is timed.";
    Gauge L1_BYTES "cachekit_l1_bytes" []
        "Bytes that L1 accounts for.";
    Gauge L1_MAX_BYTES "cachekit_l1_max_bytes" []
        "The bound of L1 in bytes.";
    Gauge L1_ENTRIES "cachekit_l1_entries" []
        "Entries that L1 holds.";
    Counter L1_EVICTIONS "cachekit_l1_evictions_total" []
        "Entries that L1 gave up to make room.";
    Counter L1_UNREAD_EVICTIONS "cachekit_l1_unread_evictions_total" []
        "Of these, newcomers that were not read once: they were not admitted.";
    Histogram STALENESS_SECONDS "cachekit_staleness_seconds" []
        "How stale what L1 answered may have been; kept where there is a max_staleness.";
    Histogram OPERATION_SECONDS "cachekit_backend_operation_seconds" ["backend", "operation", "result"]
        "How long backend operations took, waiting for their turn included: ok, failed.";
    Counter ERRORS "cachekit_backend_errors_total" ["backend", "operation", "kind"]
        "Backend operations that failed, by the kind of the error.";
    Counter REFUSED "cachekit_backend_refused_total" ["backend", "operation", "reason"]
        "Backend operations that were not tried: breaker_open, queue_full, queue_timeout.";
    Gauge OPERATIONS "cachekit_backend_operations" ["backend", "part"]
        "Backend operations under way.";
    Gauge QUEUE_DEPTH "cachekit_queue_depth" ["backend", "part"]
        "Backend operations of callers that wait for their turn.";
    Gauge TIMEOUT_SECONDS "cachekit_timeout_seconds" ["backend", "part", "operation", "size"]
        "The adaptive timeout in force: of reads, writes and others, and of small and medium values.";
    Gauge BREAKER_STATE "cachekit_breaker_state" ["backend", "part"]
        "What the circuit breaker is: 0 closed, 1 half open, 2 open.";
    Counter BREAKER_OPENED "cachekit_breaker_opened_total" []
        "Times that a circuit breaker opened.";
    Gauge FLIGHTS "cachekit_flights" []
        "Flights under way or in line: what calls wait for that L1 does not answer.";
    Gauge TASKS "cachekit_tasks" []
        "Tasks of the cache that have not ended.";
    Histogram LEASE_WAIT_SECONDS "cachekit_lease_wait_seconds" []
        "Waits for another process that computes; a flight may wait several times.";
    Counter INVALIDATIONS "cachekit_invalidations_total" ["scope", "origin", "effect"]
        "Invalidations of keys, tags, domains and the namespace, by this process (here, sent to others) and by others (elsewhere, received).";
    Counter GAPS "cachekit_bus_gaps_total" []
        "Times that messages of other processes may have been lost, so that L1 is read anew.";
    Gauge RETRY_QUEUE_DEPTH "cachekit_retry_queue_depth" []
        "Changes that the backend did not take and that are tried again.";
    Counter GIVEN_UP "cachekit_given_up_total" []
        "Changes that the backend did not take and that are not tried again.";
    Counter NOT_STORED "cachekit_not_stored_total" []
        "Values that were returned but not stored.";
    Counter FENCED "cachekit_fenced_total" []
        "Computed values that were not stored because of an invalidation, a deadline or a lost lease.";
    Counter UNREADABLE "cachekit_unreadable_total" []
        "Stored entries that could not be used.";
    Counter WARNINGS "cachekit_warnings_total" []
        "Warnings about the configuration, each counted once.";
    Counter BYPASSED "cachekit_bypassed_total" ["tier"]
        "Calls that went by a tier because it is paused.";
    Counter PLAIN_BYTES "cachekit_compression_plain_bytes_total" []
        "Bytes of values before compression, of a codec that compresses.";
    Counter COMPRESSED_BYTES "cachekit_compression_stored_bytes_total" []
        "The same values' bytes after it.";
}
