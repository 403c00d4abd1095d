//! What observers learn of computations, and what an observer cannot break.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::NoBackend;
use cachekit::codec::Json;
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Event, Observer, Tracing};

use crate::intents::{heard, listen};
use harness::support::{Broken, settle};

/// Writes down how computations fail, and how long they take.
#[derive(Debug, Default)]
struct Failures {
    told: Mutex<Vec<(String, bool)>>,
    took: Mutex<Vec<Duration>>,
}

impl Observer for Failures {
    fn event(&self, event: &Event<'_>) {
        if let Event::Computed { failure, hidden, elapsed, succeeded, .. } = event {
            assert_eq!(failure.is_none(), *succeeded);
            self.took.lock().unwrap().push(*elapsed);
            if let Some(failure) = failure {
                let own = failure.error::<Broken>().map(|Broken(what)| *what);
                let kind = match (failure.panic(), failure.timed_out(), own) {
                    (Some(message), ..) => format!("panic: {message}"),
                    (None, true, _) => "late".to_owned(),
                    (None, false, Some(what)) => format!("own: {what}"),
                    (None, false, None) => format!("{failure:#}"),
                };
                self.told.lock().unwrap().push((kind, *hidden));
            }
        }
    }
}

impl Failures {
    fn told(&self) -> Vec<(String, bool)> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

fn observed() -> (Cache<NoBackend, Json>, Arc<Failures>, ManualClock) {
    let (failures, clock) = (Arc::new(Failures::default()), ManualClock::new());
    let builder = CacheBuilder::new().intent(cachekit::Intent::Minimal).codec(Json).l1_only();
    let builder = builder.clock(Arc::new(clock.clone())).observer(Arc::clone(&failures) as _);
    let builder = builder.ttl(Duration::from_secs(100)).swr_enabled(true).swr_threshold_ratio(0.5).jitter(false);
    (builder.deadline(Duration::from_secs(9)).build().unwrap(), failures, clock)
}

fn one(kind: &str, hidden: bool) -> [(String, bool); 1] {
    [(kind.to_owned(), hidden)]
}

#[tokio::test]
async fn they_learn_why_a_computation_failed() {
    let (cache, failures, clock) = observed();
    let _ = cache.get_or_compute("key", || async { Err::<u8, _>(Broken("down")) }).await;
    assert_eq!(failures.told(), one("own: down", false));
    let _ = cache.get_or_compute("key", || async { Err::<u8, _>(anyhow::anyhow!("disk").context("load")) }).await;
    assert_eq!(failures.told(), one("load: disk", false));
    let _ = cache.get_or_compute("key", || async { Err::<u8, _>("text") }).await;
    assert_eq!(failures.told(), one("text", false));
    let _ = cache.get_or_compute("key", || async { Err::<u8, _>([7u8]) }).await;
    assert_eq!(failures.told(), one("an error of the type [u8; 1]", false));
    let boom = || async { panic!("a computation panics, as this test wants") };
    let _ = cache.get_or_compute::<u8, Broken, _, _>("key", boom).await;
    assert_eq!(failures.told(), one("panic: a computation panics, as this test wants", false));
    let never = cache.get_or_compute("key", || async { std::future::pending::<Result<u8, Broken>>().await });
    let pass = async {
        // The caller, and the computation.
        clock.wait_for_sleepers(2).await;
        clock.advance(Duration::from_secs(60));
    };
    let (late, ()) = tokio::join!(never, pass);
    assert!(late.is_err());
    settle().await;
    assert_eq!(failures.told(), one("late", false));
}

#[tokio::test]
async fn they_learn_of_a_renewal_that_fails_behind_a_stale_answer() {
    let (cache, failures, clock) = observed();
    cache.set("key", 1u8).await.unwrap();
    clock.advance(Duration::from_secs(60));
    let stale: u8 = cache.get_or_compute("key", || async { Err(Broken("down")) }).await.unwrap();
    assert_eq!(stale, 1);
    settle().await;
    assert_eq!(failures.told(), one("own: down", true));
}

#[tokio::test]
async fn computations_are_timed_to_the_microsecond() {
    let (cache, failures, clock) = observed();
    let advance = clock.clone();
    let compute = || async move {
        advance.advance(Duration::from_micros(1_234));
        Ok::<u8, Broken>(1)
    };
    cache.get_or_compute("key", compute).await.unwrap();
    assert_eq!(*failures.took.lock().unwrap(), [Duration::from_micros(1_234)]);

    let failures = Arc::new(Failures::default());
    let real = CacheBuilder::new().l1_only().observer(Arc::clone(&failures) as _).build().unwrap();
    real.get_or_compute("key", || async { Ok::<u8, Broken>(1) }).await.unwrap();
    let took = failures.took.lock().unwrap()[0];
    assert!(took > Duration::ZERO && took.subsec_nanos() % 1_000_000 != 0, "whole milliseconds: {took:?}");
}

#[tokio::test]
async fn tracing_warns_of_a_failure_that_no_caller_hears_of() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(cachekit::Intent::Minimal).tracing(Tracing::On).jitter(false);
    let builder = builder.clock(Arc::new(clock.clone())).ttl(Duration::from_secs(100)).swr_enabled(true);
    let cache = builder.build().unwrap();
    listen();
    assert!(cache.get_or_compute("key", || async { Err::<u8, _>("refused") }).await.is_err());
    assert_eq!(heard(), "", "the caller knows");
    cache.set("key", 1u8).await.unwrap();
    clock.advance(Duration::from_secs(60));
    listen();
    let fails = || async { Err(anyhow::anyhow!("disk").context("load")) };
    assert_eq!(cache.get_or_compute::<u8, _, _, _>("key", fails).await.unwrap(), 1);
    settle().await;
    let told = heard();
    assert!(told.contains("WARN") && told.contains("computation failed") && told.contains("load: disk"), "{told}");
    assert!(!told.contains("default:key"), "no raw key: {told}");
}

