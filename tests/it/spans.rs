//! In which `tracing` span a computation runs.

use std::sync::Arc;
use std::time::Duration;

use cachekit::testing::ManualClock;
use cachekit::{CacheBuilder, Intent};
use tracing::{Instrument, info_span};

use crate::intents::{heard, listen};
use crate::support::{Broken, settle};

/// Tells that it runs, before and after it waits.
async fn compute(value: u8) -> Result<u8, Broken> {
    tracing::info!("begins");
    tokio::task::yield_now().await;
    tracing::info!("ends");
    Ok(value)
}

/// The spans of what a computation told, as `name{field=value}:`.
fn spans() -> Vec<String> {
    let lines = heard();
    let told = lines.lines().filter(|line| line.contains("begins") || line.contains("ends"));
    told.map(|line| line.split_whitespace().filter(|word| word.contains('{')).collect()).collect()
}

#[tokio::test]
async fn a_computation_runs_in_the_span_of_the_call_that_starts_it() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    listen();
    let leader = cache.get_or_compute("key", || compute(1)).instrument(info_span!("request", id = 1));
    let joiner = cache.get_or_compute("key", || compute(2)).instrument(info_span!("request", id = 2));
    let (one, two) = tokio::join!(leader, joiner);
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    assert_eq!(spans(), ["request{id=1}:", "request{id=1}:"]);
    listen();
    cache.get_or_compute("another", || compute(3)).await.unwrap();
    assert_eq!(spans(), ["", ""], "a call in no span");
}

#[tokio::test]
async fn renewal_runs_in_the_span_of_the_call_that_found_it_stale() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).jitter(false);
    let cache = builder.ttl(Duration::from_secs(100)).swr_enabled(true).build().unwrap();
    cache.set("key", 1u8).await.unwrap();
    clock.advance(Duration::from_secs(60));
    listen();
    let stale = cache.get_or_compute("key", || compute(2)).instrument(info_span!("request", id = 3)).await.unwrap();
    settle().await;
    assert_eq!(spans(), ["request{id=3}:", "request{id=3}:"]);
    assert_eq!((stale, cache.get::<u8>("key").await.unwrap()), (1, Some(2)));
}
