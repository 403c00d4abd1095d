//! Computations that are given the previous value, and may answer that it is as it was.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Checked, Keyring, Postcard};
use cachekit::testing::{Chaos, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, Codec, ComputeError, Computed, Intent, Operation, Outcome, Previous, Revalidated,
};

use harness::support::{Broken, Slow, settle};

const TTL: Duration = Duration::from_secs(100);
const GRACE: Duration = Duration::from_secs(300);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Entries live for 100 s and stand in for 300 more. Nothing is served stale.
fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Production> {
    let builder = CacheBuilder::new().intent(Intent::Production).backend(backend).clock(Arc::new(clock.clone()));
    builder.ttl(TTL).stale_if_error(GRACE).jitter(false).swr_enabled(false).throttle(Duration::ZERO)
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(4 << 20, Arc::new(clock.clone()))
}

/// What a computation was given: the value, its age in seconds, and its validator.
type Given = Option<(u32, u64, Option<Vec<u8>>)>;

fn given(previous: Option<&Previous<u32>>) -> Given {
    let seen = |previous: &Previous<u32>| {
        (**previous.value(), previous.age().as_secs(), previous.validator().map(<[u8]>::to_vec))
    };
    previous.map(seen)
}

/// Asks for `key`. If it is computed, the origin has `now` under its own number as a validator. What was answered, and
/// what the computation was given, if there was one.
async fn asks<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str, now: u32) -> (u32, Option<Given>) {
    let told = Arc::new(std::sync::Mutex::new(None));
    let tell = Arc::clone(&told);
    let answer = cache.entry(key).tags(["call"]).get_or_revalidate(move |previous: Option<Previous<u32>>| async move {
        *tell.lock().unwrap() = Some(given(previous.as_ref()));
        let etag = format!("v{now}");
        Ok::<Revalidated<u32>, Broken>(match previous {
            Some(previous) if previous.validator() == Some(etag.as_bytes()) => previous.not_modified(),
            _ => Computed::new(now).validator(etag).tags(["own"]).into(),
        })
    });
    let answer = *answer.await.unwrap();
    settle().await;
    (answer, told.lock().unwrap().take())
}

fn known(value: u32, age: u64) -> Option<Given> {
    Some(Some((value, age, Some(format!("v{value}").into_bytes()))))
}

#[tokio::test]
async fn what_is_not_modified_gets_new_dates_in_both_tiers_by_one_write() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let build = || builder(&clock, backend.clone()).build().unwrap();
    let (cache, other) = (build(), build());
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)), "there is nothing at first");
    clock.advance(secs(130));
    let before = control.count(Operation::Set);
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 130)));
    assert_eq!(control.count(Operation::Set), before + 1);
    assert_eq!(cache.stats().computations, 2);
    clock.advance(secs(99));
    assert_eq!(asks(&cache, "key", 9).await, (1, None), "a hit of L1");
    assert_eq!(asks(&other, "key", 9).await, (1, None), "another process sees the new dates");
    assert_eq!((cache.stats().l1_hits, other.stats().l2_hits), (1, 1));
    clock.advance(secs(1));
    assert_eq!(asks(&other, "key", 1).await, (1, known(1, 100)), "as old as its validation, and its validator is kept");
    clock.advance(secs(100));
    assert_eq!(asks(&cache, "key", 2).await, (2, known(1, 100)));
    clock.advance(secs(100));
    assert_eq!(asks(&cache, "key", 2).await, (2, known(2, 100)));
}

