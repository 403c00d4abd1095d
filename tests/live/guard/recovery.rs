//! What becomes of changes that the backend did not take.

use cachekit::Cache;

use super::*;

/// Lets time pass until `done`, or for a minute.
async fn in_time(clock: &ManualClock, what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        settle().await;
        if done().await {
            return;
        }
        clock.advance(SECOND / 10);
    }
    panic!("never happened: {what}");
}

/// Another cache over the same backend, which reads whatever is there.
fn other(memory: &Memory, clock: &ManualClock) -> Cache<Memory, Checked<Postcard>> {
    let builder = CacheBuilder::new().namespace("users").codec(Postcard).backend(memory.clone()).l1_enabled(false);
    let builder = builder.namespace_index(false).invalidation_enabled(false).leases(false).swr_enabled(false);
    builder.clock(Arc::new(clock.clone())).build().unwrap()
}

fn brave() -> Setup {
    setup(|builder| builder.breaker_enabled(false).retries(0))
}

#[tokio::test]
async fn entry_that_failed_changes_left_is_removed_on_recovery() {
    let Setup { clock, memory, control, cache, .. } = brave();
    let other = other(&memory, &clock);
    for key in 1..=3u32 {
        cache.set(key, 0u32).await.unwrap();
    }
    control.inject_all(Fault::Refuse);
    assert!(cache.set(1u32, 1u32).await.is_err());
    assert!(cache.set(1u32, 2u32).await.is_err());
    assert!(cache.set(2u32, 1u32).await.is_err());
    assert!(cache.invalidate(2u32).await.is_err());
    assert!(cache.invalidate(3u32).await.is_err());
    assert!(cache.set(3u32, 3u32).await.is_err());
    clock.advance(5 * SECOND);
    settle().await;
    assert_eq!(other.get(1u32).await.unwrap(), Some(0u32));
    control.heal();
    let removals = control.count(Operation::Remove);
    in_time(&clock, "nothing is left to do", async || cache.pending() == 0).await;
    for key in 1..=3u32 {
        assert_eq!(other.get::<u32>(key).await.unwrap(), None);
    }
    assert_eq!((control.count(Operation::Remove), cache.stats().given_up), (3 + removals, 0), "one for each key");
}

#[tokio::test]
async fn what_the_backend_should_have_forgotten_is_not_read_from_it() {
    let Setup { clock, control, cache, .. } = brave();
    cache.set(1u32, 1u32).await.unwrap();
    cache.entry(2u32).tags(["t"]).set(1u32).await.unwrap();
    control.inject(Operation::Remove, Fault::Refuse);
    assert!(cache.invalidate(1u32).await.is_err());
    assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None);
    assert!(!cache.exists(1u32).await.unwrap());
    assert_eq!(cache.get::<u32>(2u32).await.unwrap(), Some(1), "of others it is");
    assert_eq!(compute(&cache, 1).await, 1);
    control.heal();
    in_time(&clock, "it is forgotten", async || cache.pending() == 0).await;
    assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None);
}

#[tokio::test]
async fn a_namespace_and_a_tag_are_forgotten_once_the_backend_is_back() {
    for tag in [false, true] {
        let Setup { clock, control, cache, .. } =
            setup(|builder| builder.namespace_index(true).breaker_enabled(false).retries(0));
        cache.entry(1u32).tags(["t"]).set(1u32).await.unwrap();
        cache.set(2u32, 2u32).await.unwrap();
        control.inject(Operation::Set, Fault::Refuse);
        let result = if tag { cache.invalidate_tag("t").await } else { cache.invalidate_namespace().await };
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None, "tag: {tag}");
        assert_eq!(cache.get::<u32>(2u32).await.unwrap(), tag.then_some(2));
        control.heal();
        in_time(&clock, "it is made again", async || cache.pending() == 0).await;
        assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None);
        assert_eq!(cache.get::<u32>(2u32).await.unwrap(), tag.then_some(2));
    }
}

#[tokio::test]
async fn a_later_change_that_is_taken_leaves_nothing_to_be_made_again() {
    let Setup { clock, memory, control, cache, .. } = brave();
    let other = other(&memory, &clock);
    control.inject_next(1, Operation::Set, Fault::Refuse);
    assert!(cache.set(1u32, 1u32).await.is_err());
    cache.set(1u32, 2u32).await.unwrap();
    in_time(&clock, "nobody works on it", async || cache.pending() == 0).await;
    assert_eq!((other.get(1u32).await.unwrap(), control.count(Operation::Remove)), (Some(2u32), 0));
}

#[tokio::test]
async fn what_has_expired_by_now_is_given_up() {
    let Setup { clock, control, cache, .. } =
        setup(|builder| builder.ttl(2 * SECOND).stale_if_error(Duration::ZERO).breaker_enabled(false).retries(0));
    control.inject_all(Fault::Refuse);
    assert!(cache.set(1u32, 1u32).await.is_err());
    in_time(&clock, "it is given up", async || cache.stats().given_up == 1).await;
    in_time(&clock, "nothing is left", async || cache.pending() == 0).await;
    control.heal();
    assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None);
}

#[tokio::test]
async fn closing_tells_of_what_never_reached_the_backend() {
    let Setup { clock, control, cache, .. } = brave();
    control.inject_all(Fault::Refuse);
    assert!(cache.invalidate(1u32).await.is_err());
    assert!(cache.invalidate(2u32).await.is_err());
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(3 * SECOND).await }
    });
    in_time(&clock, "its deadline has come", async || closing.is_finished()).await;
    let error = closing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("2 changes never reached the backend"), "{error}");
}

#[tokio::test]
async fn closing_waits_for_what_can_still_reach_the_backend() {
    let Setup { clock, memory, control, cache, .. } = brave();
    let other = other(&memory, &clock);
    cache.set(1u32, 1u32).await.unwrap();
    control.inject_next(2, Operation::Remove, Fault::Refuse);
    assert!(cache.invalidate(1u32).await.is_err());
    let closing = tokio::spawn({
        let cache = cache.clone();
        async move { cache.close(60 * SECOND).await }
    });
    in_time(&clock, "it is closed", async || closing.is_finished()).await;
    closing.await.unwrap().unwrap();
    assert_eq!(other.get::<u32>(1u32).await.unwrap(), None);
}

#[tokio::test]
async fn a_set_that_failed_undoes_no_later_one_of_another_process() {
    let Setup { clock, memory, control, cache, .. } = brave();
    let other = other(&memory, &clock);
    control.inject_all(Fault::Refuse);
    assert!(cache.set(1u32, 1u32).await.is_err());
    other.set(1u32, 2u32).await.unwrap();
    control.heal();
    in_time(&clock, "nothing is left", async || cache.pending() == 0).await;
    assert_ne!(other.get(1u32).await.unwrap(), Some(1u32), "it is older");
}

#[tokio::test]
async fn unstored_result_does_not_revive_what_a_failed_set_replaced() {
    let Setup { clock, control, cache, .. } = setup(|builder| builder.leases(true).breaker_enabled(false).retries(0));
    cache.set(1u32, 7u32).await.unwrap();
    control.inject(Operation::Set, Fault::Refuse);
    assert!(cache.set(1u32, 8u32).await.is_err());
    assert_eq!(compute(&cache, 1).await, 1);
    control.heal();
    in_time(&clock, "nothing is left", async || cache.pending() == 0).await;
    assert_ne!(cache.get(1u32).await.unwrap(), Some(7u32));
}
