//! One load, nobody owns a flight, a failure is shared, invalidate means it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::time::Duration;

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{Cache, CacheBuilder, Clock, ComputeError, Intent, Operation};

use harness::support::{Broken, Slow, poll_once, settle};

type Plain = Cache<NoBackend, Postcard>;

fn l1_only() -> Plain {
    CacheBuilder::new().intent(Intent::Minimal).build().unwrap()
}

/// A cache whose computations are given up after ten seconds of the clock.
fn given_ten_seconds(clock: &ManualClock) -> Plain {
    CacheBuilder::new()
        .intent(Intent::Minimal)
        .clock(Arc::new(clock.clone()))
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_dropped_leader_with_fifty_waiters_costs_one_computation() {
    let (cache, slow) = (l1_only(), Slow::new());
    let ask = |value: u32| {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(value))).await })
    };
    let mut leader = ask(1);
    assert!(poll_once(&mut leader).is_pending());
    slow.wait_for_start().await;
    let mut waiters: Vec<_> = (0..50).map(|_| ask(2)).collect();
    for waiter in &mut waiters {
        assert!(poll_once(waiter).is_pending());
    }
    drop(leader);
    settle().await;
    slow.finish(1);
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), 1);
    }
    assert_eq!(slow.started(), 1);
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
}

#[tokio::test]
async fn callers_dropped_after_any_number_of_polls_change_nothing() {
    for polls in 0..8 {
        let (cache, slow) = (l1_only(), Slow::new());
        let ask = || {
            let (cache, slow) = (cache.clone(), slow.clone());
            Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(7u32))).await })
        };
        let mut early = ask();
        for _ in 0..polls {
            assert!(poll_once(&mut early).is_pending());
            tokio::task::yield_now().await;
        }
        drop(early);
        let mut last = ask();
        assert!(poll_once(&mut last).is_pending());
        slow.finish(1);
        assert_eq!(last.await.unwrap(), 7);
        assert_eq!(slow.started(), 1, "after {polls} polls");
    }
}

#[tokio::test]
async fn a_leader_that_is_never_polled_again_blocks_nobody() {
    let (cache, slow) = (l1_only(), Slow::new());
    let mut parked = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await })
    };
    assert!(poll_once(&mut parked).is_pending());
    slow.wait_for_start().await;
    slow.finish(1);
    let second = cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await;
    assert_eq!(second.unwrap(), 1);
    assert_eq!(slow.started(), 1);
    drop(parked);
}

#[tokio::test]
async fn a_panic_answers_all_who_wait_and_leaves_the_cache_usable() {
    let (cache, slow) = (l1_only(), Slow::new());
    let mut callers: Vec<_> = (0..4)
        .map(|_| {
            let (cache, slow) = (cache.clone(), slow.clone());
            Box::pin(async move {
                let boom = || async move {
                    slow.run(Ok(())).await?;
                    panic!("a computation panics, as this test wants")
                };
                cache.get_or_compute::<u32, Broken, _, _>("key", boom).await
            })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_once(caller).is_pending());
    }
    slow.finish(1);
    for caller in callers {
        assert!(matches!(caller.await, Err(ComputeError::Panicked { .. })));
    }
    assert_eq!(slow.started(), 1);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(5) }).await.unwrap(), 5);
}

#[tokio::test]
async fn a_closure_that_panics_before_its_future_is_caught_too() {
    let cache = l1_only();
    fn boom() -> std::future::Ready<Result<u32, Broken>> {
        panic!("a closure panics, as this test wants")
    }
    assert!(matches!(cache.get_or_compute("key", boom).await, Err(ComputeError::Panicked { .. })));
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(5) }).await.unwrap(), 5);
}

