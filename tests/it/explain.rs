//! Where a key is, and why.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Backend, CacheBuilder, EntryState, Intent, Key, MissReason, Operation, Outcome, Tier};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_explanation_has_the_dates_tags_and_sizes_of_both_tiers_and_changes_nothing() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").clock(Arc::new(clock.clone()));
    let builder = builder.backend(memory.clone()).invalidation_enabled(false).jitter(false).stale_if_error(3 * MINUTE);
    let cache = builder.build().unwrap();
    cache.entry(7).tags(["prices"]).ttl(2 * MINUTE).set(vec![0u8; 500]).await.unwrap();
    let stored = memory.get(&Key::new("shop", 7).unwrap()).await.unwrap().unwrap();
    clock.advance(Duration::from_secs(10));
    let before = cache.stats();
    let why = cache.entry(7).explain().await.unwrap();
    assert_eq!((why.verdict(), why.key().as_str()), (Ok(Outcome::L1Hit), "shop:7"));
    assert!(why.has_tag("prices") && !why.has_tag("others"));
    for entry in [why.l1().unwrap(), why.l2().unwrap()] {
        assert_eq!((entry.state, entry.age), (EntryState::Fresh, Duration::from_secs(10)));
        assert_eq!((entry.fresh_for, entry.remaining), (Duration::from_secs(50), Duration::from_secs(110)));
        assert_eq!((entry.grace, entry.tags.len()), (3 * MINUTE, 1));
    }
    assert_eq!(why.l2().unwrap().size, stored.len());
    assert!((500..1_000).contains(&why.l1().unwrap().size), "{}", why.l1().unwrap().size);
    assert_eq!(cache.stats(), before);
    let told = why.to_string();
    assert!(told.contains("L1: fresh for 50s") && told.ends_with("a get is answered: L1Hit"), "{told}");
    assert!(!told.contains("shop:7") && !format!("{why:?}").contains("shop:7"), "{told}");
    clock.advance(MINUTE);
    assert_eq!(cache.entry(7).explain().await.unwrap().verdict(), Ok(Outcome::Stale));
    clock.advance(MINUTE);
    let why = cache.entry(7).explain().await.unwrap();
    assert_eq!((why.verdict(), why.l1().unwrap().state), (Err(MissReason::Expired), EntryState::Expired));
    assert_eq!((why.l2().unwrap().state, why.l2().unwrap().remaining), (EntryState::Expired, Duration::ZERO));
    clock.advance(3 * MINUTE);
    let why = cache.entry(7).explain().await.unwrap();
    assert_eq!(why.l1().unwrap().state, EntryState::Missing(MissReason::Expired));
}

#[tokio::test]
async fn it_names_what_stands_in_the_way_in_each_tier() {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").retries(0);
    let cache = builder.backend(chaos).build().unwrap();
    let domain = cache.domain("prices").unwrap();
    let key = Key::new("shop", 7).unwrap();
    let reasons = async || {
        let why = cache.entry(7).explain().await.unwrap();
        let reason = |entry: Option<&cachekit::TierEntry>| match entry.unwrap().state {
            EntryState::Missing(reason) => Some(reason),
            _ => None,
        };
        (reason(why.l1()), reason(why.l2()), why.verdict())
    };
    let missing = |l1, l2, verdict| (Some(l1), Some(l2), Err(verdict));
    assert_eq!(reasons().await, missing(MissReason::New, MissReason::New, MissReason::New));
    domain.set(7, 1u32).await.unwrap();
    domain.invalidate_namespace().await.unwrap();
    let why = domain.entry(7).explain().await.unwrap();
    assert_eq!(why.verdict(), Err(MissReason::Domain));
    cache.set(7, 1u32).await.unwrap();
    let entry = memory.get(&key).await.unwrap().unwrap();
    let mut changed = entry.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    memory.set(&key, Bytes::from(changed), MINUTE).await.unwrap();
    assert_eq!(reasons().await, (None, Some(MissReason::Unauthentic), Ok(Outcome::L1Hit)));
    memory.set(&key, Bytes::from_static(b"text"), MINUTE).await.unwrap();
    assert_eq!(reasons().await.1, Some(MissReason::Unreadable));
    memory.set(&key, entry, MINUTE).await.unwrap();
    cache.invalidate_namespace().await.unwrap();
    let (_, in_backend, verdict) = reasons().await;
    assert_eq!((in_backend, verdict), (Some(MissReason::Namespace), Err(MissReason::Namespace)));
    control.inject_next(1, Operation::Get, Fault::Refuse);
    let why = cache.entry(7).explain().await.unwrap();
    assert_eq!(why.verdict(), Err(MissReason::BackendFailed));
    assert!(why.l2().unwrap().error.is_some() && why.to_string().contains("L2: nothing to use (backend_failed): "));
    cache.pause_tier(Tier::L2);
    assert_eq!(reasons().await.1, Some(MissReason::Paused));
}

#[tokio::test]
async fn a_cache_without_a_tier_says_so() {
    let cache = CacheBuilder::new().l1_enabled(false).build().unwrap();
    let why = cache.typed::<u32, u32>("numbers").unwrap().entry(&7).explain().await.unwrap();
    assert!(why.l1().is_none() && why.l2().is_none());
    assert!(why.to_string().starts_with("L1: there is none\nL2: there is none\n"));
}