#[tokio::test]
async fn whence_the_answer_came_is_told_of_computations_that_decide_or_revalidate() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    let numbers = cache.typed::<u32, u32>("numbers").unwrap();
    let fetch = async |now: u32| {
        let call =
            numbers.entry(&1).tags(["call"]).fetch_or_revalidate(move |previous: Option<Previous<u32>>| async move {
                Ok::<Revalidated<u32>, Broken>(match previous {
                    Some(previous) if previous.validator() == Some(&[now as u8]) => previous.not_modified(),
                    _ => Computed::new(now).validator([now as u8]).tags(["own"]).into(),
                })
            });
        let fetched = call.await.unwrap();
        settle().await;
        assert!(fetched.has_tag("own") && fetched.has_tag("call"));
        (**fetched.value(), fetched.outcome(), fetched.age().as_secs(), fetched.remaining().as_secs())
    };
    assert_eq!(fetch(1).await, (1, Outcome::Computed, 0, 100));
    clock.advance(secs(40));
    assert_eq!(fetch(2).await, (1, Outcome::L1Hit, 40, 60));
    clock.advance(secs(100));
    assert_eq!(fetch(1).await, (1, Outcome::Computed, 0, 100), "not modified");
    clock.advance(secs(100));
    assert_eq!(fetch(2).await, (2, Outcome::Computed, 0, 100));
    let brief = || async { Ok::<_, Broken>(Computed::new(7u32).ttl(secs(5)).tags(["seven"])) };
    let fetched = numbers.entry(&7).fetch_or_decide(brief).await.unwrap();
    assert!(**fetched.value() == 7 && fetched.remaining() == secs(5) && fetched.has_tag("seven"));
    let error =
        numbers.entry(&8).error_ttl(secs(5)).fetch_or_decide(|| async { Err::<Computed<u32>, _>(Broken("down")) });
    assert!(matches!(error.await, Err(ComputeError::Failed(_))));
    assert!(numbers.entry(&8).fetch_or_decide(brief).await.is_err(), "the error is kept");
}

#[tokio::test]
async fn nothing_is_given_beyond_the_grace_nor_of_what_was_forgotten() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)));
    clock.advance(secs(399));
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 399)));
    clock.advance(secs(400));
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)), "beyond its grace");
    cache.invalidate("key").await.unwrap();
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)));
    cache.invalidate_namespace().await.unwrap();
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)));
    cache.expire("key").await.unwrap();
    clock.advance(secs(7));
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 7)), "an expiry leaves it");
    cache.pause();
    clock.advance(secs(200));
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)), "nor while the cache is paused");
}

#[tokio::test]
async fn l1_alone_keeps_age_and_validator_too() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).ttl(TTL);
    let cache = builder.stale_if_error(GRACE).jitter(false).build().unwrap();
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)));
    clock.advance(secs(150));
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 150)));
    clock.advance(secs(100));
    cache.set("key", 5u32).await.unwrap();
    clock.advance(secs(101));
    assert_eq!(asks(&cache, "key", 6).await, (6, Some(Some((5, 101, None)))), "what was set has no validator");
}

#[tokio::test]
async fn a_stale_value_is_answered_and_validated_behind_it() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).swr_enabled(true).build().unwrap();
    asks(&cache, "key", 1).await;
    clock.advance(secs(60));
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 60)));
    assert_eq!((cache.stats().stale, cache.stats().computations), (1, 2));
    clock.advance(secs(49));
    assert_eq!(asks(&cache, "key", 9).await, (1, None), "fresh again");
}

#[tokio::test]
async fn tags_are_kept_and_added_to() {
    let clock = ManualClock::new();
    for tag in ["call", "own", "more"] {
        let cache = builder(&clock, memory(&clock)).build().unwrap().domain("pages").unwrap();
        asks(&cache, "key", 1).await;
        clock.advance(secs(100));
        asks(&cache, "key", 1).await;
        clock.advance(secs(100));
        let more = cache.entry("key").get_or_revalidate(|previous: Option<Previous<u32>>| async move {
            Ok::<_, Broken>(previous.expect("it is within its grace").not_modified().tags(["more"]).ttl(secs(500)))
        });
        assert_eq!(*more.await.unwrap(), 1);
        settle().await;
        clock.advance(secs(400));
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1), "for as long as the computation said");
        cache.invalidate_tag(tag).await.unwrap();
        assert_eq!(cache.get::<u32>("key").await.unwrap(), None, "{tag}");
        asks(&cache, "key", 1).await;
        cache.invalidate_namespace().await.unwrap();
        assert_eq!(cache.get::<u32>("key").await.unwrap(), None, "the domain's own tag is there once more");
    }
}

