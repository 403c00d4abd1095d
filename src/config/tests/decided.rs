//! Settings to policy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::parse::LONGEST;
use super::super::policy::{AdaptiveTimeout, Backpressure, Breaker, Grace, Leases, Overload, Policy, Tracing};
use super::super::problem::Problem;
use super::super::settings::Settings;
use super::super::setup::Setup;
use super::environment;

const SECOND: Duration = Duration::from_secs(1);

fn decide(set: impl FnOnce(&mut Settings)) -> (Policy, Vec<Problem>) {
    let mut settings = Settings::default();
    set(&mut settings);
    let mut problems = Vec::new();
    (settings.decide(&mut problems), problems)
}

fn allowed(set: impl FnOnce(&mut Settings)) -> Policy {
    let (policy, problems) = decide(set);
    assert_eq!(problems, []);
    policy
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let expected = Policy {
        ttl: 3_600 * SECOND,
        negative_ttl: None,
        stale_if_error: Grace::For(Duration::ZERO),
        swr_threshold_ratio: Some(0.5),
        jitter: true,
        xfetch_beta: 0.0,
        soft_timeout: None,
        deadline: 60 * SECOND,
        throttle: 10 * SECOND,
        error_ttl: None,
        operation_timeout: 5 * SECOND,
        retries: 1,
        wait_for_write: false,
        background: true,
        max_value_size: 104_857_600,
        max_chunk_size: 50 << 20,
        l1_max_size: Some(100 << 20),
        l1_ttl: None,
        l1_cost_aware: false,
        warm_keys: 0,
        warm_deadline: 30 * SECOND,
        l1_paused: false,
        l2_paused: false,
        max_flights: 16_384,
        max_queued_flights: 100_000,
        overload: Overload::Refuse,
        max_refreshes: 256,
        leases: Some(Leases { hold: Duration::from_millis(1_500), wait: 5 * SECOND }),
        invalidation: true,
        max_staleness: None,
        namespace_index: true,
        breaker: Some(Breaker {
            failure_threshold: 5,
            window: 60 * SECOND,
            recovery_timeout: 30 * SECOND,
            half_open_requests: 3,
            success_threshold: 3,
        }),
        adaptive_timeout: Some(AdaptiveTimeout {
            initial: SECOND,
            min: SECOND / 10,
            max: 5 * SECOND,
            window: 1_000,
            percentile: 95.0,
        }),
        backpressure: Some(Backpressure { max_concurrent: 100, queue: 1_000, wait: SECOND / 10 }),
        stats: true,
        tracing: Tracing::On,
        metrics: true,
        advisor: false,
        compression: true,
        compression_level: 6,
        fail_closed: false,
        hashed_keys: false,
        schema_version: 0,
        setup: Setup::default(),
    };
    assert_eq!(allowed(|_| {}), expected);
}

