//! Time limits, panics, closing: nothing waits for ever, nothing grows.

mod large;
mod reads;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Memory, forget_by_set};
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{
    AnyBus, Backend, Cache, CacheBuilder, Capabilities, Clock, ComputeError, Error, ErrorKind, Forgotten, Grace,
    Intent, Key, Lease, LeaseToken, Operation, Order, Settings, Unreadable,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use harness::support::{Broken, Journal, Note, Slow, leased, poll_once, settle};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn builder<B: Backend>(clock: &ManualClock, backend: B) -> CacheBuilder<B, Postcard, Intent::Minimal> {
    CacheBuilder::new().intent(Intent::Minimal).backend(backend).clock(Arc::new(clock.clone()))
}

/// Lets seconds pass until the task ends.
async fn pass_time<T>(clock: &ManualClock, task: tokio::task::JoinHandle<T>) -> T {
    for _ in 0..600 {
        settle().await;
        if task.is_finished() {
            return task.await.unwrap();
        }
        clock.advance(secs(1));
    }
    panic!("nothing happened in ten minutes of the manual clock");
}

#[tokio::test]
async fn a_backend_that_hangs_longer_than_the_deadline_fails_no_call() {
    for leases in [false, true] {
        for operation in [Operation::Get, Operation::Lease, Operation::Set] {
            let clock = ManualClock::new();
            let chaos = Chaos::new(Memory::new(1 << 20));
            let control = chaos.control();
            let cache = builder(&clock, chaos)
                .leases(leases)
                .deadline(secs(3))
                .operation_timeout(secs(5))
                .wait_for_write(true)
                .build()
                .unwrap();
            control.inject(operation, Fault::Hang);
            let caller = tokio::spawn({
                let (cache, clock) = (cache.clone(), clock.clone());
                async move {
                    let load = move || async move {
                        clock.sleep(Duration::from_millis(2_500)).await;
                        Ok::<u32, Broken>(1)
                    };
                    cache.get_or_compute("key", load).await
                }
            });
            let answer = pass_time(&clock, caller).await;
            assert_eq!(answer.unwrap(), 1, "{operation:?} hangs, leases: {leases}");
        }
    }
}

/// Says of every entry that it is not authentic.
#[derive(Debug)]
struct Doubting;

impl Backend for Doubting {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("doubting")
    }
    async fn get(&self, _: &Key) -> Result<Option<Bytes>, Error> {
        Err(Error::new(ErrorKind::Unauthentic, "the server does not know this client"))
    }
    async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Error> {
        Ok(())
    }
    async fn remove(&self, _: &Key) -> Result<(), Error> {
        Ok(())
    }
    async fn ttl(&self, _: &Key) -> Result<Option<Duration>, Error> {
        Ok(None)
    }
    async fn get_many(&self, _: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        Err(Error::new(ErrorKind::Unauthentic, "the server does not know this client"))
    }
    async fn set_many(&self, _: Vec<(Key, Bytes)>, _: Duration) -> Result<(), Error> {
        Ok(())
    }
    async fn remove_many(&self, _: &[Key]) -> Result<(), Error> {
        Ok(())
    }
    fn part(&self, _: &Key) -> u16 {
        0
    }
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        forget_by_set(self, order).await
    }
    async fn lease(&self, _: &Key, _: Duration, _: LeaseToken, _: Option<&Bytes>) -> Result<Lease, Error> {
        Ok(Lease::Held)
    }
    async fn renew(&self, _: &Key, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Ok(false)
    }
    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        Ok(false)
    }
    async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
        Ok(())
    }
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }
    fn bus(&self, _: &Key) -> Option<AnyBus> {
        None
    }
}

#[tokio::test]
async fn no_kind_of_backend_error_fails_a_call() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(Doubting).build().unwrap();
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
}

#[tokio::test]
async fn waiting_for_a_lease_does_not_count_against_the_deadline() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let key = Key::new("default", "key").unwrap();
    let held = leased(&memory, &key, secs(30)).await.unwrap();
    assert!(held.is_some());
    let cache = builder(&clock, memory).leases(true).deadline(secs(2)).operation_timeout(secs(1)).build().unwrap();
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await }
    });
    assert_eq!(pass_time(&clock, caller).await.unwrap(), 1);
}

