//! How often a call asks the backend, counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::{Memory, NoBackend, Redis};
use cachekit::codec::Postcard;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{
    Backend, Cache, CacheBuilder, Error, ErrorKind, Forgotten, Intent, Key, Lease, LeaseToken, Operation, Order,
};
use cachekit::{RedisSettings, Value};

use crate::servers::Server;
use harness::support::{Broken, Slow, forward, settle};

type Asked = Arc<Mutex<Vec<&'static str>>>;

/// A backend that notes what is done with users' keys. What the cache keeps beside them is left out.
#[derive(Debug, Clone)]
struct Counted<B> {
    inner: B,
    asked: Asked,
    /// Whether it notes what is done with the rest, too.
    notes_all: bool,
}

impl<B> Counted<B> {
    fn note(&self, key: &Key, operation: &'static str) {
        if self.notes_all || key.as_str().matches(':').count() < 2 {
            self.asked.lock().unwrap().push(operation);
        }
    }
}

impl<B: Backend> Backend for Counted<B> {
    forward!(inner: capabilities set_many remove_many part ping bus);
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        if self.notes_all {
            self.asked.lock().unwrap().push("order");
        }
        self.inner.forget(order).await
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        self.note(key, "get");
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        keys.iter().for_each(|key| self.note(key, "get"));
        self.inner.get_many(keys).await
    }
    async fn set(&self, key: &Key, value: Bytes, ttl: Duration) -> Result<(), Error> {
        self.note(key, "set");
        self.inner.set(key, value, ttl).await
    }
    async fn remove(&self, key: &Key) -> Result<(), Error> {
        self.note(key, "remove");
        self.inner.remove(key).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Duration>, Error> {
        self.note(key, "ttl");
        self.inner.ttl(key).await
    }
    async fn lease(&self, key: &Key, hold: Duration, token: LeaseToken, seen: Option<&Bytes>) -> Result<Lease, Error> {
        self.note(key, "lease");
        self.inner.lease(key, hold, token, seen).await
    }
    async fn renew(&self, key: &Key, hold: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.note(key, "renew");
        self.inner.renew(key, hold, token).await
    }
    async fn fill(&self, key: &Key, value: Bytes, ttl: Duration, token: LeaseToken) -> Result<bool, Error> {
        self.note(key, "fill");
        self.inner.fill(key, value, ttl, token).await
    }
    async fn release(&self, key: &Key, token: LeaseToken) -> Result<(), Error> {
        self.note(key, "release");
        self.inner.release(key, token).await
    }
}

/// Processes over one store, without an L1, and what they ask of it.
struct Bench {
    clock: ManualClock,
    memory: Memory,
    asked: Asked,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::new();
        let memory = Memory::with_clock(1 << 20, Arc::new(clock.clone()));
        Self { clock, memory, asked: Asked::default() }
    }

    fn builder(&self) -> CacheBuilder<NoBackend, Postcard, Intent::Minimal> {
        let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).l1_enabled(false).namespace("users");
        builder.ttl(Duration::from_secs(60)).clock(Arc::new(self.clock.clone()))
    }

    fn cache(&self) -> Cache<Counted<Memory>, Postcard> {
        self.builder().backend(self.counted(self.memory.clone())).build().unwrap()
    }

    fn counted<B>(&self, inner: B) -> Counted<B> {
        Counted { inner, asked: Arc::clone(&self.asked), notes_all: false }
    }

    /// What was asked since the last look.
    async fn taken(&self) -> Vec<&'static str> {
        settle().await;
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Asks `cache` for the key, by a computation that is noted, too.
    async fn ask<B: Backend, T: Value + Clone>(&self, cache: &Cache<B, Postcard>, key: &str, value: T) -> T {
        let asked = Arc::clone(&self.asked);
        let compute = move || async move {
            asked.lock().unwrap().push("closure");
            Ok::<_, Broken>(value)
        };
        cache.entry(key).tags(["all"]).get_or_compute(compute).await.unwrap()
    }
}

