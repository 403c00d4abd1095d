//! Old and new at once: the newer value stays.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Backend, Cache, CacheBuilder, Error, Grace, Intent, Key, Operation};

use harness::support::{Broken, Late, Slow, forward, leased, poll_once, settle};

fn over<B: Backend>(backend: B) -> Cache<B, Postcard> {
    CacheBuilder::new().intent(Intent::Minimal).backend(backend).build().unwrap()
}

#[tokio::test]
async fn a_set_that_keeps_nothing_in_l1_leaves_no_older_value_there() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = over(chaos);
    cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
    let gate = control.gate(Operation::Set);
    let set = tokio::spawn({
        let cache = cache.clone();
        async move { cache.entry("key").skip_l1_write().set(2u32).await }
    });
    gate.wait_for(1).await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1), "the set has not returned");
    gate.open();
    set.await.unwrap().unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
}

#[tokio::test]
async fn change_whose_caller_leaves_half_way_leaves_no_old_l1_value() {
    for removes in [false, true] {
        let chaos = Chaos::new(Memory::new(1 << 20));
        let (control, late) = (chaos.control(), Late::new(chaos));
        let cache = over(late.clone());
        cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
        let operation = if removes { Operation::Remove } else { Operation::Set };
        let gate = control.gate(operation);
        late.hold(operation);
        let mut change = {
            let cache = cache.clone();
            Box::pin(async move { if removes { cache.invalidate("key").await } else { cache.set("key", 2u32).await } })
        };
        assert!(poll_once(&mut change).is_pending());
        gate.wait_for(1).await;
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1), "the backend does not know yet");
        gate.open();
        assert!(poll_once(&mut change).is_pending());
        late.wait_until_done().await;
        drop(change);
        late.let_go();
        settle().await;
        assert_eq!(cache.get::<u32>("key").await.unwrap(), (!removes).then_some(2), "the backend knows");
    }
}

#[tokio::test]
async fn backend_read_begun_before_a_change_ended_stays_out_of_l1() {
    for (removes, computes) in [(false, false), (false, true), (true, false), (true, true)] {
        let chaos = Chaos::new(Memory::new(1 << 20));
        let (control, late) = (chaos.control(), Late::new(chaos));
        let cache = over(late.clone());
        cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
        let gate = control.gate(if removes { Operation::Remove } else { Operation::Set });
        let change = tokio::spawn({
            let cache = cache.clone();
            async move {
                let entry = cache.entry("key").skip_l1_write();
                if removes { cache.invalidate("key").await } else { entry.set(2u32).await }
            }
        });
        gate.wait_for(1).await;
        late.hold(Operation::Get);
        let read = tokio::spawn({
            let cache = cache.clone();
            async move {
                let compute = || async { Ok::<u32, Broken>(9) };
                if computes {
                    cache.get_or_compute("key", compute).await.ok()
                } else {
                    cache.get::<u32>("key").await.unwrap()
                }
            }
        });
        late.wait_until_done().await;
        gate.open();
        change.await.unwrap().unwrap();
        late.let_go();
        let newest = (!removes).then_some(2);
        let answer = newest.or(computes.then_some(9));
        assert_eq!(read.await.unwrap(), answer, "the change overtook it, so it read again");
        assert_eq!(cache.get::<u32>("key").await.unwrap(), newest);
    }
}

#[tokio::test]
async fn computation_within_a_set_does_not_overwrite_it() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = over(chaos);
    let gate = control.gate(Operation::Set);
    let set = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("key", 1u32).await }
    });
    gate.wait_for(1).await;
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    settle().await;
    gate.open();
    set.await.unwrap().unwrap();
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_change_that_has_begun_is_not_answered_by_what_is_older() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let (cache, slow) = (over(chaos), Slow::new());
    let old = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.entry("key").skip_l2_write().get_or_compute(move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    let gate = control.gate(Operation::Remove);
    let mut invalidation = {
        let cache = cache.clone();
        Box::pin(async move { cache.invalidate("key").await })
    };
    assert!(poll_once(&mut invalidation).is_pending());
    let call = cache.entry("key").skip_l2_write().get_or_compute(|| async { Ok::<u32, Broken>(2) });
    assert_eq!(call.await.unwrap(), 2, "it does not join the older computation");
    slow.finish(1);
    assert_eq!(old.await.unwrap().unwrap(), 1);
    gate.open();
    invalidation.await.unwrap();
    cache.set("key", 3u32).await.unwrap();
    let gate = control.gate(Operation::Remove);
    let mut invalidation = {
        let cache = cache.clone();
        Box::pin(async move { cache.invalidate("key").await })
    };
    assert!(poll_once(&mut invalidation).is_pending());
    assert_eq!(cache.entry("key").skip_l2_read().get::<u32>().await.unwrap(), None, "L1 has forgotten");
    gate.open();
    invalidation.await.unwrap();
}

