//! Buses from elsewhere: of another backend, or of the user's own making.
#![cfg(unix)]
#![cfg(test)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cachekit::backends::{File, Memcached, Memory, NoBackend, Redis};
use cachekit::codec::Postcard;
use cachekit::intent::Production;
use cachekit::{
    Backend, Batch, BreakerState, Bus, Cache, CacheBuilder, Codec, Computed, Error, ErrorKind, FileLimits, Grace,
    Intent, MemcachedSettings, Position, RedisSettings, Settings,
};

use crate::servers::{self, PATIENCE, Server, eventually};

fn builder() -> CacheBuilder<NoBackend, Postcard, Production> {
    let mut settings = Settings::default();
    (settings.stale_if_error, settings.throttle) = (Some(Grace::Ttl), Some(Duration::ZERO));
    CacheBuilder::new().intent(Intent::Production).namespace("pages").settings(settings)
}

async fn in_l1<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str) -> Option<u32> {
    cache.entry(key).skip_l2_read().get().await.unwrap()
}

async fn forgets<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str, why: &str) {
    eventually(why, async || in_l1(cache, key).await.is_none()).await;
}

/// Both caches hold both entries, and no message of before is under way.
async fn fill<B: Backend, C: Codec>(here: &Cache<B, C>, there: &Cache<B, C>) {
    eventually("both hold both", async || {
        let mut held = true;
        for (cache, key, tag) in [here, there].into_iter().flat_map(|cache| TAGS.map(|(key, tag)| (cache, key, tag))) {
            held &= in_l1(cache, key).await == Some(1);
            let compute = move || async move { Ok::<_, std::io::Error>(Computed::new(1u32).tags([tag])) };
            cache.entry(key).get_or_decide(compute).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        held
    })
    .await;
}

/// The entries, and the tag of each.
const TAGS: [(&str, &str); 2] = [("home", "start"), ("news", "author:7")];
/// What `hear_one_another` changes.
const CHANGES: usize = 11;

/// Whatever one of two caches changes leaves the L1 of the other, and nothing else does.
async fn hear_one_another<B: Backend, C: Codec>(here: &Cache<B, C>, there: &Cache<B, C>, shared: bool) {
    forget_keys(here, there, shared).await;
    fill(here, there).await;
    here.invalidate_tag("author:7").await.unwrap();
    forgets(there, "news", "a tag is invalidated").await;
    assert_eq!(in_l1(there, "home").await, Some(1), "it has no such tag");
    fill(here, there).await;
    here.invalidate_tags(["author:7", "start"]).await.unwrap();
    both_forgotten(there, "tags are invalidated").await;
    fill(here, there).await;
    here.invalidate_namespace().await.unwrap();
    both_forgotten(there, "the namespace is invalidated").await;
    fill(here, there).await;
    here.clear().await.unwrap();
    both_forgotten(there, "the cache is cleared").await;
    assert_eq!(fallback(there, "home").await, None, "nothing is left of it");
    fill(here, there).await;
    here.expire_all().await.unwrap();
    both_forgotten(there, "all expire").await;
    assert_eq!(fallback(there, "home").await, Some(1), "it stands in for what fails");
    assert_eq!((here.stats().gaps, there.stats().gaps), (0, 0));
}

async fn forget_keys<B: Backend, C: Codec>(here: &Cache<B, C>, there: &Cache<B, C>, shared: bool) {
    fill(here, there).await;
    here.invalidate("home").await.unwrap();
    forgets(there, "home", "a key is invalidated").await;
    assert_eq!((in_l1(here, "news").await, in_l1(there, "news").await), (Some(1), Some(1)));
    fill(here, there).await;
    here.set("home", 2u32).await.unwrap();
    forgets(there, "home", "a key is set").await;
    assert_eq!(in_l1(here, "home").await, Some(2));
    assert_eq!(there.get::<u32>("home").await.unwrap(), shared.then_some(2), "from the backend, if there is one");
    here.invalidate("home").await.unwrap();
    fill(here, there).await;
    here.invalidate_many(["home", "news"]).await.unwrap();
    both_forgotten(there, "many keys are invalidated").await;
    fill(here, there).await;
    here.expire("home").await.unwrap();
    forgets(there, "home", "a key expires").await;
    assert_eq!((fallback(there, "home").await, in_l1(there, "news").await), (Some(1), Some(1)));
}

async fn both_forgotten<B: Backend, C: Codec>(cache: &Cache<B, C>, why: &str) {
    for (key, _) in TAGS {
        forgets(cache, key, why).await;
    }
}

/// What L1 has for a computation that fails.
async fn fallback<B: Backend, C: Codec>(cache: &Cache<B, C>, key: &str) -> Option<u32> {
    let fails = || async { Err(std::io::Error::other("the origin is down")) };
    cache.entry(key).skip_l2_read().get_or_compute(fails).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memcached_tells_by_redis() {
    let (store, server) = (servers::Memcached::start(), Server::start());
    let cache = || {
        let memcached = Memcached::new(MemcachedSettings::new([store.address()])).unwrap();
        builder().backend(memcached).bus_from(Redis::from_url(&server.url()).unwrap()).build().unwrap()
    };
    let (here, there) = (cache(), cache());
    hear_one_another(&here, &there, true).await;
    assert_eq!(server.cli(&["DBSIZE"]), "1", "the stream, and no entry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_tell_by_redis() {
    let (directory, server) = (tempfile::tempdir().unwrap(), Server::start());
    let cache = || {
        let files = File::open(directory.path(), FileLimits::default()).unwrap();
        builder().backend(files).bus_from(Redis::from_url(&server.url()).unwrap()).build().unwrap()
    };
    hear_one_another(&cache(), &cache(), true).await;
    assert_eq!(server.cli(&["DBSIZE"]), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_without_a_backend_tell_by_redis() {
    let server = Server::start();
    let cache = || builder().l1_only().bus_from(Redis::from_url(&server.url()).unwrap()).build().unwrap();
    hear_one_another(&cache(), &cache(), false).await;
}

/// A bus in this process, which can be made to fail.
#[derive(Debug, Clone, Default)]
struct Board {
    log: Arc<Mutex<Vec<Bytes>>>,
    broken: Arc<AtomicBool>,
    /// How many changes.
    published: Arc<AtomicUsize>,
}

impl Bus for Board {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        // That a lease has ended is told whenever another process happens to wait for it.
        let is_change = message.get(9) != Some(&5);
        self.published.fetch_add(usize::from(is_change), SeqCst);
        if self.broken.load(SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the board fell down"));
        }
        self.log.lock().unwrap().push(message);
        Ok(())
    }

    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let (start, from) = (Instant::now(), after.map(|position| position.as_str().parse::<usize>().unwrap()));
        loop {
            let log = self.log.lock().unwrap().clone();
            let messages = log[from.unwrap_or(log.len())..].to_vec();
            if from.is_none() || !messages.is_empty() || start.elapsed() >= wait {
                return Ok(Batch { messages, position: Position::new(log.len().to_string()), gap: false });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caches_tell_by_a_bus_of_the_users_own() {
    let (board, memory) = (Board::default(), Memory::new(1 << 20));
    let alone = || builder().l1_only().bus(board.clone()).build().unwrap();
    hear_one_another(&alone(), &alone(), false).await;
    let heard = board.published.load(SeqCst);
    assert_eq!(heard, CHANGES, "fills are not published");
    let board = Board::default();
    let cache = || builder().backend(memory.clone()).bus(board.clone()).build().unwrap();
    hear_one_another(&cache(), &cache(), true).await;
    assert_eq!(board.published.load(SeqCst), CHANGES, "in place of the bus of the backend");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_fails_leaves_the_backend_alone() {
    let (board, memory) = (Board::default(), Memory::new(1 << 20));
    let cache = || {
        let builder = builder().backend(memory.clone()).bus(board.clone());
        builder.failure_threshold(3).recovery_timeout(Duration::from_millis(100)).build().unwrap()
    };
    let (here, there) = (cache(), cache());
    here.set("home", 1u32).await.unwrap();
    assert_eq!(there.get::<u32>("home").await.unwrap(), Some(1));
    board.broken.store(true, SeqCst);
    for value in 2..12u32 {
        let failed = here.set("home", value).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(here.entry("home").skip_l1_read().get::<u32>().await.unwrap(), Some(11), "the backend took them all");
    assert_eq!(here.health().await.breaker, Some(BreakerState::Closed));
    assert_eq!(here.stats().breaker_opened, 0);
    assert!(board.published.load(SeqCst) < 11 + 10, "what fails is left alone for a while");
    assert_eq!(in_l1(&there, "home").await, Some(1));
    board.broken.store(false, SeqCst);
    forgets(&there, "home", "it is told in the background").await;
    assert_eq!(there.get::<u32>("home").await.unwrap(), Some(11));
}

/// Without a backend a lost message is told again, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_told_is_told_later() {
    let board = Board::default();
    let cache = || builder().l1_only().bus(board.clone()).build().unwrap();
    let (here, there) = (cache(), cache());
    there.set("home", 1u32).await.unwrap();
    there.entry("news").tags(["author:7"]).set(1u32).await.unwrap();
    board.broken.store(true, SeqCst);
    assert_eq!(here.set("home", 2u32).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(here.invalidate_tag("author:7").await.is_err());
    assert_eq!(in_l1(&here, "home").await, Some(2), "this process has it");
    assert_eq!(in_l1(&there, "home").await, Some(1));
    board.broken.store(false, SeqCst);
    forgets(&there, "home", "the key is told of").await;
    forgets(&there, "news", "and the tag").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_cache_without_a_backend_still_tells() {
    let board = Board::default();
    let cache = || builder().l1_only().bus(board.clone()).build().unwrap();
    let (here, there) = (cache(), cache());
    there.set("home", 1u32).await.unwrap();
    here.close(PATIENCE).await.unwrap();
    here.invalidate("home").await.unwrap();
    forgets(&there, "home", "a closed cache invalidates").await;
    here.set("home", 3u32).await.unwrap();
    assert_eq!(in_l1(&here, "home").await, None, "nobody would tell it");
}

#[tokio::test]
async fn a_backend_without_a_bus_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let files = File::open(directory.path(), FileLimits::default()).unwrap();
    let refused = builder().l1_only().bus_from(files).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    let text = refused.to_string();
    assert!(text.contains("bus_from") && text.contains("file") && text.contains("such as Redis"), "{text}");
}

#[tokio::test]
async fn nothing_is_connected_to_and_no_is_no() {
    let dead = || Redis::new(RedisSettings::new("redis://127.0.0.1:1/0").unwrap()).unwrap();
    let cache = builder().bus_from(dead()).build().unwrap();
    assert!(cache.policy().invalidation);
    let quiet = builder().bus_from(dead()).invalidation_enabled(false).build().unwrap();
    quiet.set("home", 1u32).await.unwrap();
    quiet.invalidate("home").await.unwrap();
    // An intent that has no bus of its own gets the one that is named.
    let board = Board::default();
    let minimal = CacheBuilder::new().intent(Intent::Minimal).namespace("pages").bus(board.clone());
    minimal.build().unwrap().set("home", 1u32).await.unwrap();
    assert_eq!(board.published.load(SeqCst), 1);
}
