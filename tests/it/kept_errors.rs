//! Errors that are kept for a short while, where that is asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, Codec, ComputeError, DomainSettings, ErrorKind, Intent, Loaded};

use harness::support::{Broken, settle};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).backend(backend).clock(Arc::new(clock.clone()));
    builder.jitter(false).swr_enabled(false).stale_if_error(Duration::ZERO)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(4 << 20, Arc::new(clock.clone()))
}

/// A computation that counts how often it runs, and fails.
fn down(runs: &Arc<AtomicUsize>) -> impl FnOnce() -> std::future::Ready<Result<u32, Broken>> + Send + 'static {
    let runs = Arc::clone(runs);
    move || {
        runs.fetch_add(1, SeqCst);
        std::future::ready(Err(Broken("down")))
    }
}

async fn fails<B: Backend, C: Codec>(cache: &Cache<B, C>, runs: &Arc<AtomicUsize>) -> Arc<Broken> {
    match cache.entry("key").tags(["red"]).get_or_compute(down(runs)).await {
        Err(ComputeError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_same_error_answers_for_as_long_as_the_policy_says() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).error_ttl(secs(5)).build().unwrap();
    let runs = Arc::default();
    let first = fails(&cache, &runs).await;
    clock.advance(Duration::from_millis(4_999));
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&fails(&cache, &runs).await, &first));
    }
    assert_eq!((runs.load(SeqCst), cache.stats().failed, cache.stats().computations_failed), (1, 11, 1));
    clock.advance(Duration::from_millis(1));
    assert!(!Arc::ptr_eq(&fails(&cache, &runs).await, &first));
    assert_eq!(runs.load(SeqCst), 2);
    let domain = cache.domain_with("brief", DomainSettings::new().error_ttl(secs(1))).unwrap();
    fails(&domain, &runs).await;
    clock.advance(secs(1));
    fails(&domain, &runs).await;
    assert_eq!(runs.load(SeqCst), 4, "a domain has its own");
}

#[tokio::test]
async fn without_being_asked_for_no_error_is_kept() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    let runs = Arc::default();
    fails(&cache, &runs).await;
    fails(&cache, &runs).await;
    assert_eq!(runs.load(SeqCst), 2);
}

#[tokio::test]
async fn a_call_says_how_long_its_error_is_kept_by_a_time_or_by_a_function() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).error_ttl(secs(60)).build().unwrap();
    let runs = Arc::default();
    let by = |error: &Broken| if error.0 == "down" { secs(3) } else { secs(30) };
    for (number, call) in [cache.entry(1).error_ttl(secs(3)), cache.entry(2).error_ttl_by(by)].into_iter().enumerate() {
        let key = number as i32 + 1;
        assert!(call.get_or_compute(down(&runs)).await.is_err());
        clock.advance(Duration::from_millis(2_999));
        assert!(cache.get_or_compute(key, down(&runs)).await.is_err());
        assert_eq!(runs.load(SeqCst), number * 2 + 1);
        clock.advance(Duration::from_millis(1));
        assert!(cache.get_or_compute(key, down(&runs)).await.is_err());
        assert_eq!(runs.load(SeqCst), number * 2 + 2);
    }
    let before = runs.load(SeqCst);
    for _ in 0..2 {
        assert!(cache.entry(3).error_ttl(Duration::ZERO).get_or_compute(down(&runs)).await.is_err());
    }
    assert_eq!(runs.load(SeqCst), before + 2, "zero keeps none, whatever the policy says");
    let other = cache.entry(4).error_ttl_by(|_: &std::io::Error| secs(3)).get_or_compute(down(&runs)).await;
    let Err(ComputeError::Cache(error)) = other else { panic!("{other:?}") };
    assert_eq!(error.kind(), ErrorKind::Argument);
    assert_eq!(runs.load(SeqCst), before + 2, "and nothing is computed");
}

#[tokio::test]
async fn fetch_keeps_errors_as_the_call_says() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    let runs = Arc::default();
    let by = |error: &Broken| if error.0 == "down" { secs(3) } else { secs(30) };
    for (number, call) in [cache.entry(1).error_ttl(secs(3)), cache.entry(2).error_ttl_by(by)].into_iter().enumerate() {
        let key = number as i32 + 1;
        assert!(call.fetch(down(&runs)).await.is_err());
        clock.advance(Duration::from_millis(2_999));
        assert!(cache.fetch(key, down(&runs)).await.is_err());
        assert_eq!(runs.load(SeqCst), number * 2 + 1);
        clock.advance(Duration::from_millis(1));
        assert!(cache.fetch(key, down(&runs)).await.is_err());
        assert_eq!(runs.load(SeqCst), number * 2 + 2);
    }
    let other = cache.entry(3).error_ttl_by(|_: &std::io::Error| secs(3)).fetch(down(&runs)).await;
    assert!(matches!(&other, Err(ComputeError::Cache(error)) if error.kind() == ErrorKind::Argument), "{other:?}");
    assert_eq!(runs.load(SeqCst), 4, "and nothing is computed");
}

