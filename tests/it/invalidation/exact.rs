//! Tags mean the entries that have them: all of these, and no others.

use cachekit::backends::AnyBackend;

use super::*;
use harness::support::NoLeases;

/// So many names of one kind.
fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n}")).collect()
}

fn strs(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

#[tokio::test]
async fn tags_that_no_entry_has_take_no_entry_with_them() {
    for (foreign, own) in [(5_000, 1), (1_000, 50)] {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(64 << 20, Arc::new(clock.clone()));
        let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
        for entry in 0..200u32 {
            let tags = names(&format!("product-{entry}"), own);
            one.entry(entry).tags(strs(&tags)).set(entry).await.unwrap();
        }
        for tag in names("order", foreign) {
            one.invalidate_tag(&tag).await.unwrap();
        }
        for entry in 0..200u32 {
            let in_l1 = one.entry(entry).skip_l2_read().get().await.unwrap();
            assert_eq!((in_l1, two.get(entry).await.unwrap()), (Some(entry), Some(entry)), "{foreign} and {own}");
        }
    }
}

#[tokio::test]
async fn each_of_many_tags_forgets_the_entry() {
    for count in [64, 65, 127, 128, 1_024] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let (one, two) = (pages(&clock, memory.clone()), quiet(&clock, memory));
        let tags = names("tag", count);
        for place in [0, count / 2, count - 1] {
            one.entry("set").tags(strs(&tags)).set(1u32).await.unwrap();
            let decided = tags[1..].to_vec();
            let computed = move || async move { Ok::<_, Broken>(Computed::new(1u32).tags(strs(&decided))) };
            one.entry("computed").tags([tags[0].as_str()]).get_or_decide(computed).await.unwrap();
            settle().await;
            for key in ["set", "computed"] {
                assert_eq!((in_l1(&one, key).await, two.get(key).await.unwrap()), (Some(1), Some(1u32)), "{count}");
            }
            one.invalidate_tag(&tags[place]).await.unwrap();
            clock.advance(Duration::from_secs(1));
            for key in ["set", "computed"] {
                assert_eq!(
                    (in_l1(&one, key).await, two.get::<u32>(key).await.unwrap()),
                    (None, None),
                    "{place} of {count}"
                );
            }
        }
    }
}

#[tokio::test]
async fn entry_with_too_many_tags_fails_a_set_and_is_never_stored() {
    let (clock, journal) = (ManualClock::new(), Arc::new(Journal::default()));
    let memory = memory(&clock);
    let cache = builder(&clock, memory.clone()).observer(Arc::clone(&journal) as _).build().unwrap();
    let tags = names("tag", 1_025);
    let refused = cache.entry("set").tags(strs(&tags)).set(1u32).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Argument);
    assert!(refused.to_string().contains("1025") && refused.to_string().contains("1024"), "{refused}");
    assert!(memory.is_empty());
    let computed = || async { Ok::<_, Broken>(2u32) };
    assert_eq!(cache.entry("called").tags(strs(&tags)).get_or_compute(computed).await.unwrap(), 2);
    let decided = tags[1..].to_vec();
    let computed = || async move { Ok::<_, Broken>(Computed::new(3u32).tags(strs(&decided))) };
    assert_eq!(*cache.entry("decided").tags([tags[0].as_str()]).get_or_decide(computed).await.unwrap(), 3);
    settle().await;
    for key in ["set", "called", "decided"] {
        assert_eq!((in_l1(&cache, key).await, cache.get::<u32>(key).await.unwrap()), (None, None), "{key}");
    }
    let not_stored = journal.count(|note| matches!(note, Note::NotStored(ErrorKind::Argument, _)));
    assert_eq!(not_stored, 2);
}

#[tokio::test]
async fn a_tag_named_twice_is_one() {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    let tags = names("tag", 1_024);
    cache.entry("home").tags(strs(&tags)).tags(strs(&tags)).set(1u32).await.unwrap();
    assert_eq!(in_l1(&cache, "home").await, Some(1));
}

#[tokio::test]
async fn a_new_tag_that_many_computations_share_has_one_version() {
    for leases in [true, false] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let two = quiet(&clock, memory.clone());
        let one = AnyBackend::new(memory.clone());
        let one = quiet(&clock, if leases { one } else { AnyBackend::new(NoLeases(memory)) });
        let computed = |key: u32| {
            let one = one.clone();
            async move {
                let compute = move || async move { Ok::<_, Broken>(key) };
                one.entry(key).tags(["shared"]).get_or_compute(compute).await.unwrap()
            }
        };
        let all: Vec<_> = (0..100).map(|key| tokio::spawn(computed(key))).collect();
        for task in all {
            task.await.unwrap();
        }
        until("all is written", async || one.pending() == 0).await;
        let mut found = 0;
        for key in 0..100u32 {
            found += usize::from(two.get::<u32>(key).await.unwrap().is_some());
        }
        assert_eq!(found, 100, "with leases: {leases}");
    }
}
