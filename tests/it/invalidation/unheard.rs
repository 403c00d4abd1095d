//! A bus that opens slowly, fails, reports a gap, or whose reader is not driven: what L1 serves then, and what is stored
//! meanwhile.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cachekit::testing::ChaosControl;
use tokio::runtime::{Builder, Runtime};

use super::*;

const STEP: Duration = Duration::from_millis(10);
/// How long L1 is believed unheard, and a bit.
const BELIEF: Duration = Duration::from_millis(3_200);

type Flaky = Pages<Chaos<Memory>>;

/// A cache over a backend that fails on demand, what it tells, and its neighbour on the same server.
fn flaky(clock: &ManualClock) -> (Flaky, Pages<Memory>, ChaosControl, Arc<Journal>) {
    let (memory, journal) = (memory(clock), Arc::<Journal>::default());
    let chaos = Chaos::with_clock(memory.clone(), Arc::new(clock.clone()));
    let control = chaos.control();
    let cache = builder(clock, chaos).observer(Arc::<Journal>::clone(&journal)).build().unwrap();
    (cache, pages(clock, memory), control, journal)
}

/// Lets time pass in steps that tasks can follow.
async fn pass(clock: &ManualClock, time: Duration) {
    for _ in 0..time.as_millis() / STEP.as_millis() {
        clock.advance(STEP);
        settle().await;
    }
}

fn warnings(journal: &Journal) -> usize {
    journal.count(|note| matches!(note, Note::Warning(_)))
}

#[tokio::test]
async fn bus_failure_limits_l1_to_three_seconds_and_warns_once() {
    for from_the_start in [true, false] {
        let clock = ManualClock::new();
        let (cache, other, control, journal) = flaky(&clock);
        if from_the_start {
            control.inject(Operation::Receive, Fault::Refuse);
        }
        cache.set("home", 1u32).await.unwrap();
        control.inject(Operation::Receive, Fault::Refuse);
        // What waits for messages already is answered once more.
        pass(&clock, Duration::from_millis(700)).await;
        other.set("home", 2u32).await.unwrap();
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1), "nobody told it");
        pass(&clock, BELIEF).await;
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(2));
        pass(&clock, BELIEF * 3).await;
        assert_eq!(warnings(&journal), 1, "{:?}", journal.notes());
        // Once it was well it is told anew.
        control.heal();
        pass(&clock, BELIEF).await;
        let reads = control.count(Operation::Get);
        for _ in 0..5 {
            pass(&clock, BELIEF).await;
            assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(2));
        }
        assert!(control.count(Operation::Get) <= reads + 2, "while it is heard L1 is believed");
        control.inject(Operation::Receive, Fault::Refuse);
        pass(&clock, BELIEF * 2).await;
        assert_eq!(warnings(&journal), 2);
    }
}

#[tokio::test]
async fn what_passes_at_once_is_no_warning() {
    let clock = ManualClock::new();
    let (cache, _, control, journal) = flaky(&clock);
    cache.set("home", 1u32).await.unwrap();
    for _ in 0..10 {
        control.inject_next(2, Operation::Receive, Fault::Refuse);
        pass(&clock, Duration::from_secs(2)).await;
    }
    assert!(journal.count(|note| matches!(note, Note::BackendFailed(Operation::Receive, _))) >= 10);
    assert_eq!(warnings(&journal), 0);
}

#[tokio::test]
async fn idle_runtime_loses_no_hits_if_the_bus_has_no_messages() {
    let clock = ManualClock::new();
    let (cache, other, control, _) = flaky(&clock);
    cache.set("home", 1u32).await.unwrap();
    settle().await;
    let reads = control.count(Operation::Get);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(60));
        assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(1));
    }
    assert_eq!(control.count(Operation::Get), reads);
    other.set("home", 2u32).await.unwrap();
    clock.advance(BELIEF);
    assert_eq!(cache.get::<u32>("home").await.unwrap(), Some(2));
}

/// A thread with a runtime of its own, driven only while it is asked to do something.
struct Worker(mpsc::Sender<Work>, thread::JoinHandle<()>);

type Work = Box<dyn FnOnce(&Runtime) + Send>;

impl Worker {
    fn new() -> Self {
        let (ask, asked) = mpsc::channel::<Work>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            asked.into_iter().for_each(|work| work(&runtime));
        });
        Self(ask, thread)
    }

    /// Ends the runtime.
    fn end(self) {
        drop(self.0);
        self.1.join().unwrap();
    }

    fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        self.0.send(Box::new(move |runtime| tell.send(runtime.block_on(work)).unwrap())).unwrap();
        told.recv().unwrap()
    }
}

