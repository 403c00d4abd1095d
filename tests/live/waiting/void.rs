//! What was begun before everything, or its tag, was forgotten.

use std::sync::Arc;
use std::time::Instant;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Clock, Intent, Settings, SystemClock};

use super::{SOON, assert_soon, memory, pass_time};
use harness::support::{Broken, Slow, settle};

type Process = Cache<Memory, Postcard>;

fn process(memory: Memory, clock: impl Clock) -> Process {
    let mut settings = Settings::default();
    // What waits for a lease in vain does so for longer than is asserted.
    settings.lease_wait = Some(2 * SOON);
    let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).namespace_index(true).settings(settings);
    builder.invalidation_enabled(true).backend(memory).clock(Arc::new(clock)).build().unwrap()
}

/// Begins to compute under a tag, and goes on until `slow` is finished.
async fn begin(cache: &Process) -> Slow {
    let slow = Slow::new();
    let (cache, computation) = (cache.clone(), slow.clone());
    tokio::spawn(
        async move { cache.entry("key").tags(["menu"]).get_or_compute(move || computation.run(Ok(1u32))).await },
    );
    slow.wait_for_start().await;
    slow
}

async fn ask(cache: &Process, value: u32) -> u32 {
    let compute = move || async move { Ok::<u32, Broken>(value) };
    cache.entry("key").tags(["menu"]).get_or_compute(compute).await.unwrap()
}

async fn forget(cache: &Process, how: usize) {
    match how {
        0 => cache.clear().await.unwrap(),
        1 => cache.invalidate_namespace().await.unwrap(),
        2 => cache.invalidate_tag("menu").await.unwrap(),
        3 => cache.expire_all().await.unwrap(),
        _ => cache.invalidate("key").await.unwrap(),
    }
}

#[tokio::test]
async fn no_later_caller_waits_for_what_was_begun_before() {
    for how in 0..5 {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (cache, other) = (process(memory.clone(), clock.clone()), process(memory, clock.clone()));
        let slow = begin(&cache).await;
        forget(&cache, how).await;
        settle().await;
        let begun = clock.ticks();
        let call = tokio::spawn({
            let cache = if how % 2 == 0 { cache.clone() } else { other.clone() };
            async move { ask(&cache, 2).await }
        });
        pass_time(&clock, || call.is_finished()).await;
        assert_eq!(call.await.unwrap(), 2, "{how}");
        assert!(clock.ticks() - begun <= 50, "{how} took {} ms", clock.ticks() - begun);
        settle().await;
        slow.finish(1);
        settle().await;
        assert_eq!(ask(&cache, 3).await, 2, "{how}: what was begun before is not kept");
        assert_eq!(ask(&other, 4).await, 2, "{how}: nor elsewhere");
    }
}

#[tokio::test]
async fn nor_does_a_caller_of_another_process_that_was_told() {
    for how in 0..4 {
        let memory = Memory::new(1 << 20);
        let (cache, other) = (process(memory.clone(), SystemClock), process(memory, SystemClock));
        assert_eq!(other.get::<u32>("unknown").await.unwrap(), None, "it listens from now on");
        let slow = begin(&cache).await;
        forget(&other, how).await;
        let since = Instant::now();
        assert_eq!(ask(&other, 2).await, 2, "{how}");
        assert_soon(since);
        slow.finish(1);
    }
}

#[tokio::test]
async fn a_tag_that_the_result_does_not_have_voids_nothing() {
    let clock = ManualClock::new();
    let cache = process(memory(&clock), clock.clone());
    let slow = begin(&cache).await;
    cache.invalidate_tag("other").await.unwrap();
    let call = tokio::spawn({
        let cache = cache.clone();
        async move { ask(&cache, 2).await }
    });
    settle().await;
    slow.finish(1);
    assert_eq!(call.await.unwrap(), 1);
    assert_eq!(slow.started(), 1);
}
