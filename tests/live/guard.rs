//! The guard: what a failing, slow or crowded backend costs its callers.

mod adaptive;
mod endings;
mod lengths;
mod moments;
mod oversize;
mod parts;
mod queued;
mod recovery;
mod refusals;
mod servers;
mod together;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::{Checked, Postcard};
use cachekit::intent::Production;
use cachekit::testing::{Chaos, ChaosControl, Fault, ManualClock};
use cachekit::{
    Backend, BreakerState, Cache, CacheBuilder, ErrorKind, Event, Intent, Key, Observer, Operation, Refusal,
};

use harness::support::{Broken, settle};

type Builder = CacheBuilder<Chaos<Memory>, Postcard, Production>;
type Users = Cache<Chaos<Memory>, Checked<Postcard>>;

const SECOND: Duration = Duration::from_secs(1);

/// What the guard tells.
#[derive(Debug, Default)]
struct Told {
    breaker: Mutex<Vec<BreakerState>>,
    /// The parts whose breaker opened.
    parts: Mutex<Vec<u16>>,
    refusals: Mutex<Vec<Refusal>>,
}

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Breaker { part, state, .. } => {
                self.breaker.lock().unwrap().push(*state);
                self.parts.lock().unwrap().extend((*state == BreakerState::Open).then_some(*part));
            }
            Event::Refused { reason, .. } => self.refusals.lock().unwrap().push(*reason),
            _ => {}
        }
    }
}

struct Setup {
    clock: ManualClock,
    memory: Memory,
    control: ChaosControl,
    told: Arc<Told>,
    cache: Users,
}

/// A cache without L1, over a backend that fails as told to.
fn setup(build: impl FnOnce(Builder) -> Builder) -> Setup {
    let (clock, told) = (ManualClock::new(), Arc::<Told>::default());
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let builder = CacheBuilder::new()
        .intent(Intent::Production)
        .namespace("users")
        .codec(Postcard)
        .backend(chaos)
        .l1_enabled(false);
    let builder = builder.namespace_index(false).invalidation_enabled(false).leases(false).swr_enabled(false);
    let builder = builder.clock(Arc::new(clock.clone())).observer(Arc::clone(&told) as _);
    let cache = build(builder).build().unwrap();
    Setup { clock, memory, control, told, cache }
}

async fn compute(cache: &Users, key: u32) -> u32 {
    cache.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap()
}

#[tokio::test]
async fn a_backend_that_fails_is_left_alone_and_then_tried() {
    let Setup { clock, control, told, cache, .. } = setup(|builder| builder.failure_threshold(3).retries(0));
    cache.set(1u32, 1u32).await.unwrap();
    control.inject_all(Fault::Refuse);
    for _ in 0..3 {
        assert_eq!(cache.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(*told.breaker.lock().unwrap(), [BreakerState::Open]);
    let asked = control.count(Operation::Get);
    assert_eq!(compute(&cache, 7).await, 7, "the cache adds no failure");
    assert_eq!(cache.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(control.count(Operation::Get), asked, "the backend was not asked");
    assert_eq!(cache.clone().stats().breaker_opened, 1, "clones share it");
    assert!(told.refusals.lock().unwrap().iter().all(|reason| *reason == Refusal::BreakerOpen));

    control.heal();
    clock.advance(SECOND / 4 - SECOND / 1_000);
    assert!(cache.get::<u32>(1u32).await.is_err(), "for a quarter of a second");
    clock.advance(SECOND / 1_000);
    for _ in 0..3 {
        assert_eq!(cache.get::<u32>(1u32).await.unwrap(), Some(1));
    }
    let [open, half, closed] = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];
    assert_eq!(*told.breaker.lock().unwrap(), [open, half, closed]);
}

#[tokio::test]
async fn refusals_in_a_loop_let_the_other_tasks_of_their_thread_run() {
    let Setup { control, cache, told, .. } = setup(|builder| builder.failure_threshold(1).retries(0));
    control.inject_all(Fault::Refuse);
    assert!(cache.get::<u32>(1u32).await.is_err());
    let turns = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..100 {
        assert!(cache.get::<u32>(1u32).await.is_err() && cache.set(2u32, 2u32).await.is_err());
    }
    assert!(turns.load(Relaxed) >= 200, "{turns:?} turns");
    assert!(told.refusals.lock().unwrap().len() >= 200, "none of them was tried");
    other.abort();
}

#[tokio::test]
async fn half_open_few_are_let_through_and_a_failure_opens_it_again() {
    let Setup { clock, control, told, cache, .. } =
        setup(|builder| builder.failure_threshold(1).half_open_requests(2).success_threshold(2).retries(0));
    control.inject_next(1, Operation::Get, Fault::Refuse);
    assert!(cache.get::<u32>(1u32).await.is_err());
    clock.advance(30 * SECOND);
    let gate = control.gate(Operation::Get);
    let probes: Vec<_> = (0..2)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get::<u32>(1u32).await })
        })
        .collect();
    gate.wait_for(2).await;
    assert!(cache.get::<u32>(1u32).await.is_err(), "two at once");
    assert_eq!(*told.refusals.lock().unwrap(), [Refusal::BreakerOpen]);
    probes.iter().for_each(tokio::task::JoinHandle::abort);
    settle().await;
    let third = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<u32>(1u32).await }
    });
    gate.wait_for(1).await;
    gate.open();
    assert!(third.await.unwrap().is_ok(), "it was let through in place of those that were dropped");
    control.inject(Operation::Get, Fault::Refuse);
    assert!(cache.get::<u32>(1u32).await.is_err());
    let [open, half] = [BreakerState::Open, BreakerState::HalfOpen];
    assert_eq!(told.breaker.lock().unwrap()[..3], [open, half, open]);
}

