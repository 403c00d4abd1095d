//! Stale values: answered at once, and renewed by one of the threads that ask.

use std::time::Instant;

use cachekit::ComputeError;

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

/// Calls until the thread is asked to compute: on a busy machine it may have waited in vain. Returns the last answer.
fn until_asked<T, F: FnOnce() -> Result<T, Broken>>(
    compute: &mut Option<F>,
    call: impl Fn(&mut dyn FnMut() -> Result<T, Broken>) -> Result<T, ComputeError<Broken>>,
) -> T {
    loop {
        let answer = call(&mut || compute.take().expect("it is asked once")()).unwrap();
        if compute.is_none() {
            return answer;
        }
    }
}

#[test]
fn one_thread_renews_a_stale_value_and_the_others_do_not_wait() {
    let (clock, (begun, has_begun)) = (ManualClock::new(), channel());
    let cache = renewing(&clock, &memory(&clock));
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(50));
    let (compute, end) = held(begun, 2u32);
    let mut compute = Some(compute);
    thread::scope(|scope| {
        let renewer = scope.spawn(|| until_asked(&mut compute, |compute| cache.get_or_compute("key", compute)));
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
fn a_thread_that_has_renewed_a_value_finds_it_by_its_next_call() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    (0..300u32).for_each(|key| cache.set(key, 1u32).unwrap());
    clock.advance(Duration::from_secs(50));
    let mut late = 0;
    for key in 0..300u32 {
        let mut compute = Some(|| Ok::<_, Broken>(2u32));
        assert_eq!(until_asked(&mut compute, |compute| cache.get_or_compute(key, compute)), 1);
        let fetched = cache.fetch(key, || Ok::<_, Broken>(2u32)).unwrap();
        late += u32::from(fetched.outcome() != Outcome::L1Hit || *fetched.value() != 2);
    }
    assert!(late < 15, "{late} of 300: a busy machine makes some late, and half are if no thread waits");
}

#[test]
fn thread_that_fetches_a_stale_value_renews_it() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(60));
    let fetch = || cache.fetch("key", || Ok::<_, Broken>(2u32)).unwrap();
    let stale = fetch();
    assert_eq!((stale.outcome(), *stale.value(), stale.age().as_secs()), (Outcome::Stale, 1, 60));
    wait_until("the new value is kept", || *fetch().value() == 2);
    assert_eq!((fetch().outcome(), fetch().remaining().as_secs()), (Outcome::L1Hit, 100));
}

#[test]
fn what_was_there_is_given_and_whence_the_answer_came_is_told() {
    let clock = ManualClock::new();
    let numbers = renewing(&clock, &memory(&clock)).typed::<u32, u32>("numbers").unwrap();
    let base = 7;
    let first =
        numbers.entry(&1).fetch_or_decide(|| Ok::<_, Broken>(Computed::new(base).validator("v1").tags(["all"])));
    let first = first.unwrap();
    assert!(first.outcome() == Outcome::Computed && **first.value() == 7 && first.has_tag("all"));
    clock.advance(Duration::from_secs(60));
    let again = || {
        let answer = numbers.entry(&1).fetch_or_revalidate(|previous: Option<Previous<u32>>| {
            let previous = previous.filter(|previous| previous.validator() == Some(b"v1"));
            previous.map(Previous::not_modified).ok_or(Broken("it is not given what was there"))
        });
        answer.unwrap()
    };
    let stale = again();
    assert_eq!((stale.outcome(), **stale.value()), (Outcome::Stale, 7));
    wait_until("its dates are new", || again().outcome() == Outcome::L1Hit);
    assert_eq!((**again().value(), again().remaining().as_secs()), (7, 100));
}

#[test]
fn a_start_reads_what_was_hot_and_loads_what_is_gone() {
    struct Doubles;
    impl blocking::Loader for Doubles {
        type Key = u32;
        type Value = u32;
        type Error = Broken;
        fn load(&self, key: &u32) -> Result<u32, Broken> {
            Ok(key * 2)
        }
    }
    let backend = Memory::new(1 << 20);
    let start = || {
        let builder = CacheBuilder::new().intent(Intent::Minimal).backend(backend.clone()).warm_keys(100);
        builder.build_blocking().unwrap()
    };
    let first = start();
    let numbers = first.typed::<u32, u32>("numbers").unwrap().with_loader(Doubles);
    for key in 0..10 {
        assert_eq!((numbers.get(&key).unwrap(), numbers.get(&key).unwrap()), (key * 2, key * 2));
    }
    first.close(PATIENCE).unwrap();
    numbers.typed().invalidate(&7).unwrap();
    let today = start();
    let numbers = today.typed::<u32, u32>("numbers").unwrap().with_loader(Doubles);
    assert!(today.warm_up().unwrap());
    assert_eq!(today.l1_len(), 9);
    assert_eq!((numbers.warm_up().unwrap(), numbers.fetch(&7).unwrap().outcome()), (1, Outcome::L1Hit));
    assert!(today.health().unwrap().is_warm);
}

#[test]
fn renewal_that_fails_is_no_failure_of_its_thread() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    cache.set("key", 1u32).unwrap();
    clock.advance(Duration::from_secs(50));
    let mut fail = Some(|| Err::<u32, _>(Broken("down")));
    assert_eq!(until_asked(&mut fail, |fail| cache.get_or_compute("key", fail)), 1);
}

#[test]
fn stale_values_of_a_batch_are_renewed_together_by_its_thread() {
    let clock = ManualClock::new();
    let cache = renewing(&clock, &memory(&clock));
    cache.set_many((0..5u32).map(|key| (key, 1u32))).unwrap();
    clock.advance(Duration::from_secs(50));
    let mut asked = Vec::new();
    // More than once if a busy machine lets it wait in vain.
    while asked.is_empty() {
        let found = cache.get_or_compute_many(0..5u32, |mut keys| {
            keys.sort_unstable();
            asked.push(keys.clone());
            Ok::<cachekit::Loaded<u32, u32, Broken>, _>(keys.into_iter().map(|key| (key, 2)).collect())
        });
        assert!(found.into_iter().all(|value| value.unwrap() == Some(1)));
    }
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
    let mut compute = Some(compute);
    thread::scope(|scope| {
        let renewer = scope.spawn(|| until_asked(&mut compute, |compute| one.get_or_compute("key", compute)));
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