/// The reader is on a runtime that is parked, or gone.
#[test]
fn a_reader_that_is_not_driven_is_replaced_by_one_that_is() {
    for gone in [false, true] {
        let clock = ManualClock::new();
        let (cache, other, _, journal) = flaky(&clock);
        let (first, second) = (Worker::new(), Worker::new());
        let get = |worker: &Worker| {
            let cache = cache.clone();
            worker.run(async move {
                let found = cache.get::<u32>("home").await.unwrap();
                settle().await;
                found
            })
        };
        let set = |value: u32| {
            let other = other.clone();
            Worker::new().run(async move { other.set("home", value).await.unwrap() });
        };
        set(1);
        assert_eq!(get(&first), Some(1), "the reader is on this runtime");
        let parked = if gone {
            first.end();
            None
        } else {
            Some(first)
        };
        set(2);
        clock.advance(BELIEF);
        assert_eq!(get(&second), Some(2), "L1 is not believed");
        set(3);
        // The reader is on the second runtime now, which turns while it is asked for anything.
        let begun = Instant::now();
        while get(&second) != Some(3) {
            assert!(begun.elapsed() < Duration::from_secs(20), "gone: {gone}");
        }
        assert_eq!(warnings(&journal), usize::from(!gone), "{:?}", journal.notes());
        // The first one ends by itself, and takes nothing back.
        if let Some(first) = parked {
            set(4);
            let begun = Instant::now();
            while get(&second) != Some(4) || get(&first) != Some(4) {
                assert!(begun.elapsed() < Duration::from_secs(20));
            }
            assert_eq!(warnings(&journal), 1);
        }
    }
}

/// What is stored in the first moments of a process over a more or less long way to the server.
#[tokio::test]
async fn what_is_stored_while_the_bus_opens_is_there_afterwards() {
    for delay in [0, 30, 60, 120, 250, 500] {
        let clock = ManualClock::new();
        let (cache, other, control, journal) = flaky(&clock);
        control.inject_all(Fault::Slow(Duration::from_millis(delay)));
        let work = tokio::spawn({
            let cache = cache.clone();
            async move {
                cache.set("plain", 1u32).await.unwrap();
                cache.entry("tagged").tags(["t"]).set(2u32).await.unwrap();
                cache.get_or_compute("filled", || async { Ok::<_, Broken>(3u32) }).await.unwrap();
            }
        });
        while !work.is_finished() {
            pass(&clock, STEP).await;
        }
        work.await.unwrap();
        control.heal();
        pass(&clock, Duration::from_secs(4)).await;
        for (key, value) in [("plain", 1), ("tagged", 2), ("filled", 3)] {
            assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(value), "{key} here, {delay} ms");
            assert_eq!(other.get::<u32>(key).await.unwrap(), Some(value), "{key} there, {delay} ms");
        }
        assert_eq!(journal.count(|note| *note == Note::Fenced), 0, "{delay} ms");
        other.invalidate_tag("t").await.unwrap();
        settle().await;
        assert_eq!(other.get::<u32>("tagged").await.unwrap(), None);
    }
}

/// The gap comes while the value is on its way to the backend.
#[tokio::test]
async fn value_stored_while_the_bus_reports_a_gap_is_kept() {
    let clock = ManualClock::new();
    let (cache, other, control, _) = flaky(&clock);
    cache.get::<u32>("nothing").await.unwrap();
    settle().await;
    let closed = control.gate(Operation::Receive);
    pass(&clock, Duration::from_secs(2)).await;
    let slow = Slow::new();
    let fill = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { cache.get_or_compute("filled", move || slow.run(Ok(1u32))).await.unwrap() }
    });
    slow.wait_for_start().await;
    let writes = control.gate(Operation::Get);
    let sets = ["plain", "tagged"].map(|key| {
        let cache = cache.clone();
        tokio::spawn(async move { cache.entry(key).tags(["t"]).set(1u32).await })
    });
    settle().await;
    for _ in 0..11_000 {
        other.invalidate("else").await.unwrap();
    }
    closed.open();
    until("the gap is heard", async || cache.stats().gaps > 0).await;
    slow.finish(1);
    writes.open();
    for set in sets {
        set.await.unwrap().unwrap();
    }
    assert_eq!(fill.await.unwrap(), 1);
    until("everything is written", async || cache.pending() == 0).await;
    for key in ["plain", "tagged", "filled"] {
        assert_eq!(other.get::<u32>(key).await.unwrap(), Some(1), "{key} there");
        assert_eq!(cache.get::<u32>(key).await.unwrap(), Some(1), "{key} here");
    }
}
