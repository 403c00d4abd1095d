//! Fresh, stale, expired, gone: dates travel with the bytes.

use std::sync::Arc;
use std::time::Duration;

use cachekit::Backend;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{Cache, CacheBuilder, ComputeError, Computed, Grace, Intent, Operation};

use harness::support::{Broken, Slow, settle};

const TTL: Duration = Duration::from_secs(100);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cache with stale-while-revalidate at half the TTL, without jitter, and no fallback after expiry.
fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Minimal> {
    CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(backend)
        .clock(Arc::new(clock.clone()))
        .stats(true)
        .ttl(TTL)
        .swr_enabled(true)
        .jitter(false)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

async fn computes<B: Backend>(cache: &Cache<B, Postcard>, value: u32) -> u32 {
    cache.get_or_compute("key", move || async move { Ok::<_, Broken>(value) }).await.unwrap()
}

async fn fails<B: Backend>(cache: &Cache<B, Postcard>) -> Result<u32, ComputeError<Broken>> {
    cache.get_or_compute("key", || async { Err(Broken("down")) }).await
}

#[tokio::test]
async fn stale_value_is_returned_at_once_and_renewed_once_behind_it() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    clock.advance(secs(49));
    assert_eq!(computes(&cache, 2).await, 1, "fresh for half the ttl");
    clock.advance(secs(1));
    let slow = Slow::new();
    for _ in 0..10 {
        let run = slow.clone();
        assert_eq!(cache.get_or_compute("key", move || run.run(Ok(3u32))).await.unwrap(), 1);
        settle().await;
    }
    assert_eq!(slow.started(), 1, "ten stale hits, one renewal");
    slow.finish(1);
    settle().await;
    assert_eq!(computes(&cache, 4).await, 3);
    assert_eq!((cache.stats().l1_hits, cache.stats().stale), (2, 10));
    clock.advance(secs(49));
    assert_eq!(computes(&cache, 5).await, 3, "the renewal stored a new entry with a new life");
}

#[tokio::test]
async fn a_batch_of_reads_gets_what_is_stale_as_one_read_does() {
    let clock = ManualClock::new();
    let alone = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).stats(true).ttl(TTL);
    let alone = alone.swr_enabled(true).jitter(false).build().unwrap();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    alone.set("key", 1u32).await.unwrap();
    cache.set("key", 1u32).await.unwrap();
    clock.advance(secs(60));
    assert_eq!(alone.get_many::<u32, _>(["key", "none"]).await.unwrap(), [Some(1), None]);
    assert_eq!(cache.get_many::<u32, _>(["key", "none"]).await.unwrap(), [Some(1), None]);
    for stats in [alone.stats(), cache.stats()] {
        assert_eq!((stats.stale, stats.absent), (1, 1));
    }
}

#[tokio::test]
async fn a_value_that_is_stale_in_the_backend_answers_and_is_renewed() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let (one, two) = (builder(&clock, shared.clone()).build().unwrap(), builder(&clock, shared).build().unwrap());
    assert_eq!(computes(&one, 1).await, 1);
    settle().await;
    clock.advance(secs(60));
    let slow = Slow::new();
    let run = slow.clone();
    let answer = two.get_or_compute("key", move || run.run(Ok(2u32))).await;
    assert_eq!(answer.unwrap(), 1, "stale, answered from the backend");
    slow.finish(1);
    settle().await;
    assert_eq!(computes(&two, 3).await, 2, "and renewed");
    assert_eq!(two.stats().stale, 1);
}

#[tokio::test]
async fn a_renewal_takes_what_another_process_renewed() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let (one, two) = (builder(&clock, shared.clone()).build().unwrap(), builder(&clock, shared).build().unwrap());
    assert_eq!(computes(&one, 1).await, 1);
    settle().await;
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(secs(60));
    one.set("key", 2u32).await.unwrap();
    assert_eq!(computes(&two, 9).await, 1);
    settle().await;
    assert_eq!(computes(&two, 9).await, 2, "read, not computed");
    clock.advance(secs(49));
    assert_eq!(computes(&two, 9).await, 2);
    clock.advance(secs(1));
    assert_eq!(computes(&two, 3).await, 2);
    settle().await;
    assert_eq!(computes(&two, 9).await, 3, "reading it anew did not extend its life");
}

#[tokio::test]
async fn l1_copy_of_a_backend_entry_lives_for_its_remaining_life() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let (one, two) = (
        builder(&clock, shared.clone()).swr_enabled(false).build().unwrap(),
        builder(&clock, shared).swr_enabled(false).build().unwrap(),
    );
    one.set("key", 1u32).await.unwrap();
    clock.advance(secs(99));
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(1));
    clock.advance(secs(1));
    assert_eq!(two.get::<u32>("key").await.unwrap(), None);
    assert!(!two.exists("key").await.unwrap());
}