#[tokio::test]
async fn a_miss_asks_once_before_the_closure_and_once_after_it() {
    let bench = Bench::new();
    for versions in [false, true] {
        let build = bench.builder().invalidation_enabled(versions).namespace_index(versions).namespace(if versions {
            "pages"
        } else {
            "users"
        });
        let cache = build.backend(bench.counted(bench.memory.clone())).build().unwrap();
        for id in ["first", "second", "third"] {
            assert_eq!(bench.ask(&cache, id, 1u32).await, 1);
            assert_eq!(bench.taken().await, ["lease", "closure", "fill"], "{id}, versions: {versions}");
        }
        assert_eq!(bench.ask(&cache, "first", 2u32).await, 1);
        assert_eq!(bench.taken().await, ["lease"], "what is there is the answer");
        assert_eq!(cache.get::<u32>("absent").await.unwrap(), None);
        assert_eq!(bench.taken().await, ["get"], "a call that never computes asks for no lease");
    }
}

/// The order that makes a head answers with the one that is there.
#[tokio::test]
async fn first_miss_of_a_namespace_makes_the_ledger_by_one_question() {
    let bench = Bench::new();
    for process in ["makes the head", "finds it"] {
        let backend = Counted { notes_all: true, ..bench.counted(bench.memory.clone()) };
        let build = bench.builder().invalidation_enabled(true).namespace_index(true);
        let cache = build.backend(backend).build().unwrap();
        bench.ask(&cache, process, 1u32).await;
        assert_eq!(bench.taken().await, ["order", "lease", "closure", "fill"], "{process}");
        bench.ask(&cache, "next", 1u32).await;
        bench.taken().await;
        bench.ask(&cache, &format!("{process} and knows it"), 1u32).await;
        assert_eq!(bench.taken().await, ["lease", "closure", "fill"], "{process}");
    }
}

#[tokio::test]
async fn without_leases_a_miss_reads_and_stores() {
    let bench = Bench::new();
    let cache = bench.builder().leases(false).backend(bench.counted(bench.memory.clone())).build().unwrap();
    assert_eq!(bench.ask(&cache, "key", 1u32).await, 1);
    assert_eq!(bench.taken().await, ["get", "closure", "set"]);
}

#[tokio::test]
async fn an_entry_that_is_of_no_use_is_asked_about_twice() {
    let bench = Bench::new();
    let build = bench.builder().swr_enabled(true).swr_threshold_ratio(0.5).jitter(false);
    let cache = build
        .invalidation_enabled(true)
        .namespace_index(true)
        .backend(bench.counted(bench.memory.clone()))
        .build()
        .unwrap();
    bench.ask(&cache, "key", 1u32).await;
    bench.taken().await;
    assert_eq!(bench.ask(&cache, "key", "another type".to_owned()).await, "another type");
    assert_eq!(bench.taken().await, ["lease", "lease", "closure", "fill"], "unreadable");

    bench.ask(&cache, "key", 2u32).await;
    bench.clock.advance(Duration::from_secs(40));
    bench.taken().await;
    bench.ask(&cache, "key", 3u32).await;
    assert_eq!(bench.taken().await, ["lease", "lease", "closure", "fill"], "stale");
    assert_eq!(bench.ask(&cache, "key", 4u32).await, 3);
    assert_eq!(bench.taken().await, ["lease"]);

    cache.invalidate_tag("all").await.unwrap();
    bench.taken().await;
    assert_eq!(bench.ask(&cache, "key", 5u32).await, 5);
    assert_eq!(bench.taken().await, ["lease", "lease", "closure", "fill"], "voided");
}

#[tokio::test]
async fn caller_waiting_for_another_process_gets_value_on_next_poll() {
    let bench = Bench::new();
    let (winner, loser, slow) = (bench.cache(), bench.cache(), Slow::new());
    bench.ask(&winner, "other", 0u32).await;
    // From then on the loser knows that the clock of the winner is right.
    bench.ask(&loser, "other", 9u32).await;
    bench.taken().await;
    let computing = tokio::spawn({
        let (winner, slow) = (winner.clone(), slow.clone());
        async move { winner.get_or_compute("key", move || slow.run(Ok(1u32))).await.unwrap() }
    });
    slow.wait_for_start().await;
    assert_eq!(bench.taken().await, ["lease"]);
    let waiting = tokio::spawn({
        let loser = loser.clone();
        async move { loser.get_or_compute("key", || async { Ok::<_, Broken>(2u32) }).await.unwrap() }
    });
    settle().await;
    slow.finish(1);
    assert_eq!(computing.await.unwrap(), 1);
    assert_eq!(bench.taken().await, ["lease", "fill"], "the loser was told that the lease is held");
    bench.clock.advance(Duration::from_millis(10));
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(bench.taken().await, ["lease"], "and finds the value when it asks again");
}