#[tokio::test]
async fn a_failure_answers_twenty_one_callers_in_the_time_of_one_load() {
    let clock = ManualClock::new();
    let cache = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).build().unwrap();
    let started = Arc::new(AtomicUsize::new(0));
    let mut callers: Vec<_> = (0..21)
        .map(|_| {
            let (cache, clock, started) = (cache.clone(), clock.clone(), Arc::clone(&started));
            Box::pin(async move {
                let load = move || async move {
                    started.fetch_add(1, SeqCst);
                    clock.sleep(Duration::from_millis(50)).await;
                    Err::<u32, _>(Broken("no such user"))
                };
                cache.get_or_compute("key", load).await
            })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_once(caller).is_pending());
    }
    // The callers' and the flight's deadlines, and the load itself.
    clock.wait_for_sleepers(23).await;
    clock.advance(Duration::from_millis(50));
    let mut errors = Vec::new();
    for caller in callers {
        let Err(ComputeError::Failed(error)) = caller.await else { panic!("the load fails") };
        errors.push(error);
    }
    assert_eq!(*errors[0], Broken("no such user"));
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])), "all get the same error");
    assert_eq!(started.load(SeqCst), 1);
    assert_eq!(
        cache.get_or_compute("key", || async { Ok::<u32, Broken>(3) }).await.unwrap(),
        3,
        "the next call tries again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_one_missing_key_cost_one_computation() {
    let (cache, slow) = (l1_only(), Slow::new());
    let callers: Vec<_> = (0..1_000)
        .map(|_| {
            let (cache, slow) = (cache.clone(), slow.clone());
            tokio::spawn(async move { cache.get_or_compute("key", move || slow.run(Ok(9u64))).await })
        })
        .collect();
    slow.wait_for_start().await;
    slow.finish(1);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 9);
    }
    assert_eq!(slow.started(), 1);
}

#[tokio::test]
async fn an_invalidation_during_a_load_makes_the_next_read_new() {
    let memory = Memory::new(1 << 20);
    let cache = CacheBuilder::new().backend(memory.clone()).intent(Intent::Minimal).build().unwrap();
    let slow = Slow::new();
    let mut old = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok("old".to_owned()))).await })
    };
    assert!(poll_once(&mut old).is_pending());
    slow.wait_for_start().await;
    cache.invalidate("key").await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap(), "old", "whoever asked before gets what was asked for");
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.get::<String>("key").await.unwrap(), None);
    assert!(memory.is_empty());
    assert_eq!(cache.stats().calls(), 0, "Minimal keeps no stats");
}

#[tokio::test]
async fn caller_after_an_invalidation_joins_no_older_flight() {
    let (cache, slow) = (l1_only(), Slow::new());
    let mut old = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok("old".to_owned()))).await })
    };
    assert!(poll_once(&mut old).is_pending());
    slow.wait_for_start().await;
    cache.invalidate("key").await.unwrap();
    let new = cache.get_or_compute("key", || async { Ok::<_, Broken>("new".to_owned()) }).await.unwrap();
    assert_eq!(new, "new");
    slow.finish(1);
    assert_eq!(old.await.unwrap(), "old");
    settle().await;
    assert_eq!(cache.get::<String>("key").await.unwrap().as_deref(), Some("new"), "the late result is not stored");
}

#[tokio::test]
async fn a_set_during_a_load_stays() {
    let memory = Memory::new(1 << 20);
    let cache = CacheBuilder::new().backend(memory.clone()).intent(Intent::Minimal).build().unwrap();
    let slow = Slow::new();
    let mut old = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await })
    };
    assert!(poll_once(&mut old).is_pending());
    slow.wait_for_start().await;
    cache.set("key", 2u32).await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap(), 1);
    settle().await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
    let elsewhere = CacheBuilder::new().backend(memory).intent(Intent::Minimal).build().unwrap();
    assert_eq!(elsewhere.get::<u32>("key").await.unwrap(), Some(2), "nor does the load overwrite the backend");
}

#[tokio::test]
async fn backend_read_during_an_invalidation_leaves_l1_empty() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = CacheBuilder::new().backend(chaos).intent(Intent::Minimal).build().unwrap();
    cache.entry("key").skip_l1_write().set("old".to_owned()).await.unwrap();
    // The read has its answer in hand and is held back; then the key is invalidated.
    let gate = control.gate(Operation::Remove);
    let invalidation = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate("key").await }
    });
    gate.wait_for(1).await;
    assert_eq!(cache.get::<String>("key").await.unwrap().as_deref(), Some("old"), "the invalidation has not returned");
    gate.open();
    invalidation.await.unwrap().unwrap();
    assert_eq!(cache.get::<String>("key").await.unwrap(), None, "the overlapping read left nothing in L1");
}