#[tokio::test]
async fn entry_is_fresh_until_expiry_without_stale_while_revalidate() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).swr_enabled(false).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    clock.advance(TTL - Duration::from_millis(1));
    assert_eq!(computes(&cache, 2).await, 1);
    assert_eq!(cache.stats().l1_hits, 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(computes(&cache, 3).await, 3);
}

#[tokio::test]
async fn the_threshold_ratio_moves_the_moment_of_renewal() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).swr_threshold_ratio(0.2).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    clock.advance(secs(20));
    assert_eq!(computes(&cache, 2).await, 1);
    settle().await;
    assert_eq!(computes(&cache, 3).await, 2);
}

#[tokio::test]
async fn jitter_spreads_freshness_by_a_tenth_either_way_and_no_more() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).jitter(true).build().unwrap();
    for key in 0..200u32 {
        cache.set(key, key).await.unwrap();
    }
    let stale = |cache: Cache<Memory, Postcard>| async move {
        let before = cache.stats().stale;
        for key in 0..200u32 {
            assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(key));
        }
        cache.stats().stale - before
    };
    clock.advance(Duration::from_millis(44_999));
    assert_eq!(stale(cache.clone()).await, 0);
    clock.advance(Duration::from_millis(5_001));
    let half_way = stale(cache.clone()).await;
    assert!((50..150).contains(&half_way), "about half of them: {half_way}");
    clock.advance(Duration::from_millis(5_000));
    assert_eq!(stale(cache).await, 200);
}

#[tokio::test]
async fn expired_value_replaces_a_failure_only_within_its_grace() {
    let clock = ManualClock::new();
    for (backend, l1) in [(true, true), (true, false), (false, true)] {
        let shared = memory(&clock);
        let backend = if backend { 1 << 20 } else { 1 };
        let cache = builder(&clock, Memory::with_clock(backend, Arc::new(clock.clone())))
            .stale_if_error(Grace::For(secs(50)))
            .throttle(Duration::ZERO)
            .l1_enabled(l1)
            .build()
            .unwrap();
        drop(shared);
        assert_eq!(computes(&cache, 1).await, 1);
        settle().await;
        clock.advance(secs(149));
        assert_eq!(cache.get::<u32>("key").await.unwrap(), None, "expired for `get`");
        assert_eq!(fails(&cache).await.unwrap(), 1, "a fallback");
        assert_eq!(computes(&cache, 2).await, 2, "only a fallback: a computation that succeeds wins");
        settle().await;
        clock.advance(secs(150));
        assert!(matches!(fails(&cache).await, Err(ComputeError::Failed(_))), "gone");
    }
}

#[tokio::test]
async fn stale_if_error_is_off_by_default_and_can_be_set_per_call() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    settle().await;
    clock.advance(secs(101));
    assert!(fails(&cache).await.is_err());
    let kept = cache.entry("kept").stale_if_error(secs(60));
    assert_eq!(kept.get_or_compute(|| async { Ok::<u32, Broken>(7) }).await.unwrap(), 7);
    settle().await;
    clock.advance(secs(101));
    let again = cache.entry("kept").stale_if_error(secs(60)).get_or_compute(|| async { Err::<u32, _>(Broken("down")) });
    assert_eq!(again.await.unwrap(), 7);
}

#[tokio::test]
async fn a_failing_key_is_tried_no_more_than_once_per_throttle_time() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).stale_if_error(Grace::Ttl).throttle(secs(10)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    settle().await;
    clock.advance(secs(101));
    let attempts = Slow::new();
    for second in 0..30 {
        let run = attempts.clone();
        run.finish(1);
        let value = cache.get_or_compute("key", move || run.run(Err::<u32, _>(Broken("down")))).await.unwrap();
        assert_eq!(value, 1, "at second {second}");
        clock.advance(secs(1));
    }
    assert_eq!(attempts.started(), 3);
    clock.advance(secs(10));
    assert_eq!(computes(&cache, 2).await, 2);
    settle().await;
    assert_eq!(computes(&cache, 3).await, 2);
}

#[tokio::test]
async fn a_failing_renewal_is_throttled_too() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).throttle(secs(10)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    clock.advance(secs(50));
    let attempts = Slow::new();
    attempts.finish(100);
    for _ in 0..20 {
        let run = attempts.clone();
        assert_eq!(cache.get_or_compute("key", move || run.run(Err::<u32, _>(Broken("down")))).await.unwrap(), 1);
        settle().await;
        clock.advance(secs(1));
    }
    assert_eq!(attempts.started(), 2);
}