#[tokio::test]
async fn no_lease_is_taken_in_vain() {
    let bench = Bench::new();
    let chaos = Chaos::new(bench.memory.clone());
    let control = chaos.control();
    let cache = bench.builder().backend(bench.counted(chaos)).build().unwrap();
    control.inject(Operation::Lease, Fault::Refuse);
    assert_eq!(bench.ask(&cache, "key", 1u32).await, 1);
    let mut asked = bench.taken().await;
    // The lease is given back beside the computation.
    asked.sort_unstable();
    assert_eq!(asked, ["closure", "lease", "release"], "it may have been granted; nothing is asked again or stored");

    control.heal();
    control.inject(Operation::Lease, Fault::ReadOnly);
    assert_eq!(bench.ask(&cache, "key", 2u32).await, 2);
    assert_eq!(bench.taken().await, ["lease", "get", "closure"], "reads still work");
    assert_eq!(bench.ask(&cache, "key", 3u32).await, 3);
    assert_eq!(bench.taken().await, ["get", "closure"], "no lease is asked for while writes are refused");
    assert!(bench.memory.is_empty());
}

#[tokio::test]
async fn a_split_value_is_joined_where_the_lease_finds_it() {
    let bench = Bench::new();
    let small = Small(bench.memory.clone());
    let build = || bench.builder().backend(bench.counted(small.clone())).build().unwrap();
    let value = "0123456789".repeat(1_000);
    assert_eq!(bench.ask(&build(), "key", value.clone()).await, value);
    bench.taken().await;
    assert_eq!(bench.ask(&build(), "key", "another".to_owned()).await, value);
    assert_eq!(bench.taken().await[0], "lease");
}

/// Takes items of up to 1,000 bytes.
#[derive(Debug, Clone)]
struct Small(Memory);

impl Backend for Small {
    forward!(0: get set remove ttl get_many set_many remove_many part forget lease renew fill release ping bus);
    fn capabilities(&self) -> cachekit::Capabilities {
        self.0.capabilities().max_value(1_000)
    }
}

#[tokio::test]
async fn redis_gets_one_command_before_and_one_after_the_closure() {
    let server = Server::start();
    let mut settings = RedisSettings::new(&server.url()).unwrap();
    (settings.timeout, settings.connect_timeout) = (Duration::from_secs(30), Duration::from_secs(30));
    let redis = Redis::new(settings).unwrap();
    let builder = CacheBuilder::new().intent(Intent::Minimal).leases(true).l1_enabled(false).wait_for_write(true);
    let cache = builder.backend(redis).namespace("users").build().unwrap();
    let compute = |value: u32| move || async move { Ok::<_, Broken>(value) };
    // Until the scripts are known to the server.
    cache.get_or_compute("first", compute(1)).await.unwrap();
    let mut monitor = server.monitor();
    cache.get_or_compute("second", compute(1)).await.unwrap();
    let sent = |lines: Vec<String>| -> Vec<String> {
        let own = |line: &String| line.contains("users:second") && !line.contains(" lua]");
        lines.into_iter().filter(own).collect()
    };
    let miss = sent(monitor.heard(&server));
    assert!(miss.len() == 2 && miss.iter().all(|line| line.contains("\"EVALSHA\"")), "{miss:#?}");
    assert_eq!(cache.get_or_compute("second", compute(2)).await.unwrap(), 1);
    let hit = sent(monitor.heard(&server));
    assert_eq!(hit.len(), 1, "{hit:#?}");
    assert_eq!(server.cli(&["EXISTS", "users:second:lock"]), "0", "no lock is left");
    assert_eq!(cache.get::<u32>("none").await.map_err(|error| error.kind()), Ok::<_, ErrorKind>(None));
}
