//! Leases whose answer was lost.

use std::time::{Duration, Instant};

use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Clock, Operation};

use super::{assert_soon, memory, pass_time, timed};
use harness::support::Broken;

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_given_back() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let (one, two) = (timed(chaos, &clock), timed(memory, &clock));
    assert_eq!(one.get::<u32>("warm").await.unwrap(), None);
    control.inject_next(1, Operation::Lease, Fault::FailAfter);
    assert_eq!(one.get_or_compute("key", || async { Ok::<u32, Broken>(1) }).await.unwrap(), 1);
    let begun = clock.ticks();
    let other = tokio::spawn(async move { two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await });
    pass_time(&clock, || other.is_finished()).await;
    assert_eq!(other.await.unwrap().unwrap(), 2);
    assert!(clock.ticks() - begun < 100, "waited {} ms", clock.ticks() - begun);
}

#[tokio::test]
async fn it_is_given_back_again_until_that_works() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let chaos = Chaos::new(memory.clone());
    let control = chaos.control();
    let (one, two) = (timed(chaos, &clock), timed(memory, &clock));
    assert_eq!(one.get::<u32>("warm").await.unwrap(), None);
    control.inject_next(1, Operation::Lease, Fault::FailAfter);
    let first = one.get_or_compute("key", || async { Ok::<u32, Broken>(1) });
    assert_eq!(first.await.unwrap(), 1);
    control.inject_next(1, Operation::Lease, Fault::Refuse);
    let begun = clock.ticks();
    let other = tokio::spawn(async move { two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await });
    pass_time(&clock, || other.is_finished()).await;
    assert_eq!(other.await.unwrap().unwrap(), 2);
    assert!(clock.ticks() - begun < 500, "waited {} ms", clock.ticks() - begun);
    pass_time(&clock, || one.pending() == 0).await;
}

#[tokio::test]
async fn no_lock_is_left_behind_by_a_pause_of_redis() {
    use cachekit::backends::Redis;
    use cachekit::{CacheBuilder, Intent, Settings};

    use crate::servers::{Server, eventually};

    let server = Server::start();
    let build = || {
        let mut settings = Settings::default();
        settings.operation_timeout = Some(Duration::from_millis(300));
        settings.adaptive_timeout_enabled = Some(false);
        settings.retries = Some(0);
        // Long, so that no lock ends by itself while the test looks.
        settings.lease_hold = Some(Duration::from_secs(60));
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("n").settings(settings);
        builder.backend(Redis::from_url(&server.url()).unwrap()).build().unwrap()
    };
    let (one, two) = (build(), build());
    for cache in [&one, &two] {
        cache.get_or_compute("warm", || async { Ok::<u32, Broken>(1) }).await.unwrap();
    }
    let calls: Vec<_> = (0..100u32)
        .map(|key| {
            let cache = one.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(u64::from(key) * 4)).await;
                cache.get_or_compute(key, || async { Ok::<u32, Broken>(1) }).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.cli(&["CLIENT", "PAUSE", "600"]);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    eventually("no lock is left", async || server.cli(&["KEYS", "n:*:lock"]).trim().is_empty()).await;
    let since = Instant::now();
    for key in 0..100u32 {
        two.get_or_compute(key, || async { Ok::<u32, Broken>(2) }).await.unwrap();
    }
    assert_soon(since);
}
