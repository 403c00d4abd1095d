//! Settings to policy: defaults and rules.
//!
//! The rules hold wherever a value comes from; the environment's own parsers only say them in its words.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::parse;
use super::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Overload, Policy, Tracing};
use super::problem::{Fault, Problem};
use super::settings::Settings;
use super::setup::Setup;

/// A bound of what is counted, below what a semaphore takes.
const MANY: usize = 1_000_000;

impl Settings {
    /// Answers every question these settings leave open with the library's default.
    ///
    /// What breaks a rule joins `problems` under the setting's name and is replaced by its default, so that one call
    /// finds everything; the policy is for use only if there are no problems.
    pub(crate) fn decide(&self, problems: &mut Vec<Problem>) -> Policy {
        let check = &mut Check { problems };
        let (deadline, soft_timeout) = self.deadlines(check);
        let background = self.background.unwrap_or(true);
        let ratio = check.within("swr_threshold_ratio", self.swr_threshold_ratio, 0.5, 0.1..=1.0);
        let l1_size = check.l1_size("l1_max_size_mb", self.l1_max_size_mb);
        let max_flights = check.within("max_flights", self.max_flights, 16_384, 1..=MANY);
        Policy {
            ttl: check.time("ttl", self.ttl, Duration::from_secs(3_600)),
            negative_ttl: check.lasting("negative_ttl", self.negative_ttl),
            stale_if_error: check.grace("stale_if_error", self.stale_if_error),
            swr_threshold_ratio: self.swr_enabled.unwrap_or(true).then_some(ratio),
            jitter: self.jitter.unwrap_or(true),
            soft_timeout,
            deadline,
            throttle: check.pause("throttle", self.throttle, Duration::from_secs(10)),
            operation_timeout: check.time("operation_timeout", self.operation_timeout, Duration::from_secs(5)),
            retries: check.within("retries", self.retries, 1, 0..=10),
            wait_for_write: self.wait_for_write.unwrap_or(!background),
            background,
            max_value_size: check.value_size("max_value_size", self.max_value_size),
            max_chunk_size: check.chunk_size("max_chunk_size_mb", self.max_chunk_size_mb),
            l1_max_size: self.l1_enabled.unwrap_or(true).then_some(l1_size),
            max_flights,
            max_queued_flights: check.within("max_queued_flights", self.max_queued_flights, 100_000, 0..=MANY),
            overload: self.overload.unwrap_or(Overload::Refuse),
            max_refreshes: check.within("max_refreshes", self.max_refreshes, 256, 1..=MANY).min(max_flights),
            leases: self.lease_times(check),
            invalidation: self.invalidation_enabled.unwrap_or(true),
            max_staleness: check.staleness("max_staleness", self.max_staleness),
            namespace_index: self.namespace_index.unwrap_or(true),
            breaker: self.breaker(check),
            adaptive_timeout: self.adaptive_timeout(check),
            backpressure: self.backpressure(check),
            stats: self.stats.unwrap_or(true),
            tracing: self.tracing.unwrap_or(Tracing::On),
            metrics: self.metrics.unwrap_or(true),
            compression: self.compression_enabled.unwrap_or(true),
            compression_level: check.within("compression_level", self.compression_level, 6, parse::LEVELS),
            fail_closed: self.fail_closed.unwrap_or(false),
            hashed_keys: self.hashed_keys.unwrap_or(false),
            schema_version: self.schema_version.unwrap_or(0),
            setup: Setup::default(),
        }
    }

    fn deadlines(&self, check: &mut Check<'_>) -> (Duration, Option<Duration>) {
        let deadline = check.time("deadline", self.deadline, Duration::from_secs(60));
        let soft = check.lasting("soft_timeout", self.soft_timeout);
        if soft.is_some_and(|soft| soft >= deadline) {
            check.refuse("soft_timeout", "must be less than deadline", "lower it, or raise deadline");
        }
        (deadline, soft)
    }

    fn lease_times(&self, check: &mut Check<'_>) -> Option<Leases> {
        let hold = check.time("lease_hold", self.lease_hold, Duration::from_millis(1_500));
        let wait = check.time("lease_wait", self.lease_wait, Duration::from_secs(5));
        self.leases.unwrap_or(true).then_some(Leases { hold, wait })
    }

    fn breaker(&self, check: &mut Check<'_>) -> Option<Breaker> {
        let breaker = Breaker {
            failure_threshold: check.within("failure_threshold", self.failure_threshold, 5, 1..=MANY as u32),
            window: Duration::from_secs(60),
            recovery_timeout: check.time("recovery_timeout", self.recovery_timeout, Duration::from_secs(30)),
            half_open_requests: check.within("half_open_requests", self.half_open_requests, 3, 1..=MANY as u32),
            success_threshold: check.within("success_threshold", self.success_threshold, 3, 1..=MANY as u32),
        };
        if breaker.half_open_requests < breaker.success_threshold {
            let fix = "raise it, or lower success_threshold; with fewer probes the breaker could never close";
            check.refuse("half_open_requests", "must be at least success_threshold", fix);
        }
        self.breaker_enabled.unwrap_or(true).then_some(breaker)
    }

