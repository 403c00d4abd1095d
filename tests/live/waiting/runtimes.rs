//! Runtimes that stand still, and runtimes that end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{Cache, CacheBuilder, Clock, Intent, Loader, Operation, Settings};
use tokio::runtime::Runtime;

use super::{assert_soon, process, runtime, timed};
use harness::support::{Broken, Slow, settle};

/// Begins to compute on a runtime, and leaves the flight there.
fn leave_behind<B: cachekit::Backend, C: cachekit::Codec>(runtime: &Runtime, cache: &Cache<B, C>) -> Slow {
    let (slow, cache) = (Slow::new(), cache.clone());
    let computation = slow.clone();
    runtime.block_on(async {
        let call = tokio::spawn(async move { cache.get_or_compute("key", move || computation.run(Ok(1u32))).await });
        slow.wait_for_start().await;
        call.abort();
    });
    slow
}

#[test]
fn flight_on_a_stalled_runtime_blocks_no_other_runtime() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let (one, two) = (runtime(), runtime());
    let slow = leave_behind(&one, &cache);
    let since = Instant::now();
    let ask = |value: u32| {
        let cache = cache.clone();
        async move { cache.get_or_compute("key", move || async move { Ok::<u32, Broken>(value) }).await.unwrap() }
    };
    assert_eq!(two.block_on(ask(2)), 2, "its own closure ran");
    assert_soon(since);
    slow.finish(1);
    one.block_on(settle());
    assert_eq!(two.block_on(ask(3)), 2, "what the old flight computed is not kept");
}

/// Answers with the double of a key.
struct Doubles;

impl Loader for Doubles {
    type Key = u32;
    type Value = u32;
    type Error = Broken;

    async fn load(&self, key: &u32) -> Result<u32, Broken> {
        Ok(key * 2)
    }
}

#[test]
fn nor_does_the_window_of_a_loader() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let numbers = cache.typed("numbers").unwrap().with_loader(Doubles).batch_window(Duration::from_millis(20));
    let (one, two) = (runtime(), runtime());
    one.block_on(async {
        let numbers = numbers.clone();
        tokio::spawn(async move { numbers.get(&1).await });
        settle().await;
    });
    let since = Instant::now();
    assert_eq!(two.block_on(numbers.get(&2)).unwrap(), 4, "the window of another runtime is open for ever");
    assert_soon(since);
    assert_eq!(one.block_on(numbers.get(&1)).unwrap(), 2);
}

#[test]
fn nor_with_a_lease() {
    let memory = Memory::new(1 << 20);
    let (cache, other) = (process(memory.clone()), process(memory));
    let (one, two) = (runtime(), runtime());
    let slow = leave_behind(&one, &cache);
    let since = Instant::now();
    let ask = |cache: &Cache<Memory, _>, value: u32| {
        let cache = cache.clone();
        async move {
            let value = cache.get_or_compute("key", move || async move { Ok::<u32, Broken>(value) }).await.unwrap();
            cache.entry("key").skip_l1_read().get::<u32>().await.unwrap();
            value
        }
    };
    assert_eq!(two.block_on(ask(&cache, 2)), 2);
    two.block_on(settle());
    assert_eq!(two.block_on(ask(&other, 3)), 2, "the new flight had the lease, and stored");
    assert_soon(since);
    slow.finish(1);
    one.block_on(settle());
    assert_eq!(two.block_on(ask(&other, 4)), 2);
}

