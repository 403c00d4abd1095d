//! Settings to policy: what depends on more than one setting.

use std::time::Duration;

use super::policy::{AdaptiveTimeout, Backpressure, Breaker, Leases, Policy};
use super::problem::Problem;
use super::rules::refuse;
use super::settings::{Judged, Settings};
use super::setup::Setup;

impl Settings {
    /// Answers every question these settings leave open with the library's default.
    ///
    /// What breaks a rule joins `problems` under the setting's name and is replaced by its default, so that one call
    /// finds everything; the policy is for use only if there are no problems.
    pub(crate) fn decide(&self, problems: &mut Vec<Problem>) -> Policy {
        let judged = self.judge(problems);
        if judged.soft_timeout.is_some_and(|soft| soft >= judged.deadline) {
            refuse(problems, "soft_timeout", "must be less than deadline", "lower it, or raise deadline");
        }
        Policy {
            leases: judged.leases.then_some(Leases { hold: judged.lease_hold, wait: judged.lease_wait }),
            breaker: judged.breaker_enabled.then_some(judged.breaker(problems)),
            adaptive_timeout: judged.adaptive_timeout_enabled.then_some(judged.adaptive_timeout(problems)),
            backpressure: judged.backpressure_enabled.then_some(judged.backpressure()),
            swr_threshold_ratio: judged.swr_enabled.then_some(judged.swr_threshold_ratio),
            l1_paused: judged.paused || judged.l1_paused,
            l2_paused: judged.paused || judged.l2_paused,
            l1_ttl: judged.l1_ttl,
            l1_cost_aware: judged.l1_cost_aware,
            warm_keys: judged.warm_keys,
            warm_deadline: judged.warm_deadline,
            l1_max_size: judged.l1_enabled.then_some(judged.l1_max_size_mb),
            max_refreshes: judged.max_refreshes.min(judged.max_flights),
            wait_for_write: judged.wait_for_write.unwrap_or(!judged.background),
            ttl: judged.ttl,
            negative_ttl: judged.negative_ttl,
            stale_if_error: judged.stale_if_error,
            jitter: judged.jitter,
            xfetch_beta: judged.xfetch_beta,
            soft_timeout: judged.soft_timeout,
            deadline: judged.deadline,
            throttle: judged.throttle,
            error_ttl: judged.error_ttl,
            operation_timeout: judged.operation_timeout,
            retries: judged.retries,
            background: judged.background,
            max_value_size: judged.max_value_size,
            max_chunk_size: judged.max_chunk_size_mb,
            max_flights: judged.max_flights,
            max_queued_flights: judged.max_queued_flights,
            overload: judged.overload,
            invalidation: judged.invalidation_enabled,
            max_staleness: judged.max_staleness,
            namespace_index: judged.namespace_index,
            stats: judged.stats,
            tracing: judged.tracing,
            metrics: judged.metrics,
            advisor: judged.advisor,
            compression: judged.compression_enabled,
            compression_level: judged.compression_level,
            fail_closed: judged.fail_closed,
            hashed_keys: judged.hashed_keys,
            schema_version: judged.schema_version,
            setup: Setup::default(),
        }
    }
}

impl Judged {
    fn breaker(&self, problems: &mut Vec<Problem>) -> Breaker {
        if self.half_open_requests < self.success_threshold {
            let fix = "raise it, or lower success_threshold; with fewer probes the breaker could never close";
            refuse(problems, "half_open_requests", "must be at least success_threshold", fix);
        }
        Breaker {
            failure_threshold: self.failure_threshold,
            window: Duration::from_secs(60),
            recovery_timeout: self.recovery_timeout,
            half_open_requests: self.half_open_requests,
            success_threshold: self.success_threshold,
        }
    }

    fn adaptive_timeout(&self, problems: &mut Vec<Problem>) -> AdaptiveTimeout {
        let (min, max) = (self.adaptive_min, self.adaptive_max);
        // Where only a bound is asked for, the default start gives way to it.
        let initial = self.adaptive_initial.unwrap_or(Duration::from_secs(1).min(max).max(min));
        if min > max {
            refuse(problems, "adaptive_min", "must be at most adaptive_max", "lower it, or raise adaptive_max");
        } else if initial < min || initial > max {
            let fix = "change it, or the bound it is beyond";
            refuse(problems, "adaptive_initial", "must be from adaptive_min to adaptive_max", fix);
        }
        AdaptiveTimeout { initial, min, max, window: self.adaptive_window, percentile: self.adaptive_percentile }
    }

    fn backpressure(&self) -> Backpressure {
        Backpressure { max_concurrent: self.max_concurrent, queue: self.max_queued, wait: self.queue_wait }
    }
}
