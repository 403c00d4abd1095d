//! Clearing: nothing is left, and nothing to fall back on.

use super::*;

#[tokio::test]
async fn what_is_cleared_is_nowhere_and_l1_gives_its_memory_back() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()));
    for n in 0..500u32 {
        one.set(n, n).await.unwrap();
        assert_eq!(two.get(n).await.unwrap(), Some(n));
    }
    heard(&clock, &one, &two).await;
    let full = one.l1_bytes();
    one.clear().await.unwrap();
    assert_eq!((one.l1_bytes(), one.l1_len()), (0, 0));
    assert!(full > 500 * 100);
    settle().await;
    for n in 0..500u32 {
        assert_eq!((one.get::<u32>(n).await.unwrap(), two.get::<u32>(n).await.unwrap()), (None, None));
    }
    for n in 0..500u32 {
        one.set(n, n).await.unwrap();
    }
    assert_eq!(one.l1_len(), 500, "and it is as good as new");
}

#[tokio::test]
async fn nothing_that_expired_before_stands_in_after_it() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two, three) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()), bare(&clock, memory));
    one.set("a", 1u32).await.unwrap();
    one.set("b", 1u32).await.unwrap();
    one.set("c", 1u32).await.unwrap();
    for key in ["a", "b", "c"] {
        assert_eq!(two.get(key).await.unwrap(), Some(1u32));
    }
    heard(&clock, &one, &two).await;
    one.expire("a").await.unwrap();
    one.expire_all().await.unwrap();
    assert_eq!((fallback(&one, "b").await, fallback(&three, "b").await), (Some(1), Some(1)));
    one.clear().await.unwrap();
    settle().await;
    clock.advance(SECOND);
    for key in ["a", "b", "c"] {
        assert_eq!(fallback(&one, key).await, None, "{key}");
        assert_eq!((fallback(&two, key).await, fallback(&three, key).await), (None, None), "{key}");
    }
}

/// A call whose computation is under way, over an expired entry, and then fails.
async fn failing_meanwhile(clear: bool) -> Option<u32> {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    cache.set("home", 1u32).await.unwrap();
    clock.advance(TTL);
    let slow = Slow::new();
    let call = start(&cache, &slow, Err(Broken("down")));
    slow.wait_for_start().await;
    if clear { cache.clear().await } else { cache.invalidate_namespace().await }.unwrap();
    slow.finish(1);
    call.await.unwrap().ok()
}

#[tokio::test]
async fn failing_computation_has_no_fallback_after_a_clear() {
    assert_eq!(failing_meanwhile(true).await, None);
    assert_eq!(failing_meanwhile(false).await, Some(1), "an invalidation leaves it to those who asked before");
}

#[tokio::test]
async fn a_slow_computation_under_way_is_waited_for() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).soft_timeout(SECOND).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    clock.advance(TTL);
    let slow = Slow::new();
    let call = start(&cache, &slow, Ok(2));
    slow.wait_for_start().await;
    cache.clear().await.unwrap();
    clock.advance(2 * SECOND);
    settle().await;
    assert!(!call.is_finished(), "there is no older value to answer with");
    slow.finish(1);
    assert_eq!(call.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn keys_that_failed_lately_are_tried_again() {
    let clock = ManualClock::new();
    for how in ["nothing", "clear", "expire_all"] {
        let cache = pages(&clock, memory(&clock));
        cache.set("home", 1u32).await.unwrap();
        clock.advance(TTL);
        assert_eq!(fallback(&cache, "home").await, Some(1));
        match how {
            "clear" => cache.clear().await.unwrap(),
            "expire_all" => cache.expire_all().await.unwrap(),
            _ => {}
        }
        let expected = if how == "nothing" { 1 } else { 2 };
        assert_eq!(compute(&cache, "home", 2).await, expected, "{how}");
    }
}

#[tokio::test]
async fn without_a_backend_clearing_always_works() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    cache.set("home", 1u32).await.unwrap();
    cache.set("news", 1u32).await.unwrap();
    cache.expire("news").await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!((cache.get::<u32>("home").await.unwrap(), cache.l1_bytes()), (None, 0));
    assert_eq!((fallback(&cache, "home").await, fallback(&cache, "news").await), (None, None));
}

#[tokio::test]
async fn failed_clear_is_carried_out_once_the_backend_is_back() {
    let (clock, control, cache, other) = troubled();
    cache.set("home", 1u32).await.unwrap();
    control.inject(Operation::Set, Fault::Refuse);
    assert_eq!(cache.clear().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((fallback(&cache, "home").await, other.get("home").await.unwrap()), (None, Some(1u32)));
    control.heal();
    until(&clock, "nothing is left to do", async || cache.pending() == 0).await;
    clock.advance(SECOND);
    assert_eq!(other.get::<u32>("home").await.unwrap(), None);
}
