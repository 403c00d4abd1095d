//! The bound on what L1 serves: with the bus heard, cut, or not there at all.

use std::time::Duration;

use cachekit::testing::ChaosControl;
use cachekit::{ComputeError, Grace};

use super::*;

const BOUND: Duration = Duration::from_secs(2);

/// A cache with the bound over a backend that fails on demand, and its neighbour on the same server without either.
fn bounded(
    clock: &ManualClock,
    change: impl FnOnce(CacheBuilder<Chaos<Memory>, Postcard, cachekit::intent::Production>) -> Bounded,
) -> (Bounded, Pages<Memory>, ChaosControl) {
    let memory = memory(clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    (change(builder(clock, chaos).max_staleness(BOUND)), pages(clock, memory), control)
}

type Bounded = Pages<Chaos<Memory>>;
type Builder = CacheBuilder<Chaos<Memory>, Postcard, cachekit::intent::Production>;

fn plain(builder: Builder) -> Bounded {
    builder.build().unwrap()
}

fn busless(builder: Builder) -> Bounded {
    builder.invalidation_enabled(false).build().unwrap()
}

/// Lets time pass in steps that the reader of the bus can follow.
async fn pass(clock: &ManualClock, time: Duration) {
    for _ in 0..time.as_millis() / 100 {
        clock.advance(Duration::from_millis(100));
        settle().await;
    }
}

#[tokio::test]
async fn while_the_bus_is_heard_nothing_is_read_anew() {
    let clock = ManualClock::new();
    let (cache, other, control) = bounded(&clock, plain);
    cache.set("home", 1u32).await.unwrap();
    let reads = control.count(Operation::Get);
    for _ in 0..10 {
        pass(&clock, BOUND).await;
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1));
    }
    assert_eq!((control.count(Operation::Get), cache.stats().gaps), (reads, 0));
    let longest = cache.stats().staleness.longest().unwrap();
    assert!(longest <= BOUND, "{longest:?}");
    other.set("home", 2u32).await.unwrap();
    until("the change is heard", async || in_l1(&cache, "home").await.is_none()).await;
}

#[tokio::test]
async fn missed_change_is_served_for_the_staleness_bound_at_most() {
    let clock = ManualClock::new();
    let (cache, other, control) = bounded(&clock, plain);
    for n in 0..100u32 {
        cache.set(n, 1u32).await.unwrap();
    }
    settle().await;
    control.inject(Operation::Receive, Fault::Refuse);
    pass(&clock, BOUND / 4).await;
    for n in 0..100u32 {
        other.set(n, 2u32).await.unwrap();
    }
    assert_eq!(cache.get::<u32>(7u32).await.unwrap(), Some(1), "nobody told it");
    let reads = control.count(Operation::Get);
    pass(&clock, BOUND).await;
    for n in 0..100u32 {
        assert_eq!(cache.get::<u32>(n).await.unwrap(), Some(2));
        assert_eq!(cache.get::<u32>(n).await.unwrap(), Some(2));
    }
    assert!((100..=102).contains(&(control.count(Operation::Get) - reads)), "each was read once");
    assert_eq!(cache.stats().gaps, 0);
    // What was read then is believed for as long again.
    for n in 0..100u32 {
        other.set(n, 3u32).await.unwrap();
    }
    assert_eq!(cache.get::<u32>(7u32).await.unwrap(), Some(2));
    pass(&clock, BOUND).await;
    assert_eq!(cache.get::<u32>(7u32).await.unwrap(), Some(3));
    // And for ever, once the bus is heard again.
    control.heal();
    pass(&clock, BOUND).await;
    assert_eq!(cache.get::<u32>(7u32).await.unwrap(), Some(3));
    let reads = control.count(Operation::Get);
    pass(&clock, BOUND * 5).await;
    assert_eq!(cache.get::<u32>(7u32).await.unwrap(), Some(3));
    assert_eq!(control.count(Operation::Get), reads);
}

#[tokio::test]
async fn a_bus_that_hangs_is_a_bus_that_is_cut() {
    let clock = ManualClock::new();
    let (cache, other, control) = bounded(&clock, plain);
    cache.set("home", 1u32).await.unwrap();
    settle().await;
    control.inject(Operation::Receive, Fault::Hang);
    pass(&clock, BOUND / 2).await;
    other.invalidate("home").await.unwrap();
    pass(&clock, BOUND).await;
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn without_a_bus_l1_is_read_anew_that_often() {
    let clock = ManualClock::new();
    let (cache, other, control) = bounded(&clock, busless);
    cache.set("home", 1u32).await.unwrap();
    assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1));
    other.set("home", 2u32).await.unwrap();
    clock.advance(BOUND - Duration::from_millis(1));
    assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1));
    clock.advance(Duration::from_millis(1));
    let reads = control.count(Operation::Get);
    for _ in 0..10 {
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(2));
    }
    assert_eq!(control.count(Operation::Get) - reads, 3, "the entry, and once the clock of its writer");
}

