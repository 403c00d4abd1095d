//! The ledger in the backend: what it keeps, and what becomes of entries when it is lost.

use std::sync::Mutex;

use cachekit::{Forgotten, Order};

use super::*;
use harness::support::NoLeases;

/// Notes the keys of orders, and what was under them before each.
#[derive(Debug, Clone)]
struct Noting {
    inner: Memory,
    orders: Arc<Mutex<Vec<Items>>>,
}

type Items = Vec<(Key, Option<Bytes>)>;

impl Noting {
    fn new(clock: &ManualClock) -> Self {
        Self { inner: memory(clock), orders: Arc::default() }
    }

    /// What was there before the order of this number.
    fn before(&self, order: usize) -> Items {
        self.orders.lock().unwrap()[order].clone()
    }

    fn count(&self) -> usize {
        self.orders.lock().unwrap().len()
    }
}

impl Backend for Noting {
    forward!(inner: capabilities get set remove ttl get_many set_many remove_many part lease renew fill release ping bus);
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let keys = order.keys();
        let items = self.inner.get_many(&keys).await?;
        self.orders.lock().unwrap().push(keys.into_iter().zip(items).collect());
        self.inner.forget(order).await
    }
}

#[tokio::test]
async fn invalidations_of_unrelated_tags_do_not_prevent_a_store() {
    for listens in [true, false] {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(64 << 20, Arc::new(clock.clone()));
        let build = || builder(&clock, memory.clone()).invalidation_enabled(listens).build().unwrap();
        let (one, two) = (build(), build());
        let slow = Slow::new();
        let (cache, computation) = (one.clone(), slow.clone());
        let call = tokio::spawn(async move {
            cache.entry("product").tags(["product-1"]).get_or_compute(move || computation.run(Ok(7u32))).await.unwrap()
        });
        slow.wait_for_start().await;
        for order in 0..1_000u32 {
            two.invalidate_tag(&format!("order-{order}")).await.unwrap();
        }
        settle().await;
        slow.finish(1);
        assert_eq!(call.await.unwrap(), 7);
        until("it is stored", async || one.pending() == 0).await;
        let fresh = build();
        for cache in [&one, &two, &fresh] {
            assert_eq!(cache.entry("product").skip_l1_read().get().await.unwrap(), Some(7u32), "{listens}");
        }
        two.invalidate_tag("product-1").await.unwrap();
        clock.advance(Duration::from_secs(1));
        for cache in [&one, &two, &fresh] {
            assert_eq!(cache.entry("product").skip_l1_read().get::<u32>().await.unwrap(), None, "{listens}");
        }
    }
}