/// Panics at everything it hears.
#[derive(Debug, Default)]
struct Nervous(AtomicUsize);

impl Observer for Nervous {
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, SeqCst);
        panic!("an observer panics, as this test wants");
    }
}

/// Writes down warnings.
#[derive(Debug, Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push((*message).to_owned());
        }
    }
}

#[tokio::test]
async fn one_that_panics_breaks_no_call_and_is_told_of_once() {
    let (nervous, warnings) = (Arc::new(Nervous::default()), Arc::new(Warnings::default()));
    let builder = CacheBuilder::new().l1_only().observer(Arc::clone(&nervous) as _);
    let cache = builder.observer(Arc::clone(&warnings) as _).build().unwrap();
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u8, Broken>(1) }).await.unwrap(), 1);
    assert_eq!(cache.get_or_compute("key", || async { Ok::<u8, Broken>(2) }).await.unwrap(), 1, "from L1");
    cache.set("key", 3u8).await.unwrap();
    cache.invalidate("key").await.unwrap();
    let failed = cache.get_or_compute("key", || async { Err::<u8, _>(Broken("down")) }).await.unwrap_err();
    assert_eq!(failed.to_string(), "down", "the error is that of the computation");
    assert_eq!((cache.stats().calls(), cache.stats().l1_hits, cache.stats().computations), (3, 1, 1));
    let warned = warnings.0.lock().unwrap();
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("an observer panicked") && warned[0].contains("as this test wants"), "{warned:?}");
    assert!(nervous.0.load(SeqCst) >= 5, "it goes on being told");
}

#[tokio::test]
async fn counters_have_names_and_add_up() {
    let cache = CacheBuilder::new().namespace("users").build().unwrap();
    let users = cache.domain("users").unwrap();
    let call = async |key: u32| users.get_or_compute(key, move || async move { Ok::<_, Broken>(key) }).await.unwrap();
    call(1).await;
    let before = cache.stats();
    assert_eq!(users.get::<u32>(7u32).await.unwrap(), None);
    assert!(users.get_or_compute(8u32, || async { Err::<u32, _>(Broken("down")) }).await.is_err());
    for key in [1, 1, 2, 1] {
        call(key).await;
    }
    let since = cache.stats() - before;
    let counted: Vec<(&str, u64)> = since.iter().filter(|(_, count)| *count > 0).collect();
    let expected = [
        ("l1_hits", 3),
        ("computed", 1),
        ("absent", 1),
        ("failed", 1),
        ("computations", 1),
        ("computations_failed", 1),
        ("missed_new", 3),
    ];
    assert_eq!(counted, expected);
    assert_eq!((since.calls(), since.hit_ratio()), (6, Some(0.5)));
    assert_eq!(before + since, cache.stats());
    let outcomes = since.iter().take(7).map(|(_, count)| count).sum::<u64>();
    assert_eq!(outcomes, since.calls(), "the outcomes come first, and each call has one");
    assert_eq!(
        since.iter().count(),
        cache.stats().iter().map(|(name, _)| name).collect::<std::collections::HashSet<_>>().len()
    );
}
