//! Leases: one computation for several processes over one backend.

mod woken;

use std::sync::Arc;
use std::time::Duration;

use cachekit::Backend;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Cache, CacheBuilder, Intent, Key, Operation};

use harness::support::{Broken, Late, Slow, leased, settle};

fn cache<B: Backend>(clock: &ManualClock, backend: B) -> Cache<B, Postcard> {
    CacheBuilder::new()
        .intent(Intent::Minimal)
        .leases(true)
        .backend(backend)
        .clock(Arc::new(clock.clone()))
        .stats(true)
        .build()
        .unwrap()
}

/// Lets time pass in small steps while tasks run, as long as `until` says no.
async fn pass_time(clock: &ManualClock, until: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if until() {
            return;
        }
        settle().await;
        clock.advance(Duration::from_millis(10));
    }
    panic!("nothing happened in 20 s of the manual clock");
}

#[tokio::test]
async fn ten_processes_that_miss_one_key_compute_it_once() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let slow = Slow::new();
    let callers: Vec<_> = (0..100)
        .map(|index| {
            let (cache, slow) = (cache(&clock, memory.clone()), slow.clone());
            tokio::spawn(async move { cache.get_or_compute("key", move || slow.run(Ok(index))).await.unwrap() })
        })
        .collect();
    slow.wait_for_start().await;
    pass_time(&clock, || clock.sleepers() > 0).await;
    slow.finish(1);
    pass_time(&clock, || callers.iter().all(tokio::task::JoinHandle::is_finished)).await;
    let mut values = Vec::new();
    for caller in callers {
        values.push(caller.await.unwrap());
    }
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert_eq!(slow.started(), 1);
}

#[tokio::test]
async fn computed_value_is_stored_however_slow_the_backend_is() {
    for trip in [100, 700, 1_500, 3_000] {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
        let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
        chaos.control().inject_all(Fault::Slow(Duration::from_millis(trip)));
        let slow = Slow::new();
        slow.finish(1);
        let build = CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(chaos);
        let build = build.clock(Arc::new(clock.clone())).operation_timeout(Duration::from_secs(60));
        let cache = build.wait_for_write(true).build().unwrap();
        let caller = tokio::spawn({
            let slow = slow.clone();
            async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await.unwrap() }
        });
        pass_time(&clock, || caller.is_finished()).await;
        assert_eq!((caller.await.unwrap(), memory.len()), (1, 1), "over a way of {trip} ms");
    }
}

#[tokio::test]
async fn without_leases_each_process_computes() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let slow = Slow::new();
    let build = || {
        let clock = Arc::new(clock.clone());
        CacheBuilder::new().intent(Intent::Minimal).backend(memory.clone()).clock(clock).build().unwrap()
    };
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, slow) = (build(), slow.clone());
            tokio::spawn(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await.unwrap() })
        })
        .collect();
    for _ in 0..3 {
        slow.wait_for_start().await;
    }
    slow.finish(3);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn invalidation_by_another_process_voids_a_computation() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let (one, two) = (cache(&clock, memory.clone()), cache(&clock, memory.clone()));
    let slow = Slow::new();
    let old = tokio::spawn({
        let (one, slow) = (one.clone(), slow.clone());
        async move { one.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    two.invalidate("key").await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap().unwrap(), 1);
    settle().await;
    assert!(memory.is_empty(), "the lease was void");
    assert_eq!(one.stats().fenced, 1);
    assert_eq!(two.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test]
async fn lease_holder_that_never_delivers_is_given_the_lease_wait() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let held = leased(&memory, &Key::new("default", "key").unwrap(), Duration::from_secs(30)).await.unwrap();
    assert!(held.is_some());
    let cache = cache(&clock, memory.clone());
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap() }
    });
    let start = cachekit::Clock::ticks(&clock);
    pass_time(&clock, || caller.is_finished()).await;
    let waited = cachekit::Clock::ticks(&clock) - start;
    assert_eq!(caller.await.unwrap(), 1);
    assert!((4_900..=5_200).contains(&waited), "waited {waited} ms");
    settle().await;
    assert!(memory.is_empty(), "the backend is left to the holder of the lease");
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1), "L1 has it");
}

#[tokio::test]
async fn a_computation_that_fails_gives_its_lease_back() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let (one, two) = (cache(&clock, memory.clone()), cache(&clock, memory));
    assert!(one.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) }).await.is_err());
    settle().await;
    assert_eq!(two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2, "at once");
}

#[tokio::test]
async fn a_backend_whose_leases_fail_costs_nobody_an_answer() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(Memory::with_clock(1 << 20, Arc::new(clock.clone())));
    let control = chaos.control();
    let cache = cache(&clock, chaos);
    control.inject(Operation::Lease, Fault::Refuse);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    assert_eq!(control.count(Operation::Set), 0, "what cannot be compared is not stored");
}

#[test]
fn leases_asked_for_where_there_are_none_are_a_build_error() {
    let chaos = harness::support::NoLeases(Memory::new(1 << 20));
    let error = CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(chaos).build().unwrap_err();
    assert!(error.to_string().contains("has no leases"), "{error}");
}

#[tokio::test]
async fn a_write_that_fails_gives_the_lease_back() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(Memory::with_clock(1 << 20, Arc::new(clock.clone())));
    let control = chaos.control();
    let (one, two) = (cache(&clock, chaos.clone()), cache(&clock, chaos));
    control.inject_next(1, Operation::Set, Fault::Refuse);
    assert_eq!(one.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    settle().await;
    assert_eq!(two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2, "at once");
}

/// The change comes after the backend has answered the flight's question, and before the flight hears of it.
#[tokio::test]
async fn a_lease_that_a_change_overtakes_is_given_back_at_once() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let late = Late::new(memory.clone());
    let one = cache(&clock, late.clone());
    late.hold(Operation::Lease);
    let caller = tokio::spawn({
        let one = one.clone();
        async move { one.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await }
    });
    late.wait_until_done().await;
    one.set("key", 2u32).await.unwrap();
    late.let_go();
    assert_eq!(caller.await.unwrap().unwrap(), 2, "what was set is found, and nothing is computed");
    settle().await;
    assert_eq!(one.stats().computations, 0);
    assert!(leased(&memory, &Key::new("default", "key").unwrap(), Duration::from_secs(1)).await.unwrap().is_some());
}

/// Its holder would renew it: none lives who does.
#[tokio::test]
async fn a_lease_that_would_last_for_ever_keeps_no_call_waiting() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let (cache, key) = (cache(&clock, memory.clone()), Key::new("default", "key").unwrap());
    assert!(leased(&memory, &key, Duration::from_secs(365 * 86_400)).await.unwrap().is_some());
    let compute = cache.entry("key").wait_for_write(true);
    let value = compute.get_or_compute(|| async { Ok::<_, Broken>(7u32) }).await.unwrap();
    assert_eq!((value, clock.sleepers()), (7, 0));
    assert!(memory.get(&key).await.unwrap().is_some(), "and the value is stored");
}