#[tokio::test]
async fn a_change_of_the_key_or_a_tag_here_or_elsewhere_ends_it() {
    for (number, elsewhere) in (0..6).flat_map(|number| [(number, false), (number, true)]) {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        let build = || builder(&clock, backend.clone()).error_ttl(secs(60)).build().unwrap();
        let (cache, other) = (build(), build());
        let runs = Arc::default();
        fails(&cache, &runs).await;
        cache.invalidate("another").await.unwrap();
        cache.invalidate_tag("blue").await.unwrap();
        fails(&cache, &runs).await;
        assert_eq!(runs.load(SeqCst), 1, "a change of something else leaves it");
        let changing = if elsewhere { &other } else { &cache };
        match number {
            0 => changing.invalidate("key").await.unwrap(),
            1 => changing.invalidate_tag("red").await.unwrap(),
            2 => changing.invalidate_namespace().await.unwrap(),
            3 => changing.clear().await.unwrap(),
            4 => changing.expire("key").await.unwrap(),
            _ => changing.set("key", 7u32).await.unwrap(),
        }
        settle().await;
        if number == 5 {
            assert_eq!(cache.get_or_compute("key", down(&runs)).await.unwrap(), 7);
        } else {
            fails(&cache, &runs).await;
            assert_eq!(runs.load(SeqCst), 2, "change {number}, elsewhere: {elsewhere}");
        }
    }
}

#[tokio::test]
async fn only_errors_that_callers_were_told_are_kept() {
    let clock = ManualClock::new();
    let builder = builder(&clock, memory(&clock)).error_ttl(secs(60)).stale_if_error(secs(100));
    let cache = builder.ttl(secs(10)).throttle(Duration::ZERO).build().unwrap();
    let runs = Arc::default();
    cache.set("key", 1u32).await.unwrap();
    clock.advance(secs(10));
    for _ in 0..3 {
        assert_eq!(cache.get_or_compute("key", down(&runs)).await.unwrap(), 1, "an older value stands in");
    }
    assert_eq!(runs.load(SeqCst), 3);

    let panics = || async { panic!("on purpose") as Result<u32, Broken> };
    let panicked = cache.get_or_compute("panics", panics).await;
    assert!(matches!(panicked, Err(ComputeError::Panicked { .. })));
    assert_eq!(cache.get_or_compute("panics", || async { Ok::<_, Broken>(2u32) }).await.unwrap(), 2);

    assert!(cache.get_or_compute("types", down(&runs)).await.is_err());
    let others = cache.get_or_compute("types", || async { Ok::<_, std::io::Error>(3u32) }).await;
    assert_eq!(others.unwrap(), 3, "an error of another type is not theirs");
}

#[tokio::test]
async fn calls_that_compute_anew_ask_again_and_so_do_all_of_a_paused_cache() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).error_ttl(secs(60)).build().unwrap();
    let runs = Arc::default();
    fails(&cache, &runs).await;
    assert!(cache.entry("key").skip_l1_read().skip_l2_read().get_or_compute(down(&runs)).await.is_err());
    assert_eq!(runs.load(SeqCst), 2);
    cache.pause();
    fails(&cache, &runs).await;
    fails(&cache, &runs).await;
    assert_eq!(runs.load(SeqCst), 4);
    cache.resume();
    fails(&cache, &runs).await;
    assert_eq!(runs.load(SeqCst), 4, "it was kept before the pause");
}

#[tokio::test]
async fn of_a_batch_the_keys_that_failed_are_not_asked_for_again() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).error_ttl(secs(60)).build().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let many = || {
        let asked = Arc::clone(&asked);
        cache.get_or_compute_many([1u64, 2, 3], move |missing: Vec<u64>| {
            asked.fetch_add(missing.len(), SeqCst);
            async move {
                let mut loaded = Loaded::<u64, u32, Broken>::new();
                missing.into_iter().for_each(|key| match key {
                    2 => loaded.insert_error(key, Broken("down")),
                    _ => loaded.insert(key, 1),
                });
                Ok(loaded)
            }
        })
    };
    for _ in 0..2 {
        let found = many().await;
        assert!(matches!(found[..], [Ok(Some(1)), Err(ComputeError::Failed(_)), Ok(Some(1))]), "{found:?}");
        settle().await;
    }
    assert_eq!(asked.load(SeqCst), 3);
}

#[tokio::test]
async fn so_many_are_kept_and_none_after_close() {
    const MOST: usize = 4_096;
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).error_ttl(secs(60)).build().unwrap();
    let runs = Arc::default();
    for key in 0..=MOST {
        assert!(cache.get_or_compute(key, down(&runs)).await.is_err());
    }
    for (key, expected) in [(MOST, 0), (1, 0), (0, 1)] {
        let before = runs.load(SeqCst);
        assert!(cache.get_or_compute(key, down(&runs)).await.is_err());
        assert_eq!(runs.load(SeqCst) - before, expected, "key {key}");
    }
    cache.close(secs(1)).await.unwrap();
    assert!(format!("{cache:#?}").contains("fences: 0"), "{cache:#?}");
    let before = runs.load(SeqCst);
    for _ in 0..2 {
        assert!(cache.get_or_compute(MOST, down(&runs)).await.is_err());
    }
    assert_eq!(runs.load(SeqCst), before + 2);
}
