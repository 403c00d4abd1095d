//! The memory of what was forgotten comes back by itself.

use cachekit::Codec;
use cachekit::backends::NoBackend;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::*;

const ENTRIES: u32 = 10_000;

/// Stores so many entries, every second of them with the tag `even`, and reads none.
async fn fill<B: Backend, C: Codec>(cache: &Cache<B, C>, count: u32) {
    for entry in 0..count {
        cache.entry(entry).tags([if entry % 2 == 0 { "even" } else { "odd" }]).set(entry).await.unwrap();
    }
    assert_eq!(cache.l1_len(), count as usize);
}

#[tokio::test]
async fn what_a_tag_forgot_leaves_l1_unread_and_nothing_else_does() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    fill(&cache, ENTRIES).await;
    let full = cache.l1_bytes();
    cache.invalidate_tag("even").await.unwrap();
    assert_eq!(cache.l1_len(), ENTRIES as usize, "the order itself takes the same short time");
    until(&clock, "the task is through", async || cache.pending() == 0).await;
    assert_eq!(cache.l1_len(), ENTRIES as usize / 2);
    assert!(cache.l1_bytes() <= full / 2, "{} of {full}", cache.l1_bytes());
    for entry in 0..ENTRIES {
        assert_eq!(cache.get(entry).await.unwrap(), (entry % 2 == 1).then_some(entry));
    }
    cache.invalidate_namespace().await.unwrap();
    until(&clock, "the task is through", async || cache.pending() == 0).await;
    assert_eq!((cache.l1_len(), cache.l1_bytes()), (0, 0));
}

#[tokio::test]
async fn invalidations_during_memory_reclaim_are_done_by_one_task() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    fill(&cache, ENTRIES).await;
    for tag in ["none", "even", "none", "odd"] {
        cache.invalidate_tag(tag).await.unwrap();
        assert_eq!(cache.pending(), 1);
        yield_now().await;
    }
    until(&clock, "the task is through", async || cache.pending() == 0).await;
    assert_eq!(cache.l1_len(), 0);
}

#[tokio::test]
async fn what_another_process_forgot_leaves_l1_unread() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    fill(&one, 1_000).await;
    for entry in 0..1_000u32 {
        assert_eq!(two.get(entry).await.unwrap(), Some(entry));
    }
    one.invalidate_tag("even").await.unwrap();
    until(&clock, "both give it back", async || (one.l1_len(), two.l1_len()) == (500, 500)).await;
    one.invalidate_namespace().await.unwrap();
    until(&clock, "both give it back", async || (one.l1_len(), two.l1_len()) == (0, 0)).await;
}

#[tokio::test]
async fn a_cache_that_is_closed_or_dropped_keeps_no_task() {
    let (clock, tasks) = (ManualClock::new(), || Handle::current().metrics().num_alive_tasks());
    for closes in [true, false] {
        let before = tasks();
        let cache = alone(&clock);
        fill(&cache, ENTRIES).await;
        cache.invalidate_tag("even").await.unwrap();
        yield_now().await;
        assert!(cache.pending() == 1 && cache.l1_len() > ENTRIES as usize / 2, "it is at work");
        if closes {
            cache.close(SECOND).await.unwrap();
            assert_eq!(cache.pending(), 0);
            assert!(cache.l1_len() > ENTRIES as usize / 2, "it ended before it was through");
        }
        drop(cache);
        until(&clock, "the task is gone", async || tasks() == before).await;
    }
}

#[test]
fn without_a_runtime_memory_comes_back_as_it_is_met() {
    let cache: Cache<NoBackend, _> = alone(&ManualClock::new());
    let order = std::pin::pin!(cache.invalidate_tag("even"));
    assert!(order.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
    assert_eq!(cache.pending(), 0);
}

#[tokio::test]
async fn more_tags_than_are_remembered_by_name_forget_nothing_else() {
    let clock = ManualClock::new();
    let cache = alone(&clock);
    for entry in 0..100u32 {
        cache.entry(entry).tags(["kept"]).set(entry).await.unwrap();
    }
    for foreign in 0..140_000u32 {
        cache.invalidate_tag(&format!("foreign-{foreign}")).await.unwrap();
        if foreign % 10_000 == 0 {
            until(&clock, "the task is through", async || cache.pending() == 0).await;
        }
    }
    for entry in 0..100u32 {
        assert_eq!(cache.get(entry).await.unwrap(), Some(entry));
    }
}