#[test]
fn a_flight_whose_runtime_is_driven_is_waited_for() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let (one, two) = (runtime(), runtime());
    let slow = leave_behind(&one, &cache);
    let waiting = Arc::new(AtomicU32::new(0));
    std::thread::scope(|scope| {
        let (caller, marks) = (cache.clone(), Arc::clone(&waiting));
        let asked = scope.spawn(move || {
            two.block_on(async {
                let call = caller.get_or_compute("key", || async { Ok::<u32, Broken>(2) });
                marks.store(1, SeqCst);
                call.await.unwrap()
            })
        });
        // For longer than it takes to find out that a runtime stands still.
        one.block_on(async { tokio::time::sleep(Duration::from_millis(2_500)).await });
        assert_eq!(waiting.load(SeqCst), 1);
        slow.finish(1);
        one.block_on(async {
            while !asked.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert_eq!(asked.join().unwrap(), 1, "the joined flight's value");
    });
    assert_eq!(slow.started(), 1);
}

#[test]
fn renewal_on_a_stalled_runtime_is_redone_and_frees_its_place() {
    let clock = ManualClock::new();
    let mut settings = Settings::default();
    settings.max_refreshes = Some(1);
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .settings(settings)
        .clock(Arc::new(clock.clone()))
        .ttl(Duration::from_secs(100))
        .swr_enabled(true)
        .build()
        .unwrap();
    let (one, two) = (runtime(), runtime());
    let ask = |runtime: &Runtime, value: u32| {
        let cache = cache.clone();
        let call = async move { cache.get_or_compute("key", move || async move { Ok::<u32, Broken>(value) }).await };
        runtime.block_on(call).unwrap()
    };
    assert_eq!(ask(&one, 1), 1);
    clock.advance(Duration::from_secs(80));
    assert_eq!(ask(&one, 2), 1, "stale; the renewal is left behind");
    let since = Instant::now();
    let mut answer = 1;
    while answer == 1 && since.elapsed() < super::SOON {
        answer = ask(&two, 3);
        two.block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
    }
    assert_eq!(answer, 3, "another runtime renewed");
    assert!(clock.ticks() < 100_000 + 80_000);
}

#[test]
fn a_runtime_that_ends_gives_its_leases_back() {
    let clock = ManualClock::new();
    let memory = super::memory(&clock);
    let (cache, other) = (timed(memory.clone(), &clock), timed(memory, &clock));
    let (one, two) = (runtime(), runtime());
    let _slow = leave_behind(&one, &cache);
    drop(one);
    let since = Instant::now();
    two.block_on(async {
        let ask = other.get_or_compute("key", || async { Ok::<u32, Broken>(2) });
        let mut ask = std::pin::pin!(ask);
        // The clock moves by less than a lease holds.
        for _ in 0..1_000 {
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(10), ask.as_mut()).await {
                assert_eq!(answer.unwrap(), 2);
                return;
            }
            clock.advance(Duration::from_millis(1));
        }
        panic!("the lease outlived its runtime");
    });
    assert_soon(since);
    two.block_on(settle());
    assert_eq!(other.stats().computations, 1);
    assert_eq!(two.block_on(cache.get::<u32>("key")).unwrap(), Some(2), "it was stored under the lease");
}

/// A cache whose first write to the backend was left behind half way on the first runtime, and the backend.
fn with_a_write_left_behind(leases: bool) -> (Cache<Chaos<Memory>, Postcard>, [Runtime; 2]) {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let gate = chaos.control().gate(Operation::Set);
    let cache = CacheBuilder::new().intent(Intent::Minimal).leases(leases).backend(chaos).build().unwrap();
    let runtimes = [runtime(), runtime()];
    let call = cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) });
    assert_eq!(runtimes[0].block_on(call).unwrap(), 1);
    runtimes[0].block_on(gate.wait_for(1));
    gate.open();
    (cache, runtimes)
}

#[test]
fn stalled_write_blocks_no_invalidation_and_leaves_nothing() {
    for leases in [false, true] {
        let (cache, [one, two]) = with_a_write_left_behind(leases);
        let since = Instant::now();
        two.block_on(cache.invalidate("key")).unwrap();
        assert_soon(since);
        one.block_on(settle());
        let found = two.block_on(cache.entry("key").skip_l1_read().get::<u32>()).unwrap();
        assert_eq!(found, None, "with leases {leases}: what was written late is gone");
    }
}

#[test]
fn stalled_write_blocks_no_set_and_does_not_replace_it() {
    for leases in [false, true] {
        let (cache, [one, two]) = with_a_write_left_behind(leases);
        let since = Instant::now();
        two.block_on(cache.set("key", 2u32)).unwrap();
        assert_soon(since);
        one.block_on(settle());
        let found = two.block_on(cache.entry("key").skip_l1_read().get::<u32>()).unwrap();
        assert_ne!(found, Some(1), "with leases {leases}: the older value");
        assert_eq!(two.block_on(cache.get::<u32>("key")).unwrap(), Some(2), "L1 has the newer one");
    }
}
