//! `xfetch_beta`: entries that are renewed ahead of their end, by chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{Backend, Cache, CacheBuilder, Clock, Intent, Loaded, Operation, Outcome, Stats};

use harness::support::{Broken, settle};

/// What each computation takes.
const COST: Duration = Duration::from_millis(100);
const TTL: Duration = Duration::from_secs(100);

/// Without leases, stale-while-revalidate and jitter.
fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Minimal> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).backend(backend).clock(Arc::new(clock.clone()));
    builder.stats(true).ttl(TTL).jitter(false).xfetch_beta(1.0)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

/// Starts a call whose computation takes [`COST`].
fn call<B: Backend>(
    clock: &ManualClock,
    cache: &Cache<B, Postcard>,
    value: u32,
    computations: &Arc<AtomicUsize>,
) -> tokio::task::JoinHandle<u32> {
    let (clock, cache, computations) = (clock.clone(), cache.clone(), Arc::clone(computations));
    tokio::spawn(async move {
        let compute = move || async move {
            computations.fetch_add(1, SeqCst);
            clock.sleep(COST).await;
            Ok::<_, Broken>(value)
        };
        cache.get_or_compute("key", compute).await.unwrap()
    })
}

/// A cache whose key was computed, and the count of its computations.
async fn filled<B: Backend>(clock: &ManualClock, cache: &Cache<B, Postcard>) -> Arc<AtomicUsize> {
    let computations = Arc::default();
    let first = call(clock, cache, 1, &computations);
    settle().await;
    clock.advance(COST);
    assert_eq!(first.await.unwrap(), 1);
    settle().await;
    computations
}

/// Reads until one renews; what all of these were answered.
async fn until_renewed<B: Backend>(
    clock: &ManualClock,
    cache: &Cache<B, Postcard>,
    computations: &Arc<AtomicUsize>,
) -> Vec<u32> {
    let (before, mut answers) = (computations.load(SeqCst), Vec::new());
    while computations.load(SeqCst) == before {
        assert!(answers.len() < 1_000, "none of 1,000 reads renews");
        answers.push(call(clock, cache, 2, computations).await.unwrap());
        settle().await;
    }
    answers
}

#[tokio::test]
async fn a_read_near_the_end_is_a_hit_and_renews_behind_it() {
    for has_l1 in [true, false] {
        let clock = ManualClock::new();
        let cache = builder(&clock, memory(&clock)).l1_enabled(has_l1).build().unwrap();
        let computations = filled(&clock, &cache).await;
        clock.advance(TTL - COST);
        let answers = until_renewed(&clock, &cache, &computations).await;
        assert!(answers.iter().all(|answer| *answer == 1), "{answers:?}");
        let more = call(&clock, &cache, 9, &computations).await.unwrap();
        assert_eq!((more, computations.load(SeqCst)), (1, 2), "while it is renewed");
        clock.advance(COST - Duration::from_millis(1));
        assert_eq!(call(&clock, &cache, 9, &computations).await.unwrap(), 1, "until its very end");
        clock.advance(Duration::from_millis(1));
        settle().await;
        assert_eq!(call(&clock, &cache, 9, &computations).await.unwrap(), 2);
        let Stats { l1_hits, l2_hits, stale, computed, .. } = cache.stats();
        let hits = answers.len() as u64 + 3;
        assert_eq!((l1_hits, l2_hits), if has_l1 { (hits, 0) } else { (0, hits) });
        assert_eq!((stale, computed, computations.load(SeqCst)), (0, 1, 2), "no call waited");
    }
}

#[tokio::test]
async fn far_from_its_end_an_entry_is_not_renewed_and_nothing_is_drawn() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    let computations = filled(&clock, &cache).await;
    // To the tick before reads begin to draw.
    clock.advance(TTL - COST * 12 - Duration::from_millis(1));
    fastrand::seed(7);
    let first = fastrand::u64(..);
    fastrand::seed(7);
    for _ in 0..10_000 {
        assert_eq!(call(&clock, &cache, 9, &computations).await.unwrap(), 1);
    }
    assert_eq!((fastrand::u64(..), computations.load(SeqCst)), (first, 1));
}

#[tokio::test]
async fn without_the_setting_or_a_cost_nothing_is_renewed_early() {
    let clock = ManualClock::new();
    let off = builder(&clock, memory(&clock)).xfetch_beta(0.0).build().unwrap();
    let computations = filled(&clock, &off).await;
    let set = builder(&clock, memory(&clock)).build().unwrap();
    set.set("key", 1u32).await.unwrap();
    clock.advance(TTL - COST - Duration::from_millis(1));
    for _ in 0..2_000 {
        assert_eq!(call(&clock, &off, 9, &computations).await.unwrap(), 1);
        assert_eq!(call(&clock, &set, 9, &computations).await.unwrap(), 1);
    }
    assert_eq!(computations.load(SeqCst), 1);
}