#[test]
fn every_setting_reaches_the_policy() {
    let policy = allowed(|settings| {
        *settings = Settings {
            ttl: Some(2 * SECOND),
            negative_ttl: Some(3 * SECOND),
            stale_if_error: Some(Grace::Ttl),
            swr_enabled: Some(true),
            swr_threshold_ratio: Some(1.0),
            jitter: Some(false),
            xfetch_beta: Some(1.5),
            soft_timeout: Some(4 * SECOND),
            deadline: Some(5 * SECOND),
            throttle: Some(Duration::ZERO),
            error_ttl: Some(SECOND / 4),
            operation_timeout: Some(6 * SECOND),
            retries: Some(10),
            wait_for_write: Some(true),
            background: Some(false),
            max_value_size: Some(7),
            max_chunk_size_mb: Some(0.5),
            l1_enabled: Some(true),
            l1_max_size_mb: Some(1.5),
            paused: Some(false),
            l1_paused: Some(true),
            l2_paused: Some(false),
            l1_ttl: Some(SECOND / 2),
            l1_cost_aware: Some(true),
            warm_keys: Some(500),
            warm_deadline: Some(5 * SECOND),
            max_flights: Some(8),
            max_queued_flights: Some(0),
            overload: Some(Overload::Compute),
            max_refreshes: Some(9),
            leases: Some(true),
            lease_hold: Some(10 * SECOND),
            lease_wait: Some(11 * SECOND),
            invalidation_enabled: Some(false),
            max_staleness: Some(2 * SECOND),
            namespace_index: Some(false),
            breaker_enabled: Some(true),
            failure_threshold: Some(12),
            recovery_timeout: Some(13 * SECOND),
            half_open_requests: Some(15),
            success_threshold: Some(14),
            adaptive_timeout_enabled: Some(true),
            adaptive_initial: Some(17 * SECOND),
            adaptive_min: Some(16 * SECOND),
            adaptive_max: Some(18 * SECOND),
            adaptive_window: Some(19),
            adaptive_percentile: Some(20.5),
            backpressure_enabled: Some(true),
            max_concurrent: Some(21),
            max_queued: Some(0),
            queue_wait: Some(Duration::ZERO),
            stats: Some(false),
            tracing: Some(Tracing::Verbose),
            metrics: Some(false),
            advisor: Some(true),
            compression_enabled: Some(false),
            compression_level: Some(9),
            fail_closed: Some(true),
            hashed_keys: Some(true),
            schema_version: Some(23),
        }
    });
    let expected = Policy {
        ttl: 2 * SECOND,
        negative_ttl: Some(3 * SECOND),
        stale_if_error: Grace::Ttl,
        swr_threshold_ratio: Some(1.0),
        jitter: false,
        xfetch_beta: 1.5,
        soft_timeout: Some(4 * SECOND),
        deadline: 5 * SECOND,
        throttle: Duration::ZERO,
        error_ttl: Some(SECOND / 4),
        operation_timeout: 6 * SECOND,
        retries: 10,
        wait_for_write: true,
        background: false,
        max_value_size: 7,
        max_chunk_size: 512 << 10,
        l1_max_size: Some(1_536 << 10),
        l1_ttl: Some(SECOND / 2),
        l1_cost_aware: true,
        warm_keys: 500,
        warm_deadline: 5 * SECOND,
        l1_paused: true,
        l2_paused: false,
        max_flights: 8,
        max_queued_flights: 0,
        overload: Overload::Compute,
        max_refreshes: 8,
        leases: Some(Leases { hold: 10 * SECOND, wait: 11 * SECOND }),
        invalidation: false,
        max_staleness: Some(2 * SECOND),
        namespace_index: false,
        breaker: Some(Breaker {
            failure_threshold: 12,
            window: 60 * SECOND,
            recovery_timeout: 13 * SECOND,
            half_open_requests: 15,
            success_threshold: 14,
        }),
        adaptive_timeout: Some(AdaptiveTimeout {
            initial: 17 * SECOND,
            min: 16 * SECOND,
            max: 18 * SECOND,
            window: 19,
            percentile: 20.5,
        }),
        backpressure: Some(Backpressure { max_concurrent: 21, queue: 0, wait: Duration::ZERO }),
        stats: false,
        tracing: Tracing::Verbose,
        metrics: false,
        advisor: true,
        compression: false,
        compression_level: 9,
        fail_closed: true,
        hashed_keys: true,
        schema_version: 23,
        setup: Setup::default(),
    };
    assert_eq!(policy, expected);
}

#[test]
fn switches_turn_things_off() {
    let policy = allowed(|settings| {
        settings.swr_enabled = Some(false);
        settings.l1_enabled = Some(false);
        settings.leases = Some(false);
        settings.breaker_enabled = Some(false);
        settings.adaptive_timeout_enabled = Some(false);
        settings.backpressure_enabled = Some(false);
        settings.background = Some(false);
    });
    assert_eq!((policy.swr_threshold_ratio, policy.l1_max_size, policy.leases), (None, None, None));
    assert_eq!((policy.breaker, policy.adaptive_timeout, policy.backpressure), (None, None, None));
    assert!(policy.wait_for_write, "without background work somebody has to wait for the write");
    let paused = allowed(|settings| settings.paused = Some(true));
    assert_eq!((paused.l1_paused, paused.l2_paused), (true, true));
    let paused = allowed(|settings| settings.l2_paused = Some(true));
    assert_eq!((paused.l1_paused, paused.l2_paused), (false, true));
}

type Set = fn(&mut Settings);

