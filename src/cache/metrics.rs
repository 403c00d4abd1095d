//! Metrics: what a cache has done and how it is, for the recorder that the program has installed.
//!
//! Counters and histograms are kept anyway; they are handed on every few seconds, and when the program asks for it. So no
//! call of the cache waits for a recorder, whatever that does.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{Label, Unit};

use super::{Cache, Inner, Shared};
use crate::backends::Backend;
use crate::clock;
use crate::codec::Codec;
use crate::event::{BreakerState, Histogram, Meters, MissReason, Observers, Operation, Outcome, Stats, Tier};
use crate::guard::Guard;
use crate::invalidate::Local;
use crate::seal::Sizes;

mod table;

use self::table as of;
pub use self::table::{METRICS, Metric, MetricKind};

/// How often metrics are handed on.
const EVERY: Duration = Duration::from_secs(5);

/// What is read beside what [`Shared`] has.
#[derive(Debug)]
pub(super) struct Metered {
    namespace: Box<str>,
    local: Weak<Local>,
    sizes: Arc<Sizes>,
    /// Whether a task hands the metrics on.
    begun: AtomicBool,
}

/// What metrics are about: a cache, or a domain of it.
struct Recorder<'a> {
    namespace: &'a str,
    domain: &'a str,
}

impl<B: Backend, C: Codec> Cache<B, C> {
    /// Hands all [`METRICS`](crate::METRICS) of the whole cache, its domains included, to the recorder of the `metrics`
    /// crate that is installed at the moment.
    ///
    /// A task does so every five seconds from the first miss on, if metrics are on
    /// ([`Settings::metrics`](crate::Settings::metrics), which most intents turn on) and the cache has the clock of the
    /// system, and [`close`](Cache::close) once more. A program whose numbers are to be of this moment calls it before it
    /// renders them. Does nothing where metrics are off.
    ///
    /// # Cost
    /// Some tens of microseconds, and for each domain a few.
    ///
    /// # Examples
    /// ```
    /// let users = cachekit::CacheBuilder::new().namespace("users").build()?;
    /// // In the handler of `/metrics`, before the exporter renders:
    /// users.record_metrics();
    /// # Ok::<(), cachekit::Error>(())
    /// ```
    pub fn record_metrics(&self) {
        self.inner.shared.record_metrics();
    }
}

impl<B: Backend, C: Codec> Inner<B, C> {
    /// Sees to it that metrics are handed on. A manual clock is not moved by it, so a cache with one is asked.
    #[inline]
    pub(super) fn ensure_metrics(&self) {
        if self.shared.observers.meters().is_some() && !self.shared.metered.begun.load(SeqCst) {
            self.begin_metrics();
        }
    }

    #[cold]
    fn begin_metrics(&self) {
        let has_time = Arc::ptr_eq(&self.clock, &clock::system()) && self.clock.can_sleep();
        if has_time && !self.shared.metered.begun.swap(true, SeqCst) {
            let task = Recording { cache: Arc::downgrade(&self.shared) };
            // Where nothing can be spawned, the next flight tries again.
            let _ = self.shared.tasks.spawn_beside(task.run());
        }
    }
}

/// The task that hands metrics on. It does not keep the cache.
struct Recording<B: Backend> {
    cache: Weak<Shared<B>>,
}

impl<B: Backend> Recording<B> {
    async fn run(self) {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(cache) = self.cache.upgrade() else { return };
            cache.record_metrics();
        }
    }
}

impl<B: Backend> Drop for Recording<B> {
    /// If its runtime ended first: lets the next one begin anew.
    fn drop(&mut self) {
        if let Some(cache) = self.cache.upgrade() {
            cache.metered.begun.store(false, SeqCst);
        }
    }
}

impl Metered {
    pub(super) fn new(namespace: &str, local: &Arc<Local>, sizes: &Arc<Sizes>) -> Self {
        let (local, sizes) = (Arc::downgrade(local), Arc::clone(sizes));
        Self { namespace: namespace.into(), local, sizes, begun: AtomicBool::new(false) }
    }
}

impl<B: Backend> Shared<B> {
    pub(super) fn record_metrics(&self) {
        let Some(meters) = self.observers.meters() else { return };
        describe();
        let whole = Recorder { namespace: &self.metered.namespace, domain: "" };
        whole.part(&self.observers);
        let stats = self.observers.stats();
        whole.counter(of::BREAKER_OPENED, &[], stats.breaker_opened);
        whole.counter(of::GAPS, &[], stats.gaps);
        self.domains.each(|domain, observers| Recorder { domain, ..whole }.part(observers));
        if let Some(guard) = &self.l2.guard {
            whole.backend(guard, meters);
        }
        if let Some(local) = self.metered.local.upgrade() {
            whole.l1(&local, self.l2.policy.l1_max_size);
        }
        whole.gauge(of::FLIGHTS, &[], self.flights.len() as f64);
        whole.gauge(of::TASKS, &[], self.tasks.len() as f64);
        whole.gauge(of::RETRY_QUEUE_DEPTH, &[], self.l2.retries.len() as f64);
        let (plain, stored) = self.metered.sizes.read();
        whole.counter(of::PLAIN_BYTES, &[], plain);
        whole.counter(of::COMPRESSED_BYTES, &[], stored);
    }
}