/// A computation that says late that nothing is modified.
fn late<B: Backend, C: Codec>(cache: &Cache<B, C>, slow: &Slow) -> tokio::task::JoinHandle<u32> {
    let (cache, slow) = (cache.clone(), slow.clone());
    tokio::spawn(async move {
        let answer =
            cache.entry("key").tags(["call"]).get_or_revalidate(move |previous: Option<Previous<u32>>| async {
                slow.run(Ok(())).await?;
                Ok::<_, Broken>(previous.expect("it is within its grace").not_modified())
            });
        *answer.await.unwrap()
    })
}

#[tokio::test]
async fn what_is_forgotten_while_the_origin_is_asked_is_not_revived() {
    for (number, elsewhere) in (0..6).flat_map(|number| [(number, false), (number, true)]) {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        let build = || builder(&clock, backend.clone()).build().unwrap();
        let (cache, other) = (build(), build());
        asks(&cache, "key", 1).await;
        clock.advance(secs(101));
        let slow = Slow::new();
        let call = late(&cache, &slow);
        slow.wait_for_start().await;
        let changing = if elsewhere { &other } else { &cache };
        match number {
            0 => changing.invalidate("key").await.unwrap(),
            1 => changing.invalidate_tag("call").await.unwrap(),
            2 => changing.invalidate_tag("own").await.unwrap(),
            3 => changing.invalidate_namespace().await.unwrap(),
            4 => changing.clear().await.unwrap(),
            _ => changing.set("key", 7u32).await.unwrap(),
        }
        settle().await;
        slow.finish(1);
        assert_eq!(call.await.unwrap(), 1, "who asked before is answered");
        settle().await;
        let expected = (number == 5).then_some(7);
        for cache in [&cache, &other] {
            let read = cache.get::<u32>("key").await.unwrap();
            assert_eq!(read, expected, "change {number}, elsewhere: {elsewhere}");
        }
    }
}

#[tokio::test]
async fn entries_whose_header_is_authenticated_are_sealed_anew() {
    let clock = ManualClock::new();
    let backend = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = backend.control();
    let keyring = Keyring::from_hex(&"ab".repeat(32)).unwrap();
    let secure = |keyring: &Keyring| {
        let builder = CacheBuilder::new().intent(Intent::Secure).keyring(keyring.clone()).backend(backend.clone());
        let builder = builder.clock(Arc::new(clock.clone())).ttl(TTL).stale_if_error(GRACE).jitter(false);
        builder.swr_enabled(false).build().unwrap()
    };
    let (cache, other) = (secure(&keyring), secure(&keyring));
    asks(&cache, "key", 1).await;
    clock.advance(secs(130));
    let before = control.count(Operation::Set);
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 130)));
    assert_eq!(control.count(Operation::Set), before + 1);
    clock.advance(secs(99));
    assert_eq!(asks(&other, "key", 9).await, (1, None));
    clock.advance(secs(1));
    assert_eq!(asks(&other, "key", 1).await, (1, known(1, 100)));
}

#[tokio::test]
async fn an_origin_that_fails_is_stood_in_for() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    asks(&cache, "key", 1).await;
    let fails = |cache: Cache<Memory, Checked<Postcard>>| async move {
        let down = |_: Option<Previous<u32>>| async { Err::<Revalidated<u32>, _>(Broken("down")) };
        cache.entry("key").get_or_revalidate(down).await.map(|value| *value)
    };
    clock.advance(secs(399));
    assert_eq!(fails(cache.clone()).await.unwrap(), 1);
    clock.advance(secs(1));
    assert!(matches!(fails(cache.clone()).await, Err(ComputeError::Failed(_))));
}