#[rustfmt::skip]
const REFUSED: &[(&str, Set)] = &[
    ("ttl", |s| s.ttl = Some(Duration::ZERO)),
    ("ttl", |s| s.ttl = Some(LONGEST + Duration::from_nanos(1))),
    ("ttl", |s| s.ttl = Some(Duration::MAX)),
    ("negative_ttl", |s| s.negative_ttl = Some(Duration::ZERO)),
    ("negative_ttl", |s| s.negative_ttl = Some(Duration::MAX)),
    ("stale_if_error", |s| s.stale_if_error = Some(Grace::For(Duration::MAX))),
    ("swr_threshold_ratio", |s| s.swr_threshold_ratio = Some(0.09)),
    ("swr_threshold_ratio", |s| s.swr_threshold_ratio = Some(1.01)),
    ("swr_threshold_ratio", |s| s.swr_threshold_ratio = Some(f64::NAN)),
    ("swr_threshold_ratio", |s| { s.swr_enabled = Some(false); s.swr_threshold_ratio = Some(-1.0) }),
    ("xfetch_beta", |s| s.xfetch_beta = Some(-0.1)),
    ("xfetch_beta", |s| s.xfetch_beta = Some(f64::NAN)),
    ("soft_timeout", |s| s.soft_timeout = Some(Duration::ZERO)),
    ("soft_timeout", |s| s.soft_timeout = Some(60 * SECOND)),
    ("soft_timeout", |s| { s.deadline = Some(SECOND); s.soft_timeout = Some(SECOND) }),
    ("deadline", |s| s.deadline = Some(Duration::ZERO)),
    ("deadline", |s| s.deadline = Some(Duration::MAX)),
    ("throttle", |s| s.throttle = Some(Duration::MAX)),
    ("error_ttl", |s| s.error_ttl = Some(Duration::ZERO)),
    ("operation_timeout", |s| s.operation_timeout = Some(Duration::ZERO)),
    ("max_value_size", |s| s.max_value_size = Some(0)),
    ("max_chunk_size_mb", |s| s.max_chunk_size_mb = Some(0.0)),
    ("max_chunk_size_mb", |s| s.max_chunk_size_mb = Some(-1.0)),
    ("max_chunk_size_mb", |s| s.max_chunk_size_mb = Some(1e-9)),
    ("max_chunk_size_mb", |s| s.max_chunk_size_mb = Some(f64::NAN)),
    ("max_chunk_size_mb", |s| s.max_chunk_size_mb = Some(f64::INFINITY)),
    ("l1_max_size_mb", |s| s.l1_max_size_mb = Some(0.999)),
    ("l1_max_size_mb", |s| s.l1_max_size_mb = Some(f64::NAN)),
    ("l1_max_size_mb", |s| { s.l1_enabled = Some(false); s.l1_max_size_mb = Some(1e300) }),
    ("l1_ttl", |s| s.l1_ttl = Some(Duration::ZERO)),
    ("warm_keys", |s| s.warm_keys = Some(100_001)),
    ("warm_deadline", |s| s.warm_deadline = Some(Duration::ZERO)),
    ("max_flights", |s| s.max_flights = Some(0)),
    ("max_flights", |s| s.max_flights = Some(usize::MAX)),
    ("max_queued_flights", |s| s.max_queued_flights = Some(usize::MAX)),
    ("max_refreshes", |s| s.max_refreshes = Some(0)),
    ("retries", |s| s.retries = Some(11)),
    ("lease_hold", |s| s.lease_hold = Some(Duration::ZERO)),
    ("lease_wait", |s| s.lease_wait = Some(Duration::ZERO)),
    ("failure_threshold", |s| s.failure_threshold = Some(0)),
    ("recovery_timeout", |s| s.recovery_timeout = Some(Duration::ZERO)),
    ("half_open_requests", |s| s.half_open_requests = Some(0)),
    ("half_open_requests", |s| s.half_open_requests = Some(2)),
    ("half_open_requests", |s| s.success_threshold = Some(4)),
    ("success_threshold", |s| s.success_threshold = Some(0)),
    ("adaptive_initial", |s| s.adaptive_initial = Some(6 * SECOND)),
    ("adaptive_initial", |s| s.adaptive_initial = Some(SECOND / 11)),
    ("adaptive_min", |s| s.adaptive_min = Some(6 * SECOND)),
    ("adaptive_min", |s| s.adaptive_min = Some(Duration::ZERO)),
    ("adaptive_max", |s| s.adaptive_max = Some(Duration::MAX)),
    ("adaptive_window", |s| s.adaptive_window = Some(9)),
    ("adaptive_window", |s| s.adaptive_window = Some(usize::MAX)),
    ("adaptive_percentile", |s| s.adaptive_percentile = Some(0.0)),
    ("adaptive_percentile", |s| s.adaptive_percentile = Some(100.1)),
    ("adaptive_percentile", |s| s.adaptive_percentile = Some(f64::NAN)),
    ("max_concurrent", |s| s.max_concurrent = Some(0)),
    ("max_concurrent", |s| s.max_concurrent = Some(usize::MAX)),
    ("max_queued", |s| s.max_queued = Some(usize::MAX)),
    ("queue_wait", |s| s.queue_wait = Some(Duration::MAX)),
    ("max_staleness", |s| s.max_staleness = Some(SECOND / 11)),
    ("max_staleness", |s| s.max_staleness = Some(Duration::MAX)),
    ("compression_level", |s| s.compression_level = Some(0)),
    ("compression_level", |s| s.compression_level = Some(10)),
];

