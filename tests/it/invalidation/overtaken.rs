//! What an invalidation overtakes: operations that began before it and end after it.

use std::sync::Mutex;

use super::*;
use harness::support::{Late, poll_once};

#[tokio::test]
async fn caller_after_a_tag_invalidation_gets_no_older_fallback() {
    for early in [false, true] {
        let clock = ManualClock::new();
        let cache = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
        let cache = cache.stale_if_error(Duration::from_secs(60)).background(true).build().unwrap();
        cache.entry("home").tags(["t"]).ttl(Duration::from_secs(1)).set(1u32).await.unwrap();
        clock.advance(Duration::from_secs(2));
        let slow = Slow::new();
        let old = tokio::spawn({
            let (cache, slow) = (cache.clone(), slow.clone());
            let soft = Duration::from_millis(if early { 100 } else { 50_000 });
            async move {
                cache.entry("home").soft_timeout(soft).get_or_compute(move || slow.run::<u32>(Err(Broken("old")))).await
            }
        });
        slow.wait_for_start().await;
        settle().await;
        clock.advance(Duration::from_millis(100));
        cache.invalidate_tag("t").await.unwrap();
        let new = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_compute("home", || async { Ok::<_, Broken>(2u32) }).await }
        });
        settle().await;
        assert!(new.is_finished(), "it waits for no flight that it will not believe");
        slow.finish(1);
        assert_eq!(old.await.unwrap().unwrap(), 1, "who asked before gets the older one");
        assert_eq!(new.await.unwrap().unwrap(), 2, "early answers: {early}");
    }
}

#[tokio::test]
async fn a_set_that_another_process_overtakes_is_not_kept_in_l1() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let late = Late::new(memory.clone());
    let (one, two) = (pages(&clock, late.clone()), pages(&clock, memory));
    one.set("probe", 1u32).await.unwrap();
    late.hold(Operation::Set);
    let set = tokio::spawn({
        let one = one.clone();
        async move { one.set("home", 1u32).await.unwrap() }
    });
    late.wait_until_done().await;
    two.set("home", 2u32).await.unwrap();
    two.invalidate("probe").await.unwrap();
    until("it has heard of both", async || in_l1(&one, "probe").await.is_none()).await;
    late.let_go();
    set.await.unwrap();
    assert_eq!(one.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn set_that_learns_the_time_late_does_not_outlive_invalidation() {
    for tag in [None, Some("t")] {
        let clock = ManualClock::new();
        let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
        let control = chaos.control();
        let cache = builder(&clock, chaos).invalidation_enabled(false).build().unwrap();
        cache.set("else", 0u32).await.unwrap();
        cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let gate = control.gate(Operation::Get);
        let set = tokio::spawn({
            let cache = cache.clone();
            async move { cache.entry("home").tags(["t"]).set(2u32).await.unwrap() }
        });
        gate.wait_for(1).await;
        match tag {
            Some(tag) => cache.invalidate_tag(tag).await.unwrap(),
            None => cache.invalidate_namespace().await.unwrap(),
        }
        gate.open();
        set.await.unwrap();
        assert_eq!(cache.get::<u32>("home").await.unwrap(), None, "{tag:?}");
    }
}

/// Runs a deed of the test while it is written.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Meddler(u32);

static DEED: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

impl serde::Serialize for Meddler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deed = DEED.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
        serializer.serialize_newtype_struct("Meddler", &self.0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_that_knew_the_versions_does_not_outlive_invalidation() {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    cache.entry("else").tags(["t"]).set(0u32).await.unwrap();
    let (runtime, meddled) = (tokio::runtime::Handle::current(), cache.clone());
    *DEED.lock().unwrap() = Some(Box::new(move || {
        let deed = move || runtime.block_on(meddled.invalidate_tag("t")).unwrap();
        std::thread::spawn(deed).join().unwrap();
    }));
    cache.entry("home").tags(["t"]).set(Meddler(1)).await.unwrap();
    assert!(DEED.lock().unwrap().is_none(), "it was invalidated meanwhile");
    assert_eq!(cache.get_arc::<Meddler>("home").await.unwrap(), None);
}

#[tokio::test]
async fn a_closed_cache_holds_nothing_that_it_would_not_hear_of() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    two.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    two.set("own", 1u32).await.unwrap();
    for key in ["home", "own"] {
        one.set(key, 2u32).await.unwrap();
        settle().await;
        assert_eq!(two.get(key).await.unwrap(), Some(2u32), "{key}");
    }
    assert_eq!(two.l1_len(), 0);
}

#[tokio::test]
async fn result_computed_without_a_backend_read_is_invalidated_too() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    let forced = two.entry("home").skip_l1_read().skip_l2_read().wait_for_write(true);
    assert_eq!(forced.get_or_compute(|| async { Ok::<_, Broken>(1u32) }).await.unwrap(), 1);
    assert_eq!(in_l1(&two, "home").await, Some(1));
    one.invalidate("home").await.unwrap();
    settle().await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn slow_backend_within_its_timeout_fails_no_computation() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = chaos.control();
    let build = || builder(&clock, chaos.clone()).max_chunk_size_mb(0.001).leases(false).build().unwrap();
    let old = build();
    let entry = old.entry("home").tags(["t"]).ttl(Duration::from_secs(1));
    entry.stale_if_error(Duration::from_secs(9_999)).set(vec![1u8; 3_000]).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let cache = build();
    let limit = cache.policy().operation_timeout;
    for operation in [Operation::Get, Operation::Set, Operation::Lease] {
        control.inject(operation, Fault::Slow(limit - Duration::from_millis(1)));
    }
    let call = tokio::spawn(async move {
        let entry = cache.entry("home").deadline(Duration::from_millis(10));
        entry.stale_if_error(Duration::from_secs(9_999)).get_or_compute(|| async { Ok::<_, Broken>(vec![2u8]) }).await
    });
    for _ in 0..100 {
        settle().await;
        clock.advance(limit / 4);
    }
    assert_eq!(call.await.unwrap().unwrap(), [2]);
}

