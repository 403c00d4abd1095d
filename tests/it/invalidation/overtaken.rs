//! What an invalidation overtakes: operations that began before it and end after it.

use std::sync::Mutex;

use super::*;
use crate::support::{Late, poll_once};

#[tokio::test]
async fn versions_read_while_another_process_changes_them_are_not_remembered() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let one = builder(&clock, memory).invalidation_enabled(false).build().unwrap();
    let two = builder(&clock, chaos).invalidation_enabled(false).l1_enabled(false).build().unwrap();
    one.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Get);
    let read = tokio::spawn({
        let two = two.clone();
        async move { two.get::<u32>("home").await.unwrap() }
    });
    // The entry with the generation, the versions, the generation once more.
    gate.admit(2);
    until("the versions were read", async || control.count(Operation::Get) == 3).await;
    one.invalidate_namespace().await.unwrap();
    gate.open();
    assert_eq!(read.await.unwrap(), Some(1), "it began before");
    clock.advance(Duration::from_secs(1));
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn who_asks_after_a_tag_was_invalidated_is_not_answered_with_an_older_entry_of_l1_as_a_stand_in() {
    for early in [false, true] {
        let clock = ManualClock::new();
        let cache = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
        let cache = cache.stale_if_error(Duration::from_secs(60)).background(true).build().unwrap();
        cache.entry("home").tags(["t"]).ttl(Duration::from_secs(1)).set(1u32).await.unwrap();
        clock.advance(Duration::from_secs(2));
        let slow = Slow::new();
        let old = tokio::spawn({
            let (cache, slow) = (cache.clone(), slow.clone());
            let soft = Duration::from_millis(if early { 100 } else { 50_000 });
            async move {
                cache.entry("home").soft_timeout(soft).get_or_compute(move || slow.run::<u32>(Err(Broken("old")))).await
            }
        });
        slow.wait_for_start().await;
        settle().await;
        clock.advance(Duration::from_millis(100));
        cache.invalidate_tag("t").await.unwrap();
        let new = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get_or_compute("home", || async { Ok::<_, Broken>(2u32) }).await }
        });
        settle().await;
        slow.finish(1);
        assert_eq!(old.await.unwrap().unwrap(), 1, "who asked before gets the older one");
        assert_eq!(new.await.unwrap().unwrap(), 2, "early answers: {early}");
    }
}

#[tokio::test]
async fn a_set_that_another_process_overtakes_is_not_kept_in_l1() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let late = Late::new(memory.clone());
    let (one, two) = (pages(&clock, late.clone()), pages(&clock, memory));
    one.set("probe", 1u32).await.unwrap();
    late.hold(Operation::Set);
    let set = tokio::spawn({
        let one = one.clone();
        async move { one.set("home", 1u32).await.unwrap() }
    });
    late.wait_until_done().await;
    two.set("home", 2u32).await.unwrap();
    two.invalidate("probe").await.unwrap();
    until("it has heard of both", async || in_l1(&one, "probe").await.is_none()).await;
    late.let_go();
    set.await.unwrap();
    assert_eq!(one.get("home").await.unwrap(), Some(2u32));
}

#[tokio::test]
async fn a_set_that_learns_the_versions_after_a_later_invalidation_does_not_outlive_it() {
    for tag in [None, Some("t")] {
        let clock = ManualClock::new();
        let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
        let control = chaos.control();
        let cache = pages(&clock, chaos);
        cache.set("else", 0u32).await.unwrap();
        cache.entry("home").tags(["t"]).set(1u32).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let gate = control.gate(Operation::Get);
        let set = tokio::spawn({
            let cache = cache.clone();
            async move { cache.entry("home").tags(["t"]).set(2u32).await.unwrap() }
        });
        gate.wait_for(1).await;
        match tag {
            Some(tag) => cache.invalidate_tag(tag).await.unwrap(),
            None => cache.invalidate_namespace().await.unwrap(),
        }
        gate.open();
        set.await.unwrap();
        assert_eq!(cache.get::<u32>("home").await.unwrap(), None, "{tag:?}");
    }
}

/// Runs a deed of the test while it is written.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Meddler(u32);

static DEED: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

impl serde::Serialize for Meddler {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let deed = DEED.lock().unwrap().take();
        if let Some(deed) = deed {
            deed();
        }
        serializer.serialize_newtype_struct("Meddler", &self.0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_knew_the_versions_before_a_later_invalidation_does_not_outlive_it() {
    let clock = ManualClock::new();
    let cache = pages(&clock, memory(&clock));
    cache.entry("else").tags(["t"]).set(0u32).await.unwrap();
    let (runtime, meddled) = (tokio::runtime::Handle::current(), cache.clone());
    *DEED.lock().unwrap() = Some(Box::new(move || {
        let deed = move || runtime.block_on(meddled.invalidate_tag("t")).unwrap();
        std::thread::spawn(deed).join().unwrap();
    }));
    cache.entry("home").tags(["t"]).set(Meddler(1)).await.unwrap();
    assert!(DEED.lock().unwrap().is_none(), "it was invalidated meanwhile");
    assert_eq!(cache.get_arc::<Meddler>("home").await.unwrap(), None);
}

#[tokio::test]
async fn a_closed_cache_holds_nothing_that_it_would_not_hear_of() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    two.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    two.set("own", 1u32).await.unwrap();
    for key in ["home", "own"] {
        one.set(key, 2u32).await.unwrap();
        settle().await;
        assert_eq!(two.get(key).await.unwrap(), Some(2u32), "{key}");
    }
    assert_eq!(two.l1_len(), 0);
}

#[tokio::test]
async fn what_was_computed_without_a_look_at_the_backend_is_heard_of_too() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (pages(&clock, memory.clone()), pages(&clock, memory));
    let forced = two.entry("home").skip_l1_read().skip_l2_read().wait_for_write(true);
    assert_eq!(forced.get_or_compute(|| async { Ok::<_, Broken>(1u32) }).await.unwrap(), 1);
    assert_eq!(in_l1(&two, "home").await, Some(1));
    one.invalidate("home").await.unwrap();
    settle().await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}

