//! `l1_cost_aware`: L1 prefers to keep what took long to compute.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent};
use harness::support::Broken;

const KEYS: usize = 2_000;
/// Of four keys, one takes a second, the others a millisecond.
const COSTS: [Duration; 4] = [Duration::from_secs(1), MILLI, MILLI, MILLI];
const MILLI: Duration = Duration::from_millis(1);

/// Asks for keys by chance, low ones more often than high ones, of which a fifth has room. How many had to be computed, and
/// how many milliseconds that took.
async fn spent<B: Backend, C: Codec>(cache: &Cache<B, C>, clock: &ManualClock) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(7);
    let taken = Arc::new(AtomicU64::new(0));
    for _ in 0..40_000 {
        let key = (KEYS as f64 * rng.f64() * rng.f64() * rng.f64()) as usize;
        let (clock, taken) = (clock.clone(), Arc::clone(&taken));
        let compute = move || async move {
            clock.advance(COSTS[key % 4]);
            taken.fetch_add(COSTS[key % 4].as_millis() as u64, SeqCst);
            Ok::<_, Broken>(vec![0u8; 2_000])
        };
        cache.get_or_compute(key, compute).await.unwrap();
    }
    (cache.stats().computations, taken.load(SeqCst))
}

fn builder(clock: &ManualClock, is_aware: bool) -> CacheBuilder<NoBackend, Postcard, Intent::Production> {
    let builder = CacheBuilder::new().clock(Arc::new(clock.clone())).ttl(Duration::from_secs(1_000_000));
    builder.l1_max_size_mb(1.0).stats(true).l1_cost_aware(is_aware)
}

#[tokio::test]
async fn what_took_long_stays_and_time_is_saved() {
    let clock = ManualClock::new();
    let (misses, time) = spent(&builder(&clock, false).build().unwrap(), &clock).await;
    let (misses_aware, time_aware) = spent(&builder(&clock, true).build().unwrap(), &clock).await;
    assert!(time_aware < time * 97 / 100, "{time_aware} ms with it, {time} without");
    assert!(misses_aware < misses * 21 / 20, "{misses_aware} computations with it, {misses} without");
}

#[tokio::test]
async fn over_a_backend_it_makes_no_difference() {
    let mut all = Vec::new();
    for is_aware in [false, true] {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(64 << 20, Arc::new(clock.clone()));
        let cache = builder(&clock, is_aware).backend(memory).build().unwrap();
        spent(&cache, &clock).await;
        all.push(cache.stats().l1_hits);
    }
    assert_eq!(all[0], all[1]);
}

#[tokio::test]
async fn what_was_costly_and_is_not_asked_for_any_more_makes_room() {
    let clock = ManualClock::new();
    let cache = builder(&clock, true).build().unwrap();
    let ask = async |key: String, cost: Duration| {
        let clock = clock.clone();
        let compute = move || async move {
            clock.advance(cost);
            Ok::<_, Broken>(vec![0u8; 2_000])
        };
        cache.get_or_compute(key, compute).await.unwrap();
    };
    for turn in 0..40_000 {
        ask(format!("costly-{}", turn % 300), COSTS[0]).await;
    }
    for turn in 0..90_000 {
        ask(format!("cheap-{}", turn % 300), MILLI).await;
    }
    let before = cache.stats();
    for turn in 0..10_000 {
        ask(format!("cheap-{}", turn % 300), MILLI).await;
    }
    let hits = (cache.stats() - before).l1_hits;
    assert!(hits > 9_500, "{hits} of 10,000");
}
