//! The manual clock.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use cachekit::Clock;
use cachekit::testing::ManualClock;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn wall_and_ticks_start_where_documented_and_move_together() {
    let clock = ManualClock::new();
    assert_eq!((clock.wall(), clock.ticks()), (1_735_689_600_000, 0));
    clock.advance(Duration::from_millis(1_500));
    assert_eq!((clock.wall(), clock.ticks()), (1_735_689_601_500, 1_500));
    assert_eq!(clock.clone().ticks(), 1_500, "clones share the time");
}

#[test]
fn steps_below_a_millisecond_add_up() {
    let clock = ManualClock::new();
    for _ in 0..3 {
        clock.advance(Duration::from_micros(400));
    }
    assert_eq!((clock.wall(), clock.ticks()), (ManualClock::START + 1, 1));
}

#[test]
fn the_wall_jumps_alone() {
    let clock = ManualClock::new();
    let bell = Arc::new(Bell::default());
    let mut sleep = clock.sleep(seconds(10));
    let waker = Waker::from(Arc::clone(&bell));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    clock.set_wall(5_000);
    assert_eq!((clock.wall(), clock.ticks(), bell.rings(), clock.sleepers()), (5_000, 0, 0, 1));
    clock.advance(seconds(1));
    assert_eq!((clock.wall(), clock.ticks(), bell.rings()), (6_000, 1_000, 0));
    clock.set_wall(u64::MAX);
    clock.advance(seconds(9));
    assert_eq!((clock.wall(), bell.rings()), (u64::MAX, 1));
}

#[test]
fn a_sleep_ends_when_enough_has_passed_and_not_before() {
    let clock = ManualClock::new();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let context = &mut Context::from_waker(&waker);
    let mut sleep = clock.sleep(seconds(10));
    assert!(sleep.as_mut().poll(context).is_pending());
    clock.advance(seconds(10) - Duration::from_nanos(1));
    assert!(sleep.as_mut().poll(context).is_pending());
    assert_eq!((bell.rings(), clock.sleepers()), (0, 1));
    clock.advance(Duration::from_nanos(1));
    assert_eq!((bell.rings(), clock.sleepers()), (1, 0));
    assert!(sleep.as_mut().poll(context).is_ready());
}

#[test]
fn a_sleep_counts_from_its_call() {
    let clock = ManualClock::new();
    let context = &mut Context::from_waker(Waker::noop());
    assert!(clock.sleep(Duration::ZERO).as_mut().poll(context).is_ready());
    let mut sleep = clock.sleep(seconds(1));
    clock.advance(seconds(1));
    assert!(sleep.as_mut().poll(context).is_ready(), "time passed between the call and the first poll");
    assert_eq!(clock.sleepers(), 0);
}

#[test]
fn the_last_waker_is_the_one_woken() {
    let clock = ManualClock::new();
    let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
    let mut sleep = clock.sleep(seconds(1));
    for bell in &bells {
        let waker = Waker::from(Arc::clone(bell));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(clock.sleepers(), 1);
    clock.advance(seconds(1));
    assert_eq!((bells[0].rings(), bells[1].rings()), (0, 1));
}

#[test]
fn dropped_sleepers_leave_nothing_behind() {
    let clock = ManualClock::new();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    for _ in 0..10_000 {
        let mut sleep = clock.sleep(seconds(1));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(clock.sleepers(), 1);
    }
    assert_eq!(clock.sleepers(), 0);
    drop(waker);
    assert_eq!(Arc::strong_count(&bell), 1, "no waker is kept");
    clock.advance(seconds(2));
    assert_eq!(bell.rings(), 0);
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    struct Note(u64, Arc<Mutex<Vec<u64>>>);
    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let clock = ManualClock::new();
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut sleeps: Vec<_> = [3, 1, 2, 9].map(|at| (at, clock.sleep(seconds(at)))).into();
    for (at, sleep) in &mut sleeps {
        let waker = Waker::from(Arc::new(Note(*at, Arc::clone(&woken))));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    clock.advance(seconds(5));
    assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
    assert_eq!(clock.sleepers(), 1);
}

#[test]
fn the_longest_sleep_neither_overflows_nor_ends() {
    let clock = ManualClock::new();
    clock.advance(seconds(1));
    let mut sleep = clock.sleep(Duration::MAX);
    let context = &mut Context::from_waker(Waker::noop());
    assert!(sleep.as_mut().poll(context).is_pending());
    clock.advance(seconds(1 << 40));
    assert_eq!(sleep.as_mut().poll(context), Poll::Pending);
    clock.advance(Duration::MAX);
    assert_eq!(sleep.as_mut().poll(context), Poll::Ready(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_sleepers_on_many_threads_all_wake() {
    let clock = ManualClock::new();
    let sleepers: Vec<_> = (0..1_000_u64)
        .map(|i| {
            let clock = clock.clone();
            tokio::spawn(async move {
                clock.sleep(seconds(1 + i % 10)).await;
                clock.ticks()
            })
        })
        .collect();
    clock.wait_for_sleepers(1_000).await;
    for second in 1..=10_u64 {
        clock.advance(seconds(1));
        assert_eq!(clock.sleepers() as u64, 1_000 - second * 100);
    }
    for (i, sleeper) in sleepers.into_iter().enumerate() {
        assert!(sleeper.await.unwrap() >= (1 + i as u64 % 10) * 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_threads() {
    let clock = ManualClock::new();
    for _ in 0..500 {
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(seconds(1)).await }
        });
        // The first step races with the first poll; a sleeper that missed it shows up, and needs one more.
        clock.advance(seconds(1));
        tokio::spawn({
            let (clock, sleeper) = (clock.clone(), sleeper.abort_handle());
            async move {
                while !sleeper.is_finished() && clock.sleepers() == 0 {
                    tokio::task::yield_now().await;
                }
                clock.advance(seconds(1));
            }
        });
        sleeper.await.unwrap();
        assert_eq!(clock.sleepers(), 0);
    }
}

#[tokio::test]
async fn waiting_for_sleepers_ends_at_once_when_enough_sleep() {
    let clock = ManualClock::new();
    clock.wait_for_sleepers(0).await;
    let mut sleeps: Vec<_> = (0..3).map(|_| clock.sleep(seconds(1))).collect();
    for sleep in &mut sleeps {
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    clock.wait_for_sleepers(3).await;
    sleeps.pop();
    let mut wait = Box::pin(clock.wait_for_sleepers(3));
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