impl Recorder<'_> {
    /// What a cache, or a domain, counts by itself.
    fn part(&self, observers: &Observers) {
        let stats = observers.stats();
        self.calls(&stats);
        for reason in MissReason::ALL {
            self.counter(of::MISSES, &[reason.name()], stats.count(*reason));
        }
        self.counter(of::GIVEN_UP, &[], stats.given_up);
        self.counter(of::NOT_STORED, &[], stats.not_stored);
        self.counter(of::FENCED, &[], stats.fenced);
        self.counter(of::UNREADABLE, &[], stats.unreadable);
        self.counter(of::WARNINGS, &[], stats.warnings);
        self.counter(of::BYPASSED, &[Tier::L1.name()], stats.l1_bypassed);
        self.counter(of::BYPASSED, &[Tier::L2.name()], stats.l2_bypassed);
        let Some(meters) = observers.meters() else { return };
        for (result, histogram) in RESULTS.iter().zip(&meters.computations) {
            self.histogram(of::COMPUTATION_SECONDS, &[result], histogram);
        }
        self.histogram(of::L1_LOOKUP_SECONDS, &[], &meters.lookups);
        self.histogram(of::LEASE_WAIT_SECONDS, &[], &meters.lease_waits);
        for (scope, origin, effect, count) in meters.invalidations() {
            self.counter(of::INVALIDATIONS, &[scope, origin.name(), effect.name()], count);
        }
        let news = meters.news_of(stats.staleness);
        let staleness = news.iter().map(|(longest, count)| (longest.min(LONGEST).as_secs_f64(), count));
        self.values(of::STALENESS_SECONDS, &[], staleness);
    }

    fn calls(&self, stats: &Stats) {
        for outcome in Outcome::ALL {
            self.counter(of::CALLS, &[outcome.name()], stats.count(*outcome));
        }
        self.counter(of::COMPUTATIONS, &["ok"], stats.computations);
        self.counter(of::COMPUTATIONS, &["failed"], stats.computations_failed);
    }

    fn backend<B: Backend>(&self, guard: &Guard<B>, meters: &Meters) {
        let name = guard.capabilities().name;
        for (operation, results) in Operation::ALL.iter().zip(&meters.operations) {
            for (result, histogram) in RESULTS.iter().zip(results) {
                self.histogram(of::OPERATION_SECONDS, &[name, operation.name(), result], histogram);
            }
        }
        for (operation, kind, count) in meters.errors() {
            self.counter(of::ERRORS, &[name, operation.name(), kind.name()], count);
        }
        for (operation, reason, count) in meters.refusals() {
            self.counter(of::REFUSED, &[name, operation.name(), reason.name()], count);
        }
        for (number, reading) in guard.readings().enumerate() {
            let part = number.to_string();
            self.gauge(of::OPERATIONS, &[name, &part], reading.running as f64);
            self.gauge(of::QUEUE_DEPTH, &[name, &part], reading.waiting as f64);
            if let Some(state) = reading.breaker {
                self.gauge(of::BREAKER_STATE, &[name, &part], number_of(state));
            }
            for (operation, size, timeout) in reading.timeouts {
                self.gauge(of::TIMEOUT_SECONDS, &[name, &part, operation, size], timeout.as_secs_f64());
            }
        }
    }

    fn l1(&self, local: &Local, most: Option<usize>) {
        let Some(l1) = &local.l1 else { return };
        let tally = l1.tally();
        self.gauge(of::L1_BYTES, &[], tally.bytes as f64);
        self.gauge(of::L1_MAX_BYTES, &[], most.unwrap_or(0) as f64);
        self.gauge(of::L1_ENTRIES, &[], tally.entries as f64);
        self.counter(of::L1_EVICTIONS, &[], tally.evicted);
        self.counter(of::L1_UNREAD_EVICTIONS, &[], tally.evicted_unread);
    }

    fn counter(&self, metric: Metric, values: &[&str], count: u64) {
        metrics::counter!(metric.name, self.labels(metric, values)).absolute(count);
    }

    fn gauge(&self, metric: Metric, values: &[&str], value: f64) {
        metrics::gauge!(metric.name, self.labels(metric, values)).set(value);
    }

    fn histogram(&self, metric: Metric, values: &[&str], histogram: &Histogram) {
        self.values(metric, values, histogram.drain());
    }

    /// Adds so many of each value, if there are any.
    fn values(&self, metric: Metric, values: &[&str], counts: impl Iterator<Item = (f64, u64)>) {
        let mut counts = counts.filter(|(_, count)| *count > 0).peekable();
        if counts.peek().is_some() {
            let histogram = metrics::histogram!(metric.name, self.labels(metric, values));
            counts.for_each(|(value, count)| histogram.record_many(value, count as usize));
        }
    }

    fn labels(&self, metric: Metric, values: &[&str]) -> Vec<Label> {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let names = ["namespace", "domain"].into_iter().chain(metric.labels.iter().copied());
        let values = [self.namespace, self.domain].into_iter().chain(values.iter().copied());
        names.zip(values).map(|(name, value)| Label::new(name, value.to_owned())).collect()
    }
}

/// In the order of what did not succeed and what did.
const RESULTS: [&str; 2] = ["failed", "ok"];

/// What the stalest answers are told as, whose bin has no end.
const LONGEST: Duration = Duration::from_secs(1 << 13);

fn number_of(state: BreakerState) -> f64 {
    match state {
        BreakerState::Closed => 0.0,
        BreakerState::HalfOpen => 1.0,
        BreakerState::Open => 2.0,
    }
}

/// Says what each metric is. A recorder that was installed by now hears it.
fn describe() {
    for metric in METRICS {
        let unit = match metric.name {
            name if name.contains("_seconds") => Unit::Seconds,
            name if name.contains("_bytes") => Unit::Bytes,
            _ => Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, unit, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, unit, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, unit, metric.help),
        }
    }
}
