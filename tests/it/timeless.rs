//! Runtimes that were built without time.

use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::{Cache, CacheBuilder, ComputeError, Error, ErrorKind, Intent};

use harness::support::Broken;

fn timeless() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("enable_time") && error.to_string().contains("enable_all"), "{error}");
}

async fn load<B: cachekit::Backend, C: cachekit::Codec>(cache: &Cache<B, C>, key: &str) -> Result<u32, Error> {
    let compute = || async {
        // Long enough to need a deadline.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        Ok::<u32, Broken>(1)
    };
    cache.get_or_compute(key, compute).await.map_err(|error| match error {
        ComputeError::Cache(error) => error,
        other => panic!("{other:?}"),
    })
}

#[test]
fn hits_are_answered_and_what_may_wait_is_an_error() {
    let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build().unwrap();
    let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    timed.block_on(async { cache.set("present", 7u32).await }).unwrap();
    timeless().block_on(async {
        assert_eq!(load(&cache, "present").await.unwrap(), 7);
        assert_eq!(cache.get::<u32>("present").await.unwrap(), Some(7));
        refused(load(&cache, "absent").await);
        refused(cache.get::<u32>("absent").await);
        refused(cache.set("absent", 1u32).await);
        refused(cache.invalidate("present").await);
        refused(cache.invalidate_tag("tag").await);
        refused(cache.exists("absent").await);
        refused(cache.ping().await);
    });
    assert_eq!(timed.block_on(load(&cache, "absent")).unwrap(), 1, "the cache is as it was");
    timed.block_on(cache.close(Duration::from_secs(60))).unwrap();
}

#[test]
fn without_a_backend_only_computations_need_time() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    timeless().block_on(async {
        cache.set("key", 1u32).await.unwrap();
        assert_eq!(load(&cache, "key").await.unwrap(), 1);
        refused(load(&cache, "other").await);
        cache.invalidate("key").await.unwrap();
        assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
        cache.close(Duration::from_secs(60)).await.unwrap();
    });
}

#[test]
fn stale_value_is_served_but_not_renewed_without_a_timer() {
    let clock = cachekit::testing::ManualClock::new();
    let cache = CacheBuilder::new()
        .intent(Intent::Minimal)
        .clock(std::sync::Arc::new(Timeless(clock.clone())))
        .swr_enabled(true)
        .ttl(Duration::from_secs(100))
        .build()
        .unwrap();
    timeless().block_on(async {
        cache.set("key", 7u32).await.unwrap();
        clock.advance(Duration::from_secs(60));
        assert_eq!(load(&cache, "key").await.unwrap(), 7);
        tokio::task::yield_now().await;
        assert_eq!((cache.pending(), cache.get::<u32>("key").await.unwrap()), (0, Some(7)));
    });
}

/// A clock on which nothing can sleep.
#[derive(Debug)]
struct Timeless(cachekit::testing::ManualClock);

impl cachekit::Clock for Timeless {
    fn wall(&self) -> u64 {
        self.0.wall()
    }
    fn ticks(&self) -> u64 {
        self.0.ticks()
    }
    fn can_sleep(&self) -> bool {
        false
    }
    fn sleep(&self, _: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        panic!("it cannot sleep");
    }
}
