//! A cache one of whose servers dies and returns: nobody but the observers may notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use cachekit::backends::Memcached;
use cachekit::codec::{Checked, Postcard};
use cachekit::testing::ManualClock;
use cachekit::{Cache, CacheBuilder, Intent};
use tokio::task::JoinSet;

use super::support::{at_once, hasty, on_clock};
use crate::servers::{self, SOON, eventually};

const KEYS: usize = 200;

/// A cache without L1, and what its computations saw.
#[derive(Clone)]
struct Watched {
    cache: Cache<Memcached, Checked<Postcard>>,
    running: Arc<[AtomicUsize; KEYS]>,
    overlaps: Arc<AtomicUsize>,
}

impl Watched {
    fn new(memcached: Memcached) -> Self {
        let builder = CacheBuilder::new().intent(Intent::Production).backend(memcached).namespace("users").stats(true);
        let cache = builder.l1_enabled(false).swr_enabled(false).build().unwrap();
        Self { cache, running: Arc::new([const { AtomicUsize::new(0) }; KEYS]), overlaps: Arc::default() }
    }

    /// Asks for a key, and fails the test on an error or on another key's value.
    async fn ask(&self, id: usize) {
        let (running, overlaps) = (Arc::clone(&self.running), Arc::clone(&self.overlaps));
        let value: String = self
            .cache
            .get_or_compute(id, move || async move {
                overlaps.fetch_add(running[id].fetch_add(1, SeqCst), SeqCst);
                tokio::time::sleep(Duration::from_millis(2)).await;
                running[id].fetch_sub(1, SeqCst);
                Ok::<_, std::io::Error>(format!("user {id}"))
            })
            .await
            .unwrap();
        assert_eq!(value, format!("user {id}"));
    }

    /// So many tasks that ask until `ended`.
    fn crowd(&self, count: usize, ended: &Arc<AtomicBool>) -> JoinSet<usize> {
        let mut crowd = JoinSet::new();
        for _ in 0..count {
            let (watched, ended) = (self.clone(), Arc::clone(ended));
            crowd.spawn(async move {
                let mut answers = 0;
                while !ended.load(SeqCst) {
                    watched.ask(fastrand::usize(..KEYS)).await;
                    answers += 1;
                }
                answers
            });
        }
        crowd
    }

    fn l2_hits(&self) -> u64 {
        self.cache.stats().l2_hits
    }

    async fn hits(&self, what: &str, more: u64) {
        let hits = self.l2_hits();
        eventually(what, async || self.l2_hits() > hits + more).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_servers_killed_under_load_is_missed_by_nobody() {
    let servers = [servers::Memcached::start(), servers::Memcached::start(), servers::Memcached::start()];
    let clock = ManualClock::new();
    let watched = Watched::new(on_clock(&servers.each_ref(), &clock, |_| ()));
    let ended = Arc::new(AtomicBool::new(false));
    let crowd = watched.crowd(32, &ended);
    // The lost server may have the versions that every read asks for: until its keys move, nothing is a hit.
    let time = tokio::spawn({
        let (clock, step) = (clock.clone(), Duration::from_millis(10));
        async move {
            loop {
                tokio::time::sleep(step).await;
                clock.advance(step);
            }
        }
    });
    watched.hits("the cache is warm", 2_000).await;

    servers[1].kill();
    let computations = watched.cache.stats().computations;
    eventually("its share misses", async || watched.cache.stats().computations > computations + 200).await;
    assert!(watched.cache.stats().backend_failures > 0);
    let settled = async || {
        let failures = watched.cache.stats().backend_failures;
        watched.hits("the cache is warm again", 1_000).await;
        watched.cache.stats().backend_failures == failures
    };
    eventually("its share has moved", settled).await;

    servers[1].restart();
    clock.advance(Duration::from_secs(60));
    eventually("it has its share again", async || servers[1].stat("curr_items") > 20).await;
    watched.hits("the cache is warm again", 2_000).await;
    ended.store(true, SeqCst);
    time.abort();
    assert!(crowd.join_all().await.iter().all(|answers| *answers > 0));
    assert_eq!(watched.overlaps.load(SeqCst), 0, "computations of one key at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_delays_answers_and_prevents_none() {
    let server = servers::Memcached::start();
    let watched = Watched::new(hasty(&[&server]));
    for id in 0..8 {
        watched.ask(id).await;
    }
    server.pause();
    let ask = |id| {
        let watched = watched.clone();
        async move {
            let start = Instant::now();
            watched.ask(id).await;
            start.elapsed()
        }
    };
    let delays = at_once(64, ask).await;
    // The read fails once, and the write is spared.
    assert!(delays.iter().all(|delay| *delay < SOON), "{delays:?}");
    server.resume();
    eventually("the server is used again", async || {
        watched.ask(1).await;
        watched.l2_hits() > 0
    })
    .await;
    assert_eq!(watched.overlaps.load(SeqCst), 0);
}
