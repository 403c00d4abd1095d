//! Everything expires at once.

use super::*;

#[tokio::test]
async fn all_that_was_there_stands_in_and_what_comes_later_is_fresh() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two, three) =
        (pages(&clock, memory.clone()), pages(&clock, memory.clone()), bare(&clock, memory.clone()));
    for key in ["a", "b", "c"] {
        one.entry(key).tags([key]).set(1u32).await.unwrap();
        assert_eq!(two.get(key).await.unwrap(), Some(1u32));
    }
    heard(&clock, &one, &two).await;
    let entries = memory.len();
    one.expire_all().await.unwrap();
    assert_eq!(memory.len(), entries, "nothing is rewritten");
    settle().await;
    for key in ["a", "b", "c"] {
        assert_eq!((one.get::<u32>(key).await.unwrap(), two.get::<u32>(key).await.unwrap()), (None, None), "{key}");
        assert!(
            !one.exists(key).await.unwrap() && !two.exists(key).await.unwrap() && !three.exists(key).await.unwrap()
        );
        assert_eq!((fallback_in_l1(&one, key).await, fallback_in_l1(&two, key).await), (Some(1), Some(1)), "{key}");
        assert_eq!(fallback(&three, key).await, Some(1), "{key}");
    }
    clock.advance(40 * SECOND);
    assert_eq!((compute(&one, "a", 2).await, one.get("a").await.unwrap()), (2, Some(2u32)));
    settle().await;
    assert_eq!((two.get("a").await.unwrap(), three.get("a").await.unwrap()), (Some(2u32), Some(2u32)));
    one.invalidate_tag("b").await.unwrap();
    assert_eq!((fallback(&one, "b").await, fallback(&one, "c").await), (None, Some(1)), "tags hold of fallbacks, too");
}

#[tokio::test]
async fn the_grace_begins_with_the_expiry() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let cache = builder(&clock, memory(&clock)).l1_enabled(l1).build().unwrap();
        cache.set("home", 1u32).await.unwrap();
        clock.advance(10 * SECOND);
        cache.expire_all().await.unwrap();
        clock.advance(50 * SECOND - Duration::from_millis(1));
        assert_eq!(fallback(&cache, "home").await, Some(1), "L1: {l1}");
        clock.advance(Duration::from_millis(1));
        assert_eq!(fallback(&cache, "home").await, None, "L1: {l1}");
    }
}

#[tokio::test]
async fn the_last_expiry_is_remembered_in_both_tiers() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let cache = builder(&clock, memory(&clock)).l1_enabled(l1).build().unwrap();
        let keys: Vec<String> = (0..3).map(|n| format!("k{n}")).collect();
        for key in &keys {
            cache.set(key, 1u32).await.unwrap();
            cache.expire_all().await.unwrap();
        }
        let mut found = Vec::new();
        for key in &keys {
            found.push(fallback(&cache, key).await.is_some());
        }
        let expected = [false, false, true];
        assert_eq!(found, expected, "L1: {l1}");
        cache.invalidate_namespace().await.unwrap();
        for key in &keys {
            assert_eq!(fallback(&cache, key).await, None, "L1: {l1}");
        }
    }
}

#[tokio::test]
async fn an_invalidation_meanwhile_is_not_undone() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (bare(&clock, chaos), bare(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Set);
    let expiry = tokio::spawn({
        let one = one.clone();
        async move { one.expire_all().await }
    });
    until(&clock, "it is about to be stored", async || gate.waiting() == 1).await;
    two.invalidate_namespace().await.unwrap();
    two.set("news", 1u32).await.unwrap();
    gate.open();
    expiry.await.unwrap().unwrap();
    clock.advance(SECOND);
    for cache in [fallback(&one, "home").await, fallback(&two, "home").await] {
        assert_eq!(cache, None);
    }
    assert_eq!((two.get::<u32>("news").await.unwrap(), fallback(&two, "news").await), (None, Some(1)));
}

#[tokio::test]
async fn a_backend_without_leases_keeps_nothing_and_l1_does() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, NoLeases(memory.clone())), bare(&clock, NoLeases(memory)));
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    one.expire_all().await.unwrap();
    clock.advance(SECOND);
    assert_eq!((one.get::<u32>("home").await.unwrap(), two.get::<u32>("home").await.unwrap()), (None, None));
    assert_eq!((fallback(&one, "home").await, fallback(&two, "home").await), (Some(1), None));
}

#[tokio::test]
async fn an_expiry_that_the_backend_refused_becomes_an_invalidation() {
    let (clock, control, cache, other) = troubled();
    cache.set("home", 1u32).await.unwrap();
    control.inject(Operation::Set, Fault::Refuse);
    assert_eq!(cache.expire_all().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((cache.get::<u32>("home").await.unwrap(), fallback(&cache, "home").await), (None, Some(1)));
    assert_eq!(other.get("home").await.unwrap(), Some(1u32), "nobody has told it");
    control.heal();
    until(&clock, "nothing is left to do", async || cache.pending() == 0).await;
    clock.advance(SECOND);
    assert_eq!((other.get::<u32>("home").await.unwrap(), fallback(&other, "home").await), (None, None));
}

#[tokio::test]
async fn another_clock_that_is_ahead_makes_nothing_fresh() {
    let (ahead, clock) = (ManualClock::new(), ManualClock::new());
    let memory = memory(&clock);
    ahead.advance(30 * SECOND);
    let (one, two) = (bare(&ahead, memory.clone()), bare(&clock, memory));
    two.set("home", 1u32).await.unwrap();
    two.set("news", 1u32).await.unwrap();
    one.expire("home").await.unwrap();
    one.expire_all().await.unwrap();
    clock.advance(SECOND);
    for key in ["home", "news"] {
        assert_eq!((two.get::<u32>(key).await.unwrap(), fallback(&two, key).await), (None, Some(1)), "{key}");
    }
}