#[test]
fn what_breaks_a_rule_is_named() {
    for (name, set) in REFUSED {
        let (_, problems) = decide(set);
        let names: Vec<&str> = problems.iter().map(|problem| &*problem.name).collect();
        assert_eq!(names, [*name], "{problems:?}");
    }
}

#[test]
fn each_rule_refuses_something() {
    let refused = |name: &str| REFUSED.iter().any(|(refused, _)| *refused == name);
    for (name, rule) in Settings::RULES {
        assert!(matches!(*rule, "or" | "asked") || refused(name), "add what breaks the rule of `{name}` to REFUSED");
    }
}

/// The text of all tests from outside.
fn tests_from_outside(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => tests_from_outside(&path, text),
            false if path.extension().is_some_and(|end| end == "rs") => *text += &fs::read_to_string(path).unwrap(),
            false => {}
        }
    }
}

#[test]
fn each_setting_is_set_by_a_test_from_outside() {
    let mut tests = String::new();
    // Not the simulator and the soak, which set much and look at none of it alone.
    for directory in ["it", "live"] {
        tests_from_outside(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory), &mut tests);
    }
    // This version does not act on it.
    let settings = Settings::RULES.iter().map(|(name, _)| *name);
    for name in settings {
        let ways = [format!(".{name}("), format!("settings.{name}"), format!("{name}: Some(")];
        assert!(
            ways.iter().any(|way| tests.contains(way)),
            "nothing in tests/it and tests/live sees what `{name}` does"
        );
    }
}

#[test]
fn all_broken_rules_are_told_at_once() {
    let (_, problems) = decide(|settings| {
        settings.ttl = Some(Duration::ZERO);
        settings.compression_level = Some(0);
        settings.swr_threshold_ratio = Some(2.0);
    });
    let names: Vec<&str> = problems.iter().map(|problem| &*problem.name).collect();
    assert_eq!(names.len(), 3);
    assert!(["ttl", "compression_level", "swr_threshold_ratio"].iter().all(|name| names.contains(name)));
}

#[test]
fn a_default_start_gives_way_to_a_bound_asked_for() {
    let initial = |set: Set| allowed(set).adaptive_timeout.map(|adaptive| adaptive.initial);
    assert_eq!(initial(|settings| settings.adaptive_max = Some(SECOND / 2)), Some(SECOND / 2));
    assert_eq!(initial(|settings| settings.adaptive_min = Some(2 * SECOND)), Some(2 * SECOND));
}

#[test]
fn environment_sets_the_policy_unless_settings_are_explicit() {
    let env = environment(&[
        ("CACHEKIT_DEFAULT_TTL", "1.5"),
        ("CACHEKIT_MAX_CHUNK_SIZE_MB", "0.25"),
        ("CACHEKIT_MAX_VALUE_SIZE", "4096"),
        ("CACHEKIT_ENABLE_COMPRESSION", "off"),
        ("CACHEKIT_COMPRESSION_LEVEL", "9"),
        ("CACHEKIT_ENCRYPTION_FAIL_CLOSED", "on"),
        ("CACHEKIT_L1_ENABLED", "no"),
        ("CACHEKIT_L1_MAX_SIZE_MB", "2"),
    ]);
    let policy = allowed(|settings| *settings = env.settings.clone());
    assert_eq!((policy.ttl, policy.max_chunk_size, policy.max_value_size), (SECOND * 3 / 2, 256 << 10, 4_096));
    assert_eq!((policy.compression, policy.compression_level, policy.fail_closed), (false, 9, true));
    assert_eq!(policy.l1_max_size, None);

    let explicit = Settings { ttl: Some(SECOND), l1_enabled: Some(true), ..Settings::default() };
    let policy = allowed(|settings| *settings = explicit.or(env.settings));
    assert_eq!((policy.ttl, policy.l1_max_size), (SECOND, Some(2 << 20)));
}
