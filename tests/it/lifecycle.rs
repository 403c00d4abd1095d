//! What is bounded, what is drained, what costs nothing.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{CacheBuilder, ComputeError, ErrorKind, Intent, Operation};

use harness::support::{Broken, Slow, poll_once, settle};

#[tokio::test]
async fn close_waits_for_what_was_begun_and_the_cache_still_answers() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(chaos).build().unwrap();
    let gate = control.gate(Operation::Set);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    gate.wait_for(1).await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(Duration::from_secs(60)).await }
    });
    settle().await;
    assert!(!closing.is_finished());
    gate.open();
    closing.await.unwrap().unwrap();
    let elsewhere = cache.entry("key").skip_l1_read().get::<u32>().await.unwrap();
    assert_eq!(elsewhere, Some(1), "the write was drained, not dropped");
    assert_eq!(cache.get_or_compute("other", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    assert_eq!(cache.get::<u32>("other").await.unwrap(), None, "nothing is begun any more");
    assert_eq!(cache.pending(), 0);
}

#[tokio::test]
async fn close_stops_what_does_not_end_and_says_how_much() {
    let clock = ManualClock::new();
    let cache = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).build().unwrap();
    let mut caller = {
        let cache = cache.clone();
        Box::pin(async move { cache.get_or_compute("key", std::future::pending::<Result<u32, Broken>>).await })
    };
    assert!(poll_once(&mut caller).is_pending());
    settle().await;
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(Duration::from_secs(5)).await }
    });
    settle().await;
    clock.advance(Duration::from_secs(5));
    let error = closing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().starts_with("1 tasks"), "{error}");
    let Err(ComputeError::Cache(error)) = caller.await else { panic!("an error") };
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_cache_dropped_inside_a_flight_ends_well() {
    let memory = Memory::new(1 << 20);
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(memory.clone()).build().unwrap();
    let slow = Slow::new();
    let mut caller = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await })
    };
    assert!(poll_once(&mut caller).is_pending());
    slow.wait_for_start().await;
    drop((caller, cache));
    slow.finish(1);
    settle().await;
    assert_eq!(memory.len(), 1, "nobody owned the flight: it stored what it computed");
}

#[tokio::test]
async fn flights_beyond_the_bound_wait_and_all_answer() {
    let mut settings = cachekit::Settings::default();
    settings.max_flights = Some(4);
    let cache = CacheBuilder::new().intent(Intent::Minimal).settings(settings).build().unwrap();
    let slow = Slow::new();
    let mut callers: Vec<_> = (0..20u32)
        .map(|key| {
            let (cache, slow) = (cache.clone(), slow.clone());
            Box::pin(async move { cache.get_or_compute(key, move || slow.run(Ok(key))).await })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_once(caller).is_pending());
    }
    settle().await;
    assert_eq!(slow.started(), 4);
    slow.finish(20);
    for (key, caller) in (0u32..).zip(callers) {
        assert_eq!(caller.await.unwrap(), key);
    }
}

#[tokio::test]
async fn background_renewals_are_bounded() {
    let clock = ManualClock::new();
    let mut settings = cachekit::Settings::default();
    settings.max_refreshes = Some(2);
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .settings(settings)
        .swr_enabled(true)
        .jitter(false)
        .ttl(Duration::from_secs(100))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    for key in 0..10u32 {
        cache.set(key, key).await.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    let slow = Slow::new();
    for key in 0..10u32 {
        let run = slow.clone();
        assert_eq!(cache.get_or_compute(key, move || run.run(Ok(100u32))).await.unwrap(), key);
    }
    settle().await;
    assert_eq!(slow.started(), 2);
    slow.finish(2);
    settle().await;
    assert_eq!(cache.pending(), 0);
}

#[tokio::test]
async fn renewals_of_what_is_stale_in_the_backend_are_bounded_too() {
    let clock = ManualClock::new();
    let mut settings = cachekit::Settings::default();
    settings.max_refreshes = Some(2);
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(Memory::with_clock(1 << 20, Arc::new(clock.clone())))
        .settings(settings)
        .swr_enabled(true)
        .jitter(false)
        .l1_enabled(false)
        .ttl(Duration::from_secs(100))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    for key in 0..10u32 {
        cache.set(key, key).await.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    let slow = Slow::new();
    for key in 0..10u32 {
        let run = slow.clone();
        assert_eq!(cache.get_or_compute(key, move || run.run(Ok(100u32))).await.unwrap(), key);
    }
    settle().await;
    assert_eq!((slow.started(), cache.pending()), (2, 2));
    slow.finish(2);
    cache.close(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test]
async fn an_l1_hit_allocates_nothing() {
    let cache = CacheBuilder::new().intent(Intent::Production).namespace("users").build().unwrap();
    cache.set(("eu", 42u64), 7u64).await.unwrap();
    cache.set("long", std::sync::Arc::<str>::from("x".repeat(100)).to_string()).await.unwrap();
    let hit = || cache.get_or_compute(("eu", 42u64), || async { Ok::<u64, Broken>(8) });
    let shared = || cache.get_or_compute_arc("long", || async { Ok::<String, Broken>(String::new()) });
    // The first hit of a thread grows its key buffer and takes its seat among the counters.
    assert_eq!(hit().await.unwrap(), 7);
    assert_eq!(shared().await.unwrap().len(), 100);
    let info = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            let std::task::Poll::Ready(Ok(7)) = std::pin::pin!(hit()).poll_now() else { panic!("a hit") };
            let std::task::Poll::Ready(Ok(_)) = std::pin::pin!(shared()).poll_now() else { panic!("a hit") };
        }
    });
    assert_eq!(info.count_total, 0, "{info:?}");
}

trait PollNow: Future + Sized {
    fn poll_now(self: std::pin::Pin<&mut Self>) -> std::task::Poll<Self::Output> {
        self.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}

impl<F: Future> PollNow for F {}

#[test]
fn hundred_thousand_keys_in_a_small_l1_stay_within_its_budget() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let budget = 10 << 20;
    let cache = CacheBuilder::new().intent(Intent::Minimal).l1_max_size_mb(10.0).build().unwrap();
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            for key in 0..100_000u64 {
                let value = vec![key as u8; 300];
                let got = cache.get_or_compute(key, move || async move { Ok::<_, Broken>(value) }).await.unwrap();
                assert_eq!(got[0], key as u8);
            }
        });
    });
    let (weight, entries) = (cache.l1_bytes(), cache.l1_len());
    assert!(weight <= budget, "{weight} bytes accounted for");
    assert!(entries > 10_000, "{entries} entries");
    let (held, peak) = (info.bytes_current, info.bytes_max);
    assert!(held <= budget as i64 * 12 / 10, "{held} bytes held for {entries} entries");
    assert!(peak <= budget as u64 * 12 / 10, "{peak} bytes at the most");
    assert!(held >= budget as i64 * 6 / 10, "the budget is used: {held}");
}