#[tokio::test]
async fn reads_that_compute_nothing_renew_nothing() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    filled(&clock, &cache).await;
    clock.advance(TTL - Duration::from_millis(1));
    for _ in 0..200 {
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
        assert_eq!(cache.get_many::<u32, _>(["key"]).await.unwrap(), [Some(1)]);
        assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
    }
    assert_eq!((cache.stats().l1_hits, cache.stats().l2_hits, cache.stats().computations), (400, 200, 1));
}

#[tokio::test]
async fn with_stale_while_revalidate_the_end_is_that_of_being_fresh() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).swr_enabled(true).build().unwrap();
    let computations = filled(&clock, &cache).await;
    clock.advance(TTL / 2 - COST);
    until_renewed(&clock, &cache, &computations).await;
    clock.advance(COST);
    settle().await;
    assert_eq!(call(&clock, &cache, 9, &computations).await.unwrap(), 2);
    assert_eq!((cache.stats().stale, computations.load(SeqCst)), (0, 2), "renewed before it was stale");
}

#[tokio::test]
async fn without_background_work_the_call_that_draws_computes_and_others_are_answered() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).background(false).build().unwrap();
    let computations = filled(&clock, &cache).await;
    clock.advance(TTL - COST * 3);
    let mut drawn = None;
    for _ in 0..1_000 {
        let reading = call(&clock, &cache, 2, &computations);
        settle().await;
        if reading.is_finished() {
            assert_eq!(reading.await.unwrap(), 1);
        } else {
            drawn = Some(reading);
            break;
        }
    }
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(COST);
    assert_eq!((drawn.unwrap().await.unwrap(), computations.load(SeqCst)), (2, 2));
}

#[tokio::test]
async fn without_background_work_a_batch_computes_what_it_draws_as_a_single_call_does() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).background(false).build().unwrap();
    let computations = filled(&clock, &cache).await;
    clock.advance(TTL - Duration::from_millis(1));
    let load = |missing: Vec<&'static str>| async move {
        Ok::<Loaded<&'static str, u32, Broken>, _>(missing.into_iter().map(|key| (key, 2)).collect())
    };
    let mut answers = Vec::new();
    while answers.last() != Some(&2) {
        assert!(answers.len() < 1_000, "none of 1,000 batches computes");
        answers.push(cache.get_or_compute_many(["key"], load).await.remove(0).unwrap().unwrap());
    }
    assert_eq!(call(&clock, &cache, 9, &computations).await.unwrap(), 2, "and it is stored");
    assert_eq!((cache.stats().computations, cache.stats().stale), (2, 0));
}

#[tokio::test]
async fn fetch_renews_by_chance_as_other_calls_do() {
    for has_l1 in [true, false] {
        let clock = ManualClock::new();
        let cache = builder(&clock, memory(&clock)).l1_enabled(has_l1).build().unwrap();
        let computations = filled(&clock, &cache).await;
        clock.advance(TTL - Duration::from_millis(1));
        let mut fetched = Vec::new();
        while computations.load(SeqCst) < 2 {
            assert!(fetched.len() < 1_000, "none of 1,000 reads renews");
            let (sleeping, computations) = (clock.clone(), Arc::clone(&computations));
            let compute = move || async move {
                computations.fetch_add(1, SeqCst);
                sleeping.sleep(Duration::from_millis(1)).await;
                Ok::<_, Broken>(2u32)
            };
            let answer = cache.fetch("key", compute).await.unwrap();
            assert_eq!(answer.outcome(), if has_l1 { Outcome::L1Hit } else { Outcome::L2Hit });
            fetched.push(*answer.value());
            settle().await;
        }
        assert!(fetched.iter().all(|value| *value == 1), "{fetched:?}");
        clock.advance(Duration::from_millis(1));
        settle().await;
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2), "past the end of the first");
        let off = builder(&clock, memory(&clock)).background(false).build().unwrap();
        filled(&clock, &off).await;
        clock.advance(TTL - Duration::from_millis(1));
        let mut last = (Outcome::L1Hit, 1);
        for _ in 0..1_000 {
            if last.1 == 1 {
                let answer = off.fetch("key", || async { Ok::<_, Broken>(2u32) }).await.unwrap();
                last = (answer.outcome(), answer.into_value());
            }
        }
        assert_eq!(last, (Outcome::Computed, 2), "without background work, the call that draws computes");
    }
}