    fn adaptive_timeout(&self, check: &mut Check<'_>) -> Option<AdaptiveTimeout> {
        let min = check.time("adaptive_min", self.adaptive_min, Duration::from_millis(100));
        let max = check.time("adaptive_max", self.adaptive_max, Duration::from_secs(5));
        // Where only a bound is asked for, the default start gives way to it.
        let initial = check.time("adaptive_initial", self.adaptive_initial, Duration::from_secs(1).min(max).max(min));
        let percentile = self.adaptive_percentile.unwrap_or(95.0);
        if min > max {
            check.refuse("adaptive_min", "must be at most adaptive_max", "lower it, or raise adaptive_max");
        } else if initial < min || initial > max {
            let fix = "change it, or the bound it is beyond";
            check.refuse("adaptive_initial", "must be from adaptive_min to adaptive_max", fix);
        }
        // Asked this way round, NaN is refused, too.
        if !(percentile > 0.0 && percentile <= 100.0) {
            check.refuse("adaptive_percentile", "must be above 0 and at most 100", "set it to, for example, 95");
        }
        let window = check.within("adaptive_window", self.adaptive_window, 1_000, 10..=100_000);
        let adaptive = AdaptiveTimeout { initial, min, max, window, percentile };
        self.adaptive_timeout_enabled.unwrap_or(true).then_some(adaptive)
    }

    fn backpressure(&self, check: &mut Check<'_>) -> Option<Backpressure> {
        let backpressure = Backpressure {
            max_concurrent: check.within("max_concurrent", self.max_concurrent, 100, 1..=MANY),
            queue: check.within("max_queued", self.max_queued, 1_000, 0..=MANY),
            wait: check.pause("queue_wait", self.queue_wait, Duration::from_millis(100)),
        };
        self.backpressure_enabled.unwrap_or(true).then_some(backpressure)
    }
}

/// Judges one setting at a time: the value asked for if it is allowed, else the default and a problem.
struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, name: &'static str, rule: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(name, Fault::new(rule.into(), fix.into())));
    }

    fn within<T>(&mut self, name: &'static str, asked: Option<T>, default: T, range: RangeInclusive<T>) -> T
    where
        T: PartialOrd + Copy + fmt::Display,
    {
        let value = asked.unwrap_or(default);
        if range.contains(&value) {
            return value;
        }
        let rule = format!("must be from {} to {}", range.start(), range.end());
        self.refuse(name, rule, format!("set it to, for example, {default}"));
        default
    }

    /// Above zero.
    fn time(&mut self, name: &'static str, asked: Option<Duration>, default: Duration) -> Duration {
        self.lasting(name, asked).unwrap_or(default)
    }

    /// Above zero, if asked for.
    fn lasting(&mut self, name: &'static str, asked: Option<Duration>) -> Option<Duration> {
        let value = asked?;
        if parse::lasts(value) {
            return Some(value);
        }
        self.refuse(name, "must be above zero and at most 3,650 days", "set a time within these bounds");
        None
    }

    /// Zero or more.
    fn pause(&mut self, name: &'static str, asked: Option<Duration>, default: Duration) -> Duration {
        let value = asked.unwrap_or(default);
        if value <= parse::LONGEST {
            return value;
        }
        self.refuse(name, "must be at most 3,650 days", "set a shorter time");
        default
    }

    /// At least a tenth of a second, if asked for: the bus is asked four times as often, and clocks are coarse.
    fn staleness(&mut self, name: &'static str, asked: Option<Duration>) -> Option<Duration> {
        let value = self.lasting(name, asked)?;
        if value >= Duration::from_millis(100) {
            return Some(value);
        }
        self.refuse(name, "must be at least 0.1 s", "raise it, or turn L1 off");
        None
    }

    fn grace(&mut self, name: &'static str, asked: Option<Grace>) -> Grace {
        match asked.unwrap_or(Grace::For(Duration::ZERO)) {
            Grace::Ttl => Grace::Ttl,
            Grace::For(duration) => Grace::For(self.pause(name, Some(duration), Duration::ZERO)),
        }
    }

    fn value_size(&mut self, name: &'static str, asked: Option<u64>) -> usize {
        let default = 104_857_600;
        match asked.unwrap_or(default) {
            0 => {
                self.refuse(name, "must be at least 1 byte", "set it to, for example, 104857600");
                default as usize
            }
            size => usize::try_from(size).unwrap_or(usize::MAX),
        }
    }

    fn chunk_size(&mut self, name: &'static str, asked: Option<f64>) -> usize {
        parse::bytes(asked.unwrap_or(50.0)).unwrap_or_else(|| {
            self.problems.push(Problem::new(name, parse::above_zero("set it to, for example, 50")));
            50 << 20
        })
    }

    fn l1_size(&mut self, name: &'static str, asked: Option<f64>) -> usize {
        let size = parse::bytes(asked.unwrap_or(100.0)).filter(|&size| size >= 1 << 20);
        size.unwrap_or_else(|| {
            let fix = "set it to, for example, 100, or turn L1 off";
            self.problems.push(Problem::new(name, parse::from_one(fix)));
            100 << 20
        })
    }
}
