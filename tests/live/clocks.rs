//! Clocks that are wrong: what one of them dated ends with its TTL, in every process.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{File, Memcached, Memory, Redis};
use cachekit::codec::Checked;
use cachekit::testing::ManualClock;
use cachekit::{
    Backend, Cache, CacheBuilder, Clock, Error, ErrorKind, FileLimits, Intent, Key, MemcachedSettings, RedisSettings,
    SystemClock,
};

use crate::servers;
use harness::support::{Broken, forward, settle};

type Postcard = Checked<cachekit::codec::Postcard>;

/// The same time, on a wall clock that is ahead by so many seconds.
#[derive(Debug, Clone)]
struct Ahead<K>(K, i64);

impl<K: Clock> Clock for Ahead<K> {
    fn wall(&self) -> u64 {
        self.0.wall().saturating_add_signed(self.1 * 1_000)
    }
    fn ticks(&self) -> u64 {
        self.0.ticks()
    }
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.sleep(duration)
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TTL: u64 = 60;
const GRACE: u64 = 600;

fn builder<B: Backend>(
    backend: B,
    clock: impl Clock,
    ahead: i64,
) -> CacheBuilder<B, cachekit::codec::Postcard, Intent::Production> {
    CacheBuilder::new()
        .intent(Intent::Production)
        .backend(backend)
        .clock(Arc::new(Ahead(clock, ahead)))
        .ttl(secs(TTL))
        .stale_if_error(secs(GRACE))
        .swr_enabled(false)
        .jitter(false)
        .wait_for_write(true)
}

/// The process of a host whose clock is ahead by so many seconds.
fn host<B: Backend + Clone>(backend: &B, clock: &ManualClock, ahead: i64) -> Cache<B, Postcard> {
    builder(backend.clone(), clock.clone(), ahead).build().unwrap()
}

fn memory(clock: &ManualClock) -> Memory {
    Memory::with_clock(1 << 20, Arc::new(clock.clone()))
}

async fn load<B: Backend>(cache: &Cache<B, Postcard>, value: u32) -> u32 {
    cache.get_or_compute("key", move || async move { Ok::<_, Broken>(value) }).await.unwrap()
}

/// The last second, of every `step`, at which the entry that is there now is read as fresh.
async fn served_until<B: Backend>(cache: &Cache<B, Postcard>, clock: &ManualClock, step: u64, end: u64) -> u64 {
    let begun = clock.ticks();
    let mut last = 0;
    while (clock.ticks() - begun) / 1_000 < end {
        assert_eq!(cache.exists("key").await.unwrap(), cache.get::<u32>("key").await.unwrap().is_some());
        if cache.get::<u32>("key").await.unwrap().is_some() {
            last = (clock.ticks() - begun) / 1_000;
        }
        clock.advance(secs(step));
    }
    last
}

#[tokio::test]
async fn entry_ends_with_its_ttl_however_wrong_its_writers_clock_is() {
    for ahead in [0, 5, 300, 7_200, -5, -30, -300] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        load(&host(&backend, &clock, ahead), 1).await;
        let last = served_until(&host(&backend, &clock, 0), &clock, 1, TTL + GRACE).await;
        // One that is behind by no more than a write may take is believed, which ends the entry early.
        let early = if ahead == -5 { 5 } else { 0 };
        assert_eq!(last, TTL - 1 - early, "{ahead} s ahead");
    }
}

#[tokio::test]
async fn a_process_that_first_sees_an_entry_late_knows_its_age() {
    for (ahead, late) in [(300, 310), (5, 58), (7_200, 59), (-300, 30), (40, 61)] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        load(&host(&backend, &clock, ahead), 1).await;
        clock.advance(secs(late));
        let fresh = host(&backend, &clock, 0).get::<u32>("key").await.unwrap();
        assert_eq!(fresh, (late < TTL).then_some(1), "{ahead} s ahead, read after {late} s");
    }
}

#[tokio::test]
async fn the_grace_of_the_writer_counts_not_that_of_the_reader() {
    for grace in [0, 10, 86_400] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        let writer = builder(backend.clone(), clock.clone(), 7_200).stale_if_error(secs(grace)).build().unwrap();
        writer.entry("key").set(1u32).await.unwrap();
        let last = served_until(&host(&backend, &clock, 0), &clock, 1, 200).await;
        assert_eq!(last, TTL - 1, "kept {grace} s longer");
    }
}

#[tokio::test]
async fn entry_of_a_wrong_clock_stays_in_l1_for_its_remaining_life() {
    for ahead in [300, -300] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        load(&host(&backend, &clock, ahead), 1).await;
        clock.advance(secs(20));
        let here = host(&backend, &clock, 0);
        assert_eq!(here.get::<u32>("key").await.unwrap(), Some(1));
        clock.advance(secs(39));
        let from_l1 = here.entry("key").skip_l2_read().get::<u32>().await.unwrap();
        assert_eq!(from_l1, Some(1), "{ahead} s ahead");
        clock.advance(secs(1));
        assert_eq!(here.entry("key").skip_l2_read().get::<u32>().await.unwrap(), None, "{ahead} s ahead");
    }
}

