//! A process that waits for the lease of another hears of its end by the bus.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use cachekit::testing::ChaosControl;
use cachekit::{AnyBus, Batch, Bus, Error, Position};
use tokio::task::JoinHandle;

use super::*;

/// A bus that counts what is published, and may lose it.
#[derive(Debug, Clone)]
struct Counted {
    inner: AnyBus,
    published: Arc<AtomicU64>,
    loses: bool,
}

impl Bus for Counted {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.published.fetch_add(1, SeqCst);
        if self.loses { Ok(()) } else { self.inner.publish(message).await }
    }
    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        self.inner.receive(after, wait).await
    }
}

/// Processes over one backend and one bus.
struct Processes {
    clock: ManualClock,
    memory: Memory,
    bus: Counted,
}

type Process = Cache<Chaos<Memory>, Postcard>;

impl Processes {
    fn new(loses: bool) -> Self {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
        let inner = memory.bus(&Key::new("any", "bus").unwrap()).unwrap();
        Self { clock, memory, bus: Counted { inner, published: Arc::default(), loses } }
    }

    /// One that listens.
    async fn start(&self) -> (Process, ChaosControl) {
        let chaos = Chaos::with_clock(self.memory.clone(), Arc::new(self.clock.clone()));
        let control = chaos.control();
        let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(chaos).stats(true);
        let builder = builder.bus(AnyBus::new(self.bus.clone())).invalidation_enabled(true);
        let cache = builder.clock(Arc::new(self.clock.clone())).build().unwrap();
        assert_eq!(cache.get_or_compute("first", || async { Ok::<_, Broken>(0u32) }).await.unwrap(), 0);
        (cache, control)
    }

    fn published(&self) -> u64 {
        self.bus.published.load(SeqCst)
    }
}

fn ask(cache: &Process, slow: &Slow, result: Result<u32, Broken>) -> JoinHandle<Option<u32>> {
    let (cache, slow) = (cache.clone(), slow.clone());
    tokio::spawn(async move { cache.get_or_compute("key", move || slow.run(result)).await.ok() })
}

/// One process computes, and another one has found that out.
async fn waiting(
    processes: &Processes,
    result: Result<u32, Broken>,
) -> ([JoinHandle<Option<u32>>; 2], ChaosControl, Slow) {
    let ((one, _), (two, control)) = (processes.start().await, processes.start().await);
    let slow = Slow::new();
    let first = ask(&one, &slow, result);
    slow.wait_for_start().await;
    let second = ask(&two, &slow, Ok(2));
    settle().await;
    ([first, second], control, slow)
}

#[tokio::test]
async fn waiter_is_answered_by_the_fill_without_the_passing_of_time() {
    let processes = Processes::new(false);
    let ([first, second], control, slow) = waiting(&processes, Ok(1)).await;
    let asked = control.count(Operation::Lease);
    slow.finish(1);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (Some(1), Some(1)));
    assert_eq!(control.count(Operation::Lease), asked + 1, "the waiter asked once more");
    assert_eq!((slow.started(), processes.published()), (1, 1), "one message for those who wait");
}

#[tokio::test]
async fn waiter_computes_as_soon_as_the_computation_of_the_other_has_failed() {
    let processes = Processes::new(false);
    let ([first, second], _, slow) = waiting(&processes, Err(Broken("no database"))).await;
    slow.finish(1);
    assert_eq!(first.await.unwrap(), None);
    slow.wait_for_start().await;
    slow.finish(1);
    assert_eq!(second.await.unwrap(), Some(2));
}

#[tokio::test]
async fn nothing_is_told_where_no_process_waits() {
    let processes = Processes::new(false);
    let (cache, control) = processes.start().await;
    for key in 0..20u32 {
        assert_eq!(cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap(), key);
        assert!(cache.get_or_compute(("fails", key), || async { Err::<u32, _>(Broken("down")) }).await.is_err());
    }
    settle().await;
    let asked = [Operation::Lease, Operation::Set].map(|operation| control.count(operation));
    assert_eq!((processes.published(), asked), (0, [1 + 20 + 2 * 20, 1 + 20]), "a failure gives its lease back");
}

#[tokio::test]
async fn waiter_whose_message_is_lost_asks_again_by_itself() {
    let processes = Processes::new(true);
    let ([first, second], _, slow) = waiting(&processes, Ok(1)).await;
    slow.finish(1);
    assert_eq!(first.await.unwrap(), Some(1));
    settle().await;
    assert!(processes.published() == 1 && !second.is_finished());
    let before = cachekit::Clock::ticks(&processes.clock);
    pass_time(&processes.clock, || second.is_finished()).await;
    let waited = cachekit::Clock::ticks(&processes.clock) - before;
    assert_eq!((second.await.unwrap(), slow.started()), (Some(1), 1));
    assert!(waited <= 60, "it waited for {waited} ms more");
}

/// The flight that waited is void, so it computes for those who waited with it.
#[tokio::test]
async fn waiter_goes_on_as_soon_as_the_key_is_changed() {
    let processes = Processes::new(false);
    let ([_first, second], _, slow) = waiting(&processes, Ok(1)).await;
    let (third, _) = processes.start().await;
    third.set("key", 3u32).await.unwrap();
    slow.wait_for_start().await;
    slow.finish(2);
    assert_eq!(second.await.unwrap(), Some(2));
    assert_eq!(third.get::<u32>("key").await.unwrap(), Some(3));
}
