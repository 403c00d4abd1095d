//! More callers than `max_flights`: who waits, who is let in, who is turned away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::{Memory, NoBackend};
use cachekit::codec::Postcard;
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Clock, ComputeError, ErrorKind, Grace, Intent, Overload, Settings};

use harness::support::{Broken, Slow, poll_once, settle};

type Alone = Cache<NoBackend, Postcard>;
type Builder = CacheBuilder<NoBackend, Postcard, Intent::Minimal>;
type Answer = Result<u32, ComputeError<Broken>>;

fn builder(clock: &ManualClock, flights: usize, queued: usize) -> Builder {
    let mut settings = Settings::default();
    (settings.max_flights, settings.max_queued_flights) = (Some(flights), Some(queued));
    CacheBuilder::new().intent(Intent::Minimal).settings(settings).stats(true).clock(Arc::new(clock.clone()))
}

/// Asks for a key whose computation waits for permission and gives the key.
fn ask(cache: &Alone, key: u32, slow: &Slow) -> impl Future<Output = Answer> + Send + use<> {
    let (cache, slow) = (cache.clone(), slow.clone());
    async move { cache.get_or_compute(key, move || slow.run(Ok(key))).await }
}

fn refused(answer: Answer) -> String {
    let Err(ComputeError::Cache(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.is_temporary());
    error.to_string()
}

/// What a crowd of computations does at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Crowd {
    async fn compute(&self, clock: ManualClock, key: u32) -> Result<u32, Broken> {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        clock.sleep(Duration::from_millis(10)).await;
        self.now.fetch_sub(1, SeqCst);
        Ok(key)
    }
}

/// Each caller is a future that the test owns: what is measured beside it is what the cache takes.
#[test]
fn hundred_thousand_callers_queue_with_little_memory() {
    const CALLERS: u32 = 100_000;
    const FLIGHTS: usize = 500;
    let clock = ManualClock::new();
    let cache = builder(&clock, FLIGHTS, CALLERS as usize).deadline(Duration::from_secs(3_600)).build().unwrap();
    let (crowd, runtime) = (Arc::new(Crowd::default()), tokio::runtime::Builder::new_current_thread().build().unwrap());
    let mut callers = Vec::with_capacity(CALLERS as usize);
    for key in 0..CALLERS {
        let (cache, crowd, clock) = (cache.clone(), Arc::clone(&crowd), clock.clone());
        let compute = move || async move { crowd.compute(clock, key).await };
        callers.push(Box::pin(async move { cache.get_or_compute(key, compute).await }));
    }
    let waiting = allocation_counter::measure(|| {
        runtime.block_on(async {
            assert!(callers.iter_mut().all(|caller| poll_once(caller).is_pending()));
            settle().await;
        });
    });
    assert_eq!(crowd.now.load(SeqCst), FLIGHTS);
    let each = waiting.bytes_max / u64::from(CALLERS);
    println!("{each} bytes for each waiting caller");
    assert!(each <= 4_736, "{each} bytes for each waiting caller");
    runtime.block_on(async {
        let all = tokio::spawn(async move {
            for (key, caller) in (0..CALLERS).zip(callers) {
                assert_eq!(caller.await.unwrap(), key);
            }
        });
        while !all.is_finished() {
            settle().await;
            clock.advance(Duration::from_millis(10));
        }
        all.await.unwrap();
    });
    assert_eq!(crowd.most.load(SeqCst), FLIGHTS);
    assert_eq!((cache.stats().computed, cache.pending()), (u64::from(CALLERS), 0));
}

