//! Changes that overlap, of which one fails.

use super::*;

fn name(key: &str) -> Key {
    Key::new("pages", key).unwrap()
}

/// A `set` of 2 that waits for the bus, before it has told the backend.
async fn setting(
    cache: &Pages<Chaotic>,
    control: &ChaosControl,
) -> (tokio::task::JoinHandle<()>, cachekit::testing::Gate) {
    let gate = control.gate(Operation::Receive);
    let cache = cache.clone();
    let set = tokio::spawn(async move { cache.set("home", 2u32).await.unwrap() });
    gate.wait_for(1).await;
    (set, gate)
}

#[tokio::test]
async fn a_set_from_before_does_not_undo_a_failed_invalidation() {
    for many in [false, true] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (chaos, control) = chaos(&clock, memory.clone());
        let (cache, other) = (pages(&clock, chaos), bare(&clock, memory.clone()));
        let (set, gate) = setting(&cache, &control).await;
        control.inject_next(1, Operation::Remove, Fault::Refuse);
        let refused = if many { cache.invalidate_many(["home"]).await } else { cache.invalidate("home").await };
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
        gate.open();
        set.await.unwrap();
        assert_eq!(
            (in_l1(&cache, "home").await, cache.get::<u32>("home").await.unwrap()),
            (None, None),
            "many: {many}"
        );
        until(&clock, "it is removed", async || cache.pending() == 0).await;
        assert_eq!((memory.get(&name("home")).await.unwrap(), other.get::<u32>("home").await.unwrap()), (None, None));
    }
}

#[tokio::test]
async fn set_begun_before_an_expire_all_is_not_fresh_after_it() {
    let (_, control, cache, other) = troubled();
    let (set, gate) = setting(&cache, &control).await;
    cache.expire_all().await.unwrap();
    gate.open();
    set.await.unwrap();
    for found in [cache.get::<u32>("home").await, other.get("home").await] {
        assert_eq!(found.unwrap(), None);
    }
    cache.set("home", 3u32).await.unwrap();
    assert_eq!(other.get("home").await.unwrap(), Some(3u32));
}

#[tokio::test]
async fn what_was_to_be_removed_does_not_stand_in_once_it_expires() {
    let (_, control, cache, other) = troubled();
    cache.set("home", 1u32).await.unwrap();
    control.inject_next(1, Operation::Remove, Fault::Refuse);
    assert!(cache.invalidate("home").await.is_err());
    cache.expire("home").await.unwrap();
    assert_eq!((fallback(&cache, "home").await, fallback(&other, "home").await), (None, None));
}

#[tokio::test]
async fn entry_to_be_forgotten_is_no_fallback_after_an_expire_all() {
    let (clock, control, cache, other) = troubled();
    cache.set("home", 1u32).await.unwrap();
    control.inject_next(1, Operation::Set, Fault::Refuse);
    assert!(cache.invalidate_namespace().await.is_err());
    cache.expire_all().await.unwrap();
    assert_eq!(fallback(&cache, "home").await, None);
    until(&clock, "it is made again", async || cache.pending() == 0).await;
    clock.advance(2 * SECOND);
    assert_eq!((fallback(&cache, "home").await, fallback(&other, "home").await), (None, None));
}

#[tokio::test]
async fn an_invalidation_from_before_an_expiry_leaves_no_fallback() {
    let (_, control, cache, other) = troubled();
    cache.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Remove);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate("a").await }
    });
    gate.wait_for(1).await;
    let both = tokio::spawn({
        let cache = cache.clone();
        async move { cache.invalidate_many(["a", "home"]).await }
    });
    settle().await;
    cache.expire("home").await.unwrap();
    assert!(!both.is_finished(), "it waits for its turn");
    gate.open();
    first.await.unwrap().unwrap();
    both.await.unwrap().unwrap();
    assert_eq!((fallback(&cache, "home").await, fallback(&other, "home").await), (None, None));
}