#[tokio::test]
async fn caller_after_a_tag_invalidation_waits_for_no_older_write() {
    let clock = ManualClock::new();
    let late = Late::new(memory(&clock));
    let cache = pages(&clock, late.clone());
    cache.entry("else").tags(["t"]).set(0u32).await.unwrap();
    late.hold(Operation::Set);
    let compute = |value: u32| move || async move { Ok::<_, Broken>(Computed::new(value).tags(["t"])) };
    assert_eq!(*cache.entry("home").get_or_decide(compute(1)).await.unwrap(), 1);
    late.wait_until_done().await;
    cache.invalidate_tag("t").await.unwrap();
    let new = tokio::spawn(async move { *cache.entry("home").get_or_decide(compute(2)).await.unwrap() });
    until("it computes for itself", async || new.is_finished()).await;
    assert_eq!(new.await.unwrap(), 2);
    late.let_go();
}

#[tokio::test]
async fn caller_after_namespace_invalidation_joins_no_older_flight() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let slow = Slow::new();
    let old = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("home", move || slow.run(Ok(1u32))).await.unwrap() }
    });
    slow.wait_for_start().await;
    cache.invalidate_namespace().await.unwrap();
    let new = tokio::spawn(async move {
        let value = cache.get_or_compute("home", || async { Ok::<_, Broken>(2u32) }).await.unwrap();
        (value, cache)
    });
    settle().await;
    assert!(new.is_finished());
    slow.finish(1);
    assert_eq!(old.await.unwrap(), 1);
    let (value, cache) = new.await.unwrap();
    assert_eq!((value, cache.get::<u32>("home").await.unwrap()), (2, Some(2)));
}

#[tokio::test]
async fn read_overtaken_by_an_invalidation_of_its_tag_is_repeated() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    pages(&clock, memory).entry("home").tags(["t"]).set(1u32).await.unwrap();
    let cache = pages(&clock, chaos);
    let gate = control.gate(Operation::Get);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<u32>("home").await.unwrap() }
    });
    // The entry with the generation, the versions, the generation once more.
    gate.admit(2);
    until("the versions were read", async || control.count(Operation::Get) == 3).await;
    cache.invalidate_tag("t").await.unwrap();
    gate.open();
    assert_eq!(read.await.unwrap(), None);
    assert_eq!(in_l1(&cache, "home").await, None);
}

#[tokio::test]
async fn ledger_read_begun_before_an_invalidation_is_not_trusted() {
    let clock = ManualClock::new();
    let late = Late::new(memory(&clock));
    let cache = quiet(&clock, late.clone());
    cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
    for _ in 0..2 {
        assert_eq!(cache.get("home").await.unwrap(), Some(1u32));
    }
    clock.advance(Duration::from_secs(1));
    late.hold(Operation::Get);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<u32>("home").await.unwrap() }
    });
    late.wait_until_done().await;
    cache.invalidate_tag("t").await.unwrap();
    late.let_go();
    assert_eq!(read.await.unwrap(), None);
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn result_from_before_a_tag_invalidation_is_not_kept_in_l1() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let slow = Slow::new();
    let old = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.entry("home").tags(["t"]).get_or_compute(move || slow.run(Ok(1u32))).await.unwrap() }
    });
    slow.wait_for_start().await;
    cache.invalidate_tag("t").await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap(), 1);
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn invalidation_takes_effect_here_before_the_backend_answers() {
    for tag in [None, Some("t")] {
        let clock = ManualClock::new();
        let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
        let control = chaos.control();
        let cache = pages(&clock, chaos);
        cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
        control.inject(Operation::Set, Fault::Hang);
        let mut invalidation = {
            let cache = cache.clone();
            Box::pin(async move {
                if let Some(tag) = tag { cache.invalidate_tag(tag).await } else { cache.invalidate_namespace().await }
            })
        };
        assert!(poll_once(&mut invalidation).is_pending());
        settle().await;
        assert_eq!(in_l1(&cache, "home").await, None, "{tag:?}");
        drop(invalidation);
        control.heal();
        settle().await;
        assert_eq!(cache.get::<u32>("home").await.unwrap(), None, "it goes on without its caller");
    }
}