#[tokio::test]
async fn callers_are_admitted_in_order_of_arrival_and_hits_at_once() {
    let cache = builder(&ManualClock::new(), 1, 10).build().unwrap();
    cache.set(99u32, 7u32).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (slow, mut callers) = (Slow::new(), Vec::new());
    for key in 0..5u32 {
        let (cache, slow, order) = (cache.clone(), slow.clone(), Arc::clone(&order));
        let compute = move || async move {
            order.lock().unwrap().push(key);
            slow.run(Ok(key)).await
        };
        callers.push(tokio::spawn(async move { cache.get_or_compute(key, compute).await }));
        settle().await;
    }
    assert_eq!((slow.started(), cache.pending()), (1, 5));
    let mut hit = Box::pin(ask(&cache, 99, &slow));
    assert!(poll_once(&mut hit).is_ready());
    for done in 1..=5 {
        assert_eq!(slow.started(), done);
        slow.finish(1);
        settle().await;
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    for (key, caller) in (0u32..).zip(callers) {
        assert_eq!(caller.await.unwrap().unwrap(), key);
    }
}

#[tokio::test]
async fn callers_of_one_key_wait_as_one() {
    let cache = builder(&ManualClock::new(), 1, 1).build().unwrap();
    let slow = Slow::new();
    let mut callers: Vec<_> = [1, 2, 2, 2, 2].map(|key| Box::pin(ask(&cache, key, &slow))).into();
    assert!(callers.iter_mut().all(|caller| poll_once(caller).is_pending()));
    refused(ask(&cache, 3, &slow).await);
    // Who began the flight in line may leave it, or never look again.
    drop(callers.remove(1));
    settle().await;
    slow.finish(2);
    for (key, caller) in [1, 2, 2, 2].into_iter().zip(callers) {
        assert_eq!(caller.await.unwrap(), key);
    }
    assert_eq!(slow.started(), 2);
}

#[tokio::test]
async fn a_caller_that_is_never_polled_again_keeps_no_other_waiting() {
    let cache = builder(&ManualClock::new(), 1, 10).build().unwrap();
    let slow = Slow::new();
    let mut parked: Vec<_> = (0..5).map(|key| Box::pin(ask(&cache, key, &slow))).collect();
    assert!(parked.iter_mut().all(|caller| poll_once(caller).is_pending()));
    slow.finish(6);
    assert_eq!(ask(&cache, 9, &slow).await.unwrap(), 9);
    assert_eq!(slow.started(), 6);
}

#[tokio::test]
async fn queue_time_counts_for_the_caller_and_not_the_computation() {
    let clock = ManualClock::new();
    let cache = builder(&clock, 1, 10).deadline(Duration::from_secs(60)).build().unwrap();
    let (first, slow) = (Slow::new(), Slow::new());
    let holder = tokio::spawn(ask(&cache, 1, &first));
    first.wait_for_start().await;
    let brief = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.entry(2u32).deadline(Duration::from_secs(5)).get_or_compute(move || slow.run(Ok(2))).await }
    });
    let patient = tokio::spawn(ask(&cache, 3, &slow));
    settle().await;
    clock.advance(Duration::from_secs(5));
    settle().await;
    assert!(matches!(brief.await.unwrap(), Err(ComputeError::<Broken>::TimedOut)));
    assert_eq!(slow.started(), 0, "a flight that was late leaves the line");
    clock.advance(Duration::from_secs(54));
    settle().await;
    first.finish(1);
    assert_eq!(holder.await.unwrap().unwrap(), 1);
    settle().await;
    assert_eq!(slow.started(), 1);
    clock.advance(Duration::from_secs(2));
    settle().await;
    assert!(matches!(patient.await.unwrap(), Err(ComputeError::TimedOut)), "after 61 s");
    slow.finish(1);
    settle().await;
    assert_eq!(cache.get::<u32>(3u32).await.unwrap(), Some(3), "what began after the wait went on");
    assert_eq!(cache.pending(), 0);
}

