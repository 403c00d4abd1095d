//! Keys that hold what this backend never puts there: locks without an end, and bookkeeping of another type.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cachekit::backends::Redis;
use cachekit::codec::{Checked, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Intent, Settings};

use super::support::{MINUTE, key, patient};
use crate::servers::{Server, eventually};
use harness::support::{Journal, Note, leased};

/// A cache as in a process of its own.
fn process(server: &Server, journal: &Arc<Journal>) -> Cache<Redis, Checked<Postcard>> {
    let mut settings = Settings::default();
    // Longer than any test lasts: whoever waits it out fails.
    (settings.lease_wait, settings.operation_timeout) = (Some(MINUTE), Some(MINUTE));
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(&server.url()));
    let builder = builder.settings(settings).l1_enabled(false).wait_for_write(true).adaptive_timeout_enabled(false);
    builder.observer(Arc::<Journal>::clone(journal) as _).build().unwrap()
}

async fn compute(cache: &Cache<Redis, Checked<Postcard>>, id: u32, value: u32) -> u32 {
    let entry = cache.entry(id).tags(["all"]);
    entry.get_or_compute(move || async move { Ok::<_, io::Error>(value) }).await.unwrap()
}

/// Scripts that put something under `KEYS[1]`.
const PLANTED: [(&str, &str); 8] = [
    ("without an end", "redis.call('SET', KEYS[1], 'x')"),
    ("without an end, in the form of a token", "redis.call('SET', KEYS[1], '0123456789abcdef0123456789abcdef')"),
    ("empty", "redis.call('SET', KEYS[1], '')"),
    ("for a year", "redis.call('SET', KEYS[1], 'x', 'EX', 31536000)"),
    ("a list", "redis.call('RPUSH', KEYS[1], 'x')"),
    ("a hash for a year", "redis.call('HSET', KEYS[1], 'x', 'x') redis.call('EXPIRE', KEYS[1], 31536000)"),
    ("a set", "redis.call('SADD', KEYS[1], 'x')"),
    ("a stream", "redis.call('XADD', KEYS[1], '*', 'x', 'x')"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_of_a_dead_holder_is_taken_over_and_the_value_stored() {
    let server = Server::start();
    let journal = Arc::<Journal>::default();
    let (cache, other) = (process(&server, &journal), process(&server, &journal));
    compute(&cache, 1_000, 1).await;
    for (id, (what, script)) in (0u32..).zip(PLANTED) {
        server.call(&["EVAL", script, "1", &format!("users:{id}:lock")]);
        let begun = Instant::now();
        assert_eq!(compute(&cache, id, 7).await, 7, "{what}");
        assert_eq!(compute(&other, id, 8).await, 7, "{what}: it is stored");
        assert!(begun.elapsed() < MINUTE / 2, "{what}: {:?}", begun.elapsed());
        assert_eq!(server.cli(&["EXISTS", &format!("users:{id}:lock")]), "0", "{what}: the lease is ended");
    }
    assert_eq!(journal.count(|note| matches!(note, Note::BackendFailed(..))), 0, "{:?}", journal.notes());
}

/// A process on a long way to the server holds its leases for longer than others do.
#[tokio::test]
async fn a_lock_that_a_living_holder_may_have_is_waited_for() {
    let server = Server::start();
    let redis = patient(&server.url());
    let second = Duration::from_secs(1);
    let token = leased(&redis, &key(1), second * 30).await.unwrap().expect("no lock is out");
    assert!(leased(&redis, &key(1), second).await.unwrap().is_none(), "half a minute is the longest");
    assert!(redis.fill(&key(1), "v".into(), MINUTE, token).await.unwrap());
    server.cli(&["SET", "users:1:lock", "of another program", "PX", "1900"]);
    assert!(leased(&redis, &key(1), second).await.unwrap().is_none());
    let token = leased(&redis, &key(1), second / 2).await.unwrap().expect("it is no token and lasts for too long");
    assert!(redis.renew(&key(1), MINUTE, token).await.unwrap(), "and is a lease like any other");
    assert!(redis.fill(&key(1), "v".into(), MINUTE, token).await.unwrap());
}

/// A lock that is replaced while it is held: neither an error nor a value over another's.
#[tokio::test]
async fn a_lease_whose_lock_becomes_something_else_has_ended() {
    let server = Server::start();
    let redis = patient(&server.url());
    for (value, lock) in [("short", "users:1:lock"), (&*"long".repeat(2_000), "users:1:lock")] {
        let token = leased(&redis, &key(1), MINUTE).await.unwrap().expect("no lock is out");
        server.cli(&["DEL", lock]);
        server.cli(&["RPUSH", lock, "x"]);
        assert!(!redis.renew(&key(1), MINUTE, token).await.unwrap());
        assert!(!redis.fill(&key(1), value.to_owned().into(), MINUTE, token).await.unwrap());
        redis.release(&key(1), token).await.unwrap();
        assert_eq!((server.cli(&["TYPE", lock]), server.cli(&["EXISTS", "users:1"])), ("list".into(), "0".into()));
        server.cli(&["DEL", lock]);
    }
}

/// Every name that a cache keeps something under.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bookkeeping_key_of_another_type_is_replaced_or_a_miss() {
    let server = Server::start();
    let journal = Arc::<Journal>::default();
    let cache = process(&server, &journal);
    compute(&cache, 1, 1).await;
    let chunked = CacheBuilder::new().intent(Intent::Production).namespace("files").backend(patient(&server.url()));
    let chunked = chunked.max_chunk_size_mb(0.0625).l1_enabled(false).adaptive_timeout_enabled(false).build().unwrap();
    let long: Vec<u32> = (0..40_000).map(|number| number * 40_503).collect();
    chunked.set("long", long.clone()).await.unwrap();
    assert!(chunked.get::<Vec<u32>>("long").await.unwrap().is_some_and(|read| read == long));
    cache.invalidate_tag("other").await.unwrap();
    let keys = server.cli(&["KEYS", "*"]);
    let keys: Vec<&str> = keys.lines().collect();
    let kinds = ["users:1", "users::{ledger-", "}:0:", "users::bus", "files:long", "chunk"];
    assert!(kinds.iter().all(|kind| keys.iter().any(|key| key.contains(kind))), "{keys:?}");
    let beside = keys
        .iter()
        .filter(|key| !key.contains("::"))
        .flat_map(|key| ["lock", "fill"].map(|name| format!("{key}:{name}")));
    let every: Vec<String> = keys.iter().map(|key| (*key).to_owned()).chain(beside).collect();
    for (round, plant) in [["RPUSH"], ["SET"]].into_iter().enumerate() {
        for name in &every {
            server.cli(&["DEL", name]);
            server.cli(&[plant[0], name, "x"]);
            let value = 10 + round as u32;
            let found = compute(&cache, 1, value).await;
            assert!(found == value || found == value - 1 || round == 0, "{plant:?} {name}: {found}");
            cache.entry(1).tags(["all"]).set(value).await.unwrap();
            assert_eq!(cache.get::<u32>(1).await.unwrap(), Some(value), "{plant:?} {name}");
            cache.invalidate_tag("all").await.unwrap();
            assert_eq!(cache.get::<u32>(1).await.unwrap(), None, "{plant:?} {name}");
            cache.set(1, value).await.unwrap();
            cache.invalidate_namespace().await.unwrap();
            assert_eq!(cache.get::<u32>(1).await.unwrap(), None, "{plant:?} {name}");
            cache.set(1, value).await.unwrap();
            cache.expire_all().await.unwrap();
            assert_eq!(cache.get::<u32>(1).await.unwrap(), None, "{plant:?} {name}");
            cache.set(1, value).await.unwrap();
            let read = chunked.get::<Vec<u32>>("long").await.unwrap();
            assert!(read.is_none_or(|read| read == long), "{plant:?} {name}");
            // What is stored under versions that were lost is void once that is noticed.
            eventually("it is stored again", async || {
                chunked.set("long", long.clone()).await.unwrap();
                chunked.get::<Vec<u32>>("long").await.unwrap().is_some_and(|read| read == long)
            })
            .await;
        }
    }
    assert_eq!(journal.count(|note| matches!(note, Note::BackendFailed(..))), 0, "{:?}", journal.notes());
}
