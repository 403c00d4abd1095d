//! What users say of how many bytes their values take in L1.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{CacheBuilder, Intent};
use serde::{Deserialize, Serialize};

const MIB: usize = 1 << 20;

/// A text, and what was made of it: serde shows the text alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    text: String,
    #[serde(skip)]
    index: Vec<u64>,
}

impl Page {
    fn new() -> Self {
        let mut text = String::with_capacity(2_000);
        text.push_str("a page");
        Self { text, index: vec![7; 1_500] }
    }

    fn heap(&self) -> usize {
        self.text.capacity() + self.index.capacity() * size_of::<u64>()
    }
}

/// The bytes that a cache of one mebibyte of L1 has asked for after 400 pages of 14 KB, and those that it says it takes.
fn taken(builder: CacheBuilder<NoBackend, Postcard, Intent::Production>) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cache = builder.l1_max_size_mb(1.0).build().unwrap();
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            for id in 0..400u32 {
                cache.set(id, Page::new()).await.unwrap();
            }
        });
    });
    (usize::try_from(info.bytes_current).unwrap(), cache.l1_bytes())
}

#[test]
fn l1_of_values_that_serde_does_not_show_stays_in_its_budget_by_a_weigher() {
    let (asked, said) = taken(CacheBuilder::new());
    assert!(asked > 4 * MIB && said < MIB / 4, "{asked} bytes, said to be {said}: nothing is to be shown here");
    let (asked, said) = taken(CacheBuilder::new().weigher(Page::heap));
    assert!(asked > MIB / 2 && asked < MIB + MIB / 10 && said <= MIB, "{asked} bytes, said to be {said}");
}

#[tokio::test]
async fn weigher_is_asked_of_its_type_alone_however_a_value_comes_into_l1() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(16 * MIB, Arc::new(clock.clone()));
    let builder = || {
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("pages").backend(memory.clone());
        builder.clock(Arc::new(clock.clone())).warm_keys(10).weigher(|_: &u32| 50_000)
    };
    let cache = builder().build().unwrap();
    cache.set("text", "x".to_owned()).await.unwrap();
    cache.set("other number", 1u64).await.unwrap();
    let others = cache.l1_bytes();
    assert!(others < 2_000, "{others}");
    let weight = |before: usize, now: usize| (now - before) / 10_000;
    cache.set("set", 1u32).await.unwrap();
    let set = cache.l1_bytes();
    assert_eq!(weight(others, set), 5);
    cache.get_or_compute("computed", || async { Ok::<_, std::fmt::Error>(1u32) }).await.unwrap();
    let computed = cache.l1_bytes();
    assert_eq!(weight(set, computed), 5);
    cache.domain("part").unwrap().set("set", 1u32).await.unwrap();
    assert_eq!(weight(computed, cache.l1_bytes()), 5);

    let second = builder().build().unwrap();
    assert_eq!(second.get::<u32>("set").await.unwrap(), Some(1));
    assert_eq!(weight(0, second.l1_bytes()), 5);
    assert_eq!(second.get::<u32>("set").await.unwrap(), Some(1), "it is hot");
    second.close(Duration::from_secs(5)).await.unwrap();
    let third = builder().build().unwrap();
    assert!(third.warm_up().await);
    let sealed = third.l1_bytes();
    assert!(sealed > 0 && sealed < 10_000, "{sealed}");
    assert_eq!(third.entry("set").skip_l2_read().get::<u32>().await.unwrap(), Some(1));
    assert!(weight(0, third.l1_bytes()) == 5, "what was sealed is weighed when it is opened");
}

#[tokio::test]
async fn of_a_weigher_that_panics_the_estimate_is_taken() {
    let estimated = CacheBuilder::new().build().unwrap();
    estimated.set("key", Page::new()).await.unwrap();
    let cache = CacheBuilder::new().weigher(|page: &Page| panic!("of {}", page.text)).build().unwrap();
    cache.set("key", Page::new()).await.unwrap();
    assert_eq!(cache.l1_bytes(), estimated.l1_bytes());
    assert_eq!(cache.get::<Page>("key").await.unwrap(), Some(Page::new()));
}

#[tokio::test]
async fn value_that_is_too_large_by_its_weigher_is_told_as_such() {
    let cache = CacheBuilder::new().l1_max_size_mb(1.0).weigher(|_: &u64| MIB).build().unwrap();
    let error = cache.set("key", 1u64).await.unwrap_err();
    assert_eq!(error.kind(), cachekit::ErrorKind::TooLarge);
    assert!(error.to_string().contains("l1_max_size_mb"), "{error}");
    let most = CacheBuilder::new().weigher(|_: &u64| usize::MAX).build().unwrap();
    assert_eq!(most.set("key", 1u64).await.unwrap_err().kind(), cachekit::ErrorKind::TooLarge);
    assert_eq!((most.l1_len(), most.l1_bytes()), (0, 0));
    cache.set("other", 1u32).await.unwrap();
    assert_eq!(cache.get::<u32>("other").await.unwrap(), Some(1));
}
