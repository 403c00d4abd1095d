//! Calls that take the short way: an older value replaced in place, a backend that has its answer at hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use cachekit::backends::Memory;
use cachekit::testing::Chaos;
use cachekit::{CacheBuilder, Intent, Operation, Outcome};

use harness::support::{Broken, poll_once, settle};

#[test]
fn who_reads_while_a_value_is_set_anew_finds_one_of_both() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build_blocking().unwrap();
    cache.set("key", 0u32).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            (1..=50_000u32).for_each(|value| cache.set("key", value).unwrap());
            ended.store(true, SeqCst);
        });
        let mut last = 0;
        while !ended.load(SeqCst) {
            let value = cache.get::<u32>("key").unwrap().expect("a value is there all the time");
            assert!(value >= last, "{value} after {last}");
            last = value;
        }
    });
    assert_eq!(cache.get::<u32>("key").unwrap(), Some(50_000));
}

#[tokio::test]
async fn value_that_is_set_anew_stays_as_dear_as_it_was() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).l1_max_size_mb(1.0).build().unwrap();
    let fill = async |keys: std::ops::Range<u32>| {
        for key in keys {
            cache.set(key, vec![1u8; 1_000]).await.unwrap();
        }
    };
    cache.set("hot", vec![1u8; 1_000]).await.unwrap();
    for _ in 0..5 {
        cache.get::<Vec<u8>>("hot").await.unwrap().unwrap();
    }
    fill(0..2_000).await;
    assert!(cache.get::<Vec<u8>>("hot").await.unwrap().is_some(), "it was read, and others never");
    let before = cache.l1_len();
    cache.set("hot", vec![2u8; 1_000]).await.unwrap();
    assert_eq!(cache.l1_len(), before, "nothing gave way to it");
    fill(2_000..4_000).await;
    assert_eq!(cache.get::<Vec<u8>>("hot").await.unwrap(), Some(vec![2u8; 1_000]));
}

#[tokio::test]
async fn computation_has_a_task_of_its_own_even_if_the_backend_answers_at_once() {
    let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).build().unwrap();
    let caller = tokio::spawn(async move {
        let here = tokio::task::id();
        let there = cache.get_or_compute("key", || async {
            let id = tokio::task::id();
            tokio::task::yield_now().await;
            Ok::<_, Broken>(id.to_string())
        });
        (here.to_string(), there.await.unwrap())
    });
    let (here, there) = caller.await.unwrap();
    assert_ne!(here, there);
}

#[tokio::test]
async fn caller_that_is_not_polled_any_more_holds_up_none_who_joins_it() {
    let memory = Memory::new(1 << 20);
    let writer = CacheBuilder::new().backend(memory.clone()).build().unwrap();
    writer.set("key", 7u32).await.unwrap();
    let chaos = Chaos::new(memory);
    let control = chaos.control();
    let cache = CacheBuilder::new().backend(chaos).l1_enabled(false).stats(true).build().unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(7));
    let gates = [Operation::Get, Operation::Lease].map(|operation| control.gate(operation));
    let compute = || async { Err::<u32, _>(Broken("not asked")) };
    let mut parked = Box::pin(cache.fetch("key", compute));
    assert!(poll_once(&mut parked).is_pending());
    let mut joined = Box::pin(cache.fetch("key", compute));
    assert!(poll_once(&mut joined).is_pending());
    gates.iter().for_each(|gate| gate.open());
    let fetched = joined.await.unwrap();
    assert_eq!((*fetched.value(), fetched.outcome()), (7, Outcome::L2Hit));
    drop(parked);
}

#[test]
fn change_that_waits_for_nothing_needs_no_task_and_little_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(Memory::new(1 << 20)).build().unwrap();
    runtime.block_on(async {
        cache.set("key", 0u32).await.unwrap();
        let calls = || {
            for value in 1..=100 {
                assert!(poll_once(&mut Box::pin(cache.set("key", value))).is_ready());
                assert!(poll_once(&mut Box::pin(cache.invalidate("key"))).is_ready());
            }
        };
        // A future that is handed over by value takes its room several times: the two took 60 KB so.
        let bytes = allocation_counter::measure(calls).bytes_total / 100;
        assert!(bytes < 20_000, "{bytes} bytes are allocated for a set and an invalidation");
    });
    assert_eq!(runtime.block_on(cache.get::<u32>("key")).unwrap(), None);
}

#[tokio::test]
async fn change_goes_on_without_its_caller_once_it_has_to_wait() {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let gate = chaos.control().gate(Operation::Set);
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(chaos).build().unwrap();
    let mut set = Box::pin(cache.set("key", 1u32));
    assert!(poll_once(&mut set).is_pending());
    drop(set);
    gate.open();
    settle().await;
    let other = CacheBuilder::new().intent(Intent::Minimal).backend(memory).build().unwrap();
    assert_eq!(other.get::<u32>("key").await.unwrap(), Some(1));
}