#[tokio::test]
async fn a_renewal_that_fails_takes_nothing_away() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).throttle(Duration::ZERO).build().unwrap();
    filled(&clock, &cache).await;
    clock.advance(TTL - COST);
    for _ in 0..100 {
        let failing = cache.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) });
        assert_eq!(failing.await.unwrap(), 1);
        settle().await;
    }
    assert!(cache.stats().computations_failed > 0);
    clock.advance(COST);
    assert!(cache.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) }).await.is_err());
}

#[tokio::test]
async fn another_process_that_has_renewed_is_believed_and_leases_make_one_computation_of_two() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let build = || builder(&clock, backend.clone()).leases(true).build().unwrap();
    let (one, two) = (build(), build());
    let computations = filled(&clock, &one).await;
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(TTL - COST);
    until_renewed(&clock, &one, &computations).await;
    let asked = control.count(Operation::Lease);
    while control.count(Operation::Lease) < asked + 2 {
        assert_eq!(call(&clock, &two, 3, &computations).await.unwrap(), 1);
        settle().await;
    }
    clock.advance(COST);
    settle().await;
    clock.advance(COST);
    settle().await;
    assert_eq!(call(&clock, &two, 9, &computations).await.unwrap(), 2, "what the other process has computed");
    assert_eq!(computations.load(SeqCst), 2);
}

#[tokio::test]
async fn batches_renew_what_is_near_its_end_together() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    let computations = Arc::new(AtomicUsize::new(0));
    let load = |value: u32| {
        let (clock, computations) = (clock.clone(), Arc::clone(&computations));
        move |missing: Vec<u64>| {
            let (clock, computations) = (clock.clone(), Arc::clone(&computations));
            async move {
                computations.fetch_add(1, SeqCst);
                clock.sleep(COST).await;
                Ok::<Loaded<u64, u32, Broken>, _>(missing.into_iter().map(|key| (key, value)).collect())
            }
        }
    };
    let many = |value: u32| {
        let (cache, load) = (cache.clone(), load(value));
        tokio::spawn(async move {
            let found = cache.get_or_compute_many(0..50u64, load).await;
            found.into_iter().map(|found| found.unwrap().unwrap()).collect::<Vec<u32>>()
        })
    };
    let first = many(1);
    settle().await;
    clock.advance(COST);
    assert_eq!(first.await.unwrap(), [1; 50]);
    settle().await;
    clock.advance(TTL - COST);
    assert_eq!(many(2).await.unwrap(), [1; 50]);
    settle().await;
    assert_eq!(computations.load(SeqCst), 2, "those that draw are renewed by one call");
    clock.advance(COST - Duration::from_millis(1));
    let answers = many(3).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == 1), "{answers:?}");
    clock.advance(Duration::from_millis(1));
    settle().await;
    assert_eq!((cache.stats().computed, cache.stats().stale), (50, 0));
}

/// 1,000 processes without leases over one backend, each of which reads every 100 ms, around the end of an entry that
/// takes 100 ms to compute: how many compute it, and how many of the calls waited for that.
async fn thousand_readers(beta: f64) -> (usize, u64) {
    const READERS: usize = 1_000;
    let (clock, computations) = (ManualClock::new(), Arc::new(AtomicUsize::new(0)));
    let backend = memory(&clock);
    let build = || builder(&clock, backend.clone()).xfetch_beta(beta).l1_max_size_mb(1.0).build().unwrap();
    let caches: Vec<_> = (0..READERS).map(|_| build()).collect();
    filled(&clock, &caches[0]).await;
    for cache in &caches {
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    }
    clock.advance(TTL - COST * 13);
    fastrand::seed(1);
    for tick in 0..1_600 {
        for reader in (tick % 100..READERS).step_by(100) {
            drop(call(&clock, &caches[reader], 2, &computations));
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_millis(1));
    }
    settle().await;
    let waited = caches.iter().map(|cache| cache.stats().computed + cache.stats().joined).sum::<u64>() - 1;
    (computations.load(SeqCst), waited)
}

#[tokio::test]
async fn of_a_thousand_readers_few_renew_and_none_waits() {
    let (without, waiting) = thousand_readers(0.0).await;
    let (with, waits) = thousand_readers(1.0).await;
    println!("1,000 readers at expiry: {without} computations, {waiting} calls waited; with xfetch {with} and {waits}");
    assert_eq!((without, waiting), (1_000, 1_000), "all find the entry expired before the first has computed it");
    assert!((1..=20).contains(&with) && waits == 0, "{with} computations, {waits} calls waited");
}