#[tokio::test]
async fn what_says_nothing_of_the_backend_opens_no_breaker() {
    let Setup { memory, cache, .. } = setup(|builder| builder.failure_threshold(1));
    let key = Key::new("users", 2u32).unwrap();
    memory.set(&key, Bytes::from_static(b"not a frame"), SECOND).await.unwrap();
    for _ in 0..3 {
        assert_eq!(cache.get::<u32>(1u32).await.unwrap(), None, "a miss");
        assert_eq!(cache.get::<u32>(2u32).await.unwrap(), None, "nothing readable");
        let failed = cache.get_or_compute(3u32, || async { Err::<u32, _>(Broken("its own")) }).await;
        assert!(failed.is_err());
    }
    assert_eq!((cache.stats().breaker_opened, cache.stats().backend_failures), (0, 0));
}

#[tokio::test]
async fn what_finds_no_room_goes_on_without_the_backend() {
    let Setup { clock, control, told, cache, .. } = setup(|builder| builder.max_concurrent(2).max_queued(1));
    let gate = control.gate(Operation::Get);
    let call = |key: u32| {
        let cache = cache.clone();
        tokio::spawn(async move { compute(&cache, key).await })
    };
    let under_way = [call(1), call(2)];
    gate.wait_for(2).await;
    let waiting = call(3);
    settle().await;
    assert_eq!(call(4).await.unwrap(), 4, "at once");
    let refusals = || told.refusals.lock().unwrap().clone();
    assert!(!refusals().is_empty() && refusals().iter().all(|reason| *reason == Refusal::QueueFull));
    clock.advance(SECOND / 10);
    assert_eq!(waiting.await.unwrap(), 3, "after it has waited");
    assert!(refusals().contains(&Refusal::QueueTimeout));
    assert_eq!(control.count(Operation::Get), 2);
    gate.open();
    for (call, value) in under_way.into_iter().zip(1..) {
        assert_eq!(call.await.unwrap(), value);
    }
    assert_eq!((cache.stats().failed, cache.stats().backend_failures), (0, 0));
    let refused = cache.stats().refused;
    assert_eq!(compute(&cache, 5).await, 5);
    assert_eq!(cache.stats().refused, refused, "there is room again");
}

#[tokio::test]
async fn only_what_may_be_carried_out_twice_is_tried_again() {
    let Setup { control, cache, .. } = setup(|builder| builder.leases(true).breaker_enabled(false));
    for operation in [Operation::Set, Operation::Get, Operation::Remove] {
        control.inject_next(1, operation, Fault::Refuse);
        match operation {
            Operation::Set => cache.set(1u32, 1u32).await.unwrap(),
            Operation::Get => assert_eq!(cache.get(1u32).await.unwrap(), Some(1u32)),
            _ => cache.invalidate(1u32).await.unwrap(),
        }
        assert_eq!(control.count(operation), 2, "{operation:?}");
    }
    control.inject_next(2, Operation::Get, Fault::Refuse);
    assert_eq!(cache.get::<u32>(1u32).await.unwrap_err().kind(), ErrorKind::Unavailable, "once more, not twice");
    let sets = control.count(Operation::Set);
    control.inject_next(1, Operation::Set, Fault::Refuse);
    assert_eq!(compute(&cache, 2).await, 2);
    assert_eq!(control.count(Operation::Set), sets + 1, "what is stored under a lease is not");
}

#[tokio::test]
async fn health_says_what_is_wrong_and_asks_once_a_second() {
    let Setup { clock, control, cache, .. } = setup(|builder| builder.failure_threshold(1).retries(0));
    let health = cache.health().await;
    assert!(health.is_up() && health.breaker == Some(BreakerState::Closed) && health.waiting_changes == 0);
    control.inject_all(Fault::Refuse);
    assert!(cache.health().await.is_up(), "as of a moment ago");
    assert_eq!(control.count(Operation::Ping), 1);
    clock.advance(SECOND);
    let health = cache.health().await;
    assert_eq!(health.backend.as_ref().unwrap().kind(), ErrorKind::Unavailable);
    assert!(!health.is_up());
    assert!(cache.invalidate(1u32).await.is_err());
    let health = cache.health().await;
    assert_eq!((health.breaker, health.waiting_changes), (Some(BreakerState::Open), 1));
    control.heal();
    clock.advance(SECOND);
    let health = cache.health().await;
    assert!(health.backend.is_none() && !health.is_up(), "it answers, and is not used yet");
}