#[tokio::test]
async fn hosts_whose_clocks_differ_take_each_others_entries() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        let build = |ahead| builder(backend.clone(), clock.clone(), ahead).l1_enabled(l1).build().unwrap();
        let hosts = [build(-300), build(0), build(300), build(-7_200)];
        let mut computed = 0;
        for _ in 0..50 {
            for host in &hosts {
                computed = load(host, computed + 1).await.max(computed);
            }
            clock.advance(Duration::from_millis(100));
        }
        assert_eq!(computed, 1, "L1: {l1}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_nothing_younger() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let backend = memory(&clock);
        let cache = builder(backend.clone(), clock.clone(), 0).l1_enabled(l1).build().unwrap();
        load(&cache, 1).await;
        clock.advance(secs(30));
        clock.set_wall(clock.wall() - 7_200_000);
        assert_eq!(cache.get::<u32>("key").await.unwrap(), Some(1));
        let restarted = host(&backend, &clock, 0);
        assert_eq!(restarted.get::<u32>("key").await.unwrap(), Some(1));
        assert_eq!(served_until(&cache, &clock, 1, 200).await, 29, "L1: {l1}");
        assert_eq!(restarted.get::<u32>("key").await.unwrap(), None);
    }
}

#[tokio::test]
async fn clocks_that_agree_cost_two_more_round_trips_a_minute() {
    let clock = ManualClock::new();
    let chaos = cachekit::testing::Chaos::new(memory(&clock));
    let control = chaos.control();
    let backend = Arc::new(chaos);
    let other = builder(Shared(Arc::clone(&backend)), clock.clone(), 0).namespace_index(false).build().unwrap();
    let here = builder(Shared(backend), clock.clone(), 0).namespace_index(false).build().unwrap();
    for key in 0..20u32 {
        other.set(key, key).await.unwrap();
    }
    let before = control.count(cachekit::Operation::Get);
    for key in 0..20u32 {
        assert_eq!(here.get::<u32>(key).await.unwrap(), Some(key));
    }
    let asked = control.count(cachekit::Operation::Get) - before;
    assert_eq!(asked, 22, "how much longer one is kept, and whether it is still that one");
    other.set("own", 1u32).await.unwrap();
    let before = control.count(cachekit::Operation::Get);
    assert_eq!(other.entry("own").skip_l1_read().get::<u32>().await.unwrap(), Some(1));
    assert_eq!(control.count(cachekit::Operation::Get) - before, 1, "its own entry");
}

/// One backend of several caches.
#[derive(Debug)]
struct Shared<B>(Arc<B>);

impl<B: Backend> Backend for Shared<B> {
    forward!(0: capabilities get set remove ttl get_many set_many remove_many part forget lease renew fill release ping bus);
}

/// Cannot tell how much longer it keeps what it has.
#[derive(Debug, Clone)]
struct Untold(Memory);

impl Backend for Untold {
    forward!(0: capabilities get set remove get_many set_many remove_many part forget lease renew fill release ping bus);

    async fn ttl(&self, _: &Key) -> Result<Option<Duration>, Error> {
        Err(Error::new(ErrorKind::Unsupported, "it does not count"))
    }
}

#[tokio::test]
async fn entry_of_unknown_age_ends_one_ttl_after_first_sight() {
    for l1 in [true, false] {
        let clock = ManualClock::new();
        let backend = Untold(memory(&clock));
        load(&host(&backend, &clock, 7_200), 1).await;
        let here = builder(backend, clock.clone(), 0).l1_enabled(l1).build().unwrap();
        let mut last = 0;
        for second in 0..TTL + GRACE {
            if here.get::<u32>("key").await.unwrap().is_some() {
                last = second;
            }
            clock.advance(secs(1));
        }
        assert_eq!(last, TTL - 1, "L1: {l1}");
    }
}

/// An entry of a clock that is two hours ahead is as old as the backend's own countdown says.
async fn counts_down<B: Backend + Clone>(backend: B) {
    let ahead = builder(backend.clone(), SystemClock, 7_200).build().unwrap();
    let here = builder(backend.clone(), SystemClock, 0).l1_enabled(false).build().unwrap();
    ahead.set("key", 1u32).await.unwrap();
    let key = Key::new("default", "key").unwrap();
    for (age, found) in [(5, Some(1)), (70, None)] {
        let bytes = backend.get(&key).await.unwrap().unwrap();
        backend.set(&key, bytes, secs(TTL + GRACE - age)).await.unwrap();
        assert_eq!(here.get::<u32>("key").await.unwrap(), found, "{age} s old");
    }
    settle().await;
    for cache in [ahead, here] {
        cache.close(secs(60)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_backend_says_how_old_an_entry_is() {
    let redis = servers::Server::start();
    let mut settings = RedisSettings::new(&redis.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (secs(30), secs(30));
    counts_down(Redis::new(settings).unwrap()).await;
    let memcached = servers::Memcached::start();
    let mut settings = MemcachedSettings::new([memcached.address()]);
    (settings.timeout, settings.connect_timeout) = (secs(30), secs(30));
    counts_down(Memcached::new(settings).unwrap()).await;
    let dir = tempfile::tempdir().unwrap();
    counts_down(File::open(dir.path().join("cache"), FileLimits::default()).unwrap()).await;
    counts_down(Memory::new(1 << 20)).await;
}