#[tokio::test]
async fn a_computation_is_given_up_a_deadline_after_it_began() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = builder(&clock, chaos).deadline(secs(10)).operation_timeout(secs(4)).build().unwrap();
    control.inject(Operation::Get, Fault::Hang);
    let began = clock.ticks();
    let caller = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", std::future::pending::<Result<u32, Broken>>).await }
    });
    assert!(matches!(pass_time(&clock, caller).await, Err(ComputeError::TimedOut)));
    assert_eq!(clock.ticks() - began, 14_000);
}

#[tokio::test]
async fn a_close_that_is_dropped_stops_nothing() {
    let memory = Memory::new(1 << 20);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let cache = CacheBuilder::new().intent(Intent::Minimal).backend(chaos).build().unwrap();
    let gate = control.gate(Operation::Set);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    gate.wait_for(1).await;
    let mut closing = {
        let cache = cache.clone();
        Box::pin(async move { cache.close(secs(60)).await })
    };
    assert!(poll_once(&mut closing).is_pending());
    assert_eq!(cache.pending(), 1, "it waits for one");
    drop(closing);
    gate.open();
    cache.close(secs(60)).await.unwrap();
    assert_eq!((memory.len(), cache.pending()), (1, 0));
}

#[tokio::test]
async fn caller_never_polled_again_on_a_closed_cache_blocks_no_other() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    cache.close(secs(1)).await.unwrap();
    let slow = Slow::new();
    let mut parked = {
        let (cache, slow) = (cache.clone(), slow.clone());
        Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await })
    };
    assert!(poll_once(&mut parked).is_pending());
    let other = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await }
    });
    settle().await;
    assert!(other.is_finished());
    assert_eq!(other.await.unwrap().unwrap(), 2);
    slow.finish(1);
    assert_eq!(parked.await.unwrap(), 1);
}

#[tokio::test]
async fn callers_who_leave_keep_no_more_tasks_than_flights_and_queue() {
    let mut settings = Settings::default();
    (settings.max_flights, settings.max_queued_flights) = (Some(3), Some(5));
    let cache = CacheBuilder::new().intent(Intent::Minimal).settings(settings).build().unwrap();
    for key in 0..100u32 {
        let cache = cache.clone();
        let mut caller =
            Box::pin(async move { cache.get_or_compute(key, std::future::pending::<Result<u32, Broken>>).await });
        assert_eq!(poll_once(&mut caller).is_pending(), key < 8);
    }
    settle().await;
    assert_eq!(cache.pending(), 8);
}

#[tokio::test]
async fn value_expired_meanwhile_still_answers_past_the_soft_timeout() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let build = || {
        builder(&clock, memory.clone())
            .ttl(secs(100))
            .jitter(false)
            .swr_enabled(true)
            .stale_if_error(Grace::Ttl)
            .soft_timeout(secs(2))
            .deadline(secs(300))
            .build()
            .unwrap()
    };
    let (one, two, slow) = (build(), build(), Slow::new());
    one.set("key", 1u32).await.unwrap();
    clock.advance(secs(60));
    let run = slow.clone();
    assert_eq!(two.get_or_compute("key", move || run.run(Ok(2u32))).await.unwrap(), 1, "stale");
    slow.wait_for_start().await;
    clock.advance(secs(10));
    settle().await;
    clock.advance(secs(40));
    let caller = tokio::spawn({
        let two = two.clone();
        async move { two.get_or_compute("key", || async { Ok::<u32, Broken>(9) }).await }
    });
    settle().await;
    assert!(caller.is_finished(), "the renewal is long past its soft timeout");
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    slow.finish(1);
    settle().await;
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(2));
}

/// Panics when 66 is written or 77 is read.
#[derive(Debug, Clone, PartialEq)]
struct Touchy(u8);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert_ne!(self.0, 66, "writing panics, as this test wants");
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u8::deserialize(deserializer)?;
        assert_ne!(value, 77, "reading panics, as this test wants");
        Ok(Self(value))
    }
}