#[tokio::test]
async fn a_validator_has_one_to_sixty_four_bytes() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    for (length, is_kept) in [(0, false), (1, true), (64, true), (65, false)] {
        let store = move || async move { Ok::<_, Broken>(Computed::new(1u32).validator(vec![7; length])) };
        cache.entry(length).get_or_decide(store).await.unwrap();
        settle().await;
        clock.advance(TTL);
        let previous = cache.entry(length).get_or_revalidate(move |previous: Option<Previous<u32>>| async move {
            let previous = previous.expect("it is within its grace");
            assert_eq!(previous.validator(), is_kept.then(|| vec![7; length]).as_deref(), "{length} bytes");
            Ok::<_, Broken>(previous.not_modified())
        });
        assert_eq!(*previous.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn batches_and_sets_of_many_keep_validators_and_graces() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    cache.set_many_with([("key", Computed::new(1u32).validator("v1").stale_if_error(secs(5)))]).await.unwrap();
    clock.advance(secs(104));
    assert_eq!(asks(&cache, "key", 1).await, (1, known(1, 104)));
    cache.set_many_with([("key", Computed::new(1u32).validator("v1").stale_if_error(secs(5)))]).await.unwrap();
    clock.advance(secs(105));
    assert_eq!(asks(&cache, "key", 1).await, (1, Some(None)));
}

/// The value of a computation that fails, if an older one stands in.
async fn stand_in<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str) -> Option<u32> {
    cache.get_or_compute(key, || async { Err::<u32, _>(Broken("down")) }).await.ok()
}

#[tokio::test]
async fn a_computation_decides_how_long_its_value_stands_in_for_all_processes() {
    let clock = ManualClock::new();
    let backend = memory(&clock);
    let build = |grace: Duration| {
        let builder = builder(&clock, backend.clone()).stale_if_error(grace);
        (builder.build().unwrap(), secs(grace.as_secs()))
    };
    let (brief, _) = build(Duration::ZERO);
    let (lasting, _) = build(secs(1_000));
    let decide = async |key: &str, grace: Duration| {
        let compute = move || async move { Ok::<_, Broken>(Computed::new(1u32).stale_if_error(grace)) };
        brief.entry(key).get_or_decide(compute).await.unwrap();
        settle().await;
    };
    decide("kept", secs(50)).await;
    decide("dropped", Duration::ZERO).await;
    for key in ["kept", "dropped"] {
        assert_eq!(lasting.get::<u32>(key).await.unwrap(), Some(1));
    }
    clock.advance(secs(149));
    for cache in [&brief, &lasting] {
        assert_eq!((stand_in(cache, "kept").await, stand_in(cache, "dropped").await), (Some(1), None));
    }
    clock.advance(secs(1));
    for cache in [&brief, &lasting] {
        assert_eq!(stand_in(cache, "kept").await, None, "whatever its own policy says");
    }
}

#[tokio::test]
async fn a_negative_answer_lives_briefly_and_stands_in_for_nothing() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).build().unwrap();
    for (key, asks_for_grace) in [("none", false), ("graced", true)] {
        let compute = move || async move {
            let nothing = Computed::new(0u32).negative(secs(5));
            Ok::<_, Broken>(if asks_for_grace { nothing.stale_if_error(secs(60)) } else { nothing })
        };
        cache.entry(key).ttl(secs(50)).get_or_decide(compute).await.unwrap();
        settle().await;
    }
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(cache.get::<u32>("none").await.unwrap(), Some(0));
    clock.advance(Duration::from_millis(1));
    assert_eq!(cache.get::<u32>("none").await.unwrap(), None);
    assert_eq!((stand_in(&cache, "none").await, stand_in(&cache, "graced").await), (None, Some(0)));
}
