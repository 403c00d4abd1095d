//! Every call is counted once, as what it was.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Cache, CacheBuilder, ComputeError, Computed, ErrorKind, Intent, Operation, Outcome, Stats};

use harness::support::{Broken, Journal, Note, Slow, poll_once, settle};

type Watched = (Cache<Chaos<Memory>, Postcard>, cachekit::testing::ChaosControl, ManualClock, Arc<Journal>);

fn watched() -> Watched {
    let (clock, journal) = (ManualClock::new(), Arc::new(Journal::default()));
    let chaos = Chaos::new(Memory::with_clock(1 << 20, Arc::new(clock.clone())));
    let control = chaos.control();
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(chaos)
        .clock(Arc::new(clock.clone()))
        .observer(Arc::clone(&journal) as _)
        .stats(true)
        .swr_enabled(true)
        .jitter(false)
        .ttl(Duration::from_secs(100))
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    (cache, control, clock, journal)
}

/// What was told of answers since the last time.
fn answers(journal: &Journal, seen: &mut usize) -> Vec<Outcome> {
    let all: Vec<_> = journal
        .notes()
        .into_iter()
        .filter_map(|note| if let Note::Answered(outcome) = note { Some(outcome) } else { None })
        .collect();
    let new = all[*seen..].to_vec();
    *seen = all.len();
    new
}

#[tokio::test]
async fn each_way_to_an_answer_is_told_and_counted_once() {
    let (cache, control, clock, journal) = watched();
    let mut seen = 0;
    let mut told = |outcomes: &[Outcome], what: &str| {
        assert_eq!(answers(&journal, &mut seen), outcomes, "{what}");
        assert_eq!(cache.stats().calls(), seen as u64, "{what}");
    };
    let ok = |value: u32| move || async move { Ok::<u32, Broken>(value) };
    cache.get_or_compute("key", ok(1)).await.unwrap();
    told(&[Outcome::Computed], "computed");
    cache.get_or_compute("key", ok(2)).await.unwrap();
    cache.get::<u32>("key").await.unwrap();
    told(&[Outcome::L1Hit, Outcome::L1Hit], "in L1");
    settle().await;
    cache.entry("key").skip_l1_read().get_or_compute(ok(2)).await.unwrap();
    cache.entry("key").skip_l1_read().get::<u32>().await.unwrap();
    told(&[Outcome::L2Hit, Outcome::L2Hit], "in the backend");
    assert_eq!(cache.get::<u32>("absent").await.unwrap(), None);
    told(&[Outcome::Absent], "nowhere");
    clock.advance(Duration::from_secs(60));
    cache.get::<u32>("key").await.unwrap();
    cache.entry("key").skip_l1_read().get::<u32>().await.unwrap();
    cache.get_or_compute("key", ok(3)).await.unwrap();
    told(&[Outcome::Stale; 3], "stale");
    settle().await;
    told(&[], "a renewal is no call");
    cache.entry("free").get_or_decide(|| async { Ok::<_, Broken>(Computed::new(1u32).do_not_store()) }).await.unwrap();
    told(&[Outcome::Computed], "not stored");
    assert!(cache.get_or_compute("bad", || async { Err::<u32, _>(Broken("down")) }).await.is_err());
    told(&[Outcome::Failed], "failed");
    control.inject_next(1, Operation::Get, Fault::Refuse);
    assert!(cache.get::<u32>("absent").await.is_err());
    told(&[Outcome::Failed], "the backend failed");
    cache.set("key", 4u32).await.unwrap();
    cache.exists("key").await.unwrap();
    cache.ping().await.unwrap();
    cache.invalidate("key").await.unwrap();
    told(&[], "no reads");
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("late", std::future::pending::<Result<u32, Broken>>).await }
    });
    settle().await;
    clock.advance(Duration::from_secs(10));
    assert!(matches!(caller.await.unwrap(), Err(ComputeError::TimedOut)));
    told(&[Outcome::Failed], "timed out");
    cache.close(Duration::from_secs(1)).await.unwrap();
    cache.get_or_compute("closed", ok(5)).await.unwrap();
    told(&[Outcome::Computed], "on a closed cache");
}