#[tokio::test]
async fn callers_beyond_the_queue_are_refused_or_compute_by_policy() {
    let (clock, slow) = (ManualClock::new(), Slow::new());
    for overload in [Overload::Refuse, Overload::Compute] {
        let mut settings = Settings::default();
        settings.overload = Some(overload);
        let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
        let cache = builder(&clock, 1, 0).settings(settings).backend(memory.clone()).build().unwrap();
        let holder = tokio::spawn({
            let (cache, slow) = (cache.clone(), slow.clone());
            async move { cache.get_or_compute(1u32, move || slow.run(Ok(1u32))).await }
        });
        slow.wait_for_start().await;
        let answer = cache.get_or_compute(2u32, || async { Ok::<_, Broken>(2u32) }).await;
        match overload {
            Overload::Refuse => assert!(refused(answer).contains("max_queued_flights")),
            _ => assert_eq!(answer.unwrap(), 2),
        }
        let in_l1 = (overload == Overload::Compute).then_some(2);
        assert_eq!(cache.get::<u32>(2u32).await.unwrap(), in_l1);
        assert_eq!(memory.len(), 0, "who computes for itself stores nothing behind its call");
        slow.finish(1);
        assert_eq!(holder.await.unwrap().unwrap(), 1);
        cache.close(Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn older_value_answers_a_caller_that_is_refused_or_late() {
    let clock = ManualClock::new();
    let cache = builder(&clock, 1, 1)
        .ttl(Duration::from_secs(10))
        .stale_if_error(Grace::Ttl)
        .swr_enabled(false)
        .jitter(false)
        .deadline(Duration::from_secs(5))
        .build()
        .unwrap();
    cache.set(2u32, 20u32).await.unwrap();
    cache.set(3u32, 30u32).await.unwrap();
    clock.advance(Duration::from_secs(11));
    let slow = Slow::new();
    let long = cache.entry(1u32).deadline(Duration::from_secs(600));
    let mut holder = Box::pin(long.get_or_compute(std::future::pending::<Result<u32, Broken>>));
    assert!(poll_once(&mut holder).is_pending());
    let late = tokio::spawn(ask(&cache, 2, &slow));
    settle().await;
    assert_eq!(ask(&cache, 3, &slow).await.unwrap(), 30);
    refused(ask(&cache, 4, &slow).await);
    clock.advance(Duration::from_secs(5));
    assert_eq!(late.await.unwrap().unwrap(), 20);
    assert_eq!((slow.started(), cache.stats().stale), (0, 2));
}

#[tokio::test]
async fn what_a_computation_asks_for_does_not_wait_for_its_place() {
    let cache = builder(&ManualClock::new(), 1, 10).build().unwrap();
    let (slow, inner) = (Slow::new(), cache.clone());
    let (go, gate) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (going, gating) = (Arc::clone(&go), Arc::clone(&gate));
    let outer = tokio::spawn(async move {
        let nested = inner.clone();
        let sum = move || async move {
            going.notify_one();
            gating.notified().await;
            // One that waits in line, and one that no other call asks for.
            let two = nested.get_or_compute(2u32, || async { Ok::<u32, Broken>(0) }).await;
            let three = nested.get_or_compute(3u32, || async { Ok::<u32, Broken>(3) }).await;
            Ok::<u32, Broken>(two.unwrap() + three.unwrap())
        };
        inner.get_or_compute(1u32, sum).await
    });
    go.notified().await;
    let queued = tokio::spawn(ask(&cache, 2, &slow));
    let last = tokio::spawn(ask(&cache, 4, &slow));
    settle().await;
    assert_eq!(slow.started(), 0);
    gate.notify_one();
    slow.wait_for_start().await;
    settle().await;
    assert_eq!(slow.started(), 1, "the one that the computation needs, and not the one behind it");
    slow.finish(2);
    assert_eq!(outer.await.unwrap().unwrap(), 5);
    assert_eq!((queued.await.unwrap().unwrap(), last.await.unwrap().unwrap()), (2, 4));
}

#[tokio::test]
async fn nested_calls_get_no_more_extra_flights_than_the_bound() {
    let cache = builder(&ManualClock::new(), 20, 10).build().unwrap();
    let (slow, inner) = (Slow::new(), cache.clone());
    let many = async move {
        let mut nested: Vec<_> = (1..=50u32).map(|key| Box::pin(ask(&inner, key, &slow))).collect();
        let answers: Vec<_> = nested.iter_mut().map(|call| (poll_once(call), slow.started())).collect();
        settle().await;
        let refused = answers.iter().filter(|(answer, _)| answer.is_ready()).count();
        Ok::<_, Broken>((u32::try_from(refused).unwrap(), u32::try_from(slow.started()).unwrap()))
    };
    let counts = cache.get_or_compute(0u32, move || many).await.unwrap();
    assert_eq!(counts, (11, 39), "19 places were free, and there are 20 more");
}

#[tokio::test]
async fn renewals_do_not_wait_in_line() {
    let clock = ManualClock::new();
    let cache = builder(&clock, 1, 10).ttl(Duration::from_secs(100)).swr_enabled(true).jitter(false).build().unwrap();
    cache.set(2u32, 20u32).await.unwrap();
    clock.advance(Duration::from_secs(60));
    let slow = Slow::new();
    let holder = tokio::spawn(ask(&cache, 1, &slow));
    slow.wait_for_start().await;
    assert_eq!(ask(&cache, 2, &slow).await.unwrap(), 20);
    assert_eq!(cache.pending(), 1);
    slow.finish(2);
    assert_eq!(holder.await.unwrap().unwrap(), 1);
    assert_eq!(ask(&cache, 2, &slow).await.unwrap(), 20, "it is renewed now");
    settle().await;
    assert_eq!(cache.get::<u32>(2u32).await.unwrap(), Some(2));
}

#[test]
fn flights_on_an_undriven_runtime_block_no_other_callers() {
    let cache = builder(&ManualClock::new(), 1, 1).build().unwrap();
    let build = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (one, two, slow) = (build(), build(), Slow::new());
    let mut parked: Vec<_> = [1, 2].map(|key| Box::pin(ask(&cache, key, &slow))).into();
    one.block_on(async {
        assert!(parked.iter_mut().all(|caller| poll_once(caller).is_pending()));
        refused(ask(&cache, 3, &slow).await);
        settle().await;
    });
    let begun = Instant::now();
    let value = two.block_on(cache.get_or_compute(3u32, || async { Ok::<_, Broken>(3u32) }));
    assert_eq!(value.unwrap(), 3);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_bounded_like_others() {
    let cache = builder(&ManualClock::new(), 1, 1).build().unwrap();
    let slow = Slow::new();
    let unnamed = || {
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("", move || slow.run(Ok(1u32))).await }
    };
    let mut callers = [Box::pin(unnamed()), Box::pin(unnamed())];
    assert!(callers.iter_mut().all(|caller| poll_once(caller).is_pending()));
    refused(unnamed().await);
    settle().await;
    assert_eq!(slow.started(), 1);
    slow.finish(2);
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 1);
    }
}