#[tokio::test]
async fn a_change_that_is_never_polled_again_blocks_nobody() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = over(chaos);
    let gate = control.gate(Operation::Set);
    let mut parked = {
        let cache = cache.clone();
        Box::pin(async move { cache.set("key", 1u32).await })
    };
    assert!(poll_once(&mut parked).is_pending());
    gate.wait_for(1).await;
    let next = tokio::spawn({
        let cache = cache.clone();
        async move { cache.set("key", 2u32).await }
    });
    settle().await;
    gate.open();
    settle().await;
    assert!(next.is_finished(), "the second set waits for the first, which waits for its caller");
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
    drop(parked);
}

#[tokio::test]
async fn of_two_sets_the_one_that_began_later_stays_in_both_tiers() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = over(chaos);
    let gate = control.gate(Operation::Set);
    let mut sets: Vec<_> = (1..=3u32)
        .map(|value| {
            let cache = cache.clone();
            Box::pin(async move { cache.set("key", value).await })
        })
        .collect();
    for set in &mut sets {
        assert!(poll_once(set).is_pending());
    }
    gate.open();
    for set in sets {
        set.await.unwrap();
    }
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(3));
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(3));
}

#[tokio::test]
async fn backend_read_during_a_computation_does_not_undo_it_in_l1() {
    let late = Late::new(Memory::new(1 << 20));
    let cache = over(late.clone());
    cache.entry("key").skip_l1_write().set(1u32).await.unwrap();
    late.hold(Operation::Get);
    let read = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get::<u32>("key").await }
    });
    late.wait_until_done().await;
    let forced = cache.entry("key").skip_l1_read().skip_l2_read().wait_for_write(true);
    assert_eq!(forced.get_or_compute(|| async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    late.let_go();
    assert_eq!(read.await.unwrap().unwrap(), Some(2), "what overtook it is newer");
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
}

#[tokio::test]
async fn older_computation_does_not_undo_an_ended_forced_one() {
    let memory = Memory::new(1 << 20);
    let (cache, slow) = (over(memory), Slow::new());
    let older = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    let forced = cache.entry("key").skip_l1_read().skip_l2_read().wait_for_write(true);
    assert_eq!(forced.get_or_compute(|| async { Ok::<u32, Broken>(2) }).await.unwrap(), 2);
    slow.finish(1);
    assert_eq!(older.await.unwrap().unwrap(), 1);
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
}

#[tokio::test]
async fn forced_computation_that_outlasts_an_older_one_wins() {
    let (cache, old, new) = (over(Memory::new(1 << 20)), Slow::new(), Slow::new());
    let older = tokio::spawn({
        let (cache, old) = (cache.clone(), old.clone());
        async move { cache.get_or_compute("key", move || old.run(Ok(1u32))).await }
    });
    old.wait_for_start().await;
    let forced = tokio::spawn({
        let (cache, new) = (cache.clone(), new.clone());
        async move { cache.entry("key").skip_l1_read().skip_l2_read().get_or_compute(move || new.run(Ok(2u32))).await }
    });
    new.wait_for_start().await;
    old.finish(1);
    assert_eq!(older.await.unwrap().unwrap(), 1);
    settle().await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
    new.finish(1);
    assert_eq!(forced.await.unwrap().unwrap(), 2);
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(2));
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_forced_computation_is_not_answered_by_one_that_has_ended() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = over(chaos);
    let gate = control.gate(Operation::Set);
    for value in [1u32, 2] {
        let forced = cache.entry("key").skip_l1_read().skip_l2_read();
        let got = forced.get_or_compute(move || async move { Ok::<u32, Broken>(value) }).await;
        assert_eq!(got.unwrap(), value, "its write may still be under way");
    }
    gate.open();
    cache.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
}

/// Two processes with leases over one store.
fn with_leases<B: Backend>(backend: B) -> Cache<B, Postcard> {
    CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(backend).build().unwrap()
}