#[tokio::test]
async fn callers_who_share_a_flight_are_counted_each() {
    let (cache, _, _, _) = watched();
    let slow = Slow::new();
    let mut callers: Vec<_> = (0..5)
        .map(|_| {
            let (cache, slow) = (cache.clone(), slow.clone());
            Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_once(caller).is_pending());
    }
    drop(callers.pop());
    slow.finish(1);
    for caller in callers {
        caller.await.unwrap();
    }
    let Stats { computed, joined, computations, .. } = cache.stats();
    assert_eq!((computed, joined, computations), (1, 3, 1), "who left was not answered");
    assert_eq!(cache.stats().calls(), 4);
}

#[tokio::test]
async fn failed_call_without_a_flight_counts_and_an_invalid_one_not() {
    let (cache, ..) = watched();
    let inner = cache.clone();
    let outer = cache.get_or_compute::<u32, String, _, _>("key", move || async move {
        let own = inner.get_or_compute::<u32, String, _, _>("key", || async { Ok(1) }).await;
        own.map_err(|error| error.to_string())
    });
    assert!(outer.await.is_err());
    assert_eq!((cache.stats().failed, cache.stats().calls()), (2, 2), "the computation's own call, and the outer one");
    assert!(cache.get::<u32>("").await.is_err());
    let zero = cache.entry("key").ttl(Duration::ZERO);
    assert!(zero.get_or_compute(|| async { Ok::<u32, Broken>(1) }).await.is_err());
    assert_eq!(cache.stats().calls(), 2, "an argument that means nothing is no call");
    assert_eq!(cache.get_or_compute("", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    assert_eq!((cache.stats().computed, cache.stats().calls()), (1, 3), "a key that is none computes");
}

#[test]
fn calls_without_a_runtime_or_whose_runtime_ends_are_counted() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).stats(true).build().unwrap();
    let mut homeless = Box::pin(cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }));
    assert!(matches!(poll_once(&mut homeless), std::task::Poll::Ready(Err(ComputeError::Cache(_)))));
    assert_eq!((cache.stats().failed, cache.stats().calls()), (1, 1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut lost = {
        let cache = cache.clone();
        Box::pin(async move { cache.get_or_compute("key", std::future::pending::<Result<u32, Broken>>).await })
    };
    runtime.block_on(async { assert!(poll_once(&mut lost).is_pending()) });
    drop(runtime);
    let std::task::Poll::Ready(Err(ComputeError::Cache(error))) = poll_once(&mut lost) else { panic!("an error") };
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!((cache.stats().failed, cache.stats().calls()), (2, 2));
}

#[tokio::test]
async fn late_result_is_reported_once_with_or_without_a_backend() {
    for backend in [false, true] {
        let journal = Arc::new(Journal::default());
        let builder = CacheBuilder::new().intent(Intent::Minimal).observer(Arc::clone(&journal) as _);
        let slow = Slow::new();
        macro_rules! overtake {
            ($cache:expr) => {{
                let cache = $cache;
                let old = tokio::spawn({
                    let (cache, slow) = (cache.clone(), slow.clone());
                    async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await }
                });
                slow.wait_for_start().await;
                cache.invalidate("key").await.unwrap();
                slow.finish(1);
                old.await.unwrap().unwrap();
                cache.close(Duration::from_secs(1)).await.unwrap();
            }};
        }
        if backend {
            overtake!(builder.backend(Memory::new(1 << 20)).build().unwrap());
        } else {
            overtake!(builder.build().unwrap());
        }
        assert_eq!(journal.count(|note| *note == Note::Fenced), 1, "backend: {backend}");
    }
}

#[tokio::test]
async fn a_value_too_large_for_l1_alone_is_told_of() {
    let journal = Arc::new(Journal::default());
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .l1_max_size_mb(1.0)
        .observer(Arc::clone(&journal) as _)
        .build()
        .unwrap();
    let large = vec![1u8; 500_000];
    let value = large.clone();
    assert_eq!(cache.get_or_compute("key", move || async move { Ok::<_, Broken>(value) }).await.unwrap(), large);
    assert_eq!(journal.count(|note| matches!(note, Note::NotStored(ErrorKind::TooLarge, _))), 1);
    assert_eq!(cache.set("key", large).await.unwrap_err().kind(), ErrorKind::TooLarge, "it would be nowhere");
}
