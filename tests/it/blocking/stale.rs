//! Stale values: answered at once, and renewed by one of the threads that ask.

use std::time::Instant;

use super::*;

/// Entries are stale after fifty seconds, and gone after a hundred.
fn renewing(clock: &ManualClock, backend: &Memory) -> blocking::Cache<Memory, Postcard> {
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).backend(backend.clone());
    let builder = builder.ttl(Duration::from_secs(100)).swr_enabled(true).swr_threshold_ratio(0.5).stats(true);
    builder.jitter(false).leases(true).build_blocking().unwrap()
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

#[test]
fn one_thread_renews_a_stale_value_and_the_others_do_not_wait() {
    let (clock, (begun, has_begun)) = (ManualClock::new(), channel());
    let cache = renewing(&clock, &memory(&clock));
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(50));
    let (compute, end) = held(begun, 2u32);
    thread::scope(|scope| {
        let renewer = scope.spawn(|| cache.get_or_compute("key", compute).unwrap());
        has_begun.recv_timeout(PATIENCE).unwrap();
        for _ in 0..10 {
            assert_eq!(cache.get_or_compute("key", || Err::<u32, _>(Broken("not asked"))).unwrap(), 1);
        }
        assert!(!renewer.is_finished());
        end.send(()).unwrap();
        assert_eq!(renewer.join().unwrap(), 1, "it has waited, and returns what was asked for");
    });
    wait_until("the new value is kept", || cache.get::<u32>("key").unwrap() == Some(2));
    assert_eq!(cache.stats().computations, 1);
}

#[test]
fn renewal_that_fails_is_no_failure_of_its_thread() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(50));
    let asked = Cell::new(false);
    let fail = || {
        asked.set(true);
        Err::<u32, _>(Broken("down"))
    };
    assert_eq!(cache.get_or_compute("key", fail).unwrap(), 1);
    assert!(asked.get());
}

#[test]
fn stale_values_of_a_batch_are_renewed_together_by_its_thread() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    cache.set_many((0..5u32).map(|key| (key, 1u32))).unwrap();
    clock.advance(Duration::from_secs(50));
    let mut asked = Vec::new();
    let found = cache.get_or_compute_many(0..5u32, |mut keys| {
        keys.sort_unstable();
        asked.push(keys.clone());
        Ok::<cachekit::Loaded<u32, u32, Broken>, _>(keys.into_iter().map(|key| (key, 2)).collect())
    });
    assert!(found.into_iter().all(|value| value.unwrap() == Some(1)));
    assert_eq!(asked, [[0, 1, 2, 3, 4]]);
    let renewed = || cache.get_many::<u32, _>(0..5u32).unwrap() == [Some(2); 5];
    wait_until("all are renewed", renewed);
}

#[test]
fn thread_with_a_stale_value_does_not_wait_for_another_process() {
    let (clock, (begun, has_begun)) = (ManualClock::new(), channel());
    let backend = memory(&clock);
    let (one, two) = (renewing(&clock, &backend), renewing(&clock, &backend));
    one.set("key", 1u32).unwrap();
    assert_eq!(two.get::<u32>("key").unwrap(), Some(1));
    clock.advance(Duration::from_secs(50));
    let (compute, end) = held(begun, 2u32);
    thread::scope(|scope| {
        let renewer = scope.spawn(|| one.get_or_compute("key", compute).unwrap());
        has_begun.recv_timeout(PATIENCE).unwrap();
        let begun = Instant::now();
        assert_eq!(two.get_or_compute("key", || Err::<u32, _>(Broken("not asked"))).unwrap(), 1);
        assert!(begun.elapsed() >= Duration::from_millis(250), "it was asked to renew, had the other not begun");
        assert!(!renewer.is_finished());
        end.send(()).unwrap();
        renewer.join().unwrap();
    });
    // The renewal of the second goes on without a thread: it takes what the first has stored, or gives up.
    clock.advance(Duration::from_secs(50));
    let (answered, value) = (AtomicUsize::new(0), || two.get_or_compute("key", || Ok::<_, Broken>(3u32)));
    thread::scope(|scope| {
        scope.spawn(|| {
            while answered.load(SeqCst) == 0 {
                clock.advance(Duration::from_millis(10));
                thread::sleep(Duration::from_millis(1));
            }
        });
        let value = value();
        answered.store(1, SeqCst);
        assert!(matches!(value, Ok(2 | 3)), "{value:?}");
    });
}

#[test]
fn computation_is_given_what_was_there_before() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Production).clock(Arc::new(clock.clone())).backend(memory(&clock));
    let builder = builder.ttl(Duration::from_secs(100)).stale_if_error(Duration::from_secs(300)).jitter(false);
    let cache = builder.swr_enabled(false).build_blocking().unwrap();
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(130));
    let mut seen = Vec::new();
    let value = cache.entry("key").get_or_revalidate(|previous: Option<cachekit::Previous<u32>>| {
        let previous = previous.unwrap();
        seen.push((**previous.value(), previous.age()));
        Ok::<_, Broken>(previous.not_modified())
    });
    assert_eq!(*value.unwrap(), 1);
    assert_eq!(seen, [(1, Duration::from_secs(130))]);
    clock.advance(Duration::from_secs(99));
    assert_eq!(cache.get::<u32>("key").unwrap(), Some(1), "it has new dates");
}