#[tokio::test]
async fn a_write_behind_that_is_late_does_not_undo_an_invalidation() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = CacheBuilder::new().backend(chaos).intent(Intent::Minimal).build().unwrap();
    let gate = control.gate(Operation::Set);
    let value = cache.get_or_compute("key", || async { Ok::<_, Broken>("old".to_owned()) }).await.unwrap();
    assert_eq!(value, "old");
    gate.wait_for(1).await;
    let invalidation = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate("key").await }
    });
    settle().await;
    gate.open();
    invalidation.await.unwrap().unwrap();
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.get::<String>("key").await.unwrap(), None);
    assert_eq!(control.count(Operation::Remove), 1);
}

#[tokio::test]
async fn a_computation_past_its_deadline_times_out_and_is_taken_over() {
    let clock = ManualClock::new();
    let cache = given_ten_seconds(&clock);
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", std::future::pending::<Result<u32, Broken>>).await }
    });
    clock.wait_for_sleepers(2).await;
    clock.advance(Duration::from_secs(10));
    assert!(matches!(caller.await.unwrap(), Err(ComputeError::TimedOut)));
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    cache.close(Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_result_of_a_thread_blocking_computation_is_ignored() {
    let clock = ManualClock::new();
    let cache = given_ten_seconds(&clock);
    let (release, released) = mpsc::channel::<()>();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let stuck = tokio::spawn({
        let cache = cache.clone();
        async move {
            let block = move || async move {
                started.send(()).unwrap();
                released.recv().unwrap();
                Ok::<u32, Broken>(1)
            };
            cache.get_or_compute("key", block).await
        }
    });
    has_started.await.unwrap();
    clock.wait_for_sleepers(1).await;
    clock.advance(Duration::from_secs(10));
    assert!(matches!(stuck.await.unwrap(), Err(ComputeError::TimedOut)));
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    release.send(()).unwrap();
    cache.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
}

#[tokio::test]
async fn computation_asking_for_its_own_key_gets_an_error_not_a_hang() {
    let cache = l1_only();
    let inner = cache.clone();
    let result = cache
        .get_or_compute::<u32, String, _, _>("key", move || async move {
            let again = inner.get_or_compute::<u32, String, _, _>("key", || async { Ok(1) }).await;
            again.map_err(|error| error.to_string())
        })
        .await;
    let Err(ComputeError::Failed(message)) = result else { panic!("the inner call is refused: {result:?}") };
    assert!(message.contains("would wait for itself"), "{message}");
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(4) }).await.unwrap(), 4);
}

#[tokio::test]
async fn the_end_of_the_runtime_that_computes_is_an_answer() {
    let (cache, slow) = (l1_only(), Slow::new());
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    other.spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    let mut waiter = {
        let cache = cache.clone();
        Box::pin(async move { cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await })
    };
    assert!(poll_once(&mut waiter).is_pending());
    other.shutdown_background();
    assert_eq!(waiter.await.unwrap(), 2, "whoever waited computes for itself");
}

#[test]
fn hit_needs_no_runtime_and_a_miss_without_one_tells_so() {
    let cache = l1_only();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(cache.set("key", 1u32)).unwrap();
    let mut hit = Box::pin(cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }));
    let std::task::Poll::Ready(Ok(1)) = poll_once(&mut hit) else { panic!("a hit needs no runtime") };
    let mut miss = Box::pin(cache.get_or_compute("other", || async { Ok::<u32, Broken>(2) }));
    let std::task::Poll::Ready(Err(ComputeError::Cache(error))) = poll_once(&mut miss) else { panic!("an error") };
    assert!(error.to_string().contains("needs a tokio runtime"), "{error}");
}
