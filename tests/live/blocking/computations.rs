//! Closures on the threads that call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cachekit::ComputeError;

use super::*;

#[test]
fn sixty_four_threads_compute_one_key_once() {
    let (cache, computed, start) = (cache(), AtomicUsize::new(0), Barrier::new(64));
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                start.wait();
                let compute = || {
                    thread::sleep(Duration::from_millis(50));
                    Ok::<_, Broken>(computed.fetch_add(1, SeqCst))
                };
                assert_eq!(cache.get_or_compute("key", compute).unwrap(), 0);
            });
        }
    });
    assert_eq!(computed.load(SeqCst), 1);
}

#[test]
fn closure_borrows_and_runs_on_the_thread_of_its_call() {
    let cache = cache();
    // Not `Send`, and on the stack of this test.
    let (rows, mut asked) = (Rc::new(vec![1u32, 2]), Vec::new());
    let here = thread::current().id();
    let sum = cache.get_or_compute("sum", || {
        asked.push(thread::current().id());
        Ok::<_, Broken>(rows.iter().sum::<u32>())
    });
    assert_eq!(sum.unwrap(), 3);
    assert_eq!(cache.get_or_compute("sum", || Err::<u32, _>(Broken("not asked"))).unwrap(), 3);
    assert_eq!(asked, [here]);
    assert_eq!(Rc::strong_count(&rows), 1);
}

#[test]
fn failure_reaches_all_who_wait_and_is_not_kept() {
    let (cache, (begun, has_begun), calls) = (cache(), channel(), AtomicUsize::new(0));
    let (compute, end) = held(begun, 0u32);
    let fail = || compute().and(Err::<u32, _>(Broken("down")));
    thread::scope(|scope| {
        let first = scope.spawn(|| cache.get_or_compute("key", fail));
        has_begun.recv_timeout(PATIENCE).unwrap();
        let others = [(); 3].map(|()| {
            scope.spawn(|| {
                calls.fetch_add(1, SeqCst);
                cache.get_or_compute("key", || Ok::<u32, Broken>(9))
            })
        });
        wait_until("they call", || calls.load(SeqCst) == 3);
        thread::sleep(Duration::from_millis(100));
        end.send(()).unwrap();
        for call in others.into_iter().chain([first]) {
            assert_eq!(call.join().unwrap().unwrap_err().failed(), Some(&Broken("down")));
        }
    });
    assert_eq!(cache.get_or_compute("key", || Ok::<_, Broken>(1u32)).unwrap(), 1);
}

#[test]
fn panic_is_one_of_its_caller_and_an_error_of_the_others() {
    let (cache, (begun, has_begun)) = (cache(), channel());
    let (compute, end) = held(begun, 0u32);
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let panics = || compute().map(|_: u32| -> u32 { std::panic::panic_any(String::from("no luck")) });
            catch_unwind(AssertUnwindSafe(|| cache.get_or_compute("key", panics)))
        });
        has_begun.recv_timeout(PATIENCE).unwrap();
        let second = scope.spawn(|| cache.get_or_compute("key", || Ok::<u32, Broken>(9)));
        thread::sleep(Duration::from_millis(100));
        end.send(()).unwrap();
        let payload = first.join().unwrap().unwrap_err();
        assert_eq!(payload.downcast_ref::<String>().unwrap(), "no luck");
        match second.join().unwrap() {
            Err(ComputeError::Panicked { message, .. }) => assert_eq!(&*message, "no luck"),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(cache.get_or_compute("key", || Ok::<_, Broken>(1u32)).unwrap(), 1);
}

#[test]
fn deadline_answers_others_at_once_and_its_caller_when_it_returns() {
    let (clock, (begun, has_begun)) = (ManualClock::new(), channel());
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone()));
    let cache = builder.deadline(Duration::from_secs(5)).build_blocking().unwrap();
    let (compute, end) = held(begun, 1u32);
    thread::scope(|scope| {
        let first = scope.spawn(|| cache.get_or_compute("key", compute));
        has_begun.recv_timeout(PATIENCE).unwrap();
        let second = scope.spawn(|| cache.get_or_compute("key", || Ok::<u32, Broken>(9)));
        // The flight, and both calls.
        wait_until("both wait", || clock.sleepers() >= 3);
        clock.advance(Duration::from_secs(5));
        assert!(matches!(second.join().unwrap(), Err(ComputeError::TimedOut)));
        assert!(!first.is_finished(), "a thread cannot be stopped");
        assert_eq!(cache.get_or_compute("key", || Ok::<_, Broken>(2u32)).unwrap(), 2);
        end.send(()).unwrap();
        assert!(matches!(first.join().unwrap(), Err(ComputeError::TimedOut)));
    });
    assert_eq!(cache.get::<u32>("key").unwrap(), Some(2));
}

#[test]
fn result_that_was_invalidated_meanwhile_is_returned_and_not_kept() {
    let cache = cache();
    let computed = cache.get_or_compute("key", || {
        cache.invalidate("key").unwrap();
        Ok::<_, Broken>(1u32)
    });
    assert_eq!(computed.unwrap(), 1);
    assert_eq!(cache.get::<u32>("key").unwrap(), None);
}

#[test]
fn computation_asks_for_other_keys_and_not_for_itself() {
    let cache = cache();
    let nested = cache.get_or_compute("a", || {
        let part = cache.get_or_compute("b", || Ok::<_, Broken>(1u32)).unwrap();
        let own = cache.get_or_compute("a", || Ok::<_, Broken>(1u32)).unwrap_err();
        assert!(own.to_string().contains("wait for itself"), "{own}");
        Ok::<_, Broken>(part + 1)
    });
    assert_eq!(nested.unwrap(), 2);
}

#[test]
fn rings_of_threads_are_found() {
    let (cache, both) = (cache(), Barrier::new(2));
    let ask = |one: &'static str, other: &'static str| {
        cache.get_or_compute(one, || {
            both.wait();
            let asked = cache.get_or_compute(other, || Ok::<_, Broken>(1u32));
            asked.map_err(|_| Broken("refused")).or(Ok::<_, Broken>(7))
        })
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| ask("b", "a"));
        assert!(ask("a", "b").is_ok());
        assert!(other.join().unwrap().is_ok());
    });
}

#[test]
fn key_that_cannot_be_used_is_computed_and_not_kept() {
    let cache = cache();
    for value in 1..3u32 {
        assert_eq!(cache.get_or_compute("", || Ok::<_, Broken>(value)).unwrap(), value);
    }
}