#[tokio::test]
async fn a_success_ends_the_throttling_of_its_key() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock))
        .swr_enabled(false)
        .stale_if_error(Grace::Ttl)
        .throttle(secs(1_000))
        .build()
        .unwrap();
    for changes in [false, true] {
        assert_eq!(computes(&cache, 1).await, 1);
        settle().await;
        clock.advance(secs(101));
        assert_eq!(fails(&cache).await.unwrap(), 1);
        assert_eq!(computes(&cache, 2).await, 1, "throttled");
        if changes {
            cache.set("key", 3u32).await.unwrap();
        } else {
            let forced = cache.entry("key").skip_l1_read().skip_l2_read();
            assert_eq!(forced.get_or_compute(|| async { Ok::<u32, Broken>(3) }).await.unwrap(), 3);
        }
        settle().await;
        clock.advance(secs(101));
        assert_eq!(computes(&cache, 4).await, 4, "tried again, set: {changes}");
        cache.invalidate("key").await.unwrap();
    }
}

#[tokio::test]
async fn an_early_answer_is_for_those_who_ask_before_it_expires() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let (one, two) = (builder(&clock, shared.clone()).build().unwrap(), builder(&clock, shared).build().unwrap());
    one.set("key", 1u32).await.unwrap();
    clock.advance(secs(60));
    let slow = Slow::new();
    let run = slow.clone();
    assert_eq!(two.get_or_compute("key", move || run.run(Ok(2u32))).await.unwrap(), 1, "stale");
    slow.wait_for_start().await;
    clock.advance(secs(40));
    let caller = tokio::spawn({
        let two = two.clone();
        async move { computes(&two, 9).await }
    });
    settle().await;
    assert!(!caller.is_finished(), "what expired meanwhile is no answer");
    slow.finish(1);
    assert_eq!(caller.await.unwrap(), 2);
}

#[tokio::test]
async fn older_value_answers_past_the_soft_timeout_while_computing() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock))
        .stale_if_error(Grace::Ttl)
        .soft_timeout(secs(2))
        .deadline(secs(60))
        .build()
        .unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    settle().await;
    clock.advance(secs(101));
    let slow = Slow::new();
    let caller = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(2u32))).await }
    });
    slow.wait_for_start().await;
    settle().await;
    clock.advance(secs(2));
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    assert_eq!(computes(&cache, 9).await, 1, "who comes later joins the flight and does not wait either");
    slow.finish(1);
    settle().await;
    assert_eq!(computes(&cache, 9).await, 2);
    assert_eq!(slow.started(), 1);
}

#[tokio::test]
async fn without_an_older_value_the_soft_timeout_does_nothing() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).soft_timeout(secs(2)).deadline(secs(60)).build().unwrap();
    let slow = Slow::new();
    let caller = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(2u32))).await }
    });
    slow.wait_for_start().await;
    clock.advance(secs(30));
    settle().await;
    assert!(!caller.is_finished());
    slow.finish(1);
    assert_eq!(caller.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_deadline_with_an_older_value_at_hand_answers_with_it() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).stale_if_error(Grace::Ttl).deadline(secs(5)).build().unwrap();
    assert_eq!(computes(&cache, 1).await, 1);
    settle().await;
    clock.advance(secs(101));
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", std::future::pending::<Result<u32, Broken>>).await }
    });
    clock.wait_for_sleepers(2).await;
    clock.advance(secs(5));
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    assert_eq!(cache.stats().stale, 1);
}

#[tokio::test]
async fn an_absent_value_may_live_shorter_than_a_present_one() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).swr_enabled(false).negative_ttl(secs(5)).build().unwrap();
    let ask = |key: &'static str, value: Option<u32>| {
        let cache = cache.clone();
        async move { cache.get_or_compute(key, move || async move { Ok::<_, Broken>(value) }).await.unwrap() }
    };
    assert_eq!(ask("absent", None).await, None);
    assert_eq!(ask("present", Some(1)).await, Some(1));
    clock.advance(secs(4));
    assert_eq!(ask("absent", Some(2)).await, None, "an absence is a value");
    clock.advance(secs(1));
    assert_eq!(ask("absent", Some(2)).await, Some(2));
    assert_eq!(ask("present", None).await, Some(1));
}

#[tokio::test]
async fn a_computation_decides_its_ttl_or_not_to_be_stored() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let cache = builder(&clock, shared.clone()).swr_enabled(false).build().unwrap();
    let decide = |value: Computed<u32>| {
        let cache = cache.clone();
        async move { *cache.entry("key").get_or_decide(move || async move { Ok::<_, Broken>(value) }).await.unwrap() }
    };
    assert_eq!(decide(Computed::new(1).do_not_store()).await, 1);
    settle().await;
    assert!(shared.is_empty());
    assert_eq!(decide(Computed::new(2).ttl(secs(5))).await, 2);
    settle().await;
    clock.advance(secs(4));
    assert_eq!(decide(Computed::new(3)).await, 2);
    clock.advance(secs(1));
    assert_eq!(decide(Computed::new(4)).await, 4);
    assert_eq!(decide(Computed::new(5)).await, 4);
}