#[tokio::test]
async fn value_whose_lease_another_process_ended_is_not_kept_in_l1() {
    let memory = Memory::new(1 << 20);
    let (one, two, slow) = (with_leases(memory.clone()), with_leases(memory), Slow::new());
    let old = tokio::spawn({
        let (one, slow) = (one.clone(), slow.clone());
        async move { one.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    two.set("key", 2u32).await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap().unwrap(), 1);
    one.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(one.get::<u32>("key").await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_computation_longer_than_its_lease_stays_in_l1() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .leases(true)
        .backend(memory)
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let slow = Slow::new();
    let caller = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    clock.advance(Duration::from_secs(40));
    slow.finish(1);
    assert_eq!(caller.await.unwrap().unwrap(), 1);
    settle().await;
    let again = cache.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await;
    assert_eq!(again.unwrap(), 1, "nobody took the key over, its lease ran out");
}

#[tokio::test]
async fn failed_read_leads_to_no_write_over_another_process() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let (control, memory) = (chaos.control(), Late::new(chaos));
    let (one, two, slow) = (with_leases(memory.clone()), with_leases(memory), Slow::new());
    control.inject_next(1, Operation::Lease, Fault::Refuse);
    let old = tokio::spawn({
        let (one, slow) = (one.clone(), slow.clone());
        async move { one.get_or_compute("key", move || slow.run(Ok(1u32))).await }
    });
    slow.wait_for_start().await;
    assert_eq!(control.count(Operation::Get), 0, "nobody pays for a second failure");
    two.set("key", 2u32).await.unwrap();
    slow.finish(1);
    assert_eq!(old.await.unwrap().unwrap(), 1);
    one.close(Duration::from_secs(5)).await.unwrap();
    assert_eq!(two.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(2));
    assert_eq!(control.count(Operation::Set), 1, "what was set");
}

#[tokio::test]
async fn older_backend_value_does_not_replace_a_newer_one_in_l1() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(Memory::with_clock(1 << 20, Arc::new(clock.clone())));
    let control = chaos.control();
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(chaos)
        .clock(Arc::new(clock.clone()))
        .ttl(Duration::from_secs(100))
        .swr_enabled(true)
        .jitter(false)
        .throttle(Duration::ZERO)
        .stale_if_error(Grace::Ttl)
        .build()
        .unwrap();
    cache.set("key", 1u32).await.unwrap();
    clock.advance(Duration::from_secs(10));
    control.inject_next(1, Operation::Set, Fault::Refuse);
    assert!(cache.set("key", 2u32).await.is_err());
    for (seconds, age) in [(60, "stale"), (60, "expired")] {
        clock.advance(Duration::from_secs(seconds));
        for _ in 0..3 {
            let value = cache.get_or_compute("key", || async { Err::<u32, _>(Broken("down")) }).await;
            assert_eq!(value.unwrap(), 2, "both are {age}");
            settle().await;
        }
    }
}

#[tokio::test]
async fn entry_from_the_future_lives_no_longer_in_l1_than_in_backend() {
    let (here, ahead) = (ManualClock::new(), ManualClock::new());
    ahead.set_wall(ManualClock::START + 3_600_000);
    let memory = Memory::with_clock(1 << 20, Arc::new(here.clone()));
    let cache = |clock: &ManualClock| {
        CacheBuilder::new()
            .intent(Intent::Minimal)
            .backend(memory.clone())
            .clock(Arc::new(clock.clone()))
            .ttl(Duration::from_secs(100))
            .swr_enabled(false)
            .jitter(false)
            .build()
            .unwrap()
    };
    let (one, two) = (cache(&here), cache(&ahead));
    two.set("key", 1u32).await.unwrap();
    here.advance(Duration::from_secs(99));
    assert_eq!(one.get::<u32>("key").await.unwrap(), Some(1), "another host's clock is no reason for a miss");
    here.advance(Duration::from_secs(1));
    assert_eq!(one.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test]
async fn a_wall_clock_set_back_does_not_prolong_what_is_read_again() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(memory)
        .clock(Arc::new(clock.clone()))
        .ttl(Duration::from_secs(100))
        .swr_enabled(false)
        .jitter(false)
        .build()
        .unwrap();
    cache.set("key", 1u32).await.unwrap();
    clock.advance(Duration::from_secs(90));
    clock.set_wall(ManualClock::START - 3_600_000);
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
    clock.advance(Duration::from_secs(10));
    assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
}

#[tokio::test]
async fn read_overtaken_by_an_invalidation_returns_no_older_value() {
    let chaos = Chaos::new(Memory::new(1 << 20));
    let control = chaos.control();
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(chaos)
        .max_chunk_size_mb(0.001)
        .l1_enabled(false)
        .build()
        .unwrap();
    for computing in [false, true] {
        cache.set("key", vec![1u8; 2_000]).await.unwrap();
        // The manifest is read; the first of its chunks is held back while the key is invalidated.
        let gate = control.gate(Operation::Get);
        let reader = tokio::spawn({
            let cache = cache.clone();
            async move {
                if computing {
                    Some(cache.get_or_compute("key", || async { Ok::<_, Broken>(vec![2u8]) }).await.unwrap())
                } else {
                    cache.get::<Vec<u8>>("key").await.unwrap()
                }
            }
        });
        gate.wait_for(1).await;
        gate.admit(1);
        gate.wait_for(1).await;
        cache.invalidate("key").await.unwrap();
        gate.open();
        assert_eq!(reader.await.unwrap(), computing.then(|| vec![2u8]));
    }
}

#[tokio::test]
async fn value_awaiting_its_write_answers_unless_expired_or_replaced() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(Memory::with_clock(1 << 20, Arc::new(clock.clone())));
    let control = chaos.control();
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .backend(chaos)
        .clock(Arc::new(clock.clone()))
        .l1_enabled(false)
        .operation_timeout(Duration::from_secs(600))
        .build()
        .unwrap();
    let ask = |key: &'static str, value: u32, forced: bool| {
        let cache = cache.clone();
        async move {
            let entry = cache.entry(key).wait_for_write(false).ttl(Duration::from_secs(10));
            let entry = if forced { entry.skip_l2_read() } else { entry };
            entry.get_or_compute(move || async move { Ok::<u32, Broken>(value) }).await.unwrap()
        }
    };
    let gate = control.gate(Operation::Set);
    assert_eq!(ask("first", 1, false).await, 1);
    assert_eq!(ask("first", 2, false).await, 1, "its write is under way");
    clock.advance(Duration::from_secs(10));
    assert_eq!(ask("first", 3, false).await, 3, "what is expired answers nobody");
    assert_eq!(ask("second", 1, false).await, 1);
    assert_eq!(ask("second", 2, true).await, 2);
    assert_ne!(ask("second", 3, false).await, 1, "a younger computation has ended since");
    gate.open();
    cache.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn what_was_delivered_and_then_invalidated_answers_nobody() {
    let clock = ManualClock::new();
    let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
    let late = Late::new(memory.clone());
    let build = |backend| {
        let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).backend(backend);
        builder.clock(Arc::new(clock.clone())).build().unwrap()
    };
    let (one, two) = (build(late.clone()), build(Late::new(memory.clone())));
    let lease = leased(&memory, &Key::new("default", "key").unwrap(), Duration::from_secs(30)).await.unwrap();
    assert!(lease.is_some());
    let caller = tokio::spawn({
        let one = one.clone();
        async move { one.get_or_compute("key", || async { Ok::<u32, Broken>(9) }).await }
    });
    settle().await;
    two.set("key", 1u32).await.unwrap();
    late.hold(Operation::Get);
    clock.advance(Duration::from_secs(1));
    late.wait_until_done().await;
    one.invalidate("key").await.unwrap();
    late.let_go();
    for _ in 0..20 {
        settle().await;
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(caller.await.unwrap().unwrap(), 9);
}

