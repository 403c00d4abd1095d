//! Many tags at once.

use super::*;

#[tokio::test]
async fn many_tags_cost_the_backend_what_one_does() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (one, two) = (pages(&clock, chaos), pages(&clock, memory));
    let tags: Vec<String> = (0..50).map(|n| format!("tag {n}")).collect();
    for tag in &tags {
        one.entry(tag).tags([tag.as_str()]).set(1u32).await.unwrap();
        assert_eq!(two.get(tag).await.unwrap(), Some(1u32));
    }
    one.set("plain", 1u32).await.unwrap();
    one.entry("other").tags(["other"]).set(1u32).await.unwrap();
    for count in [1, 2, 50] {
        let (sets, messages) = (control.count(Operation::Set), control.count(Operation::Publish));
        let batch = tags[..count].iter().chain(&tags[..count]).map(String::as_str);
        one.invalidate_tags(batch).await.unwrap();
        assert_eq!(control.count(Operation::Set) - sets, 1, "{count} tags");
        assert_eq!(control.count(Operation::Publish), messages, "the backend tells of it in the same step");
        for (n, tag) in tags.iter().enumerate() {
            assert_eq!(one.get(tag).await.unwrap(), (n >= count).then_some(1u32), "{tag} of {count}");
        }
    }
    settle().await;
    for tag in &tags {
        assert_eq!(two.get::<u32>(tag).await.unwrap(), None);
    }
    for key in ["plain", "other"] {
        assert_eq!((one.get(key).await.unwrap(), two.get(key).await.unwrap()), (Some(1u32), Some(1u32)));
    }
}

#[tokio::test]
async fn no_tags_are_nothing_to_do() {
    let clock = ManualClock::new();
    let (chaos, control) = chaos(&clock, memory(&clock));
    let cache = pages(&clock, chaos);
    cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
    let sets = control.count(Operation::Set);
    cache.invalidate_tags([]).await.unwrap();
    assert_eq!((control.count(Operation::Set), cache.get("home").await.unwrap()), (sets, Some(1u32)));
}

#[tokio::test]
async fn tags_that_the_backend_refused_are_forgotten_once_it_is_back() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (chaos, control) = chaos(&clock, memory.clone());
    let (cache, other) = (bare(&clock, chaos), bare(&clock, memory));
    for tag in ["a", "b", "c"] {
        cache.entry(tag).tags([tag]).set(1u32).await.unwrap();
    }
    control.inject(Operation::Set, Fault::Refuse);
    assert_eq!(cache.invalidate_tags(["a", "b"]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!((cache.get::<u32>("a").await.unwrap(), cache.get::<u32>("b").await.unwrap()), (None, None));
    assert_eq!(other.get("a").await.unwrap(), Some(1u32));
    control.heal();
    until(&clock, "nothing is left to do", async || cache.pending() == 0).await;
    clock.advance(SECOND);
    assert_eq!((other.get::<u32>("a").await.unwrap(), other.get::<u32>("b").await.unwrap()), (None, None));
    assert_eq!(other.get("c").await.unwrap(), Some(1u32));
}

#[tokio::test]
async fn a_cache_that_keeps_no_ledger_says_so() {
    let clock = ManualClock::new();
    let cache = builder(&clock, memory(&clock)).namespace_index(false).build().unwrap();
    cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
    let refusals =
        [cache.invalidate_tags(["t"]).await, cache.clear().await, cache.expire_all().await].map(Result::unwrap_err);
    for refused in refusals {
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("namespace_index"), "{refused}");
    }
    assert_eq!(in_l1(&cache, "home").await, Some(1), "nothing has changed");
    let alone = alone(&clock);
    alone.entry("home").tags(["t"]).set(1u32).await.unwrap();
    alone.invalidate_tags(["u", "t"]).await.unwrap();
    assert_eq!(alone.get::<u32>("home").await.unwrap(), None);
}