#[tokio::test]
async fn a_call_says_which_tiers_it_reads_and_writes() {
    let clock = ManualClock::new();
    let shared = memory(&clock);
    let cache = builder(&clock, shared.clone()).build().unwrap();
    let elsewhere = builder(&clock, shared.clone()).build().unwrap();
    cache.entry("key").skip_l2_write().set(1u32).await.unwrap();
    assert!(shared.is_empty());
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), None);
    elsewhere.entry("key").skip_l1_write().set(2u32).await.unwrap();
    assert_eq!(elsewhere.l1_len(), 0);
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    assert_eq!(cache.entry("key").skip_l1_read().skip_l1_write().get::<u32>().await.unwrap(), Some(2));
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    assert_eq!(elsewhere.entry("key").skip_l2_read().get::<u32>().await.unwrap(), None);
    let forced = cache.entry("key").skip_l1_read().skip_l2_read().get_or_compute(|| async { Ok::<u32, Broken>(3) });
    assert_eq!(forced.await.unwrap(), 3);
    settle().await;
    assert_eq!(elsewhere.get::<u32>("key").await.unwrap(), Some(3));
}

#[tokio::test]
async fn computation_that_skips_l1_leaves_no_older_value_there() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    cache.set("key", 1u32).await.unwrap();
    let forced = cache.entry("key").skip_l1_read().skip_l2_read().skip_l1_write();
    assert_eq!(forced.get_or_compute(|| async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    settle().await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
}

fn chaos(clock: &ManualClock) -> (Chaos<Memory>, ChaosControl) {
    let chaos = Chaos::with_clock(memory(clock), Arc::new(clock.clone()));
    let control = chaos.control();
    (chaos, control)
}

#[tokio::test]
async fn a_backend_that_fails_fails_no_call_and_costs_it_no_write() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let cache = builder(&clock, backend).l1_enabled(false).build().unwrap();
    control.inject_all(Fault::Refuse);
    let slow = Slow::new();
    let gate = control.gate(Operation::Set);
    let run = slow.clone();
    slow.finish(1);
    assert_eq!(cache.get_or_compute("key", move || run.run(Ok(1u32))).await.unwrap(), 1, "answered before the write");
    gate.open();
    assert_eq!(slow.started(), 1);
    assert!(cache.get::<u32>("key").await.unwrap_err().is_temporary(), "an explicit read says that it failed");
    assert!(cache.set("key", 2u32).await.is_err());
    assert!(cache.invalidate("key").await.is_err());
    control.heal();
    settle().await;
    assert_eq!(computes(&cache, 3).await, 3);
}

#[tokio::test]
async fn failed_read_is_followed_by_no_write_without_background_work() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let cache = builder(&clock, backend).background(false).build().unwrap();
    control.inject_next(1, Operation::Get, Fault::Refuse);
    assert_eq!(computes(&cache, 1).await, 1);
    settle().await;
    assert_eq!((control.count(Operation::Set), cache.pending()), (0, 0));
}

#[tokio::test]
async fn hung_backend_costs_a_call_at_most_the_operation_timeout() {
    let clock = ManualClock::new();
    let (backend, control) = chaos(&clock);
    let cache = builder(&clock, backend).operation_timeout(secs(1)).build().unwrap();
    control.inject_all(Fault::Hang);
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { computes(&cache, 1).await }
    });
    clock.wait_for_sleepers(2).await;
    clock.advance(secs(1));
    assert_eq!(caller.await.unwrap(), 1);
    assert_eq!(computes(&cache, 2).await, 1, "L1 has it");
    assert_eq!(cache.stats().backend_failures, 1);
}

#[tokio::test]
async fn a_ttl_of_zero_or_beyond_reason_is_refused_and_loses_nothing() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    cache.set("key", 1u32).await.unwrap();
    for ttl in [Duration::ZERO, Duration::MAX, secs(315_360_001)] {
        let error = cache.entry("key").ttl(ttl).set(2u32).await.unwrap_err();
        assert_eq!(error.kind(), cachekit::ErrorKind::Argument, "{error}");
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    }
    let zero = cache.entry("other").ttl(Duration::ZERO).get_or_compute(|| async { Ok::<u32, Broken>(1) }).await;
    assert!(matches!(zero, Err(ComputeError::Cache(_))));
    let decided =
        cache.entry("other").get_or_decide(|| async { Ok::<_, Broken>(Computed::new(1u32).ttl(Duration::MAX)) });
    assert_eq!(*decided.await.unwrap(), 1, "the value is there, it is not stored");
    assert_eq!(cache.stats().not_stored, 1);
    assert!(!cache.exists("other").await.unwrap());
}