#[test]
fn reads_and_changes_outside_a_runtime_do_not_wait_for_the_bus() {
    let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).intent(Intent::Production).build().unwrap();
    let set = poll_once(&mut Box::pin(cache.set("home", 1u32)));
    assert!(matches!(set, std::task::Poll::Ready(Ok(()))), "{set:?}");
    let got = poll_once(&mut Box::pin(cache.entry("home").skip_l1_read().get::<u32>()));
    assert!(matches!(got, std::task::Poll::Ready(Ok(Some(1)))), "{got:?}");
}

#[tokio::test]
async fn a_bus_that_hangs_holds_up_those_who_come_first_and_nobody_later() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    chaos.control().inject(Operation::Receive, Fault::Hang);
    let cache = pages(&clock, chaos);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("home", 1u32).await.unwrap() }
    });
    settle().await;
    assert!(!first.is_finished());
    clock.advance(Duration::from_millis(250));
    first.await.unwrap();
    let second = tokio::spawn(async move { cache.get::<u32>("else").await.unwrap() });
    settle().await;
    assert!(second.is_finished());
}

#[tokio::test]
async fn a_backend_that_is_slow_but_never_too_slow_fails_no_computation() {
    let clock = ManualClock::new();
    let chaos = Chaos::with_clock(memory(&clock), Arc::new(clock.clone()));
    let control = chaos.control();
    let build = || builder(&clock, chaos.clone()).max_chunk_size_mb(0.001).leases(false).build().unwrap();
    let old = build();
    let entry = old.entry("home").tags(["t"]).ttl(Duration::from_secs(1));
    entry.stale_if_error(Duration::from_secs(9_999)).set(vec![1u8; 3_000]).await.unwrap();
    clock.advance(Duration::from_secs(2));
    let cache = build();
    let limit = cache.policy().operation_timeout;
    for operation in [Operation::Get, Operation::Set, Operation::Lease] {
        control.inject(operation, Fault::Slow(limit - Duration::from_millis(1)));
    }
    let call = tokio::spawn(async move {
        let entry = cache.entry("home").deadline(Duration::from_millis(10));
        entry.stale_if_error(Duration::from_secs(9_999)).get_or_compute(|| async { Ok::<_, Broken>(vec![2u8]) }).await
    });
    for _ in 0..100 {
        settle().await;
        clock.advance(limit / 4);
    }
    assert_eq!(call.await.unwrap().unwrap(), [2]);
}

/// Has a bus that never waits for messages.
#[derive(Debug)]
struct Restless(Memory, Arc<std::sync::atomic::AtomicUsize>);

#[derive(Debug)]
struct RestlessBus(Arc<dyn Bus>, Arc<std::sync::atomic::AtomicUsize>);

const ROUNDS: usize = 100_000;

#[async_trait::async_trait]
impl Bus for RestlessBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.0.publish(message).await
    }
    async fn receive(&self, after: Option<&cachekit::Position>) -> Result<cachekit::Batch, Error> {
        // An end, so that who never lets others run is found out.
        if self.1.fetch_add(1, SeqCst) >= ROUNDS {
            std::future::pending::<()>().await;
        }
        match after {
            Some(position) => Ok(cachekit::Batch { messages: Vec::new(), position: position.clone(), gap: false }),
            None => self.0.receive(None).await,
        }
    }
}

impl Backend for Restless {
    forward!(0: capabilities get set remove exists ttl touch get_many set_many remove_many lease release ping);
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.0.fill(key, value, ttl, token).await
    }
    fn bus(&self, name: &Key) -> Option<Arc<dyn Bus>> {
        self.0.bus(name).map(|bus| Arc::new(RestlessBus(bus, Arc::clone(&self.1))) as _)
    }
}

#[tokio::test]
async fn a_bus_that_never_waits_keeps_nobody_from_running() {
    let clock = ManualClock::new();
    let rounds = Arc::default();
    let cache = pages(&clock, Restless(memory(&clock), Arc::clone(&rounds)));
    cache.set("home", 1u32).await.unwrap();
    assert!(rounds.load(SeqCst) < ROUNDS);
}

#[tokio::test]
async fn processes_that_seed_their_random_numbers_alike_hear_one_another() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let seeded = || {
        fastrand::seed(7);
        pages(&clock, memory.clone())
    };
    let (one, two) = (seeded(), seeded());
    one.set("home", 1u32).await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    one.invalidate("home").await.unwrap();
    settle().await;
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
    for name in ["a", "b"] {
        one.set(name, 1u32).await.unwrap();
        assert_eq!(two.get(name).await.unwrap(), Some(1u32));
        for cache in [&one, &two] {
            fastrand::seed(7);
            cache.invalidate_namespace().await.unwrap();
        }
        assert_eq!(one.get::<u32>(name).await.unwrap(), None, "{name}");
    }
}
