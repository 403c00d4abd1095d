//! How a cache listens to its bus: buses that hang or never wait, and processes that are alike.

use std::time::Duration;

use super::*;
use harness::support::poll_once;

#[test]
fn reads_and_changes_outside_a_runtime_do_not_wait_for_the_bus() {
    let cache = CacheBuilder::new().backend(Memory::new(1 << 20)).intent(Intent::Production).build().unwrap();
    let set = poll_once(&mut Box::pin(cache.set("home", 1u32)));
    assert!(matches!(set, std::task::Poll::Ready(Ok(()))), "{set:?}");
    let got = poll_once(&mut Box::pin(cache.entry("home").skip_l1_read().get::<u32>()));
    assert!(matches!(got, std::task::Poll::Ready(Ok(Some(1)))), "{got:?}");
}

#[tokio::test]
async fn hung_bus_delays_the_first_callers_and_no_later_ones() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    control.inject(Operation::Receive, Fault::Hang);
    let (cache, other) = (pages(&clock, chaos), pages(&clock, memory));
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("home", 1u32).await.unwrap() }
    });
    settle().await;
    assert!(!first.is_finished());
    clock.advance(Duration::from_millis(250));
    first.await.unwrap();
    let second = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<u32>("else").await.unwrap() }
    });
    settle().await;
    assert!(second.is_finished());
    other.invalidate("home").await.unwrap();
    assert_eq!(in_l1(&cache, "home").await, Some(1), "it has not heard of it");
    control.heal();
    until("what it held while it was deaf is gone", async || in_l1(&cache, "home").await.is_none()).await;
}

/// Has a bus that never waits for messages.
#[derive(Debug)]
struct Restless(Memory, Arc<std::sync::atomic::AtomicUsize>);

#[derive(Debug)]
struct RestlessBus(AnyBus, Arc<std::sync::atomic::AtomicUsize>);

const ROUNDS: usize = 100_000;

impl Bus for RestlessBus {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.0.publish(message).await
    }
    async fn receive(&self, after: Option<&cachekit::Position>, wait: Duration) -> Result<cachekit::Batch, Error> {
        // An end, so that who never lets others run is found out.
        if self.1.fetch_add(1, SeqCst) >= ROUNDS {
            std::future::pending::<()>().await;
        }
        match after {
            Some(position) => Ok(cachekit::Batch { messages: Vec::new(), position: position.clone(), gap: false }),
            None => self.0.receive(None, wait).await,
        }
    }
}

impl Backend for Restless {
    forward!(0: capabilities get set remove ttl get_many set_many remove_many part forget lease renew fill release ping);
    fn bus(&self, name: &Key) -> Option<AnyBus> {
        self.0.bus(name).map(|bus| AnyBus::new(RestlessBus(bus, Arc::clone(&self.1))))
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
async fn processes_with_the_same_random_seed_hear_each_other() {
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