#[tokio::test]
async fn l1_past_its_bound_is_no_fallback_even_with_a_dead_backend() {
    let clock = ManualClock::new();
    let fallback = |builder: Builder| builder.stale_if_error(Grace::Ttl).ttl(Duration::from_secs(10)).build().unwrap();
    let (cache, _, control) = bounded(&clock, fallback);
    let fails = async || cache.get_or_compute("home", || async { Err::<u32, _>("down") }).await;
    cache.set("home", 1u32).await.unwrap();
    settle().await;
    pass(&clock, Duration::from_secs(10)).await;
    control.inject_all(Fault::Refuse);
    assert_eq!(fails().await.unwrap(), 1, "expired, and its own computation fails");
    pass(&clock, BOUND).await;
    assert!(matches!(fails().await, Err(ComputeError::Failed(_))), "nobody knows whether it was invalidated");
}

#[tokio::test]
async fn a_fallback_is_dropped_if_its_computation_outlasts_the_bound() {
    let clock = ManualClock::new();
    let fallback = |builder: Builder| builder.stale_if_error(Grace::Ttl).ttl(Duration::from_secs(10)).build().unwrap();
    for (outlasts, bus) in [(false, false), (true, false), (true, true)] {
        let (cache, _, control) = bounded(&clock, fallback);
        cache.set("home", 1u32).await.unwrap();
        pass(&clock, Duration::from_secs(10)).await;
        control.inject_all(Fault::Refuse);
        if bus {
            control.heal();
            control.inject(Operation::Get, Fault::Refuse);
        }
        let slow = Slow::new();
        let call = tokio::spawn({
            let (cache, slow) = (cache.clone(), slow.clone());
            async move { cache.get_or_compute("home", move || slow.run(Err::<u32, _>(Broken("down")))).await }
        });
        slow.wait_for_start().await;
        pass(&clock, if outlasts { BOUND } else { BOUND / 4 }).await;
        slow.finish(1);
        let answer = call.await.unwrap();
        assert_eq!(answer.is_ok(), !outlasts || bus, "{answer:?}");
    }
}

#[tokio::test]
async fn answers_are_counted_by_how_stale_they_may_be() {
    let clock = ManualClock::new();
    let (cache, ..) = bounded(&clock, busless);
    cache.set("home", 1u32).await.unwrap();
    let mut expected = Vec::new();
    for wait in [0, 1, 1, 2, 60, 1_000] {
        clock.advance(Duration::from_millis(wait));
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1));
        expected.push(wait);
    }
    let staleness = cache.stats().staleness;
    let counted: Vec<_> = staleness.iter().filter(|(_, answers)| *answers > 0).collect();
    // 0 ms, 1 ms, 2 ms, 4 ms, 64 ms, 1,064 ms.
    let limits = [(0, 1), (1, 1), (3, 1), (7, 1), (127, 1), (2_047, 1)];
    let limits: Vec<_> = limits.into_iter().map(|(limit, answers)| (Duration::from_millis(limit), answers)).collect();
    assert_eq!((counted, staleness.longest()), (limits, Some(Duration::from_millis(2_047))));
    let unbounded = pages(&clock, memory(&clock));
    unbounded.set("home", 1u32).await.unwrap();
    unbounded.get::<u32>("home").await.unwrap();
    assert_eq!((unbounded.stats().l1_hits, unbounded.stats().staleness.longest()), (1, None));
}

#[tokio::test]
async fn past_the_bound_nobody_joins_a_computation_from_before() {
    let clock = ManualClock::new();
    let (cache, other, control) = bounded(&clock, plain);
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
    let slow = Slow::new();
    let call = |run: Slow| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_or_compute("home", move || run.run(Ok(1u32))).await.unwrap() })
    };
    let first = call(slow.clone());
    slow.wait_for_start().await;
    control.inject(Operation::Receive, Fault::Refuse);
    pass(&clock, BOUND / 4).await;
    other.set("home", 2u32).await.unwrap();
    let within = call(slow.clone());
    settle().await;
    pass(&clock, BOUND).await;
    let past = call(slow.clone());
    settle().await;
    assert!(past.is_finished() && !within.is_finished());
    assert_eq!(past.await.unwrap(), 2, "what the backend has");
    slow.finish(2);
    assert_eq!((first.await.unwrap(), within.await.unwrap()), (1, 1));
}