#[tokio::test]
async fn a_value_whose_reading_panics_is_a_miss() {
    let (memory, journal) = (Memory::new(1 << 20), Arc::new(Journal::default()));
    let build =
        || CacheBuilder::new().intent(Intent::Minimal).backend(memory.clone()).observer(Arc::clone(&journal) as _);
    let (one, two) = (build().build().unwrap(), build().build().unwrap());
    one.set("key", Touchy(1)).await.unwrap();
    one.set("key", Touchy(77)).await.unwrap();
    assert_eq!(two.get::<Touchy>("key").await.unwrap(), None);
    assert!(journal.contains(&Note::Unreadable(Unreadable::Corrupt)));
    assert_eq!(two.get_or_compute("key", || async { Ok::<_, Broken>(Touchy(2)) }).await.unwrap(), Touchy(2));
}

#[tokio::test]
async fn a_value_whose_writing_panics_is_returned_and_not_stored() {
    let journal = Arc::new(Journal::default());
    for wait in [false, true] {
        let cache = CacheBuilder::new()
            .intent(Intent::Minimal)
            .backend(Memory::new(1 << 20))
            .l1_enabled(false)
            .wait_for_write(wait)
            .observer(Arc::clone(&journal) as _)
            .build()
            .unwrap();
        for bad in [66, 77] {
            let value = cache.get_or_compute(bad, move || async move { Ok::<_, Broken>(Touchy(bad)) }).await;
            assert_eq!(value.unwrap(), Touchy(bad));
            assert_eq!(cache.set(bad, Touchy(bad)).await.unwrap_err().kind(), ErrorKind::Encode);
        }
        cache.close(secs(1)).await.unwrap();
    }
    assert_eq!(journal.count(|note| matches!(note, Note::NotStored(ErrorKind::Encode, _))), 4);
}

#[tokio::test]
async fn flight_panicking_outside_its_computation_answers_all_callers() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    let slow = Slow::new();
    let mut callers: Vec<_> = (0..3)
        .map(|_| {
            let (cache, slow) = (cache.clone(), slow.clone());
            Box::pin(async move { cache.get_or_compute("key", move || slow.run(Ok(Touchy(66)))).await })
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_once(caller).is_pending());
    }
    slow.finish(1);
    for caller in callers {
        assert!(matches!(caller.await, Err(ComputeError::Panicked { .. })), "L1 weighs values by writing them");
    }
    assert_eq!(slow.started(), 1);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<_, Broken>(Touchy(1)) }).await.unwrap(), Touchy(1));
    assert_eq!(cache.pending(), 0);
}

/// The longest time a setting takes.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

#[tokio::test]
async fn the_longest_durations_there_are_overflow_nothing() {
    let clock = ManualClock::new();
    let mut settings = Settings::default();
    settings.lease_hold = Some(LONGEST);
    settings.lease_wait = Some(LONGEST);
    let cache = builder(&clock, Memory::with_clock(1 << 20, Arc::new(clock.clone())))
        .settings(settings)
        .leases(true)
        .deadline(LONGEST)
        .throttle(LONGEST)
        .operation_timeout(LONGEST)
        .wait_for_write(true)
        .build()
        .unwrap();
    clock.advance(secs(1));
    let longest = || cache.entry("key").deadline(Duration::MAX).soft_timeout(Duration::MAX);
    assert_eq!(longest().get_or_compute(|| async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    let kept = longest().stale_if_error(Duration::MAX).get::<u32>().await;
    assert_eq!(kept.unwrap(), Some(1));
    let refused = longest().ttl(Duration::MAX).stale_if_error(Duration::MAX).set(2u32).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Argument);
    cache.close(Duration::MAX).await.unwrap();
}

#[tokio::test]
async fn a_cache_shows_what_it_holds_and_ends_with_nothing() {
    let (cache, slow): (Cache<_, _>, _) = (CacheBuilder::new().intent(Intent::Minimal).build().unwrap(), Slow::new());
    let caller = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    let shown = format!("{cache:#?}");
    assert!(shown.contains("fences: 1") && shown.contains("flights: 1") && shown.contains("tasks: 1"), "{shown}");
    slow.finish(1);
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    settle().await;
    let shown = format!("{cache:#?}");
    assert!(shown.contains("fences: 0") && shown.contains("flights: 0") && shown.contains("tasks: 0"), "{shown}");
}
