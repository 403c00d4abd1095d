//! The versions in the backend, step by step.

use cachekit::testing::ChaosControl;

use super::*;
use crate::support::NoLeases;

#[tokio::test]
async fn versions_read_while_another_process_changes_them_are_not_remembered() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let (one, two) = (quiet(&clock, memory), quiet(&clock, chaos));
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
async fn versions_read_in_the_middle_of_an_invalidation_are_believed_for_a_second() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let (one, two) = (quiet(&clock, chaos), quiet(&clock, memory));
    one.set("home", 1u32).await.unwrap();
    let gate = control.gate(Operation::Set);
    let invalidation = tokio::spawn(async move { one.invalidate_namespace().await.unwrap() });
    gate.admit(1);
    until("the generation is a new one, and the version is not", async || control.count(Operation::Set) == 5).await;
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    gate.open();
    invalidation.await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert_eq!(two.get::<u32>("home").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_known_of_a_later_generation_does_not_mark_what_began_in_an_earlier_one() {
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
async fn a_version_that_is_made_does_not_replace_that_of_an_invalidation() {
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
    // The generation; then the version, under a lease.
    gate.admit(1);
    until("it holds the lease", async || control.count(Operation::Set) == 2).await;
    one.invalidate_namespace().await.unwrap();
    one.set("home", 1u32).await.unwrap();
    gate.open();
    making.await.unwrap();
    assert_eq!(two.get("home").await.unwrap(), Some(1u32));
    assert_eq!(one.get("home").await.unwrap(), Some(1u32));
}

#[tokio::test]
async fn who_made_a_version_that_another_replaced_learns_of_it_within_a_second() {
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
    gate.admit(1);
    until("it is about to make the version", async || control.count(Operation::Set) == 2).await;
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

/// Makes `cache` distrust what it knows, by an invalidation that does not reach the backend.
async fn distrust<B: Backend>(cache: &Pages<B>, control: &ChaosControl) {
    // Once more than it is tried again.
    control.inject_next(2, Operation::Set, Fault::Refuse);
    assert!(cache.invalidate_tag("other").await.is_err());
}

#[tokio::test]
async fn versions_are_remembered_under_no_generation_but_their_own() {
    // Whether the generation before the versions is an old one, or the one that is known is.
    for known_is_old in [false, true] {
        let clock = ManualClock::new();
        let memory = memory(&clock);
        let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
        let control = chaos.control();
        let (one, two) = (quiet(&clock, memory), quiet(&clock, chaos));
        one.set("first", 0u32).await.unwrap();
        assert_eq!(two.get::<u32>("first").await.unwrap(), Some(0), "from here on each knows the other's clock");
        one.entry("else").tags(["t"]).set(1u32).await.unwrap();
        let slow = Slow::new();
        let old = start(&two, &slow, 1).await;
        slow.wait_for_start().await;
        one.invalidate_tag("t").await.unwrap();
        one.entry("else").tags(["t"]).set(2u32).await.unwrap();
        if known_is_old {
            distrust(&two, &control).await;
        }
        let (gate, begun) = (control.gate(Operation::Get), control.count(Operation::Get));
        let read = tokio::spawn({
            let two = two.clone();
            async move { two.get::<u32>("else").await.unwrap() }
        });
        // The entry, the generation where it is not believed, the versions, the generation once more.
        for step in 1..=if known_is_old { 4 } else { 3 } {
            until("it reads on", async || control.count(Operation::Get) == begun + step).await;
            if known_is_old || step == 3 {
                distrust(&two, &control).await;
            }
            gate.admit(1);
        }
        assert_eq!(read.await.unwrap(), Some(2));
        gate.open();
        slow.finish(1);
        assert_eq!(*old.await.unwrap().unwrap(), 1);
        settle().await;
        assert_eq!(one.get::<u32>("home").await.unwrap(), None, "{known_is_old}");
    }
}

#[tokio::test]
async fn a_miss_writes_nothing_and_nothing_is_written_under_versions_that_cannot_be_read() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let build = || builder(&clock, chaos.clone()).leases(false).build().unwrap();
    assert_eq!(build().get::<u32>("home").await.unwrap(), None);
    assert!(memory.is_empty());
    build().set("else", 1u32).await.unwrap();
    let (cache, before) = (build(), memory.len());
    assert_eq!(cache.get::<u32>("home").await.unwrap(), None);
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
    forward!(0: get set remove ttl get_many set_many remove_many lease renew fill release ping bus);
}

#[tokio::test]
async fn a_set_is_not_marked_with_versions_that_are_no_longer_believed() {
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
async fn who_was_told_of_an_invalidation_asks_for_the_generation_at_once() {
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
