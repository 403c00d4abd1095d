//! One key expires: it is read no more, and stands in for what fails.

use super::*;

fn name(key: &str) -> Key {
    Key::new("pages", key).unwrap()
}

#[tokio::test]
async fn expired_entry_is_not_read_but_is_a_fallback_in_all_caches() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two, three) = (pages(&clock, memory.clone()), pages(&clock, memory.clone()), bare(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    one.set("news", 1u32).await.unwrap();
    for key in ["home", "news"] {
        assert_eq!(two.get(key).await.unwrap(), Some(1u32));
    }
    heard(&clock, &one, &two).await;
    one.expire("home").await.unwrap();
    assert_eq!((in_l1(&one, "home").await, one.get::<u32>("home").await.unwrap()), (None, None));
    assert!(!one.exists("home").await.unwrap());
    settle().await;
    assert_eq!((in_l1(&two, "home").await, two.get::<u32>("home").await.unwrap()), (None, None));
    assert!(!two.exists("home").await.unwrap() && two.exists("news").await.unwrap());
    assert_eq!(three.get::<u32>("home").await.unwrap(), None);
    assert_eq!((fallback_in_l1(&one, "home").await, fallback_in_l1(&two, "home").await), (Some(1), Some(1)));
    assert_eq!(fallback(&three, "home").await, Some(1), "from the backend");
    assert_eq!((in_l1(&one, "news").await, in_l1(&two, "news").await), (Some(1), Some(1)), "others stay");
    assert_eq!(compute(&one, "home", 2).await, 1, "the failures of before are still fresh");
    clock.advance(40 * SECOND);
    assert_eq!((compute(&one, "home", 2).await, one.get("home").await.unwrap()), (2, Some(2u32)));
    settle().await;
    assert_eq!(three.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn the_grace_begins_with_the_expiry_in_both_tiers() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let cache = builder(&clock, memory.clone()).l1_enabled(l1).build().unwrap();
        cache.set("home", 1u32).await.unwrap();
        clock.advance(10 * SECOND);
        cache.expire("home").await.unwrap();
        assert_eq!(memory.ttl(&name("home")).await.unwrap(), Some(GRACE));
        clock.advance(GRACE - Duration::from_millis(1));
        assert_eq!(fallback(&cache, "home").await, Some(1), "L1: {l1}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(fallback(&cache, "home").await, None, "L1: {l1}");
        assert_eq!(memory.get(&name("home")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn expire_in_the_grace_period_or_twice_prolongs_no_fallback() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let cache = builder(&clock, memory.clone()).l1_enabled(l1).build().unwrap();
        for key in ["late", "twice"] {
            cache.set(key, 1u32).await.unwrap();
        }
        clock.advance(60 * SECOND);
        cache.expire("twice").await.unwrap();
        clock.advance(45 * SECOND);
        cache.expire("twice").await.unwrap();
        cache.expire("late").await.unwrap();
        clock.advance(Duration::from_millis(4_999));
        assert_eq!((fallback(&cache, "late").await, fallback(&cache, "twice").await), (Some(1), Some(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!((fallback(&cache, "late").await, fallback(&cache, "twice").await), (Some(1), None), "L1: {l1}");
        clock.advance(40 * SECOND);
        assert_eq!(fallback(&cache, "late").await, None, "L1: {l1}");
    }
}

#[tokio::test]
async fn without_grace_it_is_removed() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let cache = builder(&clock, memory.clone()).stale_if_error(Duration::ZERO).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    cache.expire("home").await.unwrap();
    assert_eq!(memory.get(&name("home")).await.unwrap(), None);
    assert_eq!((cache.l1_len(), fallback(&cache, "home").await), (0, None));
    cache.expire("absent").await.unwrap();
    assert_eq!(memory.get(&name("absent")).await.unwrap(), None);
}

#[tokio::test]
async fn the_grace_is_that_which_the_entry_was_stored_with() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let cache = builder(&clock, memory.clone()).stale_if_error(Duration::ZERO).l1_enabled(false).build().unwrap();
    cache.entry("home").stale_if_error(7 * SECOND).set(1u32).await.unwrap();
    cache.expire("home").await.unwrap();
    assert_eq!(memory.ttl(&name("home")).await.unwrap(), Some(7 * SECOND));
    let call = cache.entry("home").stale_if_error(7 * SECOND);
    assert_eq!(call.get_or_compute(|| async { Err::<u32, _>(Broken("down")) }).await.unwrap(), 1);
}

#[tokio::test]
async fn a_slow_computation_is_stood_in_for_too() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).soft_timeout(SECOND).build().unwrap();
    cache.set("home", 1u32).await.unwrap();
    cache.expire("home").await.unwrap();
    let slow = Slow::new();
    let call = start(&cache, &slow, Ok(2));
    slow.wait_for_start().await;
    settle().await;
    assert!(!call.is_finished(), "it is not stale-while-revalidate");
    clock.advance(SECOND);
    assert_eq!(call.await.unwrap().unwrap(), 1);
    slow.finish(1);
    until(&clock, "the new one is stored", async || cache.get("home").await.unwrap() == Some(2u32)).await;
}

#[tokio::test]
async fn without_a_backend_l1_keeps_the_fallback() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    for key in ["home", "news"] {
        cache.set(key, 1u32).await.unwrap();
    }
    cache.expire("home").await.unwrap();
    assert_eq!((cache.get::<u32>("home").await.unwrap(), cache.get("news").await.unwrap()), (None, Some(1u32)));
    assert!(!cache.exists("home").await.unwrap());
    assert_eq!(fallback(&cache, "home").await, Some(1));
    cache.expire_all().await.unwrap();
    assert_eq!((cache.get::<u32>("news").await.unwrap(), fallback(&cache, "news").await), (None, Some(1)));
    clock.advance(GRACE);
    assert_eq!((fallback(&cache, "home").await, fallback(&cache, "news").await), (None, None));
}

#[tokio::test]
async fn a_backend_without_leases_keeps_the_fallback_too() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let one = bare(&clock, NoLeases(memory.clone()));
    one.set("home", 1u32).await.unwrap();
    one.expire("home").await.unwrap();
    assert_eq!((one.get::<u32>("home").await.unwrap(), fallback(&one, "home").await), (None, Some(1)));
    one.invalidate("home").await.unwrap();
    assert_eq!(fallback(&one, "home").await, None);
}

#[tokio::test]
async fn what_the_backend_refused_is_removed_not_kept() {
    for operation in [Operation::Lease, Operation::Get, Operation::Set] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (chaos, control) = chaos(&clock, memory.clone());
        let (cache, other) = (bare(&clock, chaos), bare(&clock, memory.clone()));
        cache.set("home", 1u32).await.unwrap();
        control.inject(operation, Fault::Refuse);
        assert_eq!(cache.expire("home").await.unwrap_err().kind(), ErrorKind::Unavailable, "{operation:?}");
        control.heal();
        assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(&cache, "home").await), (None, None));
        until(&clock, "it is removed", async || cache.pending() == 0).await;
        assert_eq!(memory.get(&name("home")).await.unwrap(), None, "{operation:?}");
        assert_eq!(fallback(&other, "home").await, None);
    }
}

#[tokio::test]
async fn expire_that_could_not_be_published_is_an_error_and_retried() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (pages(&clock, chaos), pages(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    heard(&clock, &one, &two).await;
    control.inject(Operation::Publish, Fault::Refuse);
    assert_eq!(one.expire("home").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(fallback(&one, "home").await, Some(1), "the backend has done it");
    control.heal();
    until(&clock, "it is told", async || in_l1(&two, "home").await.is_none()).await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}