/// A backend under which a `set` of the key begins during each read.
#[derive(Debug, Clone)]
struct Restless {
    memory: Memory,
    cache: Arc<OnceLock<Cache<Self, Postcard>>>,
    reads: Arc<AtomicU32>,
}

impl Backend for Restless {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let found = self.memory.get(key).await;
        let read = self.reads.fetch_add(1, SeqCst) + 1;
        let cache = self.cache.get().unwrap().clone();
        tokio::spawn(async move { cache.set("key", read).await.unwrap() });
        settle().await;
        found
    }

    forward!(memory: capabilities set remove ttl get_many set_many remove_many part forget lease renew fill release ping bus);
}

#[tokio::test]
async fn read_overtaken_repeatedly_finds_the_newest_value_there() {
    let (memory, reads) = (Memory::new(1 << 20), Arc::<AtomicU32>::default());
    let backend = Restless { memory, cache: Arc::default(), reads: Arc::clone(&reads) };
    let cache = backend.cache.get_or_init(|| over(backend.clone()));
    cache.entry("key").skip_l1_write().set(0u32).await.unwrap();
    let found = cache.entry("key").skip_l1_read().get::<u32>().await.unwrap();
    let last = reads.load(SeqCst);
    assert_eq!(found, Some(last - 1), "what was set during the read before");
    settle().await;
    assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(last), "nothing older was kept");
}