#[tokio::test]
async fn many_first_calls_make_one_ledger() {
    let clock = ManualClock::new();
    let noting = Noting::new(&clock);
    let cache = pages(&clock, noting.clone());
    let calls: Vec<_> = (0..200u32)
        .map(|key| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    until("all is stored", async || cache.pending() == 0).await;
    assert_eq!(noting.count(), 1);
    let other = quiet(&clock, noting);
    for key in 0..200u32 {
        assert_eq!(other.get(key).await.unwrap(), Some(key));
    }
}

#[tokio::test]
async fn a_lost_record_forgets_entries_with_its_tags_and_no_others() {
    let clock = ManualClock::new();
    let noting = Noting::new(&clock);
    let one = quiet(&clock, noting.clone());
    one.entry("void").tags(["t"]).set(1u32).await.unwrap();
    one.entry("old").tags(["u"]).set(1u32).await.unwrap();
    one.invalidate_tag("t").await.unwrap();
    let order = noting.before(noting.count() - 1);
    let (record, _) = &order[1];
    noting.inner.remove(record).await.unwrap();
    let two = quiet(&clock, noting.clone());
    for cache in [&one, &two] {
        assert_eq!((cache.get::<u32>("void").await.unwrap(), cache.get("old").await.unwrap()), (None, Some(1u32)));
    }
    one.entry("new").tags(["t"]).set(2u32).await.unwrap();
    assert_eq!(two.get("new").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn a_ledger_that_was_set_back_is_not_believed() {
    let clock = ManualClock::new();
    let noting = Noting::new(&clock);
    let (one, two) = (quiet(&clock, noting.clone()), quiet(&clock, noting.clone()));
    one.entry("home").tags(["t"]).set(1u32).await.unwrap();
    one.invalidate_tag("t").await.unwrap();
    // As by a replica that becomes the master and has not heard of the order.
    for (key, before) in noting.before(noting.count() - 1) {
        match before {
            Some(bytes) => noting.inner.set(&key, bytes, Duration::from_secs(600)).await.unwrap(),
            None => noting.inner.remove(&key).await.unwrap(),
        }
    }
    assert_eq!(two.get("home").await.unwrap(), Some(1u32), "nothing there tells of the order");
    clock.advance(Duration::from_secs(1));
    assert_eq!(one.get::<u32>("home").await.unwrap(), None, "this process knows of it");
    clock.advance(Duration::from_secs(1));
    assert_eq!(two.get::<u32>("home").await.unwrap(), None, "and has made the ledger anew");
}

#[tokio::test]
async fn sixty_thousand_tags_take_four_thousand_items() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(64 << 20, Arc::new(clock.clone()));
    let cache = quiet(&clock, memory.clone());
    cache.entry("home").tags(["home"]).set(1u32).await.unwrap();
    let entries = memory.len();
    for tag in 0..500u32 {
        let tags: Vec<String> = (0..120).map(|n| format!("{tag}-{n}")).collect();
        cache.invalidate_tags(tags.iter().map(String::as_str)).await.unwrap();
    }
    assert_eq!(memory.len() - entries, 4_096, "records");
    assert_eq!(cache.get("home").await.unwrap(), Some(1u32));
    cache.invalidate_tag("home").await.unwrap();
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn an_order_that_overlaps_a_computation_of_its_tag_voids_it() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let cache = quiet(&clock, memory.clone());
    let slow = Slow::new();
    let old = start(&cache, &slow, 1).await;
    slow.wait_for_start().await;
    cache.invalidate_tag("t").await.unwrap();
    for _ in 0..2 {
        cache.entry("else").tags(["t"]).set(2u32).await.unwrap();
        assert_eq!(cache.get("else").await.unwrap(), Some(2u32));
    }
    slow.finish(1);
    assert_eq!(*old.await.unwrap().unwrap(), 1);
    settle().await;
    for cache in [cache, quiet(&clock, memory)] {
        assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_ledger_that_is_made_late_does_not_replace_an_order() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let (one, two) = (quiet(&clock, memory), quiet(&clock, chaos));
    let gate = control.gate(Operation::Set);
    let making = tokio::spawn({
        let two = two.clone();
        async move { two.set("else", 0u32).await.unwrap() }
    });
    until("it is about to make the ledger", async || gate.waiting() == 1).await;
    one.invalidate_namespace().await.unwrap();
    one.set("home", 1u32).await.unwrap();
    gate.open();
    making.await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    assert_eq!(one.get("home").await.unwrap(), Some(1u32));
}

#[tokio::test]
async fn ledgers_made_at_once_without_leases_merge_within_a_second() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let one = quiet(&clock, NoLeases(memory));
    let two = quiet(&clock, Unleased(chaos));
    let gate = control.gate(Operation::Set);
    let making = tokio::spawn({
        let two = two.clone();
        async move { two.set("else", 0u32).await.unwrap() }
    });
    until("it is about to make the ledger", async || gate.waiting() == 1).await;
    for _ in 0..2 {
        one.set("home", 1u32).await.unwrap();
        assert_eq!(one.entry("home").skip_l1_read().get().await.unwrap(), Some(1u32));
    }
    gate.open();
    making.await.unwrap();
    clock.advance(Duration::from_secs(1));
    one.set("home", 2u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn miss_or_result_with_an_unreadable_ledger_writes_nothing() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    // It hears nothing of the ledger.
    let cache = builder(&clock, chaos.clone()).leases(false).invalidation_enabled(false).build().unwrap();
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
    assert!(memory.is_empty());
    cache.set("else", 1u32).await.unwrap();
    // What it knows of the ledger is too old by then, so it reads the head.
    clock.advance(Duration::from_secs(1));
    let before = memory.len();
    control.inject(Operation::Get, Fault::Refuse);
    let forced = cache.entry("home").skip_l1_read().skip_l2_read();
    assert_eq!(forced.get_or_compute(|| async { Ok::<_, Broken>(1u32) }).await.unwrap(), 1);
    settle().await;
    assert_eq!(memory.len(), before);
}

/// Has everything but leases.
#[derive(Debug)]
struct Unleased(Chaos<Memory>);

impl Backend for Unleased {
    fn capabilities(&self) -> cachekit::Capabilities {
        self.0.capabilities().leases(false)
    }
    forward!(0: get set remove ttl get_many set_many remove_many part forget lease renew fill release ping bus);
}

#[tokio::test]
async fn a_set_has_the_time_of_now_where_what_is_known_is_old() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (quiet(&clock, memory.clone()), quiet(&clock, memory));
    two.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    one.invalidate_namespace().await.unwrap();
    clock.advance(Duration::from_secs(1));
    two.set("home", 2u32).await.unwrap();
    assert_eq!(one.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn a_process_that_was_told_of_an_order_judges_by_it_at_once() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let build = || builder(&clock, memory.clone()).l1_enabled(false).build().unwrap();
    let (one, two) = (build(), build());
    one.entry("home").tags(["t"]).set(1u32).await.unwrap();
    for invalidate_tag in [true, false] {
        for _ in 0..2 {
            one.entry("home").tags(["t"]).set(1u32).await.unwrap();
            assert_eq!(two.get("home").await.unwrap(), Some(1u32));
        }
        if invalidate_tag { one.invalidate_tag("t").await } else { one.invalidate_namespace().await }.unwrap();
        assert_eq!(one.get::<u32>("home").await.unwrap(), None);
        settle().await;
        assert_eq!(two.get::<u32>("home").await.unwrap(), None);
    }
}
