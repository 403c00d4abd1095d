//! `l1_ttl`: entries that live shorter in L1 than in the backend.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Backend, Cache, CacheBuilder, Intent, Operation};

use harness::support::{Broken, settle};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Entries live for 100 s, and for 10 s in L1.
fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Minimal> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).backend(backend).clock(Arc::new(clock.clone()));
    builder.stats(true).ttl(secs(100)).l1_ttl(secs(10)).jitter(false)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

async fn computes<B: Backend, C: cachekit::Codec>(cache: &Cache<B, C>, value: u32) -> u32 {
    let computed = cache.get_or_compute("key", move || async move { Ok::<_, Broken>(value) }).await.unwrap();
    settle().await;
    computed
}

#[tokio::test]
async fn after_l1_ttl_the_backend_is_read_and_l1_answers_as_long_again() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let cache = builder(&clock, backend).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    for round in 1..=9 {
        let before = control.count(Operation::Get);
        clock.advance(secs(9));
        assert_eq!(computes(&cache, 2).await, 1);
        assert_eq!(control.count(Operation::Get), before, "round {round}");
        clock.advance(secs(1));
        assert_eq!(computes(&cache, 2).await, 1);
        assert_eq!(control.count(Operation::Get), before + 1, "round {round}");
    }
    clock.advance(secs(9));
    assert_eq!(computes(&cache, 2).await, 1);
    clock.advance(secs(1));
    assert_eq!(computes(&cache, 2).await, 2, "the entry's own life is over");
    assert_eq!((cache.stats().computed, cache.stats().l2_hits), (2, 9));
}

#[tokio::test]
async fn the_variable_sets_it_and_what_changed_unheard_lags_by_it_at_most() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let build = || {
        let builder = CacheBuilder::from_vars([("CACHEKIT_L1_TTL", "2.5")]).intent(Intent::Minimal);
        builder.backend(backend.clone()).clock(Arc::new(clock.clone())).jitter(false).build().unwrap()
    };
    let (one, other) = (build(), build());
    one.set("key", 1u32).await.unwrap();
    assert_eq!(other.get::<u32>("key").await.unwrap(), Some(1));
    one.set("key", 2u32).await.unwrap();
    clock.advance(Duration::from_millis(2_499));
    assert_eq!(other.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(other.get::<u32>("key").await.unwrap(), Some(2));
}

#[tokio::test]
async fn an_entry_that_ends_earlier_does_so_in_l1_too() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).negative_ttl(secs(3)).build().unwrap();
    cache.set("none", None::<u32>).await.unwrap();
    cache.entry("short").ttl(secs(5)).set(1u32).await.unwrap();
    clock.advance(secs(3));
    assert_eq!(cache.get::<Option<u32>>("none").await.unwrap(), None);
    assert_eq!(cache.get::<u32>("short").await.unwrap(), Some(1));
    clock.advance(secs(2));
    assert_eq!(cache.get::<u32>("short").await.unwrap(), None);

    let stale = builder(&clock, memory(&clock)).swr_enabled(true).swr_threshold_ratio(0.1).l1_ttl(secs(50));
    let stale = stale.build().unwrap();
    assert_eq!(computes(&stale, 1).await, 1);
    clock.advance(secs(10));
    assert_eq!((computes(&stale, 2).await, stale.stats().stale), (1, 1), "stale by the entry's own dates");
    assert_eq!(computes(&stale, 3).await, 2);
}

#[tokio::test]
async fn jitter_spreads_the_end_in_l1_over_a_tenth() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).jitter(true).build().unwrap();
    for key in 0..200u32 {
        cache.set(key, key).await.unwrap();
    }
    let in_l1 = async || {
        let before = cache.stats().l1_hits;
        for key in 0..200u32 {
            assert_eq!(cache.entry(key).skip_l2_read().get::<u32>().await.unwrap().unwrap_or(key), key);
        }
        cache.stats().l1_hits - before
    };
    clock.advance(Duration::from_millis(8_999));
    assert_eq!(in_l1().await, 200);
    clock.advance(Duration::from_millis(501));
    let half = in_l1().await;
    assert!((40..160).contains(&half), "{half} of 200 after half of the spread");
    clock.advance(Duration::from_millis(500));
    assert_eq!(in_l1().await, 0);
}

#[tokio::test]
async fn what_l1_does_not_answer_with_any_more_stands_in_within_its_grace() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let cache = builder(&clock, backend).stale_if_error(secs(20)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    control.inject_all(Fault::Refuse);
    let fails = || cache.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) });
    clock.advance(secs(29));
    assert_eq!(fails().await.unwrap(), 1, "neither the backend nor the origin answers");
    clock.advance(secs(1));
    assert!(fails().await.is_err());
    control.heal();
    clock.advance(secs(15));
    assert_eq!(fails().await.unwrap(), 1, "the backend has it for its whole life");
}

#[tokio::test]
async fn whichever_of_l1_ttl_and_max_staleness_is_over_first_counts() {
    for (l1_ttl, staleness) in [(2, 60), (60, 2)] {
        let clock = ManualClock::new();
        let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
        let control = backend.control();
        let builder = builder(&clock, backend).invalidation_enabled(false).l1_ttl(secs(l1_ttl));
        let cache = builder.max_staleness(secs(staleness)).build().unwrap();
        cache.set("key", 1u32).await.unwrap();
        let before = control.count(Operation::Get);
        clock.advance(Duration::from_millis(1_999));
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
        assert_eq!(control.count(Operation::Get), before, "{l1_ttl} and {staleness}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
        assert_eq!(control.count(Operation::Get), before + 1, "{l1_ttl} and {staleness}");
    }
}

#[tokio::test]
async fn without_a_backend_entries_live_no_longer() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).jitter(false);
    let cache = builder.ttl(secs(100)).l1_ttl(secs(10)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    clock.advance(secs(10));
    assert_eq!(computes(&cache, 2).await, 2);
}
