//! What is handed on to the recorder of the `metrics` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{AnyBackend, Memory};
use cachekit::codec::{Compressed, Postcard};
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{CacheBuilder, Intent, METRICS, MetricKind, Operation, Tier};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

use harness::support::{Broken, settle};

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new().build_recorder()
}

/// What a scrape says: each sample by its name and labels.
fn scrape(recorder: &PrometheusRecorder, record: impl FnOnce()) -> BTreeMap<String, f64> {
    metrics::with_local_recorder(recorder, record);
    let rendered = recorder.handle().render();
    let samples = rendered.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// The names of metrics in a scrape, without what the exporter adds to those of distributions.
fn names(samples: &BTreeMap<String, f64>) -> BTreeSet<String> {
    let bare = samples.keys().map(|sample| sample.split('{').next().unwrap_or_default());
    let base = |name: &str| {
        let name = ["_sum", "_count", "_bucket"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        name.to_owned()
    };
    bare.map(base).collect()
}

fn value(samples: &BTreeMap<String, f64>, sample: &str) -> f64 {
    *samples.get(sample).unwrap_or_else(|| panic!("{sample} in {samples:#?}"))
}

#[tokio::test]
async fn everything_that_happened_is_in_a_scrape_and_nothing_that_is_not_in_the_table() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(Memory::with_clock(4 << 20, Arc::new(clock.clone())), Arc::new(clock.clone()));
    let control = chaos.control();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").codec(Compressed::new(Postcard));
    let builder = builder.backend(chaos).clock(Arc::new(clock.clone())).retries(0).l1_max_size_mb(1.0);
    let cache = builder.max_staleness(Duration::from_secs(60)).build().unwrap();
    let prices = cache.domain("prices").unwrap();
    let compute = |key: u32, size: usize| {
        let prices = prices.clone();
        async move {
            prices
                .entry(key)
                .tags(["secret-tag"])
                .get_or_compute(move || async move { Ok::<_, Broken>(vec![7u8; size]) })
                .await
        }
    };
    for key in 0..600 {
        compute(key, 3_000).await.unwrap();
    }
    for _ in 0..10_000 {
        compute(599, 3_000).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }
    for _ in 0..10_000 {
        assert!(prices.fetch::<Vec<u8>, Broken, _, _>(598, || async { Err(Broken("it is there")) }).await.is_ok());
        clock.advance(Duration::from_millis(1));
    }
    assert!(prices.get_or_compute("secret-key", || async { Err::<u32, _>(Broken("no")) }).await.is_err());
    assert_eq!(prices.get::<u32>("secret-key").await.unwrap(), None);
    prices.invalidate_tag("secret-tag").await.unwrap();
    prices.invalidate(1).await.unwrap();
    control.inject_next(2, Operation::Get, Fault::Refuse);
    let _ = cache.get::<u32>("secret-key").await;
    cache.pause_tier(Tier::L1);
    let _ = cache.get::<u32>("secret-key").await;
    cache.resume();
    settle().await;
    let recorder = recorder();
    let samples = scrape(&recorder, || cache.record_metrics());
    let own = r#"namespace="shop",domain="prices""#;
    let calls = |outcome: &str| value(&samples, &format!(r#"cachekit_calls_total{{{own},outcome="{outcome}"}}"#));
    let stats = prices.stats();
    assert_eq!((calls("computed"), calls("l1_hit")), (stats.computed as f64, stats.l1_hits as f64));
    assert_eq!((calls("failed"), calls("absent"), stats.computed), (1.0, 1.0, 600));
    let all: f64 =
        samples.iter().filter(|(name, _)| name.starts_with("cachekit_calls_total")).map(|(_, count)| count).sum();
    assert_eq!(all, cache.stats().calls() as f64);
    let whole = r#"namespace="shop",domain="""#;
    let leases = format!(
        r#"cachekit_backend_operation_seconds_count{{{whole},backend="memory",operation="lease",result="ok"}}"#
    );
    assert!(value(&samples, &leases) >= 600.0);
    assert_eq!(value(&samples, &format!(r#"cachekit_computation_seconds_count{{{own},result="ok"}}"#)), 600.0);
    assert!(value(&samples, &format!("cachekit_l1_lookup_seconds_count{{{own}}}")) >= 18.0);
    assert_eq!(value(&samples, &format!("cachekit_l1_bytes{{{whole}}}")), cache.l1_bytes() as f64);
    assert_eq!(value(&samples, &format!("cachekit_l1_max_bytes{{{whole}}}")), f64::from(1 << 20));
    assert!(value(&samples, &format!("cachekit_l1_evictions_total{{{whole}}}")) > 100.0);
    let plain = value(&samples, &format!("cachekit_compression_plain_bytes_total{{{whole}}}"));
    let stored = value(&samples, &format!("cachekit_compression_stored_bytes_total{{{whole}}}"));
    assert!(plain > 600.0 * 3_000.0 && stored < plain / 20.0, "{plain} {stored}");
    let invalidated = r#"cachekit_invalidations_total{namespace="shop",domain="prices",scope="tag",origin="here",effect="invalidated"}"#;
    assert_eq!(value(&samples, invalidated), 1.0);
    let failed =
        format!(r#"cachekit_backend_errors_total{{{whole},backend="memory",operation="get",kind="unavailable"}}"#);
    assert_eq!(value(&samples, &failed), cache.stats().backend_failures as f64);
    assert_eq!(value(&samples, &format!(r#"cachekit_breaker_state{{{whole},backend="memory",part="0"}}"#)), 0.0);
    let known: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    let seen = names(&samples);
    assert!(seen.is_subset(&known), "{:?}", seen.difference(&known));
    let rare = ["cachekit_backend_refused_total", "cachekit_lease_wait_seconds"];
    let missing: Vec<_> = known.difference(&seen).filter(|name| !rare.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let rendered = recorder.handle().render();
    assert!(!rendered.contains("secret"), "no key and no tag is a label");
    assert!(rendered.contains("# HELP cachekit_calls_total Calls, by what answered them"));
    let again = scrape(&recorder, || cache.record_metrics());
    assert_eq!(value(&again, &leases), value(&samples, &leases), "what was told once is not told again");
}

#[tokio::test]
async fn refusals_and_waits_for_other_processes_are_told() {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let builder = || CacheBuilder::new().intent(Intent::Production).namespace("shop");
    let cache =
        builder().backend(chaos).failure_threshold(1).retries(0).adaptive_timeout_enabled(false).build().unwrap();
    let other = builder().backend(memory).build().unwrap();
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok::<_, Broken>(1u32)
    };
    let (one, two) = tokio::join!(other.get_or_compute(7, slow), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        cache.get_or_compute(7, slow).await
    });
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    control.inject_all(Fault::Refuse);
    for key in 0..5 {
        let _ = cache.get::<u32>(key).await;
    }
    let samples = scrape(&recorder(), || cache.record_metrics());
    let labels = r#"namespace="shop",domain="""#;
    assert!(value(&samples, &format!("cachekit_lease_wait_seconds_count{{{labels}}}")) >= 1.0);
    let refused =
        format!(r#"cachekit_backend_refused_total{{{labels},backend="memory",operation="get",reason="breaker_open"}}"#);
    assert_eq!(value(&samples, &refused), 4.0);
    assert_eq!(value(&samples, &format!(r#"cachekit_breaker_state{{{labels},backend="memory",part="0"}}"#)), 2.0);
    assert_eq!(value(&samples, &format!("cachekit_breaker_opened_total{{{labels}}}")), 1.0);
}

#[tokio::test]
async fn intents_without_metrics_record_none_nor_does_the_setting() {
    let silent = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let off = CacheBuilder::new().intent(Intent::Production).metrics(false).build().unwrap();
    for (is_on, on) in [(silent.policy().metrics, &silent.stats()), (off.policy().metrics, &off.stats())] {
        assert!(!is_on, "{on:?}");
    }
    let recorder = recorder();
    let samples = scrape(&recorder, || {
        silent.record_metrics();
        off.record_metrics();
    });
    assert!(samples.is_empty(), "{samples:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_records_from_the_first_miss_on_and_close_once_more() {
    let recorder = recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let cache =
        CacheBuilder::new().intent(Intent::Production).backend(AnyBackend::none()).namespace("shop").build().unwrap();
    let count = || {
        let rendered = recorder.handle().render();
        let line = rendered.lines().find(|line| line.starts_with("cachekit_calls_total") && line.contains("computed"));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, count)| count.parse::<u64>().unwrap())
    };
    cache.get_or_compute(1, || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    assert_eq!(count(), None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(count(), Some(1));
    cache.get_or_compute(2, || async { Ok::<_, Broken>(1u32) }).await.unwrap();
    assert_eq!(count(), Some(1));
    cache.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(count(), Some(2));
}

#[test]
fn names_have_the_endings_that_prometheus_expects() {
    for metric in METRICS {
        assert!(metric.name.starts_with("cachekit_"), "{}", metric.name);
        assert_eq!(metric.kind == MetricKind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
        assert!(metric.kind != MetricKind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
        assert!(metric.help.ends_with('.'), "{}", metric.help);
    }
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len());
}
