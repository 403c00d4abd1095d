//! Computations that take longer than a lease holds.

use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{Cache, Operation};

use super::{memory, pass_time, timed};
use harness::support::{Broken, Slow, settle};

async fn begin<B: cachekit::Backend>(cache: &Cache<B, Postcard>) -> Slow {
    let slow = Slow::new();
    let (cache, computation) = (cache.clone(), slow.clone());
    tokio::spawn(async move { cache.get_or_compute("key", move || computation.run(Ok(1u32))).await });
    slow.wait_for_start().await;
    slow
}

#[tokio::test]
async fn work_of_fifty_seconds_is_stored() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (timed(memory.clone(), &clock), timed(memory, &clock));
    let slow = begin(&one).await;
    let mut steps = 0;
    pass_time(&clock, || {
        steps += 1;
        steps > 4_900
    })
    .await;
    slow.finish(1);
    settle().await;
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(1));
    assert_eq!((one.stats().fenced, one.stats().computations), (0, 1));
}

#[tokio::test]
async fn caller_past_its_lease_wait_leaves_the_store_to_the_holder() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (timed(memory.clone(), &clock), timed(memory.clone(), &clock));
    let slow = begin(&one).await;
    let other = tokio::spawn(async move { two.get_or_compute("key", || async { Ok::<u32, Broken>(2) }).await });
    pass_time(&clock, || other.is_finished()).await;
    assert_eq!(other.await.unwrap().unwrap(), 2);
    settle().await;
    assert!(memory.is_empty());
    slow.finish(1);
    settle().await;
    assert_eq!(one.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
}

#[tokio::test]
async fn lease_renewal_that_fails_once_is_retried_before_it_ends() {
    let clock = ManualClock::new();
    let chaos = Chaos::new(memory(&clock));
    let control = chaos.control();
    let cache = timed(chaos, &clock);
    let slow = begin(&cache).await;
    for _ in 0..5 {
        control.inject_next(1, Operation::Lease, Fault::Refuse);
        let mut steps = 0;
        pass_time(&clock, || {
            steps += 1;
            steps > 150
        })
        .await;
    }
    slow.finish(1);
    settle().await;
    assert_eq!(cache.entry("key").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_lease_that_another_process_ended_is_not_taken_anew() {
    let clock = ManualClock::new();
    let memory = memory(&clock);
    let (one, two) = (timed(memory.clone(), &clock), timed(memory.clone(), &clock));
    let slow = begin(&one).await;
    two.invalidate("key").await.unwrap();
    let mut steps = 0;
    pass_time(&clock, || {
        steps += 1;
        steps > 300
    })
    .await;
    slow.finish(1);
    settle().await;
    assert!(memory.is_empty(), "the value is of before the invalidation");
    assert_eq!(one.stats().fenced, 1);
}

async fn outlives_its_lease<B: cachekit::Backend + Clone>(backend: B) {
    let build = || {
        let mut settings = cachekit::Settings::default();
        settings.lease_hold = Some(Duration::from_millis(1_500));
        let builder = cachekit::CacheBuilder::new().intent(cachekit::Intent::Production).settings(settings);
        builder.namespace("long").backend(backend.clone()).build().unwrap()
    };
    let (one, two) = (build(), build());
    let compute = || async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        Ok::<u32, Broken>(1)
    };
    assert_eq!(one.entry("key").wait_for_write(true).get_or_compute(compute).await.unwrap(), 1);
    let said = (one.stats(), one.health().await);
    assert_eq!(two.get::<u32>("key").await.unwrap(), Some(1), "{said:?}, {:?}", two.stats());
}

#[tokio::test]
async fn work_longer_than_a_lease_is_stored_in_memory() {
    outlives_its_lease(Memory::new(1 << 20)).await;
}

#[tokio::test]
async fn work_longer_than_a_lease_is_stored_in_redis() {
    let server = crate::servers::Server::start();
    outlives_its_lease(cachekit::backends::Redis::from_url(&server.url()).unwrap()).await;
}

#[tokio::test]
async fn work_longer_than_a_lease_is_stored_in_memcached() {
    let server = crate::servers::Memcached::start();
    outlives_its_lease(cachekit::backends::Memcached::from_servers([server.address()]).unwrap()).await;
}

#[tokio::test]
async fn work_longer_than_a_lease_is_stored_in_files() {
    let directory = tempfile::tempdir().unwrap();
    let limits = cachekit::FileLimits::default();
    outlives_its_lease(cachekit::backends::File::open(directory.path().to_owned(), limits).unwrap()).await;
}
